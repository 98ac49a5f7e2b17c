"""The mixture's output as a game: every expert on the masked features, weighted by the gate's answer to them.

Shapes: m coalitions, n players, D hidden width, M modalities, E experts, C classes, K targets.
"""

from __future__ import annotations

import copy
from functools import reduce
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raymoe.errors import InputError
from raymoe.interactions.games.sequence import MaskedSequence
from raymoe.interactions.games.sequence_game import GameOptions, SequenceGame

if TYPE_CHECKING:
    from raymoe.models.fl_i2moe import FLI2MoE


class MixtureGame(SequenceGame):
    """The model's logit for the target: ``bool[m, n] -> float64[m]`` or ``[m, K]``.

    A masked feature is the zero vector everywhere: the experts see a zero token in its place (no projection
    bias, no position code), as in ``ExpertGame``; the gate sees a zero embedding, and its mean still divides
    by the number of all valid positions of the modality. With everything active this is ``FLI2MoE.forward``.

    Args:
        model: in eval mode.
        sequence: the sample and its universe, from ``MaskedSequence.of_sample``.
        target, collapse, dtype, tokens_per_batch, name: as for ``ExpertGame``.

    Raises:
        InputError: as ``ExpertGame``.
    """

    def __init__(
        self,
        model: FLI2MoE,
        sequence: MaskedSequence,
        target: Tensor,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(model.experts, sequence, target, **options)
        self._model = model
        self._gate = copy.deepcopy(model.gate).to(self.sequence.tokens_TD.dtype)
        self._experts = [
            self._evaluator_of(model.experts.select(e)) for e in range(model.experts.num_experts)
        ]
        with torch.no_grad():
            self._prepare_gate()

    def double(self) -> MixtureGame:
        """The same game in float64."""
        return MixtureGame(self._model, self.sequence, self.target, **self._double_options)

    def gate_weights(self, active_mn: Tensor) -> Tensor:
        """The mixture's weights [m, E] for coalitions, bool [m, n] on the device.

        The mean embedding is linear in the mask: no sequence is built.
        """
        mean_mMD = torch.tensordot(active_mn.to(self._players_nMD.dtype), self._players_nMD, 1)
        weights_mE: Tensor = self._gate(F.normalize(mean_mMD + self._special_MD, dim=-1).flatten(1))
        return weights_mE

    def _prepare_gate(self) -> None:
        sequence = self.sequence
        embeddings_TD = sequence.embeddings_TD
        if embeddings_TD is None:
            raise InputError(
                "the sequence has no embeddings for the gate", "Make it with MaskedSequence.of_sample."
            )
        own_TM = np.eye(sequence.num_modalities)[sequence.modality_T] / np.maximum(sequence.count_M, 1)
        share_TMD = torch.as_tensor(own_TM).to(embeddings_TD)[..., None] * embeddings_TD[:, None]
        # A feature that isn't finite must not reach coalitions without it, and 0 * NaN would; where it is
        # active, the experts' answers say so.
        share_TMD = share_TMD.nan_to_num()
        self._players_nMD = share_TMD[torch.from_numpy(sequence.players).to(share_TMD.device)]
        self._special_MD = share_TMD[torch.from_numpy(sequence.special).to(share_TMD.device)].sum(0)

    def _targets(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        weights_mE = self.gate_weights(active_mn)
        each = (weights_mE[:, e, None] * expert(active_mn, sizes_m) for e, expert in enumerate(self._experts))
        return reduce(torch.add, each)
