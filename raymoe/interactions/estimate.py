"""One door to the estimators: a game, pairs and a budget in; scores with standard errors out.

A game is any callable ``bool[m, n] -> float[m]``.

Shapes: n players, p pairs.
"""

from __future__ import annotations

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.estimators import shared as shared_estimator
from raymoe.interactions.estimators.adaptive import adaptive
from raymoe.interactions.estimators.exact import exact
from raymoe.interactions.estimators.paper import MIN_COALITIONS as PAPER_MIN
from raymoe.interactions.estimators.paper import paper_sums
from raymoe.interactions.estimators.surrogate import surrogate
from raymoe.interactions.games.game import Game, checked_players
from raymoe.interactions.result import InteractionEstimate, checked_budget, too_small
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sampling.grid import grid_evaluations

METHODS = ("shared", "paper", "surrogate", "adaptive", "exact")


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
            modality, a budget too small for these pairs, or n too large for ``exact``. Before any evaluation.
        RaymoeError: the game answers with another shape, or with values that are not finite.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}", f"Methods: {', '.join(METHODS)}.")
    if options and method != "adaptive":
        raise InputError(f"{method!r} takes no option {', '.join(options)}", "See the docstring of estimate.")
    law = SizeLaw(index, inclusion)
    n, pairs = checked_players(game, pairs, 2, num_players, within_modality)
    if method == "exact":
        return exact(game, pairs, n, budget, law)
    budget = checked_budget(budget, method)
    if method == "paper":
        return _paper(game, pairs, n, budget, seed, law)
    if method == "shared":
        return _shared(game, pairs, n, budget, seed, law)
    if method == "adaptive":
        unknown = set(options) - {"share", "score", "confidence"}
        if unknown:
            raise InputError(
                f"'adaptive' takes no option {', '.join(unknown)}", "It takes share, score, confidence."
            )
        return adaptive(game, pairs, n, budget, seed, law, **options)
    return surrogate(game, pairs, n, budget, seed, law)


def evaluations_per_coalition(pairs: np.ndarray, method: str) -> int:
    """Evaluations of the game that one coalition costs for all pairs together.

    Raises:
        InputError: the method does not go coalition by coalition.
    """
    if method == "paper":
        return 4 * len(pairs)
    if method == "shared":
        return grid_evaluations(pairs)
    raise InputError(f"{method!r} does not work coalition by coalition", "Such methods: shared, paper.")


def _shared(
    game: Game, pairs: np.ndarray, n: int, budget: int, seed: int, law: SizeLaw
) -> InteractionEstimate:
    each = evaluations_per_coalition(pairs, "shared")
    coalitions = (budget - 1) // each  # one evaluation for the empty coalition, where no edge gives it
    if coalitions < shared_estimator.MIN_COALITIONS:
        raise too_small(budget, "shared", pairs, 1 + each * shared_estimator.MIN_COALITIONS)
    work = shared_estimator.SharedEstimator(game, pairs, n, coalitions, seed, law)
    sums, empty = work.sums(), work.value_of_nobody()
    effects = np.full(n, np.nan)
    effects[work.grid.players] = work.main_effects()
    return InteractionEstimate.of_sums(
        pairs,
        sums,
        law,
        num_evaluations=work.num_evaluations,
        num_players=n,
        main_effects=effects,
        empty_value=empty,
    )


def _paper(
    game: Game, pairs: np.ndarray, n: int, budget: int, seed: int, law: SizeLaw
) -> InteractionEstimate:
    coalitions = budget // (4 * len(pairs))
    if coalitions < PAPER_MIN:
        raise too_small(budget, "paper", pairs, 4 * len(pairs) * PAPER_MIN)
    sums = paper_sums(game, pairs, n, 0, coalitions, seed, law)
    return InteractionEstimate.of_sums(
        pairs,
        sums,
        law,
        num_evaluations=4 * len(pairs) * coalitions,
        num_players=n,
    )
