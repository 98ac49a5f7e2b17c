"""The estimator ``shared``: every coalition serves every pair (design: one coalition for every pair).

Three things make its coalitions worth more than independent ones:

* tiles: sizes are stratified and members balanced (``coalitions.tiled_coalitions``);
* edges: the context of nobody and that of everybody else are one each and weigh as much as all the contexts
  of another size together; the grids around the empty and the full coalition give both exactly;
* allocation: a pilot of four coalitions, on some of the pairs, measures how large the differences are at each
  size, and the others go to the sizes in proportion (Neyman).

Edges and pilot have to be paid for: below ``MIN_FOR_PILOT`` coalitions there are only tiles.

Whatever the allocation, a term in a context of size s weighs (probability of s under the index) / (expected
number of contexts of size s), which keeps the estimate unbiased (Horvitz-Thompson). How many contexts of a
size a pair really gets is chance; a guess of each term by size, made from the edges and the pilot alone, is
taken off first and its mean added back, so that this chance costs nothing where the guess is right (as where
the pair's interaction does not depend on the others).

Shapes: k coalitions, n players, p pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymoe.interactions.games.game import Game, evaluate
from raymoe.interactions.sampling.coalitions import SizeLaw, context_probability, tiled_coalitions
from raymoe.interactions.sampling.grid import Corners, FlipGrid, grid_evaluations
from raymoe.interactions.sums import RunningSums, corner_terms, tiled_sums

MIN_COALITIONS = 4
MIN_FOR_PILOT = 18
PILOT = (2, 2)  # replicates, coalitions in each
PILOT_PAIRS = 48  # of a table at most, enough to see how differences depend on the size
MAX_LENGTH = 12  # of a replicate: longer ones gained nothing and leave fewer to tell the error from
MASKS_AT_ONCE = 1 << 15  # bounds the memory of masks and corner values
SPIKE = 4  # times what the pilot saw next to it: the most that an edge counts for
FLOOR = 1.0  # of the mean size of differences: a size where the pilot saw nothing is still visited


@dataclass(frozen=True)
class Layout:
    """How a number of coalitions is spent; ``pilot`` brings the edges with it."""

    pilot: bool
    replicates: int
    length: int

    @property
    def blocks(self) -> int:
        """Pairs of replicates, the smallest piece of work."""
        return self.replicates // 2


def layout(coalitions: int, pilot: bool = False) -> Layout:
    """The most whole pairs of replicates among so many coalitions."""
    used = [(coalitions // (2 * length) * 2 * length, length) for length in range(2, MAX_LENGTH + 1)]
    total, length = max(used)
    return Layout(pilot, total // length, length)


def pilot_layout(coalitions: int, pairs: np.ndarray, n: int, law: SizeLaw) -> Layout:
    """The best use of what ``coalitions`` of them cost for a table of pairs."""
    if law.index != "sii" or n < 5 or coalitions < MIN_FOR_PILOT:
        return layout(coalitions)
    each = grid_evaluations(pairs)
    return layout((coalitions * each - pilot_evaluations(pairs, pairs)) // each, pilot=True)


def pilot_evaluations(pairs: np.ndarray, all_pairs: np.ndarray) -> int:
    """What the pilot costs, with the edges, for a block of a table's pairs."""
    sample = grid_evaluations(pilot_sample(all_pairs))
    own_edges = len(pairs) == len(all_pairs)  # the sample's are among them
    return 2 * grid_evaluations(pairs) + sample * (PILOT[0] * PILOT[1] + (0 if own_edges else 2))


