"""A pull pool of Ray actors that survives their deaths, and lets them come and go while it runs.

Knows nothing of what a unit is: it has a ``key``, a runner takes it and answers bytes. Who does what is the
scheduler's affair; here calls are sent and collected, actors started again, and signals heard.
Actors restart by themselves but calls are not retried by Ray, so that a unit which kills its actor is found.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError

from raymoe.actors.actor import Place, begin, do_units
from raymoe.actors.fleet import Fleet, Handle
from raymoe.actors.lost_time import NOTHING, Losses, losses
from raymoe.actors.scheduler import Call, Failure, HasKey, Policy, Scheduler, Worker
from raymoe.actors.stopping import Stop, stoppable
from raymoe.actors.throughput import Metrics, Throughput, Tick
from raymoe.errors import Interrupted, RaymoeError

# Seconds until an actor must have a place. It then loads for as long as it needs: it may download weights.
START_TIMEOUT = 180.0
MACHINE_TIMEOUT = 1800.0  # the same where a machine must be had first
RESTART_TIMEOUT = 120.0
LOOK_SECONDS = 5.0  # between looks for new machines
SPENT = ("send", "collect", "commit", "wait")

Unit = TypeVar("Unit", bound=HasKey)


@dataclass
class Outcome:
    """What became of the units, and where the time went.

    Attributes:
        done: how many were done.
        failed: those given up, and why.
        deaths: of actors.
        refused: machines whose actor could not start although others did, and why.
        devices: distinct names of the devices that worked, sorted.
        workers: one per actor, with its share and its busy seconds.
        start_seconds: until the first actor could work.
        seconds: from then to the end.
        spent: seconds of this process by what it did then: ``send``, ``collect``, ``commit`` and ``wait``.
        calls: how many were sent.
        losses: where the actors' time went; all 0 where there was nothing to do.
    """

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    deaths: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    start_seconds: float = 0.0
    seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SPENT, 0.0))
    calls: int = 0
    losses: Losses = NOTHING

    @property
    def remarks(self) -> list[str]:
        """What to tell the user, a line each."""
        lines = [f"{actor} was left out: {reason}" for actor, reason in self.refused.items()]
        return [*lines, f"{self.deaths} actor deaths survived"] if self.deaths else lines

    def raise_if_failed(self, total: int, what: str, remedy: str) -> None:
        """Raise for a stage that can't do without any of its units.

        Args:
            total: how many there were.
            what: what there were so many of, and what became of those that failed.
            remedy: what to do about it.

        Raises:
            RaymoeError: a unit failed; names the first.
        """
        if self.failed:
            key, reason = next(iter(self.failed.items()))
            raise RaymoeError(
                f"{len(self.failed)} of {total} {what}, the first ({key}) because: {reason}", remedy
            )


def run_units(
    units: Iterable[Unit],
    fleet: Fleet,
    on_done: Callable[[Unit, bytes], None],
    *,
    total: int | None = None,
    evaluations: float | None = None,
    policy: Policy | None = None,
    on_tick: Callable[[Tick], None] | None = None,
    name: str = "units",
) -> Outcome:
    """Hand units to a fleet's actors until none is left, then end the actors.

    Begun when the first actor is ready, or all of them (``Fleet.together``); then looking for room for more.
    Where ``total`` is 0 no actor is made.

    The first SIGINT or SIGTERM stops it: nothing more is handed out, answers that are there are taken.

    Args:
        units: consumed as actors become free; never held as a whole. Their ``evaluations``, if any, are
            their cost.
        fleet: makes the actors.
        on_done: called in this process with each finished unit and its answer, in order of arrival.
        total, evaluations: how many units there are and their cost, where that is known.
        policy: attempts, stall timeout and the like.
        on_tick: told how it goes about once a second.
        name: of the stage, a tag of the figures in Ray's metrics.

    Raises:
        RaymoeError: no actor can start, or none of them comes back after dying.
        Interrupted: it was asked to stop.
    """
    if total == 0:
        return Outcome()
    scheduler = Scheduler(units, policy, total)
    try:
        return _Pool(scheduler, fleet, on_done, Throughput(total, evaluations), on_tick, name).run()
    finally:
        fleet.end()


def first_actor(fleet: Fleet) -> Handle:
    """An actor that is ready, to ask it something before the units are known; the others go on starting.

    ``run_units`` with the same fleet takes them all over.

    Raises:
        RaymoeError, Interrupted: see ``run_units``.
    """
    pool = _Pool(Scheduler(()), fleet, lambda unit, answer: None, Throughput(), None, "")
    try:
        with stoppable() as stop:
            while not pool.scheduler.up:
                pool._look_after(stop)
                pool._wait()
    except BaseException:
        fleet.end()
        raise
    return next(pool.handles[name] for name, worker in pool.scheduler.workers.items() if worker.up)


def own_error(error: BaseException) -> RaymoeError:
    """The RaymoeError inside a Ray error where there is one, else one with the last line of its text."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RaymoeError):
            return RaymoeError(cause.message, cause.remedy)
        cause = getattr(cause, "cause", None)
    lines = [line for line in str(error).splitlines() if line.strip()]
    return RaymoeError(f"an actor failed: {lines[-1].strip() if lines else type(error).__name__}")


