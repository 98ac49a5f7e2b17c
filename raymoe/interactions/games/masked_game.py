"""What every game over a masked model shares: argument and answer are checked, arithmetic is exact.

Knows nothing of experts, tokens or batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions.games.game import written_coalition
from raymoe.interactions.games.precision import full_precision


class MaskedGame:
    """A callable ``bool[m, n] -> float64[m]`` (or ``[m, K]`` for K targets); subclasses define ``_values``.

    Attributes:
        num_players: n.
        name: what is explained, for messages; for instance ``sample s3, expert synergy``. May be empty.
    """

    num_players: int
    name: str = ""

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """The value of each coalition.

        Args:
            coalitions: bool [m, n]; True where the player is active.

        Raises:
            InputError: wrong shape or type.
            RaymoeError: a value is not finite; names the game and the coalition.
        """
        coalitions = np.asarray(coalitions)
        if coalitions.ndim != 2 or coalitions.shape[1] != self.num_players:
            raise InputError(
                f"{self._prefix}coalitions must be [m, {self.num_players}], got {list(coalitions.shape)}",
                "Give one row per coalition and one column per player.",
            )
        if coalitions.dtype != bool:
            raise InputError(
                f"{self._prefix}coalitions must be bool, got {coalitions.dtype}",
                "True where the player is active.",
            )
        with torch.no_grad(), full_precision():
            values = self._values(np.ascontiguousarray(coalitions))  # torch takes no negative strides
        self._check_finite(values, coalitions)
        return values

    def checked_values(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        """Values [m] of coalitions on the device, for a game that is a ``TensorGame``; see there."""
        with torch.no_grad(), full_precision():
            values_m = self._tensor_values(active_mn, sizes_m).double()
        if not bool(values_m.isfinite().all()):
            self._check_finite(values_m.cpu().numpy(), active_mn.cpu().numpy())
        return values_m

    def _check_finite(self, values: np.ndarray, coalitions: np.ndarray) -> None:
        finite = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise RaymoeError(
                f"{self._prefix}the model's output is not finite for "
                f"{written_coalition(coalitions[row], self._names)}",
                "Check the model for NaN weights and the features for NaN or infinite values.",
            )

    @property
    def _names(self) -> Sequence[str] | None:
        """How messages name the players; None: by their numbers."""
        return None

    @property
    def _prefix(self) -> str:
        return f"{self.name}: " if self.name else ""

    def _values(self, coalitions: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _tensor_values(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        raise NotImplementedError
