"""Raw table -> samples table: every row is checked before anything is written.

A sample whose picture or text can't be used is left out and listed; anything that would make the run mean
something else than asked for (a wrong label, a repeated id) stops it, with every such place named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from raymoe.config import DataConfig, ModalityConfig, PlantedData, Preset, Split, TableData
from raymoe.data import enrico, mmhs150k, mmimdb
from raymoe.data.meaning import SPLITS, Labels, Problems, id_if_any, id_of, is_null, split_of
from raymoe.data.pictures import decode
from raymoe.data.planted import read_planted
from raymoe.data.raw import RawTable, read_raw
from raymoe.data.readers.sources import is_there
from raymoe.data.summary import print_summary
from raymoe.errors import InputError
from raymoe.project import Project, StageResult, contracts
from raymoe.project.artifacts import SAMPLES
from raymoe.project.provenance import Metadata, Provenance, Skipped
from raymoe.runtime.ordered import in_order
from raymoe.runtime.progress import console, track
from raymoe.runtime.quoting import listed, quoted
from raymoe.task import Task

ARCHIVES = {"mmimdb": mmimdb.ARCHIVE, "enrico": enrico.ARCHIVE, "mmhs150k": mmhs150k.ARCHIVE}
SHOWN_PROBLEMS = 10
ROWS_AT_A_TIME = 256  # rows whose pictures are in memory at once, and of a row group at most
BYTES_AT_A_TIME = 64 << 20  # of a row group, about
READ_AHEAD = 32  # pictures


def prepare(project: Project, *, overwrite: bool = False) -> StageResult:
    """Check the raw table and write the samples table.

    What it is made from is the content of the raw table; pictures in files of their own count by name, size
    and time of change, since reading them all to find that nothing changed would take as long as the work.
    Rows are counted from 1, without a header. Pictures are read twice, to check them and to write them, so
    that nothing is written before all is known and few are in memory at any time.

    Without a source an archive's samples table is complete when it was made with the same settings. So is
    any where the raw table, or the picture of a sample that was prepared, is no longer on disk: the samples
    table has all that later stages read.

    Raises:
        InputError: the raw table can't be used, and nothing is written; up to ten places are named.
        ParentError: the samples table is there but was made from something else, and ``overwrite`` is off.
    """
    data, samples = project.preset.data, SAMPLES.of(project)
    _check_config(data)
    if not data.source:
        return _without_source(project, overwrite)
    there = not overwrite and samples.exists()
    if there and isinstance(data, TableData) and not is_there(data.source):
        _say_gone(f"{data.source} is", samples.path)
        return _as_it_is(project)
    raw = _read(data)
    pictures = _picture_files(raw, data)
    if there:
        metadata = samples.metadata()
        before = Provenance.from_json(metadata["made_by"]).parents.get("pictures")
        gone = [] if before == pictures else _gone(raw, data, metadata["skipped"])
        if gone and before is not None:
            more = ", ..." if len(gone) > 1 else ""
            _say_gone(f"{len(gone)} of the pictures ({gone[0]}{more}) are", samples.path)
            pictures = before
    parents = {"source": raw.sha256, "pictures": pictures}
    made = samples.made_from(samples_config(project.preset), parents)
    if samples.is_complete(made, overwrite=overwrite):
        known_skipped = tuple(samples.metadata()["skipped"])
        return StageResult(samples.path, made.fingerprint, ran=False, skipped=known_skipped)

    project.workspace.check_writable()
    for note in raw.notes:
        console.print(f"  warning: {note}")
    ids, splits, labels = _check_rows(raw, data, samples.command)
    merged = _merged_splits(raw, data)
    texts, reasons = _texts(raw, data)
    for row, reason in _bad_pictures(raw, data).items():
        reasons.setdefault(row, reason)
    skipped = list(raw.left_out)
    for i in sorted(reasons):
        numbered = i + 1 if raw.numbered else None
        skipped.append({"sample_id": ids[i], "row": numbered, "reason": reasons[i]})
    kept = [i for i in range(len(ids)) if i not in reasons]
    _check_splits({splits[i] for i in kept}, raw.name, skipped)
    if not any(labels[i] for i in kept):
        raise InputError(
            f"{raw.name}: no sample has any of the classes",
            f"Name the column of labels (labels_column in [data], now {quoted(data.labels_column)}), or give "
            "labels.",
        )
    classless = _classless([labels[i] for i in kept if splits[i] == "train"], data.classes, "training")
    unscored = _classless([labels[i] for i in kept if splits[i] == "test"], data.classes, "test")
    classless += [f"{note}: the test scores say nothing of it" for note in unscored]
    extra = {
        "classes": list(data.classes),
        "task": data.task,
        "modalities": {m.name: m.kind for m in data.modalities},
        "skipped": skipped,
        "source": {"name": data.source, **raw.provenance},
        "warnings": [*raw.notes, *merged, *classless],
    }
    known: dict[str, list[Any]] = {
        "sample_id": ids,
        "split": splits,
        "labels": labels,
        **texts,
        **raw.carried,
    }
    schema = _schema(data, list(raw.carried))
    batches = _batches(raw, data, known, set(reasons), schema)
    samples.write_batches(batches, made, extra, schema=schema)
    for note in (*merged, *classless):
        console.print(f"  warning: {note}")
    print_summary([splits[i] for i in kept], [labels[i] for i in kept], data.classes)
    return StageResult(samples.path, made.fingerprint, ran=True, skipped=tuple(skipped))


def read_checked(data: DataConfig) -> tuple[list[str], list[str], list[list[int]], list[Any]]:
    """What ``prepare`` makes of a raw table's rows, before it looks at texts and pictures.

    Returns:
        Ids, splits, sorted class indices, and the cells that these were read from.

    Raises:
        InputError: the raw table can't be used.
    """
    _check_config(data)
    raw = _read(data)
    return *_check_rows(raw, data, "raymoe prepare"), raw.columns[data.labels_column]


def _check_config(data: DataConfig) -> None:
    task = Task.named(data.task)
    if task.num_classes not in (None, len(data.classes)):
        raise InputError(
            f"the task is {task.name} but there are {len(data.classes)} classes",
            "Correct data.task or data.classes.",
        )
    for modality in data.modalities:
        if modality.kind == "image" and len(modality.columns) > 1:
            raise InputError(
                f"modality {modality.name} has {len(modality.columns)} columns, but a picture is in one",
                "Make it one modality per column.",
            )


def _without_source(project: Project, overwrite: bool) -> StageResult:
    """Take the samples table as it is, if its settings are the preset's; else say where the archive is."""
    samples = SAMPLES.of(project)
    if overwrite or not samples.exists():
        archive = ARCHIVES[project.preset.data.format]
        raise archive.unprepared(samples.path, samples.command, exists=samples.exists())
    return _as_it_is(project)


