"""The estimator ``adaptive``: which pairs are the largest, with evaluations only for those still in doubt.

Rounds of ``shared``: after each, a pair is in where fewer than ``top`` others could still be above it, and
out where ``top`` others surely are; the next round measures what is left, with twice the coalitions. Bounds
are Student intervals that hold for all pairs and rounds together (Bonferroni; round r gets 1/(r (r + 1)) of
the risk).

Shapes: n players, p pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators.base import Estimator, Question
from raymoe.interactions.estimators.option_types import Choice, Fraction, Option, Options
from raymoe.interactions.estimators.shared import SharedSampling
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.grid import FlipGrid
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.sums import RunningSums
from raymoe.runtime.seeds import seed_of

FIRST_ROUND = 16  # coalitions
SCORES = ("sii", "sii_magnitude", "synergy", "redundancy", "antagonism", "redundancy_gap")


class Adaptive(Estimator):
    """Finds the top ``share`` of the pairs by a score; stops when they are settled or the budget is spent.

    Options:
        share: of the pairs, rounded up.
        score: ``sii``, ``sii_magnitude`` (its absolute value), ``synergy``, ``redundancy``, ``antagonism`` or
            the paper's ``redundancy_gap``.
        confidence: that all pairs decided are decided rightly.
    """

    name: ClassVar[str] = "adaptive"
    options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {
            "share": Fraction(0.1, "a part of the pairs, between 0 and 1"),
            "score": Choice("sii", SCORES),
            "confidence": Fraction(0.95, "a probability, for instance 0.95"),
        }
    )

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """Scores of all pairs, the more exact the closer to the boundary; ``top`` and ``settled``.

        A pair is left when it looks clear, so scores of pairs left early lean a little away from the
        boundary. Of the pair-specific score nothing is known (NaN): it takes coalitions that serve the whole
        table.
        """
        share, confidence = float(options["share"]), float(options["confidence"])
        budget, pairs, n = checked_budget(budget, self.name), question.pairs, question.num_players
        p = len(pairs)
        top = math.ceil(round(share * p, 9))
        first_cost = 1 + FIRST_ROUND * FlipGrid(pairs, n).evaluations
        if budget < first_cost:
            raise too_small(budget, self.name, pairs, first_cost)
        rounds = _Rounds(question)
        for number in count():
            coalitions = min(
                FIRST_ROUND << number, rounds.affordable(budget - 1)
            )  # 1 for the empty coalition
            if coalitions < FIRST_ROUND:
                break
            found = rounds.measure(number, coalitions)
            risk = (1 - confidence) / (p * (number + 1) * (number + 2))
            low, high, value = _bounds(found, str(options["score"]), 1 - risk)
            chosen = np.zeros(p, dtype=bool)
            chosen[np.argsort(-value, kind="stable")[:top]] = True
            # how many others could be above, and how many surely are
            could = (high[None, :] >= low[:, None]).sum(1) - 1
            surely = (low[None, :] > high[:, None]).sum(1)
            rounds.open_pairs = np.flatnonzero((could >= top) & (surely < top))
            if not len(rounds.open_pairs):
                break
        unknown = np.full(p, np.nan)
        return replace(
            found,
            pair_specific=unknown,
            pair_specific_stderr=unknown,
            main_effects=rounds.main_effects(),
            empty_value=rounds.empty_value,
            top=chosen,
            settled=not len(rounds.open_pairs),
        )


class _Rounds:
    """What the rounds have measured together, and which pairs the next one is about.

    Attributes:
        open_pairs: those still in doubt, indices.
        empty_value: the game's value of the empty coalition, after the first round.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.open_pairs = np.arange(len(question.pairs))
        self.empty_value: float | None = None
        self._sums: RunningSums | None = None
        self._spent = 0
        self._effects, self._counted = np.zeros(question.num_players), np.zeros(question.num_players)

    def affordable(self, budget: int) -> int:
        """How many coalitions for the open pairs what is left of a budget buys."""
        each = FlipGrid(self._pairs, self.question.num_players).evaluations
        return (budget - self._spent) // each

    def measure(self, number: int, coalitions: int) -> InteractionEstimate:
        """One more round for the open pairs; the estimate of all pairs from all rounds."""
        asked = self.question
        seed = seed_of(asked.seed, int(Stream.ROUNDS), number)
        part = replace(asked, pairs=self._pairs, seed=seed)
        sampling = SharedSampling(part, coalitions)
        sums = sampling.sums()
        if self.empty_value is None:
            self.empty_value = sampling.empty_value()
        self._spent += sampling.num_evaluations
        self._sums = sums if self._sums is None else self._sums.added(sums, self.open_pairs)
        self._effects[sampling.grid.players] += sampling.main_effects() * coalitions
        self._counted[sampling.grid.players] += coalitions
        return InteractionEstimate.of_sums(
            asked.pairs,
            self._sums,
            asked.law,
            num_evaluations=self._spent,
            num_players=asked.num_players,
        )

    def main_effects(self) -> np.ndarray:
        """Shapley (or Banzhaf) value of each player that was in an open pair, [n]; NaN for the others."""
        with np.errstate(invalid="ignore"):
            return np.where(self._counted > 0, self._effects / self._counted, np.nan)

    @property
    def _pairs(self) -> np.ndarray:
        return self.question.pairs[self.open_pairs]


def _bounds(
    found: InteractionEstimate, score: str, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper bound, and the value itself."""
    name = score.removesuffix("_magnitude")
    low, high = found.interval(level, score=name)
    value: np.ndarray = getattr(found, name)
    if score != "sii_magnitude":
        return low, high, value
    magnitude = np.abs(value)
    return np.maximum(magnitude - (high - value), 0), magnitude + (high - value), magnitude
