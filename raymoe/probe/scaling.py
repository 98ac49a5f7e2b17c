"""How the probe scales: the same units on 1, 2, 4, ... actors, and what the simulator says about it.

Strong scaling gives every number of actors the same units, weak scaling gives each actor as many. Answers are
committed to a folder of their own, which is removed; no result of the project is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace

import numpy as np

from raymoe.actors.cluster import connected
from raymoe.actors.fleet import Fleet, open_fleet
from raymoe.actors.pool import Outcome, run_units
from raymoe.errors import InputError, RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.probe.commit import UnitFiles
from raymoe.probe.cut import unit_size
from raymoe.probe.measuring import measured_rate, runner_arguments
from raymoe.probe.plan import Unit, Units, make_plan
from raymoe.probe.probe import parents_of, with_experts
from raymoe.probe.runner import UnitRunner
from raymoe.probe.scaling_runs import Scaling, beyond_line, driver_costs, measured_run, pace_of, predicted_run
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE
from raymoe.project.provenance import Provenance
from raymoe.runtime.progress import console

SECONDS = 20.0  # of work for each actor
CALIBRATION = 3.0  # seconds of work from which the rate of one actor is read
PREDICTED = tuple(2**i for i in range(11))  # numbers of actors the simulator is asked for in any case


def scaling(
    project: Project,
    *,
    address: str | None = None,
    device: str | None = None,
    gpu_share: float = 1.0,
    actors: list[int] | None = None,
    modes: tuple[str, ...] = ("strong", "weak"),
    seconds: float = SECONDS,
) -> Scaling:
    """Measure, simulate, print a table, write ``scaling.json`` and ``scaling.svg`` to the run's folder.

    Args:
        project: one that has an importance table.
        address, device, gpu_share: see ``probe``.
        actors: numbers of actors to try; default 1, 2, 4, ... and all that the cluster has room for.
        modes: ``strong``, ``weak`` or both.
        seconds: of work for each actor; in strong scaling for each of the largest number.

    Raises:
        InputError: more actors than the cluster has room for.
        RaymoeError: see ``probe``; or a unit fails.
    """
    with connected(address):
        rehearsal = _Rehearsal.of(project, device, gpu_share)
        counts = _counts(actors, rehearsal.room())
        try:
            found = _measure(rehearsal, counts, modes, seconds)
        finally:
            project.workspace.remove(rehearsal.folder)
    _report(project, found)
    return found


@dataclass(frozen=True)
class _Rehearsal:
    """A project's units, done as often as asked for; answers go to a folder that is thrown away."""

    project: Project
    provenance: Provenance
    units: Units
    device: str | None
    gpu_share: float

    @classmethod
    def of(cls, project: Project, device: str | None, gpu_share: float) -> _Rehearsal:
        """Plan, and measure how large a unit is unless the settings say it.

        Raises:
            ParentError: see ``probe``.
            RaymoeError: there is nothing to do, or no actor that can.
        """
        project = with_experts(project)
        importance, provenance = parents_of(project)
        store = FeatureStore.open(FEATURES.of(project))
        experts = read_info(CHECKPOINT.of(project)).experts
        config = project.preset.probe
        if config.mask != "zero":
            raise RaymoeError(
                "scaling measures the probe that masks with zero vectors", "Leave out --set probe.mask=input."
            )
        plan = make_plan(store, importance, experts, config, made_by=IMPORTANCE.of(project).command)
        if not len(plan.jobs):
            raise RaymoeError("no sample has a cross-modal pair", "Raise probe.rho or probe.min_features.")
        size = config.unit_evaluations
        if size is None:
            with _fleet(project, provenance, 1, device, gpu_share) as fleet:
                rate = measured_rate(fleet, plan)
            if rate is None:
                raise RaymoeError(
                    "no actor can do a unit", f"The ledger says why: {project.command('probe')}"
                )
            size = unit_size(rate, plan)
        return cls(project, provenance, plan.cut(size), device, gpu_share)

    @property
    def folder(self) -> str:
        """Where answers are committed to."""
        return f"{self.project.run}/scaling-units"

    def room(self) -> int:
        """How many actors the cluster has room for."""
        with self._actors(None) as fleet:
            return fleet.fitting()

    def run(self, number: int, cost: float, least: int = 1) -> Outcome:
        """Units of that many evaluations together, and not fewer than ``least``, on so many actors.

        Begun when all actors are ready.

        Raises:
            RaymoeError: an actor does not start, or a unit fails.
        """
        taken = _worth(self._again_and_again(), cost, least)
        units = [replace(unit, number=place) for place, unit in enumerate(taken)]
        with (
            UnitFiles(self.project.workspace, self.folder, len(units)) as files,
            self._actors(number) as fleet,
        ):
            outcome = run_units(
                units,
                fleet,
                lambda unit, answer: files.commit(unit.number, answer),
                total=len(units),
                name="scaling",
            )
        self.project.workspace.remove(self.folder)
        if outcome.failed or len(outcome.workers) < number:
            why = next(iter(outcome.failed.values()), f"{len(outcome.workers)} of them started")
            raise RaymoeError(f"the run on {number} actors did not go through: {why}")
        return outcome

    def _actors(self, number: int | None) -> AbstractContextManager[Fleet]:
        return _fleet(self.project, self.provenance, number, self.device, self.gpu_share)

    def _again_and_again(self) -> Iterator[Unit]:
        while True:
            yield from self.units.left(np.zeros(len(self.units), dtype=bool))


