"""The stage ``probe``: importance -> interactions, on as many actors as there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from raymoe.actors.cluster import connected
from raymoe.actors.fleet import Fleet
from raymoe.actors.pool import first_actor, own_error, run_units
from raymoe.errors import ParentError, RaymoeError
from raymoe.features.parts import read_marker
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.models.explained import Explained
from raymoe.probe.commit import UnitFiles
from raymoe.probe.cut import earlier_size, open_cut, resumable, save_cut
from raymoe.probe.lock import RunLock
from raymoe.probe.merge import write_tables
from raymoe.probe.plan import Plan, Unit, Units, make_plan
from raymoe.probe.runner import UnitRunner
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE, INTERACTIONS, parents_in
from raymoe.project.interaction_tables import (
    OLD,
    interactions_complete,
    is_of_earlier_version,
    read_interactions_metadata,
)
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console, track
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
    workspace, config = project.workspace, project.preset.probe
    importance, provenance = parents_of(project)
    if not overwrite and (notes := _finished(project, provenance)):
        return _result(project, provenance, notes, ran=False)

    workspace.check_writable()
    if is_of_earlier_version(INTERACTIONS.of(project)):
        console.print(f"  {OLD} is of an earlier version: it is replaced by one Parquet table per expert")
    store = FeatureStore.open(FEATURES.of(project))
    CHECKPOINT.of(project).refuse_other_parents(provenance.parents, {"features": store.fingerprint})
    experts = read_info(CHECKPOINT.of(project)).experts
    plan = make_plan(store, importance, experts, config)
    if not len(plan.jobs):
        raise RaymoeError(
            f"no sample has a cross-modal pair ({len(plan.skipped)} skipped)",
            "Raise probe.rho or probe.min_features, or look at the samples' texts.",
        )
    folder = f"{project.run}/units/{provenance.fingerprint}-{config.unit_evaluations or 'auto'}"
    with RunLock(workspace, f"{project.run}/probe.lock") as lock:
        if not overwrite and (notes := _finished(project, provenance)):  # by whoever held the lock before
            return _result(project, provenance, notes, ran=False)
        in_tables = _size_in_tables(project, provenance)
        earlier = earlier_size(workspace, folder) or in_tables
        # Tables of other settings are there until this run is through: if it broke off, it goes on.
        goes_on = in_tables is None and resumable(workspace, folder, plan, provenance.fingerprint)
        if overwrite and not goes_on:
            workspace.remove(folder)
        work = Work(project, plan, provenance, folder, lock, earlier)
        with ExitStack() as stack:
            failed = _run(work, stack, address, num_actors, device, gpu_share)
            _check_unchanged(project, provenance)
            notes = _merge(work, failed)
        if not failed:
            workspace.remove(f"{project.run}/units")  # what other cuts left is of no use either
    return _result(project, provenance, notes, ran=True)


@dataclass
class Work:
    """A run's plan and where its answers go; ``units``, ``cut`` and ``files`` are there once it is opened.

    ``earlier`` is the size of a unit in an earlier run of the plan, None where there was none.
    """

    project: Project
    plan: Plan
    provenance: Provenance
    folder: str
    lock: RunLock
    earlier: int | None = None

    def open(self, stack: ExitStack, measure: Callable[[], float | None]) -> bool:
        """Decide on the cut and look at what is there. Whether anything is left to do.

        Args:
            stack: closes the files.
            measure: evaluations per second of an actor, where nobody has decided on the cut yet.
        """
        again = f"{self.project.command('probe')} --overwrite"
        asked = self.plan.config.unit_evaluations
        self.units, self.cut = open_cut(
            self.project.workspace,
            self.folder,
            self.plan,
            self.provenance.fingerprint,
            asked,
            measure,
            again,
            self.earlier,
        )
        self.files = stack.enter_context(UnitFiles(self.project.workspace, self.folder, len(self.units)))
        self.begun_with = int(self.files.done.sum())
        self.left = len(self.units) - self.begun_with
        self.evaluations = self.units.evaluations(self.files.done)
        return self.left > 0

    @property
    def is_cut(self) -> bool:
        """Whether the size of a unit is known without measuring."""
        config = self.plan.config
        return bool(config.unit_evaluations) or self.project.workspace.exists(f"{self.folder}/plan.json")

    def describe(self, actors: int, device: str) -> str:
        """What there is to do, before it starts."""
        text = (
            f"  {len(self.plan.jobs):,} sample-expert pairs, {len(self.units):,} units of about "
            f"{self.units.unit_evaluations:,} evaluations, {self.begun_with:,} already done; "
            f"{self.evaluations:,} evaluations to go on {actors} x {device}"
        )
        if self.cut.rate:
            text += f", about {_duration(self.evaluations / self.cut.rate / actors)}"
        return text

    def commit(self, unit: Unit, answer: bytes) -> None:
        """Store an answer.

        Raises:
            RaymoeError: the workspace is full or gone, or another driver has taken over.
        """
        self.lock.check()
        name = (pa.ipc.open_stream(answer).schema.metadata or {}).get(b"device", b"unknown").decode()
        if self.cut.note_device(name):
            save_cut(self.project.workspace, self.folder, self.cut)
        self.files.commit(unit.number, answer)


def _run(
    work: Work,
    stack: ExitStack,
    address: str | None,
    num_actors: int | None,
    device: str | None,
    gpu_share: float,
) -> dict[str, str]:
    """Do the units that are not committed yet; returns the failed ones and why."""
    is_cut = work.is_cut
    if is_cut and not work.open(stack, lambda: None):
        return {}
    arguments = runner_arguments(work.project, work.provenance)
    waits = bool(address or os.environ.get("RAY_ADDRESS"))  # for machines that an autoscaler adds
    with connected(address):
        fleet = Fleet(
            UnitRunner,
            lambda kind: (*arguments, kind),
            asked=num_actors,
            device=device,
            gpu_share=gpu_share,
            most=work.left if is_cut else None,
            queue=waits,
        )
        if not is_cut:
            work.open(stack, lambda: measured_rate(fleet, work.plan))
            fleet.most = work.left
        console.print(work.describe(max(fleet.fitting(), 1), fleet.shape.device))
        if shortage := fleet.shortage():
            console.print(f"  {shortage}")
        with track("probe", work.left) as task:

            def finished(unit: Unit, answer: bytes) -> None:
                work.commit(unit, answer)
                task.advance()

            outcome = run_units(
                work.units.left(work.files.done),
                fleet,
                finished,
                total=work.left,
                evaluations=work.evaluations,
                on_tick=lambda tick: task.advance(0, tick.line),
                name="probe",
            )
    for actor, reason in outcome.refused.items():
        console.print(f"  {actor} was left out: {reason}", markup=False)
    if outcome.deaths:
        console.print(f"  {outcome.deaths} actor deaths survived")
    return outcome.failed


def runner_arguments(project: Project, provenance: Provenance) -> tuple[Explained, str]:
    """What a ``UnitRunner`` needs to know, but for its device."""
    return Explained.of(project, provenance.parents), project.preset.probe.precision


def measured_rate(fleet: Fleet, plan: Plan) -> float | None:
    """Evaluations per second of the fleet's first actor, on a typical job of the plan.

    None where it died or the model failed on that job: if that is so of all units, the ledger will say it.

    Raises:
        RaymoeError: no actor finds a place, or can load what it needs.
        Interrupted: Ctrl-C or SIGTERM.
    """
    actor = first_actor(fleet)
    try:
        return ray.get(actor.calibrate.remote(plan.typical_job()))
    except ray.exceptions.RayError as error:
        console.print(f"  can't measure how fast an actor is: {own_error(error).message}", markup=False)
        return None


def _merge(work: Work, failed: dict[str, str]) -> dict[str, Any]:
    """Write the tables; returns their metadata.

    Raises:
        ParentError: an answer is missing or damaged; those units are done again by the next run.
        RaymoeError: every job has a failed unit.
    """
    project, units = work.project, work.units
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
        console.print(f"  unit {key} failed: {reason}", markup=False)
    if len(named) > 10:
        console.print(f"  ... and {len(named) - 10} more, all in the tables' metadata raymoe.failed")
    if failed and len({units.job_of(number) for number in numbers}) == len(work.plan.jobs):
        raise RaymoeError(
            f"no sample could be measured, the first because: {next(iter(named.values()))}",
            "Mend that, then run the same command again: what is finished is kept.",
        )
    notes = {
        "skipped": work.plan.skipped,
        "failed": named,
        "experts": list(work.plan.config.experts),
        "plan": work.cut.plan,
        "unit_evaluations": units.unit_evaluations,
        "devices": work.cut.devices,
        "versions": package_versions(),
    }
    write_tables(INTERACTIONS.of(project), units, work.files, numbers, work.provenance, notes)
    return notes


def _named(units: Units, number: int, reason: str) -> str:
    """Why a unit failed, with its sample and expert."""
    name = units.plan.jobs[units.job_of(number)].name
    return reason if reason.startswith(name) else f"{name}: {reason}"


def parents_of(project: Project) -> tuple[pa.Table, Provenance]:
    """The importance table, and what the probe's tables will be made from.

    Raises:
        ParentError: parents are missing or don't belong together.
    """
    info = read_info(CHECKPOINT.of(project))
    importance = IMPORTANCE.of(project).read()
    metadata = metadata_of(importance.schema)
    IMPORTANCE.of(project).refuse_other_parents(parents_in(metadata), {"checkpoint": info.fingerprint})
    settings = project.preset.probe.model_dump(mode="json", exclude={"unit_evaluations"})
    parents = {
        "features": info.features,
        "checkpoint": info.fingerprint,
        "importance": metadata["fingerprint"],
    }
    return importance, INTERACTIONS.of(project).made_from(settings, parents)


def _finished(project: Project, provenance: Provenance) -> dict[str, Any] | None:
    """What the tables say of themselves where they are all there and no unit failed; those are tried again.

    Raises:
        ParentError: a table is damaged or was made from other inputs.
    """
    interactions = INTERACTIONS.of(project)
    if not interactions_complete(interactions, project.preset.probe.experts, provenance):
        return None
    notes = read_interactions_metadata(interactions)
    return None if notes["failed"] else notes


def _size_in_tables(project: Project, provenance: Provenance) -> int | None:
    """Size of a unit of the tables that are there, if they are of the same plan."""
    try:
        notes = read_interactions_metadata(INTERACTIONS.of(project))
    except ParentError:
        return None
    return notes.get("unit_evaluations") if notes.get("fingerprint") == provenance.fingerprint else None


def _check_unchanged(project: Project, provenance: Provenance) -> None:
    """Raise if a parent is no longer what the plan was made from: the tables would belong to nothing."""
    marker = read_marker(FEATURES.of(project)) or {}
    now = {
        FEATURES: marker.get("fingerprint"),
        CHECKPOINT: read_info(CHECKPOINT.of(project)).fingerprint,
        IMPORTANCE: IMPORTANCE.of(project).metadata()["fingerprint"],
    }
    for artifact, fingerprint in now.items():
        if provenance.parents[artifact.name] != fingerprint:
            raise ParentError(
                f"{artifact.of(project).path} changed while the probe ran",
                "What was measured belongs to what was there before. Probe what is there now with: "
                f"{project.command('probe')}",
            )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _result(project: Project, provenance: Provenance, notes: dict, *, ran: bool) -> StageResult:
    failed = [{"sample_id": f"unit {key}", "reason": reason} for key, reason in notes["failed"].items()]
    return StageResult(
        INTERACTIONS.of(project).path,
        provenance.fingerprint,
        ran,
        (*notes["skipped"], *failed),
    )
