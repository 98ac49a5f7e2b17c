"""Raw table -> samples table: every row is checked before anything is written.

A sample whose picture or text can't be used is left out and listed; anything that would make the run mean
something else than asked for (a wrong label, a repeated id) stops it, with every such place named.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raymoe.config import DataConfig, ModalityConfig, Preset
from raymoe.data.pictures import decode
from raymoe.data.raw import RawTable, read_raw
from raymoe.errors import InputError
from raymoe.progress import console, track
from raymoe.project import Project, StageResult
from raymoe.tables import SAMPLES, Provenance, is_complete, metadata_of, write_table

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
SHOWN_PROBLEMS = 10
ROWS_AT_A_TIME = 256  # pictures held as Python objects at once


def prepare(project: Project, *, overwrite: bool = False) -> StageResult:
    """Check the raw table and write the samples table.

    What it is made from is the content of the raw table; pictures in files of their own count by name, size
    and time of change, since reading them all to find that nothing changed would take as long as the work.
    Rows are counted from 1, without a header.

    Raises:
        InputError: the raw table can't be used; up to ten places are named, and nothing is written.
        ParentError: the samples table is there but was made from something else, and ``overwrite`` is off.
    """
    data, workspace = project.preset.data, project.workspace
    if data.task == "binary" and len(data.classes) != 2:
        raise InputError(
            f"the task is binary but there are {len(data.classes)} classes",
            "Correct data.task or data.classes.",
        )
    for modality in data.modalities:
        if modality.kind == "image" and len(modality.columns) > 1:
            raise InputError(
                f"modality {modality.name} has {len(modality.columns)} columns, but a picture is in one",
                "Make it one modality per column.",
            )
    raw = read_raw(data.source, _columns(data))
    provenance = Provenance(
        "prepare",
        SAMPLES.tag,
        samples_config(project.preset),
        {"source": raw.sha256, "pictures": _picture_files(raw, data)},
    )
    path = workspace.path(project.samples)
    command = project.command("prepare")
    if is_complete(workspace, project.samples, SAMPLES, provenance, command, overwrite=overwrite):
        metadata = metadata_of(pq.read_schema(workspace.local(project.samples)))
        return StageResult(path, provenance.fingerprint, ran=False, skipped=tuple(metadata["skipped"]))

    workspace.check_writable()
    ids, splits, labels = _check_rows(raw, data, project.command("prepare"))
    columns, reasons = _modality_columns(raw, data)
    skipped = [{"sample_id": ids[i], "row": i + 1, "reason": reasons[i]} for i in sorted(reasons)]
    kept = [i for i in range(len(ids)) if i not in reasons]
    _check_splits({splits[i] for i in kept}, raw.name, skipped)
    notes = _warnings([labels[i] for i in kept if splits[i] == "train"], data.classes)

    table = pa.table({"sample_id": ids, "split": splits, "labels": pa.array(labels, pa.list_(pa.int32()))})
    for name, column in columns.items():
        table = table.append_column(name, column)
    table = table.filter(pa.array([i not in reasons for i in range(len(ids))], pa.bool_()))
    extra = {
        "classes": list(data.classes),
        "task": data.task,
        "modalities": {m.name: m.kind for m in data.modalities},
        "skipped": skipped,
        "source": {"name": data.source, **raw.provenance},
        "warnings": notes,
    }
    write_table(workspace, project.samples, table, SAMPLES, provenance, extra)
    for note in notes:
        console.print(f"  warning: {note}")
    return StageResult(path, provenance.fingerprint, ran=True, skipped=tuple(skipped))


def samples_config(preset: Preset) -> dict[str, Any]:
    """The settings that the samples depend on: all of the data section but the encoders.

    Where the source lies is left out too; its content counts.
    """
    found = preset.data.model_dump(mode="json", exclude={"source"})
    for modality in found["modalities"]:
        del modality["encoder"]
    return found


def _columns(data: DataConfig) -> list[str]:
    named = [data.id_column, data.split_column, data.labels_column]
    return list(dict.fromkeys(named + [c for m in data.modalities for c in m.columns]))


def _picture_files(raw: RawTable, data: DataConfig) -> str:
    """One hash over name, size and time of change of every picture that is a file."""
    digest = hashlib.sha256()
    for modality in data.modalities:
        if modality.kind == "image" and not _is_binary(raw.columns[modality.columns[0]]):
            for value in raw.values(modality.columns[0]):
                if isinstance(value, str):
                    digest.update(f"{value}\0{_stat(raw.folder / value)}\n".encode())
    return digest.hexdigest()


def _is_binary(column: list[Any] | pa.ChunkedArray) -> bool:
    return not isinstance(column, list) and (
        pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    )


def _stat(path: Path) -> str:
    try:
        info = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a null character
        return "missing"
    return f"{info.st_size} {info.st_mtime_ns}"


def _check_rows(
    raw: RawTable, data: DataConfig, command: str
) -> tuple[list[str], list[str], list[list[int]]]:
    """Ids, splits and sorted label indices of all rows, or one InputError that names what is wrong."""
    problems: list[str] = []
    index = {name: i for i, name in enumerate(data.classes)}
    ids: list[str] = []
    splits: list[str] = []
    labels: list[list[int]] = []
    first_row: dict[str, int] = {}
    rows = zip(
        raw.values(data.id_column),
        raw.values(data.split_column),
        raw.values(data.labels_column),
        strict=True,
    )
    for row, (sample_id, split, label) in enumerate(rows, 1):
        ids.append("" if sample_id is None else str(sample_id))
        splits.append(SPLITS.get(split, "") if isinstance(split, str) else "")
        labels.append([])
        if not ids[-1]:
            problems.append(f"row {row}, column {data.id_column}: no id")
        elif ids[-1] in first_row:
            earlier = first_row[ids[-1]]
            both = {splits[earlier - 1], splits[-1]} - {""}
            overlap = f", and the splits {' and '.join(sorted(both))} overlap" if len(both) > 1 else ""
            problems.append(
                f"row {row}, column {data.id_column}: {ids[-1]!r} is the id of row {earlier} too{overlap}"
            )
        else:
            first_row[ids[-1]] = row
        if not splits[-1]:
            problems.append(
                f"row {row}, column {data.split_column}: unknown split {split!r} (known: {', '.join(SPLITS)})"
            )
        try:
            labels[-1] = _label_indices(label, index, data.task)
        except ValueError as error:
            problems.append(f"row {row}, column {data.labels_column}: {error}")
    for modality in data.modalities:
        problems += _type_problems(raw, modality)
    if not ids:
        problems.append("no rows")
    if problems:
        shown = [f"\n    {p}" for p in problems[:SHOWN_PROBLEMS]]
        more = f"\n    and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        raise InputError(
            f"{raw.name} can't be used:{''.join(shown)}{more}",
            f"Correct these in the file, or the columns and classes in the preset; then run again: {command}",
        )
    return ids, splits, labels


def _label_indices(value: Any, index: dict[str, int], task: str) -> list[int]:
    """Class indices from an index, a name, a list of either, or a string of several separated by | or ;."""
    if value is None or value == "":
        raise ValueError("no label")
    if isinstance(value, str) and value not in index:
        value = [part.strip() for part in value.replace(";", "|").split("|")]
    found = set()
    for label in value if isinstance(value, list) else [value]:
        if isinstance(label, str) and label not in index and label.isdecimal():
            label = int(label)
        if isinstance(label, str):
            if label not in index:
                raise ValueError(f"{label!r} is not one of the classes")
            label = index[label]
        if not isinstance(label, int) or isinstance(label, bool):
            raise ValueError(f"{label!r} is neither a class name nor an index")
        if not 0 <= label < len(index):
            raise ValueError(f"class {label} is outside 0..{len(index) - 1}")
        found.add(label)
    if task != "multilabel" and len(found) != 1:
        raise ValueError(f"{len(found)} labels, but the task is {task}: exactly one")
    return sorted(found)


def _type_problems(raw: RawTable, modality: ModalityConfig) -> Iterator[str]:
    """Values that are of no usable type; what merely can't be decoded is left out later."""
    wanted, names = (str, "text") if modality.kind == "text" else ((str, bytes), "a path or bytes")
    for column in modality.columns:
        if _is_binary(raw.columns[column]):
            if modality.kind == "text":
                yield f"column {column}: binary, not text"
            continue
        for row, value in enumerate(raw.values(column), 1):
            if value is not None and not isinstance(value, wanted):
                yield f"row {row}, column {column}: {type(value).__name__}, not {names}"


