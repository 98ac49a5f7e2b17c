"""Words and patches are taken out one at a time, and every hidden layer is compared with what it was.

Shapes: B variants of one sample (the first is whole), T positions, D width, N samples, C classes, L layers, R
resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from raymoe.config import ModalityConfig
from raymoe.data.pictures import decode
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import InputError
from raymoe.experiments.bootstrap import interval, resample_counts, resampled_metric
from raymoe.experiments.locality import LOCALITY, MARGIN, TABLE
from raymoe.features.encode import refuse_other_features
from raymoe.features.encoder import EncodedBatch
from raymoe.features.geometry import Box, Geometry
from raymoe.features.lookup import load_encoder
from raymoe.features.masked_picture import MaskedPicture
from raymoe.features.store import FeatureStore
from raymoe.features.text_pieces import words
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES, SAMPLES
from raymoe.runtime.device import resolve_device
from raymoe.runtime.progress import track
from raymoe.runtime.seeds import seed_of
from raymoe.training.baselines import validation_logits

MASKED = 32  # samples of the validation split
MASKS = 4  # words or patches of each
FITTED = 512  # samples of each split that the linear probes see, at most
BLOCK = 256  # rows read at once


def measure(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Measure every hidden layer of every encoder; writes ``evaluation/locality.parquet``.

    Args:
        project: has features; its encoders are run again.
        device: where they run; by default a GPU if there is one.
        overwrite: do it again even if it is there.

    Raises:
        ParentError: samples or features are missing, or of other settings.
        InputError: an encoder can't be had, or a split has no samples.
    """
    refuse_other_features(project)
    samples, store = SamplesFile(SAMPLES.of(project)), FeatureStore.open(FEATURES.of(project))
    output, task = TABLE.of(project), store.task
    settings = {"protocol": "locality", "masked": MASKED, "masks": MASKS, "fitted": FITTED, "margin": MARGIN}
    settings["selection"] = project.preset.train.selection
    parents = {"samples": samples.metadata["fingerprint"], "features": store.fingerprint}
    made = output.made_from(settings, parents)
    if not overwrite and output.is_current(made):
        return StageResult(output.path, made.fingerprint, ran=False)
    for split in ("train", "val"):
        if split not in store.splits:
            raise InputError(
                f"{store.path} has no sample in the split {split!r}",
                "Locality is measured on val, and its linear probes are fitted on train.",
            )
    project.workspace.check_writable()
    device = resolve_device(device)
    masked = _drawn(store, "val", MASKED)
    fitted = {split: _drawn(store, split, FITTED) for split in ("train", "val")}
    labels = {split: [store.labels[i] for i in indices] for split, indices in fitted.items()}
    counts_RN = resample_counts(len(fitted["val"]))
    modalities = project.preset.data.modalities
    rows: list[dict[str, Any]] = []
    of_all = len(masked) + sum(map(len, fitted.values()))
    with track("locality", of_all * len(modalities)) as progress:
        for m in modalities:
            encoder = load_encoder(m.kind, m.encoder, device)
            found: list[dict[int, Change]] = []
            for i, item in _items(samples, store, m, masked):
                found.append(changes(encoder, item, seed_of("locality", m.name, store.sample_ids[i])))
                progress.advance(1, m.name)
            known = [of for of in found if of]
            if not known:
                continue
            # of pictures of other shapes a layer may be left out
            layers = [layer for layer in known[0] if all(layer in of for of in known)]
            pooled = {
                split: _pooled(encoder, samples, store, m, indices, layers)
                for split, indices in fitted.items()
            }
            progress.advance(sum(map(len, fitted.values())), m.name)
            logits_LNC = np.stack(
                [
                    validation_logits(
                        {split: pooled[split][layer] for split in pooled},
                        labels,
                        len(store.classes),
                        task,
                        project.preset.train.selection,
                    )
                    for layer in layers
                ]
            )
            scores_LR = resampled_metric(logits_LNC, labels["val"], task, counts_RN)
            rows += _rows(m, layers, known, scores_LR, task.main_metric)
    output.write(pa.Table.from_pylist(rows, LOCALITY.schema), made)
    return StageResult(output.path, made.fingerprint, ran=True)


