"""One sample as a picture: per expert its heat maps over words and patches, and its top pairs as links."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path
from PIL import ImageEnhance

from raymoe.display.fonts import cover, drawable
from raymoe.display.plots import style
from raymoe.display.samples import End, Pair, Sample, Sequence
from raymoe.display.thumbnails import opened
from raymoe.display.vocabulary import (
    INK,
    LINE,
    MUTED,
    NEGATIVE,
    SCORE_TITLES,
    SIGNED,
    UNSEEN,
    default_score,
    expert_colors,
    expert_title,
)
from raymoe.display.words import is_right_to_left
from raymoe.features.geometry import Geometry

PIECES_SHOWN = 44  # of a longer text, those around the linked pieces
CONTEXT = 3
# The axes of a panel are in hundredths of an inch, so that nothing is distorted.
PANEL_WIDTH, PICTURE_SIDE, MARGIN = 620.0, 330.0, 14.0
LINE_HEIGHT, CHIP_HEIGHT = 27.0, 20.0


@dataclass(frozen=True)
class Panel:
    """One part of a figure: a sample's texts and pictures under one heat map, and pairs as links.

    Attributes:
        title, subtitle: above it.
        color: of the heat map and the links.
        heat: per modality, one value in [0, 1] per piece or cell; empty where there is none.
        pairs: the strongest first.
        score: of the pairs, a key of ``SCORES``.
        gap: why there is nothing to show; stands in place of all the rest.
    """

    title: str
    subtitle: str
    color: str
    heat: dict[str, list[float]]
    pairs: tuple[Pair, ...] = ()
    score: str = "sii"
    gap: str = ""


def sample_figure(sample: Sample, experts: list[str], classes: list[str], pairs: int) -> Figure | None:
    """A panel per probed expert with its strongest pairs; None for a sample without a pair."""
    panels = [pair_panel(sample, e, experts, pairs) for e in experts if sample.pairs.get(e)]
    panels = [panel for panel in panels if panel.pairs]
    return paneled(sample, classes, [(panels, PANEL_WIDTH)]) if panels else None


def pair_panel(sample: Sample, expert: str, experts: list[str], count: int) -> Panel:
    """An expert's heat map and its strongest pairs by its own score."""
    score = default_score(expert)
    return Panel(
        title=expert_title(expert),
        subtitle=f"strongest pairs by {SCORE_TITLES[score]}, patches as (row, column)",
        color=expert_colors(experts)[expert],
        heat=sample.importance.get(expert, {}),
        pairs=tuple(sample.pairs.get(expert, {}).get(score, [])[:count]),
        score=score,
    )


