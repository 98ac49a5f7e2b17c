"""A sweep as it goes: a table of its trials in a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.live import Live
from rich.table import Table
from rich.text import Text

from raymoe.runtime.progress import SECONDS_BETWEEN_LINES, console
from raymoe.training.trials import Trial

COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow", "failed": "red"}


@dataclass
class Standing:
    """How far a trial has come.

    Attributes:
        state: ``waiting``, ``running``, ``finished``, ``stopped`` or ``failed``.
        epoch: the last one that is finished; 0 before the first.
        best: the best validation score until then.
    """

    state: str = "waiting"
    epoch: int = 0
    best: float | None = None


class LiveTable:
    """Shows the trials for as long as its block runs; told of every change by ``update``.

    Args:
        trials: all trials of the sweep.
        selection: name of the validation score.
    """

    def __init__(self, trials: Sequence[Trial], selection: str) -> None:
        self.trials, self.selection = trials, selection
        self.standings = {trial.name: Standing() for trial in trials}
        self._start, self._printed = time.monotonic(), 0.0
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveTable:
        if console.is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if console.is_live:
            self._live.stop()

    def update(self, trial: Trial, state: str, epoch: int | None = None, best: float | None = None) -> None:
        """A trial started, finished an epoch, or came to its end."""
        standing = self.standings[trial.name]
        changed = standing.state != state
        standing.state = state
        standing.epoch = standing.epoch if epoch is None else epoch
        standing.best = standing.best if best is None else best
        now = time.monotonic()
        if console.is_live or not (changed or now - self._printed > SECONDS_BETWEEN_LINES):
            return
        self._printed = now
        epoch_of = f"epoch {standing.epoch}/{trial.project.preset.train.epochs}"
        words = [f"  {trial.name}: {state}", epoch_of, f"val {self.selection} {_score(standing.best)}"]
        console.print(", ".join(words if standing.epoch else words[:1]))

    def _table(self) -> Table:
        count = Counter(standing.state for standing in self.standings.values())
        seconds = time.monotonic() - self._start
        caption = ", ".join(f"{n} {state}" for state, n in sorted(count.items())) + f"; {seconds:.0f} s"
        columns = "configuration", "seed", "epoch", f"val {self.selection}", "state"
        table = Table(*columns, caption=caption, caption_justify="left", box=None, pad_edge=False)
        shown: Sequence[Trial] = self.trials
        if len(shown) > console.height - 4:
            busy = [t for t in self.trials if self.standings[t.name].state not in ("waiting", "finished")]
            shown = busy[-(console.height - 4) :]
        for trial in shown:
            standing = self.standings[trial.name]
            colour = COLOURS.get(standing.state)
            table.add_row(
                trial.configuration,
                str(trial.seed),
                f"{standing.epoch}/{trial.project.preset.train.epochs}" if standing.epoch else "",
                _score(standing.best) if standing.epoch else "",
                Text(standing.state, style=colour or ""),
            )
        return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
