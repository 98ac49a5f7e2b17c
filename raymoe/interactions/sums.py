"""From the four corner values to the scores: running sums that merge, in float64.

For a context S without u and v the corners are f(S), f(S+u), f(S+v), f(S+u+v); paper equations (1) to (5):

    delta = f(S+u+v) - f(S+u) - f(S+v) + f(S)                       (1)
    g_u = f(S+u) - f(S), g_v, g_uv likewise, g_max = max(g_u, g_v)   (3)
    base = max(0, min(g_uv, g_max)),  span = |g_uv - g_max|          (4)
    SII = mean(delta),  gap = mean(base) / (1 + mean(span))          (5)

The mean of delta under Shapley-distributed contexts is the standard Shapley Interaction Index,
sum over S of |S|! (n-|S|-2)! / (n-1)! delta; equation (2) of the paper carries 2 n! in the denominator, a
constant factor 1/(2n) that its own estimator, an average, does not have.

Standard errors. Independent contexts: from the sums of squares. Stratified contexts in complementary pairs
are not independent, and their spread would overstate the error: there, four coalitions (two neighbouring
strata a and b, each averaged with its complement) give one contrast (a - b)/2, whose mean square estimates
the variance of their mean (collapsed strata), from above where the strata differ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from raymoe.interactions.coalitions import GROUP


@dataclass
class RunningSums:
    """Sums per pair, each an array [p]; ``a + b`` merges two blocks of coalitions of the same pairs."""

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
        var_delta = self._variance(self.sum_delta_sq, delta, delta, self.contrast_delta_sq)
        var_base = self._variance(self.sum_base_sq, base, base, self.contrast_base_sq)
        var_span = self._variance(self.sum_span_sq, span, span, self.contrast_span_sq)
        covariance = self._variance(self.sum_base_span, base, span, self.contrast_base_span)
        by_base, by_span = 1 / (1 + span), -base / (1 + span) ** 2
        var_gap = by_base**2 * var_base + by_span**2 * var_span + 2 * by_base * by_span * covariance
        return {
            "sii": delta,
            "sii_stderr": np.sqrt(np.maximum(var_delta, 0)),
            "base_mean": base,
            "span_mean": span,
            "redundancy_gap": base / (1 + span),
            "redundancy_gap_stderr": np.sqrt(np.maximum(var_gap, 0)),
        }

    def _variance(
        self, products: np.ndarray, a: np.ndarray, b: np.ndarray, contrasts: np.ndarray
    ) -> np.ndarray:
        """(Co)variance of two means: from contrasts where there are any, else from independent draws."""
        n = self.n_coalitions
        with np.errstate(divide="ignore", invalid="ignore"):
            independent = (products / n - a * b) / (n - 1)
            stratified = contrasts / self.n_contrasts**2
        return np.where(self.n_contrasts > 0, stratified, np.where(n > 1, independent, np.nan))


def corner_terms(
    f_0: np.ndarray, f_u: np.ndarray, f_v: np.ndarray, f_uv: np.ndarray
) -> tuple[np.ndarray, ...]:
    """``delta``, ``base`` and ``span`` of each context: equations (1), (3) and (4)."""
    g_u, g_v, g_uv = f_u - f_0, f_v - f_0, f_uv - f_0
    g_max = np.maximum(g_u, g_v)
    base = np.maximum(0.0, np.minimum(g_uv, g_max))
    return f_uv - f_u - f_v + f_0, base, np.abs(g_uv - g_max)


def corner_sums(
    f_0: np.ndarray, f_u: np.ndarray, f_v: np.ndarray, f_uv: np.ndarray, *, contrasts: bool
) -> RunningSums:
    """Running sums of a block of coalitions.

    Args:
        f_0, f_u, f_v, f_uv: the corner values, float64 [k, p].
        contrasts: the k coalitions are whole groups of four, stratified and in complementary pairs.
    """
    delta, base, span = corner_terms(f_0, f_u, f_v, f_uv)
    k, p = delta.shape
    if contrasts:
        d, b, s = (_contrast(x) for x in (delta, base, span))
    else:
        d = b = s = np.zeros((0, p))
    return RunningSums(
        n_coalitions=np.full(p, k, dtype=np.int64),
        n_contrasts=np.full(p, len(d), dtype=np.int64),
        sum_delta=delta.sum(0),
        sum_base=base.sum(0),
        sum_span=span.sum(0),
        sum_delta_sq=(delta * delta).sum(0),
        sum_base_sq=(base * base).sum(0),
        sum_span_sq=(span * span).sum(0),
        sum_base_span=(base * span).sum(0),
        contrast_delta_sq=(d * d).sum(0),
        contrast_base_sq=(b * b).sum(0),
        contrast_span_sq=(s * s).sum(0),
        contrast_base_span=(b * s).sum(0),
    )


def _contrast(x_kp: np.ndarray) -> np.ndarray:
    """Half the difference between neighbouring strata, each averaged with its complement: [k/4, p]."""
    strata = x_kp.reshape(-1, GROUP // 2, 2, x_kp.shape[1]).mean(2)
    return (strata[:, 0] - strata[:, 1]) / 2