def _check_splits(found: set[str], name: str, skipped: list[dict]) -> None:
    absent = [split for split in ("train", "val", "test") if split not in found]
    if not absent:
        return
    why = (
        f"; {len(skipped)} samples were left out, the first because: {skipped[0]['reason']}"
        if skipped
        else ""
    )
    what = "no usable sample at all" if len(absent) == 3 else f"no usable sample in split {', '.join(absent)}"
    raise InputError(f"{name} has {what}{why}", "Every split of train, val and test needs at least one.")


def _warnings(train_labels: list[list[int]], classes: tuple[str, ...]) -> list[str]:
    seen = {label for labels in train_labels for label in labels}
    unseen = [name for i, name in enumerate(classes) if i not in seen]
    return [f"no training sample of class {', '.join(unseen)}"] if unseen else []


def _modality_columns(raw: RawTable, data: DataConfig) -> tuple[dict[str, pa.ChunkedArray], dict[int, str]]:
    """A column per modality, and for each row that can't be used the first reason why."""
    columns: dict[str, pa.ChunkedArray] = {}
    reasons: dict[int, str] = {}
    for modality in data.modalities:
        make = _texts if modality.kind == "text" else _pictures
        columns[modality.name], found = make(raw, modality, data)
        for row, reason in found.items():
            reasons.setdefault(row, reason)
    return columns, reasons


