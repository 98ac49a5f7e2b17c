"""The scheduler without Ray: whatever happens, every unit is done exactly once or is in the ledger."""

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.actors import simulator
from raymoe.actors.scheduler import Failure, Policy, Scheduler
from raymoe.actors.simulator import Costs, VirtualActor, VirtualUnit, simulate

SECONDS = st.floats(0, 60)


@st.composite
def fates(draw):
    """An actor with any fate, quick or slow."""
    return VirtualActor(
        start=draw(st.floats(0, 20)),
        pace=draw(st.sampled_from([0.001, 0.1, 0.5, 10.0])),
        deaths=tuple(draw(st.lists(SECONDS, max_size=4))),
        lost=draw(st.just(float("inf")) | SECONDS),
        hangs=draw(st.just(float("inf")) | SECONDS),
    )


@settings(max_examples=150, deadline=None)
@given(
    doomed=st.lists(fates(), max_size=12),
    kinds=st.lists(st.sampled_from(["good"] * 12 + ["poison", "bad"]), max_size=120),
    window=st.integers(1, 4),
    knows_total=st.booleans(),
)
def test_every_unit_is_done_once_or_in_the_ledger(doomed, kinds, window, knows_total):
    units = [
        VirtualUnit(f"u{i}", 1 + i % 3, poison=kind == "poison", bad=kind == "bad")
        for i, kind in enumerate(kinds)
    ]
    counts = Counter()
    sturdy = VirtualActor(pace=0.2)  # one that outlives all, so that the rest can be done
    found = simulate(
        units,
        [sturdy, *doomed],
        policy=Policy(window=window, max_attempts=60),  # no innocent unit meets so many deaths
        total=len(units) if knows_total else None,
        on_done=lambda unit, _: counts.update([unit.key]),
    )
    assert not counts or max(counts.values()) == 1
    assert set(counts) == {u.key for u in units if not u.poison and not u.bad}
    assert set(found.failed) == {u.key for u in units if u.poison or u.bad}
    assert found.done == len(counts)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 60), st.integers(1, 5), st.booleans())
def test_no_order_of_events_loses_or_repeats_a_unit(data, number, workers, knows_total):
    """The adversary picks what happens next, answers of workers believed dead and lost answers included."""
    units = [VirtualUnit(f"u{i}", 1 + i % 4) for i in range(number)]
    scheduler = Scheduler(iter(units), Policy(), number if knows_total else None)
    calls, counts, now = [], Counter(), 0.0

    def answer(call, failing=False):
        answers = [Failure("no") if failing else b"x" for _ in call.tasks]
        counts.update(unit.key for unit, _ in scheduler.answered(call, answers, 0.01 * call.cost, now))

    deeds = st.sampled_from(["join", "leave", "died", "lost", "answer", "late", "fails", "cancelled", "wait"])
    for _ in range(data.draw(st.integers(0, 80))):
        now += data.draw(st.sampled_from([0.0, 0.01, 1.0, 50.0]))
        deed, name = data.draw(deeds), data.draw(st.integers(0, workers - 1))
        mine = [call for call in calls if call.worker.name == name and not call.closed]
        if deed == "join":
            scheduler.join(name, now)
        elif deed in ("leave", "died") and name in scheduler.workers:
            scheduler.leave(name) if deed == "leave" else scheduler.died(name, "it died")
        elif deed in ("lost", "cancelled", "answer", "fails") and mine:
            if deed == "lost":
                scheduler.lost(mine[0], "lost", now)
            elif deed == "cancelled":
                scheduler.cancelled(mine[-1], now)
            else:
                answer(mine[0], failing=deed == "fails")
        elif deed == "late" and calls:
            answer(data.draw(st.sampled_from(calls)))
        calls += scheduler.hand_out(now)
        scheduler.to_cancel()
    scheduler.join("last", now)
    for _ in range(10 * number + 50):
        now += 1.0
        for worker in list(scheduler.workers.values()):
            if worker.name != "last" and worker.up:
                scheduler.leave(worker.name)
        calls = scheduler.hand_out(now)
        for call in calls:
            answer(call)
        if scheduler.finished:
            break
    assert scheduler.finished
    assert not counts or max(counts.values()) == 1
    assert set(counts) | set(scheduler.failed) == {u.key for u in units}
    assert not set(counts) & set(scheduler.failed)
    assert scheduler.done == len(counts)


