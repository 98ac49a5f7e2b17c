"""A fusion expert as a cooperative game: which features are there -> the expert's logit for the target.

``f(S)``: every feature is zeroed except S and the special positions (CLS), which are always active (paper
§3.2.2). How that is computed fast is ``collapse.py``; what is checked, ``masked_game.py``.

Shapes: m coalitions, n players (the universe), C classes, K targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack, cast

import numpy as np
from torch import Tensor

from raymoe.catalogue import MIXTURE
from raymoe.errors import InputError
from raymoe.interactions.games.mixture import MixtureGame
from raymoe.interactions.games.sequence import MaskedSequence
from raymoe.interactions.games.sequence_game import GameOptions, SequenceGame

if TYPE_CHECKING:
    from raymoe.models.base import FusionModel
    from raymoe.models.fl_i2moe import FLI2MoE
    from raymoe.models.fusion import FusionExperts


class ExpertGame(SequenceGame):
    """One expert, one sample, one target or several: ``bool[m, n] -> float64[m]`` or ``[m, K]``.

    Args:
        expert: a single expert (``FusionExperts.select``), in eval mode.
        sequence: the sample and its universe.
        target: weights of the classes' logits: [C], or [C, K] for K targets at once (answers [m, K], at the
            price of one).
        collapse: carry zero tokens as one; off, the dense pass is used.
        dtype: precision of the arithmetic, float32 or float64; by default the sequence's. The sequence itself
            (projection, position code) is computed in the model's.
        tokens_per_batch: bound on memory: at most so many tokens go through the expert at once; by default
            what suits the device.
        name: what is explained, for messages; for instance ``sample s3, expert synergy``.

    Raises:
        InputError: the expert is in training mode, or the target's or the batch's size is wrong.
    """

    def __init__(
        self,
        expert: FusionExperts,
        sequence: MaskedSequence,
        target: Tensor,
        **options: Unpack[GameOptions],
    ) -> None:
        super().__init__(expert, sequence, target, **options)
        self._expert = expert
        # select: parameters of its own, so the model's keep their type
        self.evaluator = self._evaluator_of(expert.select(0))

    def double(self) -> ExpertGame:
        """The same game in float64."""
        return ExpertGame(self._expert, self.sequence, self.target, **self._double_options)

    @classmethod
    def of_sample(
        cls,
        model: FusionModel,
        expert: int | str,
        features: dict[str, Tensor],
        special: dict[str, Tensor],
        players: list[tuple[str, int]],
        target: Tensor,
        *,
        valid: dict[str, Tensor] | None = None,
        **options: Unpack[GameOptions],
    ) -> SequenceGame:
        """The game of one expert of a model on one sample, or of the whole mixture.

        Args:
            model: in eval mode.
            expert: its index, its name, or ``mixture`` (see ``MixtureGame``).
            features, special: the sample's sequences, per modality [T_m, D_m] and [T_m].
            players: (modality, position) of each feature of the universe.
            target: weights of the classes' logits, [C] or [C, K].
            valid: per modality [T_m], False at padding; by default there is none.
            options: ``collapse``, ``dtype``, ``tokens_per_batch``, ``name``.

        Raises:
            InputError: unknown expert; players that are special, padding, out of range or named twice.
        """
        sequence = MaskedSequence.of_sample(model, features, special, players, valid)
        if expert == MIXTURE and len(model.expert_names) == 1:
            expert = 0  # the dense Transformer is its only expert
        if expert == MIXTURE:
            return MixtureGame(cast("FLI2MoE", model), sequence, target, **options)
        return cls(model.experts.select(expert_index(model, expert)), sequence, target, **options)

    def _targets(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        return self.evaluator(active_mn, sizes_m)


def expert_index(model: FusionModel, expert: int | str) -> int:
    """Which expert is meant, by index or name.

    Raises:
        InputError: there is none; lists the names.
    """
    names = model.expert_names
    if isinstance(expert, str):
        if expert in names:
            return names.index(expert)
    elif 0 <= expert < len(names):
        return int(expert)
    raise InputError(f"no expert {expert!r}", f"Experts: {', '.join(names)}, or mixture.")
