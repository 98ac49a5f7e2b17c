"""Interaction experts: E fusion Transformers of one shape, evaluated together.

Knows nothing of modalities' features, of masks over coalitions, or of the gate. Every expert is a full copy
of the fusion Transformer with its own head (I2MoE); their weights are stacked, so that one batched product
does the work of E Python calls.

Shapes: E experts, N sequences, T tokens, D hidden width, H heads, M modalities, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymoe.models.attention import attend
from raymoe.models.dropout import keep_mask

Stacked = TypeVar("Stacked", bound=nn.Module)


@dataclass(frozen=True)
class Segments:
    """Sequences put together from segments of others: what several have in common is projected once.

    Attributes:
        sources_BTD: sequences of equal shape, each of M segments.
        sizes: tokens of each segment.
        passes: for each pass, from which source each segment is.
    """

    sources_BTD: list[Tensor]
    sizes: list[int]
    passes: list[tuple[int, ...]]

    def assemble(self, sources: list[Tensor], dim: int) -> Tensor:
        """What was made of every source, side by side along the batch, pass by pass.

        Args:
            sources: one tensor per source, with tokens at ``dim + 1``.
            dim: the batch axis.
        """
        if len(self.passes) == 1:
            return sources[0]
        parts = [torch.split(source, self.sizes, dim + 1) for source in sources]
        rows = [torch.cat([parts[s][m] for m, s in enumerate(chosen)], dim + 1) for chosen in self.passes]
        return torch.cat(rows, dim)


class FusionExperts(nn.Module):
    """E pre-norm Transformers with mean pooling per modality and a linear head each.

    A block is ``x + Wo attention(LN(x))`` and ``x + FFN(LN(x))`` with GELU, no query/key/value bias; dropout
    on attention weights, on the output projection and in the FFN.

    With ``residual="attention"`` the first sum is ``attention + attention`` as in the original I2MoE's code,
    where the block's input does not reach its output but through attention.

    Args:
        num_experts: E.
        num_modalities: M; the head sees M pooled vectors side by side.
        num_classes: C.
        hidden_dim, num_layers, num_heads, ffn_ratio: the block's shape.
        dropout, dropout_attention: of activations, and of attention weights (``None``: the same).
        residual: what attention's output is added to: the block's ``input``, or (``attention``) itself.
    """

    def __init__(
        self,
        num_experts: int,
        num_modalities: int,
        num_classes: int,
        *,
        hidden_dim: int,
        num_layers: int,
        num_heads: int,
        ffn_ratio: int,
        dropout: float,
        dropout_attention: float | None = None,
        residual: Literal["input", "attention"] = "input",
    ) -> None:
        super().__init__()
        self.num_experts, self.residual = num_experts, residual
        if dropout_attention is None:
            dropout_attention = dropout
        self.blocks = nn.ModuleList(
            FusionBlock(num_experts, hidden_dim, num_heads, ffn_ratio, dropout, dropout_attention, residual)
            for _ in range(num_layers)
        )
        self.head = StackedLinear(num_experts, num_modalities * hidden_dim, num_classes)

    def forward(self, tokens: Tensor, key_bias_NT: Tensor, pool_NMT: Tensor) -> Tensor:
        """Logits of every expert, [E, N, C].

        Args:
            tokens: [N, T, D], the same for all experts, or [E, N, T, D].
            key_bias_NT: added to the attention logits of each key: 0 for a token, ``-inf`` for padding,
                ``log Z`` for a token that stands for Z equal ones, which is what collapses zeroed tokens.
            pool_NMT: weight of each token in the mean of each modality; rows sum to 1 (or 0: nothing there).
        """
        logits_ENC: Tensor = self.head(self.latents(tokens, key_bias_NT, pool_NMT))
        return logits_ENC

    def forward_with_attention(
        self, tokens: Tensor, key_bias_NT: Tensor, pool_NMT: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits [E, N, C], and each layer's attention weights [E, N, H, T, T].

        The weights are computed explicitly, so that gradients with respect to them exist. For the arguments
        see ``forward``.
        """
        attentions: list[Tensor] = []
        latents_ENI = self.latents(tokens, key_bias_NT, pool_NMT, attentions)
        return self.head(latents_ENI), attentions

    def latents(
        self,
        tokens: Tensor | Segments,
        key_bias_NT: Tensor,
        pool_NMT: Tensor,
        attentions: list[Tensor] | None = None,
    ) -> Tensor:
        """What the heads see: the modalities' pooled vectors side by side, [E, N, M D].

        Args:
            tokens: as for ``forward``, or sequences put together from others.
            key_bias_NT, pool_NMT: as for ``forward``.
            attentions: a list that each layer's attention weights are put into.
        """
        blocks, qkv = self._blocks, None
        if isinstance(tokens, Segments):
            x_ENTD = tokens.assemble(tokens.sources_BTD, 0)
            each = [blocks[0].queries_keys_values(source) for source in tokens.sources_BTD]
            qkv = tokens.assemble(each, 1)
        else:
            x_ENTD = tokens
        if x_ENTD.dim() == 3:
            qkv = blocks[0].queries_keys_values(x_ENTD) if qkv is None else qkv
            x_ENTD = x_ENTD.expand(self.num_experts, *x_ENTD.shape)
        for depth, block in enumerate(blocks):
            first = None if depth else qkv
            x_ENTD, attention = block(x_ENTD, key_bias_NT, first, explicit=attentions is not None)
            if attentions is not None:
                attentions.append(attention)
        return torch.matmul(pool_NMT, x_ENTD).flatten(2)

    def select(self, index: int) -> FusionExperts:
        """Expert ``index`` alone (E = 1), sharing its weights with this module."""
        alone = _without_weights(self)
        alone.num_experts, alone.residual = 1, self.residual
        alone.blocks = nn.ModuleList(block.select(index) for block in self._blocks)
        alone.head = self.head.select(index)
        alone.train(self.training)
        return alone

    @property
    def _blocks(self) -> list[FusionBlock]:
        return cast("list[FusionBlock]", list(self.blocks))


