"""Which contexts are drawn: their law, and samples of it.

What is drawn depends on the seed and the draw's number alone, never on how the work is cut.

Two laws of contexts: for the Shapley Interaction Index the size of a context is uniform and, given the size,
the set is uniform; for the weighted Banzhaf index every player is in it with probability p. A coalition of
all n players drawn by the same law is, without the players of any one interaction, a context with exactly
that interaction's law (Owen's multilinear extension): so one coalition serves all of them.

Shapes: k coalitions, n players.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from raymoe.errors import InputError
from raymoe.runtime.seeds import seed_of

MAX_NODES = 64


@dataclass(frozen=True)
class SizeLaw:
    """The law of contexts of an index; given the size, the set is uniform.

    Attributes:
        index: ``sii`` (Shapley Interaction Index) or ``banzhaf`` (weighted Banzhaf interaction).
        inclusion: probability p that a player is in the context; ``banzhaf`` only.
    """

    index: str = "sii"
    inclusion: float = 0.5

    def __post_init__(self) -> None:
        if self.index not in ("sii", "banzhaf"):
            raise InputError(f"unknown index {self.index!r}", "Indices: sii, banzhaf.")
        if not 0 < self.inclusion < 1:
            raise InputError(f"inclusion is {self.inclusion}", "It is a probability between 0 and 1.")

    def sizes(self, players: int) -> np.ndarray:
        """Probability of each size 0..players, [players + 1]."""
        if self.index == "sii":
            return np.full(players + 1, 1 / (players + 1))
        from scipy.stats import binom  # takes a third as long to import as torch

        return binom.pmf(np.arange(players + 1), players, self.inclusion)

    def nodes(self, players: int) -> tuple[np.ndarray, np.ndarray]:
        """Inclusion probabilities t and weights, exact for polynomials of degree ``players`` in t.

        (To rounding beyond 127 players, where 64 nodes are kept.)

        The mean over contexts of a product over players is the integral over t of the product of its means
        (t uniform for ``sii``, the one value p for ``banzhaf``): Gauss-Legendre makes it a short sum.
        """
        if self.index == "banzhaf":
            return np.array([self.inclusion]), np.ones(1)
        t, weight = np.polynomial.legendre.leggauss(min(players // 2 + 1, MAX_NODES))
        return (t + 1) / 2, weight / 2


SHAPLEY = SizeLaw()
"""That of the Shapley Interaction Index."""


@lru_cache(maxsize=64)
def context_probability(n: int, order: int) -> np.ndarray:
    """P[k, s]: a uniform set of k among n players has s players outside a given ``order`` of them.

    Not to be written to: it is kept.
    """
    table = np.zeros((n + 1, n - order + 1))
    for k in range(n + 1):
        for inside in range(order + 1):
            if 0 <= k - inside <= n - order:
                table[k, k - inside] = comb(order, inside) * comb(n - order, k - inside) / comb(n, k)
    return table


def tiled_coalitions(
    sizes: np.ndarray, replicates: int, length: int, start: int, stop: int, key: tuple[int, ...]
) -> np.ndarray:
    """Replicates ``start..stop`` of a stratified, balanced sample, bool [stop - start, length, n].

    Coalition i of replicate r has its size from stratum ``i * replicates + r`` of ``replicates * length``
    equal slices of the sizes' distribution. Its members are a window of that size on the players in random
    circular order, beginning where the window before it ended: each coalition alone is a uniform set of its
    size, and together those of a replicate hold every player about equally often, so that what a player's
    presence adds to an interaction cancels. (A window and its complement, the usual antithetic pair, are two
    such windows.)

    Args:
        sizes: probability of drawing each size 0..n, [n + 1].
        replicates, length: of the whole sample; they set the strata.
        start, stop: which replicates.
        key: what the draws are keyed by, with the replicate's number.
    """
    n = len(sizes) - 1
    edges = np.cumsum(sizes) / np.sum(sizes)
    largest = int(np.flatnonzero(sizes)[-1])
    found = np.zeros((stop - start, length, n), dtype=bool)
    for r in range(start, stop):
        rng = generator(*key, r)
        t = (np.arange(length) * replicates + r + rng.random(length)) / (replicates * length)
        size = np.minimum(np.searchsorted(edges, t, side="right"), largest)
        order = rng.permutation(n)
        begin = rng.integers(n) + np.concatenate([[0], np.cumsum(size[:-1])])
        # how far behind the beginning of each window the players stand in the circle
        behind = (np.arange(n) - begin[:, None]) % n
        found[r - start][:, order] = behind < size[:, None]
    return found


def drawn_coalitions(sizes: np.ndarray, count: int, key: tuple[int, ...]) -> np.ndarray:
    """``count`` coalitions of stratified sizes, each a uniform set of its size, bool [count, n]."""
    n = len(sizes) - 1
    rng = generator(*key)
    t = (np.arange(count) + rng.random(count)) / count
    largest = int(np.flatnonzero(sizes)[-1])
    size = np.minimum(np.searchsorted(np.cumsum(sizes) / np.sum(sizes), t, side="right"), largest)
    return rng.random((count, n)).argsort(1).argsort(1) < size[:, None]


def pair_contexts(
    n: int, u: int, v: int, start: int, stop: int, seed: int, law: SizeLaw | None = None
) -> np.ndarray:
    """Contexts drawn for one pair alone, bool [stop - start, n], without u and v: the paper's procedure."""
    law = law or SHAPLEY
    draws = generator(seed, u, v).random((stop, n + 1))[start:]
    contexts = draws[:, 1:] < (draws[:, :1] if law.index == "sii" else law.inclusion)
    contexts[:, [u, v]] = False
    return contexts


def generator(*key: int) -> np.random.Generator:
    """Counter-based random numbers of a key."""
    return np.random.Generator(np.random.Philox(key=seed_of("coalitions", *key)))