def _texts(
    raw: RawTable, modality: ModalityConfig, data: DataConfig
) -> tuple[pa.ChunkedArray, dict[int, str]]:
    rows = zip(*(raw.values(column) for column in modality.columns), strict=True)
    parts = [[(value or "").strip() for value in row] for row in rows]
    reasons = {}
    if data.empty_text == "skip":
        reasons = {i: f"empty text in column {modality.columns[0]}" for i, p in enumerate(parts) if not p[0]}
    return pa.chunked_array([pa.array([_join(p) for p in parts], pa.string())]), reasons


def _join(parts: list[str]) -> str:
    """Parts as sentences: joined by ". " unless one already ends in punctuation."""
    text = ""
    for part in filter(None, parts):
        text += (" " if text.endswith((".", "!", "?", "…", ":", ";", ",")) else ". ") if text else ""
        text += part
    return text


def _pictures(
    raw: RawTable, modality: ModalityConfig, data: DataConfig
) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Encoded pictures as they were, each decoded once to see that it can be."""

    def load(value: Any) -> tuple[bytes | None, str | None]:
        if value is None or len(value) == 0:
            return None, f"no picture in column {modality.columns[0]}"
        try:
            encoded = value if isinstance(value, bytes) else (raw.folder / value).read_bytes()
            decode(encoded)
        except (OSError, ValueError) as error:
            return None, str(error)
        return encoded, None

    chunks, reasons = [], {}
    with track(f"check {modality.name}", len(raw)) as task, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(raw), ROWS_AT_A_TIME):
            values = raw.values(modality.columns[0], start, start + ROWS_AT_A_TIME)
            results = list(pool.map(load, values))
            chunks.append(pa.array([encoded for encoded, _ in results], pa.binary()))
            reasons |= {start + i: reason for i, (_, reason) in enumerate(results) if reason}
            task.advance(len(results))
    return pa.chunked_array(chunks, pa.binary()), reasons
