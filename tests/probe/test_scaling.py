"""The scaling command: what it measures adds up, what it writes can be read, what it can't do it says."""

import json
from dataclasses import replace

import pytest
from support.tiny import tiny_preset

from raymoe.actors.simulator import Costs
from raymoe.errors import InputError
from raymoe.probe.scaling import numbers_of_actors, scaling
from raymoe.probe.scaling_runs import ScalingRun, predicted_run


def test_one_and_two_actors_are_measured_and_simulated(tiny, ray_session):
    project = replace(tiny, preset=tiny_preset(probe={"coalitions": 256, "unit_evaluations": 100}))
    found = scaling(project, seconds=0.5)
    assert [(row.mode, row.actors) for row in found.measured] == [
        ("strong", 1),
        ("strong", 2),
        ("weak", 1),
        ("weak", 2),
    ]
    for row in [*found.measured, *found.predicted]:
        assert sum(vars(row.losses).values()) == pytest.approx(1)
        assert row.rate == pytest.approx(row.evaluations / row.seconds)
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


def test_work_for_less_than_a_unit_is_still_a_unit_for_each_actor(tiny, ray_session):
    project = replace(tiny, preset=tiny_preset(probe={"coalitions": 256, "unit_evaluations": 100}))
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
