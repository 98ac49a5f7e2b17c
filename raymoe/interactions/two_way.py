"""What of the scores of a table of pairs is about the pairs: the two-way decomposition.

A word that matters in the presence of any patch lifts the scores of all its pairs, and so does a patch. The
score of a pair is therefore cut into a part that its members explain and a rest of its own,

    x_uv = effect of u among the partners of v's kind + effect of v among those of u's kind + rest_uv

by least squares over the pairs of one table, which need not be complete: any set of pairs will do, pairs of
three modalities too. In a full table of words by patches this is the usual double centring: x_uv less the
word's mean less the patch's mean plus the mean of all.

The decomposition is linear. Taken coalition by coalition, of the second differences, it gives the
pair-specific part of the index with a standard error of its own, in which what the pairs of a table share
cancels (``sums``).

Shapes: p pairs, e effects.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from raymoe.interactions.arrays import Array, beside, library

SATURATED = 1e-6  # of its variance that a pair keeps beside the effects: below, nothing of its own is left
ABOVE = 0.95  # level of the test whether there is more than noise
MANY = 1e6  # degrees of freedom, as good as infinitely many


class TwoWay:
    """The effects that the pairs of one table have in common.

    Args:
        pairs: int [p, 2], two players each.
        modality: int [n], which modality each player is of; None where nobody knows, then partners are all of
            one kind.
    """

    def __init__(self, pairs: np.ndarray, modality: np.ndarray | None = None) -> None:
        kind_p2 = np.zeros_like(pairs) if modality is None else np.asarray(modality)[pairs]
        # An effect belongs to a player and the kind of its partner.
        levels = np.stack([pairs, kind_p2[:, ::-1]], -1).reshape(-1, 2)
        _, self.effect_p2 = np.unique(levels, axis=0, return_inverse=True)
        self.effect_p2 = self.effect_p2.reshape(-1, 2)

    def rest(self, values: Array) -> Array:
        """What the effects leave of values [..., p]; NaN for a pair that has nothing of its own.

        A pair has nothing of its own where one of its members is in no other pair, as in a sample with a
        single word: that is not known to be 0, it can't be told.
        """
        design_pe, inverse_ee = (beside(array, values) for array in self._fit)
        found: Array = library(values).where(
            beside(self.known, values), values - (values @ design_pe) @ inverse_ee @ design_pe.T, np.nan
        )
        return found

    @cached_property
    def known(self) -> np.ndarray:
        """Which pairs have something of their own, bool [p]."""
        design_pe, inverse_ee = self._fit
        leverage_p = ((design_pe @ inverse_ee) * design_pe).sum(1)
        found: np.ndarray = leverage_p < 1 - SATURATED
        return found

    @property
    def free(self) -> int:
        """How many values the effects leave free: pairs less effects that can be told apart."""
        design_pe, inverse_ee = self._fit
        return len(design_pe) - round(float(np.trace(inverse_ee @ (design_pe.T @ design_pe))))

    @cached_property
    def _fit(self) -> tuple[np.ndarray, np.ndarray]:
        """Which effects each pair has, [p, e], and the inverse of their products, [e, e]."""
        p, e = len(self.effect_p2), int(self.effect_p2.max(initial=-1)) + 1
        design_pe = np.zeros((p, e))
        design_pe[np.arange(p)[:, None], self.effect_p2] = 1.0
        # Effects are known up to a constant in each connected part of the table: any inverse will do.
        return design_pe, np.linalg.pinv(design_pe.T @ design_pe, hermitian=True)


def two_way(pairs: np.ndarray, modality: np.ndarray | None = None) -> TwoWay:
    """The effects of a table of pairs, made once: samples often have the very same pairs."""
    pairs = np.ascontiguousarray(pairs, dtype=np.int64)
    kinds = None if modality is None else np.ascontiguousarray(modality, dtype=np.int64).tobytes()
    return _two_way(pairs.tobytes(), kinds)


@lru_cache(maxsize=64)
def _two_way(pairs: bytes, kinds: bytes | None) -> TwoWay:
    modality = None if kinds is None else np.frombuffer(kinds, dtype=np.int64)
    return TwoWay(np.frombuffer(pairs, dtype=np.int64).reshape(-1, 2), modality)


class Shares(NamedTuple):
    """Where the variance of a score lies within one table, each in the score's units squared.

    Attributes:
        total: variance over the pairs.
        first, second: what the first and the second members of the pairs explain; where the table is not
            complete, what both could explain is halved between them.
        own: what is left for the pairs, the noise of the estimate included.
        noise: what of ``own`` is noise, by its standard errors.
        above_noise: whether ``own`` is more than noise alone would be (F test at 5 %).
    """

    total: float
    first: float
    second: float
    own: float
    noise: float
    above_noise: bool


def shares(
    pairs: np.ndarray, values: np.ndarray, own: np.ndarray, own_stderr: np.ndarray, freedom: float = np.inf
) -> Shares | None:
    """The variance of a score within a table of pairs, by what explains it.

    Args:
        pairs: int [p, 2]; the first members are of one kind, words say, the second of another, patches: they
            are different players where their numbers are the same.
        values: the score, [p].
        own: its pair-specific part, [p]; NaN where it can't be told.
        own_stderr: the standard errors of that, [p].
        freedom: degrees of freedom of those.

    Returns:
        None where no pair has anything of its own.
    """
    known = np.isfinite(own)
    if not known.any():
        return None
    centred = values - values.mean()
    total = float(np.mean(centred**2))
    rest = float(np.sum(own[known] ** 2)) / len(values)
    alone = [_between(pairs[:, side], centred) for side in (0, 1)]
    # Either may come first; the mean over both orders (the Shapley value of the two).
    both = total - rest
    first, second = ((alone[i] + both - alone[1 - i]) / 2 for i in (0, 1))
    noise = float(np.sum(own_stderr[known] ** 2)) / len(values)
    apart = np.stack([pairs[:, 0], pairs[:, 1] + int(pairs.max()) + 1], 1)
    return Shares(total, first, second, rest, noise, _is_above(rest, noise, TwoWay(apart).free, freedom))


def _between(level: np.ndarray, centred: np.ndarray) -> float:
    """The variance that the means by level explain."""
    _, index, count = np.unique(level, return_inverse=True, return_counts=True)
    mean = np.bincount(index, centred) / count
    return float(np.mean(mean[index] ** 2))


def _is_above(own: float, noise: float, free: int, freedom: float) -> bool:
    """Whether a mean square of so many free values is above that of its noise."""
    from scipy.stats import f as fisher  # takes a third as long to import as torch

    if not np.isfinite(noise):  # a single draw doesn't know its error
        return False
    level = fisher.ppf(ABOVE, free, min(freedom, MANY))
    return bool(own > level * noise)
