"""The estimator ``auto``: what can be enumerated is, a fitted model takes what it can, the rest is sampled.

The index of a pair is a sum over all coalitions of value times a known weight. So

* where all 2^n coalitions are within the budget they are evaluated;
* the smallest and the largest coalitions, few and often heavy, are evaluated all, as far as a share of the
  budget goes: what they add to the index is known;
* coalitions between are sampled, and each informs every pair with an importance weight;
* of a model g fitted to the evaluations the index is known in closed form, so that only what it leaves is
  weighted: index(f) = index(g) + index(f - g). Each fold is corrected with a g that has not seen it, which
  leaves the fold's estimate unbiased. Which model it is (trees of what depth, or none) is decided by what it
  leaves of the first fold's coalitions.

The other scores need the four corners of a pair: part of the budget goes to flip grids, with g as a control
variate. These grids tell of the index too; the two estimates are weighted by how much they vary.
Choosing the model and that weight on the same evaluations is a bias, small beside the standard error.

The effort of fitting is bounded by the number of coalitions, not by the clock: the same seed gives the same
answer on any machine.

Shapes: n players, p pairs, K replicates, m coalitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations, count
from math import comb
from typing import ClassVar, Protocol

import numpy as np

from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators.base import Estimator, Question
from raymoe.interactions.estimators.boosted_trees import BoostedTrees
from raymoe.interactions.estimators.exact import MAX_PLAYERS, Exact
from raymoe.interactions.estimators.option_types import Options
from raymoe.interactions.estimators.surrogate import (
    MIN_SPREAD,
    REDRAWS,
    _adding_up,
    _combined,
    _log_probability,
    _only_in_fold,
    _spread,
    _unique,
    spread_sizes,
    spread_weights,
)
from raymoe.interactions.games.game import evaluate
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import SizeLaw, drawn_coalitions, generator
from raymoe.interactions.sampling.grid import Corners, FlipGrid, flip_grid
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.sums import Terms, corner_terms, independent_sums, whole_terms

EDGES = 0.25  # of the budget, at most, for the smallest and largest coalitions
GRIDS = 0.25  # of it for flip grids, but for two grids at least
FOLDS = 4
GRIDS_WANTED = 4  # so many where they take no more than half of the budget: fewer hardly tell their error
MODEL_VALUES = 1 << 15  # values of the model per fold, for the means of its terms
NEAR = 0.9  # a model is preferred to a simpler one where it leaves so much of it or less


class Model(Protocol):
    """What can be fitted: values of any coalition, and the index in closed form."""

    def __call__(self, coalitions: np.ndarray, /) -> np.ndarray:
        """Values, [m]."""

    def interactions(self, law: SizeLaw, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]."""


@dataclass(frozen=True)
class Spending:
    """How a budget is spent.

    Attributes:
        edge: coalitions of at most so many players, or lacking at most so many, are enumerated; -1 is none.
        replicates: each with one flip grid.
        spread: coalitions of each replicate that inform every pair, an even number.
    """

    edge: int
    replicates: int
    spread: int


class Auto(Estimator):
    """Decides from the game at hand; ``choice`` of the result says what."""

    name: ClassVar[str] = "auto"

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """See the module."""
        budget, n = checked_budget(budget, self.name), question.num_players
        if n <= MAX_PLAYERS and budget >= 1 << n:
            found = Exact().estimate(question, None, options)
            return replace(found, choice=f"all {1 << n} coalitions: they are within the budget")
        each = flip_grid(question.pairs, n).evaluations
        if planned(budget, n, each).spread < MIN_SPREAD:
            least = next(b for b in count(budget) if planned(b, n, each).spread >= MIN_SPREAD)
            raise too_small(budget, self.name, question.pairs, least)
        return _estimate(question, budget)


