"""How alignment is shown: Fig. 4's bars, and the means as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from raymoe.display.plots import grouped_bars, new_figure, paler
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import COMPARED, REDUNDANCY, SYNERGY, expert_title, score_label
from raymoe.experiments.alignment import POOLED, SAME
from raymoe.experiments.rows import (
    Rows,
    of_paper,
    over_seeds,
    rows_of,
    seed_head,
    seed_spread,
    seeds_of,
    seeds_said,
    unique,
    values_by,
)
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = dict.fromkeys(COMPARED, 5) | {"redundancy_gap": 4}
# How far the axes of the paper's bar charts reach; it prints no numbers for them.
PAPER_GAPS = {"mmimdb": "1", "enrico": "0.4", "mmhs150k": "0.2"}


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """The synergy expert's SII and the redundancy expert's gap, as in the paper; then every score."""
    rows = rows_of(tables, "alignment")
    seeds, every = seeds_of(rows), over_seeds(rows)
    shown = of_paper(every)
    notes = [
        "The mean of the largest of noisy scores is too large, in every bin alike; hold it beside the s.e."
    ]
    if project.dataset in PAPER_GAPS:
        notes.append(
            "The paper prints no numbers for Fig. 4; its axes reach 0.004 (SII) and "
            f"{PAPER_GAPS[project.dataset]} (gap)."
        )
    caption = (
        "Mean score of the top q per cent of the pairs, by how important the pair's features are to the "
        f"expert; {seeds_said(seeds)}. Whiskers: 95 % intervals, bootstrap over samples."
    )
    pooled = [row for row in shown if row["choice"] == POOLED]
    same = [row for row in shown if row["choice"] == SAME]
    figures = [Plot("alignment", caption, lambda: draw(pooled))]
    if same:
        notes.append(f"Bins are of different samples, with all pairs pooled: {_counts(pooled)}.")
        counted = f"Of the {max(row['samples'] for row in same)} samples that have pairs in every bin. "
        figures.append(Plot("alignment-same-samples", counted + caption, lambda: draw(same)))
    else:
        notes.append("No sample has pairs in every bin: what differs between bins may be their samples.")
    return Shown(
        finding=finding(rows),
        figures=tuple(figures),
        sheets=(_sheet(shown, seeds),),
        details=(_every_score(every, seeds),),
        notes=tuple(notes),
    )


def _counts(rows: Rows) -> str:
    """How many samples each bin has."""
    score = rows[0]["score"]
    found = {row["bin"]: row["samples"] for row in rows if row["score"] == score}
    return ", ".join(f"{name} {count}" for name, count in found.items())


def finding(rows: Rows) -> str:
    """The strongest pairs of the most and of the least important features."""
    rows = [row for row in of_paper(over_seeds(rows)) if row["mean"] is not None]
    same = [row for row in rows if row["choice"] == SAME]
    rows = same or rows
    found = []
    for score in unique(rows, "score"):
        top = min(row["top"] for row in rows if row["score"] == score)
        bins = [row for row in rows if (row["score"], row["top"]) == (score, top)]
        ends = " to ".join(f"{row['mean']:#.2g}" for row in (bins[0], bins[-1]))
        found.append(f"mean {score_label(score)} {ends}")
    if not found:
        return ""
    where = (
        f"of the {max(row['samples'] for row in same)} samples with pairs in every bin" if same else "pooled"
    )
    return f"Strongest pairs {where}, from the most to the least important features: {', '.join(found)}"


def _sheet(rows: Rows, seeds: list[int]) -> Sheet:
    several = len(seeds) > 1
    columns = (
        *("score", "top pairs of", "features", "top q", "mean", *seed_head(several)),
        *("s.e. of a pair", "pairs", "samples"),
    )
    caption = (
        f"Mean score of the top q per cent of the pairs within each importance bin, {seeds_said(seeds)} (95 "
        "% intervals, bootstrap over samples); s.e.: mean standard error of the bin's pairs"
    )
    cells = tuple(
        (
            f"{score_label(row['score'])}, {expert_title(row['expert'])}",
            row["choice"],
            row["bin"],
            f"{row['top']} %",
            Amount(row["mean"], row["low"], row["high"], digits=DIGITS[row["score"]]),
            *seed_spread(1, row["std"], several, DIGITS[row["score"]]),
            Amount(row["stderr"], digits=DIGITS[row["score"]]),
            Amount(row["pairs"], digits=0),
            Amount(row["samples"], digits=0),
        )
        for row in rows
    )
    return Sheet("alignment", caption, columns, cells)


def _every_score(rows: Rows, seeds: list[int]) -> Sheet:
    """Every score of every expert, at the smallest q, a column for each bin."""
    top = min((row["top"] for row in rows), default=0)
    bins = unique(rows, "bin")
    found: dict[tuple[str, str, str], dict[str, dict]] = {}
    for row in rows:
        if row["top"] == top:
            found.setdefault((row["expert"], row["score"], row["choice"]), {})[row["bin"]] = row
    cells: list[tuple[Cell, ...]] = []
    for (expert, score, choice), of_bin in found.items():
        amounts = [
            Amount(of["mean"], of["low"], of["high"], digits=DIGITS[score])
            if (of := of_bin.get(name))
            else "–"
            for name in bins
        ]
        samples = Amount(max(of["samples"] for of in of_bin.values()), digits=0)
        cells.append((expert_title(expert), score_label(score), choice, *amounts, samples))
    caption = f"Every score of the top {top} % of the pairs, by importance; {seeds_said(seeds)}"
    columns = ("expert", "score", "top pairs of", *bins, "samples")
    return Sheet("alignment-every-score", caption, columns, tuple(cells))


def draw(rows: Rows) -> Figure:
    """Fig. 4: bars of importance bins x q, a panel per score, with 95 % intervals."""
    scores = unique(rows, "score")
    figure = new_figure(9, 3.1)
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores, strict=True):
        of_score = [row for row in rows if row["score"] == score]
        bins, tops = unique(of_score, "bin"), sorted({row["top"] for row in of_score})
        color = SYNERGY if score in ("sii", "synergy") else REDUNDANCY
        series = []
        for top, share in zip(tops, np.linspace(1, 0.35, len(tops)), strict=True):
            own = [row for row in of_score if row["top"] == top]
            values = values_by(own, "bin", bins, ("mean", "low", "high"))
            series.append((f"top {top} %", paler(color, share), values))
        grouped_bars(axes, bins, series)
        label = score_label(score)
        axes.set(
            title=f"{label}, {expert_title(of_score[0]['expert'])}",
            ylabel=f"mean {label}",
            xlabel="features, by importance",
        )
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1] or 1)  # room for the legend above the whiskers
        axes.legend(loc="upper right", ncols=len(tops), columnspacing=1.2, handlelength=1.2)
    return figure
