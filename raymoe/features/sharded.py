"""Parts of the feature store made by Ray actors: one per GPU, or per node where there is none.

An actor holds the encoders and writes the parts it makes; the driver hears only what the marker needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from raymoe.actors.fleet import open_fleet
from raymoe.actors.pool import run_units
from raymoe.config import ModalityConfig
from raymoe.config.paths import expanded
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import InputError, RaymoeError
from raymoe.features.files import is_folder
from raymoe.features.lookup import encoder_identity
from raymoe.features.parts import Part, commit_part
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES, SAMPLES
from raymoe.project.outputs import Output
from raymoe.project.provenance import Provenance
from raymoe.runtime.progress import console

if TYPE_CHECKING:  # it imports torch
    from raymoe.features.batches import PartEncoder


def encode_on_actors(
    project: Project,
    provenance: Provenance,
    todo: dict[int, tuple[int, int]],
    advance: Callable[[int], None],
    overwrite: bool,
    *,
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
        address, num_actors, device: see ``encode``.

    Raises:
        RaymoeError: the first thing that goes wrong in an actor, or the cluster can't do it.
    """
    modalities = tuple(map(_absolute, project.preset.data.modalities))
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

    with open_fleet(
        PartRunner,
        (SAMPLES.of(project), FEATURES.of(project), modalities, provenance),
        address=address,
        num_actors=num_actors,
        device=device,
        per="node",
        most=len(todo),
        together=True,
    ) as fleet:
        console.print(f"  {len(todo)} parts on {fleet.fitting()} x {fleet.shape.device}")
        outcome = run_units(units(), fleet, finished, total=len(todo), name="encode")
    for remark in outcome.remarks:
        console.print(f"  {remark}")
    outcome.raise_if_failed(
        len(todo),
        "parts could not be encoded",
        "Mend that, then run the same command again: finished parts are kept.",
    )
    return made


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
        device: str,
        threads: int | None,
    ) -> None:
        self.samples, self.features, self.modalities = samples, features, modalities
        self.provenance, self.device, self.threads = provenance, device, threads

    def ready(self) -> str:
        """Open the samples and load the encoders; answers with the device. Raises as ``opened`` does."""
        _ = self.opened
        return self.device

    @cached_property
    def opened(self) -> tuple[SamplesFile, PartEncoder]:
        """The samples and the encoders, opened once.

        Raises:
            ParentError: the samples are missing here or changed.
            InputError: an encoder can't be had here, or is another one than the driver's.
        """
        import torch

        from raymoe.features.batches import PartEncoder

        if self.threads:
            torch.set_num_threads(self.threads)
        table = SamplesFile(self.samples)
        self.samples.refuse_changed(self.provenance.parents["samples"], table.metadata["fingerprint"])
        identities = cast(dict[str, dict[str, object]], self.provenance.config["modalities"])
        for m in self.modalities:
            if encoder_identity(m.kind, m.encoder) != identities[m.name]:
                raise InputError(
                    f"{m.encoder.source} has other files on this node than where raymoe was started",
                    "Give every node the same copy, for instance in a folder that all of them reach.",
                )
        return table, PartEncoder(self.modalities, self.device)

    def run(self, unit: PartUnit) -> bytes:
        """Make and write a part: what the marker needs as JSON, or the error's message and remedy.

        Errors that the user can mend would come with every part, so the driver stops at the first.
        """
        span = unit.start, unit.stop
        try:
            table, encoder = self.opened
            (found,) = encoder.parts([(unit.index, table.rows(*span))])
            where = self.features.workspace, self.features.name
            part = commit_part(*where, found, span, encoder.infos, self.provenance)
        except RaymoeError as error:
            return json.dumps({"error": [error.message, error.remedy]}).encode()
        return part.to_json()


def _absolute(modality: ModalityConfig) -> ModalityConfig:
    """A folder's path as it is from anywhere: actors need not be where the driver is."""
    name = modality.encoder.source.removeprefix("hf:")
    if modality.encoder.source == name or not is_folder(name):
        return modality
    source = f"hf:{expanded(name).resolve()}"
    return modality.model_copy(update={"encoder": modality.encoder.model_copy(update={"source": source})})
