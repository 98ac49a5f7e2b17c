"""An estimate in pieces: what one worker does of it, and what that costs.

Sums of blocks add up to the whole estimate whatever the cut, but for rounding. ``shared`` and ``paper`` can
be cut between coalitions; the other methods look at all their evaluations at once, so they are one block.

Shapes: n players, p pairs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from raymoe.interactions.estimate import estimate, evaluations_per_coalition
from raymoe.interactions.estimators.exact import check_players
from raymoe.interactions.estimators.paper import paper_sums
from raymoe.interactions.estimators.shared import SharedEstimator, pilot_evaluations, pilot_layout
from raymoe.interactions.games.game import Game
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sums import RunningSums


class Work(NamedTuple):
    """What the estimate for one table of pairs costs, in evaluations of the game, and how it can be cut."""

    pairs: int
    blocks: int  # of coalitions
    block: int  # evaluations of one block for all pairs
    fixed: int  # evaluations that come on top of every piece: pilot and edges
    divisible: bool = True

    @property
    def evaluations(self) -> int:
        """Of the whole estimate in one piece."""
        return self.blocks * self.block + self.fixed


class Piece(NamedTuple):
    """Some pairs and some blocks of an estimate; ``evaluations`` is what they cost, about."""

    first_pair: int
    last_pair: int  # exclusive, as ``stop``
    start: int
    stop: int
    evaluations: int


def work_of(pairs: np.ndarray, n: int, method: str, coalitions: int) -> Work:
    """What an estimate of all these pairs with so many coalitions takes.

    Raises:
        InputError: ``exact`` with too many players.
    """
    if method == "exact":
        check_players(n)
    return _work_of(np.ascontiguousarray(pairs, dtype=np.int64).tobytes(), n, method, coalitions)


@lru_cache(maxsize=256)  # samples with as many features of each modality often have the very same pairs
def _work_of(pair_bytes: bytes, n: int, method: str, coalitions: int) -> Work:
    pairs = np.frombuffer(pair_bytes, dtype=np.int64).reshape(-1, 2)
    p = len(pairs)
    if method == "exact":
        return Work(p, 1, 1 << n, 0, divisible=False)
    each = evaluations_per_coalition(pairs, "paper" if method == "paper" else "shared")
    if method == "shared":
        plan = pilot_layout(coalitions, pairs, n, SizeLaw())
        fixed = pilot_evaluations(pairs, pairs) if plan.pilot else 0
        return Work(p, plan.blocks, each * 2 * plan.length, fixed)
    if method == "paper":
        return Work(p, coalitions, each, 0)
    return Work(p, 1, each * coalitions + 1, 0, divisible=False)


def is_whole(work: Work, aim: int) -> bool:
    """Whether an estimate is not cut by ``pieces``."""
    return not work.divisible or work.evaluations <= 2 * aim


def pieces(work: Work, aim: int) -> list[Piece]:
    """An estimate cut into pieces of about ``aim`` evaluations: first fewer coalitions, then fewer pairs.

    What a piece costs on top is paid again by each, so an estimate of up to twice the aim stays whole, and
    pairs are split only where one block of coalitions for all of them would cost more than that.
    """
    p, blocks = work.pairs, work.blocks
    if is_whole(work, aim):
        return [Piece(0, p, 0, blocks, work.evaluations)]
    one = work.block + work.fixed
    if one <= 2 * aim:
        count = _ceil(blocks, max(1, (aim - work.fixed) // work.block))
        each = _ceil(blocks, count)
        spans = [(start, min(start + each, blocks)) for start in range(0, blocks, each)]
        return [Piece(0, p, a, b, (b - a) * work.block + work.fixed) for a, b in spans]
    at_once = _ceil(p, min(p, _ceil(one, aim)))
    return [
        Piece(first, last, b, b + 1, _ceil(work.block * (last - first), p) + work.fixed)
        for first, last in ((i, min(i + at_once, p)) for i in range(0, p, at_once))
        for b in range(blocks)
    ]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


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
    budget = work_of(pairs, n, method, coalitions).evaluations
    return estimate(game, pairs, budget=budget, method=method, seed=seed, num_players=n).sums
