"""The pool with toy units: deaths, poison, the unit's own errors, actors that can't start."""

import os
import signal
import sys
from dataclasses import dataclass

import pytest
import ray.cloudpickle

from raymoe.actors import pool
from raymoe.errors import RaymoeError

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


class Calls:
    """Stands in for ray: two actors, one of which dies and stays away while the other has nothing to do."""

    def __init__(self):
        self.answers = {}

    def actor(self, name):
        calls = self

        class Method:
            def __init__(self, deed):
                self.deed = deed

            def remote(self, *arguments):
                call = (name, self.deed, len(calls.answers))
                calls.answers[call] = arguments
                return call

        return type("Actor", (), {"ready": Method("ready"), "run": Method("run")})()

    def wait(self, calls, num_returns, timeout):
        # the dead actor's calls come last, and its ready() never
        order = sorted((c for c in calls if c[:2] != ("dead", "ready")), key=lambda c: (c[0] == "dead", c[2]))
        return order[:num_returns], []

    def get(self, call):
        if isinstance(call, list):
            return ["cpu"] * len(call)
        if call[0] == "dead":
            raise pool.RayActorError
        return b"done"

    def kill(self, actor):
        pass


def test_an_idle_actor_takes_over_from_one_that_stays_away(monkeypatch):
    fake = Calls()
    monkeypatch.setattr(pool, "ray", fake)
    monkeypatch.setattr(pool, "wait_until_ready", lambda actors: None)
    monkeypatch.setattr(pool, "RESTART_TIMEOUT", 0.0)
    done = []
    actors = [fake.actor("well"), fake.actor("dead")]
    outcome = pool.run_units(iter([Toy(f"u{i}") for i in range(4)]), actors, lambda u, _: done.append(u.key))
    assert sorted(done) == ["u0", "u1", "u2", "u3"]
    assert outcome.failed == {}