class Change(NamedTuple):
    """What taking out single words or patches of a sample changes in one layer, the mean over them.

    Attributes:
        share: of the squared change that is at the masked positions.
        even: the masked positions' share of all positions.
        masks: how many were taken out.
    """

    share: float
    even: float
    masks: int


def changes(encoder: Any, item: Any, seed: int) -> dict[int, Change]:
    """Of one text or one upright picture by layer; empty where there is nothing to take out.

    Args:
        encoder: frozen.
        item: what it encodes.
        seed: decides which words or patches.
    """
    random = np.random.default_rng(seed)
    if encoder.kind == "text":
        prepared = encoder.prepare([item])
        pieces = encoder.run(prepared).pieces
        spans = words(pieces[0]) if pieces else []
        if not spans:
            return {}
        taken = [spans[i] for i in _some(random, len(spans))]
        variants = encoder.without(encoder.prepare([item] * (1 + len(taken))), [[], *taken])
        return {
            layer: change
            for layer, batch in layers_of(encoder, variants).items()
            if (change := _change(batch, [np.array(span) for span in taken]))
        }
    geometry = _geometry(encoder.encode([item]))
    cells = [geometry.patch(cell) for cell in _some(random, geometry.rows * geometry.cols)]
    try:
        cut = MaskedPicture(item, cells, "mean")
    except ValueError:  # it has fewer pixels than patches
        return {}
    every = np.ones(len(cells), dtype=bool)
    pictures = [cut.without(every & (np.arange(len(cells)) != left)) for left in range(len(cells))]
    found = {}
    for layer, batch in layers_of(encoder, encoder.prepare([item, *pictures])).items():
        of_layer = _geometry(batch)
        patches = np.flatnonzero(~batch.special_BT[0][batch.valid_BT[0]].numpy())
        under = [patches[_overlapping(of_layer, box)] for box in cells]
        if change := _change(batch, under):
            found[layer] = change
    return found


def layers_of(encoder: Any, prepared: Any) -> dict[int, EncodedBatch]:
    """All layers of an encoder on the CPU; of one that has a single layer to take that one, as -1."""
    if hasattr(encoder, "run_layers"):
        return {layer: batch.cpu() for layer, batch in encoder.run_layers(prepared).items()}
    return {-1: encoder.run(prepared).cpu()}


def _change(batch: EncodedBatch, masked: Sequence[np.ndarray]) -> Change | None:
    """The first item against each of the others, of which these valid positions were masked."""
    features_BTD = batch.features_BTD[:, batch.valid_BT[0]].double().numpy()
    shares, even = [], []
    for positions, features_TD in zip(masked, features_BTD[1:], strict=True):
        change_T = ((features_TD - features_BTD[0]) ** 2).sum(-1)
        if change_T.sum() > 0:  # a patch may have the mean colour already
            shares.append(change_T[positions].sum() / change_T.sum())
            even.append(len(positions) / len(change_T))
    return Change(float(np.mean(shares)), float(np.mean(even)), len(shares)) if shares else None


def _some(random: np.random.Generator, count: int) -> list[int]:
    return sorted(random.choice(count, min(MASKS, count), replace=False).tolist())


def _geometry(batch: EncodedBatch) -> Geometry:
    """Of the first picture."""
    return batch.geometry[0] if batch.geometry else Geometry(*(batch.grid or (1, 1)))


def _overlapping(geometry: Geometry, box: Box) -> np.ndarray:
    """The cells that show some of a part of the picture: a layer can have other patches than the last."""
    left, top, right, bottom = box
    slack = 1e-6  # edges are rounded
    x, y = geometry.columns(), geometry.lines()
    across = (x[:-1] < right - slack) & (x[1:] > left + slack)
    down = (y[:-1] < bottom - slack) & (y[1:] > top + slack)
    return np.flatnonzero(np.outer(down, across))


