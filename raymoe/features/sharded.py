"""Parts of the feature store made by Ray actors: one per GPU, or per node where there is none.

An actor holds the encoders and writes the parts it makes; the driver hears only what the marker needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from raymoe.actors.cluster import ActorShape, connected, node_resources
from raymoe.config import ModalityConfig
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import InputError, ParentError, RaymoeError
from raymoe.features.encoder import encoder_identity
from raymoe.features.parts import Part, commit_part
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES, SAMPLES, Output
from raymoe.project.provenance import Provenance
from raymoe.runtime.progress import console

GPU_CORES = 8  # at most so many cores decode and scale for one GPU


def encode_on_actors(
    project: Project,
    provenance: Provenance,
    todo: dict[int, tuple[int, int]],
    advance: Callable[[int], None],
    overwrite: bool,
    address: str | None,
    num_actors: int | None,
    device: str | None,
) -> list[Part]:
    """Have parts made and committed by actors.

    Args:
        project, provenance: what is made from what.
        todo: index and rows of the parts to make.
        advance: told how many items are done.
        overwrite: remove what is there, once the actors are ready.
        address, num_actors, device: as of ``encode``.

    Raises:
        RaymoeError: the first thing that goes wrong in an actor, or the cluster can't do it.
    """
    modalities = tuple(map(_absolute, project.preset.data.modalities))
    with connected(address) as ray:
        from raymoe.actors.pool import run_units

        nodes = node_resources(ray)
        shape = encoder_shape(nodes, min(num_actors or len(todo), len(todo)), device, share=bool(num_actors))
        console.print(f"  {len(todo)} parts on {shape.count} x {shape.device}")
        make = ray.remote(
            num_cpus=shape.num_cpus,
            num_gpus=shape.num_gpus,
            max_restarts=-1,
            max_task_retries=0,
            # Threads that spin while they wait stand still beside any other busy process.
            runtime_env={"env_vars": {"OMP_WAIT_POLICY": "PASSIVE"}},
        )(PartRunner)
        what = (SAMPLES.of(project), FEATURES.of(project), modalities, provenance, shape)
        actors = [make.remote(*what) for _ in range(shape.count)]
        made: list[Part] = []

        def finished(unit: PartUnit, answer: bytes) -> None:
            found = json.loads(answer)
            if "error" in found:
                raise RaymoeError(*found["error"])
            made.append(Part.from_json(answer))
            advance((unit.stop - unit.start) * len(modalities))

        def units() -> Iterator[PartUnit]:  # begun when all actors are ready
            if overwrite:
                FEATURES.of(project).remove()
            for index, span in todo.items():
                yield PartUnit(index, *span)

        outcome = run_units(units(), actors, finished)
    if outcome.failed:
        key, reason = next(iter(outcome.failed.items()))
        raise RaymoeError(
            f"{len(outcome.failed)} of {len(todo)} parts could not be encoded, the first ({key}) because: "
            f"{reason}",
            "Mend that, then run the same command again: finished parts are kept.",
        )
    return made


def encoder_shape(
    nodes: list[dict[str, float]], asked: int, device: str | None = None, *, share: bool = False
) -> ActorShape:
    """How many actors, and what each holds. Encoders are large, so a node without a GPU gets one.

    Args:
        nodes: the resources of each node, as Ray counts.
        asked: so many actors at most.
        device: ``cpu`` or ``cuda`` to insist on one.
        share: as many as asked for, also where several then have to share a GPU or a node.

    Raises:
        RaymoeError: GPUs were asked for and there are none.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    if device == "cuda" and not with_gpus:
        raise RaymoeError(
            "--device cuda, but the cluster has no GPU", "Leave --device out, or add a GPU node."
        )
    if with_gpus and device != "cpu":
        per_slot = [(node.get("CPU", 1) / int(node["GPU"])) for node in with_gpus]
        slots, cores, most = sum(int(node["GPU"]) for node in with_gpus), min(*per_slot, GPU_CORES), math.inf
    else:
        with_cores = [node["CPU"] for node in nodes if node.get("CPU", 0) >= 1] or [1]
        slots, cores, most = len(with_cores), min(with_cores), sum(map(int, with_cores))
    count = int(min(asked, most if share else slots))
    together = math.ceil(count / slots)
    each = cores / together
    num_gpus = 0 if device == "cpu" or not with_gpus else 1 if together == 1 else 1 / together
    return ActorShape(count, int(each) if each >= 1 else each, num_gpus)


@dataclass(frozen=True)
class PartUnit:
    """One part to make: rows ``start`` to ``stop`` of the samples table."""

    index: int
    start: int
    stop: int

    @property
    def key(self) -> str:
        """Its name in messages."""
        return f"part {self.index}"


class PartRunner:
    """Makes parts on one device. A plain class; Ray makes it an actor.

    Nothing is opened before ``ready``, so that its errors reach the driver.
    """

    def __init__(
        self,
        samples: Output,
        features: Output,
        modalities: tuple[ModalityConfig, ...],
        provenance: Provenance,
        shape: ActorShape,
    ) -> None:
        self.samples, self.features = samples, features
        self.modalities, self.provenance, self.shape = modalities, provenance, shape

    def ready(self) -> str:
        """Open the samples and load the encoders; answers with the device.

        Raises:
            ParentError: the samples are missing here or changed.
            InputError: an encoder can't be had here, or is another one than the driver's.
        """
        import torch

        from raymoe.features.batches import PartEncoder

        if self.shape.num_cpus >= 1:
            torch.set_num_threads(int(self.shape.num_cpus))
        self.table = SamplesFile(self.samples)
        if self.table.metadata["fingerprint"] != self.provenance.parents["samples"]:
            raise ParentError(f"{self.samples.path} changed since encoding began", "Run it again.")
        for m in self.modalities:
            if encoder_identity(m.kind, m.encoder) != self.provenance.config["modalities"][m.name]:
                raise InputError(
                    f"{m.encoder.source} has other files on this node than where raymoe was started",
                    "Give every node the same copy, for instance in a folder that all of them reach.",
                )
        self.encoder = PartEncoder(self.modalities, self.shape.device)
        return self.shape.device

    def run(self, unit: PartUnit) -> bytes:
        """Make and write a part: what the marker needs as JSON, or the error's message and remedy.

        Errors that the user can mend would come with every part, so the driver stops at the first.
        """
        span = unit.start, unit.stop
        try:
            (found,) = self.encoder.parts([(unit.index, self.table.rows(*span))])
            infos = self.encoder.infos
            where = self.features.workspace, self.features.name
            part = commit_part(*where, found, span, infos, self.provenance)
        except RaymoeError as error:
            return json.dumps({"error": [error.message, error.remedy]}).encode()
        return part.to_json()


def _absolute(modality: ModalityConfig) -> ModalityConfig:
    """A folder's path as it is from anywhere: actors need not be where the driver is."""
    name = modality.encoder.source.removeprefix("hf:")
    if modality.encoder.source == name or not Path(name).expanduser().is_dir():
        return modality
    source = f"hf:{Path(name).expanduser().resolve()}"
    return modality.model_copy(update={"encoder": modality.encoder.model_copy(update={"source": source})})
