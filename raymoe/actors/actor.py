"""What an actor does: it holds a stage's runner, begins once, then does units."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raymoe.actors.scheduler import Failure
from raymoe.errors import RaymoeError


class Runner(Protocol):
    """A plain class that does units; Ray makes it an actor.

    Its constructor takes the stage's arguments, then the device and the number of torch's threads (None
    leaves them as they are). It opens nothing: what goes wrong in ``ready`` reaches the driver in its own
    words.
    """

    def ready(self) -> str:
        """Open all that is needed, once; answers with the device, as a user would name it."""

    def run(self, unit: Any) -> bytes:
        """A unit's answer."""


@dataclass(frozen=True)
class Place:
    """Where an actor runs: what its ``ready`` answered (the device), its machine, and how long that took."""

    device: str
    host: str
    seconds: float


def begin(runner: Runner) -> Place:
    """Make the actor ready."""
    start = time.perf_counter()
    device = runner.ready()
    return Place(str(device), socket.gethostname(), time.perf_counter() - start)


def do_units(runner: Runner, units: Sequence[Any]) -> tuple[list[bytes | Failure], float]:
    """Each unit's answer or its own error, and the seconds for all."""
    start = time.perf_counter()
    answers: list[bytes | Failure] = []
    for unit in units:
        try:
            answers.append(runner.run(unit))
        except RaymoeError as error:
            answers.append(Failure(" ".join(str(error).split())))
        except Exception as error:
            if "CUDA error" in str(error):  # the process can't use its GPU any more: only a new one can
                os._exit(1)
            text = " ".join(str(error).split())
            answers.append(Failure(f"an actor failed: {type(error).__name__}: {text}"))
    return answers, time.perf_counter() - start
