"""As many actors as there is room for, now and later: machines may come while the work runs.

An actor holds a GPU, a share of one, or a core. Ray restarts those that die, on another machine where theirs
is gone; the fleet only says how many more there should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ray

from raymoe.actors.cluster import ActorShape, node_resources
from raymoe.errors import RaymoeError


class Fleet:
    """Makes actors of one class.

    Args:
        runner: the class; ``ready()`` loads what it needs, ``run(unit)`` answers bytes.
        arguments: those of its constructor, given the device (``cpu`` or ``cuda``).
        asked: at most so many actors; default as many as there is room for.
        device: ``cpu`` or ``cuda`` to insist on one; default the GPUs where there are any.
        gpu_share: of a GPU, that one actor takes.
        most: there is no work for more.
        queue: ask for ``asked`` actors although there is no room for them yet, so that an autoscaler adds
            machines.

    Attributes:
        made: handles of all actors so far.
        shape: what each of them holds.

    Raises:
        RaymoeError: GPUs are asked for, there are none, and none are to be waited for.
    """

    def __init__(
        self,
        runner: type,
        arguments: Callable[[str], tuple],
        *,
        asked: int | None = None,
        device: str | None = None,
        gpu_share: float = 1.0,
        most: int | None = None,
        queue: bool = False,
    ) -> None:
        self.asked, self.most = asked, most
        self.queue = queue and asked is not None
        nodes = node_resources(ray)
        gpus, cpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("GPU", "CPU"))
        if device == "cuda" and not gpus and not self.queue:
            raise RaymoeError(
                f"--device cuda, but the cluster has no GPU ({cpus} CPUs)",
                "Leave --device out, or add a GPU node; on a cluster that adds them when they are asked for, "
                "say how many with --actors.",
            )
        use_gpus = device == "cuda" or (gpus > 0 and device != "cpu")
        scarce = use_gpus and any(node.get("CPU", 0) < node.get("GPU", 0) / gpu_share for node in nodes)
        self.shape = ActorShape(1, 0 if scarce else 1, gpu_share if use_gpus else 0)
        make = ray.remote(
            num_cpus=self.shape.num_cpus, num_gpus=self.shape.num_gpus, max_restarts=-1, max_task_retries=0
        )(runner)
        self.made: list[Any] = []
        self._new: Callable[[], Any] = lambda: make.remote(*arguments(self.shape.device))

    def make(self) -> Any:
        """One more actor."""
        self.made.append(self._new())
        return self.made[-1]

    def end(self) -> None:
        """End all of them."""
        for actor in self.made:
            ray.kill(actor)
        self.made.clear()

    def missing(self, have: int) -> int:
        """How many actors to add to those there are."""
        wanted = self.asked if self.queue else self.fitting()
        return max(0, min(wanted or 0, self._useful) - have)

    def fitting(self) -> int:
        """How many actors there is room for now, at most as many as were asked for and there is work for."""
        room = sum(slots(node, self.shape) for node in node_resources(ray))
        if not room and not self.queue and not self.shape.num_gpus:
            room = 1  # a machine whose cores Ray does not know
        return int(min(self.asked or room, room, self._useful))

    def shortage(self) -> str:
        """What to say where more actors were asked for than fit; else empty."""
        fitting = self.fitting()
        if not self.asked or min(self.asked, self._useful) <= fitting:
            return ""
        if self.queue:
            return f"{min(self.asked, self._useful) - fitting:,} more actors are waited for"
        return f"{self.asked:,} actors were asked for, there is room for {fitting:,}"

    @property
    def _useful(self) -> float:
        return math.inf if self.most is None else self.most

    def describe(self) -> str:
        """What was asked for, in words."""
        each = f"{self.shape.num_gpus:g} GPU" if self.shape.num_gpus else f"{self.shape.num_cpus:g} CPU"
        return f"{self.asked or 'as many as possible'} actors of {each} each"


def slots(node: dict[str, float], shape: ActorShape) -> int:
    """Actors that fit on a node with these resources."""
    fits = [
        math.floor(node.get(kind, 0) / each + 1e-9)
        for kind, each in (("CPU", shape.num_cpus), ("GPU", shape.num_gpus))
        if each
    ]
    return min(fits, default=0)
