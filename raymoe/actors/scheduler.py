"""Which worker does which unit, as a state machine. Knows neither Ray nor a clock: both are the caller's.

The caller says what happens and when (a worker joins, answers, dies), and sends the calls that ``hand_out``
returns. A call carries a few units, so that the driver keeps up with many workers; a worker has a window of
calls, of which the oldest is running. What holds whatever happens: every unit is done exactly once or ends in
the ledger of failed units.

* A death is charged to the oldest call alone; those queued behind it are handed out again free of charge.
  Where that call held several units none is charged, but each is handed out by itself from then on. A charged
  unit is tried again a while later, so that several deaths in a row are not charged to the same innocent one.
* When no unit is left to hand out, workers without work take over what others have not begun, and do again
  what runs far longer than expected; the first answer counts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

DRIVER_SHARE = 0.25  # of the driver's time that handing out calls may take, by putting units together
SECONDS_PER_CALL = 0.5e-3  # of the driver's time, as long as the caller has not measured it
SHORTEST_CALL = 0.5  # seconds of work worth a call of its own: Ray takes some 2 ms of CPU for each
SUSPECT_DELAY = 8  # calls per worker before a unit is tried again that a worker died of
SMOOTHING = 0.3  # weight of the newest call in a worker's pace


class HasKey(Protocol):
    """A unit of work. ``evaluations``, where it has that too, is its cost."""

    @property
    def key(self) -> str:
        """Its name in the ledger and in messages."""


@dataclass(frozen=True)
class Policy:
    """What the scheduler may decide by; the defaults suit units of 0.1 to 2 s.

    Attributes:
        window: calls per worker: one running, one waiting, so that a worker never waits for the driver.
        max_attempts: deaths or lost answers after which a unit is given up.
        max_bundle: units per call at most.
        stall_seconds, stall_factor: a call is given up, with its worker, when it takes longer than both so
            many seconds and so many times what its cost suggests; None never gives up.
        first_seconds: the same limit as long as no call has come back to compare with.
        late_factor: with nothing left to hand out, a call that takes so many times what was expected is done
            a second time elsewhere.
    """

    window: int = 2
    max_attempts: int = 3
    max_bundle: int = 64
    stall_seconds: float | None = 120.0
    stall_factor: float = 50.0
    first_seconds: float = 3600.0
    late_factor: float = 3.0


@dataclass(frozen=True)
class Failure:
    """In place of an answer: the unit's own error, which would come again."""

    reason: str


@dataclass(eq=False)
class Worker:
    """What is known of a worker. ``pace`` is its seconds per unit of cost, None before its first answer."""

    name: Hashable
    calls: deque[Call] = field(default_factory=deque)  # oldest first; that one is running
    up: bool = False
    pace: float | None = None
    joined: float = 0.0
    last_answer: float = 0.0
    units: int = 0
    cost: float = 0.0
    busy: float = 0.0  # seconds of work, by its own clock
    deaths: int = 0


@dataclass(eq=False)
class Call:
    """Some units sent to a worker together."""

    number: int
    worker: Worker
    tasks: list[_Task]
    started: float | None  # None while another call of the worker is before it
    closed: bool = False
    taken_over: bool = False

    @property
    def units(self) -> list[HasKey]:
        """What is sent."""
        return [task.unit for task in self.tasks]

    @property
    def cost(self) -> float:
        """Evaluations of all its units."""
        return sum(task.cost for task in self.tasks)


@dataclass(eq=False, slots=True)
class _Task:
    """A unit that was drawn and is neither done nor given up yet."""

    unit: HasKey
    cost: float
    attempts: int = 0
    copies: int = 0  # open calls that hold it
    alone: bool = False
    settled: bool = False
    reason: str = ""


