"""The pool with toy units: deaths, poison, the unit's own errors, actors that can't start or hang."""

import itertools
import math
import os
import signal
import sys
import time
from dataclasses import dataclass

import pytest
import ray.cloudpickle

from raymoe.actors import pool
from raymoe.actors.fleet import Fleet, open_fleet
from raymoe.actors.scheduler import Policy, Scheduler
from raymoe.actors.shape import ActorShape
from raymoe.errors import Interrupted, RaymoeError

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actors can't import this file


@dataclass(frozen=True)
class Toy:
    key: str
    deed: str = "work"
    evaluations: int = 1


CORE = ActorShape(1)


class Worker:
    def __init__(self, folder, start, device, threads):
        self.folder, self.start = folder, start

    def ready(self):
        if self.start == "badly":
            raise RaymoeError("the checkpoint is not there", "train first")
        return "cpu"

    def once(self, unit):
        flag = os.path.join(self.folder, unit.key)
        if os.path.exists(flag):
            return False
        open(flag, "w").close()
        return True

    def run(self, unit):
        if unit.deed == "die once" and self.once(unit):
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.deed == "hang once" and self.once(unit):
            time.sleep(600)
        if unit.deed == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.deed == "raise":
            raise RaymoeError(f"{unit.key} is not finite", "look at it")
        if unit.deed == "sleep":
            time.sleep(0.2)
        return unit.key.encode()


def make_actors(ray, folder, count=2, start="well"):
    """As many as asked for, whether there is room for them or not."""
    return Fleet(Worker, (str(folder), start), CORE, asked=count, waits=True, together=True)


def run(ray, units, folder, actors=None, **options):
    done = []
    outcome = pool.run_units(
        iter(units),
        actors or make_actors(ray, folder),
        lambda u, answer: done.append((u.key, answer)),
        **options,
    )
    assert len(dict(done)) == len(done), "a unit was counted twice"
    return outcome, dict(done)


def test_every_unit_is_done_once(ray_session, tmp_path):
    units = [Toy(f"u{i}") for i in range(300)]
    ticks = []
    outcome, done = run(ray_session, units, tmp_path, total=300, evaluations=300, on_tick=ticks.append)
    assert done == {u.key: u.key.encode() for u in units}
    assert (outcome.done, outcome.failed, outcome.deaths) == (300, {}, 0)
    assert outcome.devices == ["cpu"]
    assert sum(w.units for w in outcome.workers) == 300
    assert 0 < sum(outcome.spent.values()) <= outcome.seconds + outcome.start_seconds + 1
    assert all("on 2 x cpu" in tick.line for tick in ticks)


def test_units_survive_the_death_of_their_actor(ray_session, tmp_path):
    units = [Toy(f"u{i}", "die once" if i in (3, 4, 11) else "work") for i in range(20)]
    outcome, done = run(ray_session, units, tmp_path)
    assert sorted(done) == sorted(u.key for u in units)
    assert outcome.failed == {}
    assert 1 <= outcome.deaths <= 6  # several may share a call, and one may be of a call taken over


def test_poison_ends_in_the_ledger_and_the_rest_completes(ray_session, tmp_path):
    units = [Toy(f"u{i}", {2: "poison", 5: "raise"}.get(i, "work")) for i in range(12)]
    outcome, done = run(ray_session, units, tmp_path)
    assert sorted(outcome.failed) == ["u2", "u5"]
    assert "its actor died while it ran (3 attempts)" in outcome.failed["u2"]
    assert "u5 is not finite" in outcome.failed["u5"]
    assert len(done) == outcome.done == 10
    # three times the poison was charged, and whenever it shared a call, which on a busy machine is more often
    assert 3 <= outcome.deaths <= 6


def test_an_actor_that_cannot_start_says_why(ray_session, tmp_path):
    actors = make_actors(ray_session, tmp_path, 1, start="badly")
    with pytest.raises(RaymoeError, match="the checkpoint is not there") as caught:
        pool.run_units(iter([Toy("u0")]), actors, lambda *_: None)
    assert caught.value.remedy == "train first"


def test_actors_without_a_place_are_not_waited_for(ray_session, tmp_path, monkeypatch):
    """Two of four have one. The time to wait for the others is over as soon as those two are ready."""
    joined, join = [], Scheduler.join

    def then_too_late(self, name, now):
        join(self, name, now)
        joined.append(name)
        if len(joined) == 2:
            monkeypatch.setattr(pool, "START_TIMEOUT", 0.0)

    monkeypatch.setattr(Scheduler, "join", then_too_late)
    monkeypatch.setattr(pool, "START_TIMEOUT", math.inf)
    outcome, done = run(ray_session, [Toy("u0")], tmp_path, make_actors(ray_session, tmp_path, 4))
    assert done == {"u0": b"u0"}
    assert len(outcome.workers) == 2


