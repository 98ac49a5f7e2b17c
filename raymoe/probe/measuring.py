"""From a plan to committed answers: units are cut, files opened, and what is missing is done on actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pyarrow as pa
import ray

from raymoe.actors.actor import Runner
from raymoe.actors.fleet import Fleet, open_fleet
from raymoe.actors.pool import first_actor, own_error, run_units
from raymoe.models.model_source import ModelSource
from raymoe.probe.commit import UnitFiles
from raymoe.probe.cut import Cut, open_cut, save_cut
from raymoe.probe.input_runner import InputRunner, InputSource
from raymoe.probe.plan import Plan, Unit, Units
from raymoe.probe.runner import UnitRunner
from raymoe.project import Project
from raymoe.project.lock import RunLock
from raymoe.project.provenance import Provenance
from raymoe.runtime.progress import console, duration, track


def measure(
    planned: Planned,
    stack: ExitStack,
    *,
    address: str | None,
    num_actors: int | None,
    device: str | None,
    gpu_share: float,
) -> tuple[Opened, dict[str, str]]:
    """Do the units that are not committed yet.

    Args:
        planned: what there is to do.
        stack: closes the files of what is returned.
        address, num_actors, device, gpu_share: see ``probe``.

    Returns:
        The run with its answers, and the units that failed: their keys, and why.

    Raises:
        RaymoeError, Interrupted: see ``probe``.
    """
    work: Opened | None = None
    if planned.is_cut:
        work = stack.enter_context(planned.opened(lambda: None))
        if not work.left:
            return work, {}
    with open_fleet(
        *runner_of(planned.project, planned.provenance),
        address=address,
        num_actors=num_actors,
        device=device,
        gpu_share=gpu_share,
        most=work.left if work else None,
        waits=True,
    ) as fleet:
        if work is None:
            work = stack.enter_context(planned.opened(lambda: measured_rate(fleet, planned.plan)))
            fleet.most = work.left
        return work, _do_units(work, fleet)


def _do_units(work: Opened, fleet: Fleet) -> dict[str, str]:
    """On a fleet; returns the failed ones and why."""
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
    for remark in outcome.remarks:
        console.print(f"  {remark}")
    return outcome.failed


@dataclass(frozen=True)
class Planned:
    """What there is to measure, and where the answers go.

    Attributes:
        project, plan, provenance: what is measured, and what the tables will be made from.
        folder: of the answers; another plan has another.
        lock: asked before every commit whether the run is still ours.
        earlier: the size of a unit in an earlier run of the plan, None where there was none.
    """

    project: Project
    plan: Plan
    provenance: Provenance
    folder: str
    lock: RunLock
    earlier: int | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the size of a unit is known without measuring."""
        config = self.plan.config
        return bool(config.unit_evaluations) or self.project.workspace.exists(f"{self.folder}/plan.json")

    @contextmanager
    def opened(self, rate: Callable[[], float | None]) -> Iterator[Opened]:
        """Decide on the cut and look at what is there; the files are closed at the end of the block.

        Args:
            rate: evaluations per second of an actor; called where nobody has decided on the cut yet.

        Raises:
            ParentError: see ``open_cut``.
        """
        workspace = self.project.workspace
        units, cut = open_cut(
            workspace,
            self.folder,
            self.plan,
            self.provenance.fingerprint,
            self.plan.config.unit_evaluations,
            rate,
            f"{self.project.command('probe')} --overwrite",
            self.earlier,
        )
        with UnitFiles(workspace, self.folder, len(units)) as files:
            done = int(files.done.sum())
            yield Opened(self, units, cut, files, done, len(units) - done, units.evaluations(files.done))


@dataclass(frozen=True)
class Opened:
    """A planned run whose units are decided and whose files are open.

    Attributes:
        planned, units, cut: what there is to do, in which units.
        files: the answers.
        begun_with: how many units were done before.
        left, evaluations: how many were not, and what these cost together, about.
    """

    planned: Planned
    units: Units
    cut: Cut
    files: UnitFiles
    begun_with: int
    left: int
    evaluations: int

    def describe(self, actors: int, device: str) -> str:
        """What there is to do, before it starts."""
        text = (
            f"  {len(self.units.plan.jobs):,} sample-expert pairs, {len(self.units):,} units of about "
            f"{self.units.unit_evaluations:,} evaluations, {self.begun_with:,} already done; "
            f"{self.evaluations:,} evaluations to go on {actors} x {device}"
        )
        if self.cut.rate:
            text += f", about {duration(self.evaluations / self.cut.rate / actors)}"
        return text

    def commit(self, unit: Unit, answer: bytes) -> None:
        """Store an answer.

        Raises:
            RaymoeError: the workspace is full or gone, or another process has taken over.
        """
        self.planned.lock.check()
        name = (pa.ipc.open_stream(answer).schema.metadata or {}).get(b"device", b"unknown").decode()
        if self.cut.note_device(name):
            save_cut(self.planned.project.workspace, self.planned.folder, self.cut)
        self.files.commit(unit.number, answer)


def runner_of(project: Project, provenance: Provenance) -> tuple[type[Runner], tuple[object, ...]]:
    """What does the units by the rule of masking that is asked for, and its arguments."""
    if project.preset.probe.mask == "input":
        return InputRunner, (InputSource.of(project, provenance.parents),)
    return UnitRunner, runner_arguments(project, provenance)


def runner_arguments(project: Project, provenance: Provenance) -> tuple[ModelSource, str]:
    """What a ``UnitRunner`` needs to know, but for its device and threads."""
    return ModelSource.of(project, provenance.parents), project.preset.probe.precision


def measured_rate(fleet: Fleet, plan: Plan) -> float | None:
    """Evaluations per second of the fleet's first actor, on a typical job of the plan.

    None where it died or the model failed on that job: if that is so of all units, the ledger will say it.

    Raises:
        RaymoeError: no actor finds a place, or can load what it needs.
        Interrupted: Ctrl-C or SIGTERM.
    """
    actor = first_actor(fleet)
    try:
        rate: float = ray.get(actor.calibrate.remote(plan.typical_job()))
    except ray.exceptions.RayError as error:
        console.print(f"  can't measure how fast an actor is: {own_error(error).message}")
        return None
    return rate
