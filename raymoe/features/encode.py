"""Samples table -> feature store: each sample goes once through the frozen encoders.

Parts are committed one by one, so that an interrupted run goes on where it was; a part that is there and
whole is not made again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from raymoe.config import ModalityConfig
from raymoe.data.pictures import decode
from raymoe.data.prepare import samples_config
from raymoe.device import resolve_device
from raymoe.errors import InputError, ParentError
from raymoe.features.encoder import Encoder, encoder_identity, load_encoder
from raymoe.features.parts import (
    MARKER,
    ModalityInfo,
    Row,
    SequenceRow,
    modality_infos,
    part_name,
    read_marker,
    read_part,
    write_marker,
    write_part,
)
from raymoe.progress import track
from raymoe.project import Project, StageResult
from raymoe.tables import FEATURES, SAMPLES, Provenance, metadata_of, read_table, refuse_other_inputs

PART_ROWS = 256


def encode(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Fill the feature store.

    Args:
        project: its samples table is the parent.
        device: where the encoders run; by default a GPU if there is one.
        overwrite: make everything again.

    Raises:
        ParentError: the samples table is missing or stale, or the store was made from something else.
        InputError: an encoder can't be had, or gives values that aren't finite.
    """
    workspace, folder = project.workspace, project.features
    samples = read_table(workspace, project.samples, SAMPLES, project.command("prepare"))
    samples_metadata = metadata_of(samples.schema)
    _check_samples(project, samples_metadata)
    modalities = project.preset.data.modalities
    provenance = Provenance(
        "encode",
        FEATURES.tag,
        {"modalities": {m.name: encoder_identity(m.kind, m.encoder) for m in modalities}},
        {"samples": samples_metadata["fingerprint"]},
    )
    path = workspace.path(folder)
    marker = None if overwrite else read_marker(workspace, folder)
    if marker:
        command = project.command("encode")
        refuse_other_inputs(workspace.path(f"{folder}/{MARKER}"), marker, provenance, command)

    ranges = [(s, min(s + PART_ROWS, len(samples))) for s in range(0, len(samples), PART_ROWS)]
    done: dict[int, _Part] = {}
    if not overwrite:
        found = ((i, _whole_part(project, i, rows, provenance)) for i, rows in enumerate(ranges))
        done = {i: part for i, part in found if part}
    if marker and len(done) == len(ranges):
        return StageResult(path, provenance.fingerprint, ran=False, skipped=tuple(marker["skipped"]))

    workspace.check_writable()
    todo = [i for i in range(len(ranges)) if i not in done]
    if todo:
        encoders = _load(modalities, resolve_device(device))
        if overwrite:  # not before everything needed to make it again is there
            workspace.remove(folder)
        infos = [_info(m, encoders[m.name]) for m in modalities]
        items = sum(stop - start for start, stop in (ranges[i] for i in todo)) * len(modalities)
        with track(f"encode {' and '.join(m.name for m in modalities)}", items) as task:
            for i in todo:
                start, stop = ranges[i]
                rows, skipped = _encode_rows(
                    samples.slice(start, stop - start), modalities, encoders, task.advance
                )
                skipped = [{**s, "row": start + s["row"]} for s in skipped]
                extra = {"rows": [start, stop], "skipped": skipped}
                write_part(workspace, part_name(folder, i), rows, infos, provenance, extra)
                done[i] = _Part(len(rows), tuple(infos), skipped)
    parts = [done[i] for i in range(len(ranges))]
    skipped = [s for part in parts for s in part.skipped]
    write_marker(
        workspace,
        folder,
        provenance,
        parts[0].modalities,
        [part.rows for part in parts],
        classes=samples_metadata["classes"],
        task=samples_metadata["task"],
        skipped=skipped,
    )
    return StageResult(path, provenance.fingerprint, ran=True, skipped=tuple(skipped))


class _Part:
    """What the marker says about a part."""

    def __init__(self, rows: int, modalities: tuple[ModalityInfo, ...], skipped: list[dict]) -> None:
        self.rows, self.modalities, self.skipped = rows, modalities, skipped


def _check_samples(project: Project, metadata: dict[str, Any]) -> None:
    """Refuse samples that were prepared under other settings than the preset's."""
    made_by = Provenance.from_json(metadata["made_by"])
    now = Provenance(made_by.stage, made_by.contract, samples_config(project.preset), made_by.parents)
    if made_by.config != now.config:
        raise ParentError(
            f"{project.workspace.path(project.samples)} was prepared with other settings "
            f"({made_by.differences(now)})",
            f"Make it again with: {project.command('prepare')} --overwrite",
        )


