"""The pool with toy units: deaths, poison, the unit's own errors, actors that can't start."""

import os
import signal
import sys
from dataclasses import dataclass

import pytest
import ray.cloudpickle

from raymoe.errors import RaymoeError
from raymoe.probe import pool

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actors can't import this file


@dataclass(frozen=True)
class Toy:
    key: str
    deed: str = "work"


class Worker:
    def __init__(self, folder, start="well"):
        self.folder, self.start = folder, start

    def ready(self):
        if self.start == "badly":
            raise RaymoeError("the checkpoint is not there", "train first")
        return "cpu"

    def run(self, unit):
        if unit.deed == "die once":
            flag = os.path.join(self.folder, unit.key)
            if not os.path.exists(flag):
                open(flag, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if unit.deed == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.deed == "raise":
            raise RaymoeError(f"{unit.key} is not finite", "look at it")
        return unit.key.encode()


def make_actors(ray, folder, count=2, **options):
    actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=0)(Worker)
    return [actor.remote(str(folder), **options) for _ in range(count)]


def run(ray, units, folder):
    done = {}
    outcome = pool.run_units(
        iter(units), make_actors(ray, folder), lambda u, answer: done.setdefault(u.key, answer)
    )
    return outcome, done


def test_every_unit_is_done_once(ray_session, tmp_path):
    units = [Toy(f"u{i}") for i in range(60)]
    outcome, done = run(ray_session, units, tmp_path)
    assert done == {u.key: u.key.encode() for u in units}
    assert (outcome.done, outcome.failed, outcome.deaths) == (60, {}, 0)


def test_units_survive_the_death_of_their_actor(ray_session, tmp_path):
    units = [Toy(f"u{i}", "die once" if i in (3, 4, 11) else "work") for i in range(20)]
    outcome, done = run(ray_session, units, tmp_path)
    assert sorted(done) == sorted(u.key for u in units)
    assert outcome.failed == {}
    assert outcome.deaths == 3


def test_poison_ends_in_the_ledger_and_the_rest_completes(ray_session, tmp_path):
    units = [Toy(f"u{i}", {2: "poison", 5: "raise"}.get(i, "work")) for i in range(12)]
    outcome, done = run(ray_session, units, tmp_path)
    assert sorted(outcome.failed) == ["u2", "u5"]
    assert "died 3 times" in outcome.failed["u2"]
    assert "u5 is not finite" in outcome.failed["u5"]
    assert len(done) == outcome.done == 10
    assert outcome.deaths == 3  # only the poison was charged, three times


def test_an_actor_that_cannot_start_says_why(ray_session, tmp_path):
    actors = make_actors(ray_session, tmp_path, 1, start="badly")
    with pytest.raises(RaymoeError, match="the checkpoint is not there") as caught:
        pool.run_units(iter([Toy("u0")]), actors, lambda *_: None)
    assert caught.value.remedy == "train first"


def test_more_actors_than_the_cluster_has(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START_TIMEOUT", 3.0)
    with pytest.raises(
        RaymoeError, match=r"of 4 actors did not start within 3 s; the cluster has 2 CPUs"
    ) as caught:
        pool.run_units(iter([Toy("u0")]), make_actors(ray_session, tmp_path, 4), lambda *_: None)
    assert "--actors" in caught.value.remedy
