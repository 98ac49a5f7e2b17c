"""One door to the estimators: a game, pairs and a budget in; scores with standard errors out.

A game is any callable ``bool[m, n] -> float[m]``.

Shapes: n players, p pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student_t

from raymoe.errors import InputError
from raymoe.interactions import exact as enumeration
from raymoe.interactions import shared as shared_estimator
from raymoe.interactions.coalitions import SizeLaw
from raymoe.interactions.exchange import Exchange
from raymoe.interactions.games import (
    Game,
    check_interactions,
    check_modalities,
    evaluate,
    players_of,
)
from raymoe.interactions.grid import FlipGrid
from raymoe.interactions.paper import MIN_COALITIONS as PAPER_MIN
from raymoe.interactions.paper import paper_sums
from raymoe.interactions.sums import RunningSums, certain_sums

METHODS = ("shared", "paper", "surrogate", "adaptive", "exact")


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


def estimate(
    game: Game,
    pairs: np.ndarray,
    *,
    budget: int | None = None,
    method: str = "shared",
    seed: int = 0,
    num_players: int | None = None,
    index: str = "sii",
    inclusion: float = 0.5,
    within_modality: bool = False,
    **options,
) -> InteractionEstimate:
    """Shapley Interaction Index and redundancy gap of chosen pairs.

    Args:
        game: ``bool[m, n] -> float[m]``.
        pairs: int [p, 2], two different players each.
        budget: the most evaluations of the game; not needed by ``exact``.
        method: ``shared``: one coalition for every pair; ``surrogate``: the same on what a fitted surrogate
            leaves, worth its seconds where evaluations are dear; ``adaptive``: to find the largest pairs;
            ``exact``: all 2^n coalitions; ``paper``: the paper's procedure, for comparison.
        seed: same seed, game, pairs and budget, same answer.
        num_players: n, when the game has no attribute of that name.
        index: ``sii``, or ``banzhaf`` with players in a context independently with probability ``inclusion``.
        inclusion: p of ``banzhaf``.
        within_modality: allow pairs within one modality of a game that knows its players' modalities.
        options: of the method: ``adaptive`` takes ``share``, ``score`` and ``confidence``.

    Returns:
        Scores aligned to ``pairs``; their errors hold for the method's own sampling.

    Raises:
        InputError: unknown method or index, pairs out of range, of a player with itself or within one
            modality,
            a budget too small for these pairs, or n too large for ``exact``. Before any evaluation.
        RaymoeError: the game answers with another shape, or with values that are not finite.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}", f"Methods: {', '.join(METHODS)}.")
    if options and method != "adaptive":
        raise InputError(f"{method!r} takes no option {', '.join(options)}", "See the docstring of estimate.")
    law = SizeLaw(index, inclusion)
    n = players_of(game, num_players)
    pairs = check_interactions(pairs, n, 2)
    if not within_modality:
        check_modalities(game, pairs)
    if method == "exact":
        return _exact(game, pairs, n, budget, law)
    if budget is None:
        raise InputError(f"{method!r} needs a budget", "Give budget=, the most evaluations of the game.")
    budget = checked_budget(budget)
    if method == "paper":
        return _paper(game, pairs, n, budget, seed, law)
    if method == "shared":
        return _shared(game, pairs, n, budget, seed, law)
    if method == "adaptive":
        from raymoe.interactions.adaptive import adaptive

        unknown = set(options) - {"share", "score", "confidence"}
        if unknown:
            raise InputError(
                f"'adaptive' takes no option {', '.join(unknown)}", "It takes share, score, confidence."
            )
        return adaptive(game, pairs, n, budget, seed, law, **options)
    from raymoe.interactions.surrogate import surrogate

    return surrogate(game, pairs, n, budget, seed, law)


def evaluations_per_coalition(pairs: np.ndarray, method: str) -> int:
    """Evaluations of the game that one coalition costs for all pairs together.

    Raises:
        InputError: the method does not go coalition by coalition.
    """
    if method == "paper":
        return 4 * len(pairs)
    if method == "shared":
        return 1 + len(np.unique(pairs)) + len(np.unique(np.sort(pairs, 1), axis=0))
    raise InputError(f"{method!r} does not work coalition by coalition", "Such methods: shared, paper.")


def checked_budget(budget: int) -> int:
    """A budget as an int, or an InputError."""
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


def _shared(
    game: Game, pairs: np.ndarray, n: int, budget: int, seed: int, law: SizeLaw
) -> InteractionEstimate:
    each = FlipGrid(pairs, n).evaluations
    coalitions = (budget - 1) // each  # one evaluation for the empty coalition, where no edge gives it
    if coalitions < shared_estimator.MIN_COALITIONS:
        raise too_small(budget, "shared", pairs, 1 + each * shared_estimator.MIN_COALITIONS)
    work = shared_estimator.SharedEstimator(game, pairs, n, coalitions, seed, law)
    sums = work.sums()
    evaluations, empty = work.num_evaluations, work.empty_value
    if empty is None:
        empty = float(evaluate(game, np.zeros((1, n), dtype=bool))[0])
        evaluations += 1
    effects = np.full(n, np.nan)
    effects[work.grid.players] = work.main_effects()
    return InteractionEstimate(
        pairs=pairs,
        num_evaluations=evaluations,
        num_players=n,
        index=law.index,
        inclusion=law.inclusion,
        degrees_of_freedom=sums.degrees_of_freedom(),
        sums=sums,
        main_effects=effects,
        empty_value=empty,
        **sums.scores(),
    )


def _paper(
    game: Game, pairs: np.ndarray, n: int, budget: int, seed: int, law: SizeLaw
) -> InteractionEstimate:
    coalitions = budget // (4 * len(pairs))
    if coalitions < PAPER_MIN:
        raise too_small(budget, "paper", pairs, 4 * len(pairs) * PAPER_MIN)
    sums = paper_sums(game, pairs, n, 0, coalitions, seed, law)
    return InteractionEstimate(
        pairs=pairs,
        num_evaluations=4 * len(pairs) * coalitions,
        num_players=n,
        index=law.index,
        inclusion=law.inclusion,
        degrees_of_freedom=sums.degrees_of_freedom(),
        sums=sums,
        **sums.scores(),
    )


def _exact(game: Game, pairs: np.ndarray, n: int, budget: int | None, law: SizeLaw) -> InteractionEstimate:
    enumeration.check_players(n)
    if budget is not None and budget < 1 << n:
        raise too_small(budget, "exact", pairs, 1 << n)
    values = enumeration.all_values(game, n)
    sii, base, span = enumeration.pair_scores(values, n, pairs, law)
    zero = np.zeros(len(pairs))
    return InteractionEstimate(
        pairs=pairs,
        sii=sii,
        sii_stderr=zero,
        redundancy_gap=base / (1 + span),
        redundancy_gap_stderr=zero,
        base_mean=base,
        span_mean=span,
        num_evaluations=1 << n,
        num_players=n,
        index=law.index,
        inclusion=law.inclusion,
        sums=certain_sums(sii, base, span, 1 << n),
        main_effects=enumeration.derivative_means(values, n, np.arange(n)[:, None], law),
        empty_value=float(values[0]),
    )
