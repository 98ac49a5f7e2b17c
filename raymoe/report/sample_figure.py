"""One sample as a picture: per expert its heat maps over words and patches, and its top pairs as links."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections import Counter

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path
from PIL import ImageEnhance

from raymoe.report.explorer import Pair, Sample, Sequence
from raymoe.report.figures import STYLE
from raymoe.report.palette import (
    INK,
    LINE,
    MUTED,
    NEGATIVE,
    SCORES,
    default_score,
    expert_colors,
    expert_label,
)
from raymoe.report.words import is_right_to_left

PIECES_SHOWN = 44  # of a longer text, those around the linked pieces
CONTEXT = 3
# The axes of a panel are in hundredths of an inch, so that nothing is distorted.
PANEL_WIDTH, PICTURE_SIDE, MARGIN = 620.0, 330.0, 14.0
LINE_HEIGHT, CHIP_HEIGHT = 27.0, 20.0


def sample_figure(sample: Sample, experts: list[str], classes: list[str]) -> Figure | None:
    """A panel per probed expert; None for a sample without a text, a picture or a pair between them."""
    texts = [name for name, s in sample.sequences.items() if s.kind == "text"]
    images = [name for name, s in sample.sequences.items() if s.kind == "image"]
    panels = [(e, sample.pairs[e][default_score(e)]) for e in experts if sample.pairs.get(e)]
    if not texts or not images or not panels:
        return None
    text, image = texts[0], images[0]
    colors = expert_colors(experts)
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a script that the font lacks
        figure = Figure(figsize=(PANEL_WIDTH / 100 * len(panels), 6))
        FigureCanvasAgg(figure)  # its renderer measures the words
        bottom = 0.0
        for i, (expert, pairs) in enumerate(panels):
            axes = figure.add_axes((i / len(panels), 0, 1 / len(panels), 1))
            axes.axis("off")
            axes.set(xlim=(0, PANEL_WIDTH), ylim=(600, 0))
            bottom = max(bottom, _panel(axes, sample, expert, colors[expert], pairs, text, image))
        names = ", ".join(classes[c] for c in sample.labels) or "none"
        figure.axes[0].text(MARGIN, 16, f"{sample.sample_id}   true labels: {names}", color=MUTED, fontsize=8)
        figure.set_size_inches(figure.get_figwidth(), bottom / 100)
        for axes in figure.axes:
            axes.set(xlim=(0, PANEL_WIDTH), ylim=(bottom, 0))
    return figure


def _panel(
    axes: Axes, sample: Sample, expert: str, color: str, pairs: list[Pair], text: str, image: str
) -> float:
    """Draw words, picture, links and the list of pairs from top to bottom; where it ends."""
    score, right = default_score(expert), PANEL_WIDTH - MARGIN
    axes.text(MARGIN, 42, f"{expert_label(expert)} expert", color=INK, fontsize=12, fontweight="bold")
    axes.text(
        right, 42, f"strongest pairs by {SCORES[score]}, patches as (row, column)", color=MUTED, ha="right"
    )
    linked = [p for p in pairs if {p.u.modality, p.v.modality} == {text, image}]
    heat = sample.importance.get(expert, {})
    words, patches = sample.sequences[text], sample.sequences[image]
    ends = [(p.u.index, p.v.index) if p.u.modality == text else (p.v.index, p.u.index) for p in linked]
    chips, bottom = _words(axes, words, heat.get(text, []), color, {word for word, _ in ends})
    left, top, width, height = _picture(axes, patches, heat.get(image, []), color, bottom + 44)
    largest = max((abs(p.value) for p in linked), default=0) or 1
    listed = top + height + 26
    decimals = _decimals(linked)
    half = (len(linked) + 1) // 2
    per_cell: Counter[int] = Counter()
    for i, (pair, (word, cell)) in enumerate(zip(linked, ends, strict=True)):
        tone = NEGATIVE if pair.value < 0 else color
        row, column = divmod(cell, patches.cols)
        offset, angle = 17.0 * (per_cell[cell] > 0), 2.4 * per_cell[cell]  # several links end in one patch
        per_cell[cell] += 1
        x = left + (column + 0.5) * width / patches.cols + offset * np.cos(angle)
        y = top + (row + 0.5) * height / patches.rows + offset * np.sin(angle)
        _link(axes, chips[word], (x, y), tone, abs(pair.value) / largest, dashed=pair.value < 0)
        _badge(axes, x, y, i + 1, tone)
        x, y = MARGIN + 10 + (i // half) * PANEL_WIDTH / 2, listed + (i % half) * LINE_HEIGHT
        piece = textwrap.shorten(words.pieces[word].text, 14, placeholder="…") or "…"
        _badge(axes, x, y, i + 1, tone)
        axes.text(x + 14, y, piece, color=INK, va="center", fontsize=9, fontweight="bold")
        axes.text(x + 104, y, f"({row + 1}, {column + 1})", color=MUTED, va="center", fontsize=8)
        x = right - (1 - i // half) * PANEL_WIDTH / 2
        axes.text(x, y, _value(pair, score, decimals), color=tone, va="center", ha="right", fontsize=8.5)
    return listed + half * LINE_HEIGHT


def _decimals(pairs: list[Pair]) -> int:
    """As many as give the smallest standard error two digits."""
    sizes = [size for p in pairs if (size := p.stderr or abs(p.value)) > 0]
    return min(8, max(2, 1 - math.floor(math.log10(min(sizes))))) if sizes else 3


def _value(pair: Pair, score: str, decimals: int) -> str:
    sign = "+" if score == "sii" and pair.value >= 0 else ""
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
    axes: Axes, words: Sequence, scores: list[float], color: str, linked: set[int]
) -> tuple[dict[int, tuple[float, float]], float]:
    """Draw the pieces as lines of chips; where each one's lower edge is, and where the text ends."""
    renderer = axes.figure.canvas.get_renderer()
    scale = 100 / axes.figure.dpi
    keep = _kept(words, linked)
    x, y, right = MARGIN, 70.0, PANEL_WIDTH - MARGIN
    where: dict[int, tuple[float, float]] = {}
    leftward = is_right_to_left(words.pieces)
    previous = -1

    def place(x: float, width: float) -> float:
        return PANEL_WIDTH - x - width if leftward else x

    for i in keep:
        piece = words.pieces[i]
        if i != previous + 1:
            axes.text(place(x, 8), y, "…", color=MUTED, va="center")
            x += 18
        text = axes.text(0, 0, piece.text, fontsize=9.5, va="center", zorder=6)
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