def test_no_actor_with_a_place_says_what_there_is_and_what_was_asked(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START_TIMEOUT", 2.0)
    big = Fleet(Worker, (str(tmp_path), "well"), ActorShape(64), asked=1)
    with pytest.raises(RaymoeError, match=r"within 2 s; 1 actors of 64 CPU each were asked .* has 2 CPUs"):
        pool.run_units(iter([Toy("u0")]), big, lambda *_: None)


def test_a_call_that_hangs_costs_its_actor_and_is_done_again(ray_session, tmp_path, monkeypatch):
    """The scheduler believes that an hour has passed as soon as the unit hangs."""
    stalled = Scheduler.stalled

    def an_hour_later(self, now):
        hangs = (tmp_path / "u7").exists() and not self.deaths
        return stalled(self, now + 3600 if hangs else now)

    monkeypatch.setattr(Scheduler, "stalled", an_hour_later)
    units = [Toy(f"u{i}", "hang once" if i == 7 else "work") for i in range(20)]
    outcome, done = run(ray_session, units, tmp_path, make_actors(ray_session, tmp_path, 1))
    assert len(done) == 20
    assert outcome.deaths == 1


def test_the_last_unit_of_a_slow_actor_is_done_elsewhere(ray_session, tmp_path):
    """Nobody waits for a machine that is lost or hangs at the very end: another does its unit too."""
    units = [Toy(f"u{i}", "hang once" if i == 19 else "work") for i in range(20)]
    outcome, done = run(ray_session, units, tmp_path, policy=Policy(stall_seconds=None))
    assert len(done) == 20
    assert outcome.deaths == 0


def test_a_fleet_takes_what_there_is(ray_session, tmp_path, monkeypatch):
    arguments = (str(tmp_path), "well")
    fleet = Fleet(Worker, arguments, CORE, most=8)
    assert fleet.missing(0) == 2
    assert fleet.shortage() == ""
    many = Fleet(Worker, arguments, CORE, asked=5)
    assert (many.missing(0), many.fitting()) == (2, 2)
    assert many.shortage() == "5 actors were asked for, there is room for 2"
    waits = Fleet(Worker, arguments, CORE, asked=5, waits=True)
    assert (waits.missing(1), waits.fitting()) == (4, 2)  # of which the estimated time tells
    assert waits.shortage() == "3 more actors are waited for"
    assert ray_session.get(pool.first_actor(fleet).ready.remote()) == "cpu"

    def until_both_work():  # however long the second takes to start
        for i in itertools.count():
            if {worker.units > 0 for worker in workers.values()} == {True} and len(workers) == 2:
                return
            yield Toy(f"u{i}", "sleep")

    workers, join = {}, Scheduler.join

    def noted(self, name, now):
        join(self, name, now)
        workers.update(self.workers)

    monkeypatch.setattr(Scheduler, "join", noted)
    outcome, done = run(ray_session, until_both_work(), tmp_path, fleet)
    assert len(done) == outcome.done
    assert len(outcome.workers) == 2


def test_machines_are_waited_for_on_a_cluster_alone(ray_session, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def missing(**how):
        with open_fleet(Worker, (str(tmp_path), "well"), **how) as fleet:
            return fleet.missing(0)

    assert missing(num_actors=5, waits=True) == 2
    assert missing(num_actors=5, waits=True, address="auto") == 5
    assert missing(num_actors=5, address="auto") == 2
    assert missing(waits=True, address="auto") == 2


def test_where_there_is_nothing_to_do_nobody_is_waited_for(tmp_path, monkeypatch):
    """No actor is made, so Ray is not even needed."""
    monkeypatch.setattr(Fleet, "make", lambda self: pytest.fail("an actor was made"))
    outcome = pool.run_units([], make_actors(None, tmp_path), lambda *_: None, total=0)
    assert (outcome.done, outcome.failed, outcome.workers) == (0, {}, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_units_and_keeps_what_is_there(ray_session, tmp_path, number):
    done = []
    units = [Toy(f"u{i}", "sleep") for i in range(1000)]
    before = signal.getsignal(number)

    def on_done(unit, _):
        done.append(unit.key)
        if len(done) == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"\d+ of 1000 units were done in this run") as caught:
        pool.run_units(iter(units), make_actors(ray_session, tmp_path), on_done, total=1000)
    assert caught.value.exit_code == 128 + number
    assert caught.value.message.startswith(f"{len(done)} of ")
    assert signal.getsignal(number) is before
