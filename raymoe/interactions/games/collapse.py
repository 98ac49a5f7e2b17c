"""One fusion expert on many coalitions of one sequence: the zero-token collapse, and the dense reference.

A feature outside the coalition enters as the zero vector, so all of them are the same token in every layer
and Z of them are carried as ONE token: ``log Z`` on its attention logit as a key, Z in the mean pool. That is
algebra, not approximation. Coalitions of one size make sequences of one length, so no batch has any padding.

More algebra of the same kind. Times are those of one thread of an AMD EPYC 9004, per token of a 256-wide,
two-layer expert with 33 players, where the collapse alone takes 27.0 us (``benchmarks/evaluator.py`` has the
totals); rounding apart, none changes a value:

* The last layer's way back (FFN down, residual) and the head's target columns are linear, so tokens are
  pooled before them: 25.1 us.
* Queries, keys and values of layer 1 depend on the token alone, so they are computed once per sequence and
  gathered: 21.0 us.
* So do layer 1's attention logits, and its output is linear in ``value @ Wo``: both are tables over the
  sequence's distinct tokens, and layer 1's attention for all coalitions is one softmax and one product. With
  few players this is less work than the output projection alone: 18.8 us.

Measured and left out: the norm's scale and shift folded into the next matrix (torch's norm is no faster
without them), layer 1's FFN input read from the table too (5 % slower), explicit products instead of
``scaled_dot_product_attention`` (no faster from 10 to 50 tokens), memory taken once for all batches (no
faster), the dot product with the target per token before pooling (2 % slower than after).

Shapes: m coalitions, n players, T valid positions, t tokens of a collapsed sequence, r = m t rows of a batch,
b bank tokens (special positions, players, the zero token), D hidden width, F width of the FFN, H heads,
d = D / H, W = H b, X = 3 D, M modalities, C classes, K targets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raymoe.interactions.games.sequence import MaskedSequence

if TYPE_CHECKING:
    from raymoe.models.fusion import FusionBlock, FusionExperts, StackedLinear

# Layer 1 reads its attention from the table while the table's product (W columns) costs at most this many
# times what it replaces (attention over half the bank and the output projection: b + D); beyond, layer 1
# attends over gathered queries, keys and values.
TABLE_LIMIT = 1.0


# What a batch costs beside its tokens, in tokens: so many a GPU does while the host launches kernels. On an
# H100 2^12 to 2^16 are equally fast, 2^10 and 2^18 slower.
BATCH_PRICE = 1 << 12


class CollapsedExpert:
    """An expert's targets for coalitions of one sequence, zero tokens carried as one.

    Args:
        expert: a single expert (``FusionExperts.select``), in eval mode.
        sequence: of the expert's dtype and device.
        target_CK: weights of the classes' logits, one column per target.
        tokens_per_batch: bound on memory: at most so many tokens go through the expert at once.
    """

    def __init__(
        self, expert: FusionExperts, sequence: MaskedSequence, target_CK: Tensor, tokens_per_batch: int
    ) -> None:
        self.tokens_per_batch = tokens_per_batch
        self.layers = [_Layer(cast("FusionBlock", block)) for block in expert.blocks]
        self._num_special, self._length = len(sequence.special), sequence.length
        tokens_TD = sequence.tokens_TD
        self._device, self._dtype = tokens_TD.device, tokens_TD.dtype
        self._batch_price = 0 if self._device.type == "cpu" else BATCH_PRICE
        bank = np.concatenate([sequence.special, sequence.players])
        zero_1D = torch.zeros_like(tokens_TD[:1])
        self._bank_bD = torch.cat([tokens_TD[torch.from_numpy(bank).to(self._device)], zero_1D])
        self._prepare_pool(sequence, bank)
        self._prepare_head(expert, sequence, target_CK)
        self._prepare_first()

    def __call__(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        """Targets [m, K] of coalitions, bool [m, n] on the device, whose sizes the host knows."""
        order = np.argsort(sizes_m, kind="stable")
        order_m = torch.from_numpy(order).to(self._device)
        ordered_mn = active_mn[order_m]
        values_mK = torch.empty(
            len(active_mn), self._const_K.shape[0], dtype=self._dtype, device=self._device
        )
        batch = self._padded_batch if self._batch_price else self._batch
        for start, stop, largest in self._cut(sizes_m[order]):
            values_mK[start:stop] = batch(ordered_mn[start:stop], largest)
        result_mK = torch.empty_like(values_mK)
        result_mK[order_m] = values_mK
        return result_mK

    def matmul_flops(self, sizes: np.ndarray) -> float:
        """Matrix-product operations that coalitions of these sizes cost: two per multiplication and addition.

        Per token, with t tokens in its sequence: layer 1 ``2WD`` from the table, else ``4tD + 2DD``; later
        layers ``6DD + 4tD + 2DD``; every layer ``2DF`` up, every one but the last ``2FD`` down; pooling
        ``2M(D + F)``.
        """
        t = np.array([self._tokens(int(size)) for size in sizes], dtype=np.float64)
        D, hidden = self.layers[0].up_DF.shape
        depth, M = len(self.layers), self._num_modalities
        first = 2 * self._width * D if self._table else 4 * t * D + 2 * D * D
        later = (depth - 1) * (8 * D * D + 4 * t * D)
        ffn = 2 * D * hidden * (2 * depth - 1)
        return float((t * (first + later + ffn + 2 * M * (D + hidden))).sum())

    def _prepare_pool(self, sequence: MaskedSequence, bank: np.ndarray) -> None:
        """What each token contributes to the mean of its modality; of the zero token, per coalition."""
        M = self._num_modalities = sequence.num_modalities
        count_M = np.maximum(sequence.count_M, 1)
        share_bM = np.zeros((len(bank) + 1, M))
        modality = sequence.modality_T[bank]
        share_bM[np.arange(len(bank)), modality] = 1 / count_M[modality]
        free_M = sequence.count_M - np.bincount(sequence.modality_T[sequence.special], minlength=M)
        self._share_bM, self._count_M, self._free_M, self._of_nM = (
            torch.as_tensor(x, dtype=self._dtype, device=self._device)
            for x in (share_bM, count_M, free_M, np.eye(M)[sequence.player_modality])
        )

    def _prepare_head(self, expert: FusionExperts, sequence: MaskedSequence, target_CK: Tensor) -> None:
        """The head's target columns and the last layer's way back, as weights of pooled vectors."""
        last, M = self.layers[-1], self._num_modalities
        target_CK = target_CK.to(self._bank_bD)
        head_MDK = (expert.head.weight_EIO[0] @ target_CK).view(M, last.down_FD.shape[1], -1)
        self._residual_IK = head_MDK.flatten(0, 1)
        self._hidden_IK = (last.down_FD @ head_MDK).flatten(0, 1)
        # A modality without positions has an empty mean, which no bias reaches.
        present_M = torch.as_tensor(sequence.count_M > 0, dtype=self._dtype, device=self._device)
        bias_MK = last.down_bias_D @ head_MDK
        self._const_K = _bias(expert.head) @ target_CK + present_M @ bias_MK

    def _prepare_first(self) -> None:
        """What layer 1 makes of each bank token alone."""
        first = self.layers[0]
        b, D = self._bank_bD.shape
        H = first.heads
        self._start_bD = self._bank_bD + first.out_bias_D
        self._qkv_bX = F.layer_norm(self._bank_bD, (D,), *first.norm1) @ first.qkv_DX
        self._width = H * b
        # A token that isn't finite must not reach coalitions without it, and 0 * NaN in the table would.
        self._table = H * b <= TABLE_LIMIT * (b + D) and bool(self._qkv_bX.isfinite().all())
        if self._table:
            q_Hbd, k_Hbd, v_Hbd = self._qkv_bX.view(b, 3, H, D // H).permute(1, 2, 0, 3)
            logits_Hbb = q_Hbd @ k_Hbd.transpose(1, 2) / math.sqrt(D // H)
            self._logits_bW = logits_Hbb.transpose(0, 1).reshape(b, -1)
            self._values_WD = (v_Hbd @ first.out_DD.view(H, D // H, D)).reshape(-1, D)

    def _tokens(self, size: int) -> int:
        """Tokens of a collapsed sequence: the zero token is there when a feature is zeroed."""
        return self._num_special + size + (self._num_special + size < self._length)

    def _cut(self, sizes: np.ndarray) -> list[tuple[int, int, int]]:
        """(start, stop, largest size) of batches within the budget; ``sizes`` ascending.

        A batch is of one size where batches are free. Where each has its price (``BATCH_PRICE``),
        neighbouring sizes go together as long as their padding is cheaper.
        """
        present, counts = np.unique(sizes, return_counts=True)
        tokens = np.array([self._tokens(int(size)) for size in present])
        cuts, start = [], 0
        for first, stop in _groups(tokens, counts, self._batch_price):
            count, end = int(counts[first:stop].sum()), int(present[stop - 1])
            step = max(1, self.tokens_per_batch // max(1, int(tokens[stop - 1])))
            cuts += [(at, min(at + step, start + count), end) for at in range(start, start + count, step)]
            start += count
        return cuts

    def _batch(self, active_mn: Tensor, size: int) -> Tensor:
        """Targets [m, K] of coalitions of one size."""
        m, t, zeros = len(active_mn), self._tokens(size), self._length - self._num_special - size
        s, b = self._num_special, len(self._bank_bD)
        index_mt = torch.full((m, t), b - 1, device=self._device)
        index_mt[:, :s] = torch.arange(s, device=self._device)
        index_mt[:, s : s + size] = s + active_mn.nonzero()[:, 1].view(m, size)
        index_r = index_mt.view(-1)

        pool_mtM = self._share_bM.index_select(0, index_r).view(m, t, -1)
        key_bias = None
        if zeros:
            pool_mtM[:, -1] = self._zero_share(active_mn)
        if zeros > 1:
            key_bias = torch.zeros(1, 1, 1, t, dtype=self._dtype, device=self._device)
            key_bias[..., -1] = math.log(zeros)
        log_zeros = math.log(zeros) if zeros else -math.inf
        return self._through(index_r, active_mn, log_zeros, key_bias, pool_mtM)

    def _padded_batch(self, active_mn: Tensor, largest: int) -> Tensor:
        """Targets [m, K] of coalitions of several sizes; nothing here waits for the device.

        The zero token stands first, and at the end of a smaller coalition it stands again, as a key that
        nobody sees and with no share in the pool.
        """
        m, n, s, b = *active_mn.shape, self._num_special, len(self._bank_bD)
        active_mn8 = active_mn.long()
        zeros_m = self._length - s - active_mn8.sum(1)
        t = 1 + s + largest
        # each member's place behind the zero token and the special ones; whoever is absent goes to a last
        # column that is cut off
        place_mn = torch.where(active_mn, s + active_mn8.cumsum(1), t)
        index_mt = torch.full((m, t + 1), b - 1, device=self._device)
        index_mt[:, 1 : 1 + s] = torch.arange(s, device=self._device)
        index_mt.scatter_(1, place_mn, torch.arange(s, s + n, device=self._device).expand(m, n))
        index_mt = index_mt[:, :t]
        index_r = index_mt.reshape(-1)

        pool_mtM = self._share_bM.index_select(0, index_r).view(m, t, -1)  # of the zero token it is 0
        pool_mtM[:, 0] = self._zero_share(active_mn)
        bias_mt = torch.where(index_mt == b - 1, -torch.inf, 0.0).to(self._dtype)
        log_zeros_m = zeros_m.to(self._dtype).log()
        bias_mt[:, 0] = log_zeros_m
        return self._through(index_r, active_mn, log_zeros_m, bias_mt[:, None, None], pool_mtM)

    def _zero_share(self, active_mn: Tensor) -> Tensor:
        """What the zero token contributes to the mean of each modality, [m, M]: all that are absent."""
        return (self._free_M - active_mn.to(self._dtype) @ self._of_nM) / self._count_M

    def _through(
        self,
        index_r: Tensor,
        active_mn: Tensor,
        log_zeros: float | Tensor,
        key_bias: Tensor | None,
        pool_mtM: Tensor,
    ) -> Tensor:
        """Targets [m, K] of sequences of bank tokens.

        Args:
            index_r: which bank token each row is.
            active_mn: the coalitions.
            log_zeros: logarithm of how many tokens the zero token stands for, one number or [m].
            key_bias: on the attention logits of keys, [1 or m, 1, 1, t].
            pool_mtM: what each row contributes to the mean of each modality.
        """
        m, t = pool_mtM.shape[:2]
        x_rD = self._start_bD.index_select(0, index_r)
        for depth, layer in enumerate(self.layers):
            if depth:
                qkv_rX = F.layer_norm(x_rD, x_rD.shape[1:], *layer.norm1) @ layer.qkv_DX
                x_rD.addmm_(_attention(qkv_rX.view(m, t, -1), layer.heads, key_bias), layer.out_DD)
                x_rD.add_(layer.out_bias_D)
            elif self._table:
                x_rD.addmm_(self._weights(active_mn, index_r, log_zeros), self._values_WD)
            else:
                qkv_rX = self._qkv_bX.index_select(0, index_r)
                x_rD.addmm_(_attention(qkv_rX.view(m, t, -1), layer.heads, key_bias), layer.out_DD)
            normal_rD = F.layer_norm(x_rD, x_rD.shape[1:], *layer.norm2)
            hidden_rF = torch.addmm(layer.up_bias_F, normal_rD, layer.up_DF)
            torch.ops.aten.gelu_(
                hidden_rF
            )  # in place (2 % of the whole); torch.nn.functional has no such name
            if depth + 1 < len(self.layers):
                x_rD.addmm_(hidden_rF, layer.down_FD).add_(layer.down_bias_D)

        pool_mMt = pool_mtM.transpose(1, 2)
        residual_mI = torch.bmm(pool_mMt, x_rD.view(m, t, -1)).flatten(1)
        hidden_mI = torch.bmm(pool_mMt, hidden_rF.view(m, t, -1)).flatten(1)
        return residual_mI @ self._residual_IK + hidden_mI @ self._hidden_IK + self._const_K

    def _weights(self, active_mn: Tensor, index_r: Tensor, log_zeros: float | Tensor) -> Tensor:
        """Layer 1's attention weights over the bank, [r, W]: 0 for tokens outside the coalition."""
        m, s, b = len(active_mn), self._num_special, len(self._bank_bD)
        bias_mb = torch.full((m, b), -torch.inf, dtype=self._dtype, device=self._device)
        bias_mb[:, :s] = 0
        bias_mb[:, s:-1].masked_fill_(active_mn, 0)
        bias_mb[:, -1] = log_zeros
        logits_mtHb = self._logits_bW.index_select(0, index_r).view(m, -1, self.layers[0].heads, b)
        logits_mtHb += bias_mb[:, None, None]
        weights_rW: Tensor = logits_mtHb.softmax(-1).view(-1, self._width)
        return weights_rW


