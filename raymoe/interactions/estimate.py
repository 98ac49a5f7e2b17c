"""One door to the estimators: a game, pairs and a budget in; scores with standard errors out.

Shapes: m coalitions, n players, p pairs.
"""

from __future__ import annotations

import warnings
from dataclasses import fields, replace

import numpy as np

from raymoe.catalogue import ESTIMATORS
from raymoe.errors import InputError, NoisyGameWarning, RaymoeError
from raymoe.interactions.estimators import CoalitionEstimator, Question, find_estimator
from raymoe.interactions.estimators.option_types import Choice, Value
from raymoe.interactions.games.asked_twice import Noise, noise_of
from raymoe.interactions.games.game import Game, checked_players
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import SizeLaw

NONDETERMINISTIC = Choice("warn", ("warn", "raise", "allow", "trust"))


def estimate(
    game: Game,
    pairs: np.ndarray,
    *,
    budget: int | None = None,
    method: str = "auto",
    seed: int = 0,
    num_players: int | None = None,
    index: str = "sii",
    inclusion: float = 0.5,
    within_modality: bool = False,
    nondeterministic: str = "warn",
    **options: Value,
) -> InteractionEstimate:
    """Shapley Interaction Index and redundancy gap of chosen pairs.

    Args:
        game: any callable ``bool[m, n] -> float[m]``: what the model answers when only some players are
            there.
        pairs: int [p, 2], two different players each.
        budget: the most evaluations of the game; not needed by ``exact``.
        method: ``auto``: looks at the game, fits a model to what it sees (about two seconds; longer where
            evaluating takes longer) and says in ``choice`` what it did; ``shared``: one coalition for every
            pair, without a fit; ``surrogate``: a Gaussian process; ``adaptive``: to find the largest pairs;
            ``exact``: all 2^n coalitions; ``paper``: the paper's procedure, for comparison.
        seed: same seed, game, pairs and budget, same answer.
        num_players: n, when the game has no attribute of that name.
        index: ``sii``, or ``banzhaf`` with players in a context independently with probability ``inclusion``.
        inclusion: p of ``banzhaf``.
        within_modality: allow pairs within one modality of a game that knows its players' modalities.
        nondeterministic: what to do about a game that changes its answer between calls. After the estimate
            six coalitions are asked twice, 12 evaluations beside the budget: ``warn``, ``raise``, or
            ``allow``, which says nothing. Standard errors of 0 become NaN then. ``trust`` does not ask.
        options: of the method: ``adaptive`` takes ``share``, ``score`` and ``confidence``, ``auto`` takes
            ``effort`` and ``correction``.

    Returns:
        Scores aligned to ``pairs``; their errors hold for the method's own sampling.

    Raises:
        InputError: unknown method, option or index, pairs out of range, of a player with itself or within one
            modality, a budget too small for these pairs, or n too large for ``exact``. Before any evaluation.
        RaymoeError: the game answers with another shape, or with values that are not finite, or, with
            ``nondeterministic="raise"``, changes from call to call.
    """
    estimator = find_estimator(method)
    chosen = estimator.checked_options(options)
    NONDETERMINISTIC.check("nondeterministic", nondeterministic)
    law = SizeLaw(index, inclusion)
    n, pairs = checked_players(game, pairs, 2, num_players, within_modality)
    found = estimator.estimate(Question(game, pairs, n, seed, law), budget, chosen)
    if nondeterministic == "trust":
        return found
    noise = noise_of(game, n)
    if not noise.deviation:
        return found
    error = _noisy(noise, str(getattr(game, "name", "")))
    if nondeterministic == "raise":
        raise error
    if nondeterministic == "warn":
        warnings.warn(str(error), NoisyGameWarning, stacklevel=2)
    return _without_certainty(found)


def _noisy(noise: Noise, name: str) -> RaymoeError:
    """What is said of a game that changes its answers."""
    return RaymoeError(
        f"{name}: " * bool(name) + "the game changes its answer between calls: the same coalitions' values "
        f"differ by {noise.deviation:.2g} (standard deviation), beside {noise.spread:.2g} between coalitions",
        "Call model.eval() or fix the seed inside the game; nondeterministic='allow' takes it as it is.",
    )


def _without_certainty(found: InteractionEstimate) -> InteractionEstimate:
    """The estimate without standard errors of 0, which hold for a game whose values are known."""
    names = [field.name for field in fields(found) if field.name.endswith("_stderr")]
    errors = {name: getattr(found, name) for name in names}
    certain = {name: np.where(x == 0, np.nan, x) for name, x in errors.items()}
    return replace(found, **certain)  # type: ignore[arg-type]  # arrays under the names of its fields


def evaluations_per_coalition(pairs: np.ndarray, method: str) -> int:
    """Evaluations of the game that one coalition costs for all pairs together.

    Raises:
        InputError: there is no such method, or it does not go coalition by coalition.
    """
    estimator = find_estimator(method)
    if not isinstance(estimator, CoalitionEstimator):
        such = [name for name in ESTIMATORS if isinstance(find_estimator(name), CoalitionEstimator)]
        raise InputError(
            f"{method!r} does not work coalition by coalition", f"Such methods: {', '.join(such)}."
        )
    return estimator.evaluations_per_coalition(pairs)
