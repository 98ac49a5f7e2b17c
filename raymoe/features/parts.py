"""The feature store's files: parts of some hundred samples in Arrow, and a marker written when all are there.

Shape suffixes: T positions, D width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import NotRequired, TypedDict, cast

import numpy as np
import pyarrow as pa

from raymoe.errors import ParentError
from raymoe.features.geometry import Geometry
from raymoe.features.text_pieces import TextPiece, pieces_by_marks
from raymoe.project.contracts import FEATURES, FEATURES_WITH_SPANS
from raymoe.project.outputs import Output
from raymoe.project.provenance import Metadata, Provenance, Skipped
from raymoe.project.tables import conform, metadata_of
from raymoe.project.workspace import Workspace

MARKER = "features.json"
TAGS = (FEATURES.tag, FEATURES_WITH_SPANS.tag)
ROWS_PER_BATCH = 64
WITH_SPANS = ("text",)  # kinds of modality whose positions are stored with their words and spans


@dataclass(frozen=True)
class ModalityInfo:
    """A modality of the store.

    Attributes:
        name: its name.
        kind: ``text`` or ``image``.
        width: D.
        max_length: the most positions a sample can have, special ones included.
        grid: rows and columns of a picture's non-special positions; None for texts, and where each picture
            has its own.
        spans: of a text, whether its pieces are stored with their words and spans.
    """

    name: str
    kind: str
    width: int
    max_length: int
    grid: tuple[int, int] | None
    spans: bool = False

    def to_json(self) -> dict[str, object]:
        """As it stands in metadata: without ``spans`` where there are none, as in version 2."""
        found = asdict(self)
        if not self.spans:
            del found["spans"]
        return found


class StoredModality(TypedDict):
    """A ``ModalityInfo`` as JSON has it."""

    name: str
    kind: str
    width: int
    max_length: int
    grid: list[int] | None
    spans: NotRequired[bool]


class PartMetadata(TypedDict):
    """What a part says of itself.

    Attributes:
        schema, fingerprint, made_by: as every table.
        modalities: what each is.
        rows: its first row of the samples table, and the one after its last.
        skipped: samples that were left out.
        cut: how many texts were longer than the limit, by modality.
    """

    schema: str
    fingerprint: str
    made_by: str
    modalities: list[StoredModality]
    rows: list[int]
    skipped: list[Skipped]
    cut: dict[str, int]


@dataclass(frozen=True)
class Marker:
    """What the file that completes a store says.

    Attributes:
        metadata: its fingerprint, and what made it.
        modalities: in the order of the encoders.
        parts: name and rows of each.
        classes, task: what the labels mean.
        skipped: samples that were left out.
        cut: how many texts were longer than the limit, by modality.
    """

    metadata: Metadata
    modalities: tuple[ModalityInfo, ...]
    parts: tuple[tuple[str, int], ...]
    classes: tuple[str, ...]
    task: str
    skipped: tuple[Skipped, ...]
    cut: dict[str, int]

    @property
    def fingerprint(self) -> str:
        """Hash of what the store was made from."""
        return self.metadata["fingerprint"]


@dataclass(frozen=True)
class SequenceRow:
    """One sample's features of one modality, without padding.

    Of a text either ``tokens``, with their tokenizer's marks, or ``pieces``, of a modality with spans.
    ``pooled_D`` is a vector for the whole sample; left out it is the mean over valid non-special positions,
    or over all valid ones if none is left, and 0 without any.
    """

    features_TD: np.ndarray
    valid_T: np.ndarray
    special_T: np.ndarray
    tokens: list[str] | None = None
    pooled_D: np.ndarray | None = None  # None when it is made, never afterwards
    pieces: list[TextPiece] | None = None
    geometry: Geometry | None = None  # None for texts, and where patches always show the whole picture

    def __post_init__(self) -> None:
        if self.pooled_D is None:
            used_T = self.valid_T & ~self.special_T
            used_T = used_T if used_T.any() else self.valid_T
            used_ND = self.features_TD[used_T].astype(np.float32)
            mean_D = used_ND.mean(0) if len(used_ND) else np.zeros(self.features_TD.shape[1], np.float32)
            object.__setattr__(self, "pooled_D", mean_D)


@dataclass(frozen=True)
class Row:
    """One sample of a part."""

    sample_id: str
    split: str
    labels: list[int]
    sequences: dict[str, SequenceRow] = field(default_factory=dict)


@dataclass(frozen=True)
class EncodedPart:
    """A part before it is written.

    Attributes:
        index: which one.
        rows: in order, without those that were left out.
        skipped: those left out, each ``{"sample_id", "row", "reason"}``, rows from 1 within the part.
        cut: per modality of text how many rows were longer than the limit.
    """

    index: int
    rows: list[Row]
    skipped: list[Skipped]
    cut: dict[str, int]


@dataclass(frozen=True)
class Part:
    """What the marker says about a part that was written; ``skipped`` has rows of the samples table."""

    index: int
    rows: int
    modalities: tuple[ModalityInfo, ...]
    skipped: list[Skipped]
    cut: dict[str, int]

    def to_json(self) -> bytes:
        """All of it, for its way back from another process."""
        return json.dumps({**asdict(self), "modalities": [m.to_json() for m in self.modalities]}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Part:
        """The inverse of ``to_json``."""
        content = json.loads(data)
        return cls(**{**content, "modalities": modality_infos(content["modalities"])})


def part_name(folder: str, index: int) -> str:
    """The name of a part in the workspace."""
    return f"{folder}/part-{index:05d}.arrow"


def commit_part(
    workspace: Workspace,
    folder: str,
    part: EncodedPart,
    span: tuple[int, int],
    modalities: Sequence[ModalityInfo],
    provenance: Provenance,
) -> Part:
    """Write a part that holds the rows ``span`` of the samples table, with what was left out and cut."""
    skipped: list[Skipped] = [{**s, "row": span[0] + (s["row"] or 0)} for s in part.skipped]
    modalities = tuple(_long_enough(m, part.rows) for m in modalities)
    extra = {"rows": list(span), "skipped": skipped, "cut": part.cut}
    write_part(workspace, part_name(folder, part.index), part.rows, modalities, provenance, extra)
    return Part(part.index, len(part.rows), modalities, skipped, part.cut)


def _long_enough(modality: ModalityInfo, rows: list[Row]) -> ModalityInfo:
    """A modality whose longest sample is among these: an encoder may not know how long a picture can get."""
    longest = max((len(row.sequences[modality.name].valid_T) for row in rows), default=0)
    return replace(modality, max_length=max(modality.max_length, longest))


def longest(parts: Sequence[Part]) -> tuple[ModalityInfo, ...]:
    """The modalities of a store of these parts."""
    return tuple(
        replace(same[0], max_length=max(m.max_length for m in same))
        for same in zip(*(part.modalities for part in parts), strict=True)
    )


def write_part(
    workspace: Workspace,
    name: str,
    rows: list[Row],
    modalities: Sequence[ModalityInfo],
    provenance: Provenance,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Write a part, whole or not at all; ``extra`` metadata as in ``write_table``."""
    metadata = provenance.metadata({**(extra or {}), "modalities": [m.to_json() for m in modalities]})
    schema = _schema(modalities, rows).with_metadata(metadata)

    def write(sink: pa.NativeFile) -> None:
        with pa.ipc.new_file(sink, schema) as writer:
            for start in range(0, len(rows), ROWS_PER_BATCH):
                writer.write_batch(_record_batch(rows[start : start + ROWS_PER_BATCH], modalities, schema))

    workspace.write_with(name, write)