def _whole_part(project: Project, index: int, rows: tuple[int, int], provenance: Provenance) -> _Part | None:
    """A part that is there, whole and made from the same; anything else is made again."""
    try:
        batches, metadata = read_part(
            project.workspace, part_name(project.features, index), provenance.fingerprint
        )
    except ParentError:
        return None
    count = sum(b.num_rows for b in batches)
    if metadata["rows"] != list(rows) or count + len(metadata["skipped"]) != rows[1] - rows[0]:
        return None
    return _Part(count, modality_infos(metadata["modalities"]), metadata["skipped"])


def _keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: giving every layer's output back to the system costs much time.

    Does nothing on other platforms.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at its largest
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass


def _load(modalities: tuple[ModalityConfig, ...], device: str) -> dict[str, Encoder]:
    import torch

    _keep_freed_memory()
    # Features are computed once and used for ever, so in full float32.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return {m.name: load_encoder(m.kind, m.encoder, device) for m in modalities}


def _info(modality: ModalityConfig, encoder: Encoder) -> ModalityInfo:
    return ModalityInfo(modality.name, modality.kind, encoder.width, encoder.max_length, encoder.grid)


def _encode_rows(
    samples: pa.Table,
    modalities: tuple[ModalityConfig, ...],
    encoders: dict[str, Encoder],
    advance: Callable[[int], None],
) -> tuple[list[Row], list[dict]]:
    """The rows of one part, in order, and those left out with their row (from 1) within the part."""
    ids, splits, labels = (samples[c].to_pylist() for c in ("sample_id", "split", "labels"))
    sequences: list[dict[str, SequenceRow]] = [{} for _ in ids]
    reasons: dict[int, str] = {}
    for modality in modalities:
        encode_one = _encode_texts if modality.kind == "text" else _encode_pictures
        column = samples[modality.name]
        for i, found in encode_one(column, encoders[modality.name], modality, advance):
            if isinstance(found, str):
                reasons.setdefault(i, found)
            elif not np.isfinite(found.features_TD).all():
                raise InputError(
                    f"sample {ids[i]}, {modality.name}: {modality.encoder.source} gives values that aren't "
                    "finite in float16",
                    "Look at that sample; if it is fine, take another layer or encoder.",
                )
            else:
                sequences[i][modality.name] = found
    rows = [
        Row(*row)
        for i, row in enumerate(zip(ids, splits, labels, sequences, strict=True))
        if i not in reasons
    ]
    skipped = [{"sample_id": ids[i], "row": i + 1, "reason": reasons[i]} for i in sorted(reasons)]
    return rows, skipped


def _encode_texts(column: pa.ChunkedArray, encoder: Encoder, modality: ModalityConfig, advance: Callable):
    """Pairs of row and sequence. Texts of like length go together, as a batch costs what its longest does."""
    texts = [text or "" for text in column.to_pylist()]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), modality.encoder.batch_size):
        chosen = order[start : start + modality.encoder.batch_size]
        yield from zip(chosen, _sequences(encoder, [texts[i] for i in chosen]), strict=True)
        advance(len(chosen))


def _encode_pictures(column: pa.ChunkedArray, encoder: Encoder, modality: ModalityConfig, advance: Callable):
    """Pairs of row and sequence, or of row and the reason why there is none."""

    def load(data: bytes) -> Any:
        try:
            return decode(data)
        except ValueError as error:
            return str(error)

    size = modality.encoder.batch_size
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(column), size):
            loaded = list(pool.map(load, column.slice(start, size).to_pylist()))
            good = [i for i, picture in enumerate(loaded) if not isinstance(picture, str)]
            yield from ((start + i, p) for i, p in enumerate(loaded) if isinstance(p, str))
            if good:
                found = _sequences(encoder, [loaded[i] for i in good])
                yield from zip((start + i for i in good), found, strict=True)
            advance(len(loaded))


def _sequences(encoder: Encoder, items: list) -> list[SequenceRow]:
    """Each item's valid positions, as they are stored."""
    batch = encoder.encode(items)
    features_BTD = batch.features_BTD.numpy()
    valid_BT, special_BT = batch.valid_BT.numpy(), batch.special_BT.numpy()
    found = []
    for b in range(len(items)):
        kept_T = valid_BT[b]
        with np.errstate(over="ignore"):  # what overflows float16 is reported as not finite
            features_TD = features_BTD[b, kept_T].astype(np.float16)
        tokens = batch.tokens[b] if batch.tokens else None
        found.append(SequenceRow(features_TD, kept_T[kept_T], special_BT[b, kept_T], tokens))
    return found