def _kept(words: Sequence, linked: set[int]) -> list[int]:
    if len(words.pieces) <= PIECES_SHOWN:
        return list(range(len(words.pieces)))
    near = {j for i in linked for j in range(i - CONTEXT, i + CONTEXT + 1)}
    return [i for i in range(len(words.pieces)) if i in near] or list(range(PIECES_SHOWN))


def _picture(
    axes: Axes, patches: Sequence, scores: list[float], color: str, top: float
) -> tuple[float, float, float, float]:
    """Draw the picture with its heat map; left, top, width and height of it."""
    picture = patches.picture
    ratio = picture.width / picture.height if picture else 1.0
    width, height = min(PICTURE_SIDE, PICTURE_SIDE * ratio), min(PICTURE_SIDE, PICTURE_SIDE / ratio)
    left = (PANEL_WIDTH - width) / 2
    if picture:
        pale = ImageEnhance.Color(picture).enhance(0.4)  # so that the heat map's colour stands out
        axes.imshow(np.asarray(pale), extent=(left, left + width, top + height, top), zorder=1, aspect="auto")
    else:
        axes.text(left + width / 2, top + height / 2, "no picture", color=MUTED, ha="center", va="center")
    if scores:
        heat = np.zeros((patches.rows, patches.cols, 4))
        heat[..., :3] = to_rgb(color)
        heat[..., 3] = 0.72 * np.asarray(scores).reshape(patches.rows, patches.cols)
        axes.imshow(
            heat,
            extent=(left, left + width, top + height, top),
            zorder=2,
            aspect="auto",
            interpolation="nearest",
        )
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=LINE, linewidth=0.8, zorder=3))
    return left, top, width, height


def _badge(axes: Axes, x: float, y: float, rank: int, color: str) -> None:
    axes.plot(x, y, "o", color=color, markersize=11, markeredgecolor="white", zorder=7)
    axes.text(x, y + 0.4, str(rank), color="white", fontsize=7, ha="center", va="center_baseline", zorder=8)


def _mixed(color: str, share: float) -> tuple[float, ...]:
    return tuple(1 + share * (c - 1) for c in to_rgb(color))
