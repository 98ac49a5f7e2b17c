"""Samples -> rows of the feature store, batch by batch, on one device.

On a CPU each thread takes whole batches, from decoding to float16: no thread waits for another in the middle
of a layer, and one decodes while another computes. On a GPU threads decode, scale and tokenise ahead, this
thread runs the model, and one more copies what comes out. Batches come back in order, and only as many are
under way as keep everything busy, so memory depends on the batch size and not on the number of samples.

Shape suffixes: B items, T positions, D width.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raymoe.config import ModalityConfig
from raymoe.data.pictures import decode
from raymoe.errors import InputError, RaymoeError
from raymoe.features.encoder import EncodedBatch, Encoder
from raymoe.features.lookup import load_encoder
from raymoe.features.parts import WITH_SPANS, EncodedPart, ModalityInfo, Row, SequenceRow
from raymoe.project.provenance import Skipped
from raymoe.runtime.ordered import in_order

GPU_THREADS = 4  # at least so many prepare what a GPU encodes


class PartEncoder:
    """Frozen encoders of all modalities on one device.

    Args:
        modalities: what to encode with what.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: an encoder can't be had.
    """

    def __init__(self, modalities: Iterable[ModalityConfig], device: str) -> None:
        keep_freed_memory()
        # Features are computed once and used for ever, so in full float32 unless asked otherwise.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        self.device, self.modalities = device, tuple(modalities)
        self._threads = torch.get_num_threads()
        self._encoders = {m.name: load_encoder(m.kind, m.encoder, device) for m in self.modalities}

    @property
    def infos(self) -> list[ModalityInfo]:
        """What the store says about each modality."""
        found = [(m, self._encoders[m.name]) for m in self.modalities]
        return [
            ModalityInfo(m.name, m.kind, e.width, e.max_length, e.grid, m.kind in WITH_SPANS)
            for m, e in found
        ]

    def parts(
        self, tables: Iterable[tuple[int, pa.Table]], advance: Callable[[int], None] = lambda _: None
    ) -> Iterator[EncodedPart]:
        """Encode parts of the samples table; the next ones are begun while one is being used.

        Args:
            tables: index and rows of each part, taken as they are needed.
            advance: told how many items are done.

        Raises:
            InputError: an encoder gives values that aren't finite; names the sample.
            RaymoeError: the memory is full; names the knob.
        """
        opened: deque[_Collected] = deque()

        def jobs() -> Iterator[_Job]:
            for index, table in tables:
                of_part = [job for m in self.modalities for job in _jobs(table, m, self._encoders[m.name])]
                opened.append(_Collected(index, table, len(of_part)))
                yield from of_part

        for answer in self._answers(jobs()):
            advance(len(answer.job.rows))
            opened[0].add(answer)
            if not opened[0].left:
                yield opened.popleft().part()

    def _answers(self, jobs: Iterator[_Job]) -> Iterator[_Answer]:
        threads = self._threads
        if self.device != "cpu":
            threads = max(threads, GPU_THREADS)
            with ThreadPoolExecutor(threads) as preparing, ThreadPoolExecutor(1) as fetching:
                prepared = in_order(preparing, _prepare, jobs, threads + 2)
                yield from in_order(fetching, _fetch, map(_run, prepared), 2)
            return
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield from in_order(pool, lambda job: _fetch(_run(_prepare(job))), jobs, threads + 1)
        finally:
            torch.set_num_threads(threads)  # partly a setting of the process


@dataclass
class _Job:
    """A batch: some rows of one part, one modality."""

    modality: ModalityConfig
    encoder: Encoder[Any, Any]
    rows: list[int]  # within the part
    items: list[Any]  # texts, or encoded pictures


@dataclass
class _Batch:
    """A job on its way: prepared, then encoded; and the rows that can't be used, with the reason."""

    job: _Job
    rows: list[int]
    reasons: dict[int, str]
    prepared: Any = None
    encoded: EncodedBatch | None = None


@dataclass
class _Answer:
    """What a job found, by row."""

    job: _Job
    sequences: dict[int, SequenceRow] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)
    not_finite: list[int] = field(default_factory=list)


def _jobs(table: pa.Table, modality: ModalityConfig, encoder: Encoder[Any, Any]) -> Iterator[_Job]:
    """The batches of a part. Texts of like length go together, as a batch costs what its longest does."""
    items, size = table[modality.name].to_pylist(), modality.encoder.batch_size
    order = list(range(len(items)))
    if modality.kind == "text":
        items = [text or "" for text in items]
        order.sort(key=lambda i: len(items[i]))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield _Job(modality, encoder, chosen, [items[i] for i in chosen])


