"""How figures are drawn: the style, what several of them consist of, and how they become files.

matplotlib is imported when something is drawn: its import takes half a second, and tables need none of it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from raymoe.display.fonts import cover, families
from raymoe.display.shown import Plot
from raymoe.display.vocabulary import INK, LINE, MUTED, SHADES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "svg.hashsalt": "raymoe",  # the same figure gives the same bytes
    "svg.fonttype": "path",  # looks the same where the font isn't installed
}
MARKERS = "osD^vPX"
ROUNDING = 1e-12  # a smaller value is none
WHISKERS: dict[str, Any] = {"elinewidth": 1.1, "capsize": 2.5}
# A value, and the low and high end of its interval; NaN where there is none.
Interval = tuple[float, float, float]


def drawn(plot: Plot) -> Figure:
    """The figure, in the style of all others, with fonts for all that is written in it."""
    with style():
        figure = plot.draw()
    if cover(written_in(figure)):
        with style():  # fonts are decided on when things are made
            figure = plot.draw()
    return figure


def style() -> AbstractContextManager[None]:
    """The style, which matplotlib reads when things are made."""
    import matplotlib as mpl

    return mpl.rc_context(STYLE | {"font.family": families()})


def written_in(figure: Figure) -> list[str]:
    """All texts of a figure; those at the ticks are in no artist before it is drawn."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    found = [artist.get_text() for artist in figure.findobj(Text)]
    for axes in figure.axes:
        formatters = (axis.get_major_formatter() for axis in (axes.xaxis, axes.yaxis))
        found += [text for f in formatters if isinstance(f, FixedFormatter) for text in f.seq]
    return found


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts find their own places."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure on white."""
    return _saved(figure, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    """The figure without a background."""
    return _saved(figure, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # fonts.cover has said so
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def grouped_bars(
    axes: Axes, groups: Sequence[str], series: Sequence[tuple[str, Any, list[Interval]]]
) -> None:
    """Bars side by side: per series a label, a colour, and for each group a value with its interval."""
    width = 0.84 / max(1, len(series))
    for i, (label, color, values) in enumerate(series):
        x = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width
        value, low, high = np.array(values, dtype=float).reshape(-1, 3).T
        axes.bar(x, value, width * 0.94, color=color, label=label)
        _whiskers(axes, x, value, low, high, INK)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    found = [value for _, _, values in series for value in np.ravel(values) if np.isfinite(value)]
    if found and np.abs(found).max() < ROUNDING:
        axes.set_ylim(-1, 1)  # else the scale would be that of rounding
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0, labelcolor=INK)


def line(
    axes: Axes,
    x: Sequence[float],
    values: Sequence[Interval],
    *,
    color: Any,
    marker: str,
    label: str | None = None,
    linestyle: str = "-",
) -> None:
    """A curve with intervals where they are known."""
    value, low, high = np.array(values, dtype=float).reshape(-1, 3).T
    axes.plot(
        x, value, marker=marker, color=color, linestyle=linestyle, markersize=5, linewidth=1.6, label=label
    )
    _whiskers(axes, np.array(x, dtype=float), value, low, high, color)


def _whiskers(
    axes: Axes, x: np.ndarray, value: np.ndarray, low: np.ndarray, high: np.ndarray, color: Any
) -> None:
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        reach = np.maximum([(value - low)[known], (high - value)[known]], 0)
        axes.errorbar(x[known], value[known], yerr=reach, fmt="none", ecolor=color, **WHISKERS)


def heat_map(axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Numbers on shades from the least to the largest of them; a dash where there is none."""
    axes.imshow(values, aspect="auto", cmap=ramp(*SHADES))
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0, 1)
    for (y, x), value in np.ndenumerate(values):
        dark = np.isfinite(value) and value - low > 0.6 * (high - low)
        written = f"{value:.2f}" if np.isfinite(value) else "–"
        color = "white" if dark else "#222222"
        axes.text(x, y, written, ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def ramp(*colors: str) -> LinearSegmentedColormap:
    """A colour map from one colour to another."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ramp", colors)


def paler(color: str, share: float) -> tuple[float, ...]:
    """A share of the colour on a mid grey: one that stands out on light and on dark."""
    from matplotlib.colors import to_rgb

    return tuple(0.72 + share * (c - 0.72) for c in to_rgb(color))


def outside_legend(axes: Axes) -> None:
    """A legend to the right of the axes."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.4, borderaxespad=0.2)
