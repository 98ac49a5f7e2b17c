"""A fusion expert as a cooperative game: which features are there -> the expert's logit for the target.

``f(S)``: every feature is zeroed except S and the special positions (CLS), which are always active (paper
§3.2.2). Features outside S enter the fusion layers as the zero vector, so all of them are the same token, and
Z of them are carried as ONE token with multiplicity Z: ``log Z`` on its attention logit as a key, Z in the
mean pool. That is algebra, not approximation; the dense pass over the full sequence is kept as the reference.

Shapes: m coalitions, n players (the universe), T valid positions of the joint sequence, t tokens of a
collapsed sequence, D hidden width, M modalities, C classes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from raymoe.errors import RaymoeError
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.models.fusion import FusionExperts


class ExpertGame:
    """One expert, one sample, one target: ``bool[m, n] -> float64[m]``.

    Args:
        expert: a single expert (``FusionExperts.select``), in eval mode.
        tokens_TD: the sample's joint sequence of valid positions, projected, position code added.
        modality_T: which modality each position belongs to, 0..M-1.
        special_T: positions that are always active and never players.
        players: the universe, indices into the T positions, [n].
        target_C: weights of the classes' logits; the value is ``logits @ target``.
        collapse: carry zero tokens as one; off, the dense pass is used.
        tokens_per_batch: bound on memory: at most so many tokens go through the expert at once.

    Raises:
        ValueError: a player is special, out of range, or named twice.
    """

    def __init__(
        self,
        expert: FusionExperts,
        tokens_TD: Tensor,
        modality_T: np.ndarray,
        special_T: np.ndarray,
        players: np.ndarray,
        target_C: Tensor,
        *,
        collapse: bool = True,
        tokens_per_batch: int = 1 << 14,
    ) -> None:
        players = np.asarray(players, dtype=np.int64)
        T = tokens_TD.shape[0]
        if len(players) and (players.min() < 0 or players.max() >= T or len(set(players)) != len(players)):
            raise ValueError(f"players must be distinct positions below {T}, got {players.tolist()}")
        if special_T[players].any():
            raise ValueError(f"special positions can't be players: {players[special_T[players]].tolist()}")
        self.expert, self.target_C, self.collapse = expert, target_C, collapse
        self.tokens_per_batch = tokens_per_batch
        self.num_players = len(players)
        self.player_modality = np.asarray(modality_T)[players]
        self._players = players
        self._special = np.flatnonzero(special_T)
        self._T = T
        # The last row is the zero token.
        self._bank = torch.cat([tokens_TD, torch.zeros_like(tokens_TD[:1])])
        M = int(np.max(modality_T)) + 1
        count_M = np.bincount(modality_T, minlength=M)
        self._num_modalities = expert.head.weight_EIO.shape[1] // tokens_TD.shape[1]
        # share_TM[t]: what position t contributes to the mean of each modality; the zero row is filled per
        # coalition
        share = np.zeros((T + 1, self._num_modalities))
        share[np.arange(T), modality_T] = 1 / count_M[modality_T]
        self._share = torch.as_tensor(share, dtype=tokens_TD.dtype, device=tokens_TD.device)
        self._count_M = np.zeros(self._num_modalities)
        self._count_M[:M] = count_M
        self._special_M = np.bincount(modality_T[self._special], minlength=self._num_modalities)

    @classmethod
    def of_sample(
        cls,
        model: FLI2MoE,
        expert: int,
        features: dict[str, Tensor],
        special: dict[str, Tensor],
        players: list[tuple[str, int]],
        target_C: Tensor,
        *,
        valid: dict[str, Tensor] | None = None,
        **options,
    ) -> ExpertGame:
        """The game of one expert of a model on one sample.

        Args:
            model: in eval mode.
            expert: its index.
            features, special: the sample's sequences, per modality [T_m, D_m] and [T_m].
            players: (modality, position) of each feature of the universe.
            target_C: weights of the classes' logits.
            valid: per modality [T_m], False at padding; by default there is none.
            options: ``collapse``, ``tokens_per_batch``.
        """
        device = model.position_TD.device
        batch = {n: features[n].to(device, model.position_TD.dtype)[None] for n in model.names}
        sizes = [batch[n].shape[1] for n in model.names]
        whole = valid or {
            n: torch.ones(size, dtype=torch.bool) for n, size in zip(model.names, sizes, strict=True)
        }
        masks = {n: whole[n].to(device)[None].bool() for n in model.names}
        with torch.no_grad():
            inputs = model.fusion_input(model.project(batch, masks), masks)
        kept_T = inputs.valid_BT[0].cpu().numpy()
        start = dict(zip(model.names, np.cumsum([0, *sizes[:-1]]), strict=True))
        positions = np.array([start[name] + position for name, position in players], dtype=np.int64)
        if not kept_T[positions].all():
            raise ValueError("players must be valid positions, not padding")
        return cls(
            model.experts.select(expert),
            inputs.tokens_BTD[0][inputs.valid_BT[0]],
            np.repeat(np.arange(len(sizes)), sizes)[kept_T],
            torch.cat([special[n].bool() for n in model.names]).cpu().numpy()[kept_T],
            (np.cumsum(kept_T) - 1)[positions],
            target_C,
            **options,
        )

    @torch.no_grad()
    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """The value of each coalition.

        Args:
            coalitions: bool [m, n]; True where the player is active.

        Raises:
            ValueError: wrong shape.
            RaymoeError: a value is not finite; names the coalition.
        """
        coalitions = np.ascontiguousarray(coalitions, dtype=bool)
        if coalitions.ndim != 2 or coalitions.shape[1] != self.num_players:
            raise ValueError(f"coalitions must be [m, {self.num_players}], got {coalitions.shape}")
        values = self._collapsed(coalitions) if self.collapse else self._dense(coalitions)
        if not np.isfinite(values).all():
            worst = np.flatnonzero(coalitions[np.flatnonzero(~np.isfinite(values))[0]]).tolist()
            raise RaymoeError(
                f"the model's output is not finite for the coalition of players {worst}",
                "Check the checkpoint for NaN weights and the features for NaN or infinite values.",
            )
        return values

    def _collapsed(self, coalitions: np.ndarray) -> np.ndarray:
        """Coalitions of one size make sequences of one length, so no batch has any padding."""
        values = np.empty(len(coalitions))
        sizes = coalitions.sum(1)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            per_batch = max(1, self.tokens_per_batch // (len(self._special) + int(size) + 1))
            for chunk in np.split(rows, range(per_batch, len(rows), per_batch)):
                values[chunk] = self._collapsed_batch(coalitions[chunk], int(size))
        return values

    def _collapsed_batch(self, coalitions: np.ndarray, size: int) -> np.ndarray:
        m = len(coalitions)
        members = np.nonzero(coalitions)[1].reshape(m, size)
        zeros = self._T - len(self._special) - size
        index = np.concatenate(
            [
                np.broadcast_to(self._special, (m, len(self._special))),
                self._players[members],
                np.full((m, min(zeros, 1)), self._T),
            ],
            axis=1,
        )
        device = self._bank.device
        index_mt = torch.from_numpy(index).to(device)
        tokens_mtD = self._bank[index_mt]
        pool_mMt = self._share[index_mt].transpose(1, 2)
        bias_mt = torch.zeros(index_mt.shape, dtype=tokens_mtD.dtype, device=device)
        if zeros:
            present_mM = np.stack(
                [coalitions[:, self.player_modality == j].sum(1) for j in range(self._num_modalities)], 1
            )
            left_mM = (self._count_M - self._special_M - present_mM) / np.maximum(self._count_M, 1)
            pool_mMt = pool_mMt.clone()
            pool_mMt[:, :, -1] = torch.as_tensor(left_mM, dtype=pool_mMt.dtype, device=device)
            bias_mt[:, -1] = math.log(zeros)
        return self._value(tokens_mtD, bias_mt, pool_mMt)

    def _dense(self, coalitions: np.ndarray) -> np.ndarray:
        """The full sequence with features zeroed in place: the definition, and the reference."""
        keep = np.zeros((len(coalitions), self._T), dtype=bool)
        keep[:, self._special] = True
        keep[:, self._players] = coalitions
        per_batch = max(1, self.tokens_per_batch // self._T)
        values = np.empty(len(coalitions))
        for start in range(0, len(coalitions), per_batch):
            keep_mT = torch.from_numpy(keep[start : start + per_batch]).to(self._bank.device)
            tokens_mTD = self._bank[:-1] * keep_mT[..., None]
            bias_mT = torch.zeros(keep_mT.shape, dtype=tokens_mTD.dtype, device=keep_mT.device)
            pool_mMT = self._share[:-1].T.expand(len(keep_mT), -1, -1)
            values[start : start + per_batch] = self._value(tokens_mTD, bias_mT, pool_mMT)
        return values

    def _value(self, tokens: Tensor, key_bias: Tensor, pool: Tensor) -> np.ndarray:
        logits_mC = self.expert(tokens, key_bias, pool)[0]
        return (logits_mC @ self.target_C.to(logits_mC)).double().cpu().numpy()
