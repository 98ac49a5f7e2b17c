"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """``signum`` is the signal that came, None as long as none did."""

    signum: int | None = None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Note the first SIGINT or SIGTERM instead of being interrupted by it.

    A second SIGINT raises KeyboardInterrupt at once. Only the main thread gets signals; in another one
    nothing changes. Begin it after Ray is connected: connecting sets a handler of its own.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(signum: int, frame: FrameType | None) -> None:
        if stop.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signum = stop.signum or signum

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
