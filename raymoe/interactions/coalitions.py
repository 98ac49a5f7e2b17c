"""Which contexts are drawn. What is drawn depends on the seed and the coalition's number alone, never on how
the work is cut: a block of coalitions is a slice of one fixed list.

Shapes: k coalitions, n players.
"""

from __future__ import annotations

import hashlib

import numpy as np

GROUP = (
    4  # coalitions per contrast of the shared estimator: two neighbouring strata, each with its complement
)


def shared_coalitions(n: int, total: int, start: int, stop: int, seed: int) -> np.ndarray:
    """Coalitions that serve every pair at once, bool [stop - start, n].

    With t ~ U(0, 1) and S = {i : U_i < t}, the set S without u and v has the Shapley distribution for every
    pair (u, v): its size is uniform on 0..n-2 and, given the size, the set is uniform (Owen's multilinear
    extension). t is stratified over the ``total`` coalitions, and each comes with its antithetic partner (1
    - U, 1 - t), which is its complement: coalition 2j has t in [j, j+1)/total, coalition 2j+1 is its
    complement.

    Args:
        n: players.
        total: coalitions of the whole estimate, a multiple of 4; sets the strata.
        start, stop: which of them.
        seed: any integer.
    """
    if total % GROUP or total <= 0:
        raise ValueError(f"the number of coalitions must be a positive multiple of {GROUP}, got {total}")
    if not 0 <= start < stop <= total:
        raise ValueError(f"coalitions {start}..{stop} are not among 0..{total}")
    u = _generator(seed).random(((stop + 1) // 2, n + 1))[start // 2 :]
    t = (np.arange(start // 2, (stop + 1) // 2) + u[:, 0]) / total
    below = u[:, 1:] < t[:, None]
    both = np.stack([below, ~below], 1).reshape(-1, n)
    return both[start % 2 :][: stop - start]


def pair_contexts(n: int, u: int, v: int, start: int, stop: int, seed: int) -> np.ndarray:
    """Contexts drawn for one pair alone, bool [stop - start, n], u and v never in them: the paper's
    procedure.

    The size is uniform on 0..n-2 and, given the size, the set is uniform.
    """
    draws = _generator(seed, u, v).random((stop, n + 1))[start:]
    contexts = draws[:, 1:] < draws[:, :1]
    contexts[:, [u, v]] = False
    return contexts


def seed_of(*parts: object) -> int:
    """A 64-bit seed from whatever identifies the computation (seed, sample, expert)."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed_of("coalitions", *key)))