def _prepare(job: _Job) -> _Batch:
    batch = _Batch(job, [], {})
    if job.modality.kind == "text":
        batch.rows, batch.prepared = job.rows, job.encoder.prepare(job.items)
        return batch

    def pictures(tried: bool) -> Iterator[Any]:  # one at a time: in full size they are large
        for row, data in zip(job.rows, job.items, strict=True):
            if row in batch.reasons:
                continue
            try:
                picture = decode(data)
                if tried:
                    job.encoder.prepare([picture])
            except ValueError as error:
                batch.reasons[row] = str(error)
            else:
                batch.rows.append(row)
                yield picture

    for tried in (False, True):  # again, one by one, where the encoder can't take one of them
        batch.rows = []
        found = pictures(tried)
        first = next(found, None)
        if first is None:
            break
        try:
            batch.prepared = job.encoder.prepare(chain([first], found))
            break
        except ValueError:
            if tried:
                raise
    return batch


def _run(batch: _Batch) -> _Batch:
    if batch.rows:
        try:
            batch.encoded = batch.job.encoder.run(batch.prepared)
        except RuntimeError as error:
            raise _explained(error, batch.job.modality) from error
        batch.prepared = None
    return batch


def _fetch(batch: _Batch) -> _Answer:
    """Each item's valid positions, as they are stored."""
    answer = _Answer(batch.job, reasons=batch.reasons)
    if batch.encoded is None:
        return answer
    try:
        # Halved where they are, before they travel; what overflows float16 is reported as not finite.
        encoded = batch.encoded
        features_BTD = encoded.features_BTD.half().cpu().numpy()
        pooled_BD = None if encoded.pooled_BD is None else encoded.pooled_BD.cpu().numpy()
    except RuntimeError as error:  # a GPU tells late
        raise _explained(error, batch.job.modality) from error
    valid_BT, special_BT = encoded.valid_BT.numpy(), encoded.special_BT.numpy()
    for b, row in enumerate(batch.rows):
        kept_T = valid_BT[b]
        found = answer.sequences[row] = SequenceRow(
            features_BTD[b, kept_T],
            kept_T[kept_T],
            special_BT[b, kept_T],
            encoded.tokens[b] if encoded.tokens else None,
            None if pooled_BD is None else pooled_BD[b],
            encoded.pieces[b] if encoded.pieces else None,
            encoded.geometry[b] if encoded.geometry else None,
        )
        if not (np.isfinite(found.features_TD).all() and np.isfinite(np.asarray(found.pooled_D)).all()):
            answer.not_finite.append(row)
    answer.cut = {batch.rows[b] for b in encoded.cut}
    return answer


def _explained(error: RuntimeError, modality: ModalityConfig) -> Exception:
    """A full memory in words; any other error as it is."""
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    if not on_gpu and "can't allocate memory" not in str(error):
        return error
    name, encoder = modality.name, modality.encoder
    also = f", --set data.{name}.encoder.precision=float16, or use --device cpu" if on_gpu else ""
    fewer = max(1, encoder.batch_size // 2)
    return RaymoeError(
        f"the {'GPU' if on_gpu else 'machine'}'s memory is full: {encoder.source} encodes {name} in batches "
        f"of {encoder.batch_size}",
        f"Use --set data.{name}.encoder.batch_size={fewer}{also}. Finished parts are kept.",
    )


class _Collected:
    """The answers of a part, until all are there: ``left`` says how many are missing.

    Args:
        index: of the part.
        table: its rows of the samples table.
        jobs: how many answers it takes.
    """

    def __init__(self, index: int, table: pa.Table, jobs: int) -> None:
        self.index, self.left = index, jobs
        columns = (table[c].to_pylist() for c in ("sample_id", "split", "labels"))
        self._known: list[tuple[str, str, list[int]]] = list(zip(*columns, strict=True))
        self._sequences: list[dict[str, SequenceRow]] = [{} for _ in self._known]
        self._reasons: dict[int, str] = {}
        self._cut: dict[str, set[int]] = {}

    def add(self, answer: _Answer) -> None:
        self.left -= 1
        modality = answer.job.modality
        if answer.not_finite:
            raise InputError(
                f"sample {self._known[answer.not_finite[0]][0]}, {modality.name}: {modality.encoder.source} "
                "gives values that aren't finite in float16",
                "Look at that sample; if it is fine, take another layer, precision or encoder.",
            )
        for i, found in answer.sequences.items():
            self._sequences[i][modality.name] = found
        for i, reason in answer.reasons.items():
            self._reasons.setdefault(i, reason)
        if modality.kind == "text":
            self._cut.setdefault(modality.name, set()).update(answer.cut)

    def part(self) -> EncodedPart:
        reasons = self._reasons
        rows = [
            Row(*known, sequences)
            for i, (known, sequences) in enumerate(zip(self._known, self._sequences, strict=True))
            if i not in reasons
        ]
        skipped: list[Skipped] = [
            {"sample_id": self._known[i][0], "row": i + 1, "reason": reasons[i]} for i in sorted(reasons)
        ]
        cut = {name: len(found - reasons.keys()) for name, found in self._cut.items()}
        return EncodedPart(self.index, rows, skipped, cut)


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: giving every layer's output back to the system costs much time.

    Does nothing on other platforms.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at its largest
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        libc.mallopt(-8, 1)  # M_ARENA_MAX: threads share what is kept
    except (OSError, AttributeError):
        pass
