"""A game that takes tensors and answers with one, on a device that it names."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


@runtime_checkable
class TensorGame(Protocol):
    """What lets an estimator stay on the device from coalitions to sums.

    Attributes:
        num_players: n.
        device: where the coalitions are expected and the values stay.
        on_device: whether that is worth it; else the game is asked like any other.
    """

    num_players: int

    @property
    def device(self) -> torch.device:
        """Where values are."""

    @property
    def on_device(self) -> bool:
        """Whether estimators should leave values there."""

    def checked_values(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        """The value of each coalition, float64 [m] on the device.

        Args:
            active_mn: bool [m, n] on the device; not written to.
            sizes_m: how many players each coalition has; on the host, so that nobody waits for the device.

        Raises:
            RaymoeError: a value is not finite; names the game and the coalition.
        """


def tensor_game(game: object) -> TensorGame | None:
    """The game, if its values should stay on its device."""
    return game if isinstance(game, TensorGame) and game.on_device else None
