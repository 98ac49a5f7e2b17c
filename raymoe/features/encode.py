"""Samples table -> feature store: each sample goes once through the frozen encoders.

Parts are committed one by one, so that an interrupted run goes on where it was; a part that is there and
whole is not made again. They are made in this process, or by Ray actors where there are several GPUs or a
cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from raymoe.actors.cluster import address_of
from raymoe.data.prepare import refuse_other_settings
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import ParentError
from raymoe.features.lookup import encoder_identity
from raymoe.features.parts import (
    MARKER,
    WITH_SPANS,
    Marker,
    Part,
    commit_part,
    longest,
    modality_infos,
    part_name,
    read_marker,
    read_part,
    write_marker,
)
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES, SAMPLES
from raymoe.project.contracts import FEATURES_WITH_SPANS
from raymoe.project.lock import RunLock
from raymoe.project.provenance import Provenance
from raymoe.runtime.device import resolve_device, several_gpus
from raymoe.runtime.progress import console, track

PART_ROWS = 256


def encode(
    project: Project,
    *,
    address: str | None = None,
    num_actors: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> StageResult:
    """Fill the feature store.

    Args:
        project: its samples table is the parent.
        address: a Ray cluster to encode on; default RAY_ADDRESS. Without either, actors are used only where
            this machine has several GPUs, or ``num_actors`` asks to share one: on a CPU the threads of one
            process do as much with one copy of the encoders.
        num_actors: so many actors; default one per GPU, or per node where there is none. More actors than
            GPUs share them.
        device: where the encoders run; by default a GPU if there is one.
        overwrite: make everything again.

    Raises:
        ParentError: the samples table is missing or stale, or the store was made from something else.
        InputError: an encoder can't be had, or gives values that aren't finite.
        RaymoeError: the memory is full, the cluster can't do it, or another process is at it.
    """
    workspace, features = project.workspace, FEATURES.of(project)
    samples = SamplesFile(SAMPLES.of(project))
    provenance = _provenance(project, samples)
    modalities = project.preset.data.modalities
    marker = None if overwrite else _marker(project, provenance)

    ranges = [(s, min(s + PART_ROWS, len(samples))) for s in range(0, len(samples), PART_ROWS)]
    done: dict[int, Part] = {}
    if marker:
        there = replace(provenance, contract=marker.metadata["schema"])
        done = _whole_parts(project, ranges, there)
        if len(done) == len(ranges):
            return StageResult(features.path, there.fingerprint, ran=False, skipped=marker.skipped)
    if not overwrite:
        done = _whole_parts(project, ranges, provenance)

    workspace.check_writable()
    todo = {i: rows for i, rows in enumerate(ranges) if i not in done}
    if todo:
        items = sum(stop - start for start, stop in todo.values()) * len(modalities)
        with (
            RunLock(workspace, f"{project.root}/encode.lock", "these features"),
            track(f"encode {' and '.join(m.name for m in modalities)}", items) as task,
        ):
            if address_of(address) or _shares_work(num_actors, device):
                from raymoe.features.sharded import encode_on_actors

                made: Iterable[Part] = encode_on_actors(
                    project,
                    provenance,
                    todo,
                    task.advance,
                    overwrite,
                    address=address,
                    num_actors=num_actors,
                    device=device,
                )
            else:
                made = _encode_here(project, provenance, samples, todo, task.advance, overwrite, device)
            done |= {part.index: part for part in made}
        _give_memory_back()
    parts = [done[i] for i in range(len(ranges))]
    skipped = [s for part in parts for s in part.skipped]
    cut = {m.name: sum(p.cut.get(m.name, 0) for p in parts) for m in modalities if m.kind == "text"}
    write_marker(
        workspace,
        features.name,
        provenance,
        longest(parts),
        [part.rows for part in parts],
        classes=samples.metadata["classes"],
        task=samples.metadata["task"],
        skipped=skipped,
        cut=cut,
    )
    for m in modalities:
        limit = next(info.max_length for info in parts[0].modalities if info.name == m.name)
        asked = m.encoder.max_length if "max_length" in m.encoder.model_fields_set else 0
        if m.kind == "text" and asked - m.encoder.drop_cls > limit:
            console.print(f"  {m.name}: max_length is {asked}, but its encoder has {limit} positions")
        if cut.get(m.name):
            console.print(f"  {m.name}: {cut[m.name]} texts were longer than {limit} tokens and cut")
    return StageResult(features.path, provenance.fingerprint, ran=True, skipped=tuple(skipped))


def refuse_other_features(project: Project) -> None:
    """Refuse features that are not those of the settings: for what reads them without the stages before it.

    Features or samples that are missing are no error here: they are missed where they are read.

    Raises:
        ParentError: they were made with other settings, or from other samples; names what differs.
        InputError: an encoder can't be had.
    """
    samples, marker = SAMPLES.of(project), f"{FEATURES.of(project).name}/{MARKER}"
    if samples.exists() and project.workspace.exists(marker):
        _marker(project, _provenance(project, SamplesFile(samples)))


def _provenance(project: Project, samples: SamplesFile) -> Provenance:
    """What the features are made from, if the samples are those of the settings."""
    refuse_other_settings(project, samples.metadata)
    modalities = project.preset.data.modalities
    made = FEATURES.of(project).made_from(
        {"modalities": {m.name: encoder_identity(m.kind, m.encoder) for m in modalities}},
        {"samples": samples.metadata["fingerprint"]},
    )
    if any(m.kind in WITH_SPANS for m in modalities):
        return replace(made, contract=FEATURES_WITH_SPANS.tag)
    return made


def _marker(project: Project, provenance: Provenance) -> Marker | None:
    """What the finished store says of itself, if there is one; refuses one made from something else.

    One of an older version is as good: its features are the same, only its texts have no spans.
    """
    features = FEATURES.of(project)
    marker = read_marker(features)
    if marker:
        features.refuse_other_inputs(marker.metadata, replace(provenance, contract=marker.metadata["schema"]))
    return marker


def _give_memory_back() -> None:
    """Free the GPU's memory for the stages that come next in other processes."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _shares_work(num_actors: int | None, device: str | None) -> bool:
    """Whether actors on this machine would use what one process can't."""
    if device == "cpu" or num_actors == 1:
        return False
    import torch

    return several_gpus(device) or (torch.cuda.is_available() and num_actors is not None)