def paneled(sample: Sample, classes: list[str], lines: list[tuple[list[Panel], float]]) -> Figure:
    """A figure of lines of panels; each line has its panels' width, in hundredths of an inch."""
    total = max(len(panels) * width for panels, width in lines)
    names = ", ".join(classes[c] for c in sample.labels) or "none"
    heading = drawable(f"{sample.sample_id}   true labels: {names}")
    cover([heading, *(drawable(p.shown) for s in sample.sequences.values() for p in s.pieces)])
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # fonts.cover has said so
        figure = Figure(figsize=(total / 100, 6))
        FigureCanvasAgg(figure)  # its renderer measures the words
        drawn, heights = [], []
        for i, (panels, width) in enumerate(lines):
            axes_of_line: list[Axes] = []
            bottom = 0.0
            for panel in panels:
                axes = figure.add_axes((0, 0, width / total, 1), label=f"{i}-{len(axes_of_line)}")
                axes.axis("off")
                axes.set(xlim=(0, width), ylim=(600, 0))
                bottom = max(bottom, _panel(axes, sample, panel, width))
                axes_of_line.append(axes)
            drawn.append(axes_of_line)
            heights.append(bottom)
        width_of_heading = int(total / 5.2)  # characters of this size, about
        shown = heading if len(heading) <= width_of_heading else f"{heading[: width_of_heading - 1]}…"
        figure.axes[0].text(MARGIN, 16, shown, color=MUTED, fontsize=8)
        whole = sum(heights)
        figure.set_size_inches(total / 100, whole / 100)
        above = 0.0
        for axes_of_line, height, (_, width) in zip(drawn, heights, lines, strict=True):
            above += height
            for i, axes in enumerate(axes_of_line):
                axes.set_position((i * width / total, 1 - above / whole, width / total, height / whole))
                axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _panel(axes: Axes, sample: Sample, panel: Panel, width: float) -> float:
    """Draw texts, pictures, links and the list of pairs from top to bottom; where it ends."""
    right = width - MARGIN
    axes.text(MARGIN, 42, panel.title, color=INK, fontsize=12, fontweight="bold")
    narrow = width < PANEL_WIDTH
    x, y, end = (MARGIN, 58, "left") if narrow else (right, 42, "right")
    axes.text(x, y, panel.subtitle, color=MUTED, ha=end, fontsize=8 if narrow else 9)
    if panel.gap:
        lines = textwrap.wrap(panel.gap, max(20, int(width / 6.2)), break_long_words=True)
        axes.text(MARGIN, 86, "\n".join(map(drawable, lines)), color=MUTED, va="top", fontsize=8.5)
        return 100 + 17 * len(lines)
    linked: dict[str, set[int]] = {name: set() for name in sample.sequences}
    for pair in panel.pairs:
        for side_of_pair in (pair.u, pair.v):
            linked[side_of_pair.modality].add(side_of_pair.index)
    spots: dict[End, tuple[float, float]] = {}
    reach: dict[End, float] = {}  # how far from the middle of a patch still is that patch
    bottom = 70.0 if narrow else 58.0
    for name, sequence in sample.sequences.items():
        if sequence.kind == "text":
            heat = panel.heat.get(name, [])
            found, bottom = _words(axes, sequence, heat, panel.color, linked[name], bottom + 14, width)
            spots |= {End(name, i): place for i, place in found.items()}
    images = {name: s for name, s in sample.sequences.items() if s.kind == "image"}
    if images:
        top = bottom + (44 if panel.pairs else 24)
        room = (width - MARGIN * (len(images) + 1)) / len(images)
        for i, (name, patches) in enumerate(images.items()):
            middle = MARGIN + room / 2 + i * (room + MARGIN)
            side = min(PICTURE_SIDE, room)
            box = _picture(axes, patches, panel.heat.get(name, []), panel.color, top, middle, side)
            bottom = max(bottom, box[1] + box[3])
            for cell in range(len(patches.cells)):
                x0, y0, x1, y1 = _geometry(patches).patch(cell)
                spots[End(name, cell)] = box[0] + (x0 + x1) / 2 * box[2], box[1] + (y0 + y1) / 2 * box[3]
                reach[End(name, cell)] = 0.36 * min((x1 - x0) * box[2], (y1 - y0) * box[3])
    return _links(axes, sample, panel, spots, reach, bottom, width) if panel.pairs else bottom + MARGIN


