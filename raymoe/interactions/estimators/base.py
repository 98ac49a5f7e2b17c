"""What an estimator is to everything that uses one: ``estimate``, the probe's plan and its workers.

An estimator answers a ``Question`` at once (``estimate``), says what an answer for a table of pairs costs and
how it can be cut (``work``), and does a part of it (``block_sums``). It keeps nothing between two calls.

Shapes: n players, p pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators.option_types import Option, Options, Value
from raymoe.interactions.games.game import Game
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import SHAPLEY, SizeLaw
from raymoe.interactions.sampling.grid import grid_evaluations
from raymoe.interactions.sums import RunningSums
from raymoe.interactions.two_way import TwoWay, two_way


@dataclass(frozen=True)
class Question:
    """What is asked of an estimator, already checked.

    Attributes:
        game: ``bool[m, n] -> float[m]``.
        pairs: int64 [p, 2].
        num_players: n.
        seed: what is drawn depends on it alone.
        law: of contexts; says which index is estimated.
    """

    game: Game
    pairs: np.ndarray
    num_players: int
    seed: int = 0
    law: SizeLaw = SHAPLEY

    @cached_property
    def two_way(self) -> TwoWay:
        """What the pairs have in common, by the modalities of the players where the game knows them."""
        return two_way(self.pairs, getattr(self.game, "player_modality", None))


class Work(NamedTuple):
    """What the estimate for one table of pairs costs, in evaluations of the game, and how it can be cut."""

    blocks: int  # of coalitions
    block: int  # evaluations of one block for all pairs
    fixed: int  # evaluations that come on top of every piece: pilot and edges
    divisible: bool = True

    @property
    def evaluations(self) -> int:
        """What the whole estimate costs in one piece."""
        return self.blocks * self.block + self.fixed


class Estimator(ABC):
    """A way to estimate the interactions of chosen pairs.

    The defaults are those of an estimator that looks at all its evaluations at once: its work is one block.

    Attributes:
        name: as users type it.
        options: what ``estimate`` takes besides, each with its default and its check.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Option]] = MappingProxyType({})

    @abstractmethod
    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """The whole estimate.

        Args:
            question: what is asked.
            budget: the most evaluations of the game, not checked yet.
            options: a value for each of the estimator's ``options`` (see ``checked_options``).

        Raises:
            InputError: the budget is missing or too small, or there are too many players.
        """

    def work(self, pairs: np.ndarray, n: int, coalitions: int, law: SizeLaw = SHAPLEY) -> Work:
        """What the estimate of a table's pairs costs at so much effort (the setting ``probe.coalitions``).

        By default that of ``shared``; an estimator that goes coalition by coalition draws so many of its own.

        Args:
            pairs: int64 [p, 2].
            n: players.
            coalitions: the effort.
            law: of contexts.

        Raises:
            InputError: too many players.
        """
        return Work(1, grid_evaluations(pairs) * coalitions + 1, 0, divisible=False)

    def block_sums(self, question: Question, coalitions: int, start: int, stop: int) -> RunningSums:
        """Running sums of blocks ``start..stop`` of the estimate that ``work`` describes."""
        budget = self.work(question.pairs, question.num_players, coalitions, question.law).evaluations
        return self.estimate(question, budget, self.checked_options({})).sums

    def block_sums_of(
        self, questions: Sequence[Question], coalitions: int, start: int, stop: int
    ) -> list[RunningSums]:
        """``block_sums`` of several games of the same players and pairs.

        An estimator that chooses its coalitions by what it sees may choose the same ones for all, so that
        games which share their evaluations are asked once.
        """
        return [self.block_sums(question, coalitions, start, stop) for question in questions]

    def checked_options(self, given: Options) -> Options:
        """A value for each option: what was given, or the default.

        Raises:
            InputError: an option that the estimator doesn't take, or a value that doesn't fit.
        """
        unknown = [name for name in given if name not in self.options]
        if unknown:
            takes = f"It takes {', '.join(self.options)}." if self.options else "It takes none."
            raise InputError(f"{self.name!r} takes no option {', '.join(unknown)}", takes)
        chosen: dict[str, Value] = {
            name: given.get(name, option.default) for name, option in self.options.items()
        }
        for name, option in self.options.items():
            option.check(name, chosen[name])
        return chosen


class CoalitionEstimator(Estimator):
    """An estimator that draws coalition after coalition, all at one price: it can be cut between any two.

    A subclass says what a coalition costs and gives the sums of some of them; the rest follows.

    Attributes:
        min_coalitions: the fewest that tell their own error.
        extra_evaluations: what an estimate takes besides its coalitions.
    """

    min_coalitions: ClassVar[int] = 2
    extra_evaluations: ClassVar[int] = 0

    @abstractmethod
    def evaluations_per_coalition(self, pairs: np.ndarray) -> int:
        """Evaluations of the game that one coalition costs for all these pairs together."""

    @abstractmethod
    def block_sums(self, question: Question, coalitions: int, start: int, stop: int) -> RunningSums:
        """Running sums of blocks ``start..stop``; a block is a coalition unless ``work`` says otherwise."""

    def work(self, pairs: np.ndarray, n: int, coalitions: int, law: SizeLaw = SHAPLEY) -> Work:
        """What so many coalitions cost; every one is a block."""
        return Work(coalitions, self.evaluations_per_coalition(pairs), 0)

    def least_budget(self, pairs: np.ndarray) -> int:
        """Evaluations that ``min_coalitions`` take."""
        return self.extra_evaluations + self.min_coalitions * self.evaluations_per_coalition(pairs)

    def coalitions(self, budget: int | None, pairs: np.ndarray) -> int:
        """How many coalitions a budget buys.

        Raises:
            InputError: there is no budget, or it does not reach for ``min_coalitions``.
        """
        budget, each = checked_budget(budget, self.name), self.evaluations_per_coalition(pairs)
        bought = (budget - self.extra_evaluations) // each
        if bought < self.min_coalitions:
            buys = f"{max(bought, 0)} coalitions of {each}, and standard errors take {self.min_coalitions}"
            raise too_small(budget, self.name, pairs, self.least_budget(pairs), buys)
        return bought

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """The whole estimate, from as many coalitions as the budget buys."""
        coalitions = self.coalitions(budget, question.pairs)
        return InteractionEstimate.of_sums(
            question.pairs,
            self.block_sums(question, coalitions, 0, coalitions),
            question.law,
            num_evaluations=coalitions * self.evaluations_per_coalition(question.pairs),
            num_players=question.num_players,
        )
