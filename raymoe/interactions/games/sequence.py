"""The sequence that a coalition masks: which positions are players, which are always there.

Shapes: T valid positions of the joint sequence, D hidden width, M modalities, n players, m coalitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from raymoe.errors import InputError
from raymoe.interactions.games.precision import full_precision

if TYPE_CHECKING:
    from raymoe.models.base import FusionModel


class MaskedSequence:
    """One sample as the fusion experts see it, and its universe.

    Args:
        tokens_TD: valid positions, projected, position code added.
        modality_T: which modality each position belongs to, 0..M-1.
        special_T: positions that are always active and never players.
        players: the universe, indices into the T positions, [n].
        num_modalities: M.
        embeddings_TD: the positions before the position code; only the mixture's gate needs them.

    Raises:
        InputError: no positions; a player is special, out of range, or named twice.
    """

    def __init__(
        self,
        tokens_TD: Tensor,
        modality_T: np.ndarray,
        special_T: np.ndarray,
        players: np.ndarray,
        num_modalities: int,
        *,
        embeddings_TD: Tensor | None = None,
    ) -> None:
        players = np.asarray(players, dtype=np.int64).reshape(-1)
        T = len(tokens_TD)
        if not T:
            raise InputError(
                "the sample has no valid positions", "Leave it out, or check its validity marks."
            )
        if len(players) and (players.min() < 0 or players.max() >= T or len(set(players)) != len(players)):
            raise InputError(
                f"players must be distinct positions below {T}, got {players.tolist()}",
                "Name each feature of the universe once.",
            )
        if special_T[players].any():
            raise InputError(
                f"special positions can't be players: {players[special_T[players]].tolist()}",
                "Leave CLS and its like out of the universe: they are always active.",
            )
        self.tokens_TD, self.embeddings_TD = tokens_TD, embeddings_TD
        self.modality_T = np.asarray(modality_T, dtype=np.int64)
        self.players = players
        self.special = np.flatnonzero(special_T)
        self.num_modalities = num_modalities
        self.count_M = np.bincount(self.modality_T, minlength=num_modalities)

    @classmethod
    @torch.no_grad()
    @full_precision()
    def of_sample(
        cls,
        model: FusionModel,
        features: dict[str, Tensor],
        special: dict[str, Tensor],
        players: list[tuple[str, int]],
        valid: dict[str, Tensor] | None = None,
    ) -> MaskedSequence:
        """Project a sample, leave padding out, and find the players in what remains.

        Args:
            model: its projections and position code.
            features, special: per modality [T_m, D_m] and [T_m].
            players: (modality, position) of each feature of the universe.
            valid: per modality [T_m], False at padding; by default there is none.

        Raises:
            InputError: the model is an i2moe; a player of an unknown modality, outside the sequence, at
                padding, special or twice.
        """
        if model.kind == "i2moe":
            raise InputError(
                "i2moe works on pooled vectors: it has no tokens or patches to mask",
                "Take a model of kind fl-i2moe or dense.",
            )
        weight = next(model.parameters())  # the first projection's
        device, dtype = weight.device, weight.dtype
        batch = {n: features[n].to(device, dtype)[None] for n in model.names}
        sizes = [batch[n].shape[1] for n in model.names]
        if valid is None:
            valid = {
                n: torch.ones(size, dtype=torch.bool) for n, size in zip(model.names, sizes, strict=True)
            }
        masks = {n: valid[n].to(device)[None].bool() for n in model.names}
        embeddings = model.project(batch, masks)
        inputs = model.fusion_input(embeddings, masks)
        kept_T = inputs.valid_BT[0]
        kept = kept_T.cpu().numpy()
        start = dict(zip(model.names, np.cumsum([0, *sizes[:-1]]), strict=True))
        size_of = dict(zip(model.names, sizes, strict=True))
        for name, position in players:
            if not 0 <= position < size_of.get(name, 0):
                raise InputError(
                    f"player ({name!r}, {position}) is not in the sample",
                    f"Modalities and lengths: {', '.join(f'{n} {s}' for n, s in size_of.items())}.",
                )
        positions = np.array([start[name] + position for name, position in players], dtype=np.int64)
        if not kept[positions].all():
            bad = [player for player, at in zip(players, positions, strict=True) if not kept[at]]
            raise InputError(
                f"players must be valid positions, not padding: {bad}", "Choose among the valid ones."
            )
        return cls(
            inputs.tokens_BTD[0][kept_T],
            np.repeat(np.arange(len(sizes)), sizes)[kept],
            torch.cat([special[n].bool() for n in model.names]).cpu().numpy()[kept],
            (np.cumsum(kept) - 1)[positions],
            len(sizes),
            embeddings_TD=torch.cat([embeddings[n][0] for n in model.names])[kept_T],
        )

    @property
    def length(self) -> int:
        """T."""
        return len(self.tokens_TD)

    @property
    def player_modality(self) -> np.ndarray:
        """Which modality each player is of, [n]."""
        return self.modality_T[self.players]

    def to(self, dtype: torch.dtype) -> MaskedSequence:
        """The same sequence in another precision."""
        special_T = np.zeros(self.length, dtype=bool)
        special_T[self.special] = True
        embeddings_TD = None if self.embeddings_TD is None else self.embeddings_TD.to(dtype)
        return MaskedSequence(
            self.tokens_TD.to(dtype),
            self.modality_T,
            special_T,
            self.players,
            self.num_modalities,
            embeddings_TD=embeddings_TD,
        )
