"""What each expert alone knows of each planted target, and what it loses without a modality.

Shapes: N samples, R resamples, E experts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from raymoe.catalogue import MIXTURE
from raymoe.data.planted import KINDS
from raymoe.errors import InputError
from raymoe.experiments.bootstrap import interval, resample_counts
from raymoe.experiments.planted.truth import Truth
from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel

BATCH = 64


@dataclass(frozen=True)
class Knowledge:
    """What each expert, and last the mixture, says of every class on the freely drawn scenes.

    Attributes:
        experts: names.
        truth_NC: which targets are on.
        logits: per name of what is masked ("" for nothing, else a modality), [E + 1, N, C].
        weights_NE: the gate's.
    """

    experts: list[str]
    truth_NC: np.ndarray
    logits: dict[str, np.ndarray]
    weights_NE: np.ndarray


@torch.no_grad()
def knowledge_of(model: FusionModel, store: FeatureStore, truth: dict[str, Truth], split: str) -> Knowledge:
    """What a model says of the freely drawn scenes of a split, as they are and without each modality.

    Raises:
        InputError: the split has no such scene.
    """
    indices = [i for i in store.indices(split) if not truth[store.sample_ids[i]].explained]
    if not indices:
        raise InputError(f"the split {split!r} has no freely drawn scene", "Take the split test.")
    logits: dict[str, list[np.ndarray]] = {name: [] for name in ("", *model.names)}
    weights = []
    for batch in store.batches(indices, BATCH, next(model.parameters()).device, **model.reads):
        for masked, parts in logits.items():
            hidden = {
                name: batch.valid[name] & ~batch.special[name] & (name == masked) for name in model.names
            }
            output = model(batch.features, batch.valid, hidden)
            both = torch.cat([output.expert_logits_EBC, output.logits_BC[None]])
            parts.append(both.float().cpu().numpy())
            if not masked:
                weights.append(output.expert_weights_BE.float().cpu().numpy())
    truth_NC = np.zeros((len(indices), len(store.classes)), bool)
    for n, i in enumerate(indices):
        truth_NC[n, store.labels[i]] = True
    found = {name: np.concatenate(parts, 1) for name, parts in logits.items()}
    return Knowledge([*model.expert_names, MIXTURE], truth_NC, found, np.concatenate(weights))


def resampled_class_scores(
    logits_N: np.ndarray, truth_N: np.ndarray, counts_RN: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and AUROC of a class in every resample, two arrays [R]; as scikit-learn defines them.

    NaN where a resample has no positive, or no negative.

    Args:
        logits_N: scores.
        truth_N: whether the class is on.
        counts_RN: how often each sample is in each resample.
    """
    order = np.argsort(-logits_N, kind="stable")
    falling = -logits_N[order]
    first, last = np.searchsorted(falling, falling, "left"), np.searchsorted(falling, falling, "right") - 1
    count_RN = counts_RN[:, order].astype(np.float64)
    on_RN = count_RN * truth_N[order]
    off_RN = count_RN - on_RN
    above_on, above_off = on_RN.cumsum(1), off_RN.cumsum(1)
    before_off = (above_off - off_RN)[:, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(above_on[:, last] / (above_on + above_off)[:, last])
        precision_R = (on_RN * share).sum(1) / on_RN.sum(1)
        wrong_R = (on_RN * (before_off + above_off[:, last]) / 2).sum(1)
        auroc_R = 1 - wrong_R / (on_RN.sum(1) * off_RN.sum(1))
    return precision_R, auroc_R


def _quantities(found: Knowledge, counts_RN: np.ndarray) -> dict[tuple[str, str, str], np.ndarray]:
    """By expert, kind and quantity: its value in every resample, [R]."""
    values = {}
    for c, kind in enumerate(KINDS):
        truth_N = found.truth_NC[:, c]
        for e, expert in enumerate(found.experts):
            precision, auroc = resampled_class_scores(found.logits[""][e, :, c], truth_N, counts_RN)
            values[expert, kind, "average_precision"] = precision
            values[expert, kind, "auroc"] = auroc
            for masked, logits in found.logits.items():
                if masked:
                    without, _ = resampled_class_scores(logits[e, :, c], truth_N, counts_RN)
                    values[expert, kind, f"drop:{masked}"] = precision - without
            on_RN = counts_RN * truth_N
            with np.errstate(invalid="ignore", divide="ignore"):
                if expert == MIXTURE:
                    values[expert, kind, "chance"] = on_RN.sum(1) / counts_RN.sum(1)
                else:
                    values[expert, kind, "weight"] = on_RN @ found.weights_NE[:, e] / on_RN.sum(1)
    return values


def expert_rows(knowledge: Sequence[Knowledge], seeds: Sequence[int]) -> Iterator[dict]:
    """Rows of the table: each seed, then their mean; null where a class is never on, or always."""
    samples = len(knowledge[0].truth_NC)
    counts_RN = resample_counts(samples)
    each = [_quantities(found, counts_RN) for found in knowledge]
    mean = {key: np.mean([found[key] for found in each], 0) for key in each[0]}
    for seed, found in zip([*seeds, None], [*each, mean], strict=True):
        for (expert, kind, quantity), values_R in found.items():
            there = not np.isnan(values_R[0])
            low, high = interval(values_R[~np.isnan(values_R)]) if there else (None, None)
            yield {
                "seed": seed,
                "expert": expert,
                "interaction": kind,
                "quantity": quantity,
                "value": float(values_R[0]) if there else None,
                "low": low,
                "high": high,
                "samples": samples,
            }