class Scheduler:
    """Hands units to workers.

    Args:
        units: drawn as workers become free; never held as a whole.
        policy: see there.
        total: how many units there are, where that is known: calls then get smaller towards the end.

    Attributes:
        done: units with an answer.
        evaluations: their cost.
        failed: key and reason of each unit that was given up.
        deaths: of workers.
        workers: by name, those that left included.
        seconds_per_call: of the driver's time; the caller may set it to what it measures.
    """

    def __init__(
        self, units: Iterable[HasKey], policy: Policy | None = None, total: int | None = None
    ) -> None:
        self.policy, self.total = policy or Policy(), total
        self.done, self.evaluations, self.deaths = 0, 0.0, 0
        self.failed: dict[str, str] = {}
        self.workers: dict[Hashable, Worker] = {}
        self.seconds_per_call = SECONDS_PER_CALL
        self._units: Iterator[HasKey] = iter(units)
        self._again: deque[_Task] = deque()  # to be handed out before new ones
        self._suspects: deque[tuple[int, _Task]] = deque()  # and from which call on to try them again
        self._room: list[dict[Worker, None]] = [{} for _ in range(self.policy.window)]  # by number of calls
        self._drawn = self._open = self._calls = self._up = 0
        self._exhausted = self._stopped = False
        self._cancelled: list[Call] = []
        self._rebalanced = -math.inf
        self._pace: float | None = None  # over all workers

    @property
    def finished(self) -> bool:
        """Whether every unit is done or given up."""
        return self._exhausted and not self._open

    @property
    def all_handed_out(self) -> bool:
        """Whether no unit waits for a worker."""
        return self._exhausted and not self._again and not self._suspects

    @property
    def up(self) -> int:
        """Workers at work or ready for it."""
        return self._up

    def join(self, name: Hashable, now: float) -> None:
        """A worker is there and ready, for the first time or again."""
        worker = self.workers.setdefault(name, Worker(name, joined=now))
        if not worker.up:
            worker.up = True
            self._up += 1
            self._place(worker)

    def leave(self, name: Hashable) -> None:
        """A worker goes through no fault of its calls; they are handed out again. It may join again."""
        self._take_down(self.workers[name])

    def died(self, name: Hashable, reason: str) -> None:
        """A worker died of its oldest call, or stalled in it. It may join again."""
        worker = self.workers[name]
        self.deaths += 1
        worker.deaths += 1
        if worker.calls:
            self._charge(worker.calls[0], reason)
        self._take_down(worker)

    def lost(self, call: Call, reason: str, now: float) -> None:
        """A call came back without answers although its worker is well: charged like a death."""
        if not call.closed:
            self._charge(call, reason)
            self._close(call, now)
            self._release([call])

    def answered(
        self, call: Call, answers: list[bytes | Failure], seconds: float, now: float
    ) -> list[tuple[HasKey, bytes]]:
        """A call came back: the units whose answers count, which are those that have none yet.

        Args:
            call: which.
            answers: one per unit.
            seconds: that its worker was busy with it.
            now: the time.
        """
        worker = call.worker
        if not call.closed:
            self._close(call, now)
        worker.last_answer, worker.busy = now, worker.busy + seconds
        worker.pace = _smoothed(worker.pace, seconds / max(call.cost, 1e-9))
        self._pace = _smoothed(self._pace, worker.pace)
        fresh = []
        for task, answer in zip(call.tasks, answers, strict=True):
            if task.settled:
                continue
            self._settle(task)
            if isinstance(answer, Failure):
                self.failed[task.unit.key] = answer.reason
                continue
            self.done += 1
            self.evaluations += task.cost
            worker.units += 1
            worker.cost += task.cost
            fresh.append((task.unit, answer))
        return fresh

    def cancelled(self, call: Call, now: float) -> None:
        """A call that was taken over came back without having run."""
        if not call.closed:
            self._close(call, now)
            self._release([call])

    def hand_out(self, now: float) -> list[Call]:
        """Calls to send now; each is for the worker it names."""
        calls: list[Call] = []
        if self._stopped:
            return calls
        while (worker := self._neediest()) and (tasks := self._draw(worker)):
            calls.append(self._send(worker, tasks, now))
        if self.all_handed_out and self._open:
            calls += self._take_over(now)
        return calls

    def to_cancel(self) -> list[Call]:
        """Calls that others have taken over since this was last asked: not to be run, if possible."""
        found, self._cancelled = self._cancelled, []
        return found

    def stalled(self, now: float) -> list[Worker]:
        """Workers whose running call takes far longer than its cost suggests."""
        policy = self.policy
        found: list[Worker] = []
        if policy.stall_seconds is None:
            return found
        for worker in self.workers.values():
            if worker.calls and worker.calls[0].started is not None:
                expected = self._expected(worker.calls[0].cost, worker)
                limit = policy.first_seconds
                if expected is not None:
                    limit = max(policy.stall_seconds, policy.stall_factor * expected)
                if now - worker.calls[0].started > limit:
                    found.append(worker)
        return found

    def stop(self) -> None:
        """Hand out nothing any more."""
        self._stopped = True

    def _neediest(self) -> Worker | None:
        """The worker with the fewest calls, of those that have room."""
        return next((next(iter(level)) for level in self._room if level), None)

    def _place(self, worker: Worker) -> None:
        for level in self._room:
            level.pop(worker, None)
        suspect = any(task.attempts for call in worker.calls for task in call.tasks)
        if worker.up and len(worker.calls) < len(self._room) and not suspect:
            self._room[len(worker.calls)][worker] = None

    def _draw(self, worker: Worker) -> list[_Task]:
        """Units for one call: as many as are worth the driver's trouble, a suspect one by itself."""
        tasks: list[_Task] = []
        seconds, wanted = 0.0, max(SHORTEST_CALL, self._up * self.seconds_per_call / DRIVER_SHARE)
        most = self.policy.max_bundle
        if self.total is not None:
            left = self.total - self._drawn + len(self._again) + len(self._suspects)
            most = min(most, -(-left // (2 * self.policy.window * max(self._up, 1))))
        while not tasks or (worker.pace is not None and seconds < wanted and len(tasks) < most):
            if tasks and self._again and self._again[0].alone:
                break
            task = self._next(worker, first=not tasks)
            if task is None:
                break
            tasks.append(task)
            if task.alone:
                break
            seconds += task.cost * (worker.pace or 0.0)
        return tasks

    def _next(self, worker: Worker, first: bool) -> _Task | None:
        """Whatever is due; a suspect only as the first of its call, and for a worker that has no other.

        A worker that dies may have finished its oldest call without its answer having come: beside others a
        suspect would be charged for them, or they for it.
        """
        while first and self._suspects and self._suspects[0][0] <= self._calls:
            if worker.calls:
                return None  # none has fewer: the first to be through takes it
            _, task = self._suspects.popleft()
            if not task.settled:
                return task
        while self._again:
            task = self._again.popleft()
            if not task.settled:
                return task
        unit = None if self._exhausted else next(self._units, None)
        if unit is None:
            self._exhausted = True
            while first and self._suspects and not worker.calls:  # nothing else is left
                _, task = self._suspects.popleft()
                if not task.settled:
                    return task
            return None
        self._drawn += 1
        self._open += 1
        return _Task(unit, float(getattr(unit, "evaluations", 1) or 1))

    def _send(self, worker: Worker, tasks: list[_Task], now: float) -> Call:
        call = Call(self._calls, worker, tasks, None if worker.calls else now)
        self._calls += 1
        for task in tasks:
            task.copies += 1
        worker.calls.append(call)
        self._place(worker)
        return call

    def _close(self, call: Call, now: float) -> None:
        """Take a call off its worker's queue; the next one starts."""
        call.closed = True
        calls = call.worker.calls
        calls.remove(call)
        if calls and calls[0].started is None:
            calls[0].started = now
        self._place(call.worker)

    def _charge(self, call: Call, reason: str) -> None:
        suspects = [task for task in call.tasks if not task.settled]
        for task in suspects:
            task.alone = True
            if len(call.tasks) == 1:
                task.attempts += 1
                task.reason = reason

    def _take_down(self, worker: Worker) -> None:
        self._up -= worker.up
        worker.up = False
        calls = list(worker.calls)
        worker.calls.clear()
        for call in calls:
            call.closed = True
        self._place(worker)
        self._release(calls)

    def _release(self, calls: list[Call]) -> None:
        """Units of calls that came to nothing: again, or given up, or done by another call of theirs."""
        for call in reversed(calls):
            for task in reversed(call.tasks):
                task.copies -= 1
                if task.settled or task.copies:
                    continue
                if task.attempts >= self.policy.max_attempts:
                    self._settle(task)
                    self.failed[task.unit.key] = f"{task.reason} ({task.attempts} attempts)"
                elif task.attempts:
                    due = self._calls + SUSPECT_DELAY * max(self._up, 1)
                    self._suspects.append((due, task))
                else:
                    self._again.appendleft(task)

    def _settle(self, task: _Task) -> None:
        task.settled = True
        self._open -= 1

    def _expected(self, cost: float, worker: Worker) -> float | None:
        pace = self._pace if worker.pace is None else worker.pace
        return None if pace is None else cost * pace

    def _take_over(self, now: float) -> list[Call]:
        """The end game: work for those that have none, from those that have too much."""
        idle = list(self._room[0])
        if not idle or now < self._rebalanced + 0.05:  # a look at all workers, so not at every answer
            return []
        self._rebalanced = now
        idle.sort(key=lambda worker: self._expected(1.0, worker) or 0.0)
        fastest = idle[0]
        waiting, running = [], []
        for worker in self.workers.values():
            started = worker.calls[0].started if worker.calls else None
            if started is None:
                continue
            first, *behind = worker.calls
            expected = self._expected(first.cost, worker)
            elapsed = now - started
            left = max((expected or 0.0) - elapsed, 0.0)
            elsewhere = self._expected(first.cost, fastest) or 0.0
            late = expected is not None and elapsed > self.policy.late_factor * expected + 1.0
            slow = expected is not None and left > 2 * elsewhere + 0.5
            suspect = any(task.alone for task in first.tasks)  # must not take a second worker with it
            if (late or slow) and not first.taken_over and not suspect:
                running.append((math.inf if late else left, first))
            for call in behind:
                finish = left + (self._expected(call.cost, worker) or 0.0)
                given_up = any(task.attempts >= self.policy.max_attempts for task in call.tasks)
                if (
                    not call.taken_over
                    and not given_up
                    and (self._expected(call.cost, fastest) or 0.0) <= finish
                ):
                    waiting.append((finish, call))
                left = finish
        waiting.sort(key=lambda entry: -entry[0])
        running.sort(key=lambda entry: -entry[0])
        tasks: list[_Task] = []
        for _, call in waiting:
            call.taken_over = True
            self._cancelled.append(call)
            tasks += [task for task in call.tasks if not task.settled]
            if len(tasks) >= len(idle):
                break
        if not tasks:
            for _, call in running[: len(idle)]:
                call.taken_over = True
                tasks += [task for task in call.tasks if not task.settled and task.copies == 1]
        each = -(-len(tasks) // len(idle)) or 1
        parts = [tasks[at : at + each] for at in range(0, len(tasks), each)]
        calls = []
        for worker, part in zip(idle, parts, strict=False):
            if any(task.alone for task in part):
                part = part[:1]  # the others come back when their call is cancelled
            calls.append(self._send(worker, part, now))
        return calls


def _smoothed(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)
