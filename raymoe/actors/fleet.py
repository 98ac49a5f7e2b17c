"""As many actors as there is room for, now and later: machines may come while the work runs.

An actor holds a GPU, a share of one, or cores. Ray restarts those that die, on another machine where theirs
is gone; the fleet only says how many more there should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import ray

from raymoe.actors.cluster import address_of, connected, node_resources
from raymoe.actors.shape import ActorShape, Per, actor_shape

Handle: TypeAlias = Any  # Ray's handle: its class gives it methods that no type names


@contextmanager
def open_fleet(
    runner: type,
    arguments: tuple[object, ...],
    *,
    address: str | None = None,
    num_actors: int | None = None,
    device: str | None = None,
    gpu_share: float = 1.0,
    per: Per = "core",
    most: int | None = None,
    waits: bool = False,
    together: bool = False,
) -> Iterator[Fleet]:
    """Ray, connected, and a fleet on it for as long as the block runs: how every stage comes to actors.

    Args:
        runner, arguments, most, together: see ``Fleet``.
        address: a Ray cluster; default RAY_ADDRESS, else this machine.
        num_actors: at most so many; default as many as there is room for.
        device, gpu_share, per: see ``actor_shape``.
        waits: on a cluster, ask for all of ``num_actors`` although there is no room for them yet, so that an
            autoscaler adds machines.

    Raises:
        RaymoeError: the cluster can't be reached, or has no GPU although one is asked for.
    """
    waits = waits and num_actors is not None and address_of(address) is not None
    with connected(address) as connection:
        shape = actor_shape(
            node_resources(connection),
            per=per,
            asked=num_actors,
            device=device,
            gpu_share=gpu_share,
            most=most,
            waits=waits,
        )
        fleet = Fleet(runner, arguments, shape, asked=num_actors, most=most, waits=waits, together=together)
        try:
            yield fleet
        finally:
            fleet.end()


class Fleet:
    """Makes actors of one class and one shape, on the connected cluster.

    Args:
        runner: the class, a ``Runner``.
        arguments: of its constructor; the shape's device and threads come after them.
        shape: what each actor holds.
        asked: at most so many actors; default as many as there is room for.
        most: there is no work for more.
        waits: ask for ``asked`` actors although there is no room for them yet.
        together: units are handed out when all actors that have a place are ready, not from the first on.

    Attributes:
        made: handles of all actors so far, but for those that were given up.
    """

    def __init__(
        self,
        runner: type,
        arguments: tuple[object, ...],
        shape: ActorShape,
        *,
        asked: int | None = None,
        most: int | None = None,
        waits: bool = False,
        together: bool = False,
    ) -> None:
        self.shape, self.asked, self.most = shape, asked, most
        self.waits, self.together = waits and asked is not None, together
        self.made: list[Handle] = []
        self._arguments = (*arguments, shape.device, shape.threads)
        options: dict[str, Any] = {"num_cpus": shape.num_cpus, "num_gpus": shape.num_gpus}
        if shape.environment:
            options["runtime_env"] = {"env_vars": shape.environment}
        self._class: Any = ray.remote(max_restarts=-1, max_task_retries=0, **options)(runner)

    def make(self) -> Handle:
        """One more actor."""
        self.made.append(self._class.remote(*self._arguments))
        return self.made[-1]

    def give_up(self, actor: Handle) -> None:
        """End one of them for good."""
        ray.kill(actor)
        self.made.remove(actor)

    def end(self) -> None:
        """End all of them: their cores or GPUs are free now, not when Python gets round to it."""
        for actor in self.made:
            ray.kill(actor)
        self.made.clear()

    def missing(self, have: int) -> int:
        """How many actors to add to those there are."""
        wanted = min(self.asked or 0, self._useful) if self.waits else self.fitting()
        return max(0, int(wanted) - have)

    def fitting(self) -> int:
        """How many actors there is room for now, at most as many as were asked for and there is work for."""
        room = sum(self.shape.fits(node) for node in node_resources(ray))
        if not room and not self.waits and not self.shape.num_gpus:
            room = 1  # a machine whose cores Ray does not know
        return int(min(self.asked or room, room, self._useful))

    def shortage(self) -> str:
        """What to say where more actors were asked for than fit; else empty."""
        fitting = self.fitting()
        if not self.asked or min(self.asked, self._useful) <= fitting:
            return ""
        if self.waits:
            return f"{int(min(self.asked, self._useful)) - fitting:,} more actors are waited for"
        return f"{self.asked:,} actors were asked for, there is room for {fitting:,}"

    def __str__(self) -> str:
        return f"{self.asked or 'as many as possible'} actors of {self.shape} each"

    @property
    def _useful(self) -> float:
        return min(math.inf if limit is None else limit for limit in (self.most, self.shape.most))
