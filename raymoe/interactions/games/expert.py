"""A fusion expert as a cooperative game: which features are there -> the expert's logit for the target.

``f(S)``: every feature is zeroed except S and the special positions (CLS), which are always active (paper
§3.2.2). How that is computed fast is ``collapse.py``; what is checked, ``masked.py``.

Shapes: m coalitions, n players (the universe), C classes, K targets.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from raymoe.errors import InputError
from raymoe.interactions.games.collapse import CollapsedExpert, DenseExpert
from raymoe.interactions.games.masked_game import MaskedGame
from raymoe.interactions.games.precision import full_precision
from raymoe.interactions.games.sequence import MaskedSequence
from raymoe.models.base import FusionModel
from raymoe.models.fusion import FusionExperts

# On a CPU 2^9 to 2^12 are equally fast and more is slower. On an H200 2^16 to 2^20 are, and 2^13 has three
# fifths of their speed.
TOKENS_PER_BATCH = {"cpu": 1 << 11, "cuda": 1 << 17}


class SequenceGame(MaskedGame):
    """What the games of one sample share: options that fit, precision, batches, one target or several."""

    def __init__(
        self,
        model: nn.Module,
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
        self._options = {"collapse": collapse, "tokens_per_batch": tokens_per_batch, "name": name}
        self._model, self.target, self.name = model, target, name
        self.sequence = sequence.to(dtype)
        self.num_players = len(sequence.players)
        self.player_modality = sequence.player_modality

    def double(self) -> Self:
        """The same game in float64."""
        return type(self)(self._model, self.sequence, self.target, dtype=torch.float64, **self._options)

    def _evaluator_of(self, expert: FusionExperts) -> CollapsedExpert | DenseExpert:
        """What evaluates one expert, in the game's precision."""
        target_CK = self.target if self.target.dim() == 2 else self.target[:, None]
        expert = expert.to(self.sequence.tokens_TD.dtype)
        with torch.no_grad(), full_precision():  # what it prepares enters every value
            return self._evaluator(expert, self.sequence, target_CK, self._tokens_per_batch)

    def _answer(self, values_mK: Tensor) -> np.ndarray:
        found = values_mK.double().cpu().numpy()
        return found if self.target.dim() == 2 else found[:, 0]


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
        **options,
    ) -> None:
        super().__init__(expert, expert, sequence, target, **options)
        # select: parameters of its own, so the model's keep their type
        self.evaluator = self._evaluator_of(expert.select(0))

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
        **options,
    ) -> MaskedGame:
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
        from raymoe.interactions.games.mixture import MixtureGame  # builds on this file

        sequence = MaskedSequence.of_sample(model, features, special, players, valid)
        if expert == "mixture" and len(model.expert_names) == 1:
            expert = 0  # the dense Transformer is its only expert
        if expert == "mixture":
            return MixtureGame(model, sequence, target, **options)
        return cls(model.experts.select(expert_index(model, expert)), sequence, target, **options)

    def _values(self, coalitions: np.ndarray) -> np.ndarray:
        return self._answer(self.evaluator(coalitions))


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
