"""How fast it goes: one line for the user, the same figures for Ray's dashboard."""

from __future__ import annotations

from collections import Counter as Count
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from raymoe.actors.actor import Place
from raymoe.actors.scheduler import Scheduler
from raymoe.runtime.progress import duration

RECENT = 30.0  # seconds that the rate is taken over


@dataclass(frozen=True)
class Tick:
    """How it goes at one moment.

    Attributes:
        done, failed: units.
        evaluations: their cost.
        rate: evaluations per second of late.
        up, starting, deaths: actors at work, actors not yet, and how often one died.
        devices: number of actors at work on each device.
        rates: evaluations per second of each actor while it works, by its number.
        places: device and machine of each.
        seconds_left: None as long as nobody knows.
    """

    done: int
    failed: int
    evaluations: float
    rate: float
    up: int
    starting: int
    deaths: int
    devices: dict[str, int]
    rates: dict[Hashable, float]
    places: dict[Hashable, Place] = field(repr=False)
    seconds_left: float | None = None

    @property
    def line(self) -> str:
        """For the progress bar: the rate, on what, slowest and fastest actor, what is not as it should be."""
        devices = " + ".join(f"{count} x {name}" for name, count in sorted(self.devices.items()))
        text = f"{self.rate:,.0f} evaluations/s on {devices or 'no actor'}"
        if len(self.rates) > 1:
            slow, fast = (pick(self.rates, key=lambda name: self.rates[name]) for pick in (min, max))
            text += f", {self.rates[slow]:,.0f} ({self._where(slow)}) to {self.rates[fast]:,.0f} each"
        for count, what in (
            (self.starting, "starting"),
            (self.deaths, "deaths"),
            (self.failed, "failed units"),
        ):
            text += f", {count} {what}" if count else ""
        if self.seconds_left is not None and self.seconds_left > 1:
            text += f", {duration(self.seconds_left)} left"
        return text

    def _where(self, name: Hashable) -> str:
        place = self.places.get(name)
        return f"actor {name} on {place.host}" if place else f"actor {name}"


class Throughput:
    """Makes ticks.

    Args:
        total, evaluations: units and their cost in all, where that is known.
    """

    def __init__(self, total: int | None = None, evaluations: float | None = None) -> None:
        self.total, self.evaluations = total, evaluations
        self._seen: deque[tuple[float, float]] = deque([(0.0, 0.0)])

    def tick(
        self, scheduler: Scheduler, places: dict[Hashable, Place], starting: int, seconds: float
    ) -> Tick:
        """The figures ``seconds`` after the first actor was ready."""
        self._seen.append((seconds, scheduler.evaluations))
        while len(self._seen) > 2 and self._seen[0][0] < seconds - RECENT:
            self._seen.popleft()
        (start, before), (stop, now) = self._seen[0], self._seen[-1]
        rate = (now - before) / max(stop - start, 1e-9)
        left = None
        if self.evaluations is not None and rate > 0:
            left = max(self.evaluations - scheduler.evaluations, 0.0) / rate
        workers = [worker for worker in scheduler.workers.values() if worker.up]
        devices = Count(places[w.name].device for w in workers if w.name in places)
        rates = {w.name: w.cost / w.busy for w in workers if w.busy > 0}
        return Tick(
            scheduler.done,
            len(scheduler.failed),
            scheduler.evaluations,
            rate,
            scheduler.up,
            starting,
            scheduler.deaths,
            dict(devices),
            rates,
            places,
            left,
        )


class Metrics:
    """The figures of a tick as Ray metrics, which its dashboard and Prometheus show.

    Args:
        stage: their tag.
    """

    def __init__(self, stage: str) -> None:
        from ray.util.metrics import Counter, Gauge

        tags = {"stage": stage}
        self._gauges = {
            name: Gauge(f"raymoe_{name}", text, tag_keys=("stage",))
            for name, text in (
                ("evaluations_per_second", "Evaluations per second of late"),
                ("actors", "Actors at work"),
                ("actors_starting", "Actors that wait for a place or load"),
                ("seconds_left", "Estimated seconds to go"),
            )
        }
        self._counters = {
            name: Counter(f"raymoe_{name}", text, tag_keys=("stage",))
            for name, text in (
                ("units_done", "Units with an answer"),
                ("units_failed", "Units given up"),
                ("evaluations_done", "Evaluations"),
                ("actor_deaths", "Deaths of actors"),
            )
        }
        self._each = Gauge(
            "raymoe_actor_evaluations_per_second",
            "Evaluations per second of an actor while it works",
            tag_keys=("stage", "actor", "device", "host"),
        )
        for metric in (*self._gauges.values(), *self._counters.values(), self._each):
            metric.set_default_tags(tags)
        self._told = dict.fromkeys(self._counters, 0.0)
        self._ticks = 0

    def update(self, tick: Tick) -> None:
        """Tell Ray; every tenth time also for each actor, since there may be thousands."""
        gauges = {
            "evaluations_per_second": tick.rate,
            "actors": tick.up,
            "actors_starting": tick.starting,
            "seconds_left": tick.seconds_left or 0.0,
        }
        for name, value in gauges.items():
            self._gauges[name].set(value)
        counts = (tick.done, tick.failed, tick.evaluations, tick.deaths)
        for name, value in zip(self._counters, counts, strict=True):
            if value > self._told[name]:
                self._counters[name].inc(value - self._told[name])
                self._told[name] = value
        if self._ticks % 10 == 0:
            for actor, rate in tick.rates.items():
                place = tick.places.get(actor)
                where = {"device": place.device, "host": place.host} if place else {"device": "", "host": ""}
                self._each.set(rate, tags={"actor": str(actor), **where})
        self._ticks += 1
