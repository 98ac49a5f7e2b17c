"""From the four corner values to the scores: running sums that merge, in float64.

For a context S without u and v the corners are f(S), f(S+u), f(S+v), f(S+u+v), and the gains over f(S)
g_u = f(S+u) - f(S), g_v and g_uv. The paper's terms, its equations (1) to (5):

    delta = f(S+u+v) - f(S+u) - f(S+v) + f(S) = g_uv - g_u - g_v     (1)
    g_max = max(g_u, g_v)                                            (3)
    base = max(0, min(g_uv, g_max)),  span = |g_uv - g_max|          (4)
    SII = mean(delta),  gap = mean(base) / (1 + mean(span))          (5)

Ours say what kind of interaction it is. With the smaller gain m = max(0, min(g_u, g_v)):

    synergy     s = max(0, delta)
    redundancy  r = min(max(0, -delta), m)    what either brings, and both bring only once
    antagonism  a = max(0, -delta) - r        together less than that: they disturb each other
    SII = mean(s) - mean(r) - mean(a),  substitutability = mean(r) / mean(m), in [0, 1]

A feature that does nothing has r = 0 with every other, whereas the paper's gap gives it what a perfect
duplicate gets. Two features may also say the same thing *against* the target: r of the game -f,

    redundancy against  min(max(0, delta), max(0, -max(g_u, g_v)))

is a part of the synergy, kept apart and never added to the redundancy.

What of delta is the pair's own, beside what its members do with any partner, only the whole table of pairs
tells (``two_way``): it is one more term, taken coalition by coalition, and its mean the pair-specific score.

The mean of delta under Shapley-distributed contexts is the standard Shapley Interaction Index,
sum over S of |S|! (n-|S|-2)! / (n-1)! delta; equation (2) of the paper carries 2 n! in the denominator, a
constant factor 1/(2n) that its own estimator, an average, does not have.

Standard errors. Independent draws: from the sums of squares. The shared estimator's coalitions are stratified
by size and tiled, so they are not independent; there each stratum is compared with its neighbour, which comes
from another replicate (collapsed strata: K/2 contrasts, pair by pair), and what the tiling saves on top is a
factor common to all pairs, the design effect: the spread between whole replicates over that between their
members, pooled over the pairs of one table.

Another term, for another score, is one more field of ``Terms`` with its line in ``corner_terms``; sums, their
columns and the estimators follow from the names. Sums are always of a whole table of pairs.

Shapes: p pairs, t terms, c products of two terms, k draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add
from typing import Generic, NamedTuple, cast

import numpy as np

from raymoe.interactions.arrays import Array, library, on_host, positive, stacked
from raymoe.interactions.two_way import TwoWay

DESIGN_PRIOR = 4
ALIKE = 16  # pairs share their coalitions: more of them tell no more about the design effect
ROUNDING = 1e-6  # of the largest: squares below that may be rounding, and say nothing
PRIOR = 2  # degrees of freedom that the other pairs' variances lend to each of a few independent draws


class Terms(NamedTuple, Generic[Array]):
    """What four corner values tell, each an array of one shape; see the module."""

    delta: Array
    base: Array
    span: Array
    synergy: Array
    redundancy: Array
    antagonism: Array
    smaller_gain: Array
    redundancy_against: Array


CORNER_TERMS = Terms._fields
TERMS = (*CORNER_TERMS, "pair_specific")
"""What is averaged over contexts."""
MEANS = ("synergy", "redundancy", "antagonism", "redundancy_against")  # scores that are the mean of a term
SCORES = (
    "sii",
    "pair_specific",
    "synergy",
    "redundancy",
    "antagonism",
    "substitutability",
    "redundancy_against",
    "redundancy_gap",
)
"""What a pair is measured by; each has a standard error."""
# Those whose (co)variance a score's error needs: every term with itself, and those that a score combines.
PRODUCTS = (
    *((term, term) for term in TERMS),
    ("base", "span"),
    ("redundancy", "smaller_gain"),
)

_TOTALS = [f"sum_{term}" for term in TERMS]
_BLOCKS = [f"block_{term}_sq" for term in TERMS]
_NAMES = [f"{a}_sq" if a == b else f"{a}_{b}" for a, b in PRODUCTS]
_PRODUCTS, _CONTRASTS = ([f"{kind}_{name}" for name in _NAMES] for kind in ("sum", "contrast"))
COLUMNS = ("n_coalitions", "n_contrasts", *_TOTALS, *_PRODUCTS, *_CONTRASTS, "n_blocks", *_BLOCKS)
"""What sums are stored as, one column [p] each."""


def corner_terms(f_0: Array, f_u: Array, f_v: Array, f_uv: Array) -> Terms[Array]:
    """The terms of each context, from the game's values without u and v, with either and with both.

    Args:
        f_0, f_u, f_v, f_uv: arrays of one shape, in the units of the game's value.
    """
    minimum, maximum = library(f_0).minimum, library(f_0).maximum
    g_u, g_v, g_uv = f_u - f_0, f_v - f_0, f_uv - f_0
    g_max, g_min = maximum(g_u, g_v), minimum(g_u, g_v)
    delta = f_uv - f_u - f_v + f_0
    synergy, smaller_gain = positive(delta), positive(g_min)
    less = synergy - delta  # max(0, -delta), so that the terms add up to delta exactly
    redundancy = minimum(less, smaller_gain)
    return Terms(
        delta=delta,
        base=positive(minimum(g_uv, g_max)),
        span=abs(g_uv - g_max),
        synergy=synergy,
        redundancy=redundancy,
        antagonism=less - redundancy,
        smaller_gain=smaller_gain,
        redundancy_against=minimum(synergy, positive(-g_max)),
    )


def whole_terms(terms: Terms[Array], table: TwoWay) -> tuple[Array, ...]:
    """Each of ``TERMS``: those of the corners, [..., p], and what of delta is the pairs' own."""
    own: Array = table.rest(terms.delta)
    return cast("tuple[Array, ...]", (*terms, own))