def planned(budget: int, n: int, each: int) -> Spending:
    """How a budget is spent where a flip grid takes ``each`` evaluations."""
    replicates = max(int(GRIDS * budget / each), GRIDS_WANTED if 2 * GRIDS_WANTED * each <= budget else 2)
    edge, cost = -1, 0
    while edge + 1 <= (n - 2) // 2:
        if cost + 2 * comb(n, edge + 1) > EDGES * budget:
            break
        edge += 1
        cost += 2 * comb(n, edge)
    return Spending(edge, replicates, (budget - replicates * each - cost) // replicates // 2 * 2)


def _estimate(question: Question, budget: int) -> InteractionEstimate:
    game, pairs, n = question.game, question.pairs, question.num_players
    seed, law = question.seed, question.law
    grid = flip_grid(pairs, n)
    plan = planned(budget, n, grid.evaluations)
    sizes = interior_sizes(n, law, plan.edge)
    edges = edge_coalitions(n, plan.edge)
    keys = [(seed, Stream.AUTO_GRIDS, r) for r in range(plan.replicates)]
    bases = np.concatenate([drawn_coalitions(law.sizes(n), 1, key) for key in keys])
    grids = bases[:, None] ^ grid.flips
    samples, unique, which = _drawn(edges, grids, sizes, plan, budget, seed)
    spread = samples.shape[1]
    values = evaluate(game, unique)

    # where in ``which`` each part stands
    edge_at = which[: len(edges)]
    spread_at = which[len(edges) : len(edges) + plan.replicates * spread].reshape(plan.replicates, -1)
    grid_at = which[len(edges) + plan.replicates * spread :].reshape(plan.replicates, -1)
    fold_of = np.arange(plan.replicates) % min(FOLDS, plan.replicates)
    owner = np.concatenate(
        [
            np.full(len(edges), -1),
            np.repeat(fold_of, spread),
            np.repeat(fold_of, grid.evaluations),
        ]
    )
    edge_weights = _edge_weights(edges, pairs, law)
    ends = Ends.found(question, grid, plan, unique, values)
    column = pairs[:, 0], pairs[:, 1]
    by_spread, by_grid, by_term, effects = [], [], [], []
    chosen, left = None, 1.0
    for fold in np.unique(fold_of):
        seen = np.flatnonzero(~_only_in_fold(which, owner, int(fold), len(unique)))
        members = np.flatnonzero(fold_of == fold)
        if chosen is None:
            chosen, left, model = _chosen(unique, values, seen, spread_at[members].ravel(), sizes, seed)
        else:
            model = FITTERS[chosen](unique[seen], values[seen], (seed, Stream.AUTO_FIT, int(fold)))
        first, second = model.interactions(law, n)
        rest = values - model(unique)
        known = second[column] + rest[edge_at] @ edge_weights
        rest_inside = rest.copy()
        rest_inside[edge_at] = 0  # what is known is not sampled
        contexts_each = max(1, MODEL_VALUES // grid.evaluations // len(members))
        for r in members:
            weights = spread_weights(samples[r], pairs, sizes, law)
            by_spread.append(known + rest_inside[spread_at[r]] @ weights / spread)
            base = bases[r][None]
            by_grid.append(known + grid.corners(base, rest_inside[grid_at[r]][None]).difference()[0])
            found = grid.corners(base, values[grid_at[r]][None])
            guessed = grid.corners(base, (values - rest)[grid_at[r]][None])
            missed = ends.inner_terms(found) - ends.inner_terms(guessed)
            contexts = drawn_coalitions(law.sizes(n), contexts_each, (seed, Stream.AUTO_CONTEXTS, int(r)))
            if chosen != "none":
                masks = (contexts[:, None] ^ grid.flips).reshape(-1, n)
                corners = grid.corners(contexts, model(masks).reshape(len(contexts), -1))
                missed += ends.inner_terms(corners)
            by_term.append(ends.terms + missed)
            effects.append(first[grid.players] + found.first_ks[0] - guessed.first_ks[0])
    delta = _combined(np.stack(by_spread), np.stack(by_grid))
    terms = _adding_up(delta, Terms(*np.stack(by_term, 1)))
    sums = independent_sums(*whole_terms(terms, question.two_way))
    main_effects = np.full(n, np.nan)
    main_effects[grid.players] = np.mean(effects, 0)
    found_estimate = InteractionEstimate.of_sums(
        pairs,
        sums,
        law,
        num_evaluations=len(unique),
        num_players=n,
        main_effects=main_effects,
        empty_value=float(values[edge_at[0]]) if plan.edge >= 0 else None,
    )
    return replace(found_estimate, choice=_said(plan, spread, chosen or "none", left, grid.evaluations))


def _said(plan: Spending, spread: int, chosen: str, left: float, each: int) -> str:
    """What was chosen, and why, in a sentence."""
    near = f"coalitions within {plan.edge} players of the empty and the full one enumerated, "
    return (
        f"{near if plan.edge >= 0 else ''}{plan.replicates * spread} others sampled for every pair, "
        f"{plan.replicates} flip grids of {each}; {NAMES[chosen]} left {left:.2g} of what weighs in the index"
    )


def interior_sizes(n: int, law: SizeLaw, edge: int) -> np.ndarray:
    """Probability of each size of the sampled coalitions, [n + 1]; 0 where all are enumerated."""
    sizes = spread_sizes(n, law)
    sizes[: edge + 1] = 0
    sizes[n - edge :] = 0
    share: np.ndarray = sizes / sizes.sum()
    return share


def edge_coalitions(n: int, edge: int) -> np.ndarray:
    """All coalitions of at most ``edge`` players, and their complements, the empty one first."""
    found = []
    for size in range(edge + 1):
        members = np.array(list(combinations(range(n), size)), dtype=np.int64).reshape(comb(n, size), size)
        rows = np.zeros((len(members), n), dtype=bool)
        np.put_along_axis(rows, members, True, 1)
        found += [rows, ~rows]
    return np.concatenate(found) if found else np.zeros((0, n), dtype=bool)


def _edge_weights(edges: np.ndarray, pairs: np.ndarray, law: SizeLaw) -> np.ndarray:
    """What each of these coalitions' values counts in each pair's index, [m, p]."""
    n = edges.shape[1]
    inside = edges[:, pairs[:, 0]].astype(int) + edges[:, pairs[:, 1]]
    context = edges.sum(1)[:, None] - inside
    probability = np.exp(_log_probability(n, law))[np.clip(context, 0, n - 2)]
    weights: np.ndarray = np.where(inside == 1, -1.0, 1.0) * probability
    return weights


def _drawn(
    edges: np.ndarray, grids: np.ndarray, sizes: np.ndarray, plan: Spending, budget: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples [K, spread, n]; the different coalitions of all parts, and which of them each is.

    What is drawn twice is evaluated once; more is drawn for what that saves.
    """
    n, spread = len(sizes) - 1, plan.spread

    def draw(each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys = [(seed, Stream.AUTO_SPREAD, r) for r in range(plan.replicates)]
        samples = np.stack([_spread(sizes, each, key) for key in keys])
        return samples, *_unique(np.concatenate([edges, samples.reshape(-1, n), grids.reshape(-1, n)]))

    kept = draw(spread)
    for _ in range(REDRAWS):
        extra = (budget - len(kept[1])) // plan.replicates // 2 * 2
        if extra < 2:
            break
        more = draw(spread + extra)
        if len(more[1]) > budget:
            break
        kept, spread = more, spread + extra
    return kept


@dataclass(frozen=True)
class Ends:
    """The first and the last context of each pair, which are certain where they were enumerated.

    Attributes:
        certain: whether they were.
        last: players of the last context.
        terms: what they add to the mean of each term, [t, p].
    """

    certain: bool
    last: int
    terms: np.ndarray

    @classmethod
    def found(
        cls, question: Question, grid: FlipGrid, plan: Spending, unique: np.ndarray, values: np.ndarray
    ) -> Ends:
        """From the enumerated coalitions of no more than two players, and their complements."""
        n = question.num_players
        last, terms = n - 2, np.zeros((len(Terms._fields), len(question.pairs)))
        if plan.edge < 2:
            return cls(False, last, terms)
        bases = np.stack([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)])
        masks = (bases[:, None] ^ grid.flips).reshape(-1, n)
        known = {row.tobytes(): value for row, value in zip(unique, values.tolist(), strict=True)}
        at = np.array([known[row.tobytes()] for row in masks]).reshape(2, -1)
        probability = question.law.sizes(last)[[0, -1]]
        corners = corner_terms(*grid.corners(bases, at).corners)
        return cls(True, last, np.stack([probability @ term for term in corners]))

    def inner_terms(self, corners: Corners[np.ndarray]) -> np.ndarray:
        """Mean of each term over the contexts between, 0 where a context is certain, [t, p]."""
        terms = np.stack(corner_terms(*corners.corners))
        if self.certain:
            size = corners.context_size_kp()
            terms = terms * ((size > 0) & (size < self.last))
        mean: np.ndarray = terms.mean(1)
        return mean


class Nothing:
    """The model that explains nothing but the mean."""

    def __init__(self, constant: float) -> None:
        self.constant = constant

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """One value for all."""
        return np.full(len(coalitions), self.constant)

    def interactions(self, law: SizeLaw, n: int) -> tuple[np.ndarray, np.ndarray]:
        """None."""
        return np.zeros(n), np.zeros((n, n))


def _none(coalitions: np.ndarray, values: np.ndarray, key: tuple[int, ...]) -> Model:
    return Nothing(float(values.mean()))


def _trees(depth: int, trees: int, rate: float) -> Callable[[np.ndarray, np.ndarray, tuple[int, ...]], Model]:
    def fit(coalitions: np.ndarray, values: np.ndarray, key: tuple[int, ...]) -> Model:
        return BoostedTrees.fitted(
            coalitions, values, trees=trees, depth=depth, rate=rate, rng=generator(*key)
        )

    return fit


FITTERS = {
    "none": _none,
    "shallow": _trees(2, 200, 0.2),
    "middle": _trees(4, 150, 0.2),
    "deep": _trees(6, 100, 0.2),
}
NAMES = {
    "none": "the mean",
    "shallow": "trees of depth 2",
    "middle": "trees of depth 4",
    "deep": "trees of depth 6",
}


def _chosen(
    unique: np.ndarray, values: np.ndarray, seen: np.ndarray, unseen: np.ndarray, sizes: np.ndarray, seed: int
) -> tuple[str, float, Model]:
    """The model that leaves least on coalitions it has not seen: its name, what it leaves, and itself.

    Each coalition was drawn as often as its weight in the index asks for: the plain mean of squares tells.
    """
    best, least, kept = "none", np.inf, None
    whole = 0.0
    for name, fit in FITTERS.items():
        model = fit(unique[seen], values[seen], (seed, Stream.AUTO_FIT, 0))
        rest = float(((values[unseen] - model(unique[unseen])) ** 2).mean())
        whole = whole or rest
        if kept is None or rest < NEAR * least:
            best, least, kept = name, rest, model
    assert kept is not None
    return best, least / whole if whole else 0.0, kept
