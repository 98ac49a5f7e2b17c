"""From the four corner values to the scores: running sums that merge, in float64.

For a context S without u and v the corners are f(S), f(S+u), f(S+v), f(S+u+v); paper equations (1) to (5):

    delta = f(S+u+v) - f(S+u) - f(S+v) + f(S)                       (1)
    g_u = f(S+u) - f(S), g_v, g_uv likewise, g_max = max(g_u, g_v)   (3)
    base = max(0, min(g_uv, g_max)),  span = |g_uv - g_max|          (4)
    SII = mean(delta),  gap = mean(base) / (1 + mean(span))          (5)

The mean of delta under Shapley-distributed contexts is the standard Shapley Interaction Index,
sum over S of |S|! (n-|S|-2)! / (n-1)! delta; equation (2) of the paper carries 2 n! in the denominator, a
constant factor 1/(2n) that its own estimator, an average, does not have.

Standard errors. Independent draws: from the sums of squares. The shared estimator's coalitions are stratified
by size and tiled, so they are not independent; there each stratum is compared with its neighbour, which comes
from another replicate (collapsed strata: K/2 contrasts, pair by pair), and what the tiling saves on top is a
factor common to all pairs, the design effect: the spread between whole replicates over that between their
members, pooled over the pairs of one table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

DESIGN_PRIOR = 4
ALIKE = 16  # pairs share their coalitions: more of them tell no more about the design effect
ROUNDING = 1e-6  # of the largest: squares below that may be rounding, and say nothing
PRIOR = 2  # degrees of freedom that the other pairs' variances lend to each of a few independent draws


@dataclass
class RunningSums:
    """Sums per pair, each an array [p]; ``a + b`` merges two blocks of the same pairs.

    Terms are weighted so that ``sum / n_coalitions`` is the estimate. ``contrast_*`` are sums over pairs of
    neighbouring strata, ``block_*`` over pairs of neighbouring replicates, of squared differences.
    """

    n_coalitions: np.ndarray
    n_contrasts: np.ndarray
    sum_delta: np.ndarray
    sum_base: np.ndarray
    sum_span: np.ndarray
    sum_delta_sq: np.ndarray
    sum_base_sq: np.ndarray
    sum_span_sq: np.ndarray
    sum_base_span: np.ndarray
    contrast_delta_sq: np.ndarray
    contrast_base_sq: np.ndarray
    contrast_span_sq: np.ndarray
    contrast_base_span: np.ndarray
    n_blocks: np.ndarray
    block_delta_sq: np.ndarray
    block_base_sq: np.ndarray
    block_span_sq: np.ndarray

    def __add__(self, other: RunningSums) -> RunningSums:
        return RunningSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name, as they are stored."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def scores(self) -> dict[str, np.ndarray]:
        """``sii, sii_stderr, base_mean, span_mean, redundancy_gap, redundancy_gap_stderr``, each [p].

        The gap's standard error is by the delta method. With a single draw a standard error is NaN.
        """
        n = self.n_coalitions
        delta, base, span = self.sum_delta / n, self.sum_base / n, self.sum_span / n
        effect = {name: self._design_effect(name) for name in ("delta", "base", "span")}
        var_delta = self._variance(self.sum_delta_sq, delta, delta, self.contrast_delta_sq, effect["delta"])
        var_base = self._variance(self.sum_base_sq, base, base, self.contrast_base_sq, effect["base"])
        var_span = self._variance(self.sum_span_sq, span, span, self.contrast_span_sq, effect["span"])
        both = np.sqrt(effect["base"] * effect["span"])
        covariance = self._variance(self.sum_base_span, base, span, self.contrast_base_span, both)
        # Base and span are means of what is never negative, but a surrogate's estimates of them may be.
        support, lead = np.maximum(base, 0), np.maximum(span, 0)
        by_base, by_span = 1 / (1 + lead), -support / (1 + lead) ** 2
        var_gap = by_base**2 * var_base + by_span**2 * var_span + 2 * by_base * by_span * covariance
        return {
            "sii": delta,
            "sii_stderr": np.sqrt(np.maximum(var_delta, 0)),
            "base_mean": base,
            "span_mean": span,
            "redundancy_gap": support / (1 + lead),
            "redundancy_gap_stderr": np.sqrt(np.maximum(var_gap, 0)),
        }

    def degrees_of_freedom(self) -> np.ndarray:
        """Of the standard errors, [p]: for Student's t."""
        return np.where(self.n_contrasts > 0, self.n_contrasts, self.n_coalitions - 1 + PRIOR)

    def _variance(
        self, products: np.ndarray, a: np.ndarray, b: np.ndarray, contrasts: np.ndarray, effect: float
    ) -> np.ndarray:
        """(Co)variance of two means: from contrasts where there are any, else from independent draws."""
        n, tiled = self.n_coalitions, self.n_contrasts > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(tiled, effect * contrasts / self.n_contrasts, (products - n * a * b) / (n - 1))
        free = np.where(tiled, self.n_contrasts, n - 1)
        usual = float(np.mean(each))
        # A pair whose few draws happen to agree, or whose base was never seen above 0, is not known without
        # error: what is usual among the pairs counts too. (Contrasts: as one square more than there are.)
        with np.errstate(divide="ignore", invalid="ignore"):
            independent = n * (free * each + PRIOR * usual) / (free + PRIOR)
        squares = np.where(tiled, free * each + usual, np.where(n > 1, independent, np.nan))
        return squares / n**2

    def _design_effect(self, name: str) -> float:
        blocks, contrasts = getattr(self, f"block_{name}_sq"), getattr(self, f"contrast_{name}_sq")
        known = contrasts > ROUNDING * contrasts.max()
        if not known.any():
            return 1.0
        found = float(blocks.sum() / contrasts.sum())
        # Drawn towards 1, as if that had been seen a few times, for few replicates or few pairs tell little.
        seen = min(int(known.sum()), ALIKE) * float(np.mean(self.n_blocks[known]))
        return (found * seen + DESIGN_PRIOR) / (seen + DESIGN_PRIOR)