class DenseExpert:
    """The full sequence with features zeroed in place: the definition, and the reference.

    Args:
        expert, sequence, target_CK, tokens_per_batch: as for ``CollapsedExpert``.
    """

    def __init__(
        self, expert: FusionExperts, sequence: MaskedSequence, target_CK: Tensor, tokens_per_batch: int
    ) -> None:
        self.expert, self.sequence, self.tokens_per_batch = expert, sequence, tokens_per_batch
        self._target_CK = target_CK.to(sequence.tokens_TD)
        share_MT = np.zeros((sequence.num_modalities, sequence.length))
        share_MT[sequence.modality_T, np.arange(sequence.length)] = 1 / sequence.count_M[sequence.modality_T]
        self._share_MT = torch.as_tensor(share_MT).to(sequence.tokens_TD)

    def __call__(self, active_mn: Tensor, sizes_m: np.ndarray) -> Tensor:
        """Targets [m, K] of coalitions, bool [m, n] on the device; their sizes do not matter here."""
        tokens_TD, T = self.sequence.tokens_TD, self.sequence.length
        special, players = (
            torch.from_numpy(x).to(tokens_TD.device) for x in (self.sequence.special, self.sequence.players)
        )
        keep_mT = torch.zeros(len(active_mn), T, dtype=torch.bool, device=tokens_TD.device)
        keep_mT[:, special] = True
        keep_mT[:, players] = active_mn
        values_mK = tokens_TD.new_empty(len(active_mn), self._target_CK.shape[1])
        step = max(1, self.tokens_per_batch // T)
        for start in range(0, len(active_mn), step):
            part = keep_mT[start : start + step]
            # where, not a product: a masked feature is zero even where its token is infinite
            tokens_mTD = torch.where(part[..., None], tokens_TD, 0)
            bias_mT = tokens_TD.new_zeros(part.shape)
            pool_mMT = self._share_MT.expand(len(part), -1, -1)
            logits_mC = self.expert(tokens_mTD, bias_mT, pool_mMT)[0]
            values_mK[start : start + step] = logits_mC @ self._target_CK
        return values_mK


class _Layer:
    """One expert's weights of a block, by their role."""

    def __init__(self, block: FusionBlock) -> None:
        self.heads = block.heads
        self.norm1 = (block.norm1.scale_ED[0], block.norm1.shift_ED[0])
        self.norm2 = (block.norm2.scale_ED[0], block.norm2.shift_ED[0])
        self.qkv_DX = block.qkv.weight_EIO[0]
        self.out_DD, self.out_bias_D = block.out.weight_EIO[0], _bias(block.out)
        self.up_DF, self.up_bias_F = block.up.weight_EIO[0], _bias(block.up)
        self.down_FD, self.down_bias_D = block.down.weight_EIO[0], _bias(block.down)


def _bias(linear: StackedLinear) -> Tensor:
    """That of a single expert's map, [O]."""
    if linear.bias_E1O is None:
        raise TypeError("the map has no bias")
    bias_O: Tensor = linear.bias_E1O[0, 0]
    return bias_O


def _attention(qkv_mtX: Tensor, heads: int, key_bias: Tensor | None) -> Tensor:
    """Softmax attention within each sequence, heads side by side, [r, D]."""
    m, t, X = qkv_mtX.shape
    q, k, v = qkv_mtX.view(m, t, 3, heads, X // (3 * heads)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_bias)
    return mixed.transpose(1, 2).reshape(m * t, X // 3)


def _groups(tokens: np.ndarray, counts: np.ndarray, price: int) -> list[tuple[int, int]]:
    """Which neighbouring sizes share a batch: (first, stop) of each, the cheapest of all groupings.

    By dynamic programming over where the last group begins.

    Args:
        tokens: of a sequence of each size, ascending.
        counts: how many there are.
        price: of a batch, in tokens.
    """
    size = len(tokens)
    if not price:
        return [(i, i + 1) for i in range(size)]
    before = np.concatenate([[0], np.cumsum(counts)])
    best, chosen = np.zeros(size + 1), np.zeros(size + 1, dtype=int)
    for stop in range(1, size + 1):
        # a group that ends here and begins at stop - 1, stop - 2, ..., 0
        begins = np.arange(stop - 1, -1, -1)
        cost = best[begins] + price + tokens[stop - 1] * (before[stop] - before[begins])
        at = int(np.argmin(cost))
        best[stop], chosen[stop] = cost[at], begins[at]
    found, stop = [], size
    while stop:
        found.append((int(chosen[stop]), stop))
        stop = int(chosen[stop])
    return found[::-1]