def _links(
    axes: Axes,
    sample: Sample,
    panel: Panel,
    spots: dict[End, tuple[float, float]],
    reach: dict[End, float],
    bottom: float,
    width: float,
) -> float:
    """Draw the pairs as curves, and below as a list; where it ends."""
    largest = max(abs(p.value) for p in panel.pairs) or 1
    listed, right = bottom + 26, width - MARGIN
    decimals = _decimals(list(panel.pairs))
    half = (len(panel.pairs) + 1) // 2
    per_cell: Counter[End] = Counter()
    for i, pair in enumerate(panel.pairs):
        tone = NEGATIVE if pair.value < 0 else panel.color
        # from a word to a patch, whichever is named first
        start, end = sorted((pair.u, pair.v), key=lambda e: sample.sequences[e.modality].kind == "image")
        aside, angle = per_cell[end] > 0, 2.4 * per_cell[end]  # several links end in one patch
        offset = min(17.0, reach.get(end, 17.0)) * aside
        per_cell[end] += 1
        x, y = spots[end][0] + offset * np.cos(angle), spots[end][1] + offset * np.sin(angle)
        _link(axes, spots[start], (x, y), tone, abs(pair.value) / largest, dashed=pair.value < 0)
        _badge(axes, x, y, i + 1, tone)
        x, y = MARGIN + 10 + (i // half) * width / 2, listed + (i % half) * LINE_HEIGHT
        _badge(axes, x, y, i + 1, tone)
        axes.text(x + 14, y, _name(sample, start), color=INK, va="center", fontsize=9, fontweight="bold")
        axes.text(x + 104, y, _name(sample, end), color=MUTED, va="center", fontsize=8)
        x = right - (1 - i // half) * width / 2
        axes.text(
            x, y, _value(pair, panel.score, decimals), color=tone, va="center", ha="right", fontsize=8.5
        )
    return listed + half * LINE_HEIGHT


def _name(sample: Sample, end: End) -> str:
    sequence = sample.sequences[end.modality]
    if sequence.kind == "text":
        return textwrap.shorten(drawable(sequence.pieces[end.index].shown), 14, placeholder="…") or "…"
    row, column = divmod(end.index, sequence.cols)
    several = sum(s.kind == "image" for s in sample.sequences.values()) > 1
    return f"{end.modality[:10] + ' ' if several else ''}({row + 1}, {column + 1})"


def _decimals(pairs: list[Pair]) -> int:
    """How many decimals give the smallest standard error two digits."""
    sizes = [size for p in pairs if (size := p.stderr or abs(p.value)) > 0]
    return min(8, max(2, 1 - math.floor(math.log10(min(sizes))))) if sizes else 3


def _value(pair: Pair, score: str, decimals: int) -> str:
    sign = "+" if score in SIGNED and pair.value >= 0 else ""
    error = "" if pair.stderr is None else f" ± {pair.stderr:.{decimals}f}"
    return f"{sign}{pair.value:.{decimals}f}{error}".replace("-", "−")


def _link(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    strength: float,
    *,
    dashed: bool,
) -> None:
    bends = [(start[0], start[1] + 40), (end[0], end[1] - 70)]
    curve = Path([start, *bends, end], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    axes.add_patch(
        PathPatch(
            curve,
            facecolor="none",
            edgecolor=color,
            linewidth=1 + 2.2 * strength,
            linestyle="--" if dashed else "-",
            alpha=0.5 + 0.5 * strength,
            zorder=4,
        )
    )


def _words(
    axes: Axes,
    words: Sequence,
    scores: list[float],
    color: str,
    linked: set[int],
    top: float,
    panel_width: float,
) -> tuple[dict[int, tuple[float, float]], float]:
    """Draw the pieces as lines of chips; where each one's lower edge is, and where the text ends."""
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)  # see paneled
    renderer = canvas.get_renderer()
    scale = 100 / axes.figure.dpi
    keep = _kept(words, linked, scores)
    x, y, right = MARGIN, top, panel_width - MARGIN
    where: dict[int, tuple[float, float]] = {}
    leftward = is_right_to_left(words.pieces)
    previous = -1

    def place(x: float, width: float) -> float:
        return panel_width - x - width if leftward else x

    for i in keep:
        piece = words.pieces[i]
        if i != previous + 1:
            axes.text(place(x, 8), y, "…", color=MUTED, va="center")
            x += 18
        text = axes.text(0, 0, drawable(piece.shown), fontsize=9.5, va="center", zorder=6)
        width = text.get_window_extent(renderer).width * scale + 10
        joined = piece.joined and i == previous + 1
        if x + width > right:
            x, y = MARGIN, y + LINE_HEIGHT
        elif joined:
            x -= 4
        score = scores[i] if i < len(scores) else 0.0
        text.set(x=place(x, width) + 5, y=y, color=MUTED if piece.special else INK)
        axes.add_patch(
            FancyBboxPatch(
                (place(x, width), y - CHIP_HEIGHT / 2),
                width,
                CHIP_HEIGHT,
                boxstyle="round,pad=0,rounding_size=4",
                facecolor=_mixed(color, 0.72 * score),
                edgecolor=color if i in linked else LINE,
                linewidth=1.4 if i in linked else 0.6,
                zorder=5,
            )
        )
        where[i] = (place(x, width) + width / 2, y + CHIP_HEIGHT / 2)
        x += width + 4
        previous = i
    return where, y


def _kept(words: Sequence, linked: set[int], scores: list[float]) -> list[int]:
    """Which pieces of a long text are shown: those around what is linked, else around what matters most."""
    if len(words.pieces) <= PIECES_SHOWN:
        return list(range(len(words.pieces)))
    if not linked and scores:
        linked = set(
            np.argsort(-np.asarray(scores), kind="stable")[: PIECES_SHOWN // (2 * CONTEXT + 1)].tolist()
        )
    near = {j for i in linked for j in range(i - CONTEXT, i + CONTEXT + 1)}
    return [i for i in range(len(words.pieces)) if i in near] or list(range(PIECES_SHOWN))


def _picture(
    axes: Axes, patches: Sequence, scores: list[float], color: str, top: float, middle: float, side: float
) -> tuple[float, float, float, float]:
    """Draw the picture with its heat map, grey where it was not seen; left, top, width and height of it."""
    picture = opened(patches.picture) if patches.picture else None
    ratio = picture.width / picture.height if picture else 1.0
    width, height = min(side, side * ratio), min(side, side / ratio)
    left = middle - width / 2
    if picture:
        pale = ImageEnhance.Color(picture).enhance(0.4)  # so that the heat map's colour stands out
        axes.imshow(np.asarray(pale), extent=(left, left + width, top + height, top), zorder=1, aspect="auto")
    else:
        axes.text(left + width / 2, top + height / 2, "no picture", color=MUTED, ha="center", va="center")
    geometry = _geometry(patches)
    x, y = left + width * geometry.columns(), top + height * geometry.lines()
    if scores:
        heat = np.zeros((patches.rows, patches.cols, 4))
        heat[..., :3] = to_rgb(color)
        heat[..., 3] = 0.72 * np.asarray(scores).reshape(patches.rows, patches.cols)
        axes.pcolormesh(x, y, heat, zorder=2, rasterized=True)
    for start, stop, upper, lower in (
        (left, left + width, top, y[0]),
        (left, left + width, y[-1], top + height),
        (left, x[0], y[0], y[-1]),
        (x[-1], left + width, y[0], y[-1]),
    ):
        if stop > start and lower > upper:
            unseen = Rectangle(
                (start, upper), stop - start, lower - upper, facecolor=UNSEEN, alpha=0.8, zorder=2
            )
            unseen.set(edgecolor="none", label="not seen")
            axes.add_patch(unseen)
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=LINE, linewidth=0.8, zorder=3))
    return left, top, width, height


def _geometry(patches: Sequence) -> Geometry:
    assert patches.geometry is not None  # it is a picture
    return patches.geometry


def _badge(axes: Axes, x: float, y: float, rank: int, color: str) -> None:
    axes.plot(x, y, "o", color=color, markersize=11, markeredgecolor="white", zorder=7)
    axes.text(x, y + 0.4, str(rank), color="white", fontsize=7, ha="center", va="center_baseline", zorder=8)


def _mixed(color: str, share: float) -> tuple[float, ...]:
    return tuple(1 + share * (c - 1) for c in to_rgb(color))
