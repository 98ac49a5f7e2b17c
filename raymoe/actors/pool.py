"""A pull pool of Ray actors that survives their deaths.

Knows nothing of what a unit is: it has a ``key``, an actor's ``run`` takes it and answers bytes. Actors
restart by themselves but calls are not retried by Ray, so that a unit which kills its actor is found: the
oldest call of an actor that dies is charged one attempt, those queued behind it are handed out again free of
charge.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from raymoe.errors import RaymoeError

WINDOW = 2  # calls per actor: one running, one waiting, so that an actor never waits for the driver
MAX_ATTEMPTS = 3
START_TIMEOUT = 180.0  # seconds until every actor must have a place; it then loads for as long as it needs
RESTART_TIMEOUT = 120.0


class HasKey(Protocol):
    """A unit of work."""

    key: str


@dataclass
class Outcome:
    """What became of the units: how many were done, and which were given up and why."""

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    deaths: int = 0


def run_units(
    units: Iterator[HasKey], actors: list[Any], on_done: Callable[[HasKey, bytes], None]
) -> Outcome:
    """Hand units to actors until none is left, then end the actors.

    Args:
        units: consumed as actors become free; never held as a whole.
        actors: Ray actor handles with ``ready()`` and ``run(unit) -> bytes``, created with
            ``max_restarts=-1`` and ``max_task_retries=0``.
        on_done: called in this process with each finished unit and its answer, in order of arrival.

    Raises:
        RaymoeError: the actors can't start, or none of them comes back after dying.
    """
    try:
        wait_until_ready(actors)
        return _Pool(units, actors, on_done).run()
    finally:
        for actor in actors:  # give their cores or GPUs back now, not when Python gets round to it
            ray.kill(actor)


def wait_until_ready(actors: list[Any]) -> list[str]:
    """The answer of every actor's ``ready``.

    Raises:
        RaymoeError: an actor's own error, or that they did not start in time and what the cluster has.
    """
    placed = [actor.__ray_ready__.remote() for actor in actors]
    calls = [actor.ready.remote() for actor in actors]
    _, late = ray.wait(placed, num_returns=len(placed), timeout=START_TIMEOUT)
    if late:
        raise RaymoeError(
            f"{len(late)} of {len(calls)} actors did not start within {START_TIMEOUT:.0f} s; the cluster has "
            f"{_resources(ray.cluster_resources())}, free are {_resources(ray.available_resources())}",
            "Ask for fewer actors (--actors), or free or add machines.",
        )
    try:
        return ray.get(calls)
    except RayError as error:
        raise own_error(error) from None


def own_error(error: BaseException) -> BaseException:
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
    def __init__(
        self, units: Iterator[HasKey], actors: list[Any], on_done: Callable[[HasKey, bytes], None]
    ) -> None:
        self.units, self.actors, self.on_done = units, actors, on_done
        self.again: deque[HasKey] = deque()  # units to hand out before new ones
        self.attempts: dict[str, int] = {}
        self.queues: list[deque[tuple[Any, HasKey]]] = [deque() for _ in actors]  # oldest call first
        self.returning: dict[int, tuple[Any, float]] = {}  # dead actors: their ready() call, since when
        self.lost: set[int] = set()  # actors that did not come back
        self.outcome = Outcome()

    def run(self) -> Outcome:
        for number in range(len(self.actors)):
            self._fill(number)
        while True:
            waiting = [call for queue in self.queues for call, _ in queue]
            waiting += [call for call, _ in self.returning.values()]
            if not waiting:
                return self.outcome
            finished, _ = ray.wait(waiting, num_returns=1, timeout=1.0)
            for call in finished:
                self._collect(call)
            self._check_returning()

    def _fill(self, number: int) -> None:
        while len(self.queues[number]) < WINDOW:
            unit = self.again.popleft() if self.again else next(self.units, None)
            if unit is None:
                return
            self.queues[number].append((self.actors[number].run.remote(unit), unit))

    def _collect(self, call: Any) -> None:
        for number, (returning, _) in self.returning.items():
            if returning == call:
                return self._returned(number)
        for number, queue in enumerate(self.queues):
            for position, (queued, unit) in enumerate(queue):
                if queued == call:
                    return self._finished(number, position, unit, call)
        return None

    def _finished(self, number: int, position: int, unit: HasKey, call: Any) -> None:
        try:
            answer = ray.get(call)
        except RayTaskError as error:  # the unit's own error: it would come again
            del self.queues[number][position]
            self.outcome.failed[unit.key] = " ".join(str(own_error(error)).split())
        except RayActorError:
            return self._died(number)
        except RayError as error:  # the answer got lost on its way, with its node for instance
            del self.queues[number][position]
            self._charge(unit, f"its answer was lost {MAX_ATTEMPTS} times: {type(error).__name__}")
        else:
            del self.queues[number][position]
            self.on_done(unit, answer)
            self.outcome.done += 1
        return self._fill(number)

    def _charge(self, unit: HasKey, reason: str) -> None:
        """Count an attempt; hand the unit out again, or give it up."""
        self.attempts[unit.key] = self.attempts.get(unit.key, 0) + 1
        if self.attempts[unit.key] >= MAX_ATTEMPTS:
            self.outcome.failed[unit.key] = reason
        else:
            self.again.appendleft(unit)

    def _died(self, number: int) -> None:
        """Charge the oldest call, take back the others, and wait for the actor to come back."""
        self.outcome.deaths += 1
        guilty, *behind = (unit for _, unit in self.queues[number])
        self.queues[number].clear()
        self.again.extendleft(reversed(behind))
        self._charge(guilty, f"its actor died {MAX_ATTEMPTS} times while it ran")
        self.returning[number] = (self.actors[number].ready.remote(), time.monotonic())
        for other in range(len(self.actors)):  # who has nothing to do need not wait for it
            if other not in self.returning and other not in self.lost:
                self._fill(other)

    def _returned(self, number: int) -> None:
        call, since = self.returning[number]
        try:
            ray.get(call)
        except RayActorError:
            time.sleep(0.2)  # still restarting
            self.returning[number] = (self.actors[number].ready.remote(), since)
        except RayTaskError as error:
            raise own_error(error) from None
        else:
            del self.returning[number]
            self._fill(number)

    def _check_returning(self) -> None:
        """Go on with the others when an actor stays away; stop when all do."""
        now = time.monotonic()
        for number in [n for n, (_, since) in self.returning.items() if now - since > RESTART_TIMEOUT]:
            del self.returning[number]
            self.lost.add(number)
        if len(self.lost) == len(self.actors):
            raise RaymoeError(
                "no actor is left: all died and did not come back",
                "Look at the machine's memory and Ray's logs, then run the same command to go on.",
            )