class FusionBlock(nn.Module):
    """One layer of E Transformers."""

    def __init__(
        self,
        num_experts: int,
        dim: int,
        heads: int,
        ffn_ratio: int,
        dropout: float,
        dropout_attention: float,
        residual: str,
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.dropout_attention = heads, dropout, dropout_attention
        self.residual = residual
        self.norm1 = StackedLayerNorm(num_experts, dim)
        self.qkv = StackedLinear(num_experts, dim, 3 * dim, bias=False)
        self.out = StackedLinear(num_experts, dim, dim)
        self.norm2 = StackedLayerNorm(num_experts, dim)
        self.up = StackedLinear(num_experts, dim, ffn_ratio * dim)
        self.down = StackedLinear(num_experts, ffn_ratio * dim, dim)

    def queries_keys_values(self, x: Tensor) -> Tensor:
        """Queries, keys and values [E, N, T, 3, H, d] of tokens [N, T, D], shared by all, or [E, N, T, D]."""
        *lead, T, D = x.shape
        weight_EDX, bias_EX = self.norm1.folded(self.qkv)
        normal = F.layer_norm(x, (D,))
        if x.dim() == 3:  # one product for all experts
            E, _, X = weight_EDX.shape
            flat = torch.addmm(
                bias_EX.flatten(), normal.view(-1, D), weight_EDX.transpose(0, 1).reshape(D, -1)
            )
            qkv = flat.view(*lead, T, E, X).permute(2, 0, 1, 3)
        else:
            qkv = torch.baddbmm(bias_EX[:, None], normal.flatten(1, 2), weight_EDX)
        return qkv.view(-1, lead[-1], T, 3, self.heads, D // self.heads)

    def forward(
        self, x_ENTD: Tensor, key_bias_NT: Tensor, qkv: Tensor | None, *, explicit: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The layer's output [E, N, T, D] and, when asked for, its attention weights [E, N, H, T, T].

        Args:
            x_ENTD: tokens.
            key_bias_NT: added to the attention logits of each key.
            qkv: their queries, keys and values, where they are known.
            explicit: whether attention is computed in a way that shows its weights.
        """
        E, N, T, D = x_ENTD.shape
        qkv = self.queries_keys_values(x_ENTD) if qkv is None else qkv
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
        drop, drop_attention = (self.dropout, self.dropout_attention) if self.training else (0.0, 0.0)
        weights = None
        if explicit:
            scores = q @ k.transpose(-1, -2) / math.sqrt(D // self.heads) + key_bias_NT[:, None, None, :]
            weights = scores.softmax(-1)
            mixed = F.dropout(weights, drop_attention) @ v
        else:
            mixed = attend(q, k, v, key_bias_NT, drop_attention)
        attended_ENTD = self.out(mixed.transpose(2, 3).reshape(E, N, T, D))
        x_ENTD = x_ENTD if self.residual == "input" else attended_ENTD
        x_ENTD = _add_dropped(x_ENTD, attended_ENTD, drop)
        weight_EDF, bias_EF = self.norm2.folded(self.up)
        normal_ERD = F.layer_norm(x_ENTD, (D,)).flatten(1, 2)
        hidden_ENTF = F.gelu(torch.baddbmm(bias_EF[:, None], normal_ERD, weight_EDF)).view(E, N, T, -1)
        if drop:
            hidden_ENTF = hidden_ENTF * keep_mask(hidden_ENTF.shape[1:], drop, hidden_ENTF)
        return _add_dropped(x_ENTD, self.down(hidden_ENTF), drop), weights

    def select(self, index: int) -> FusionBlock:
        """The same layer of one expert."""
        alone = _without_weights(self)
        for name in ("heads", "dropout", "dropout_attention", "residual"):
            setattr(alone, name, getattr(self, name))
        for name in ("norm1", "qkv", "out", "norm2", "up", "down"):
            setattr(alone, name, getattr(self, name).select(index))
        return alone


def _add_dropped(x_ENTD: Tensor, branch_ENTD: Tensor, p: float) -> Tensor:
    """``x + dropout(branch)`` with one mask for all experts: to each the same as one of its own."""
    if p == 0.0:
        return x_ENTD + branch_ENTD
    return torch.addcmul(x_ENTD, branch_ENTD, keep_mask(branch_ENTD.shape[1:], p, branch_ENTD))


class StackedLinear(nn.Module):
    """E linear maps side by side: [E, ..., I] -> [E, ..., O]. Initialised like ``nn.Linear``."""

    def __init__(self, num_experts: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight_EIO = nn.Parameter(torch.empty(num_experts, inputs, outputs).uniform_(-bound, bound))
        self.bias_E1O = (
            nn.Parameter(torch.empty(num_experts, 1, outputs).uniform_(-bound, bound)) if bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply expert e's map to ``x[e]``."""
        flat_ENI = x.reshape(x.shape[0], -1, x.shape[-1])
        if self.bias_E1O is None:
            flat_ENO = torch.bmm(flat_ENI, self.weight_EIO)
        else:
            flat_ENO = torch.baddbmm(self.bias_E1O, flat_ENI, self.weight_EIO)
        return flat_ENO.view(*x.shape[:-1], -1)

    def select(self, index: int) -> StackedLinear:
        """Expert ``index``'s map, sharing its weights."""
        return _select(self, index)


class StackedLayerNorm(nn.Module):
    """Scales and shifts of E layer norms; applied with the linear map that follows."""

    def __init__(self, num_experts: int, dim: int) -> None:
        super().__init__()
        self.scale_ED = nn.Parameter(torch.ones(num_experts, dim))
        self.shift_ED = nn.Parameter(torch.zeros(num_experts, dim))

    def folded(self, linear: StackedLinear) -> tuple[Tensor, Tensor]:
        """Weight [E, D, O] and bias [E, O] of scale, shift and the linear map after them, as one map.

        Two passes over the tokens less, and a normalisation that all experts share.
        """
        weight_EDO = self.scale_ED[..., None] * linear.weight_EIO
        bias_EO = (self.shift_ED[:, None] @ linear.weight_EIO)[:, 0]
        return weight_EDO, bias_EO if linear.bias_E1O is None else bias_EO + linear.bias_E1O[:, 0]

    def select(self, index: int) -> StackedLayerNorm:
        """Expert ``index``'s norm, sharing its weights."""
        return _select(self, index)


def _select(module: Stacked, index: int) -> Stacked:
    """A copy of a stacked module that holds views of one expert's parameters."""
    alone = _without_weights(module)
    for name in ("weight_EIO", "bias_E1O", "scale_ED", "shift_ED"):
        if hasattr(module, name):
            value = getattr(module, name)
            setattr(alone, name, None if value is None else nn.Parameter(value[index : index + 1], False))
    return alone


def _without_weights(module: Stacked) -> Stacked:
    """A module of the same class with nothing in it: its own constructor would draw weights to throw away."""
    alone = object.__new__(type(module))
    nn.Module.__init__(alone)
    return alone


def position_code(length: int, dim: int) -> Tensor:
    """Sinusoidal position code [length, dim] (Vaswani et al., 2017); ``dim`` must be even."""
    position_T1 = torch.arange(length, dtype=torch.float64)[:, None]
    rate = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10000.0) / dim))
    code = torch.empty(length, dim, dtype=torch.float64)
    code[:, 0::2] = torch.sin(position_T1 * rate)
    code[:, 1::2] = torch.cos(position_T1 * rate)
    return code.float()
