"""Joining a Ray cluster or starting one on this machine, and how many actors it takes."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from raymoe.errors import RaymoeError

LOCAL_STORE = (
    256 << 20
)  # bytes: answers are small and features are mapped, so no large object store is needed


@dataclass(frozen=True)
class ActorShape:
    """How many actors, and what each holds."""

    count: int
    num_cpus: float
    num_gpus: float

    @property
    def device(self) -> str:
        """The device of each actor."""
        return "cuda" if self.num_gpus else "cpu"


@contextmanager
def connected(address: str | None = None) -> Iterator[Any]:
    """Ray, connected for as long as the block runs.

    An open connection is used as it is. Else ``address`` or the environment's RAY_ADDRESS names a cluster;
    without either a local one is started and stopped again.

    Raises:
        RaymoeError: the cluster can't be reached.
    """
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # silences a warning about its own default
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_reachable(address)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_STORE}
    try:
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(address, error) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would go on trying for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+?)\]?:(\d+)", address)
    if match:
        try:
            socket.create_connection((match[1], int(match[2])), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str, error: BaseException) -> RaymoeError:
    return RaymoeError(
        f"can't reach the Ray cluster at {address!r}: {error}",
        "Start one with `ray start --head`, or leave out --address and RAY_ADDRESS to run right here.",
    )


def node_resources(ray: Any) -> list[dict[str, float]]:
    """What each living node of the connected cluster has, as Ray counts."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def actor_shape(
    resources: dict[str, float], asked: int | None = None, device: str | None = None
) -> ActorShape:
    """One actor per GPU where there are any, else one per CPU core.

    Args:
        resources: what the cluster has, as Ray counts.
        asked: so many actors at most.
        device: ``cpu`` or ``cuda`` to insist on one.

    Raises:
        RaymoeError: GPUs were asked for and there are none.
    """
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if device == "cuda" and not gpus:
        raise RaymoeError(
            f"--device cuda, but the cluster has no GPU ({cpus} CPUs)",
            "Leave --device out, or add a GPU node.",
        )
    use_gpus = gpus > 0 and device != "cpu"
    most = gpus if use_gpus else max(cpus, 1)
    return ActorShape(min(asked or most, most), 1, 1 if use_gpus else 0)