def _as_it_is(project: Project) -> StageResult:
    """The samples table that is there, whatever it was made from, if its settings are the preset's."""
    samples = SAMPLES.of(project)
    metadata = samples.metadata()
    now = refuse_other_settings(project, metadata)
    return StageResult(samples.path, now.fingerprint, ran=False, skipped=tuple(metadata["skipped"]))


def _gone(raw: RawTable, data: DataConfig, skipped: list[Skipped]) -> list[str]:
    """Pictures that the samples table was made from and that are no longer on disk.

    Not those of samples that were left out then: one of them may have been missing from the start.
    """
    left_out = {entry["sample_id"] for entry in skipped}
    columns = [raw.paths(column) for column in _picture_columns(data)]
    return [
        listed([path])
        for row, sample_id in enumerate(raw.columns[data.id_column])
        if id_if_any(sample_id) not in left_out
        for path in (column[row] for column in columns)
        if path is not None and _stat(raw, path) == "missing"
    ]


def _say_gone(what: str, path: str) -> None:
    console.print(f"  warning: {what} no longer on disk; {path} stays as it was made")


def _read(data: DataConfig) -> RawTable:
    """The raw table, with all the columns that are asked for."""
    settings = {data.id_column: "id_column", data.labels_column: "labels_column"}
    if not _split_rule(data):
        settings[data.split_column] = "split_column"
    for modality in data.modalities:
        for name in modality.columns:
            settings.setdefault(name, f"columns of modality {modality.name}")
    columns = list(settings)
    if isinstance(data, TableData):
        numbers = [data.labels_column] if data.labels_are == "indices" else []
        raw = read_raw(data.source, columns, _picture_columns(data), settings=settings, as_numbers=numbers)
        _refuse_pictures_as_text(raw, data)
        return raw
    if isinstance(data, PlantedData):
        return read_planted(data)
    raw = ARCHIVES[data.format].read(Path(data.source).expanduser(), data)
    missing = [name for name in columns if name not in raw.columns]
    if missing:
        raise InputError(
            f"data.format {data.format} has no column {', '.join(missing)}",
            f"Its columns are {', '.join(raw.columns)}; name the right ones in the preset's data section.",
        )
    return raw


