"""The scheduler with virtual actors and a virtual clock: what thousands of them would do.

The driver is one process that does one thing after the other, each at the cost measured for the real one.
Actors work at their own pace, die, hang, restart, or are lost with their machine.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from raymoe.actors.lost_time import Losses, losses
from raymoe.actors.scheduler import Call, Failure, HasKey, Policy, Scheduler


@dataclass(frozen=True)
class Costs:
    """Seconds that things take; the defaults are what benchmarks/scaling.py measured on two cores.

    Attributes:
        send, collect: of the driver, per call.
        unit: of the driver, per unit of a call on top.
        commit: of the driver, per unit; None charges what ``on_done`` really takes, less the time for which
            the driver has waited before, in which the real one's threads would have written.
        look: of the driver, per actor and look at what has come back.
        call: of an actor, per call.
        latency: between driver and actor, each way.
        detect: until the driver knows that an actor died.
        detect_machine: the same for a lost machine.
        restart: until an actor is ready again.
    """

    send: float = 0.35e-3
    collect: float = 0.2e-3
    unit: float = 0.02e-3
    commit: float | None = 0.2e-3
    look: float = 1.5e-6
    call: float = 0.3e-3
    latency: float = 0.5e-3
    detect: float = 0.05
    detect_machine: float = 12.0
    restart: float = 5.0


@dataclass(frozen=True)
class VirtualActor:
    """What one will do.

    Attributes:
        start: seconds until it is ready.
        pace: its seconds per unit of cost.
        deaths: when it dies; it restarts.
        lost: when its machine is lost; it does not come back.
        hangs: when it stops answering; whoever ends it gets it back.
    """

    start: float = 0.0
    pace: float = 1.0
    deaths: tuple[float, ...] = ()
    lost: float = math.inf
    hangs: float = math.inf


@dataclass(frozen=True)
class VirtualUnit:
    """A unit of some cost; a poison one kills every actor that begins it, a bad one raises."""

    key: str
    evaluations: float = 1.0
    poison: bool = False
    bad: bool = False


@dataclass
class Simulated:
    """What came of it.

    Attributes:
        done, failed, deaths: see ``Scheduler``.
        seconds: to the last answer.
        spent: the driver's seconds by what it did.
        losses: where the actors' time went.
        calls: how many were sent.
        evaluations: of the units that were done.
    """

    done: int
    failed: dict[str, str]
    deaths: int
    seconds: float
    spent: dict[str, float]
    losses: Losses
    calls: int
    evaluations: float

    @property
    def driver_busy(self) -> float:
        """Share of the time that the driver was not waiting: near 1 it is the bottleneck."""
        return sum(self.spent.values()) / max(self.seconds, 1e-12)


@dataclass(eq=False)
class _Actor:
    """A virtual actor: what it will do, and what it does now."""

    name: int
    plan: VirtualActor
    alive: bool = False
    generation: int = 0
    running: Call | None = None
    queue: deque[Call] = field(default_factory=deque)
    hung: bool = False


def simulate(
    units: Iterable[HasKey],
    actors: list[VirtualActor],
    *,
    costs: Costs | None = None,
    policy: Policy | None = None,
    total: int | None = None,
    on_done: Callable[[HasKey, bytes], None] = lambda unit, answer: None,
    limit: float = 1e7,
) -> Simulated:
    """Run the scheduler against virtual actors until every unit is done or given up.

    Args:
        units: anything with a ``key``; ``evaluations`` is the cost, see also ``VirtualUnit``.
        actors: what each will do. When all are lost the rest is never done.
        costs, policy, total: see there.
        on_done: called with each unit and an empty answer, as the pool does.
        limit: virtual seconds after which it is given up.
    """
    return _Simulation(units, actors, costs or Costs(), policy, total, on_done).run(limit)


class _Simulation:
    """Driver and actors, each with a queue by time: what actors will do, and what the driver will hear."""

    def __init__(
        self,
        units: Iterable[HasKey],
        actors: list[VirtualActor],
        costs: Costs,
        policy: Policy | None,
        total: int | None,
        on_done: Callable[[HasKey, bytes], None],
    ) -> None:
        self.costs, self.on_done = costs, on_done
        self.scheduler = Scheduler(units, policy, total)
        self.scheduler.seconds_per_call = costs.send + costs.collect
        self.actors: dict[Hashable, _Actor] = {name: _Actor(name, plan) for name, plan in enumerate(actors)}
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.inbox: list[tuple[float, int, str, tuple[Any, ...]]] = []
        self.numbers = itertools.count()
        self.cancelled: set[int] = set()
        self.calls = 0
        self.waited = 0.0  # virtual seconds of the driver's that no commit has used
        self.spent = {"send": 0.0, "collect": 0.0, "commit": 0.0}
        for actor in self.actors.values():
            self._later(actor.plan.start, self._start, actor)
            for death in actor.plan.deaths:
                self._later(death, self._die, actor, costs.detect, True)
            if actor.plan.lost < math.inf:
                self._later(actor.plan.lost, self._die, actor, costs.detect_machine, False)
            if actor.plan.hangs < math.inf:
                self._later(actor.plan.hangs, self._hang, actor)

    def run(self, limit: float) -> Simulated:
        now = last_answer = next_check = 0.0
        scheduler, costs = self.scheduler, self.costs
        while not scheduler.finished and now < limit:
            self._advance(now)
            came = self._inbox_until(now)
            if came:
                looked = costs.look * len(self.actors)
                self.spent["collect"] += looked
                now += looked
            for kind, arguments in came:
                now = self._hear(kind, arguments, now)
                if kind == "answer":
                    last_answer = now
            if now >= next_check:
                next_check = now + 1.0
                for worker in scheduler.stalled(now):
                    scheduler.died(worker.name, "stalled")
                    self._later(now, self._die, self.actors[worker.name], 0.0, True)
            sent = scheduler.hand_out(now)
            for call in sent:
                took = costs.send + costs.unit * len(call.tasks)
                self.spent["send"] += took
                now += took
                self.calls += 1
                actor = self.actors[call.worker.name]
                self._later(now + costs.latency, self._arrive, actor, actor.generation, call)
            self.cancelled.update(call.number for call in scheduler.to_cancel())
            if not came and not sent:
                following = [queue[0][0] for queue in (self.events, self.inbox) if queue]
                if not following and not scheduler.up:
                    break  # nobody is left
                until = max(now, min([*following, now + (0.1 if scheduler.all_handed_out else 1.0)]))
                self.waited += until - now
                now = until
        return Simulated(
            scheduler.done,
            scheduler.failed,
            scheduler.deaths,
            last_answer,
            self.spent,
            losses(scheduler.workers.values(), 0.0, last_answer, self.spent),
            self.calls,
            scheduler.evaluations,
        )

    def _hear(self, kind: str, arguments: tuple[Any, ...], now: float) -> float:
        """The driver takes one message; returns when it is through with it."""
        scheduler, costs = self.scheduler, self.costs
        if kind == "join":
            (actor,) = arguments
            if actor.alive:
                scheduler.join(actor.name, now)
        elif kind == "died":
            (actor,) = arguments
            worker = scheduler.workers.get(actor.name)
            if worker is not None and worker.up:
                scheduler.died(actor.name, "its actor died while it ran")
        elif kind == "cancelled":
            (call,) = arguments
            scheduler.cancelled(call, now)
        else:
            call, answers, seconds = arguments
            took = costs.collect + costs.unit * len(call.tasks)
            self.spent["collect"] += took
            now += took
            for unit, answer in scheduler.answered(call, answers, seconds, now):
                committed = self._commit(unit, answer)
                self.spent["commit"] += committed
                now += committed
        return now

    def _commit(self, unit: HasKey, answer: bytes) -> float:
        """Hand a unit over; returns the virtual seconds that takes."""
        start = time.perf_counter()
        self.on_done(unit, answer)
        if self.costs.commit is not None:
            return self.costs.commit
        took = time.perf_counter() - start
        free = min(took, self.waited)
        self.waited -= free
        return took - free

    def _later(self, when: float, what: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), what, arguments))

    def _tell(self, when: float, kind: str, *arguments: Any) -> None:
        heapq.heappush(self.inbox, (when, next(self.numbers), kind, arguments))

    def _advance(self, now: float) -> None:
        while self.events and self.events[0][0] <= now:
            when, _, what, arguments = heapq.heappop(self.events)
            what(when, *arguments)

    def _inbox_until(self, now: float) -> list[tuple[str, tuple[Any, ...]]]:
        came = []
        while self.inbox and self.inbox[0][0] <= now:
            _, _, kind, arguments = heapq.heappop(self.inbox)
            came.append((kind, arguments))
        return came

    def _start(self, now: float, actor: _Actor) -> None:
        if not actor.alive and now < actor.plan.lost:
            actor.alive, actor.hung = True, False
            self._tell(now + self.costs.latency, "join", actor)

    def _die(self, now: float, actor: _Actor, detect: float, restarts: bool) -> None:
        if not actor.alive:
            return
        actor.alive, actor.running = False, None
        actor.queue.clear()
        actor.generation += 1
        self._tell(now + detect, "died", actor)
        if restarts:
            self._later(now + detect + self.costs.restart, self._start, actor)

    def _hang(self, now: float, actor: _Actor) -> None:
        actor.hung = actor.alive

    def _arrive(self, now: float, actor: _Actor, generation: int, call: Call) -> None:
        if actor.alive and generation == actor.generation:
            actor.queue.append(call)
            self._work(now, actor)

    def _work(self, now: float, actor: _Actor) -> None:
        while actor.running is None and actor.queue:
            call = actor.queue.popleft()
            if call.number in self.cancelled:
                self._tell(now + self.costs.latency, "cancelled", call)
                continue
            actor.running = call
            if any(getattr(unit, "poison", False) for unit in call.units):
                self._later(now, self._die, actor, self.costs.detect, True)
            else:
                seconds = self.costs.call + call.cost * actor.plan.pace
                self._later(now + seconds, self._finish, actor, actor.generation, call, seconds)

    def _finish(self, now: float, actor: _Actor, generation: int, call: Call, seconds: float) -> None:
        if not actor.alive or generation != actor.generation or actor.hung:
            return
        answers = [Failure("bad") if getattr(unit, "bad", False) else b"" for unit in call.units]
        self._tell(now + self.costs.latency, "answer", call, answers, seconds)
        actor.running = None
        self._work(now, actor)
