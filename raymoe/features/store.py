"""Reading the feature store: mapped, not loaded, so that many readers on a node share the pages.

Shape suffixes: B samples of a batch, T positions, D width, N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
import pyarrow as pa
import torch

from raymoe.errors import InputError, ParentError
from raymoe.features.files import EFFICIENTNET
from raymoe.features.geometry import Geometry
from raymoe.features.parts import MARKER, ModalityInfo, read_marker, read_part
from raymoe.features.text_pieces import TextPiece, pieces_by_marks
from raymoe.project.outputs import Output
from raymoe.project.provenance import Provenance
from raymoe.runtime.ordered import in_order
from raymoe.task import Task

__all__ = ["FeatureBatch", "FeatureStore", "ModalityInfo"]

READ_AHEAD = 2  # batches being read or waiting, beside the one computed on


@dataclass
class FeatureBatch:
    """Some samples, padded per modality to the longest of them; what was not asked for is left out.

    Attributes:
        features: per modality ``[B, T, D]`` float32, zero at padding.
        valid: per modality ``[B, T]`` bool, False at padding.
        special: per modality ``[B, T]`` bool: always active, never a candidate.
        labels: as the task's loss takes them, see ``Task.label_tensor``: ``[B, C]`` or ``[B]``.
        sample_ids: B ids.
        pooled: per modality ``[B, D]`` float32, one vector for each whole sample.
    """

    features: dict[str, torch.Tensor]
    valid: dict[str, torch.Tensor]
    special: dict[str, torch.Tensor]
    labels: torch.Tensor
    sample_ids: list[str]
    pooled: dict[str, torch.Tensor] = field(default_factory=dict)

    def split(self, size: int) -> list[FeatureBatch]:
        """Pieces of at most ``size`` samples, as views."""
        if size >= len(self.sample_ids):
            return [self]
        pieces = []
        for start in range(0, len(self.sample_ids), size):
            part = slice(start, start + size)
            features, valid, special, pooled = (
                {name: t[part] for name, t in d.items()}
                for d in (self.features, self.valid, self.special, self.pooled)
            )
            ids = self.sample_ids[part]
            pieces.append(FeatureBatch(features, valid, special, self.labels[part], ids, pooled))
        return pieces

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> FeatureBatch:
        """The batch with each of its tensors changed."""
        features, valid, special, pooled = (
            {name: change(t) for name, t in d.items()}
            for d in (self.features, self.valid, self.special, self.pooled)
        )
        return FeatureBatch(features, valid, special, change(self.labels), self.sample_ids, pooled)

    def to(self, device: str | torch.device) -> FeatureBatch:
        """The batch on a device; pinned memory is copied beside what the device computes."""
        beside = torch.device(device).type == "cuda"  # back to the CPU it would not wait for the values
        return self.map(lambda tensor: tensor.to(device, non_blocking=beside))


class FeatureStore:
    """A complete feature store, opened with ``FeatureStore.open``.

    Attributes:
        fingerprint: what later stages name as their parent.
        modalities: in the order of the preset.
        classes: class names.
        task: what the labels mean.
        sample_ids: of all samples, in the order of the samples table.
        splits: of each sample.
        labels: class indices of each sample.
        cut: per modality how many texts were longer than the limit and cut.
    """

    @classmethod
    def open(cls, features: Output) -> FeatureStore:
        """Map a store and check that every part is whole.

        Args:
            features: where it is, and what makes it.

        Raises:
            ParentError: it is missing, incomplete or damaged; the part is named.
        """
        return cls(features)

    def __init__(self, features: Output) -> None:
        self._features, workspace = features, features.workspace
        marker = read_marker(features)
        if marker is None:
            raise ParentError(
                f"{features.path} holds no complete feature store ({MARKER} is missing)",
                f"Make it, or go on with it, with: {features.command}",
            )
        self.fingerprint: str = marker.fingerprint
        self.modalities: tuple[ModalityInfo, ...] = marker.modalities
        self.classes: tuple[str, ...] = marker.classes
        self.task: Task = Task.named(marker.task)
        self.cut: dict[str, int] = marker.cut
        made_by = Provenance.from_json(marker.metadata["made_by"])
        self._encoders = cast(dict[str, dict[str, object]], made_by.config.get("modalities", {}))
        self._batches: list[pa.RecordBatch] = []
        for part, wanted in marker.parts:
            name = f"{features.name}/{part}"
            try:
                batches, _ = read_part(workspace, name, self.fingerprint)
                rows = sum(b.num_rows for b in batches)
                if rows != wanted:
                    raise ParentError(f"{workspace.path(name)} has {rows} rows, expected {wanted}")
            except ParentError as error:
                raise ParentError(
                    error.message, f"Make that part again with: {features.command} (whole parts are kept)"
                ) from None
            self._batches += batches
        self._starts = np.cumsum([0] + [b.num_rows for b in self._batches])
        self.sample_ids: list[str] = self._column("sample_id")
        self.splits: list[str] = self._column("split")
        self.labels: list[list[int]] = self._column("labels")
        self._info = {m.name: m for m in self.modalities}
        self._views: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
        self._pooled_views: dict[tuple[int, str], np.ndarray] = {}

    @property
    def path(self) -> str:
        """Where it is, for messages."""
        return self._features.path

    def __reduce__(self):
        return FeatureStore.open, (self._features,)

    def __len__(self) -> int:
        return len(self.sample_ids)

    def indices(self, split: str) -> np.ndarray:
        """Rows of a split, ``[N]`` int64, in table order.

        Raises:
            InputError: there is no such split.
        """
        found = np.flatnonzero(np.asarray(self.splits) == split).astype(np.int64)
        if not len(found):
            raise InputError(
                f"no split {split!r}", f"Splits of these data: {', '.join(sorted(set(self.splits)))}."
            )
        return found

    def index_of(self, sample_id: str) -> int:
        """The row of a sample.

        Raises:
            InputError: there is no such sample.
        """
        if sample_id not in self._rows:
            raise InputError(
                f"no sample {sample_id!r}", f"Ids look like {', '.join(map(repr, self.sample_ids[:3]))}."
            )
        return self._rows[sample_id]

    def sequence(self, i: int, modality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One sample's features: ``[T, D]`` float16, a view of the file; valid ``[T]``; special ``[T]``."""
        batch, row = self._locate(i)
        values, offsets = self._view(batch, modality)
        start, stop = offsets[row], offsets[row + 1]
        masks = (
            self._batches[batch][f"{modality}.{name}"].values[start:stop].to_numpy(zero_copy_only=False)
            for name in ("valid", "special")
        )
        return values[start:stop], *masks

    def candidates(self, i: int) -> dict[str, np.ndarray]:
        """Which positions of a sample can be masked: valid and not special, bool [T] per modality."""
        masks = {m.name: self.sequence(i, m.name)[1:] for m in self.modalities}
        return {name: valid & ~special for name, (valid, special) in masks.items()}

    def pieces(self, i: int, modality: str) -> list[TextPiece] | None:
        """A text's positions as pieces of it, one each; None for a picture."""
        info = self._info[modality]
        if info.kind != "text":
            return None
        batch, row = self._locate(i)
        special = self.sequence(i, modality)[2].tolist()

        def column(name: str) -> list:
            return self._batches[batch][f"{modality}.{name}"][row].as_py()

        if not info.spans:
            return pieces_by_marks(column("tokens"), special)
        return [
            TextPiece(text, joined, is_special, None if start is None else (start, stop))
            for text, joined, is_special, start, stop in zip(
                column("tokens"), column("joined"), special, column("starts"), column("stops"), strict=True
            )
        ]

    def geometry(self, i: int, modality: str) -> Geometry | None:
        """What a picture's valid non-special positions show of it, row by row.

        None for a text, and in stores of Hugging Face encoders that were written before this was kept:
        ``raymoe.features.lookup.seen`` measures it again.
        """
        info = self._info[modality]
        if info.kind != "image":
            return None
        batch, row = self._locate(i)
        columns = self._batches[batch]
        if f"{modality}.box" in columns.schema.names and columns[f"{modality}.box"][row].is_valid:
            rows, cols = columns[f"{modality}.grid"][row].as_py()
            left, top, right, bottom = columns[f"{modality}.box"][row].as_py()
            return Geometry(rows, cols, (left, top, right, bottom))
        if info.grid is None or self._encoders.get(modality, {}).get("name", EFFICIENTNET) != EFFICIENTNET:
            return None
        return Geometry(*info.grid)

    def batch(
        self,
        indices: Sequence[int] | np.ndarray,
        device: str | torch.device = "cpu",
        *,
        sequences: bool = True,
        pooled: bool = True,
    ) -> FeatureBatch:
        """Some samples, padded; the features travel to the device as float16 and become float32 there.

        Args:
            indices: rows, in the order of the answer.
            device: where to.
            sequences: read ``features``, ``valid`` and ``special``.
            pooled: read ``pooled``.
        """
        return _delivered(self._read(indices, sequences, pooled), device)

    def batches(
        self,
        indices: Sequence[int] | np.ndarray,
        size: int,
        device: str | torch.device = "cpu",
        *,
        sequences: bool = True,
        pooled: bool = True,
    ) -> Iterator[FeatureBatch]:
        """Batches of at most ``size`` rows; a thread reads the next while the caller computes on one.

        For a GPU it reads into pinned memory, from which the copy runs beside the computation.
        """
        pin = torch.device(device).type == "cuda"
        groups = (indices[start : start + size] for start in range(0, len(indices), size))
        with ThreadPoolExecutor(1) as pool:
            read = in_order(pool, lambda rows: self._read(rows, sequences, pooled, pin), groups, READ_AHEAD)
            for found in read:
                yield _delivered(found, device)

    def _read(
        self, indices: Sequence[int] | np.ndarray, sequences: bool, pooled: bool, pin: bool = False
    ) -> FeatureBatch:
        """A batch in this process's memory, features as stored; by numpy: torch has its own threads."""
        features, valid, special = {}, {}, {}
        for info in self.modalities if sequences else ():
            found = [self.sequence(int(i), info.name) for i in indices]
            # At least one position, so that a batch of empty sequences still has the shape of a batch.
            shape = (len(found), max([1, *(len(f) for f, _, _ in found)]))
            features_BTD = np.zeros((*shape, info.width), np.float16)
            valid_BT, special_BT = np.zeros(shape, bool), np.zeros(shape, bool)
            for b, (f, v, s) in enumerate(found):
                features_BTD[b, : len(f)], valid_BT[b, : len(f)], special_BT[b, : len(f)] = f, v, s
            features[info.name] = torch.from_numpy(features_BTD)
            valid[info.name] = torch.from_numpy(valid_BT)
            special[info.name] = torch.from_numpy(special_BT)
        labels = self.task.label_tensor([self.labels[int(i)] for i in indices], len(self.classes))
        ids = [self.sample_ids[int(i)] for i in indices]
        of = self.modalities if pooled else ()
        vectors = {m.name: torch.from_numpy(self.pooled(indices, m.name)) for m in of}
        batch = FeatureBatch(features, valid, special, labels, ids, vectors)
        return batch.map(torch.Tensor.pin_memory) if pin else batch

    def pooled(self, indices: Sequence[int] | np.ndarray, modality: str) -> np.ndarray:
        """One vector for each whole sample, as the encoder's ``pooling`` says: ``[N, D]`` float32."""
        pooled_ND = np.empty((len(indices), self._info[modality].width), np.float32)
        for n, i in enumerate(indices):
            batch, row = self._locate(int(i))
            pooled_ND[n] = self._pooled_view(batch, modality)[row]
        return pooled_ND

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {sample_id: i for i, sample_id in enumerate(self.sample_ids)}

    def _column(self, name: str) -> list:
        return [value for batch in self._batches for value in batch[name].to_pylist()]

    def _locate(self, i: int) -> tuple[int, int]:
        """A sample's record batch and its row there."""
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        batch = int(np.searchsorted(self._starts, i, side="right")) - 1
        return batch, i - int(self._starts[batch])

    def _view(self, batch: int, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """All positions of a record batch ``[sum of T, D]``, and where each sample's begin; no copies."""
        if (batch, modality) not in self._views:
            column = self._batches[batch][f"{modality}.features"]
            values = column.values.values.to_numpy(zero_copy_only=True)
            self._views[batch, modality] = (
                values.reshape(-1, self._info[modality].width),
                column.offsets.to_numpy(zero_copy_only=True),
            )
        return self._views[batch, modality]

    def _pooled_view(self, batch: int, modality: str) -> np.ndarray:
        """The pooled vectors of a record batch ``[rows, D]``; no copy."""
        if (batch, modality) not in self._pooled_views:
            values = self._batches[batch][f"{modality}.pooled"].values.to_numpy(zero_copy_only=True)
            self._pooled_views[batch, modality] = values.reshape(-1, self._info[modality].width)
        return self._pooled_views[batch, modality]


def _delivered(batch: FeatureBatch, device: str | torch.device) -> FeatureBatch:
    """On a device, features as float32."""
    batch = batch.to(device)
    batch.features = {name: tensor.float() for name, tensor in batch.features.items()}
    return batch