def read_part(workspace: Workspace, name: str, fingerprint: str) -> tuple[list[pa.RecordBatch], PartMetadata]:
    """Map a part; its record batches are views of the file, and its metadata is decoded.

    Raises:
        ParentError: the part is missing, cut short, or was made from something else.
    """
    path = workspace.path(name)
    if not workspace.exists(name):
        raise ParentError(f"{path} is missing")
    try:
        reader = pa.ipc.open_file(pa.memory_map(workspace.local(name)))
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        for batch in batches:
            batch.validate()
    except (pa.ArrowException, OSError) as error:
        raise ParentError(f"{path} is not a whole Arrow file ({error})") from None
    metadata = metadata_of(reader.schema)
    if metadata.get("schema") not in TAGS:
        raise ParentError(
            f"{path} holds {metadata.get('schema', 'no raymoe table')}, expected {' or '.join(TAGS)}"
        )
    if metadata["fingerprint"] != fingerprint:
        raise ParentError(f"{path} was made from other inputs than the rest of the store")
    conform(reader.schema, FEATURES, path)
    return batches, cast(PartMetadata, metadata)


def write_marker(
    workspace: Workspace,
    folder: str,
    provenance: Provenance,
    modalities: Sequence[ModalityInfo],
    part_rows: Sequence[int],
    *,
    classes: Sequence[str],
    task: str,
    skipped: Sequence[Skipped] = (),
    cut: dict[str, int] | None = None,
) -> None:
    """Say that the store is complete: parts 0..n-1 with so many rows each.

    ``cut`` says per modality how many texts were longer than the limit.
    """
    content = {
        "schema": provenance.contract,
        "fingerprint": provenance.fingerprint,
        "made_by": provenance.to_json(),
        "parts": [{"name": part_name("", i)[1:], "rows": rows} for i, rows in enumerate(part_rows)],
        "modalities": [m.to_json() for m in modalities],
        "classes": list(classes),
        "task": task,
        "skipped": list(skipped),
        "cut": cut or {},
    }
    workspace.write(f"{folder}/{MARKER}", json.dumps(content, indent=1).encode())


