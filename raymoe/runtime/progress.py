"""What is printed: one console for everybody, and the progress of long work.

Progress is a Rich bar in a terminal, plain lines elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table

from raymoe.runtime.characters import encodable, visible


class PlainConsole(Console):
    """A console that prints text as it is: names of users are no markup and no commands to the terminal.

    ``[red]`` is five characters unless ``markup=True`` is said; what would act on the terminal is a mark; and
    what its encoding lacks is written plainly instead of ending the command.
    """

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False)

    @property
    def is_live(self) -> bool:
        """Whether what is printed can be changed afterwards, as a bar is."""
        return self.is_terminal and not self.is_dumb_terminal

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments, their text fit for this terminal."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(encodable(visible(segment.text), self.encoding), segment.style)


console = PlainConsole()
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
    if console.is_live:
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
