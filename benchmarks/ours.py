"""raymoe's estimators, as the benchmarks run them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from families import Known, cross
from measured import Answer, Runner

from raymoe.errors import RaymoeError
from raymoe.interactions import estimate

OURS = ("auto", "shared", "surrogate", "paper")


def runners() -> dict[str, Runner]:
    """By their names; libraries that come late are loaded here, not within the first run's time."""
    torch.set_num_threads(1)
    small = Known("", "", 6, cross(6), np.zeros(9), lambda rows: rows.sum(1) ** 2.0)
    for method in OURS:
        with suppress(RaymoeError):  # too few evaluations for it: a real run will say so
            _runner(method)(small, 60, 0)
    return {method: _runner(method) for method in OURS}


def _runner(method: str) -> Runner:
    def run(game: Known, budget: int, seed: int) -> Answer:
        n = game.num_players
        found = estimate(game, game.pairs, num_players=n, method=method, budget=budget, seed=seed)
        low, high = found.interval()
        # what is known exactly, as of a player that does nothing, but for rounding
        close = np.abs(game.sii) * 1e-6 + 1e-9
        known = np.isfinite(low) & np.isfinite(high)
        inside = (low - close <= game.sii) & (game.sii <= high + close)
        more = {"held": float(inside[known].mean()) if known.any() else None}
        return found.sii, more | ({"choice": found.choice} if found.choice else {})

    return run
