"""Importance in blocks of samples: cut, answered by a runner here or on an actor, and put together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from raymoe.attribution.importance import importance
from raymoe.config import AttributeConfig
from raymoe.features.store import FeatureBatch
from raymoe.models.model_source import ModelSource, OpenedModel
from raymoe.project.contracts import IMPORTANCE

BATCHES = 4  # of a block: whole ones, so that what is computed together is the same however it is shared


@dataclass(frozen=True)
class Block:
    """Rows ``[N]`` of the feature store that are done together."""

    number: int
    rows: np.ndarray

    @property
    def key(self) -> str:
        """Its name in messages."""
        return f"block {self.number}"

    @property
    def evaluations(self) -> int:
        """Its cost: samples."""
        return len(self.rows)


class BlockRunner:
    """Answers blocks. Nothing is opened before ``ready``, so that its errors reach whoever asks.

    Args:
        source: the model and the features.
        config: method, target and batch size.
        device: as torch names it.
        threads: of torch; None leaves them as they are.
    """

    def __init__(
        self, source: ModelSource, config: AttributeConfig, device: str, threads: int | None = None
    ) -> None:
        self.source, self.config, self.device, self.threads = source, config, device, threads

    @cached_property
    def opened(self) -> OpenedModel:
        """Model and features, the model on the device and without gradients; opened once.

        For what it raises see ``ModelSource.open``.
        """
        if self.threads:
            torch.set_num_threads(self.threads)
        store, model, info = self.source.open()
        return OpenedModel(store, model.to(self.device).requires_grad_(False), info)

    def ready(self) -> str:
        """Open model and features; answers with the device. For what it raises see ``ModelSource.open``."""
        _ = self.opened
        return self.device

    def run(self, block: Block) -> bytes:
        """The block's rows of the importance table, as an Arrow IPC stream.

        With integrated gradients its metadata says of the N * E convergence deltas ``max`` and ``sum`` of
        their amounts, ``rise`` the sum of the amounts they are compared with, and ``count``; and
        ``zero:EXPERT`` of how many samples several features of a modality are all 0.
        """
        store, model, _ = self.opened
        columns: dict[str, list] = {key: [] for key in ("sample_id", "expert", "modality", "scores")}
        delta, rise = [], []
        zero_E = np.zeros(len(model.expert_names))
        for batch in store.batches(block.rows, self.config.batch_size, self.device, **model.reads):
            chosen = [store.index_of(sample_id) for sample_id in batch.sample_ids]
            targets = [store.labels[i] for i in chosen] if self.config.target == "true" else None
            found = importance(model, batch, store.task, targets, self.config)
            delta.append(found.notes.get("delta", np.empty(0)).ravel())
            rise.append(found.notes.get("rise", np.empty(0)).ravel())
            zero_E += _all_zero(found.scores, batch).sum(1)
            lengths = {m: [len(store.sequence(i, m)[1]) for i in chosen] for m in model.names}
            for n, sample_id in enumerate(batch.sample_ids):
                for e, expert in enumerate(model.expert_names):
                    for modality in model.names:
                        columns["sample_id"].append(sample_id)
                        columns["expert"].append(expert)
                        columns["modality"].append(modality)
                        columns["scores"].append(found.scores[modality][e, n, : lengths[modality][n]])
        rows = len(columns["sample_id"])
        columns |= {"method": [self.config.method] * rows, "target": [self.config.target] * rows}
        table = pa.table(columns).select(IMPORTANCE.schema.names).cast(IMPORTANCE.schema)
        deltas, rises = np.abs(np.concatenate(delta)), np.abs(np.concatenate(rise))
        zero = zip(model.expert_names, zero_E, strict=True)
        notes: dict[str, float] = {f"zero:{name}": count for name, count in zero if count}
        if len(deltas):
            notes |= {"max": deltas.max(), "sum": deltas.sum(), "rise": rises.sum(), "count": len(deltas)}
        if notes:
            table = table.replace_schema_metadata({k: repr(float(v)) for k, v in notes.items()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()


def _all_zero(scores: dict[str, np.ndarray], batch: FeatureBatch) -> np.ndarray:
    """Of which samples an expert gives every feature of a modality the same, bool [E, N].

    A single feature has no other to be more important than: it doesn't count.
    """
    found = []
    for name, scores_ENT in scores.items():
        several_N = (batch.valid[name] & ~batch.special[name]).sum(1).cpu().numpy() > 1
        found.append((scores_ENT == 0).all(-1) & several_N)
    return np.logical_or.reduce(found)


def blocks_of(rows: np.ndarray, batch_size: int) -> list[Block]:
    """Rows cut into blocks of whole batches."""
    size = BATCHES * batch_size
    return [Block(start // size, rows[start : start + size]) for start in range(0, len(rows), size)]


def merged(answers: dict[int, bytes]) -> tuple[pa.Table, dict[str, float] | None, dict[str, int]]:
    """The whole table in the blocks' order, the convergence of integrated gradients, and what is all 0.

    Args:
        answers: by the block's number.

    Returns:
        The table; ``max`` and ``mean`` of the convergence delta as shares of the mean rise, or None; and by
        expert of how many samples several features of a modality are all 0, where there are any.
    """
    tables = [pa.ipc.open_stream(pa.py_buffer(answers[number])).read_all() for number in sorted(answers)]
    notes = [{k.decode(): float(v) for k, v in (t.schema.metadata or {}).items()} for t in tables]
    plain = [IMPORTANCE.schema.empty_table(), *(t.replace_schema_metadata(None) for t in tables)]
    table = pa.concat_tables(plain)
    zero: Counter[str] = Counter()
    for note in notes:
        zero.update({n.removeprefix("zero:"): int(v) for n, v in note.items() if n.startswith("zero:")})
    if not any("sum" in note for note in notes):
        return table, None, zero
    total = {name: sum(note[name] for note in notes) for name in ("sum", "rise", "count")}
    mean_rise = total["rise"] / total["count"]
    convergence = {
        "max": max(note["max"] for note in notes) / mean_rise,
        "mean": total["sum"] / total["count"] / mean_rise,
    }
    return table, convergence, zero