def _refuse_pictures_as_text(raw: RawTable, data: DataConfig) -> None:
    """A column of paths can be ids or texts as well; one that holds the pictures themselves can't."""
    texts = [c for m in data.modalities if m.kind == "text" for c in m.columns]
    for column in (data.id_column, data.labels_column, data.split_column, *texts):
        if raw.is_encoded(column):
            raise InputError(
                f"{raw.name}: the column {quoted(column)} holds pictures, and can be nothing else",
                "Name another one in the preset's [data]: id_column, labels_column, split_column or columns.",
            )


def _picture_columns(data: DataConfig) -> list[str]:
    return [m.columns[0] for m in data.modalities if m.kind == "image"]


def refuse_other_settings(project: Project, metadata: Metadata) -> Provenance:
    """Refuse samples that were prepared under other settings than the project's, whatever their source was.

    Args:
        project: its data section is compared.
        metadata: of the samples table.

    Returns:
        What made them.

    Raises:
        ParentError: names the settings that differ.
    """
    made = Provenance.from_json(metadata["made_by"])
    made = replace(made, config=samples_config(project.preset))
    SAMPLES.of(project).refuse_other_inputs(metadata, made)
    return made


def samples_config(preset: Preset) -> dict[str, Any]:
    """The settings that the samples depend on."""
    return preset.data.defining()


