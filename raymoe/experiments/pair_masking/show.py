"""How pair masking is shown: Table 1 over all budgets, and its drops with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from raymoe.display.plots import MARKERS, line, new_figure, outside_legend
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import GREY, MUTED, NEGATIVE, SYNERGY, expert_title, metric_label, score_label
from raymoe.experiments.pair_masking import MATCHED, ORIGINAL, RANKED
from raymoe.experiments.rows import (
    Row,
    Rows,
    differences_of,
    first_known,
    of_paper,
    over_seeds,
    percent,
    rows_of,
    seed_head,
    seed_spread,
    seeds_of,
    seeds_said,
    unique,
    values_by,
    with_bounds,
)
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """Table 1's figures for every expert, score and budget; the drop and what ranked pairs add are paired."""
    every = rows_of(tables, "pair-masking")
    rows, seeds = over_seeds(every), seeds_of(every)
    metric = metric_label(rows[0]["metric"])
    note = (
        "Ranked pairs share features, so at the same number of pairs they zero fewer than random ones: "
        "“random pairs, as many features” is the fair comparison."
    )
    caption = (
        f"Drop of {metric} with K per cent of the pairs masked, {seeds_said(seeds)}. Whiskers: 95 % "
        "intervals, paired bootstrap over samples."
    )
    caption += " White diamonds: the paper's." if first_known(rows, "paper") is not None else ""
    return Shown(
        finding=finding(every),
        figures=(Plot("pair-masking", caption, lambda: draw(rows)),),
        sheets=(_sheet(rows, seeds, differences_of(tables["pair-masking"])),),
        notes=(note, f"Samples: {rows[0]['samples']}.", *_said_of_short(rows)),
    )


def _said_of_short(rows: Rows) -> list[str]:
    """Which budgets are less than a pair, and of how many samples."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["masking"] == RANKED and row["short"]:
            found.setdefault(row["expert"], {})[row["share"]] = row["short"]
    said = [
        f"{expert_title(expert)} " + ", ".join(f"K = {share} %: {short:.0f}" for share, short in of.items())
        for expert, of in found.items()
    ]
    if not said:
        return []
    return [
        "Samples with so few candidate pairs that K per cent is less than one, of which one was masked: "
        f"{'; '.join(said)}. Budgets that small don't differ for them."
    ]


def finding(rows: Rows) -> str:
    """Ranked pairs beside as many random features, at the smallest budget."""
    rows = of_paper(over_seeds(rows))
    said = []
    for score in unique(rows, "score"):
        share = min(row["share"] for row in rows if row["score"] == score)
        drop = {r["masking"]: r["drop"] for r in rows if (r["score"], r["share"]) == (score, share)}
        ranked, random = drop.get(RANKED), drop.get(MATCHED)
        if ranked is not None and random is not None:
            ours, others = f"{100 * ranked:.1f}", f"{100 * random:.1f}"
            said.append(f"top {share} % by {score_label(score)} {ours}, as many features at random {others}")
    return f"Drop in points: {'; '.join(said)}" if said else ""


def _sheet(rows: Rows, seeds: list[int], differences: Rows) -> Sheet:
    several, in_paper = len(seeds) > 1, first_known(rows, "paper") is not None
    metric = metric_label(rows[0]["metric"])
    least = min(row["share"] for row in rows)
    key = ("expert", "score", "share")
    more = {
        (*(d[k] for k in key), d["against"]): percent(d, "more", digits=2, signed=True) for d in differences
    }

    def cells(row: Row) -> tuple[Cell, ...]:
        original = row["masking"] == ORIGINAL
        return (
            f"{score_label(row['score'])}, {expert_title(row['expert'])}",
            "" if original else f"{row['share']} %",
            row["masking"],
            percent(row, "value"),
            *([percent(row, "paper", digits=2)] if in_paper else []),
            Amount(None) if original else percent(row, "drop", digits=2),
            *seed_spread(100, None if original else row["drop_std"], several, 2),
            *([more.get((*(row[k] for k in key), row["masking"]), Amount(None))] if more else []),
            Amount(row["pairs"], digits=1),
            Amount(row["features"], digits=1),
            Amount(row["short"], digits=0),
        )

    columns = (
        *("pairs of", "K", "masked", metric, *(["paper"] if in_paper else []), "drop", *seed_head(several)),
        *(["ranked pairs more"] if more else []),
        *("pairs", "zeroed", "short"),
    )
    caption = (
        f"{metric} in per cent and its drop in points after masking K per cent of the cross-modal pairs "
        f"among the top 10 % features, {seeds_said(seeds)} (95 % intervals, paired bootstrap over samples); "
        "pairs and zeroed features: means over samples; short: samples of whose pairs K per cent is "
        "less than one"
    )
    if more:
        caption += "; ranked pairs more: by how much ranked pairs hurt more than this baseline, paired"
    # without a mask it is the same at every K
    shown = tuple(cells(row) for row in rows if row["masking"] != ORIGINAL or row["share"] == least)
    return Sheet("pair-masking", caption, columns, shown)


def draw(rows: Rows) -> Figure:
    """Table 1 over the budgets, as drops: a panel per expert and score; diamonds are the paper's figures.

    The drop has a paired interval, which is much narrower than that of the score itself.
    """
    panels = list(dict.fromkeys((row["expert"], row["score"]) for row in rows))
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(3.6 * columns + 2.4, 2.7 * lines + 0.2)
    found = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in found.ravel()[len(panels) :]:
        axes.axis("off")
    for axes, (expert, score) in zip(found.ravel(), panels, strict=False):
        _panel(axes, [row for row in rows if (row["expert"], row["score"]) == (expert, score)])
        axes.set(title=f"{score_label(score)}, {expert_title(expert)}")
    for axes in found[-1]:
        axes.set_xlabel("K, pairs masked")
    for axes in found[:, 0]:
        axes.set_ylabel(f"drop of {metric_label(rows[0]['metric'])}\n(points)")
    outside_legend(found[0, -1])
    return figure


def _panel(axes: Axes, rows: Rows) -> None:
    original = first_known([row for row in rows if row["masking"] == ORIGINAL], "paper")
    masked = [row for row in rows if row["masking"] != ORIGINAL]
    shares, maskings = sorted({row["share"] for row in masked}), unique(masked, "masking")
    axes.axhline(0, color=MUTED, linewidth=0.8)
    for i, masking in enumerate(maskings):
        own = sorted((row for row in masked if row["masking"] == masking), key=lambda row: row["share"])
        color = SYNERGY if masking == RANKED else (GREY, NEGATIVE)[i % 2]
        # budgets side by side, so that intervals don't hide each other
        x = [shares.index(row["share"]) + 0.16 * (i - (len(maskings) - 1) / 2) for row in own]
        drops = values_by(own, "share", [row["share"] for row in own], with_bounds("drop"), 100)
        line(axes, x, drops, color=color, marker=MARKERS[i % len(MARKERS)], label=masking, linestyle="none")
        paper = [
            (place, 100 * (original - row["paper"]))
            for place, row in zip(x, own, strict=True)
            if original is not None and row["paper"] is not None
        ]
        if paper:
            axes.plot(
                *zip(*paper, strict=True),
                "D",
                color=color,
                markerfacecolor="white",
                markersize=8,
                label=f"paper, {masking}",
            )
    axes.set_xticks(range(len(shares)), [f"{share} %" for share in shares])