def _fleet(
    project: Project, provenance: Provenance, number: int | None, device: str | None, gpu_share: float
) -> AbstractContextManager[Fleet]:
    """So many of the probe's actors at most, begun when all are ready."""
    return open_fleet(
        UnitRunner,
        runner_arguments(project, provenance),
        num_actors=number,
        device=device,
        gpu_share=gpu_share,
        together=True,
    )


def _measure(rehearsal: _Rehearsal, counts: Sequence[int], modes: Sequence[str], seconds: float) -> Scaling:
    rate = 1 / pace_of(rehearsal.run(1, 1))  # also brings the files into memory
    first = rehearsal.run(1, min(CALIBRATION, seconds) * rate)
    pace = pace_of(first)
    console.print(
        f"  one actor ({', '.join(first.devices)}) does {1 / pace:,.0f} evaluations/s; trying "
        f"{', '.join(map(str, counts))} actors"
    )
    outcomes = {}
    for mode in modes:
        for number in counts:
            share = counts[-1] if mode == "strong" else number
            outcomes[mode, number] = rehearsal.run(number, share * seconds / pace, share)
    costs = driver_costs(list(outcomes.values()))
    measured, predicted = [], []
    for (mode, number), outcome in outcomes.items():
        base = outcomes[mode, counts[0]]
        measured.append(measured_run(mode, number, outcome, base, counts[0]))
        predicted.append(predicted_run(measured[-1], pace_of(base), costs))
    one = measured_run("weak", 1, first, first, 1)
    beyond = [
        predicted_run(replace(one, actors=number), pace, costs, number * seconds / pace)
        for number in PREDICTED
    ]
    unit_seconds = pace * sum(w.cost for w in first.workers) / first.done
    return Scaling(measured, predicted, beyond, costs, unit_seconds, first.devices)


def numbers_of_actors(text: str | None) -> list[int] | None:
    """``1,2,4`` as numbers.

    Raises:
        InputError: it isn't that.
    """
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--actors {text}", "Give numbers with commas, such as --actors 1,2,4.") from None


def _counts(asked: list[int] | None, room: int) -> list[int]:
    if not room:
        raise RaymoeError("the cluster has no room for an actor", "Free or add machines.")
    if asked is None:
        return sorted({1, room, *(2**i for i in range(room.bit_length()) if 2**i <= room)})
    if max(asked) > room or min(asked) < 1:
        raise InputError(
            f"--actors {','.join(map(str, asked))}, but the cluster has room for 1 to {room}",
            "Give numbers in that range, such as --actors 1,2,4.",
        )
    return sorted(set(asked))


def _worth(units: Iterator[Unit], cost: float, least: int) -> Iterator[Unit]:
    """Units until they are worth that many evaluations and every actor can have one."""
    while cost > 0 or least > 0:
        unit = next(units)
        cost, least = cost - unit.evaluations, least - 1
        yield unit


def _report(project: Project, found: Scaling) -> None:
    from raymoe.probe.scaling_plot import scaling_plot  # matplotlib, when there is something to draw

    console.print(f"  a unit takes {found.unit_seconds:.2f} s")
    console.print(
        "  mode    actors   units  evaluations/s  efficiency  predicted   slower    start   sched.   commit  "
        "stragglers  driver"
    )
    for row, guess in zip(found.measured, found.predicted, strict=True):
        lost = row.losses
        console.print(
            f"  {row.mode:<7} {row.actors:6d} {row.units:7d} {row.rate:14,.0f} {row.efficiency:11.1%} "
            f"{guess.efficiency:10.1%} {row.pace:7.2f}x {lost.start:8.1%} {lost.scheduling:8.1%} "
            f"{lost.commit:8.1%} {lost.stragglers:11.1%} {row.driver:7.1%}"
        )
    console.print("  simulated, weak: " + beyond_line(found.beyond))
    workspace = project.workspace
    workspace.write(f"{project.run}/scaling.json", json.dumps(asdict(found), indent=1).encode())
    workspace.write(f"{project.run}/scaling.svg", scaling_plot(found))
    console.print(f"  -> {workspace.path(project.run)}/scaling.json, scaling.svg")