def _resources(found: dict[str, float]) -> str:
    return f"{found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs"


class _Pool:
    """The scheduler's hands: what is open with Ray, by actor (a number) or call, and what is to be done when.

    An actor is *placing* until Ray has found it a machine and *starting* until its runner is ready. One that
    died is *down*, and asked *again* every half a second whether it is back.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        fleet: Fleet,
        on_done: Callable[[Any, bytes], None],
        throughput: Throughput,
        on_tick: Callable[[Tick], None] | None,
        name: str,
    ) -> None:
        self.scheduler, self.on_done, self.throughput, self.on_tick = scheduler, on_done, throughput, on_tick
        self.fleet = fleet
        self.names = itertools.count()
        self.handles: dict[Hashable, Handle] = {}
        self.refs: dict[int, Any] = {}  # of open calls, by their number
        self.placing: dict[Any, Hashable] = {}  # actors that wait for a place
        self.starting: dict[Any, Hashable] = {}  # those and the ones that load
        self.again: dict[Hashable, float] = {}  # actors to be asked once more whether they are back, and when
        self.down: dict[Hashable, float] = {}  # actors that died, since when
        self.places: dict[Hashable, Place] = {}
        self.outcome = Outcome(workers=[])
        self.metrics: Metrics | None = None
        self.name = name
        self.began = self.last_up = time.monotonic()
        self.first_up: float | None = None
        self.next_look = self.next_check = 0.0
        for actor in fleet.made:
            self._add(actor)

    def run(self) -> Outcome:
        with stoppable() as stop:
            while not self.scheduler.finished:
                self._look_after(stop)
                if self._under_way():
                    self._send()
                if not self.scheduler.finished:
                    self._wait()
        return self._close()

    def _publish(self, tick: Tick) -> None:
        self.metrics = self.metrics or Metrics(self.name)
        self.metrics.update(tick)

    def _under_way(self) -> bool:
        """Whether units are handed out: from the first actor on, or when all that have a place are ready."""
        if self.first_up is not None or not self.scheduler.up:
            return self.first_up is not None
        late = time.monotonic() - self.began > START_TIMEOUT
        waited_for = set(self.starting.values()) - (set(self.placing.values()) if late else set())
        if self.fleet.together and waited_for:
            return False
        self.first_up = time.monotonic()
        for worker in self.scheduler.workers.values():  # whoever was ready before had to wait for this
            worker.joined = self.first_up
        return True

    def _add(self, actor: Handle) -> None:
        name = next(self.names)
        self.handles[name] = actor
        self._begin(name)

    def _begin(self, name: Hashable) -> None:
        actor = self.handles[name]
        self.placing[actor.__ray_ready__.remote()] = name
        self.starting[actor.__ray_call__.remote(begin)] = name

    def _send(self) -> None:
        start = time.perf_counter()
        for call in self.scheduler.hand_out(time.monotonic()):
            self.outcome.calls += 1
            actor = self.handles[call.worker.name]
            self.refs[call.number] = actor.__ray_call__.remote(do_units, call.units)
        for call in self.scheduler.to_cancel():
            if call.number in self.refs:
                ray.cancel(self.refs[call.number])
        self.outcome.spent["send"] += time.perf_counter() - start

    def _wait(self) -> None:
        """Wait for something to come back, then take all that is there."""
        start = time.perf_counter()
        heads = self._heads()
        waiting = [*heads, *self.starting, *self.placing]
        if not waiting:
            time.sleep(0.05)
            return
        # Somebody may become able to take over work without anything coming back: look often at the end.
        timeout = 0.1 if self.scheduler.all_handed_out else 0.5
        found, rest = ray.wait(waiting, num_returns=1, timeout=timeout, fetch_local=False)
        if found and rest:
            more, _ = ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)
            found += more
        self.outcome.spent["wait"] += time.perf_counter() - start
        for ref in found:
            if ref in self.placing:
                self._placed(ref)
        self._collect([(heads[ref], ref) for ref in found if ref in heads])
        for ref in found:
            if ref in self.starting:
                self._begun(ref, self.starting.pop(ref))

    def _heads(self) -> dict[Any, Call]:
        """The oldest call of each actor: the others come after it."""
        heads = (worker.calls[0] for worker in self.scheduler.workers.values() if worker.calls)
        return {self.refs[call.number]: call for call in heads}

    def _collect(self, came: list[tuple[Call, Any]]) -> None:
        start, committed = time.perf_counter(), 0.0
        for call, ref in came:
            if call.closed:
                continue
            self.refs.pop(call.number, None)
            try:
                answers, seconds = ray.get(ref)
            except TaskCancelledError:
                self.scheduler.cancelled(call, time.monotonic())
                continue
            except RayTaskError as error:  # the call never got as far as its units
                self._not_run(call, " ".join(str(own_error(error)).split()))
                continue
            except RayActorError:
                self._died(call.worker, "its actor died while it ran")
                continue
            except RayError as error:  # the answer got lost on its way, with its node for instance
                self.scheduler.lost(call, f"its answer was lost: {type(error).__name__}", time.monotonic())
                continue
            fresh = self.scheduler.answered(call, answers, seconds, time.monotonic())
            before = time.perf_counter()
            for unit, answer in fresh:
                self.on_done(unit, answer)
            committed += time.perf_counter() - before
        self.outcome.spent["commit"] += committed
        self.outcome.spent["collect"] += time.perf_counter() - start - committed

    def _not_run(self, call: Call, reason: str) -> None:
        if len(call.tasks) > 1:
            self.scheduler.lost(call, reason, time.monotonic())
        else:
            self.scheduler.answered(call, [Failure(reason)], 0.0, time.monotonic())

    def _died(self, worker: Worker, reason: str) -> None:
        """Its calls are others' now; wait for the actor to come back."""
        for call in worker.calls:
            self.refs.pop(call.number, None)
        self.scheduler.died(worker.name, reason)
        self.down[worker.name] = time.monotonic()
        self._begin(worker.name)

    def _placed(self, ref: Any) -> None:
        name = self.placing[ref]
        with contextlib.suppress(RayError):  # what is wrong with it, `begin` says
            ray.get(ref)
        del self.placing[ref]
        if name in self.down:
            self.down[name] = time.monotonic()

    def _begun(self, ref: Any, name: Hashable) -> None:
        now = time.monotonic()
        try:
            self.places[name] = ray.get(ref)
        except RayActorError:
            self.down.setdefault(name, now)
            if now - self.down[name] < RESTART_TIMEOUT:
                self.again[name] = now + 0.5  # still restarting
            else:
                self._drop(name)
        except RayTaskError as error:
            if self.first_up is None:
                raise own_error(error) from None
            self.outcome.refused[f"actor {name}"] = " ".join(str(own_error(error)).split())
            if not self.scheduler.up and not self.starting and not self.again:
                raise own_error(error) from None
            self._drop(name)
        else:
            self.down.pop(name, None)
            self.scheduler.join(name, now)

    def _drop(self, name: Hashable) -> None:
        """An actor that will not come back."""
        self.fleet.give_up(self.handles.pop(name))
        self.down.pop(name, None)

    def _look_after(self, stop: Stop) -> None:
        """Everything that nobody's answer brings about."""
        now = time.monotonic()
        if self.scheduler.up:
            self.last_up = now
        if stop.signum is not None:
            self._stop(stop.signum)
        for name in [name for name, when in self.again.items() if when <= now]:
            del self.again[name]
            self._begin(name)
        if now >= self.next_look:
            self.next_look = now + LOOK_SECONDS
            for _ in range(self.fleet.missing(len(self.handles) + len(self.outcome.refused))):
                self._add(self.fleet.make())
        if now < self.next_check:
            return
        self.next_check = now + 1.0
        if self.outcome.calls >= 20:
            spent = self.outcome.spent["send"] + self.outcome.spent["collect"]
            self.scheduler.seconds_per_call = spent / self.outcome.calls
        self._check_alive(now)
        for worker in self.scheduler.stalled(now):
            ray.kill(self.handles[worker.name], no_restart=False)
            running = now - (worker.calls[0].started or now)
            self._died(worker, f"its actor gave no answer for {running:.0f} s and was ended")
        if self.first_up is not None:
            tick = self.throughput.tick(self.scheduler, self.places, len(self.starting), now - self.first_up)
            self._publish(tick)
            if self.on_tick:
                self.on_tick(tick)

    def _check_alive(self, now: float) -> None:
        """Stop when no actor is left, or none has ever had a place."""
        loading = set(self.starting.values()) - set(self.placing.values())
        if self.scheduler.up or loading:
            self.last_up = now if loading else self.last_up
            return
        ever = self.first_up is not None
        limit = MACHINE_TIMEOUT if self.fleet.waits else RESTART_TIMEOUT if ever else START_TIMEOUT
        if now - self.last_up <= limit:
            return
        has = (
            f"the cluster has {_resources(ray.cluster_resources())}, free are "
            f"{_resources(ray.available_resources())}"
        )
        if ever:
            raise RaymoeError(
                f"no actor is left: all died and did not come back; {has}",
                "Look at the machine's memory and Ray's logs, then run the same command to go on.",
            )
        raise RaymoeError(
            f"no actor started within {limit:.0f} s; {self.fleet} were asked for; {has}",
            "Ask for fewer actors (--actors), or free or add machines.",
        )

    def _stop(self, signum: int) -> None:
        """Take the answers that are there, then leave."""
        self.scheduler.stop()
        while heads := self._heads():
            found, _ = ray.wait(list(heads), num_returns=len(heads), timeout=0, fetch_local=False)
            if not found:
                break
            self._collect([(heads[ref], ref) for ref in found])
        left = "" if self.scheduler.total is None else f" of {self.scheduler.total}"
        raise Interrupted(signum, f"{self.scheduler.done}{left} units were done in this run")

    def _close(self) -> Outcome:
        now, outcome, scheduler = time.monotonic(), self.outcome, self.scheduler
        outcome.done, outcome.failed, outcome.deaths = scheduler.done, scheduler.failed, scheduler.deaths
        outcome.devices = sorted({place.device for place in self.places.values()})
        outcome.workers = list(scheduler.workers.values())
        if self.first_up is not None:
            outcome.start_seconds, outcome.seconds = self.first_up - self.began, now - self.first_up
            outcome.losses = losses(outcome.workers, self.began, now, outcome.spent)
            tick = self.throughput.tick(scheduler, self.places, 0, outcome.seconds)
            self._publish(tick)
            if self.on_tick:
                self.on_tick(tick)
        return outcome
