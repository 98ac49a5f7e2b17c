"""How the probe scales: the same units on 1, 2, 4, ... actors, and what the simulator says about it.

Strong scaling gives every number of actors the same units, weak scaling gives each actor as many. Answers are
committed to a folder of their own, which is removed; no result of the project is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from raymoe.actors.cluster import connected
from raymoe.actors.fleet import Fleet
from raymoe.actors.lost_time import Losses
from raymoe.actors.pool import Outcome, run_units
from raymoe.actors.simulator import Costs, VirtualActor, VirtualUnit, simulate
from raymoe.errors import InputError, RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.probe.commit import UnitFiles
from raymoe.probe.cut import unit_size
from raymoe.probe.measuring import measured_rate, runner_arguments
from raymoe.probe.plan import Unit, make_plan
from raymoe.probe.probe import parents_of
from raymoe.probe.runner import UnitRunner
from raymoe.probe.scaling_plot import scaling_plot
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.runtime.progress import console

SECONDS = 20.0  # of work for each actor
CALIBRATION = 3.0  # seconds of work from which the rate of one actor is read
PREDICTED = tuple(2**i for i in range(11))  # numbers of actors the simulator is asked for in any case


@dataclass(frozen=True)
class Run:
    """One run, measured or simulated.

    Attributes:
        mode: ``strong`` or ``weak``.
        actors, units, evaluations: how many.
        seconds: from the moment all actors were ready to the last answer committed.
        start_seconds: until then.
        rate: evaluations per second.
        efficiency: ``rate`` per actor, relative to one actor of the same mode.
        pace: seconds of work per evaluation, relative to one actor: above 1 they slow each other down.
        losses: shares of the actors' time, start-up included.
        driver: share of the time that the driver was not waiting.
    """

    mode: str
    actors: int
    units: int
    evaluations: float
    seconds: float
    start_seconds: float
    rate: float
    efficiency: float
    pace: float
    losses: Losses
    driver: float


@dataclass(frozen=True)
class Scaling:
    """What ``scaling`` found, and ``scaling.json`` holds.

    Attributes:
        measured: the runs.
        predicted: the same by the simulator.
        beyond: weak scaling on up to 1,024 actors by the simulator.
        costs: of the driver, measured.
        unit_seconds: of one unit on one actor.
        devices: names of those that worked.
    """

    measured: list[Run]
    predicted: list[Run]
    beyond: list[Run]
    costs: Costs
    unit_seconds: float
    devices: list[str]


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
        address, device, gpu_share: as of ``probe``.
        actors: numbers of actors to try; default 1, 2, 4, ... and all that the cluster has room for.
        modes: ``strong``, ``weak`` or both.
        seconds: of work for each actor; in strong scaling for each of the largest number.

    Raises:
        InputError: more actors than the cluster has room for.
        RaymoeError: as of ``probe``, and when a unit fails.
    """
    with connected(address):
        trial = _Trial(project, device, gpu_share)
        counts = _counts(actors, trial.fleet(None).missing(0))
        try:
            found = _measure(trial, counts, modes, seconds)
        finally:
            project.workspace.remove(trial.folder)
    _report(project, found)
    return found


class _Trial:
    """Runs a project's units, committing to a folder that is thrown away."""

    def __init__(self, project: Project, device: str | None, gpu_share: float) -> None:
        self.project, self.device, self.gpu_share = project, device, gpu_share
        self.folder = f"{project.run}/scaling-units"
        config = project.preset.probe
        importance, provenance = parents_of(project)
        store = FeatureStore.open(FEATURES.of(project))
        experts = read_info(CHECKPOINT.of(project)).experts
        self.arguments = runner_arguments(project, provenance)
        plan = make_plan(store, importance, experts, config)
        if not len(plan.jobs):
            raise RaymoeError("no sample has a cross-modal pair", "Raise probe.rho or probe.min_features.")
        size = config.unit_evaluations
        if size is None:
            fleet = self.fleet(1)
            try:
                rate = measured_rate(fleet, plan)
            finally:
                fleet.end()
            if rate is None:
                raise RaymoeError("no actor can do a unit", "Run `raymoe probe`: its ledger says why.")
            size = unit_size(rate, plan)
        self.units = plan.cut(size)

    def fleet(self, number: int | None) -> Fleet:
        """So many actors at most."""
        return Fleet(
            UnitRunner,
            lambda kind: (*self.arguments, kind),
            asked=number,
            device=self.device,
            gpu_share=self.gpu_share,
        )

    def run(self, number: int, cost: float, least: int = 1) -> Outcome:
        """Units of that many evaluations together, and not fewer than ``least``, on so many actors.

        Begun when all actors are ready.

        Raises:
            RaymoeError: an actor does not start, or a unit fails.
        """
        taken = _worth(self._again_and_again(), cost, least)
        units = [replace(unit, number=place) for place, unit in enumerate(taken)]
        fleet = self.fleet(number)
        with UnitFiles(self.project.workspace, self.folder, len(units)) as files:
            outcome = run_units(
                units,
                [fleet.make() for _ in range(number)],
                lambda unit, answer: files.commit(unit.number, answer),
                total=len(units),
                name="scaling",
            )
        self.project.workspace.remove(self.folder)
        if outcome.failed or len(outcome.workers) < number:
            why = next(iter(outcome.failed.values()), f"{len(outcome.workers)} of them started")
            raise RaymoeError(f"the run on {number} actors did not go through: {why}")
        return outcome

    def _again_and_again(self) -> Iterator[Unit]:
        while True:
            yield from self.units.left(np.zeros(len(self.units), dtype=bool))


