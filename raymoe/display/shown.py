"""What is shown of an experiment: figures, tables, notes and one sentence, described once.

The page, the terminal and the files for a paper all draw from the same description.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raymoe.display.sheets import Sheet

if TYPE_CHECKING:  # a terminal prints tables without matplotlib, whose import takes half a second
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure that is drawn when somebody looks at it (see ``raymoe.display.plots.drawn``).

    Attributes:
        name: of its files.
        caption: what is drawn, and what the error bars are; screen readers read it instead of the figure.
        draw: makes it.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Shown:
    """What is shown of an experiment; of figures and tables the first is the main one.

    Attributes:
        finding: what came out, in one sentence of figures without judgement; empty where the tables lack
            them.
        figures: on the page.
        sheets: tables, on the page and in a terminal.
        details: tables that are too long for a terminal: on the page alone.
        notes: what has to be known to read all this.
        pictures: files in the run's folder that the page links to.
    """

    finding: str = ""
    figures: tuple[Plot, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    details: tuple[Sheet, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[Sheet, ...]:
        """Every table, those for a terminal first."""
        return self.sheets + self.details