def _picture_files(raw: RawTable, data: DataConfig) -> str:
    """One hash over name, size and time of change of every picture that is a file."""
    digest = hashlib.sha256()
    for column in _picture_columns(data):
        for path in raw.paths(column):
            if path is not None:
                digest.update(f"{path}\0{_stat(raw, path)}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _stat(raw: RawTable, path: str) -> str:
    try:
        info = raw.path(path).stat()
    except (OSError, ValueError):  # ValueError: a name with a null character
        return "missing"
    return f"{info.st_size} {info.st_mtime_ns}"


def _split_rule(data: DataConfig) -> dict[Split, float] | None:
    """Shares of the splits, where they are drawn; datasets have splits of their own."""
    return data.split_rule if isinstance(data, TableData) else None


def _ruled(ids: Iterable[str], shares: Mapping[Split, float]) -> Iterator[str]:
    """The split of each id, by its hash: it stays where it is when other rows come or go."""
    for sample_id in ids:
        digest = hashlib.blake2b(sample_id.encode(errors="replace"), digest_size=8).digest()
        place = int.from_bytes(digest, "little") / 2**64
        yield next((name for name, end in _ends(shares) if place < end), "test")


def _ends(shares: Mapping[Split, float]) -> list[tuple[str, float]]:
    return [("train", shares["train"]), ("val", shares["train"] + shares["val"])]


def _check_rows(
    raw: RawTable, data: DataConfig, command: str
) -> tuple[list[str], list[str], list[list[int]]]:
    """Ids, splits and sorted label indices of all rows, or one InputError that names what is wrong."""
    problems = Problems()
    ids = _ids(raw, data, problems)
    rule = _split_rule(data)
    splits = list(_ruled(ids, rule)) if rule else _splits(raw, data, problems)
    _refuse_twice(ids, splits, data.id_column, problems)
    labels = _labels(raw, data).indices(raw.columns[data.labels_column], problems)
    for modality in data.modalities:
        _check_types(raw, modality, problems)
    lines = problems.lines() or ([] if ids else ["no rows"])
    if lines:
        shown = [f"\n    {line}" for line in lines[:SHOWN_PROBLEMS]]
        more = f"\n    and {len(lines) - SHOWN_PROBLEMS} more" if len(lines) > SHOWN_PROBLEMS else ""
        raise InputError(
            f"{raw.name} can't be used:{''.join(shown)}{more}",
            f"Correct these in the file, or the columns and classes in the preset; then run again: {command}",
        )
    return ids, splits, labels


def _ids(raw: RawTable, data: DataConfig, problems: Problems) -> list[str]:
    """The id of each row, "" where there is none."""
    ids = []
    for row, value in enumerate(raw.columns[data.id_column], 1):
        try:
            ids.append(id_of(value))
        except ValueError as error:
            ids.append("")
            problems.add(row, data.id_column, str(error), "" if value in (None, "") else quoted(value))
    return ids


def _splits(raw: RawTable, data: DataConfig, problems: Problems) -> list[str]:
    """The split of each row, "" where it is none."""
    splits = []
    for row, value in enumerate(raw.columns[data.split_column], 1):
        try:
            splits.append(split_of(value))
        except ValueError as error:
            splits.append("")
            kind = f"unknown splits (known: {', '.join(SPLITS)})"
            problems.add(row, data.split_column, kind, quoted(value), str(error))
    return splits


def _merged_splits(raw: RawTable, data: DataConfig) -> list[str]:
    """A warning where a split goes by several names, as they may have been meant to be several."""
    if _split_rule(data):
        return []
    names: dict[str, set[str]] = {}
    for value in raw.columns[data.split_column]:
        names.setdefault(split_of(value), set()).add(value.strip().lower())
    return [f"the splits {' and '.join(sorted(n))} are both {s}" for s, n in names.items() if len(n) > 1]


def _refuse_twice(ids: list[str], splits: list[str], column: str, problems: Problems) -> None:
    """An id stands for one sample; two numbers that are written otherwise can be the same id."""
    first_row: dict[str, int] = {}
    for row, sample_id in enumerate(ids, 1):
        if not sample_id:
            continue
        earlier = first_row.setdefault(sample_id, row)
        if earlier != row:
            both = {splits[earlier - 1], splits[row - 1]} - {""}
            overlap = f", and the splits {' and '.join(sorted(both))} overlap" if len(both) > 1 else ""
            said = f"{quoted(sample_id)} is the id of row {earlier} too{overlap}"
            problems.add(row, column, f"ids that earlier rows have{overlap}", quoted(sample_id), said)


def _labels(raw: RawTable, data: DataConfig) -> Labels:
    """How the labels are to be read; datasets have indices, and classes that are no numbers."""
    labels = Labels(data.labels_column, data.classes, Task.named(data.task))
    if not isinstance(data, TableData):
        return labels
    named = data.labels_column in raw.named
    return replace(labels, are=data.labels_are, separator=data.labels_separator, named=named)


def _check_types(raw: RawTable, modality: ModalityConfig, problems: Problems) -> None:
    """Values that are of no usable type; what merely can't be decoded is left out later."""
    for column in modality.columns:
        if modality.kind == "image":
            for name, rows in raw.wrong.get(column, {}).items():
                for row in rows:
                    problems.add(row, column, f"{name}, not a path or bytes")
            continue
        for row, value in enumerate(raw.columns[column], 1):
            if not isinstance(value, str) and not is_null(value):
                problems.add(row, column, f"{type(value).__name__}, not text")


def _check_splits(found: set[str], name: str, skipped: list[Skipped]) -> None:
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


def _classless(split_labels: list[list[int]], classes: tuple[str, ...], split: str) -> list[str]:
    seen = {label for labels in split_labels for label in labels}
    unseen = [name for i, name in enumerate(classes) if i not in seen]
    return [f"no {split} sample of class {', '.join(unseen)}"] if unseen else []


def _texts(raw: RawTable, data: DataConfig) -> tuple[dict[str, list[str]], dict[int, str]]:
    """The text of every row by modality, and for each row without one the reason why it can't be used."""
    texts: dict[str, list[str]] = {}
    reasons: dict[int, str] = {}
    for modality in data.modalities:
        if modality.kind == "text":
            rows = zip(*(raw.columns[column] for column in modality.columns), strict=True)
            parts = [["" if is_null(value) else value.strip() for value in row] for row in rows]
            # Half of a surrogate pair, as JSON can hold where a text was cut, is no text to Arrow.
            texts[modality.name] = [_join(p).encode(errors="replace").decode() for p in parts]
            if data.empty_text == "skip":
                for i in (i for i, p in enumerate(parts) if not p[0]):
                    reasons.setdefault(i, f"empty text in column {modality.columns[0]}")
    return texts, reasons


def _join(parts: list[str]) -> str:
    """Parts as sentences: joined by ". " unless one already ends in punctuation."""
    text = ""
    for part in filter(None, parts):
        text += (" " if text.endswith((".", "!", "?", "…", ":", ";", ",")) else ". ") if text else ""
        text += part
    return text


def _bad_pictures(raw: RawTable, data: DataConfig) -> dict[int, str]:
    """For each row with a picture that can't be used the reason why: every one is decoded.

    By threads, as Pillow lets others run while it decodes: no slower than processes and several times as
    fast as Ray Data (docs/datasets.md), and pictures inside a table need not be copied.
    """
    columns = _picture_columns(data)
    if not columns:
        return {}

    def check(values: tuple[Any, ...]) -> str | None:
        for column, value in zip(columns, values, strict=True):
            if value is None or value in ("", b""):
                return f"no picture in column {column}"
            try:
                decode(raw.picture(value))
            except ValueError as error:
                return str(error)
        return None

    reasons = {}
    names = " and ".join(m.name for m in data.modalities if m.kind == "image")
    with track(f"check {names}", len(raw)) as task, ThreadPoolExecutor() as pool:
        rows = (row for batch in raw.batches(columns, ROWS_AT_A_TIME) for row in batch)
        for i, reason in enumerate(in_order(pool, check, rows, READ_AHEAD)):
            task.advance()
            if reason:
                reasons[i] = reason
    return reasons


def _schema(data: DataConfig, carried: list[str]) -> pa.Schema:
    kinds = {"text": pa.string(), "image": pa.binary()}
    return pa.schema(
        [
            *contracts.SAMPLES.schema,
            *(pa.field(m.name, kinds[m.kind]) for m in data.modalities),
            *(pa.field(name, pa.string()) for name in carried),
        ]
    )


def _batches(
    raw: RawTable, data: DataConfig, known: dict[str, list[Any]], left_out: set[int], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The kept rows, pictures encoded as they were; cut by number and size of the rows alone."""
    columns = _picture_columns(data)
    names = [m.name for m in data.modalities if m.kind == "image"]

    def load(row: tuple[int, tuple[Any, ...]]) -> dict[str, bytes] | None:
        i, values = row
        if i in left_out:
            return None
        try:
            return dict(zip(names, map(raw.picture, values), strict=True))
        except ValueError as error:
            raise InputError(
                f"a picture could be read when it was checked, but not afterwards: {error}",
                "Leave the files alone while this runs, or look after the disk; then run it again.",
            ) from None

    def batch() -> pa.RecordBatch:
        filled = [[row[f.name] for row in rows] for f in schema]
        return pa.record_batch(
            [pa.array(v, f.type) for v, f in zip(filled, schema, strict=True)], schema=schema
        )

    rows: list[dict[str, Any]] = []
    size = letters = 0
    texts = [m.name for m in data.modalities if m.kind == "text"]
    with track("write samples", len(raw)) as task, ThreadPoolExecutor() as pool:
        found = enumerate(row for part in raw.batches(columns, ROWS_AT_A_TIME) for row in part)
        for i, pictures in enumerate(in_order(pool, load, found, READ_AHEAD)):
            task.advance()
            if pictures is None:
                continue
            rows.append({name: column[i] for name, column in known.items()} | pictures)
            size += sum(map(len, pictures.values()))
            letters += sum(len(known[name][i]) for name in texts)
            if len(rows) == ROWS_AT_A_TIME or max(size, letters) >= BYTES_AT_A_TIME:
                yield batch()
                rows, size, letters = [], 0, 0
    if rows:
        yield batch()
