"""What the games of a fusion model on one sample share: options that fit, precision, batches, targets.

Shapes: m coalitions, n players (the universe), C classes, K targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch
from torch import Tensor

from raymoe.errors import InputError
from raymoe.interactions.games.collapse import CollapsedExpert, DenseExpert
from raymoe.interactions.games.masked_game import MaskedGame
from raymoe.interactions.games.precision import full_precision
from raymoe.interactions.games.sequence import MaskedSequence

if TYPE_CHECKING:
    from raymoe.models.fusion import FusionExperts

# On a CPU 2^9 to 2^12 are equally fast and more is slower. On an H200 2^16 to 2^20 are, and 2^13 has three
# fifths of their speed.
TOKENS_PER_BATCH = {"cpu": 1 << 11, "cuda": 1 << 17}


class GameOptions(TypedDict, total=False):
    """Options of the games, see ``ExpertGame``."""

    collapse: bool
    dtype: torch.dtype | None
    tokens_per_batch: int | None
    name: str


class SequenceGame(MaskedGame):
    """What the games of one sample share: options that fit, precision, batches, one target or several."""

    def __init__(
        self,
        experts: FusionExperts,
        sequence: MaskedSequence,
        target: Tensor,
        *,
        collapse: bool = True,
        dtype: torch.dtype | None = None,
        tokens_per_batch: int | None = None,
        name: str = "",
    ) -> None:
        dtype = dtype or sequence.tokens_TD.dtype
        device = sequence.tokens_TD.device
        self._tokens_per_batch = check_options(experts, target, dtype, tokens_per_batch, device)
        # zero tokens collapse in any case, but the algebra is written for the usual residual
        self._evaluator = CollapsedExpert if collapse and experts.residual == "input" else DenseExpert
        self._double_options: GameOptions = {
            "collapse": collapse,
            "dtype": torch.float64,
            "tokens_per_batch": tokens_per_batch,
            "name": name,
        }
        self.target, self.name = target, name
        self.sequence = sequence.to(dtype)
        self.num_players = len(sequence.players)
        self.player_modality = sequence.player_modality

    def _evaluator_of(self, expert: FusionExperts) -> CollapsedExpert | DenseExpert:
        """What evaluates one expert, in the game's precision."""
        target_CK = self.target if self.target.dim() == 2 else self.target[:, None]
        expert = expert.to(self.sequence.tokens_TD.dtype)
        with torch.no_grad(), full_precision():  # what it prepares enters every value
            return self._evaluator(expert, self.sequence, target_CK, self._tokens_per_batch)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.sequence.tokens_TD.device

    @property
    def on_device(self) -> bool:
        """Whether an estimator should leave values on the device: on all but a CPU, one target at a time."""
        return self.device.type != "cpu" and self.target.dim() == 1

    def _tensor_values(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        return self._targets(active_mn, sizes_m)[:, 0]

    def _values(self, coalitions: np.ndarray) -> np.ndarray:
        active_mn = torch.from_numpy(coalitions).to(self.device)
        found = self._targets(active_mn, coalitions.sum(1)).double().cpu().numpy()
        return found if self.target.dim() == 2 else found[:, 0]

    def _targets(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        """Targets [m, K] of coalitions on the device, whose sizes the host knows."""
        raise NotImplementedError


def check_options(
    expert: FusionExperts,
    target: Tensor,
    dtype: torch.dtype,
    tokens_per_batch: int | None,
    device: torch.device,
) -> int:
    """Tokens per batch, once mode, target, precision and budget are found to fit the expert.

    Raises:
        InputError: one of them does not.
    """
    classes = expert.head.weight_EIO.shape[-1]
    if expert.training:
        raise InputError(
            "the model is in training mode", "Call model.eval() first: dropout is no explanation."
        )
    if target.dim() not in (1, 2) or target.shape[0] != classes:
        raise InputError(
            f"the target's weights are {list(target.shape)}",
            f"Give one weight per class: [{classes}], or [{classes}, K] for K targets.",
        )
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"dtype is {dtype}", "Use torch.float32 or torch.float64.")
    if tokens_per_batch is None:
        return TOKENS_PER_BATCH["cpu" if device.type == "cpu" else "cuda"]
    if tokens_per_batch < 1:
        raise InputError(f"tokens_per_batch is {tokens_per_batch}", "Give at least 1.")
    return tokens_per_batch