class SharedEstimator:
    """Running sums of blocks of coalitions; any cut into blocks gives the same sums but for rounding.

    Args:
        game: ``bool[m, n] -> float[m]``.
        pairs: int [p, 2].
        n: players.
        coalitions: to be spent, at least 4.
        seed: what is drawn depends on it alone.
        law: of contexts.
        all_pairs: of the whole table, where ``pairs`` is only a block of it.
    """

    def __init__(
        self,
        game: Game,
        pairs: np.ndarray,
        n: int,
        coalitions: int,
        seed: int,
        law: SizeLaw,
        all_pairs: np.ndarray | None = None,
    ) -> None:
        self.game, self.pairs, self.n, self.seed, self.law = game, pairs, n, seed, law
        self._all_pairs = pairs if all_pairs is None else all_pairs
        self.layout = pilot_layout(coalitions, self._all_pairs, n, law)
        self.grid = FlipGrid(pairs, n)
        self.num_evaluations = 0
        self.first_sum = np.zeros(len(self.grid.players))
        self._first_count = 0
        self._inner = law.sizes(n)  # of coalitions, without the edges where those are exact
        if self.layout.pilot:
            self._inner = np.where(np.isin(np.arange(n + 1), (0, n)), 0.0, self._inner)
        self._edge_first = 0.0
        self._edge_terms: np.ndarray | None = None
        self._allocation: np.ndarray | None = None
        self._courses: list[tuple[np.ndarray, np.ndarray]] = []
        self._empty_value: float | None = None

    def sums(self, start: int = 0, stop: int | None = None) -> RunningSums:
        """Sums over blocks ``start..stop``, by default all of them."""
        stop = self.layout.blocks if stop is None else stop
        if not 0 <= start < stop <= self.layout.blocks:
            raise ValueError(f"blocks {start}..{stop} are not among 0..{self.layout.blocks}")
        total, allocation, guess = None, self._inner, np.zeros((3, self.n - 1, len(self.pairs)))
        if self.layout.pilot:
            self._measure_edges()
            self._measure_pilot()
            allocation, guess = self._allocation, self._guess()
        shape = self.layout.replicates, self.layout.length
        # A model's batches are the fuller the more coalitions it is given at once.
        at_once = max(1, MASKS_AT_ONCE // (2 * shape[1] * self.grid.evaluations))
        for r in range(2 * start, 2 * stop, 2 * at_once):
            until = min(r + 2 * at_once, 2 * stop)
            bases = tiled_coalitions(allocation, *shape, r, until, (self.seed, 1)).reshape(-1, self.n)
            part = self._block(self._measure(bases), bases, allocation, shape, guess)
            total = part if total is None else total + part
        return total

    def main_effects(self) -> np.ndarray:
        """Shapley (or Banzhaf) value of each player of ``grid.players``, from the blocks summed so far."""
        return self.first_sum / self._first_count

    def value_of_nobody(self) -> float:
        """The game's value of the empty coalition; one more evaluation where no edge gave it."""
        if self._empty_value is None:
            self._empty_value = float(evaluate(self.game, np.zeros((1, self.n), dtype=bool))[0])
            self.num_evaluations += 1
        return self._empty_value

    def _measure(self, bases_kn: np.ndarray, grid: FlipGrid | None = None) -> Corners:
        grid = grid or self.grid
        self.num_evaluations += len(bases_kn) * grid.evaluations
        return grid.measure(self.game, bases_kn)

    def _measure_edges(self) -> None:
        """The terms of the contexts of size 0 and n - 2 (and 0 and n - 1 of single players)."""
        if self._edge_terms is not None:
            return
        corners = self._measure(_edge_coalitions(self.n))
        # the corners of the first pair around nobody start with f of the empty coalition
        self._empty_value = float(corners.corners[0, 0, 0])
        self._edge_terms = np.stack(corner_terms(*corners.corners))  # [3, 2, p]
        self._edge_first = self.law.sizes(self.n - 1)[[0, -1]] @ corners.first_ks

    def _measure_pilot(self) -> None:
        """Root mean square of the differences by size, from the pilot and the edges; then the shares."""
        if self._allocation is not None:
            return
        bases = tiled_coalitions(self._inner, *PILOT, 0, PILOT[0], (self.seed, 0)).reshape(-1, self.n)
        grid = FlipGrid(pilot_sample(self._all_pairs), self.n)
        seen = self._measure(bases, grid)
        if len(self._all_pairs) == len(self.pairs):
            edge_terms = self._edge_terms[..., pilot_sample(np.arange(len(self.pairs)))]
        else:  # the same pairs decide in every block of pairs
            edge_terms = np.stack(corner_terms(*self._measure(_edge_coalitions(self.n), grid).corners))
        inner_terms = np.stack(corner_terms(*seen.corners))
        inside = (seen.context_size_kp > 0) & (seen.context_size_kp < self.n - 2)
        sizes = bases.sum(1)
        # by the size of the coalition, which is close to that of the contexts
        self._courses = [
            _by_size(sizes * (self.n - 2) / self.n, inner, inside, edge, self.n - 2)
            for inner, edge in zip(inner_terms, edge_terms, strict=True)
        ]
        typical = _by_size(sizes, inner_terms[0], inside, edge_terms[0], self.n)[0]
        mean = self._inner @ typical / self._inner.sum()
        share = self._inner * (typical + FLOOR * mean) if mean > 0 else self._inner
        self._allocation = share / share.sum()

    def _guess(self) -> np.ndarray:
        """Each term by the context's size, [3, n - 1, p]: the usual course through the pair's own edges."""
        guess = []
        for (course, usual), edge_2p in zip(self._courses, self._edge_terms, strict=True):
            ends, seen_ep = course[[0, -1]][usual], edge_2p[usual]
            scale_p = ends @ seen_ep / (ends @ ends) if usual.any() else np.zeros(len(self.pairs))
            most_p = np.abs(edge_2p).max(0)  # no more than was seen
            guess.append(np.clip(course[:, None] * scale_p, -most_p, most_p))
        return np.stack(guess)

    def _block(
        self,
        corners: Corners,
        bases_kn: np.ndarray,
        drawn: np.ndarray,
        shape: tuple[int, int],
        guess: np.ndarray,
    ) -> RunningSums:
        """Weighted terms of whole replicates, so that their mean is the estimate."""
        coalitions = shape[0] * shape[1]
        wanted, weight = self._weights(drawn, 2, coalitions)
        sizes, each = corners.context_size_kp, np.arange(len(self.pairs))
        first = self._weights(drawn, 1, coalitions)[1][corners.first_size_ks] * corners.first_ks * coalitions
        self.first_sum = self.first_sum + (first + self._edge_first).sum(0)
        self._first_count += len(bases_kn)
        terms = []
        for number, term in enumerate(corner_terms(*corners.corners)):
            known = wanted @ guess[number]
            if self.layout.pilot:
                known = known + self.law.sizes(self.n - 2)[[0, -1]] @ self._edge_terms[number]
            sampled = weight[sizes] * (term - guess[number][sizes, each]) * coalitions
            terms.append((known + sampled).reshape(-1, shape[1], len(self.pairs)))
        return tiled_sums(*terms)

    def _weights(self, drawn: np.ndarray, order: int, coalitions: int) -> tuple[np.ndarray, np.ndarray]:
        """Probability and weight of a context of each size, [n - order + 1]; 0 where the edges are exact."""
        wanted = self.law.sizes(self.n - order)
        if self.layout.pilot:
            wanted[[0, -1]] = 0
        expected = coalitions * (drawn / drawn.sum()) @ context_probability(self.n, order)
        return wanted, np.divide(wanted, expected, out=np.zeros_like(wanted), where=wanted > 0)


def pilot_sample(pairs: np.ndarray) -> np.ndarray:
    """Which pairs of a table tell the pilot how differences depend on the size."""
    return pairs[:: -(-len(pairs) // PILOT_PAIRS)]


def _by_size(
    sizes: np.ndarray, inner: np.ndarray, inside: np.ndarray, edge: np.ndarray, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square over pairs at every size 0..last, log-linear between the sizes seen.

    Args:
        sizes: those of the pilot, [k].
        inner, inside: its terms, and which of them count, [k, p].
        edge: terms at sizes 0 and ``last``, [2, p]; a spike there says little about what is beside it.
        last: the largest size.

    Returns:
        The course, [last + 1], and which edges are no spikes, bool [2].
    """
    order = np.argsort(sizes, kind="stable")
    order = order[inside[order].any(1)]
    found = np.sqrt((inner[order] ** 2).mean(1, where=inside[order]))
    if not len(order):
        return np.ones(last + 1), np.zeros(2, dtype=bool)
    ends, most = np.sqrt((edge**2).mean(1)), SPIKE * found[[0, -1]]
    found = np.concatenate([np.minimum(ends, most)[:1], found, np.minimum(ends, most)[1:]])
    at = np.concatenate([[0], sizes[order], [last]])
    floor = found.max() * 1e-6 or 1.0
    course = np.exp(np.interp(np.arange(last + 1), at, np.log(np.maximum(found, floor))))
    return course, ends <= most


def _edge_coalitions(n: int) -> np.ndarray:
    """Nobody, and everybody."""
    return np.stack([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)])
