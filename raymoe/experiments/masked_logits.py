"""A model's answers with features masked, many masks at a time.

A masked feature is the zero vector, so all of a row's masked features are the same token in every layer and
are carried as one: ``log Z`` on its attention logit as a key, its share of each modality's mean. That is
algebra, as for the games (interactions/games/collapse.py): a row costs what its unmasked tokens cost. Rows
that mask the same features of the same sample are computed once.

Shapes: V masks, B samples of a batch, T_m positions of modality m and T of the joint sequence, r distinct
rows, t tokens of a collapsed row, D hidden width, M modalities, C classes, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.base import FusionInput, FusionModel
from raymoe.runtime.ordered import in_order
from raymoe.runtime.progress import track

# Of collapsed rows, for all experts of a model together. On a CPU 2^10 to 2^13 are equally fast, more is
# slower; on a GPU it bounds memory.
TOKENS_AT_ONCE = {"cpu": 1 << 12, "cuda": 1 << 16}
BATCH_TOKENS = 1 << 12  # of whole samples


@torch.no_grad()
def masked_logits(model: FusionModel, batch: FeatureBatch, masked: dict[str, Tensor]) -> Tensor:
    """The model's logits under each mask, [V, B, C]: what ``model(features, valid, masked)`` answers to each.

    Args:
        model: of sequences (fl-i2moe or dense), in eval mode.
        batch: on the model's device.
        masked: per modality [V, B, T_m] bool on that device, True where a feature is zeroed.
    """
    embeddings = model.project(batch.features, batch.valid)
    inputs = model.fusion_input(embeddings, batch.valid)
    masked_VBT = torch.cat([masked[name] for name in model.names], 2) & inputs.valid_BT
    V, B, T = masked_VBT.shape
    first_r, row_of = _distinct(masked_VBT)
    sample_r, masked_rT = first_r % B, masked_VBT.view(V * B, T)[first_r]
    valid_r, zeros_r = inputs.valid_BT.sum(1)[sample_r], masked_rT.sum(1)
    length_r = valid_r - zeros_r + (zeros_r > 0)
    order_r = length_r.argsort(dim=0, stable=True)
    limit = TOKENS_AT_ONCE["cpu" if masked_VBT.device.type == "cpu" else "cuda"]
    logits_rC = inputs.tokens_BTD.new_empty(len(first_r), model.num_classes)
    for part in _cut(length_r[order_r].cpu().numpy(), limit):
        rows = order_r[part]
        logits_rC[rows] = _answers(model, embeddings, inputs, batch.valid, sample_r[rows], masked_rT[rows])
    return logits_rC[row_of].view(V, B, -1)


def _distinct(masked_VBT: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each kind among the V * B, [r], and which kind each of them is, [V * B]."""
    V, B, T = masked_VBT.shape
    bits = np.packbits(masked_VBT.view(V * B, T).cpu().numpy(), axis=1)
    sample = np.tile(np.arange(B, dtype=np.uint32), V)[:, None].view(np.uint8)
    keys = np.ascontiguousarray(np.concatenate([sample, bits], 1))
    _, first, inverse = np.unique(
        keys.view(f"V{keys.shape[1]}")[:, 0], return_index=True, return_inverse=True
    )
    device = masked_VBT.device
    return torch.from_numpy(first).to(device), torch.from_numpy(inverse).to(device)


def _cut(length_r: np.ndarray, limit: int) -> Iterator[slice]:
    """Slices of rows, shorter ones first, whose tokens are within the limit when padded to the longest."""
    start = 0
    while start < len(length_r):
        size = np.arange(1, len(length_r) - start + 1)
        within = int(np.searchsorted(size * length_r[start:], limit, side="right"))
        yield slice(start, start + max(within, 1))
        start += max(within, 1)


def _answers(
    model: FusionModel,
    embeddings: dict[str, Tensor],
    inputs: FusionInput,
    valid: dict[str, Tensor],
    sample_r: Tensor,
    masked_rT: Tensor,
) -> Tensor:
    """Logits [r, C] of rows of like length."""
    active_rT = inputs.valid_BT[sample_r] & ~masked_rT
    active_r1, zeros_r1 = active_rT.sum(1, keepdim=True), masked_rT.sum(1, keepdim=True)
    t = int((active_r1 + (zeros_r1 > 0)).max())
    slot_t = torch.arange(t, device=masked_rT.device)
    own_rt = slot_t < active_r1
    zero_rt = (slot_t == active_r1) & (zeros_r1 > 0)
    index_rt = active_rT.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :t]
    tokens_rtD = inputs.tokens_BTD[sample_r[:, None], index_rt].masked_fill_(~own_rt[..., None], 0)
    bias_rt = torch.full_like(index_rt, -torch.inf, dtype=tokens_rtD.dtype).masked_fill_(own_rt, 0)
    bias_rt = torch.where(zero_rt, zeros_r1.to(bias_rt).log(), bias_rt)
    pool_rMT = inputs.pool_BMT[sample_r]
    share_rM1 = (pool_rMT * masked_rT[:, None]).sum(2, keepdim=True)
    pool_rMt = pool_rMT.gather(2, index_rt[:, None].expand(-1, pool_rMT.shape[1], -1)) * own_rt[:, None]
    logits_ErC = model.experts(tokens_rtD, bias_rt, pool_rMt + share_rM1 * zero_rt[:, None])
    # The gate reads means of embeddings, in which a masked one is zero but still counts.
    sizes = [valid[name].shape[1] for name in model.names]
    masked_of = dict(zip(model.names, masked_rT.split(sizes, 1), strict=True))
    left = {name: x_BTD[sample_r] * ~masked_of[name][..., None] for name, x_BTD in embeddings.items()}
    weights_rE = model.gate_weights(left, {name: v[sample_r] for name, v in valid.items()})
    return model.mix(logits_ErC, weights_rE).logits_BC


def over_batches(
    work: Callable[[FeatureBatch], tuple[np.ndarray, ...]],
    model: FusionModel,
    store: FeatureStore,
    indices: np.ndarray,
    device: str,
    *,
    title: str,
    least: int = 1,
) -> tuple[np.ndarray, ...]:
    """What ``work`` says of every sample, in the order of ``indices``: arrays [N, ...].

    Samples of like length share a batch. On a CPU several batches are worked on at once, with a thread each:
    matrices as small as these gain nothing from a second thread.

    Args:
        work: from a batch to arrays [B, ...]; must not depend on the rest of the batch.
        model: what reads the batches.
        store, indices: the samples.
        device: as torch names it.
        title: of the progress.
        least: samples in a batch at least, where there are so many.
    """
    lengths = np.array([sum(len(mask) for mask in store.candidates(int(i)).values()) for i in indices])
    order = np.argsort(lengths, kind="stable")
    size = max(least, BATCH_TOKENS // max(1, int(lengths.max(initial=1))))
    parts = []
    with track(title, len(indices)) as progress, threads(device) as (pool, count):
        batches = store.batches(indices[order], size, device, **model.reads)
        for found in in_order(pool, work, batches, count + 1):
            parts.append(found)
            progress.advance(len(found[0]))
    back = np.argsort(order)
    return tuple(np.concatenate(column)[back] for column in zip(*parts, strict=True))


@contextmanager
def threads(device: str) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """A pool for work in torch, and its size: on a CPU torch's threads one by one, else a single one."""
    own = torch.get_num_threads()
    count = own if device == "cpu" else 1
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(own)  # partly a setting of the process
