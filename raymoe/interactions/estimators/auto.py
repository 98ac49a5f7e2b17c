"""The estimator ``auto``: what can be enumerated is, a fitted model takes what it can, the rest is sampled.

The index of a pair is a sum over all coalitions of value times a known weight (``weighted_values``). So

* where all 2^n coalitions are within the budget they are evaluated;
* a first part of the budget, the pilot, shows at which sizes values can't be foretold. The rest goes where
  weight and what can't be foretold are large; a size that would get most of its coalitions is evaluated
  whole, and its part of the index is known: the empty and the full coalition, their neighbours, and whatever
  else is few and heavy;
* coalitions are drawn without replacement: what was evaluated counts for itself, what is drawn stands for
  what was not;
* of a model g fitted to the evaluations the index is known, so that only what it leaves is weighted:
  index(f) = index(g) + index(f - g). Each fold is corrected with a g that has not seen it, which leaves the
  fold's estimate unbiased. Which model it is (a polynomial, a few products, trees, a network, none) is
  decided by what it leaves of coalitions that it has not seen;
* where the correction hardly stands out from its own noise, only that part of it is taken which does
  (James and Stein, 1961): less wrong for all pairs together, at the price of a bias, which the standard
  errors include. ``correction="unbiased"`` takes all of it.

The other scores need the four corners of a pair: part of the budget goes to flip grids, with g as a control
variate. These grids tell of the index too; the two estimates are weighted by how much they vary.
Choosing the model and that weight on the same evaluations is a bias, small beside the standard error.

Shapes: n players, p pairs, R replicates, m coalitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from math import comb
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators.base import Estimator, Question
from raymoe.interactions.estimators.collected import Collected, collected, planned
from raymoe.interactions.estimators.exact import Exact, is_enumerable, or_enumerated
from raymoe.interactions.estimators.option_types import Choice, Option, Options
from raymoe.interactions.estimators.shared import MIN_FOR_PILOT, Shared, knows_edges, pilot_layout
from raymoe.interactions.estimators.surrogate import _adding_up, _combined
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import drawn_coalitions, generator
from raymoe.interactions.sampling.grid import Corners, FlipGrid, flip_grid, grid_evaluations
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.shrinkage import FEWEST, shrunk
from raymoe.interactions.sums import Terms, corner_terms, independent_sums, whole_terms
from raymoe.interactions.surrogates.choice import LIGHT, PATIENT, ChosenModel, Effort, chosen_model
from raymoe.interactions.surrogates.network import VALUES, Model
from raymoe.interactions.weighted_values import index_of_values, size_weights
from raymoe.runtime.seeds import seed_of

MODEL_VALUES = 1 << 15  # values of the model per fold, for the means of its terms
COUNTED = 8  # draws of a size from which on their number is counted rather than expected
FOLDS = 4  # of models that are fitted in no time
PATIENT_FROM = 10.0  # seconds of evaluating: more than fitting takes with patience


class Auto(Estimator):
    """Decides from the game at hand; ``choice`` of the result says what.

    Its options: ``effort`` is what fitting may take, ``light`` (about two seconds), ``patient`` (up to ten)
    or, by default, ``measured``: patient where evaluating took longer than that. ``correction`` is ``shrunk``
    or ``unbiased``.
    """

    name: ClassVar[str] = "auto"
    options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {
            "effort": Choice("measured", ("measured", "light", "patient")),
            "correction": Choice("shrunk", ("shrunk", "unbiased")),
        }
    )

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """See the module."""
        budget, n = checked_budget(budget, self.name), question.num_players
        if is_enumerable(budget, n):
            found = Exact().estimate(question, None, options)
            return replace(found, choice=f"all {1 << n} coalitions: they are within the budget")
        if len(question.pairs) < FEWEST:
            return self._of_few(question, budget)
        each = flip_grid(question.pairs, n).evaluations
        if not planned(budget, each).possible:
            least = next(b for b in count(budget) if planned(b, each).possible)
            raise too_small(budget, self.name, question.pairs, or_enumerated(least, n))
        data = collected(question, budget)
        measured = PATIENT if data.seconds >= PATIENT_FROM else LIGHT
        effort = {"light": LIGHT, "patient": PATIENT}.get(str(options["effort"]), measured)
        return _Correction(question, data, effort).estimate(options["correction"] == "shrunk")

    def _of_few(self, question: Question, budget: int) -> InteractionEstimate:
        """Of fewer pairs than a model is worth."""
        pairs, n = question.pairs, question.num_players
        shared, each = Shared(), grid_evaluations(pairs)
        least = shared.least_budget(pairs)
        if budget < least:
            bought = max(budget - shared.extra_evaluations, 0) // each
            buys = f"{bought} flip grids of {each}, and standard errors take {shared.min_coalitions}"
            raise too_small(budget, self.name, pairs, or_enumerated(least, n), buys)
        plan = pilot_layout(shared.coalitions(budget, pairs), pairs, n, question.law)
        ends = "the first and the last context of each exact, the others sampled"
        if not plan.pilot:
            enough = shared.extra_evaluations + MIN_FOR_PILOT * each
            when = f" (exact from a budget of {enough})" if knows_edges(n, question.law) else ""
            ends = f"the first and the last context of each sampled like the others{when}"
        said = f"flip grids alone: of so few pairs they tell more than a model; {ends}"
        return replace(shared.estimate(question, budget, {}), choice=said)


@dataclass
class _Found:
    """Estimates by replicate, [p] each but for ``effects``, [n]."""

    by_model: list[np.ndarray]
    by_spread: list[np.ndarray]
    by_grid: list[np.ndarray]
    by_term: list[np.ndarray]
    effects: list[np.ndarray]


class _Correction:
    """One estimate from what was evaluated: what models know of it, and what they miss."""

    def __init__(self, question: Question, data: Collected, effort: Effort) -> None:
        self.question, self.data, self.effort = question, data, effort
        self.n, self.law, self.pairs = question.num_players, question.law, question.pairs
        self.replicates = int(data.replicate.max()) + 1
        self.size = data.coalitions.sum(1)
        self.grid = flip_grid(self.pairs, self.n)
        self.ends = Ends.found(question, self.grid, data)

    def estimate(self, is_shrunk: bool) -> InteractionEstimate:
        """The whole of it."""
        chosen = self._chosen()
        folds = self.effort.folds if chosen.is_network else FOLDS
        found = _Found([], [], [], [], [])
        for fold in range(folds):
            if fold == 0 and folds == self.effort.folds and chosen.model is not None:
                model = chosen.model
            else:
                seen = self._seen(fold, folds)
                model = chosen.fit(self.data.coalitions[seen], self.data.values[seen], self._seed(fold))
            self._correct(model, fold, folds, found)
        # replicates went through fold by fold
        delta, share = np.stack(found.by_spread), 1.0
        if is_shrunk:
            fold_of = np.sort(np.arange(self.replicates) % folds)
            delta, share = shrunk(delta, np.stack(found.by_model), fold_of)
        if self.grid_count:
            delta = _combined(delta, np.stack(found.by_grid))
            terms = _adding_up(delta, Terms(*np.stack(found.by_term, 1)))
        else:
            terms = Terms(delta, *[np.full_like(delta, np.nan)] * (len(Terms._fields) - 1))
        main_effects = np.full(self.n, np.nan)
        main_effects[self.grid.players] = np.mean(found.effects, 0)[self.grid.players]
        estimate = InteractionEstimate.of_sums(
            self.pairs,
            independent_sums(*whole_terms(terms, self.question.two_way)),
            self.law,
            num_evaluations=len(self.data.values),
            num_players=self.n,
            main_effects=main_effects,
            empty_value=float(self.data.values[0]),
        )
        return replace(estimate, choice=self._said(chosen, share))

    @property
    def grid_count(self) -> int:
        """How many flip grids there are."""
        return len(self.data.bases)

    def _chosen(self) -> ChosenModel:
        """The kind of model, decided by the first fold."""
        data, folds = self.data, self.effort.folds
        known, seen = self._known(0, folds), self._seen(0, folds)
        weight = self._stands_for(known, 0, folds) * size_weights(self.n, self.law)
        return chosen_model(
            (data.coalitions[seen], data.values[seen]),
            (data.coalitions[~known], data.values[~known]),
            weight[self.size[~known]] ** 2,
            self.effort,
            self._seed(0),
            VALUES * self.replicates / folds / max(1, int((~known).sum())),
        )

    def _correct(self, model: Model, fold: int, folds: int, found: _Found) -> None:
        """The estimates of a fold's replicates, with a model that has not seen them."""
        data, law, n, seed = self.data, self.law, self.n, self.question.seed
        column = self.pairs[:, 0], self.pairs[:, 1]
        rest = data.values - model(data.coalitions)
        known = self._known(fold, folds)
        stands_for = self._stands_for(known, fold, folds)
        first_known, second_known = index_of_values(data.coalitions[known], rest[known], law)
        whole = data.whole[self.size]
        second_whole = index_of_values(data.coalitions[whole], rest[whole], law)[1]
        members = range(fold, self.replicates, folds)
        contexts_each = max(1, MODEL_VALUES // self.grid.evaluations // len(members))
        for r in members:
            first, second = model.interactions(law, (seed, Stream.AUTO_NETWORK, r))
            at = data.replicate == r
            own = rest[at] * stands_for[self.size[at]]
            first_own, second_own = index_of_values(data.coalitions[at], own, law)
            found.by_model.append(second[column])
            found.by_spread.append((second + second_known + second_own)[column])
            found.effects.append(first + first_known + first_own)
            if not self.grid_count:
                continue
            missed, missed_terms = self._missed_in_grid(r, rest, whole)
            found.by_grid.append((second + second_whole)[column] + missed)
            contexts = drawn_coalitions(law.sizes(n), contexts_each, (seed, Stream.AUTO_CONTEXTS, r))
            masks = (contexts[:, None] ^ self.grid.flips).reshape(-1, n)
            corners = self.grid.corners(contexts, model(masks).reshape(len(contexts), -1))
            found.by_term.append(self.ends.terms + self.ends.inner_terms(corners) + missed_terms)

    def _missed_in_grid(
        self, r: int, rest: np.ndarray, whole: np.ndarray
    ) -> tuple[np.ndarray | float, np.ndarray | float]:
        """What a model misses of the difference, and of every term, in the grid of a replicate.

        Times how many replicates there are for a grid: those without one miss nothing.
        """
        data = self.data
        if r >= self.grid_count:
            return 0.0, 0.0
        base, at = data.bases[r][None], data.grid_at[r]
        times = self.replicates / self.grid_count
        inside = np.where(whole, 0.0, rest)[at]  # what is known is not sampled
        seen, foretold = (
            self.ends.inner_terms(self.grid.corners(base, values[at][None]))
            for values in (data.values, data.values - rest)
        )
        return times * self.grid.corners(base, inside[None]).difference()[0], times * (seen - foretold)

    def _known(self, fold: int, folds: int) -> np.ndarray:
        """Coalitions that count for themselves where this fold's replicates stand for the others."""
        replicate = self.data.replicate
        known: np.ndarray = (replicate < 0) | (replicate % folds != fold)
        return known

    def _seen(self, fold: int, folds: int) -> np.ndarray:
        """Which coalitions a fold's model is fitted to, in random order."""
        data = self.data
        elsewhere = np.zeros(len(data.values), dtype=bool)
        elsewhere[data.grid_at[np.arange(self.grid_count) % folds != fold].ravel()] = True
        seen = self._known(fold, folds) & (~data.only_in_grids | elsewhere)
        order = generator(self.question.seed, Stream.AUTO_FIT, 10 + fold)
        found: np.ndarray = order.permutation(np.flatnonzero(seen))
        return found

    def _stands_for(self, known: np.ndarray, fold: int, folds: int) -> np.ndarray:
        """How many coalitions one of a replicate stands for, by size, [n + 1]."""
        n, expected = self.n, self.data.expected
        there = np.array([float(comb(n, size)) for size in range(n + 1)])
        unseen = there - np.bincount(self.size[known], minlength=n + 1)
        members = len(range(fold, self.replicates, folds))
        drawn = np.bincount(self.size[~known], minlength=n + 1) / members
        expected = np.where(expected * members >= COUNTED, drawn, expected)
        each: np.ndarray = np.divide(unseen, expected, out=np.zeros(n + 1), where=expected > 0)
        return each

    def _seed(self, fold: int) -> int:
        return seed_of("auto", self.question.seed, fold) % (1 << 31)

    def _said(self, chosen: ChosenModel, share: float) -> str:
        """What was done, and why, in a sentence."""
        data = self.data
        grids = f"{self.grid_count} flip grids of {self.grid.evaluations}"
        if not self.grid_count:
            each = self.grid.evaluations
            enough = or_enumerated(next(b for b in count(2 * each) if planned(b, each).grids), self.n)
            grids = (
                "no flip grids, which the budget is too small for: nothing but the index is estimated "
                f"(the other scores from a budget of {enough})"
            )
        sampled = int((data.replicate >= 0).sum())
        taken = f", and {share:.0%} of its correction is taken" if share < 0.995 else ""
        return (
            f"all coalitions of {_ranges(np.flatnonzero(data.whole))} players, {sampled} others sampled for "
            f"every pair, {grids}; {chosen.name} left {chosen.left:.2g} of what weighs in the index{taken}"
        )


def _ranges(sizes: np.ndarray) -> str:
    """Whole numbers in words: '0 to 2, 16 to 18'."""
    parts = np.split(sizes, np.flatnonzero(np.diff(sizes) > 1) + 1)
    return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)


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
    def found(cls, question: Question, grid: FlipGrid, data: Collected) -> Ends:
        """From the enumerated coalitions of no more than two players, and their complements."""
        n = question.num_players
        last, terms = n - 2, np.zeros((len(Terms._fields), len(question.pairs)))
        if not (data.whole[:3].all() and data.whole[-3:].all()):
            return cls(False, last, terms)
        bases = np.stack([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)])
        masks = (bases[:, None] ^ grid.flips).reshape(-1, n)
        both = zip(data.coalitions, data.values.tolist(), strict=True)
        known = {row.tobytes(): value for row, value in both}
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
