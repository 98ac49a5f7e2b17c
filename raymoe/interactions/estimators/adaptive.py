"""The estimator ``adaptive``: which pairs are the largest, with evaluations only for those still in doubt.

Rounds of ``shared``: after each, a pair is in where fewer than ``top`` others could still be above it, and
out where ``top`` others surely are; the next round measures what is left, with twice the coalitions. Bounds
are Student intervals that hold for all pairs and rounds together (Bonferroni; round r gets 1/(r (r + 1)) of
the risk).

Shapes: p pairs.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import count

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.estimators.shared import SharedEstimator
from raymoe.interactions.games.game import Game
from raymoe.interactions.result import InteractionEstimate, too_small
from raymoe.interactions.sampling.coalitions import SizeLaw, seed_of
from raymoe.interactions.sampling.grid import FlipGrid
from raymoe.interactions.sums import RunningSums

FIRST_ROUND = 16  # coalitions
SCORES = ("sii", "sii_magnitude", "redundancy_gap")


def adaptive(
    game: Game,
    pairs: np.ndarray,
    n: int,
    budget: int,
    seed: int,
    law: SizeLaw,
    *,
    share: float = 0.1,
    score: str = "sii",
    confidence: float = 0.95,
) -> InteractionEstimate:
    """Find the top ``share`` of the pairs by a score; stops when they are settled or the budget is spent.

    Args:
        share: of the pairs, rounded up.
        score: ``sii``, ``sii_magnitude`` (its absolute value) or ``redundancy_gap``.
        confidence: that all pairs decided are decided rightly.

    Returns:
        Scores of all pairs, the more exact the closer to the boundary; ``top`` and ``settled``. A pair is
        left when it looks clear, so scores of pairs left early lean a little away from the boundary.
    """
    if not 0 < share < 1:
        raise InputError(f"share is {share}", "It is a part of the pairs, between 0 and 1.")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}", "It is a probability, for instance 0.95.")
    if score not in SCORES:
        raise InputError(f"unknown score {score!r}", f"Scores: {', '.join(SCORES)}.")
    p = len(pairs)
    top = math.ceil(round(share * p, 9))
    first_cost = 1 + FIRST_ROUND * FlipGrid(pairs, n).evaluations
    if budget < first_cost:
        raise too_small(budget, "adaptive", pairs, first_cost)
    spent, total, open_pairs, empty = 0, None, np.arange(p), None
    effects, counted = np.zeros(n), np.zeros(n)
    chosen, settled = np.zeros(p, dtype=bool), False
    for number in count():
        each = FlipGrid(pairs[open_pairs], n).evaluations
        coalitions = min(FIRST_ROUND << number, (budget - 1 - spent) // each)  # 1 for nobody
        if coalitions < FIRST_ROUND:
            break
        work = SharedEstimator(game, pairs[open_pairs], n, coalitions, seed_of(seed, 20, number), law)
        sums = work.sums()
        empty = work.value_of_nobody() if empty is None else empty
        spent += work.num_evaluations
        total = sums if total is None else _add(total, sums, open_pairs)
        effects[work.grid.players] += work.main_effects() * coalitions
        counted[work.grid.players] += coalitions
        found = InteractionEstimate.of_sums(pairs, total, law, num_evaluations=spent, num_players=n)
        risk = (1 - confidence) / (p * (number + 1) * (number + 2))
        low, high, value = _bounds(found, score, 1 - risk)
        rank = np.argsort(-value, kind="stable")
        chosen = np.zeros(p, dtype=bool)
        chosen[rank[:top]] = True
        # how many others could be above, and how many surely are
        could = (high[None, :] >= low[:, None]).sum(1) - 1
        surely = (low[None, :] > high[:, None]).sum(1)
        decided_in, decided_out = could < top, surely >= top
        open_pairs = np.flatnonzero(~(decided_in | decided_out))
        if not len(open_pairs):
            settled = True
            break
    with np.errstate(invalid="ignore"):
        main_effects = np.where(counted > 0, effects / counted, np.nan)
    return replace(found, main_effects=main_effects, empty_value=empty, top=chosen, settled=settled)


def _add(total: RunningSums, part: RunningSums, where: np.ndarray) -> RunningSums:
    """Add sums of some of the pairs to those of all."""
    columns = {}
    for each in fields(RunningSums):
        columns[each.name] = getattr(total, each.name).copy()
        columns[each.name][where] += getattr(part, each.name)
    return RunningSums(**columns)


def _bounds(
    found: InteractionEstimate, score: str, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper bound, and the value itself."""
    name = "sii" if score == "sii_magnitude" else score
    (low, high), value = found.interval(level, score=name), getattr(found, name)
    if score != "sii_magnitude":
        return low, high, value
    magnitude = np.abs(value)
    return np.maximum(magnitude - (high - value), 0), magnitude + (high - value), magnitude
