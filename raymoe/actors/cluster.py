"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from raymoe.errors import RaymoeError
from raymoe.runtime.progress import console

# Ray's processes talk over sockets that are files. The system allows paths of so many bytes; of these Ray
# needs what follows its folder for temporary files: session, date, time and process, `sockets`, the name.
SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
SESSION = "/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
SHORT = ("/tmp", "/var/tmp", "~")  # looked at where that folder's path is too long
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
        options |= _short_folder()
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


def _short_folder() -> dict[str, str]:
    """Where Ray's temporary files go if they can't go where it would put them; nothing where they can.

    Raises:
        RaymoeError: nowhere can they: Ray would fail after a minute, or wait.
    """
    asked = next(((n, os.environ[n]) for n in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(n)), None)
    if asked is None or _has_room(f"{asked[1]}/ray"):
        return {}
    for place in SHORT:
        folder = f"{Path(place).expanduser()}/ray-{os.getuid()}"
        if _has_room(folder) and _is_own(folder):
            console.print(f"  {asked[0]} is too long for Ray's sockets: Ray's files are in {folder}")
            return {"_temp_dir": folder}
    most = SOCKET_BYTES - len(f"/ray{SESSION}")
    raise RaymoeError(
        f"{asked[0]} is {len(os.fsencode(asked[1]))} bytes long, and the paths of the sockets that Ray makes "
        f"there can have {SOCKET_BYTES}",
        f"Set RAY_TMPDIR to a folder of at most {most} bytes that you can write to.",
    )


def _has_room(folder: str) -> bool:
    return len(os.fsencode(os.path.abspath(folder))) + len(SESSION) <= SOCKET_BYTES


def _is_own(folder: str) -> bool:
    """Whether this user can write there, and nobody else has put it there; made where it is missing."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.stat(folder, follow_symlinks=False).st_uid == os.getuid() and os.access(folder, os.W_OK)
    except OSError:
        return False


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
