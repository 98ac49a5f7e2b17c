"""Third-order interactions of chosen triples: what three features do together beyond their pairs.

The discrete derivative of order 3, averaged over contexts of the other players; for three modalities, or for
two features of one and one of another.

Shapes: n players, p triples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.arrays import on_host
from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators import exact as enumeration
from raymoe.interactions.estimators.shared import MASKS_AT_ONCE, MIN_COALITIONS, layout
from raymoe.interactions.games.game import Game, checked_players
from raymoe.interactions.result import student_quantile
from raymoe.interactions.sampling.coalitions import SizeLaw, tiled_coalitions
from raymoe.interactions.sampling.grid import FlipGrid
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.sums import TERMS, RunningSums, summed, tiled_sums


@dataclass(frozen=True)
class TripleEstimate:
    """Third-order index of each triple, arrays [p] in the units of the game's value."""

    triples: np.ndarray
    sii: np.ndarray
    sii_stderr: np.ndarray
    num_evaluations: int
    degrees_of_freedom: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Confidence interval of each triple by Student's t."""
        half = student_quantile((1 + level) / 2, self.degrees_of_freedom) * self.sii_stderr
        return self.sii - half, self.sii + half


def estimate_triples(
    game: Game,
    triples: np.ndarray,
    *,
    budget: int | None = None,
    method: str = "shared",
    seed: int = 0,
    num_players: int | None = None,
    index: str = "sii",
    inclusion: float = 0.5,
    within_modality: bool = False,
) -> TripleEstimate:
    """Third-order Shapley (or weighted Banzhaf) interaction of chosen triples.

    Args:
        triples: int [p, 3], three different players each.
        method: ``shared`` (one coalition for every triple) or ``exact``.
        within_modality: allow triples within one modality (two of one and one of another are always allowed).
        game, budget, seed, num_players, index, inclusion: as in ``estimate``.

    Raises:
        InputError: as ``estimate``.
    """
    if method not in ("shared", "exact"):
        raise InputError(f"unknown method {method!r} for triples", "Methods: shared, exact.")
    law = SizeLaw(index, inclusion)
    n, triples = checked_players(game, triples, 3, num_players, within_modality)
    if method == "exact":
        enumeration.check_players(n)
        if budget is not None and checked_budget(budget, method) < 1 << n:
            raise too_small(budget, method, triples, 1 << n)
        values = enumeration.derivative_means(enumeration.all_values(game, n), n, triples, law)
        zero = np.zeros(len(triples))
        return TripleEstimate(triples, values, zero, 1 << n, zero + np.inf)
    budget, grid = checked_budget(budget, method), FlipGrid(triples, n)
    coalitions = budget // grid.evaluations
    if coalitions < MIN_COALITIONS:
        raise too_small(budget, method, triples, MIN_COALITIONS * grid.evaluations)
    plan = layout(coalitions)  # without edges and pilot, so every coalition weighs alike
    sizes, shape = law.sizes(n), (plan.replicates, plan.length)

    def replicate_sums(start: int, stop: int) -> RunningSums:
        bases = tiled_coalitions(sizes, *shape, start, stop, (seed, Stream.TRIPLES)).reshape(-1, n)
        delta = on_host(grid.measure(game, bases).difference()).reshape(stop - start, plan.length, -1)
        nothing = [np.zeros_like(delta)] * (len(TERMS) - 1)  # a triple has the difference alone
        return tiled_sums(delta, *nothing)

    step = 2 * max(1, MASKS_AT_ONCE // (2 * plan.length * grid.evaluations))
    cuts = range(0, plan.replicates, step)
    total = summed(replicate_sums(first, min(first + step, plan.replicates)) for first in cuts)
    scores = total.scores()
    return TripleEstimate(
        triples=triples,
        sii=scores["sii"],
        sii_stderr=scores["sii_stderr"],
        num_evaluations=plan.replicates * plan.length * grid.evaluations,
        degrees_of_freedom=total.degrees_of_freedom(),
    )
