"""Where the actors' time went. The same sums for a run that was measured and for one that was simulated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raymoe.actors.scheduler import Worker


@dataclass(frozen=True)
class Losses:
    """Shares of all actors' time from when they were asked for to the last answer; they add up to 1.

    Attributes:
        busy: working on units.
        start: until an actor could work.
        scheduling: between units, waiting for the driver to hand out or collect, or for itself to come back.
        commit: between units, waiting because the driver was writing answers.
        stragglers: without work at the end, while others finish.
    """

    busy: float
    start: float
    scheduling: float
    commit: float
    stragglers: float


NOTHING = Losses(0.0, 0.0, 0.0, 0.0, 0.0)  # of no time at all


def losses(workers: Iterable[Worker], began: float, end: float, spent: dict[str, float]) -> Losses:
    """Split ``actors x (end - began)`` seconds.

    What an actor waited between units is split between commit and scheduling as the driver's own time was.

    Args:
        workers: of the scheduler, with the times they joined and last answered.
        began, end: in the same clock.
        spent: the driver's seconds for ``send``, ``collect`` and ``commit``.
    """
    workers = list(workers)
    whole = max(len(workers) * (end - began), 1e-12)
    busy = sum(worker.busy for worker in workers)
    start = sum(min(worker.joined, end) - began for worker in workers)
    tail = sum(end - max(worker.last_answer, min(worker.joined, end)) for worker in workers)
    between = max(whole - busy - start - tail, 0.0)
    driver = spent["send"] + spent["collect"] + spent["commit"]
    commit = between * spent["commit"] / driver if driver else 0.0
    total = busy + start + tail + between  # above `whole` where a unit was done twice at the end
    return Losses(busy / total, start / total, (between - commit) / total, commit / total, tail / total)