def _drawn(store: FeatureStore, split: str, count: int) -> np.ndarray:
    indices = store.indices(split)
    random = np.random.default_rng(seed_of("locality", split, count))
    return np.sort(random.choice(indices, min(count, len(indices)), replace=False))


def _items(
    samples: SamplesFile, store: FeatureStore, m: ModalityConfig, indices: np.ndarray
) -> Iterator[tuple[int, Any]]:
    """Numbers of samples in the store, with their texts or pictures."""
    wanted = {store.sample_ids[int(i)]: int(i) for i in indices}
    for start in range(0, len(samples), BLOCK):
        table = samples.rows(start, min(start + BLOCK, len(samples)), ["sample_id", m.name])
        for row in table.to_pylist():
            if row["sample_id"] in wanted:
                item = row[m.name]
                yield wanted[row["sample_id"]], (item or "") if m.kind == "text" else decode(item)


def _pooled(
    encoder: Any,
    samples: SamplesFile,
    store: FeatureStore,
    m: ModalityConfig,
    indices: np.ndarray,
    layers: Sequence[int],
) -> dict[int, np.ndarray]:
    """The mean over each sample's positions that aren't special, by layer, in the order of ``indices``."""
    if len(layers) == 1:
        return {layers[0]: store.pooled(indices, m.name)}
    place = {int(i): n for n, i in enumerate(indices)}
    found: dict[int, np.ndarray] = {}

    def add(held: list[tuple[int, Any]]) -> None:
        of_layers = layers_of(encoder, encoder.prepare([item for _, item in held]))
        for layer in layers:
            batch = of_layers[layer]
            kept_BT = (batch.valid_BT & ~batch.special_BT).float()
            mean_BD = (batch.features_BTD * kept_BT[..., None]).sum(1) / kept_BT.sum(1, keepdim=True).clamp(1)
            found.setdefault(layer, np.zeros((len(indices), mean_BD.shape[1]), np.float32))
            found[layer][[place[i] for i, _ in held]] = mean_BD.numpy()

    held: list[tuple[int, Any]] = []
    for entry in _items(samples, store, m, indices):
        held.append(entry)
        if len(held) == m.encoder.batch_size:
            add(held)
            held = []
    if held:
        add(held)
    return found


def _rows(
    m: ModalityConfig,
    layers: Sequence[int],
    found: Sequence[dict[int, Change]],
    scores_LR: np.ndarray,
    metric: str,
) -> Iterator[dict[str, Any]]:
    counts_RN = resample_counts(len(found))
    local_LR = np.array([counts_RN @ [of[layer].share for of in found] for layer in layers])
    local_LR = local_LR / counts_RN.sum(1)
    # the last layer has two names
    stored = m.encoder.layer if m.encoder.layer in layers else -1
    if m.encoder.layer < -1 and len(layers) + m.encoder.layer in layers:
        stored = len(layers) + m.encoder.layer
    least = scores_LR[layers.index(stored), 0] - MARGIN
    suggested = max(
        (at for at in range(len(layers)) if scores_LR[at, 0] >= least), key=lambda at: local_LR[at, 0]
    )
    for at, layer in enumerate(layers):
        low, high = interval(local_LR[at])
        score_low, score_high = interval(scores_LR[at])
        yield {
            "modality": m.name,
            "layer": layer,
            "locality": local_LR[at, 0],
            "locality_low": low,
            "locality_high": high,
            "even": float(np.mean([of[layer].even for of in found])),
            "score": scores_LR[at, 0],
            "score_low": score_low,
            "score_high": score_high,
            "metric": metric,
            "samples": len(found),
            "masks": sum(of[layer].masks for of in found),
            "stored": layer == stored,
            "suggested": at == suggested,
        }
