"""Runs of a scaling measurement, and the same runs by the simulator: figures alone, no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymoe.actors.lost_time import Losses
from raymoe.actors.pool import Outcome
from raymoe.actors.simulator import Costs, VirtualActor, VirtualUnit, simulate


@dataclass(frozen=True)
class ScalingRun:
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

    measured: list[ScalingRun]
    predicted: list[ScalingRun]
    beyond: list[ScalingRun]
    costs: Costs
    unit_seconds: float
    devices: list[str]


def measured_run(mode: str, number: int, outcome: Outcome, base: Outcome, fewest: int) -> ScalingRun:
    """What was measured.

    Args:
        mode: ``strong`` or ``weak``.
        number: of actors.
        outcome: of the run.
        base: of the run of that mode on the fewest actors.
        fewest: how many these were.
    """
    evaluations = sum(worker.cost for worker in outcome.workers)
    rate = evaluations / outcome.seconds
    base_rate = sum(worker.cost for worker in base.workers) / base.seconds / fewest
    busy = sum(outcome.spent[what] for what in ("send", "collect", "commit"))
    return ScalingRun(
        mode,
        number,
        outcome.done,
        evaluations,
        outcome.seconds,
        outcome.start_seconds,
        rate,
        rate / number / base_rate,
        pace_of(outcome) / pace_of(base),
        outcome.losses,
        busy / outcome.seconds,
    )


def predicted_run(row: ScalingRun, pace: float, costs: Costs, evaluations: float | None = None) -> ScalingRun:
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
    return ScalingRun(
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


def driver_costs(outcomes: Sequence[Outcome]) -> Costs:
    """What the driver's work took in some runs, per call and per unit."""
    calls, units = sum(o.calls for o in outcomes), sum(o.done for o in outcomes)
    spent = {what: sum(o.spent[what] for o in outcomes) for what in ("send", "collect", "commit")}
    return Costs(
        send=spent["send"] / calls, collect=spent["collect"] / calls, unit=0.0, commit=spent["commit"] / units
    )


def beyond_line(rows: Sequence[ScalingRun]) -> str:
    """Efficiency by number of actors, and what holds back the largest."""
    text = ", ".join(f"{row.actors}: {row.efficiency:.0%}" for row in rows)
    last = rows[-1]
    if last.driver > 0.9:
        shares = {"commit": last.losses.commit, "scheduling": last.losses.scheduling}
        largest = max(shares, key=lambda name: shares[name])
        text += f"; then the driver is the bottleneck ({largest}): make units larger"
    return text


def pace_of(outcome: Outcome) -> float:
    """Seconds of work per evaluation."""
    return sum(w.busy for w in outcome.workers) / sum(w.cost for w in outcome.workers)
