"""An estimate in pieces: what one worker does of it, and what that costs.

Sums of blocks add up to the whole estimate whatever the cut, but for rounding. Which estimators can be cut,
and where, they say themselves (``Estimator.work``).

Shapes: n players, p pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from raymoe.interactions.estimators import Question, Work, find_estimator
from raymoe.interactions.games.game import Game
from raymoe.interactions.sampling.coalitions import SHAPLEY, SizeLaw
from raymoe.interactions.sums import RunningSums


class Piece(NamedTuple):
    """Some blocks of an estimate, for all its pairs; ``evaluations`` is what they cost, about."""

    start: int
    stop: int  # exclusive
    evaluations: int


def work_of(pairs: np.ndarray, n: int, method: str, coalitions: int, law: SizeLaw = SHAPLEY) -> Work:
    """What an estimate of all these pairs takes, at the effort of so many coalitions (``Estimator.work``).

    Raises:
        InputError: unknown method; ``exact`` with too many players.
    """
    return _work_of(np.ascontiguousarray(pairs, dtype=np.int64).tobytes(), n, method, coalitions, law)


@lru_cache(maxsize=256)  # samples with as many features of each modality often have the very same pairs
def _work_of(pair_bytes: bytes, n: int, method: str, coalitions: int, law: SizeLaw) -> Work:
    pairs = np.frombuffer(pair_bytes, dtype=np.int64).reshape(-1, 2)
    return find_estimator(method).work(pairs, n, coalitions, law)


def is_whole(work: Work, aim: int) -> bool:
    """Whether an estimate is not cut by ``pieces``."""
    return not work.divisible or work.evaluations <= 2 * aim


def pieces(work: Work, aim: int) -> list[Piece]:
    """An estimate cut into pieces of about ``aim`` evaluations, and of a block of coalitions at least.

    What a piece costs on top is paid again by each, so an estimate of up to twice the aim stays whole. Pairs
    are never split: what is a pair's own only the whole table tells (``two_way``).
    """
    blocks = work.blocks
    if is_whole(work, aim):
        return [Piece(0, blocks, work.evaluations)]
    each = _ceil(blocks, _ceil(blocks, max(1, (aim - work.fixed) // work.block)))
    spans = [(start, min(start + each, blocks)) for start in range(0, blocks, each)]
    return [Piece(a, b, (b - a) * work.block + work.fixed) for a, b in spans]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def block_sums_of(
    games: Sequence[Game],
    pairs: np.ndarray,
    n: int,
    *,
    method: str,
    coalitions: int,
    start: int,
    stop: int,
    seed: int,
    law: SizeLaw = SHAPLEY,
) -> list[RunningSums]:
    """Running sums of blocks ``start..stop`` for several games, on the same coalitions where possible.

    Args:
        games: of the same players; for the rest see ``block_sums``.
    """
    questions = [Question(game, pairs, n, seed, law) for game in games]
    return find_estimator(method).block_sums_of(questions, coalitions, start, stop)


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
    law: SizeLaw = SHAPLEY,
) -> RunningSums:
    """Running sums of blocks ``start..stop`` of an estimate.

    Args:
        game, pairs, method, seed: as in ``estimate``.
        n: players.
        coalitions: of the whole estimate, as in ``work_of``.
        start, stop: which of the blocks of ``work_of``.
        law: of contexts; says which index is estimated.
    """
    return find_estimator(method).block_sums(Question(game, pairs, n, seed, law), coalitions, start, stop)
