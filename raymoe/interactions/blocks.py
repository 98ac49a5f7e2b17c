"""An estimate in pieces: what one worker does of it, and what that costs.

Sums of blocks add up to the whole estimate whatever the cut, but for rounding. ``shared`` and ``paper`` can
be cut between coalitions; the other methods look at all their evaluations at once, so they are one block.

Shapes: n players, p pairs.
"""

from __future__ import annotations

import numpy as np

from raymoe.interactions.coalitions import SizeLaw
from raymoe.interactions.estimate import estimate, evaluations_per_coalition
from raymoe.interactions.exact import check_players
from raymoe.interactions.games import Game
from raymoe.interactions.paper import paper_sums
from raymoe.interactions.shared import SharedEstimator, pilot_evaluations, pilot_layout
from raymoe.interactions.sums import RunningSums


def divisible(method: str) -> bool:
    """Whether an estimate can be cut, between coalitions and between pairs."""
    return method in ("shared", "paper")


def count_blocks(pairs: np.ndarray, n: int, method: str, coalitions: int) -> int:
    """How many blocks an estimate of all these pairs with so many coalitions has."""
    if method == "shared":
        return pilot_layout(coalitions, pairs, n, SizeLaw()).blocks
    return coalitions if method == "paper" else 1


def block_evaluations(
    pairs: np.ndarray,
    n: int,
    method: str,
    coalitions: int,
    start: int = 0,
    stop: int | None = None,
    all_pairs: np.ndarray | None = None,
) -> int:
    """Evaluations of the game that blocks ``start..stop`` take, at most; arguments as in ``block_sums``.

    Raises:
        InputError: ``exact`` with too many players.
    """
    if method == "exact":
        check_players(n)
        return 1 << n
    each = evaluations_per_coalition(pairs, "paper" if method == "paper" else "shared")
    if method == "shared":
        every = pairs if all_pairs is None else all_pairs
        plan = pilot_layout(coalitions, every, n, SizeLaw())
        cost = each * 2 * plan.length * ((plan.blocks if stop is None else stop) - start)
        return cost + plan.pilot * pilot_evaluations(pairs, every)
    if method == "paper":
        return each * ((coalitions if stop is None else stop) - start)
    return each * coalitions + 1


def block_sums(
    game: Game,
    pairs: np.ndarray,
    n: int,
    *,
    method: str,
    coalitions: int,
    start: int,
    stop: int,
    seed: int,
    all_pairs: np.ndarray | None = None,
) -> RunningSums:
    """Running sums of blocks ``start..stop`` of an estimate.

    Args:
        game, pairs, method, seed: as in ``estimate``.
        n: players.
        coalitions: of the whole estimate; other methods than ``shared`` and ``paper`` get the budget that
            ``shared`` would spend on so many.
        start, stop: which blocks.
        all_pairs: where ``pairs`` are only some of a table's.
    """
    law = SizeLaw()
    if method == "shared":
        return SharedEstimator(game, pairs, n, coalitions, seed, law, all_pairs).sums(start, stop)
    if method == "paper":
        return paper_sums(game, pairs, n, start, stop, seed, law)
    budget = block_evaluations(pairs, n, method, coalitions)
    return estimate(game, pairs, budget=budget, method=method, seed=seed, num_players=n).sums
