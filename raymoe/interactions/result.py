"""What an estimate is, and what a budget must be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student_t

from raymoe.errors import InputError
from raymoe.interactions.exchange import Exchange
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sums import RunningSums


@dataclass(frozen=True)
class InteractionEstimate(Exchange):
    """Scores aligned to ``pairs``; arrays [p] in the units of the game's value (a logit).

    Attributes:
        pairs: as asked for, int [p, 2].
        sii: Shapley Interaction Index (or weighted Banzhaf interaction); positive is synergy.
        redundancy_gap: ``base_mean / (1 + span_mean)``; large where the two features substitute each other.
        sii_stderr, redundancy_gap_stderr: of the sampling; 0 where every coalition was evaluated.
        num_evaluations: of the game.
        num_players: n.
        index: ``sii``, or ``banzhaf`` with the probability ``inclusion``.
        degrees_of_freedom: of the standard errors, [p].
        sums: running sums, where the method has them; they merge.
        main_effects: Shapley (or Banzhaf) value of each player in a pair, [n]; NaN for the others.
        empty_value: the game's value of the empty coalition.
        top: ``adaptive`` only: the pairs found to be among the largest, bool [p].
        settled: ``adaptive`` only: whether the budget sufficed to tell them from the others.
    """

    pairs: np.ndarray
    sii: np.ndarray
    sii_stderr: np.ndarray
    redundancy_gap: np.ndarray
    redundancy_gap_stderr: np.ndarray
    base_mean: np.ndarray
    span_mean: np.ndarray
    num_evaluations: int
    num_players: int
    index: str = "sii"
    inclusion: float = 0.5
    degrees_of_freedom: np.ndarray | None = None
    sums: RunningSums | None = field(default=None, repr=False)
    main_effects: np.ndarray | None = field(default=None, repr=False)
    empty_value: float | None = None
    top: np.ndarray | None = None
    settled: bool | None = None

    @classmethod
    def of_sums(
        cls,
        pairs: np.ndarray,
        sums: RunningSums,
        law: SizeLaw,
        *,
        num_evaluations: int,
        num_players: int,
        **rest,
    ) -> InteractionEstimate:
        """The estimate that running sums give; ``rest`` are the attributes that they don't tell."""
        return cls(
            pairs=pairs,
            num_evaluations=num_evaluations,
            num_players=num_players,
            index=law.index,
            inclusion=law.inclusion,
            degrees_of_freedom=sums.degrees_of_freedom(),
            sums=sums,
            **sums.scores(),
            **rest,
        )

    def interval(self, level: float = 0.95, *, score: str = "sii") -> tuple[np.ndarray, np.ndarray]:
        """Confidence interval of each pair by Student's t, two arrays [p].

        Args:
            level: its coverage.
            score: ``sii`` or ``redundancy_gap``.
        """
        if score not in ("sii", "redundancy_gap") or not 0 < level < 1:
            raise InputError(
                f"no interval of {score!r} at level {level}", "Scores: sii, redundancy_gap; 0 to 1."
            )
        value, stderr = getattr(self, score), getattr(self, f"{score}_stderr")
        freedom = np.inf if self.degrees_of_freedom is None else self.degrees_of_freedom
        half = student_t.ppf((1 + level) / 2, freedom) * stderr
        return value - half, value + half


def checked_budget(budget: int | None, method: str) -> int:
    """A budget as an int.

    Raises:
        InputError: there is none, or it is no number.
    """
    if budget is None:
        raise InputError(f"{method!r} needs a budget", "Give budget=, the most evaluations of the game.")
    if isinstance(budget, bool) or not isinstance(budget, (int, float, np.number)) or budget != budget:
        raise InputError(f"budget is {budget!r}", "Give a number of evaluations.")
    return int(min(budget, 1 << 62))


def too_small(budget: int, method: str, asked: np.ndarray, least: int) -> InputError:
    """The error of a budget that does not reach for one estimate with an error of its own."""
    word = {2: "pairs", 3: "triples"}[asked.shape[1]]
    return InputError(
        f"budget {budget} is too small: {method!r} on {len(asked)} {word} takes at least {least} evaluations",
        f"Give a budget of at least {least}, or fewer {word}.",
    )
