"""The stage ``probe``: importance -> interactions, on as many actors as there are."""

from __future__ import annotations

import hashlib
import time

from raymoe.actors.cluster import actor_shape, connected
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
    overwrite: bool = False,
) -> StageResult:
    """Measure synergy and redundancy gap of every candidate pair of every sample.

    Interrupted, it goes on where it was: finished units are in the run's ``units`` folder.

    Args:
        project: its ``probe`` section says what to measure.
        address: a Ray cluster; default RAY_ADDRESS, else this machine.
        num_actors: at most so many; default one per GPU, or per core where there is no GPU.
        device: ``cpu`` or ``cuda`` to insist on one.
        overwrite: measure again what is already there.

    Returns:
        Where ``interactions.arrow`` is; ``skipped`` holds samples without pairs and failed units.

    Raises:
        ParentError: importance, checkpoint and features are missing or don't belong together.
        RaymoeError: the cluster can't do it.
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
    failed = _run(plan, files, runner, address, num_actors, device)
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
    with connected(address) as ray, track("probe", left) as task:
        shape = actor_shape(ray.cluster_resources(), min(num_actors or left, left), device)
        actor = ray.remote(
            num_cpus=shape.num_cpus, num_gpus=shape.num_gpus, max_restarts=-1, max_task_retries=0
        )
        actors = [actor(UnitRunner).remote(*runner, shape.device) for _ in range(shape.count)]
        start, done = 0.0, 0

        def finished(unit: Unit, answer: bytes) -> None:
            nonlocal start, done
            files.commit(unit.key, answer)
            start, done = start or time.monotonic(), done + unit.evaluations
            seconds = time.monotonic() - start
            rate = (
                f"{done / seconds:,.0f} evaluations/s on {shape.count} x {shape.device}"
                if seconds > 1
                else ""
            )
            task.advance(note=rate)

        todo = (unit for unit in plan.units() if unit.key not in committed)
        outcome = run_units(todo, actors, finished)
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
