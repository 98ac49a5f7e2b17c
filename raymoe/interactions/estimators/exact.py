"""Exact interactions by evaluating all 2^n coalitions: the oracle for small universes.

Shapes: n players, p pairs; tables of 2^n values, bit i of the index says whether player i is in.
"""

from __future__ import annotations

from math import comb
from typing import ClassVar

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators.base import Estimator, Question, Work
from raymoe.interactions.estimators.option_types import Options
from raymoe.interactions.games.game import Game, evaluate
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import SHAPLEY, SizeLaw
from raymoe.interactions.sums import Terms, certain_sums, corner_terms, whole_terms

MAX_PLAYERS = 20
AT_ONCE = 1 << 15


class Exact(Estimator):
    """All 2^n coalitions; standard errors are 0."""

    name: ClassVar[str] = "exact"

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """The values themselves.

        Raises:
            InputError: too many players, or a budget below 2^n.
        """
        n, pairs, law = question.num_players, question.pairs, question.law
        check_players(n)
        if budget is not None and checked_budget(budget, self.name) < 1 << n:
            raise too_small(budget, self.name, pairs, 1 << n)
        values = all_values(question.game, n)
        terms = whole_terms(pair_scores(values, n, pairs, law), question.two_way)
        return InteractionEstimate.of_sums(
            pairs,
            certain_sums(*terms, count=1 << n),
            law,
            num_evaluations=1 << n,
            num_players=n,
            main_effects=derivative_means(values, n, np.arange(n)[:, None], law),
            empty_value=float(values[0]),
        )

    def work(self, pairs: np.ndarray, n: int, coalitions: int, law: SizeLaw = SHAPLEY) -> Work:
        """2^n evaluations, whatever the effort.

        Raises:
            InputError: too many players.
        """
        check_players(n)
        return Work(1, 1 << n, 0, divisible=False)


def check_players(n: int) -> None:
    """Raise an InputError if n is too large for enumeration."""
    if n > MAX_PLAYERS:
        raise InputError(
            f"exact values of {n} players take 2^{n} evaluations",
            f"At most {MAX_PLAYERS} players; use method='surrogate' or 'shared'.",
        )


def is_enumerable(budget: int, n: int) -> bool:
    """Whether a budget reaches for all coalitions of n players."""
    return n <= MAX_PLAYERS and budget >= 1 << n


def or_enumerated(least: int, n: int) -> int:
    """The least budget of a method that enumerates where it can: all coalitions may be fewer."""
    return min(least, 1 << n) if n <= MAX_PLAYERS else least


def all_values(game: Game, n: int) -> np.ndarray:
    """The game's value for every coalition, [2^n]."""
    values = np.empty(1 << n)
    for start in range(0, 1 << n, AT_ONCE):
        index = np.arange(start, min(start + AT_ONCE, 1 << n))
        values[start : start + AT_ONCE] = evaluate(game, (index[:, None] >> np.arange(n) & 1).astype(bool))
    return values


def pair_scores(values: np.ndarray, n: int, pairs: np.ndarray, law: SizeLaw) -> Terms[np.ndarray]:
    """Means of the corner terms over all contexts, [p] each."""
    weight = _context_weights(n, 2, law)
    means = [[weight @ t for t in corner_terms(*_corners(values, n, row))] for row in pairs]
    return Terms(*np.array(means).T)


def derivative_means(values: np.ndarray, n: int, interactions: np.ndarray, law: SizeLaw) -> np.ndarray:
    """Mean discrete derivative of interactions of any one order, [p]."""
    order = interactions.shape[1]
    weight = _context_weights(n, order, law)
    signs = np.array([(-1) ** (order - b.bit_count()) for b in range(1 << order)])
    return np.array([weight @ (signs @ _corners(values, n, row)) for row in interactions])


def _corners(values: np.ndarray, n: int, members: np.ndarray) -> np.ndarray:
    """f by which members are present (bit j: member j) for every context, [2^order, 2^(n - order)]."""
    table = values.reshape((2,) * n)  # axis a belongs to player n - 1 - a
    axes = [n - 1 - int(u) for u in members]
    # views, no copies of the index: numpy copies once when the last axes are flattened
    moved = np.moveaxis(table, axes[::-1], range(len(axes)))
    return moved.reshape(1 << len(axes), -1)


def _context_weights(n: int, order: int, law: SizeLaw) -> np.ndarray:
    """P(context) of every set of the other players, in the order of ``_corners``."""
    left = n - order
    size = np.bitwise_count(np.arange(1 << left))
    by_size: np.ndarray = law.sizes(left) / np.array([comb(left, s) for s in range(left + 1)], dtype=float)
    return by_size[size]
