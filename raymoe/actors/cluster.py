"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from raymoe.errors import RaymoeError

LOCAL_STORE = 256 << 20  # bytes: answers are small and features are mapped, so that is enough


@contextmanager
def connected(address: str | None = None) -> Iterator[ModuleType]:
    """Ray, connected for as long as the block runs.

    An open connection is used as it is. Else a local Ray is started, and stopped again, unless
    ``address_of`` names a cluster.

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
    address = address_of(address) or "local"
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


def address_of(address: str | None) -> str | None:
    """The cluster asked for, else the one that the environment's RAY_ADDRESS names, else None."""
    return address or os.environ.get("RAY_ADDRESS")


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


def node_resources(ray: ModuleType) -> list[dict[str, float]]:
    """What each living node of the connected cluster has, as Ray counts."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