def corner_terms(
    f_0: np.ndarray, f_u: np.ndarray, f_v: np.ndarray, f_uv: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``delta``, ``base`` and ``span`` of each context: equations (1), (3) and (4)."""
    g_u, g_v, g_uv = f_u - f_0, f_v - f_0, f_uv - f_0
    g_max = np.maximum(g_u, g_v)
    base = np.maximum(0.0, np.minimum(g_uv, g_max))
    return f_uv - f_u - f_v + f_0, base, np.abs(g_uv - g_max)


def independent_sums(delta: np.ndarray, base: np.ndarray, span: np.ndarray) -> RunningSums:
    """Sums of independent draws, each array [k, p]."""
    k, p = delta.shape
    zero = np.zeros(p)
    return RunningSums(
        n_coalitions=np.full(p, k, dtype=np.int64),
        n_contrasts=np.zeros(p, dtype=np.int64),
        sum_delta=delta.sum(0),
        sum_base=base.sum(0),
        sum_span=span.sum(0),
        sum_delta_sq=(delta * delta).sum(0),
        sum_base_sq=(base * base).sum(0),
        sum_span_sq=(span * span).sum(0),
        sum_base_span=(base * span).sum(0),
        contrast_delta_sq=zero,
        contrast_base_sq=zero,
        contrast_span_sq=zero,
        contrast_base_span=zero,
        n_blocks=np.zeros(p, dtype=np.int64),
        block_delta_sq=zero,
        block_base_sq=zero,
        block_span_sq=zero,
    )


def certain_sums(delta: np.ndarray, base: np.ndarray, span: np.ndarray, count: int) -> RunningSums:
    """Sums whose means are known without error: as of ``count`` equal draws. Arrays [p]; a power of 2."""
    sums = independent_sums(*(count * x[None] for x in (delta, base, span)))
    sums.n_coalitions = np.full(len(delta), count, dtype=np.int64)
    sums.sum_delta_sq, sums.sum_base_sq = count * delta * delta, count * base * base
    sums.sum_span_sq, sums.sum_base_span = count * span * span, count * base * span
    return sums


def tiled_sums(delta: np.ndarray, base: np.ndarray, span: np.ndarray) -> RunningSums:
    """Sums of an even number of replicates of stratified coalitions, each array [replicates, length, p]."""
    replicates, length, p = delta.shape
    sums = independent_sums(*(x.reshape(-1, p) for x in (delta, base, span)))
    d, b, s = (x[0::2] - x[1::2] for x in (delta, base, span))
    sums.n_contrasts = np.full(p, replicates * length // 2, dtype=np.int64)
    sums.contrast_delta_sq = (d * d).sum((0, 1))
    sums.contrast_base_sq = (b * b).sum((0, 1))
    sums.contrast_span_sq = (s * s).sum((0, 1))
    sums.contrast_base_span = (b * s).sum((0, 1))
    sums.n_blocks = np.full(p, replicates // 2, dtype=np.int64)
    sums.block_delta_sq, sums.block_base_sq, sums.block_span_sq = ((x.sum(1) ** 2).sum(0) for x in (d, b, s))
    return sums
