"""Does units: one frozen checkpoint, mapped features, one device. A plain class; Ray makes it an actor."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import torch

from raymoe.interactions.games.expert import ExpertGame
from raymoe.interactions.pieces import block_sums
from raymoe.models.explained import Explained
from raymoe.models.target import target_weights
from raymoe.probe.plan import Job, Unit
from raymoe.runtime.device import device_name

CALIBRATION = 0.25  # seconds of the batch that the rate is read from


class UnitRunner:
    """Holds what all units share. Nothing is opened before ``ready``, so that its errors reach the driver.

    Args:
        explained: the checkpoint and the features.
        precision: of the experts' arithmetic, ``float32`` or ``float64``.
        device: ``cpu`` or ``cuda``; a CPU runner uses one thread, since runners share the cores.
    """

    def __init__(self, explained: Explained, precision: str, device: str) -> None:
        self.explained, self.device = explained, device
        self.dtype = getattr(torch, precision)
        self.name: str | None = None  # of the device, once everything is open

    def ready(self) -> str:
        """Open everything; answers with the name of the device. Raises as ``Explained.open`` does."""
        if self.name is None:
            torch.set_float32_matmul_precision("highest")  # interactions are of the order 1e-3: no TF32
            if self.device == "cpu":
                torch.set_num_threads(1)
            self.store, model, self.info = self.explained.open()
            self.model = model.to(self.device)
            self.name = device_name(self.device)
        return self.name

    def calibrate(self, job: Job) -> float:
        """Evaluations per second, measured on a job's game with random coalitions."""
        self.ready()
        game = self._game(job)
        rng, count = np.random.default_rng(0), 64
        game(rng.random((count, game.num_players)) < rng.random((count, 1)))  # the first is always slower
        while True:
            masks = rng.random((count, game.num_players)) < rng.random((count, 1))
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
        pairs = job.candidates.pairs[unit.pairs]
        sums = block_sums(
            game,
            pairs,
            game.num_players,
            method=unit.method,
            coalitions=unit.coalitions,
            start=unit.start,
            stop=unit.stop,
            seed=job.seed,
            all_pairs=job.candidates.pairs,
        )
        table = pa.table(sums.columns(), metadata={"device": self.name or self.device})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    def _game(self, job: Job) -> ExpertGame:
        index = self.store.index_of(job.sample_id)
        parts = {m.name: self.store.sequence(index, m.name) for m in self.store.modalities}
        features, valid, special = ({n: torch.tensor(p[i]) for n, p in parts.items()} for i in range(3))
        return ExpertGame.of_sample(
            self.model,
            job.expert_index,
            features,
            special,
            job.candidates.players,
            self._target(job, index),
            valid=valid,
            dtype=self.dtype,
            name=job.name,
        )

    def _target(self, job: Job, index: int) -> torch.Tensor:
        labels = self.store.labels[index]
        if job.target == "predicted":
            batch = self.store.batch([index], self.device, **self.model.reads)
            with torch.no_grad():
                logits = self.model(batch.features, batch.valid).logits_BC
            labels = self.store.task.explained_classes(logits)[0]
        return target_weights(labels, len(self.info.classes)).to(self.device)
