"""Coalitions drawn without replacement from those of each size, and how many of each size are worth drawing.

An index is a sum over all coalitions, so a sum over sizes of sums over the coalitions of that size. Where all
of a size are evaluated its part is known; where some are, those count for themselves and a uniform sample of
the others stands for the rest.

Shapes: n players, m coalitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

WHOLE = 0.7  # of a size's coalitions: where the budget would go to so many, all are taken
SMALL = 1 << 18  # a size with no more coalitions than this can be listed
LISTED = 4  # and is, where no more than this times what is wanted are there


@dataclass(frozen=True)
class SizePlan:
    """Which sizes are evaluated whole, and where else coalitions go.

    Attributes:
        whole: sizes of which all coalitions are evaluated, bool [n + 1].
        share: probability of each size for a sampled coalition, [n + 1]; 0 where all are evaluated.
    """

    whole: np.ndarray
    share: np.ndarray

    @property
    def evaluations(self) -> int:
        """What the whole sizes cost."""
        n = len(self.whole) - 1
        return sum(comb(n, int(size)) for size in np.flatnonzero(self.whole))


def size_plan(weight: np.ndarray, budget: int, taken: np.ndarray) -> SizePlan:
    """The allocation of least variance (Neyman's), where no size gets more coalitions than it has.

    Args:
        weight: how much a coalition of each size counts, times how much its value varies, [n + 1].
        budget: coalitions to be spent.
        taken: how many of each size are known already, [n + 1].
    """
    n = len(weight) - 1
    there = np.array([float(comb(n, size)) for size in range(n + 1)])
    whole = taken >= there
    left = float(budget)
    while True:
        pull = np.where(whole, 0.0, there * weight)
        if pull.sum() <= 0 or left <= 0:
            break
        # what is known already is worth as much as what would be drawn
        wanted = (left + taken[~whole].sum()) * pull / pull.sum()
        filled = np.where(whole, 0.0, wanted / there)
        size = int(filled.argmax())
        cost = there[size] - taken[size]
        if filled[size] < WHOLE or cost > left:
            break
        whole[size] = True
        left -= cost
    pull = np.where(whole, 0.0, there * weight)
    if pull.sum() <= 0:
        return SizePlan(whole, np.zeros(n + 1))
    wanted = np.maximum((left + taken[~whole].sum()) * pull / pull.sum() - np.where(whole, 0, taken), 0)
    # each size that is not whole keeps a chance, or what is left of it would never be seen
    wanted = np.maximum(wanted, 0.1 * left * pull / pull.sum())
    return SizePlan(whole, wanted / wanted.sum())


def coalitions_of(n: int, size: int) -> np.ndarray:
    """All coalitions of a size, bool [m, n]."""
    members = np.array(list(combinations(range(n), size)), dtype=np.int64).reshape(comb(n, size), size)
    rows = np.zeros((len(members), n), dtype=bool)
    np.put_along_axis(rows, members, True, 1)
    return rows


class Drawn:
    """Coalitions drawn so far, none twice.

    Args:
        n: players.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._seen: set[bytes] = set()

    def add(self, rows: np.ndarray) -> np.ndarray:
        """Which of some coalitions are new, bool [m]; they are no longer, then."""
        new = np.zeros(len(rows), dtype=bool)
        for number, key in enumerate(_keys(rows)):
            if key not in self._seen:
                self._seen.add(key)
                new[number] = True
        return new

    def draw(self, sizes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A coalition of each of these sizes, uniform among those of its size that were not drawn yet.

        Args:
            sizes: [m].
            rng: what is drawn depends on it alone.

        Returns:
            The coalitions, bool [k, n], and which of ``sizes`` each is of, [k]: all, but where a size has no
            more.
        """
        found = np.zeros((len(sizes), self.n), dtype=bool)
        drawn = np.zeros(len(sizes), dtype=bool)
        listed = []
        for size in np.unique(sizes):
            at = np.flatnonzero(sizes == size)
            there = comb(self.n, int(size))
            if there <= SMALL and there <= LISTED * (len(at) + len(self._seen)):
                listed.append(size)
                rows = coalitions_of(self.n, int(size))
                keys = _keys(rows)
                free = np.array([i for i, key in enumerate(keys) if key not in self._seen], dtype=np.int64)
                chosen = rng.permutation(free)[: len(at)]
                self._seen.update(keys[i] for i in chosen)
                found[at[: len(chosen)]] = rows[chosen]
                drawn[at[: len(chosen)]] = True
        left = np.flatnonzero(~np.isin(sizes, listed))
        while len(left):
            rows = rng.random((len(left), self.n)).argsort(1).argsort(1) < sizes[left, None]
            new = self.add(rows)
            found[left[new]] = rows[new]
            drawn[left[new]] = True
            left = left[~new]
        return found[drawn], np.flatnonzero(drawn)


def _keys(rows: np.ndarray) -> list[bytes]:
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    as_bytes = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    keys: list[bytes] = [key.tobytes() for key in as_bytes]
    return keys
