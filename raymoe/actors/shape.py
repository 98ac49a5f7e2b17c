"""What each actor of a fleet holds: made here from what the cluster has and what the user asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raymoe.runtime.device import no_gpu

GPU_CORES = 8  # at most so many cores decode and scale for one GPU

Resources = dict[str, float]  # what a node has, as Ray counts
Per = Literal["core", "node"]


@dataclass(frozen=True)
class ActorShape:
    """What an actor holds, and how it uses it.

    Attributes:
        num_cpus, num_gpus: as Ray counts. Less than one GPU is a share of one; no CPU leaves the cores to
            others, where there are fewer of them than actors.
        threads: of torch in its process; None leaves them as they are.
        most: so many actors of this shape at most; None is as many as there is room for, now and later.
    """

    num_cpus: float
    num_gpus: float = 0.0
    threads: int | None = None
    most: int | None = None

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cuda" if self.num_gpus else "cpu"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its process. Threads that spin while they wait stall beside any other busy process."""
        return {"OMP_WAIT_POLICY": "PASSIVE"} if (self.threads or 1) > 1 else {}

    def fits(self, node: Resources) -> int:
        """How many there is room for on a node with nothing else on it."""
        rooms = [
            math.floor(node.get(kind, 0) / each + 1e-9)
            for kind, each in (("CPU", self.num_cpus), ("GPU", self.num_gpus))
            if each
        ]
        return min(rooms, default=0)

    def __str__(self) -> str:
        return f"{self.num_gpus:g} GPU" if self.num_gpus else f"{self.num_cpus:g} CPU"


def actor_shape(
    nodes: Sequence[Resources],
    *,
    per: Per = "core",
    asked: int | None = None,
    device: str | None = None,
    gpu_share: float = 1.0,
    most: int | None = None,
    waits: bool = False,
) -> ActorShape:
    """One actor per GPU, or share of a GPU, where there are any; else one per core, or per node.

    Args:
        nodes: what each node has.
        per: where there is no GPU. ``core``: each with one thread, which together do more than the threads
            of one process. ``node``: for what is too large to have many copies of; actors beyond the GPUs
            or nodes that are ``asked`` for share them.
        asked: so many actors at most.
        device: ``cpu`` or ``cuda`` to insist on one.
        gpu_share: of a GPU, that one actor takes.
        most: there is no work for more.
        waits: for machines with GPUs, if ``device`` asks for them and there are none.

    Raises:
        RaymoeError: GPUs are asked for, there are none, and none are waited for.
    """
    use_gpus = device_of(nodes, device, waits=waits) == "cuda"
    if per == "node":
        return _per_node(nodes, use_gpus, asked, most)
    if not use_gpus:
        return ActorShape(1, threads=1)
    scarce = any(node.get("CPU", 0) < node.get("GPU", 0) / gpu_share for node in nodes)
    return ActorShape(0 if scarce else 1, gpu_share)


def device_of(nodes: Sequence[Resources], asked: str | None, *, waits: bool = False) -> str:
    """``cuda`` where any node has a GPU, else ``cpu``; or what is asked for.

    Raises:
        RaymoeError: GPUs are asked for, there are none, and none are waited for.
    """
    gpus, cpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("GPU", "CPU"))
    if asked == "cuda" and not gpus and not waits:
        raise no_gpu(asked, "the cluster", f"{cpus} CPUs")
    return "cuda" if asked == "cuda" or (gpus and asked != "cpu") else "cpu"


def _per_node(nodes: Sequence[Resources], use_gpus: bool, asked: int | None, most: int | None) -> ActorShape:
    room: float = math.inf
    if use_gpus:
        with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
        slots = sum(int(node["GPU"]) for node in with_gpus)
        cores = min(GPU_CORES, *(node.get("CPU", 1) / int(node["GPU"]) for node in with_gpus))
    else:
        with_cores = [node["CPU"] for node in nodes if node.get("CPU", 0) >= 1] or [1.0]
        slots, cores, room = len(with_cores), min(with_cores), sum(map(int, with_cores))
    count = int(min(asked or math.inf, most or math.inf, room if asked else slots))
    together = math.ceil(count / slots)
    each = cores / together
    return ActorShape(
        int(each) if each >= 1 else each,
        (1 if together == 1 else 1 / together) if use_gpus else 0,
        max(1, int(each)),
        count,
    )
