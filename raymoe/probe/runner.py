"""Does units: one frozen checkpoint, mapped features, one device. A plain class; Ray makes it an actor."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from raymoe.errors import RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.interactions.estimators import block_sums
from raymoe.interactions.game import ExpertGame
from raymoe.models.checkpoint import load_checkpoint
from raymoe.models.target import predicted_classes, target_weights
from raymoe.probe.plan import Unit
from raymoe.workspace import Workspace


class UnitRunner:
    """Holds what all units share.

    Args:
        workspace: where checkpoint and features lie.
        checkpoint, features: their folders.
        expected: fingerprints of the checkpoint and the features that the plan was made from.
        device: ``cpu`` or ``cuda``; a CPU runner uses one thread, since runners share the cores.

    Raises:
        ParentError: they are not what the plan was made from.
    """

    def __init__(
        self, workspace: Workspace, checkpoint: str, features: str, expected: dict[str, str], device: str
    ) -> None:
        torch.set_float32_matmul_precision("highest")  # interactions are of the order 1e-3: no TF32
        if device == "cpu":
            torch.set_num_threads(1)
        made_by = "raymoe train"
        self.store = FeatureStore.open(workspace, features, made_by="raymoe encode")
        model, info = load_checkpoint(workspace, checkpoint, made_by, features=expected["features"])
        if info.fingerprint != expected["checkpoint"]:
            raise RaymoeError(
                f"{workspace.path(checkpoint)} changed since the probe was planned", "Run the probe again."
            )
        self.model, self.info, self.device = model.to(device), info, device

    def ready(self) -> str:
        """Answers once the runner can work: the name of its device."""
        return torch.cuda.get_device_name() if self.device == "cuda" else "cpu"

    def run(self, unit: Unit) -> bytes:
        """The unit's running sums, one row per pair, as an Arrow IPC stream.

        Raises:
            RaymoeError: the model's output is not finite; names sample and expert.
        """
        job = unit.job
        index = self.store.index_of(job.sample_id)
        features, special = {}, {}
        for modality in self.store.modalities:
            x_TD, _, special_T = self.store.sequence(index, modality.name)
            features[modality.name] = torch.from_numpy(np.array(x_TD))
            special[modality.name] = torch.from_numpy(np.array(special_T))
        game = ExpertGame.of_sample(
            self.model, job.expert_index, features, special, job.candidates.players, self._target(job, index)
        )
        pairs = job.candidates.pairs[unit.pairs]
        try:
            sums = block_sums(
                game,
                pairs,
                game.num_players,
                method=unit.method,
                total=unit.total,
                start=unit.start,
                stop=unit.stop,
                seed=job.seed,
            )
        except RaymoeError as error:
            raise RaymoeError(
                f"sample {job.sample_id}, expert {job.expert}: {error.message}", error.remedy
            ) from None
        table = pa.table(sums.columns())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    def _target(self, job, index: int) -> torch.Tensor:
        labels = self.store.labels[index]
        if job.target == "predicted":
            batch = self.store.batch(np.array([index])).to(self.device)
            with torch.no_grad():
                logits = self.model(batch.features, batch.valid).logits_BC
            labels = predicted_classes(logits, self.info.task)[0]
        return target_weights(labels, len(self.info.classes)).to(self.device)
