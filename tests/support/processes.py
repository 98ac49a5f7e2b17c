"""Processes that a test may look at or kill: its own, never those of another run on the machine."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from raymoe.actors.actor import do_units


def ray_actors(class_name: str) -> list[psutil.Process]:
    """The actors of a class, or of Tune's trials (``ImplicitFunc``), below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if f"ray::{class_name}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended just now
            continue
    return found


def noting_its_process(folder: Path) -> Callable[[Any, list], tuple]:
    """In place of the pool's ``do_units``: the actor says first that it is at work."""

    def note_and_do(runner: Any, units: list) -> tuple:
        (folder / f"{os.getpid()}.works").touch()
        return do_units(runner, units)

    return note_and_do


def processes_at_work(folder: Path) -> list[psutil.Process]:
    """The actors that have had units and still live."""
    pids = sorted(int(file.stem) for file in folder.glob("*.works"))
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
