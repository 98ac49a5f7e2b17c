"""How the probe scales: two actors against one, the driver's cost per unit, thousands of actors simulated.

    python benchmarks/scaling.py [--only driver,actors,simulator,commit] [--seconds 20] [--rounds 3]

``driver`` sends empty units through the real pool; ``actors`` measures the demo's probe on 1, 2, ... actors
and simulates the same; ``simulator`` runs the real scheduler against up to 4,096 virtual actors with the
driver's costs from ``driver`` and the commit cost given; ``commit`` charges what committing really takes
instead, with answers written to the temporary folder.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass, replace

import ray
from machine import machine_line
from scheduler import answer
from trained import project_at

from raymoe.actors.fleet import open_fleet
from raymoe.actors.pool import run_units
from raymoe.actors.simulator import Costs, VirtualActor, VirtualUnit, simulate
from raymoe.pipeline import run
from raymoe.probe.commit import UnitFiles
from raymoe.probe.scaling import driver_costs, scaling
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console

SECTIONS = ("driver", "actors", "simulator", "commit")


def main() -> None:
    """Print one block per section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default=None, help="default: a new temporary folder")
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated sections")
    parser.add_argument("--seconds", type=float, default=20.0, help="of work for each actor")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement on actors")
    parser.add_argument("--commit", type=float, default=0.5e-3, help="seconds to commit a unit, simulated")
    parser.add_argument("--quick", action="store_true", help="a look at whether it runs, no figures")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    print(machine_line())
    costs = Costs(commit=options.commit)
    if "driver" in chosen:
        costs = replace(measure_driver(200 if options.quick else 5000), commit=options.commit)
    if "actors" in chosen:
        measure_actors(options.workspace, options.seconds, options.rounds)
    if "simulator" in chosen:
        simulate_many(costs, (1, 16) if options.quick else (1, 16, 64, 256, 1024, 2048, 4096))
    if "commit" in chosen:
        simulate_with_commits(costs, (16,) if options.quick else (256, 1024))


@dataclass(frozen=True)
class Empty:
    """A unit that is no work; ``evaluations`` keeps the scheduler from putting many into one call."""

    key: str
    evaluations: int = 1


class Runner:
    """Answers with as many bytes as a unit of the demo."""

    def __init__(self, device: str, threads: int | None) -> None:
        pass

    def ready(self) -> str:
        return "cpu"

    def run(self, unit: Empty) -> bytes:
        time.sleep(unit.evaluations * 1e-3)
        return bytes(2000)


def measure_driver(count: int) -> Costs:
    """The driver's seconds per call and unit, with calls of one unit and of many."""
    print("\n== driver")
    # By value: the actors can't import this file.
    ray.cloudpickle.register_pickle_by_value(__import__("sys").modules[__name__])
    found = []
    for what, evaluations, number in (("a call each", 25, count // 5), ("put together", 1, count)):
        with open_fleet(Runner, ()) as fleet:
            outcome = run_units(
                (Empty(f"u{i}", evaluations) for i in range(number)),
                fleet,
                lambda unit, answer: None,
                total=number,
            )
        spent = sum(outcome.spent[name] for name in ("send", "collect"))
        per_call = ", ".join(
            f"{name} {outcome.spent[name] / outcome.calls * 1e3:.2f} ms" for name in ("send", "collect")
        )
        print(
            f"{number} units of {evaluations} ms, {what}: {outcome.calls} calls; the driver spends "
            f"{spent / number * 1e3:.2f} ms per unit; per call {per_call}"
        )
        found.append(outcome)
    return driver_costs(found[:1])


def measure_actors(folder: str | None, seconds: float, rounds: int) -> None:
    """The demo's probe on as many actors as there are; shared machines vary, so several times."""
    print("\n== actors")
    project = project_at(folder or tempfile.mkdtemp(prefix="raymoe-benchmark-"))
    console.quiet = True
    run(project, "attribute")
    console.quiet = False
    ratios: dict[str, list[float]] = {"strong": [], "weak": []}
    for _ in range(rounds):
        found = scaling(project, seconds=seconds)
        for mode, of_mode in ratios.items():
            rows = [row for row in found.measured if row.mode == mode]
            of_mode.append(rows[-1].rate / rows[0].rate)
    for mode, of_mode in ratios.items():
        print(
            f"{mode}: {rows[-1].actors} actors do {statistics.median(of_mode):.2f} times as much a second as "
            f"{rows[0].actors} ({min(of_mode):.2f}-{max(of_mode):.2f}, {rounds} rounds)"
        )


def simulate_many(costs: Costs, numbers: tuple[int, ...]) -> None:
    """Efficiency of weak scaling, every actor 120 s of work, by length of a unit."""
    print("\n== simulator")
    shown = {name: f"{getattr(costs, name) * 1e3:.2f}" for name in ("send", "collect", "commit")}
    print(f"the driver's milliseconds per call and unit: {shown}")
    for seconds in (0.1, 0.5, 2.0):
        for number in numbers:
            count = int(min(120 / seconds, 240)) * number
            start = time.perf_counter()
            found = simulate(
                (VirtualUnit(f"{i}") for i in range(count)),
                [VirtualActor(pace=seconds)] * number,
                costs=costs,
                total=count,
            )
            took = time.perf_counter() - start
            shares = ", ".join(f"{name} {share:.1%}" for name, share in vars(found.losses).items())
            efficiency = count * seconds / number / found.seconds
            print(
                f"{number:5d} actors, units of {seconds} s: efficiency {efficiency:6.1%}, driver busy "
                f"{found.driver_busy:4.0%}, {count / found.calls:.1f} units a call; {shares} ({took:.1f} s)",
                flush=True,
            )


def simulate_with_commits(costs: Costs, numbers: tuple[int, ...]) -> None:
    """Virtual actors with 20 units each, whose answers are really written and packed."""
    print("\n== commit")
    answers = [answer(seed) for seed in range(64)]
    for seconds, number in itertools.product((0.5, 2.0), numbers):
        count = 20 * number
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, UnitFiles(Workspace(folder), "units", count) as files:
            found = simulate(
                (VirtualUnit(f"{i}") for i in range(count)),
                [VirtualActor(pace=seconds)] * number,
                costs=replace(costs, commit=None),
                total=count,
                on_done=lambda unit, _, files=files: files.commit(int(unit.key), answers[int(unit.key) % 64]),
            )
            files.flush()
            assert files.done.all()
        took = time.perf_counter() - start
        print(
            f"{number:5d} actors, units of {seconds} s, answers of {len(answers[0]):,} bytes: efficiency "
            f"{20 * seconds / found.seconds:6.1%}, committing costs the driver "
            f"{found.spent['commit'] / count * 1e3:.2f} ms a unit; {count / took:,.0f} units a second in "
            f"real time ({took:.1f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
