"""One process at a time: a file beside what it writes, whose content changes while its owner is alive.

Whether an owner lives is told by watching that content for a while, never by comparing times: clocks jump,
and those of two machines differ. On the owner's own machine a process that is gone is known at once.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from typing import Self

import psutil

from raymoe.errors import RaymoeError, WorkspaceError
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console

BEAT = 5.0  # seconds between changes
WATCH_HERE = 20.0  # without a change for so long: the owner, on this machine, is dead
WATCH_ELSEWHERE = 90.0  # on another one: NFS may show old content for a minute
SETTLE = 1.0  # two that write at once know after so long which of them was last


class RunLock:
    """Held inside a ``with`` block.

    Args:
        workspace, name: the file.
        work: what its owner does, for messages: ``this probe``.

    Raises:
        RaymoeError: another process holds it and is alive; says which, and since when.
    """

    def __init__(self, workspace: Workspace, name: str, work: str = "this probe") -> None:
        self.workspace, self.name, self.work = workspace, name, work
        self._since = _now()
        self._token, self._beat = uuid.uuid4().hex, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="raymoe-lock", daemon=True)
        self._lost: dict[str, object] | None = None

    def __enter__(self) -> Self:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(WorkspaceError):
            found = self._read()
            if found and found.get("token") == self._token:
                self.workspace.remove(self.name)

    def check(self) -> None:
        """Go on only if it is still ours.

        Raises:
            RaymoeError: another process took it over, since this one stood still for too long.
        """
        if self._lost is not None:
            raise RaymoeError(
                f"{self._place} was taken over by {_owner(self._lost)} while this process stood still",
                "Let that one finish; what was finished here is kept.",
            )

    @property
    def _place(self) -> str:
        return self.workspace.path(self.name)

    def _acquire(self) -> None:
        if self._created():
            return
        while (found := self._read()) is not None:
            self._refuse_if_alive(found)
            self._write()
            time.sleep(SETTLE)
            now = self._read()
            if now and now.get("token") == self._token:
                return
        self._acquire()  # it was released meanwhile

    def _created(self) -> bool:
        """Make the file unless it is there."""
        folder = self.name.rpartition("/")[0]
        if not self.workspace.is_local:
            if self._read() is not None:
                return False
            self._write()
            time.sleep(SETTLE)
            return (self._read() or {}).get("token") == self._token
        try:
            os.makedirs(self.workspace.path(folder), exist_ok=True)
            with open(self._place, "xb") as file:
                file.write(self._content())
        except FileExistsError:
            return False
        except OSError:
            self._write()  # says what is wrong in its own words, or works
        return True

    def _refuse_if_alive(self, found: dict[str, object]) -> None:
        here = found.get("host") == socket.gethostname()
        if here and not _runs(found.get("pid")):
            console.print(f"  {_owner(found)} is gone: going on where it was")
            return
        watch = WATCH_HERE if here else WATCH_ELSEWHERE
        console.print(f"  {self._place} is held by {_owner(found)}: watching whether it is alive")
        until = time.monotonic() + watch
        while time.monotonic() < until:
            time.sleep(min(0.5, watch / 10))
            now = self._read()
            if now is None:
                return  # released
            if now != found:
                since = f", since {now['since']}" if "since" in now else ""
                raise RaymoeError(
                    f"another process is at work on {self.work}: {_owner(now)}{since} ({self._place})",
                    "Wait for it or stop it. To work with other settings now, give another --workspace.",
                )
        console.print(f"  {_owner(found)} showed no life for {watch:.0f} s: taking over")

    def _keep(self) -> None:
        """Show life, until told to stop or another has taken over."""
        while not self._stop.wait(BEAT):
            with suppress(WorkspaceError):  # a full disk or a lost connection may pass
                found = self._read()
                if found and found.get("token") not in (self._token, None):
                    self._lost = found
                    return
                self._beat += 1
                self._write()

    def _read(self) -> dict[str, object] | None:
        """The file's content; None where there is none."""
        if not self.workspace.exists(self.name):
            return None
        try:
            raw = self.workspace.read(self.name)
        except WorkspaceError:
            if not self.workspace.exists(self.name):
                return None
            raise
        try:
            found = json.loads(raw)
        except ValueError:  # being written, or cut short
            found = None
        return found if isinstance(found, dict) else {"content": raw.hex()}

    def _write(self) -> None:
        self.workspace.write(self.name, self._content())

    def _content(self) -> bytes:
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": self._since, "time": _now()}
        return json.dumps(mine | {"beat": self._beat, "token": self._token}).encode()


def _now() -> str:
    """For people to read; nothing is decided by it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _owner(found: dict[str, object]) -> str:
    return f"process {found.get('pid', '?')} on {found.get('host', 'an unknown machine')}"


def _runs(pid: object) -> bool:
    try:
        return bool(psutil.Process(int(str(pid))).status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, ValueError):
        return False