def read_marker(features: Output) -> Marker | None:
    """The marker's content; None where the store isn't complete.

    Args:
        features: where the store is, and what makes it.

    Raises:
        ParentError: the marker isn't one, or that of a store written by another version of raymoe.
    """
    workspace, name = features.workspace, f"{features.name}/{MARKER}"
    if not workspace.exists(name):
        return None
    try:
        content = json.loads(workspace.read(name))
        schema = str(content["schema"])
        if schema not in TAGS and schema.partition("/")[0] == FEATURES.name:
            raise ParentError(
                f"{features.path} was written by another version of raymoe: it holds {schema}, "
                f"expected {' or '.join(TAGS)}",
                f"Make it again with: {features.again}",
            )
        if schema not in TAGS:
            raise ValueError(f"holds {schema}, expected {' or '.join(TAGS)}")
        return Marker(
            Metadata(schema=schema, fingerprint=content["fingerprint"], made_by=content["made_by"]),
            modality_infos(content["modalities"]),
            tuple((part["name"], part["rows"]) for part in content["parts"]),
            tuple(content["classes"]),
            content["task"],
            tuple(content["skipped"]),
            content["cut"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ParentError(
            f"{workspace.path(name)} can't be used: {error}",
            f"Delete it and encode again (whole parts are kept) with: {features.command}",
        ) from None


def modality_infos(raw: Iterable[StoredModality]) -> tuple[ModalityInfo, ...]:
    """Modalities as they come out of JSON."""
    return tuple(
        ModalityInfo(
            m["name"], m["kind"], m["width"], m["max_length"], _grid(m["grid"]), m.get("spans", False)
        )
        for m in raw
    )


def _grid(raw: Sequence[int] | None) -> tuple[int, int] | None:
    return None if raw is None else (int(raw[0]), int(raw[1]))


def _schema(modalities: Sequence[ModalityInfo], rows: list[Row]) -> pa.Schema:
    fields = list(FEATURES.schema)
    for m in modalities:
        fields.append(pa.field(f"{m.name}.features", pa.large_list(pa.list_(pa.float16(), m.width))))
        fields.append(pa.field(f"{m.name}.valid", pa.list_(pa.bool_())))
        fields.append(pa.field(f"{m.name}.special", pa.list_(pa.bool_())))
        fields.append(pa.field(f"{m.name}.pooled", pa.list_(pa.float32(), m.width)))
        if m.kind == "text":
            fields.append(pa.field(f"{m.name}.tokens", pa.list_(pa.string())))
        if any(row.sequences[m.name].geometry for row in rows):
            fields.append(pa.field(f"{m.name}.grid", pa.list_(pa.int32(), 2)))
            fields.append(pa.field(f"{m.name}.box", pa.list_(pa.float64(), 4)))
        if m.spans:
            fields.append(pa.field(f"{m.name}.joined", pa.list_(pa.bool_())))
            fields.append(pa.field(f"{m.name}.starts", pa.list_(pa.int32())))
            fields.append(pa.field(f"{m.name}.stops", pa.list_(pa.int32())))
    return pa.schema(fields)


def _record_batch(rows: list[Row], modalities: Sequence[ModalityInfo], schema: pa.Schema) -> pa.RecordBatch:
    columns: list[pa.Array] = [
        pa.array([r.sample_id for r in rows], pa.string()),
        pa.array([r.split for r in rows], pa.string()),
        pa.array([r.labels for r in rows], pa.list_(pa.int32())),
    ]
    for m in modalities:
        found = [r.sequences[m.name] for r in rows]
        offsets = np.cumsum([0] + [len(s.features_TD) for s in found])
        flat = np.concatenate([s.features_TD.reshape(-1, m.width) for s in found]).astype(
            np.float16, copy=False
        )
        positions = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), m.width)
        columns.append(pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), positions))
        for masks in ([s.valid_T for s in found], [s.special_T for s in found]):
            values = pa.array(np.concatenate(masks).astype(bool))
            columns.append(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values))
        pooled = np.concatenate([np.asarray(s.pooled_D) for s in found])
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(pooled, pa.float32()), m.width))
        if m.spans:
            columns += _piece_columns(
                [s.pieces or pieces_by_marks(s.tokens or [], s.special_T.tolist()) for s in found]
            )
        elif m.kind == "text":
            columns.append(pa.array([s.tokens for s in found], pa.list_(pa.string())))
        if f"{m.name}.box" in schema.names:
            shown = [s.geometry for s in found]
            columns.append(pa.array([g and (g.rows, g.cols) for g in shown], pa.list_(pa.int32(), 2)))
            columns.append(pa.array([g and g.box for g in shown], pa.list_(pa.float64(), 4)))
    return pa.RecordBatch.from_arrays(
        [c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


def _piece_columns(rows: list[list[TextPiece]]) -> list[pa.Array]:
    """What is shown, joined, starts and stops."""
    spans = [[piece.span or (None, None) for piece in pieces] for pieces in rows]
    return [
        pa.array([[piece.text for piece in pieces] for pieces in rows], pa.list_(pa.string())),
        pa.array([[piece.joined for piece in pieces] for pieces in rows], pa.list_(pa.bool_())),
        *(pa.array([[span[k] for span in of_row] for of_row in spans], pa.list_(pa.int32())) for k in (0, 1)),
    ]
