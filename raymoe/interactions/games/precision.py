"""How exact a game's arithmetic is: full float32 while it runs, and what float32 leaves undecided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from raymoe.errors import InputError
from raymoe.interactions.games.game import Game


@runtime_checkable
class TwinnedGame(Protocol):
    """A game with a twin in float64."""

    num_players: int

    def __call__(self, coalitions: np.ndarray, /) -> np.ndarray:
        """The value of each coalition, bool [m, n] -> float64 [m] or [m, K]."""

    def double(self) -> TwinnedGame:
        """The same game in float64."""


def noise_floor(
    game: Game, coalitions: np.ndarray | None = None, *, samples: int = 64, seed: int = 0
) -> float:
    """The largest difference between a game in its own precision and in float64.

    Second differences smaller than about twice this are rounding, not interaction.

    Args:
        game: a game with ``double()``, its float64 twin (``ExpertGame``, ``MixtureGame``).
        coalitions: bool [m, n] to compare on; by default drawn with sizes spread over 0..n.
        samples, seed: how many are drawn, and from what.

    Returns:
        The largest absolute difference, in the units of the game's value (a logit).

    Raises:
        InputError: the game has no float64 twin.
    """
    if not isinstance(game, TwinnedGame):
        raise InputError(
            f"{type(game).__name__} has no float64 twin", "Compare two games of your own, one per precision."
        )
    if coalitions is None:
        rng = np.random.default_rng(seed)
        share = np.linspace(0, 1, samples)[:, None]
        coalitions = rng.random((samples, game.num_players)) < share
    return float(np.abs(game(coalitions) - game.double()(coalitions)).max(initial=0.0))


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 products in float32, whatever the process allows (TF32 on a GPU, bfloat16 on some CPUs).

    Interactions are of the order 1e-3 of a logit; TF32 keeps three digits. The settings found are put back.
    """
    undo: list[Callable[[], None]] = []
    try:
        try:
            before = torch.get_float32_matmul_precision()
            if before != "highest":
                undo.append(lambda: torch.set_float32_matmul_precision(before))
                torch.set_float32_matmul_precision("highest")
        except RuntimeError:
            # It was set through fp32_precision (torch 2.9 and later): the older switch can't be read.
            for part in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):  # type: ignore[attr-defined]
                undo.append(_set(part, "fp32_precision", "ieee"))
        try:
            undo.append(_set(torch.backends.cudnn, "allow_tf32", False))
        except RuntimeError:
            conv = torch.backends.cudnn.conv  # type: ignore[attr-defined]
            undo.append(_set(conv, "fp32_precision", "ieee"))
        yield
    finally:
        for step in reversed(undo):
            step()


def _set(part: object, name: str, value: object) -> Callable[[], None]:
    """Set an attribute; answers with what sets it back."""
    before = getattr(part, name)
    setattr(part, name, value)
    return lambda: setattr(part, name, before)
