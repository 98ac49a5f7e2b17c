"""Does the probe's units: one frozen checkpoint, mapped features, one device."""

from __future__ import annotations

import time
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from raymoe.interactions.games.expert import ExpertGame
from raymoe.interactions.games.sequence_game import SequenceGame
from raymoe.interactions.pieces import block_sums
from raymoe.models.model_source import ModelSource, OpenedModel
from raymoe.models.target import target_weights
from raymoe.probe.plan import Job, Unit
from raymoe.runtime.device import device_name

CALIBRATION = 0.25  # seconds of the batch that the rate is read from


class UnitRunner:
    """Holds what all units share. Nothing is opened before ``ready``, so that its errors reach the driver.

    Args:
        source: the checkpoint and the features.
        precision: of the experts' arithmetic, ``float32`` or ``float64``.
        device: ``cpu`` or ``cuda``.
        threads: of torch; None leaves them as they are.
    """

    def __init__(self, source: ModelSource, precision: str, device: str, threads: int | None = None) -> None:
        self.source, self.device, self.threads = source, device, threads
        self.dtype: torch.dtype = getattr(torch, precision)

    def ready(self) -> str:
        """Open everything; answers with the name of the device. Raises as ``ModelSource.open`` does."""
        _ = self.opened
        return self.device_name

    @cached_property
    def opened(self) -> OpenedModel:
        """Features and model, the model on the device; opened once. For what it raises see ``ready``."""
        torch.set_float32_matmul_precision("highest")  # interactions are of the order 1e-3: no TF32
        if self.threads:
            torch.set_num_threads(self.threads)
        store, model, info = self.source.open()
        return OpenedModel(store, model.to(self.device), info)

    @cached_property
    def device_name(self) -> str:
        """What the tables will call the device that computed them."""
        return device_name(self.device)

    def calibrate(self, job: Job) -> float:
        """Evaluations per second, measured on a job's game with random coalitions."""
        game, n = self._game(job), len(job.candidates.players)
        rng, count = np.random.default_rng(0), 64
        game(rng.random((count, n)) < rng.random((count, 1)))  # the first is always slower
        while True:
            masks = rng.random((count, n)) < rng.random((count, 1))
            start = time.perf_counter()
            game(masks)
            seconds = time.perf_counter() - start
            if seconds > CALIBRATION or count >= 1 << 20:
                return count / seconds
            count *= 2 if seconds > CALIBRATION / 8 else 4

    def run(self, unit: Unit) -> bytes:
        """The unit's running sums, one row per pair, as an Arrow IPC stream; its metadata names the device.

        Raises:
            RaymoeError: the model's output is not finite; names sample and expert.
        """
        job = unit.job
        game = self._game(job)
        sums = block_sums(
            game,
            job.candidates.pairs,
            len(job.candidates.players),
            method=unit.method,
            coalitions=unit.coalitions,
            start=unit.start,
            stop=unit.stop,
            seed=job.seed,
            law=unit.law,
        )
        table = pa.table(sums.columns(), metadata={"device": self.device_name})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        answer: bytes = sink.getvalue().to_pybytes()
        return answer

    def _game(self, job: Job) -> SequenceGame:
        store, model, _ = self.opened
        index = store.index_of(job.sample_id)
        parts = {m.name: store.sequence(index, m.name) for m in store.modalities}
        features, valid, special = ({n: torch.tensor(p[i]) for n, p in parts.items()} for i in range(3))
        return ExpertGame.of_sample(
            model,
            job.expert,
            features,
            special,
            job.candidates.players,
            self._target(job, index),
            valid=valid,
            dtype=self.dtype,
            name=job.name,
        )

    def _target(self, job: Job, index: int) -> torch.Tensor:
        store, model, info = self.opened
        labels = store.labels[index]
        if job.target == "predicted":
            batch = store.batch([index], self.device, **model.reads)
            with torch.no_grad():
                logits = model(batch.features, batch.valid).logits_BC
            labels = store.task.explained_classes(logits)[0]
        return target_weights(labels, len(info.classes)).to(self.device)