def adding_up(
    delta: np.ndarray, terms: Terms[np.ndarray], shares: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Terms[np.ndarray]:
    """Terms whose synergy, redundancy and antagonism are made to add up to a ``delta`` known otherwise.

    Args:
        delta: what they have to add up to.
        terms: estimates of each, of the same shape.
        shares: which part of the difference each of the three takes; their sum is 1.
    """
    missing = delta - (terms.synergy - terms.redundancy - terms.antagonism)
    synergy, redundancy, antagonism = (share * missing for share in shares)
    return terms._replace(
        delta=delta,
        synergy=terms.synergy + synergy,
        redundancy=terms.redundancy - redundancy,
        antagonism=terms.antagonism - antagonism,
    )


@dataclass(frozen=True)
class RunningSums:
    """Sums per pair; ``a + b`` merges two blocks of the same pairs.

    Terms are weighted so that ``total / n_coalitions`` is the estimate.

    Attributes:
        n_coalitions, n_contrasts, n_blocks: how many of each were summed, int64 [p].
        totals: of each of ``TERMS``, [t, p].
        products: of each of ``PRODUCTS``, [c, p]; not summed (0) where there are contrasts, which say more.
        contrasts: the same products of differences between neighbouring strata, [c, p].
        block_squares: squared differences between neighbouring replicates, of each of ``TERMS``, [t, p].
    """

    n_coalitions: np.ndarray
    n_contrasts: np.ndarray
    n_blocks: np.ndarray
    totals: np.ndarray
    products: np.ndarray
    contrasts: np.ndarray
    block_squares: np.ndarray

    def __add__(self, other: RunningSums) -> RunningSums:
        return _each(add, self, other)

    def added(self, part: RunningSums, where: np.ndarray) -> RunningSums:
        """These sums with those of some of the pairs added.

        Args:
            part: sums of fewer pairs.
            where: which pairs those are, indices [q].
        """

        def at(whole: np.ndarray, some: np.ndarray) -> np.ndarray:
            whole = whole.copy()
            whole[..., where] += some
            return whole

        return _each(at, self, part)

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays [p] by the names they are stored under, in the order of ``COLUMNS``."""
        return {
            "n_coalitions": self.n_coalitions,
            "n_contrasts": self.n_contrasts,
            **dict(zip(_TOTALS, self.totals, strict=True)),
            **dict(zip(_PRODUCTS, self.products, strict=True)),
            **dict(zip(_CONTRASTS, self.contrasts, strict=True)),
            "n_blocks": self.n_blocks,
            **dict(zip(_BLOCKS, self.block_squares, strict=True)),
        }

    @classmethod
    def of_columns(cls, columns: Mapping[str, np.ndarray]) -> RunningSums:
        """The sums that were stored as these columns.

        Raises:
            ValueError: a column is missing, or there is one that is none of theirs.
        """
        if set(columns) != set(COLUMNS):
            raise ValueError(f"columns {', '.join(columns)}, expected {', '.join(COLUMNS)}")
        counts = {name: columns[name] for name in ("n_coalitions", "n_contrasts", "n_blocks")}
        stored = (_TOTALS, _PRODUCTS, _CONTRASTS, _BLOCKS)
        return cls(
            **counts,
            **{
                name: np.stack([columns[column] for column in names])
                for name, names in zip(
                    ("totals", "products", "contrasts", "block_squares"), stored, strict=True
                )
            },
        )

    def scores(self) -> dict[str, np.ndarray]:
        """Each of ``SCORES`` and its ``_stderr``, and ``base_mean, span_mean, smaller_gain_mean``, each [p].

        The errors of the two ratios, the gap and the substitutability, are by the delta method. With a single
        draw a standard error is NaN. Substitutability is NaN where there is nothing to substitute, the
        pair-specific score where a pair has nothing of its own (``TwoWay.known``).
        """
        mean = dict(zip(TERMS, self.totals / self.n_coalitions, strict=True))
        variance = self._variances(mean)
        base, span = mean["base"], mean["span"]
        # Base and span are means of what is never negative, but a surrogate's estimates of them may be.
        support, lead = np.maximum(base, 0), np.maximum(span, 0)
        by_base, by_span = 1 / (1 + lead), -support / (1 + lead) ** 2
        var_gap = (
            by_base**2 * variance["base", "base"]
            + by_span**2 * variance["span", "span"]
            + 2 * by_base * by_span * variance["base", "span"]
        )
        of_term = {"sii": "delta", "pair_specific": "pair_specific", **{name: name for name in MEANS}}
        values = {score: mean[term] for score, term in of_term.items()}
        squares = {score: variance[term, term] for score, term in of_term.items()}
        values["substitutability"], squares["substitutability"] = _substitutability(mean, variance)
        values["redundancy_gap"], squares["redundancy_gap"] = support / (1 + lead), var_gap
        found = {}
        for score in SCORES:
            found[score] = values[score]
            found[f"{score}_stderr"] = np.sqrt(np.maximum(squares[score], 0))
        return found | {
            "base_mean": base,
            "span_mean": span,
            "smaller_gain_mean": mean["smaller_gain"],
        }

    def degrees_of_freedom(self) -> np.ndarray:
        """Degrees of freedom of the standard errors, [p], for Student's t."""
        return np.where(self.n_contrasts > 0, self.n_contrasts, self.n_coalitions - 1 + PRIOR)

    def _variances(self, mean: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
        """(Co)variance of the means of each of ``PRODUCTS``, [p]."""
        effect = {term: self._design_effect(term) for term in TERMS}
        found = {}
        for (a, b), products, contrasts in zip(PRODUCTS, self.products, self.contrasts, strict=True):
            both = effect[a] if a == b else float(np.sqrt(effect[a] * effect[b]))
            found[a, b] = self._variance(products, mean[a], mean[b], contrasts, both)
        return found

    def _variance(
        self, products: np.ndarray, a: np.ndarray, b: np.ndarray, contrasts: np.ndarray, effect: float
    ) -> np.ndarray:
        """(Co)variance of two means: from contrasts where there are any, else from independent draws."""
        n, tiled = self.n_coalitions, self.n_contrasts > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(tiled, effect * contrasts / self.n_contrasts, (products - n * a * b) / (n - 1))
        free = np.where(tiled, self.n_contrasts, n - 1)
        told = each[~np.isnan(each)]
        usual = float(np.mean(told)) if len(told) else np.nan
        # A pair whose few draws happen to agree, or whose base was never seen above 0, is not known without
        # error: what is usual among the pairs counts too. (Contrasts: as one square more than there are.)
        with np.errstate(divide="ignore", invalid="ignore"):
            independent = n * (free * each + PRIOR * usual) / (free + PRIOR)
        squares = np.where(tiled, free * each + usual, np.where(n > 1, independent, np.nan))
        variance: np.ndarray = squares / n**2
        return variance

    def _design_effect(self, term: str) -> float:
        """What the tiling saves of a term's variance: a factor, 1 where nothing is known."""
        # what can't be told (NaN) tells nothing here
        blocks = np.nan_to_num(self.block_squares[TERMS.index(term)])
        contrasts = np.nan_to_num(self.contrasts[PRODUCTS.index((term, term))])
        known = contrasts > ROUNDING * contrasts.max()
        if not known.any():
            return 1.0
        found = float(blocks.sum() / contrasts.sum())
        # Drawn towards 1, as if that had been seen a few times, for few replicates or few pairs tell little.
        seen = min(int(known.sum()), ALIKE) * float(np.mean(self.n_blocks[known]))
        return (found * seen + DESIGN_PRIOR) / (seen + DESIGN_PRIOR)


def _substitutability(
    mean: Mapping[str, np.ndarray], variance: Mapping[tuple[str, str], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """E[r] / E[m] and its variance, [p]; NaN where the two never help both."""
    redundancy, gain = np.maximum(mean["redundancy"], 0), mean["smaller_gain"]
    known = gain > ROUNDING * np.abs(gain).max(initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(known, np.clip(redundancy / gain, 0, 1), np.nan)
        square = (
            variance["redundancy", "redundancy"]
            - 2 * ratio * variance["redundancy", "smaller_gain"]
            + ratio**2 * variance["smaller_gain", "smaller_gain"]
        ) / gain**2
    return ratio, np.where(known, square, np.nan)


def summed(parts: Iterable[RunningSums]) -> RunningSums:
    """The sum of blocks of the same pairs, added one after the other; there is at least one."""
    return reduce(add, parts)


def independent_sums(*terms: np.ndarray) -> RunningSums:
    """Sums of independent draws.

    Args:
        terms: one array [k, p] for each of ``TERMS``.
    """
    k, p = terms[0].shape
    return RunningSums(
        n_coalitions=np.full(p, k, dtype=np.int64),
        n_contrasts=np.zeros(p, dtype=np.int64),
        n_blocks=np.zeros(p, dtype=np.int64),
        totals=np.stack([x.sum(0) for x in terms]),
        products=np.stack([x.sum(0) for x in _products(terms)]),
        contrasts=np.zeros((len(PRODUCTS), p)),
        block_squares=np.zeros((len(TERMS), p)),
    )


def certain_sums(*terms: np.ndarray, count: int) -> RunningSums:
    """Sums whose means are known without error: those of ``count`` equal draws.

    Args:
        terms: the means, one array [p] for each of ``TERMS``.
        count: a power of 2, so that nothing is rounded.
    """
    return replace(
        independent_sums(*(count * x[None] for x in terms)),
        n_coalitions=np.full(len(terms[0]), count, dtype=np.int64),
        products=np.stack([count * a * b for a, b in _factors(terms)]),
    )


def tiled_sums(*terms: Array) -> RunningSums:
    """Sums of an even number of replicates of stratified coalitions, added up where the terms are.

    Args:
        terms: one array [replicates, length, p] for each of ``TERMS``.
    """
    replicates, length, p = terms[0].shape
    differences = [x[0::2] - x[1::2] for x in terms]
    totals = stacked([x.sum((0, 1)) for x in terms])
    contrasts = stacked([x.sum((0, 1)) for x in _products(differences)])
    squares = stacked([(x.sum(1) ** 2).sum(0) for x in differences])
    return RunningSums(
        n_coalitions=np.full(p, replicates * length, dtype=np.int64),
        n_contrasts=np.full(p, replicates * length // 2, dtype=np.int64),
        n_blocks=np.full(p, replicates // 2, dtype=np.int64),
        totals=on_host(totals),
        products=np.zeros((len(PRODUCTS), p)),
        contrasts=on_host(contrasts),
        block_squares=on_host(squares),
    )


def _products(terms: Sequence[Array]) -> list[Array]:
    """Each of ``PRODUCTS``."""
    return [a * b for a, b in _factors(terms)]


def _factors(terms: Sequence[Array]) -> list[tuple[Array, Array]]:
    """The two terms that each of ``PRODUCTS`` is of."""
    return [(terms[TERMS.index(a)], terms[TERMS.index(b)]) for a, b in PRODUCTS]


def _each(function: Callable[..., np.ndarray], *sums: RunningSums) -> RunningSums:
    """What a function makes of each array of some sums."""
    return RunningSums(*(function(*(getattr(s, f.name) for s in sums)) for f in fields(RunningSums)))