def _encode_here(
    project: Project,
    provenance: Provenance,
    samples: SamplesFile,
    todo: dict[int, tuple[int, int]],
    advance: Callable[[int], None],
    overwrite: bool,
    device: str | None,
) -> Iterator[Part]:
    """Make and commit parts in this process."""
    from raymoe.features.batches import PartEncoder

    encoder = PartEncoder(project.preset.data.modalities, resolve_device(device))
    if overwrite:  # not before everything needed to make it again is there
        FEATURES.of(project).remove()
    tables = ((i, samples.rows(*span)) for i, span in todo.items())
    where = project.workspace, FEATURES.of(project).name
    for found in encoder.parts(tables, advance):
        yield commit_part(*where, found, todo[found.index], encoder.infos, provenance)


def _whole_parts(project: Project, ranges: list[tuple[int, int]], provenance: Provenance) -> dict[int, Part]:
    """The parts that are there, whole and made from the same, by their index."""
    found = ((i, _whole_part(project, i, rows, provenance)) for i, rows in enumerate(ranges))
    return {i: part for i, part in found if part}


def _whole_part(project: Project, index: int, span: tuple[int, int], provenance: Provenance) -> Part | None:
    """A part that is there, whole and made from the same; anything else is made again."""
    name = part_name(FEATURES.of(project).name, index)
    try:
        batches, metadata = read_part(project.workspace, name, provenance.fingerprint)
    except ParentError:
        return None
    count = sum(b.num_rows for b in batches)
    if metadata["rows"] != list(span) or count + len(metadata["skipped"]) != span[1] - span[0]:
        return None
    infos = modality_infos(metadata["modalities"])
    return Part(index, count, infos, metadata["skipped"], metadata["cut"])
