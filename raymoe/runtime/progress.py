"""Progress of long work: a Rich bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
SECONDS_BETWEEN_LINES = 10.0


def plain_table(title: str) -> Table:
    """A table without lines, its title and any caption at the left: as useful in a log as in a terminal."""
    return Table(title=title, title_justify="left", caption_justify="left", box=None, pad_edge=False)


class Tracked:
    """One bar: ``advance`` as work is done, with an optional note beside it (a loss, a rate)."""

    def __init__(self, title: str, total: int, bar: Progress | None) -> None:
        self.title, self.total, self.done, self.note = title, total, 0, ""
        self._bar = bar
        self._id = bar.add_task(title, total=total, note="") if bar else None
        self._start = self._printed = time.monotonic()

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Count ``steps`` more as done."""
        self.done += steps
        self.note = self.note if note is None else note
        if self._bar and self._id is not None:
            self._bar.update(self._id, completed=self.done, note=self.note)
        elif time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            elapsed = self._printed - self._start
            left = elapsed / max(self.done, 1) * (self.total - self.done)
            console.print(
                f"  {self.title}: {self.done}/{self.total}, {elapsed:.0f} s, {left:.0f} s left  {self.note}"
            )


def duration(seconds: float) -> str:
    """Seconds as people say them: ``90 s``, ``12 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def track(title: str, total: int) -> Iterator[Tracked]:
    """Progress of some work for as long as the block runs; ends with one line that says how long it took."""
    start = time.monotonic()
    if console.is_terminal:
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            work = Tracked(title, total, bar)
            yield work
    else:
        work = Tracked(title, total, None)
        yield work
    seconds = time.monotonic() - start
    console.print(f"  {title}: {work.done}/{work.total} in {seconds:.1f} s  {work.note}".rstrip())
