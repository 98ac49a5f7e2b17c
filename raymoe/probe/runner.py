"""Does units: one frozen checkpoint, mapped features, one device. A plain class; Ray makes it an actor."""

from __future__ import annotations

import pyarrow as pa
import torch

from raymoe.errors import ParentError
from raymoe.features.store import FeatureStore
from raymoe.interactions.blocks import block_sums
from raymoe.interactions.game import ExpertGame
from raymoe.models.checkpoint import load_checkpoint
from raymoe.models.target import predicted_classes, target_weights
from raymoe.probe.plan import Unit
from raymoe.workspace import Workspace


class UnitRunner:
    """Holds what all units share. Nothing is opened before ``ready``, so that its errors reach the driver.

    Args:
        workspace: where checkpoint and features lie.
        checkpoint, features: their folders.
        expected: fingerprints of the checkpoint and the features that the plan was made from.
        made_by: the commands that make the features and the checkpoint, for the error messages.
        precision: of the experts' arithmetic, ``float32`` or ``float64``.
        device: ``cpu`` or ``cuda``; a CPU runner uses one thread, since runners share the cores.
    """

    def __init__(
        self,
        workspace: Workspace,
        checkpoint: str,
        features: str,
        expected: dict[str, str],
        made_by: dict[str, str],
        precision: str,
        device: str,
    ) -> None:
        self.workspace, self.checkpoint, self.features = workspace, checkpoint, features
        self.expected, self.made_by, self.device = expected, made_by, device
        self.dtype = getattr(torch, precision)

    def ready(self) -> str:
        """Open everything; answers with the name of the device.

        Raises:
            ParentError: checkpoint or features are missing, or not what the plan was made from.
        """
        torch.set_float32_matmul_precision("highest")  # interactions are of the order 1e-3: no TF32
        if self.device == "cpu":
            torch.set_num_threads(1)
        self.store = FeatureStore.open(self.workspace, self.features, self.made_by["features"])
        model, self.info = load_checkpoint(
            self.workspace,
            self.checkpoint,
            self.made_by["checkpoint"],
            features=self.expected["features"],
        )
        if self.info.fingerprint != self.expected["checkpoint"]:
            raise ParentError(
                f"{self.workspace.path(self.checkpoint)} changed since the probe was planned",
                "Run the probe again.",
            )
        self.model = model.to(self.device)
        return torch.cuda.get_device_name() if self.device == "cuda" else "cpu"

    def run(self, unit: Unit) -> bytes:
        """The unit's running sums, one row per pair, as an Arrow IPC stream.

        Raises:
            RaymoeError: the model's output is not finite; names sample and expert.
        """
        job = unit.job
        index = self.store.index_of(job.sample_id)
        parts = {m.name: self.store.sequence(index, m.name) for m in self.store.modalities}
        features, valid, special = ({n: torch.tensor(p[i]) for n, p in parts.items()} for i in range(3))
        game = ExpertGame.of_sample(
            self.model,
            job.expert_index,
            features,
            special,
            job.candidates.players,
            self._target(job, index),
            valid=valid,
            dtype=self.dtype,
            name=f"sample {job.sample_id}, expert {job.expert}",
        )
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
        table = pa.table(sums.columns())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    def _target(self, job, index: int) -> torch.Tensor:
        labels = self.store.labels[index]
        if job.target == "predicted":
            batch = self.store.batch([index], self.device, **self.model.reads)
            with torch.no_grad():
                logits = self.model(batch.features, batch.valid).logits_BC
            labels = predicted_classes(logits, self.info.task)[0]
        return target_weights(labels, len(self.info.classes)).to(self.device)
