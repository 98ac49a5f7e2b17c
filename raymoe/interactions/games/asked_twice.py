"""Whether a game answers the same when it is asked the same again.

Both times it gets the very same batch, so that kernels which round differently by the size of a batch don't
look like noise. What is asked is fixed: nothing is drawn. Answers that rarely change are not found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymoe.interactions.games.game import Game, evaluate

ULPS = 8  # last places of the largest value that a sum in no fixed order (on a GPU) may change


class Noise(NamedTuple):
    """How far a game's answers to one question are apart.

    Attributes:
        deviation: standard deviation of one answer, about; 0 where nothing but rounding changes.
        spread: standard deviation of the values over the coalitions that were asked.
    """

    deviation: float
    spread: float


def asked_rows(n: int) -> np.ndarray:
    """Nobody, everybody, every other player, the first half, and the others of both, bool [6, n]."""
    rows = np.zeros((3, n), dtype=bool)
    rows[1, ::2] = True
    rows[2, : n // 2] = True
    return np.concatenate([rows, ~rows])


def noise_of(game: Game, n: int) -> Noise:
    """Ask twice.

    Raises:
        RaymoeError: an answer is of another shape or not finite.
    """
    kinds: list[float] = []

    def watched(coalitions: np.ndarray) -> np.ndarray:
        answer = game(coalitions)
        kinds.append(_last_place(answer))
        found: np.ndarray = answer  # type: ignore[assignment]  # a tensor does
        return found

    first, second = (evaluate(watched, asked_rows(n)) for _ in range(2))
    size = max(float(np.abs(first).max()), float(np.abs(second).max()))
    mean = (first + second) / 2
    changes = first - second
    deviation = float(np.sqrt((changes**2).mean() / 2))
    if float(np.abs(changes).max()) <= ULPS * max(kinds) * size:
        deviation = 0.0
    return Noise(deviation, float(mean.std()))


def _last_place(answer: object) -> float:
    """Relative size of the last place of an answer's numbers; a float64 may be a float32 model's."""
    name = str(getattr(answer, "dtype", "float64")).removeprefix("torch.")
    known = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
    return known.get(name, 2.0**-23)
