"""The stage ``probe``: importance -> interactions, on as many actors as there are."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

import numpy as np
import pyarrow as pa

from raymoe.errors import ParentError, RaymoeError
from raymoe.features.encode import refuse_other_features
from raymoe.features.parts import read_marker
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.probe.cut import earlier_size, resumable
from raymoe.probe.input_plan import make_input_plan
from raymoe.probe.measuring import Opened, Planned, measure
from raymoe.probe.merge import Notes, write_tables
from raymoe.probe.plan import Plan, Units, make_plan
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import (
    CHECKPOINT,
    FEATURES,
    IMPORTANCE,
    INPUT_INTERACTIONS,
    INTERACTIONS,
    SAMPLES,
)
from raymoe.project.interaction_tables import (
    OLD,
    interactions_complete,
    is_of_earlier_version,
    read_interactions_metadata,
)
from raymoe.project.lock import RunLock
from raymoe.project.outputs import Output, parents_in
from raymoe.project.provenance import Provenance, Skipped
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console
from raymoe.runtime.versions import package_versions


def probe(
    project: Project,
    *,
    address: str | None = None,
    num_actors: int | None = None,
    device: str | None = None,
    gpu_share: float = 1.0,
    overwrite: bool = False,
) -> StageResult:
    """Measure synergy and redundancy gap of every candidate pair of every sample.

    Interrupted, it goes on where it was: finished units are in the run's ``units`` folder. Only one at a time
    works on a run.

    Args:
        project: its ``probe`` section says what to measure.
        address: a Ray cluster; default RAY_ADDRESS, else this machine.
        num_actors: at most so many; default one per GPU, or per core where there is no GPU. More than a
            cluster has room for are waited for while the others work.
        device: ``cpu`` or ``cuda`` to insist on one.
        gpu_share: of a GPU, that one actor takes.
        overwrite: measure again what is already there; a run that was to replace tables of other settings and
            broke off goes on.

    Returns:
        Where the tables are, one per expert; ``skipped`` holds samples without pairs and failed units.

    Raises:
        ParentError: importance, checkpoint and features are missing or don't belong together.
        RaymoeError: the cluster can't do it, or another driver is at it.
        Interrupted: Ctrl-C or SIGTERM; what is finished is kept.
    """
    project = with_experts(project)
    workspace, config = project.workspace, project.preset.probe
    if config.mask == "input":
        refuse_other_features(project)  # the encoders are asked again: they have to be the same
    importance, provenance = parents_of(project)
    if not overwrite and (notes := _finished(project, provenance)):
        return _result(project, provenance, notes, ran=False)

    workspace.check_writable()
    if is_of_earlier_version(tables_of(project)):
        console.print(f"  {OLD} is of an earlier version: it is replaced by one Parquet table per expert")
    plan = plan_of(project, importance, provenance)
    if not len(plan.jobs):
        raise RaymoeError(
            f"no sample has a cross-modal pair: {_why_none(plan.skipped)}",
            "Look at these samples' texts and pictures, or choose another split with --set "
            "attribute.split=NAME.",
        )
    folder = f"{_units(project)}/{provenance.fingerprint}-{config.unit_evaluations or 'auto'}"
    with RunLock(workspace, f"{project.run}/probe.lock") as lock:
        if not overwrite and (notes := _finished(project, provenance)):  # by whoever held the lock before
            return _result(project, provenance, notes, ran=False)
        in_tables = _size_in_tables(project, provenance)
        earlier = earlier_size(workspace, folder) or in_tables
        # Tables of other settings are there until this run is through: if it broke off, it goes on.
        goes_on = in_tables is None and resumable(workspace, folder, plan, provenance.fingerprint)
        if overwrite and not goes_on:
            workspace.remove(folder)
        planned = Planned(project, plan, provenance, folder, lock, earlier)
        with ExitStack() as stack:
            work, failed = measure(
                planned,
                stack,
                address=address,
                num_actors=num_actors,
                device=device,
                gpu_share=gpu_share,
            )
            _check_unchanged(project, provenance)
            notes = _merge(work, failed)
        if not failed:
            workspace.remove(_units(project))  # what other cuts left is of no use either
    return _result(project, provenance, notes, ran=True)


def plan_of(project: Project, importance: pa.Table, provenance: Provenance) -> Plan:
    """All that is to be measured, by the rule of masking that is asked for.

    Args:
        project: with the experts by name (``with_experts``).
        importance, provenance: from ``parents_of``.

    Raises:
        ParentError: the features are not those of the checkpoint.
        InputError: see ``make_plan`` and ``make_input_plan``.
    """
    config, made_by = project.preset.probe, IMPORTANCE.of(project).command
    store = FeatureStore.open(FEATURES.of(project))
    CHECKPOINT.of(project).refuse_other_parents(provenance.parents, {"features": store.fingerprint})
    if config.mask == "input":
        modalities = project.preset.data.modalities
        return make_input_plan(store, importance, SAMPLES.of(project), modalities, config, made_by=made_by)
    experts = read_info(CHECKPOINT.of(project)).experts
    return make_plan(store, importance, experts, config, made_by=made_by)


def tables_of(project: Project) -> Output:
    """The tables of the rule of masking that is asked for; those of the other stay beside them."""
    artifact = INPUT_INTERACTIONS if project.preset.probe.mask == "input" else INTERACTIONS
    return artifact.of(project)


def _units(project: Project) -> str:
    """The folder of the answers."""
    inner = "input/units" if project.preset.probe.mask == "input" else "units"
    return f"{project.run}/{inner}"


def _merge(work: Opened, failed: dict[str, str]) -> Notes:
    """Write the tables; returns their metadata.

    Raises:
        ParentError: an answer is missing or damaged; those units are done again by the next run.
        RaymoeError: every job has a failed unit.
    """
    project, units = work.planned.project, work.units
    work.files.flush()
    numbers = {int(key) for key in failed}
    missing = np.flatnonzero(~work.files.done)
    lost = [int(number) for number in missing if int(number) not in numbers]
    if lost:
        raise ParentError(
            f"{len(lost)} finished units were damaged ({', '.join(work.files.removed[:3])})",
            "Run the same command again: only these are done again.",
        )
    named = {key: _named(units, int(key), reason) for key, reason in sorted(failed.items())}
    for key, reason in list(named.items())[:10]:
        console.print(f"  unit {key} failed: {reason}")
    if len(named) > 10:
        console.print(f"  ... and {len(named) - 10} more, all in the tables' metadata raymoe.failed")
    if failed and len({units.job_of(number) for number in numbers}) == len(units.plan.jobs):
        raise RaymoeError(
            f"no sample could be measured, the first because: {next(iter(named.values()))}",
            "Mend that, then run the same command again: what is finished is kept.",
        )
    notes: Notes = {
        "skipped": units.plan.skipped,
        "failed": named,
        "experts": list(units.plan.config.experts),
        "plan": work.cut.plan,
        "unit_evaluations": units.unit_evaluations,
        "devices": work.cut.devices,
        "versions": package_versions(),
    }
    write_tables(tables_of(project), units, work.files, numbers, work.planned.provenance, notes)
    return notes


def _why_none(skipped: list[Skipped]) -> str:
    """Why samples were left out, each reason once with how many it is of."""
    reasons = Counter(entry["reason"] for entry in skipped)
    return ", ".join(f"{count} have {why}" for why, count in reasons.items()) or "none was attributed"


def _named(units: Units, number: int, reason: str) -> str:
    """Why a unit failed, with its sample and expert."""
    name = units.plan.jobs[units.job_of(number)].name
    return reason if reason.startswith(name) else f"{name}: {reason}"


def with_experts(project: Project) -> Project:
    """The project with ``probe.experts`` by the names of the model's experts.

    Raises:
        ParentError: there is no checkpoint.
        InputError: see ``ProbeConfig.experts_among``.
    """
    experts = project.preset.probe.experts_among(read_info(CHECKPOINT.of(project)).experts)
    if experts == project.preset.probe.experts:
        return project
    return replace(project, preset=project.preset.with_fields({"probe.experts": list(experts)}))


def parents_of(project: Project) -> tuple[pa.Table, Provenance]:
    """The importance table, and what the probe's tables will be made from.

    Raises:
        ParentError: parents are missing or don't belong together.
    """
    info = read_info(CHECKPOINT.of(project))
    importance = IMPORTANCE.of(project).read()
    metadata = metadata_of(importance.schema)
    IMPORTANCE.of(project).refuse_other_parents(parents_in(metadata), {"checkpoint": info.fingerprint})
    settings = project.preset.probe.defining()
    parents = {
        "features": info.features,
        "checkpoint": info.fingerprint,
        "importance": metadata["fingerprint"],
    }
    if project.preset.probe.mask == "input" and (samples := SAMPLES.of(project)).exists():
        parents["samples"] = samples.metadata()["fingerprint"]
    return importance, tables_of(project).made_from(settings, parents)


def _finished(project: Project, provenance: Provenance) -> Notes | None:
    """What the tables say of themselves where they are all there and no unit failed; those are tried again.

    Raises:
        ParentError: a table is damaged or was made from other inputs.
    """
    interactions = tables_of(project)
    if not interactions_complete(interactions, project.preset.probe.experts, provenance):
        return None
    notes = read_interactions_metadata(interactions)
    return None if notes["failed"] else cast(Notes, notes)


def _size_in_tables(project: Project, provenance: Provenance) -> int | None:
    """Size of a unit of the tables that are there, if they are of the same plan."""
    try:
        notes = read_interactions_metadata(tables_of(project))
    except ParentError:
        return None
    return notes.get("unit_evaluations") if notes.get("fingerprint") == provenance.fingerprint else None


def _check_unchanged(project: Project, provenance: Provenance) -> None:
    """Raise if a parent is no longer what the plan was made from: the tables would belong to nothing."""
    marker = read_marker(FEATURES.of(project))
    now = {
        FEATURES: marker.fingerprint if marker else None,
        CHECKPOINT: read_info(CHECKPOINT.of(project)).fingerprint,
        IMPORTANCE: IMPORTANCE.of(project).metadata()["fingerprint"],
    }
    remedy = (
        "What was measured belongs to what was there before. Probe what is there now with: "
        f"{project.command('probe')}"
    )
    if "samples" in provenance.parents:
        now[SAMPLES] = SAMPLES.of(project).metadata()["fingerprint"]
    for artifact, fingerprint in now.items():
        artifact.of(project).refuse_changed(provenance.parents[artifact.name], fingerprint, remedy)


def _result(project: Project, provenance: Provenance, notes: Notes, *, ran: bool) -> StageResult:
    failed = [Skipped(sample_id=f"unit {key}", reason=reason) for key, reason in notes["failed"].items()]
    return StageResult(
        tables_of(project).path,
        provenance.fingerprint,
        ran,
        (*notes["skipped"], *failed),
    )