def test_a_death_is_charged_to_the_oldest_call_alone_and_not_to_the_same_unit_in_a_row():
    scheduler = Scheduler((VirtualUnit(f"u{i}") for i in range(6)), Policy(max_attempts=2))
    handed_out = []
    for attempt in range(3):
        scheduler.join("w", attempt)
        handed_out.append([u.key for call in scheduler.hand_out(attempt) for u in call.units])
        scheduler.died("w", "it died")
    assert handed_out == [["u0", "u1"], ["u1", "u2"], ["u2", "u3"]]
    assert scheduler.failed == {}
    for attempt in range(3, 9):
        scheduler.join("w", attempt)
        scheduler.hand_out(attempt)
        scheduler.died("w", "it died")
    assert scheduler.failed["u0"] == "it died (2 attempts)"


@pytest.mark.parametrize("poison", ["u0", "u1", "u2"])
def test_nobody_is_given_up_for_the_deaths_of_another(poison):
    """A worker may die with its oldest call finished and the answer still on its way: that is charged."""
    scheduler = Scheduler((VirtualUnit(f"u{i}") for i in range(3)), Policy(max_attempts=3))
    scheduler.join("w", 0.0)
    worker, now = scheduler.workers["w"], 0.0
    while not scheduler.finished:
        now += 1.0
        scheduler.hand_out(now)
        keys = [unit.key for call in worker.calls for unit in call.units]
        if poison in keys:
            scheduler.died("w", "it died")
            scheduler.join("w", now)
        else:
            call = worker.calls[0]
            scheduler.answered(call, [b""] * len(call.tasks), 0.1, now)
    assert list(scheduler.failed) == [poison]
    assert scheduler.done == 2


def test_units_that_shared_a_call_with_a_death_are_handed_out_one_by_one():
    scheduler = Scheduler((VirtualUnit(f"u{i}") for i in range(100)), Policy(window=1))
    scheduler.join("w", 0.0)
    (first,) = scheduler.hand_out(0.0)
    assert len(first.units) == 1  # nothing is known of its pace yet
    scheduler.answered(first, [b""], 0.001, 1.0)
    (together,) = scheduler.hand_out(1.0)
    assert len(together.units) >= 10
    scheduler.died("w", "it died")
    scheduler.join("w", 2.0)
    for unit in together.units:
        (call,) = scheduler.hand_out(2.0)
        assert call.units == [unit]
        scheduler.answered(call, [b""], 0.001, 2.0)
    assert scheduler.failed == {}


def test_calls_shrink_towards_the_end_and_what_is_not_begun_goes_to_the_idle():
    found = simulate(
        [VirtualUnit(f"u{i}") for i in range(800)],
        [VirtualActor(pace=0.01)] * 3 + [VirtualActor(pace=0.1)],
        total=800,
    )
    assert found.done == 800
    ideal = 800 / (3 / 0.01 + 1 / 0.1)
    assert found.seconds < 1.15 * ideal + 0.1


def test_a_lost_machine_is_not_waited_for_at_the_end():
    actors = [VirtualActor(pace=0.5), VirtualActor(pace=0.5, lost=4.8)]
    found = simulate([VirtualUnit(f"u{i}") for i in range(20)], actors, costs=Costs(detect_machine=1000.0))
    assert found.done == 20
    assert found.seconds < 15


def test_a_hang_is_ended_and_what_hung_is_done_again():
    actors = [VirtualActor(pace=0.5, hangs=3.1)]
    found = simulate([VirtualUnit(f"u{i}") for i in range(20)], actors)
    assert (found.done, found.deaths, found.failed) == (20, 1, {})
    assert 120 < found.seconds < 150


@pytest.mark.parametrize("actors", [1, 64, 1024])
def test_the_simulated_efficiency_is_what_the_losses_say(actors):
    work = [VirtualUnit(f"u{i}") for i in range(20 * actors)]
    found = simulate(work, [VirtualActor(pace=0.5)] * actors, total=len(work))
    share = 0.5 * len(work) / (actors * found.seconds)
    shares = vars(found.losses)
    assert sum(shares.values()) == pytest.approx(1)
    assert found.losses.busy == pytest.approx(share, abs=0.01)


def test_what_committing_really_takes_is_charged_beyond_what_the_driver_has_waited(monkeypatch):
    """100 commits of 10 ms: with slow units they fit into the waiting, with quick ones they are the time."""
    clock = [0.0]
    monkeypatch.setattr(simulator, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def commit(unit, answer):
        clock[0] += 0.01

    for pace, least, most in ((0.1, 0.0, 0.05), (0.0001, 0.6, 5.0)):
        found = simulate(
            [VirtualUnit(f"u{i}") for i in range(100)],
            [VirtualActor(pace=pace)],
            costs=Costs(commit=None),
            on_done=commit,
        )
        assert found.done == 100
        assert least <= found.spent["commit"] < most
