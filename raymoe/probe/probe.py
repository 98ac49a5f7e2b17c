"""The stage ``probe``: importance -> interactions, on as many actors as there are."""

from __future__ import annotations

import hashlib
import os

from raymoe.actors.cluster import connected
from raymoe.actors.fleet import Fleet
from raymoe.actors.pool import run_units
from raymoe.errors import ParentError, RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.probe.commit import UnitFiles
from raymoe.probe.merge import merged
from raymoe.probe.plan import Plan, Unit, make_plan
from raymoe.probe.plan import cut as cut_up
from raymoe.probe.runner import UnitRunner
from raymoe.progress import console, track
from raymoe.project import Project, StageResult
from raymoe.tables import (
    IMPORTANCE,
    INTERACTIONS,
    Provenance,
    is_complete,
    metadata_of,
    read_table,
    write_batches,
)


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

    Interrupted, it goes on where it was: finished units are in the run's ``units`` folder.

    Args:
        project: its ``probe`` section says what to measure.
        address: a Ray cluster; default RAY_ADDRESS, else this machine.
        num_actors: at most so many; default one per GPU, or per core where there is no GPU. More than a
            cluster has room for are waited for while the others work.
        device: ``cpu`` or ``cuda`` to insist on one.
        gpu_share: of a GPU, that one actor takes.
        overwrite: measure again what is already there.

    Returns:
        Where ``interactions.arrow`` is; ``skipped`` holds samples without pairs and failed units.

    Raises:
        ParentError: importance, checkpoint and features are missing or don't belong together.
        RaymoeError: the cluster can't do it.
        Interrupted: Ctrl-C or SIGTERM; what is finished is kept.
    """
    workspace, config, output = project.workspace, project.preset.probe, f"{project.run}/interactions.arrow"
    checkpoint = f"{project.run}/checkpoint"
    info = read_info(workspace, checkpoint, project.command("train"))
    importance = read_table(
        workspace, f"{project.run}/importance.arrow", IMPORTANCE, project.command("attribute")
    )
    made_from = Provenance.from_json(metadata_of(importance.schema)["made_by"])
    if made_from.parents.get("checkpoint") != info.fingerprint:
        raise ParentError(
            f"{workspace.path(project.run)}/importance.arrow was computed from another checkpoint",
            f"Compute it again with: {project.command('attribute')} --overwrite",
        )
    provenance = Provenance(
        stage="probe",
        contract=INTERACTIONS.tag,
        config=config.model_dump(mode="json", exclude={"unit_evaluations"}),
        parents={
            "features": info.features,
            "checkpoint": info.fingerprint,
            "importance": metadata_of(importance.schema)["fingerprint"],
        },
    )
    if is_complete(
        workspace, output, INTERACTIONS, provenance, project.command("probe"), overwrite=overwrite
    ):
        notes = metadata_of(read_table(workspace, output, INTERACTIONS, project.command("probe")).schema)
        if not notes["failed"]:  # failed units are tried again
            return _result(project, output, provenance, notes, ran=False)

    workspace.check_writable()
    store = FeatureStore.open(workspace, project.features, made_by=project.command("encode"))
    plan = make_plan(store, importance, info.experts, config)
    if not plan.jobs:
        raise RaymoeError(
            f"no sample has a cross-modal pair ({len(plan.skipped)} skipped)",
            "Raise probe.rho or probe.min_features, or look at the samples' texts.",
        )
    # How the work is cut changes roundings only, but files of different cuts can't be mixed.
    cut = hashlib.sha256(f"{provenance.fingerprint} {config.unit_evaluations}".encode()).hexdigest()[:12]
    files = UnitFiles(workspace, f"{project.run}/units/{cut}")
    if overwrite:
        files.remove()
    runner = (
        workspace,
        checkpoint,
        project.features,
        {"features": store.fingerprint, "checkpoint": info.fingerprint},
        {"features": project.command("encode"), "checkpoint": project.command("train")},
        config.precision,
    )
    failed = _run(plan, files, runner, address, num_actors, device, gpu_share)
    if failed and all(any(unit.key in failed for unit in cut_up(job, config)) for job in plan.jobs):
        raise RaymoeError(
            f"no sample could be measured, the first because: {next(iter(failed.values()))}",
            "Mend that, then run the same command again: what is finished is kept.",
        )
    notes = {"skipped": plan.skipped, "failed": failed, "experts": list(config.experts)}
    write_batches(workspace, output, merged(plan, files, failed), INTERACTIONS, provenance, notes)
    if not failed:
        workspace.remove(f"{project.run}/units")  # what other cuts left is of no use either
    return _result(project, output, provenance, notes, ran=True)


def _run(
    plan: Plan,
    files: UnitFiles,
    runner: tuple,
    address: str | None,
    num_actors: int | None,
    device: str | None,
    gpu_share: float,
) -> dict[str, str]:
    """Do the units that are not committed yet; returns the failed ones and why."""
    committed = files.committed()
    total, left, evaluations = 0, 0, 0
    for unit in plan.units():
        total += 1
        if unit.key not in committed:
            left += 1
            evaluations += unit.evaluations
    console.print(
        f"  {len(plan.jobs)} sample-expert pairs, {total} units, {total - left} already done, "
        f"{evaluations:,} evaluations to go"
    )
    if not left:
        return {}
    waits = bool(address or os.environ.get("RAY_ADDRESS"))  # for machines that an autoscaler adds
    with connected(address), track("probe", left) as task:
        fleet = Fleet(
            UnitRunner,
            lambda kind: (*runner, kind),
            asked=num_actors,
            device=device,
            gpu_share=gpu_share,
            most=left,
            queue=waits,
        )

        def finished(unit: Unit, answer: bytes) -> None:
            files.commit(unit.key, answer)
            task.advance()

        outcome = run_units(
            (unit for unit in plan.units() if unit.key not in committed),
            fleet,
            finished,
            total=left,
            evaluations=evaluations,
            on_tick=lambda tick: task.advance(0, tick.line),
            name="probe",
        )
    for actor, reason in outcome.refused.items():
        console.print(f"  {actor} was left out: {reason}", markup=False)
    for key, reason in outcome.failed.items():
        console.print(f"  unit {key} failed: {reason}")
    if outcome.deaths:
        console.print(f"  {outcome.deaths} actor deaths survived")
    return dict(sorted(outcome.failed.items()))


def _result(project: Project, output: str, provenance: Provenance, notes: dict, *, ran: bool) -> StageResult:
    failed = [{"sample_id": f"unit {key}", "reason": reason} for key, reason in notes["failed"].items()]
    return StageResult(
        project.workspace.path(output), provenance.fingerprint, ran, (*notes["skipped"], *failed)
    )
