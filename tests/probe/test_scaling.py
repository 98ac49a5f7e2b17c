"""The scaling command: what it measures adds up, what it writes can be read, what it can't do it says."""

import contextlib
import itertools
import json
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.tiny import tiny_preset

from raymoe.actors.actor import do_units
from raymoe.actors.lost_time import losses
from raymoe.actors.pool import SPENT, Outcome
from raymoe.actors.scheduler import Worker
from raymoe.actors.simulator import Costs
from raymoe.errors import InputError
from raymoe.probe.scaling import numbers_of_actors, scaling
from raymoe.probe.scaling_runs import ScalingRun, predicted_run


@pytest.fixture
def inline(monkeypatch):
    """Two actors in this process, which take turns."""

    @contextlib.contextmanager
    def open_inline(runner, arguments, *, num_actors, **options):
        made = [runner(*arguments, "cpu", None) for _ in range(num_actors or 2)]
        yield SimpleNamespace(made=made, fitting=lambda: len(made))

    def run_inline(units, fleet, on_done, *, total, name):
        workers = [Worker(number) for number, actor in enumerate(fleet.made) if actor.ready()]
        start = time.monotonic()
        for unit, worker in zip(units, itertools.cycle(workers), strict=False):
            (answer,), seconds = do_units(fleet.made[worker.name], [unit])
            on_done(unit, answer)
            worker.units, worker.cost = worker.units + 1, worker.cost + unit.evaluations
            worker.busy, worker.last_answer = worker.busy + seconds, time.monotonic()
        now, spent = time.monotonic(), dict.fromkeys(SPENT, 1e-4)
        for worker in workers:
            worker.joined = start
        found = {"seconds": now - start, "spent": spent, "losses": losses(workers, start, now, spent)}
        return Outcome(done=total, calls=total, devices=["cpu"], workers=workers, **found)

    stage = sys.modules["raymoe.probe.scaling"]
    monkeypatch.setattr(stage, "connected", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(stage, "open_fleet", open_inline)
    monkeypatch.setattr(stage, "run_units", run_inline)


@pytest.fixture
def project(tiny):
    return replace(tiny, preset=tiny_preset(probe={"coalitions": 256, "unit_evaluations": 100}))


def assert_adds_up(rows):
    for row in rows:
        assert sum(vars(row.losses).values()) == pytest.approx(1)
        assert row.rate == pytest.approx(row.evaluations / row.seconds)


def test_both_modes_are_measured_and_simulated(project, inline):
    found = scaling(project, seconds=0.1)
    assert [(row.mode, row.actors) for row in found.measured] == [
        ("strong", 1),
        ("strong", 2),
        ("weak", 1),
        ("weak", 2),
    ]
    assert_adds_up([*found.measured, *found.predicted])
    strong = [row.evaluations for row in found.measured if row.mode == "strong"]
    weak = [row.evaluations for row in found.measured if row.mode == "weak"]
    assert strong[0] == strong[1]
    assert weak[1] >= 1.5 * weak[0]  # whole units: three to two at worst
    assert all(row.units >= row.actors for row in found.measured)
    assert found.measured[0].efficiency == 1
    written = json.loads(project.workspace.read(f"{project.run}/scaling.json"))
    assert [row["actors"] for row in written["beyond"]] == [2**i for i in range(11)]
    assert project.workspace.read(f"{project.run}/scaling.svg").startswith(b"<?xml")
    assert not project.workspace.exists(f"{project.run}/scaling-units")
    with pytest.raises(InputError, match="--actors 1,9, but the cluster has room for 1 to 2"):
        scaling(project, actors=[1, 9])


@pytest.mark.slow
def test_one_and_two_real_actors_are_measured(project, ray_session):
    found = scaling(project, seconds=0.1, modes=("weak",))
    assert [(row.mode, row.actors) for row in found.measured] == [("weak", 1), ("weak", 2)]
    assert_adds_up([*found.measured, *found.predicted])
    assert found.measured[1].evaluations >= 1.5 * found.measured[0].evaluations
    assert found.devices
    assert not project.workspace.exists(f"{project.run}/scaling-units")


def test_work_for_less_than_a_unit_is_still_a_unit_for_each_actor(project, inline):
    found = scaling(project, seconds=1e-6)
    assert [row.units for row in found.measured] == [2, 2, 1, 2]


def test_the_prediction_names_the_driver_where_it_is_the_bottleneck():
    base = ScalingRun("weak", 1, 10, 10.0, 1.0, 0.0, 10.0, 1.0, 1.0, None, 0.0)
    costs = Costs(commit=2e-3)
    few = predicted_run(base, 0.1, costs)
    many = predicted_run(replace(base, actors=512), 0.1, costs, 5120.0)
    assert few.efficiency > 0.9
    assert many.efficiency < 0.2
    assert many.driver > 0.9
    assert many.losses.commit > many.losses.scheduling


@pytest.mark.parametrize(("text", "numbers"), [(None, None), ("1,2,4", [1, 2, 4]), ("3", [3])])
def test_numbers_of_actors(text, numbers):
    assert numbers_of_actors(text) == numbers


def test_numbers_of_actors_that_are_none():
    with pytest.raises(InputError, match="--actors two"):
        numbers_of_actors("two")