def _measure(trial: _Trial, counts: list[int], modes: tuple[str, ...], seconds: float) -> Scaling:
    rate = 1 / _pace(trial.run(1, 1))  # also brings the files into memory
    first = trial.run(1, min(CALIBRATION, seconds) * rate)
    pace = _pace(first)
    console.print(
        f"  one actor ({', '.join(first.devices)}) does {1 / pace:,.0f} evaluations/s; trying "
        f"{', '.join(map(str, counts))} actors"
    )
    outcomes = {}
    for mode in modes:
        for number in counts:
            share = counts[-1] if mode == "strong" else number
            outcomes[mode, number] = trial.run(number, share * seconds / pace, share)
    costs = driver_costs(list(outcomes.values()))
    measured, predicted = [], []
    for (mode, number), outcome in outcomes.items():
        base = outcomes[mode, counts[0]]
        measured.append(_row(mode, number, outcome, base, counts[0]))
        predicted.append(_predicted(measured[-1], _pace(base), costs))
    beyond = [
        _predicted(
            replace(_row("weak", 1, first, first, 1), actors=number), pace, costs, number * seconds / pace
        )
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


def _pace(outcome: Outcome) -> float:
    """Seconds of work per evaluation."""
    return sum(w.busy for w in outcome.workers) / sum(w.cost for w in outcome.workers)


def _row(mode: str, number: int, outcome: Outcome, base: Outcome, fewest: int) -> Run:
    evaluations = sum(worker.cost for worker in outcome.workers)
    rate = evaluations / outcome.seconds
    base_rate = sum(worker.cost for worker in base.workers) / base.seconds / fewest
    busy = sum(outcome.spent[what] for what in ("send", "collect", "commit"))
    return Run(
        mode,
        number,
        outcome.done,
        evaluations,
        outcome.seconds,
        outcome.start_seconds,
        rate,
        rate / number / base_rate,
        _pace(outcome) / _pace(base),
        outcome.losses,
        busy / outcome.seconds,
    )


def driver_costs(outcomes: list[Outcome]) -> Costs:
    """What the driver's work took in some runs, per call and per unit."""
    calls, units = sum(o.calls for o in outcomes), sum(o.done for o in outcomes)
    spent = {what: sum(o.spent[what] for o in outcomes) for what in ("send", "collect", "commit")}
    return Costs(
        send=spent["send"] / calls, collect=spent["collect"] / calls, unit=0.0, commit=spent["commit"] / units
    )


def _predicted(row: Run, pace: float, costs: Costs, evaluations: float | None = None) -> Run:
    """A run by the simulator, from one actor's pace and the driver's costs.

    Args:
        row: as many actors, the size of its units, its start-up time.
        pace: seconds per evaluation.
        costs: of the driver.
        evaluations: default as many as in ``row``.
    """
    evaluations = evaluations or row.evaluations
    units = max(1, round(evaluations * row.units / row.evaluations))
    each = evaluations / units
    found = simulate(
        (VirtualUnit(f"{number}", each) for number in range(units)),
        [VirtualActor(start=row.start_seconds, pace=pace)] * row.actors,
        costs=costs,
        total=units,
    )
    seconds = found.seconds - row.start_seconds
    rate = found.evaluations / seconds
    busy = sum(found.spent.values()) / seconds
    efficiency = rate * pace / row.actors
    return Run(
        row.mode,
        row.actors,
        units,
        evaluations,
        seconds,
        row.start_seconds,
        rate,
        efficiency,
        1.0,
        found.losses,
        busy,
    )


def _report(project: Project, found: Scaling) -> None:
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
    console.print(f"  -> {workspace.path(project.run)}/scaling.json, scaling.svg", markup=False)


def beyond_line(rows: list[Run]) -> str:
    """Efficiency by number of actors, and what holds back the largest."""
    text = ", ".join(f"{row.actors}: {row.efficiency:.0%}" for row in rows)
    last = rows[-1]
    if last.driver > 0.9:
        shares = {"commit": last.losses.commit, "scheduling": last.losses.scheduling}
        text += f"; then the driver is the bottleneck ({max(shares, key=shares.get)}): make units larger"
    return text
