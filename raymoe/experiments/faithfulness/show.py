"""How faithfulness is shown: Fig. 3's bars, the drop at every K, and the means as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from raymoe.display.plots import MARKERS, grouped_bars, new_figure, outside_legend
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import (
    ALL_EXPERTS,
    EXPERTS_TOGETHER,
    MODEL_COLORS,
    MUTED,
    PALE,
    SERIES,
    attribution_label,
    expert_colors,
    expert_label,
    metric_label,
    model_label,
)
from raymoe.experiments.rows import (
    Row,
    Rows,
    percent,
    rows_of,
    seed_head,
    seed_spread,
    unique,
    values_by,
    with_bounds,
)
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# How far the axis of the paper's bar charts reaches; it prints no numbers for them.
PAPER_DROPS = {"mmimdb": "30", "enrico": "30", "mmhs150k": "10"}


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """Means over K and seeds per model, expert and method; the curves are of every K."""
    summary, rows = rows_of(tables, "faithfulness-summary"), rows_of(tables, "faithfulness")
    notes = [
        "The paper is expert-wise and shows one bar for FL-I2MoE: here “all experts” is the mean of what the "
        "experts' importance does one by one; “experts together” masks once, by one importance that all of "
        "them make up (the sum of their rollouts; IG of the mixture), as the authors' later code does."
    ]
    if project.dataset in PAPER_DROPS:
        notes.append(
            f"The paper prints no numbers for Fig. 3; its axis reaches {PAPER_DROPS[project.dataset]} points."
        )
    metric = metric_label(summary[0]["metric"])
    figures = (
        Plot(
            "faithfulness",
            f"Drop of {metric}, mean over K and seeds; a larger drop says that the importance found what the "
            "model relies on. Whiskers: 95 % intervals, paired bootstrap over samples.",
            lambda: draw(summary),
        ),
        Plot(
            "faithfulness-curves",
            "The same by K, the share of the features that is masked; mean over seeds and, for FL-I2MoE, "
            "over its experts one by one.",
            lambda: draw_curves([row for row in rows if row["expert"] != EXPERTS_TOGETHER]),
        ),
    )
    return Shown(finding(summary), figures, sheets=(_sheet(summary, metric),), notes=tuple(notes))


def finding(summary: Rows) -> str:
    """By how much each model's own importance beats chance."""

    def points(value: float) -> str:
        return f"{100 * value:+.1f}".replace("-", "−")

    def interval(row: Row) -> str:
        low, high = row["over_random_low"], row["over_random_high"]
        return "" if low is None or high is None else f" ({points(low)} to {points(high)})"

    found = [
        f"{model_label(row['kind'])} {points(row['over_random'])}{interval(row)}"
        for row in summary
        if row["method"] == "grad_attnroll"
        and (row["kind"] == "dense" or row["expert"] == ALL_EXPERTS)
        and row["over_random"] is not None
    ]
    return f"Drop by Grad x AttnRoll beyond random, points: {', '.join(found)}" if found else ""


def _sheet(summary: Rows, metric: str) -> Sheet:
    several = any(row["drop_std"] is not None for row in summary)
    columns = (
        *("model, expert", "importance", "drop", *seed_head(several)),
        *("more than random", "comprehensiveness", "sufficiency", "convergence delta"),
    )
    caption = (
        f"Drop of {metric} in points, mean over K = 5 to 30 % and seeds (95 % intervals, paired bootstrap "
        "over samples), and by how much the predicted classes' probability falls with the top features "
        "masked (comprehensiveness) and with all but them masked (sufficiency), in points too; convergence "
        "delta: what IG's attributions miss of the logit's rise, per cent of its mean"
    )
    cells: tuple[tuple[Cell, ...], ...] = tuple(
        (
            model_label(row["kind"]) + (f", {expert_label(row['expert'])}" if row["kind"] != "dense" else ""),
            attribution_label(row["method"]),
            percent(row, "drop"),
            *seed_spread(100, row["drop_std"], several, 1),
            Amount(None) if row["method"] == "random" else percent(row, "over_random", signed=True),
            percent(row, "comprehensiveness"),
            percent(row, "sufficiency"),
            percent(row, "convergence_delta", 2),
        )
        for row in summary
    )
    return Sheet("faithfulness", caption, columns, cells)


def draw(summary: Rows) -> Figure:
    """Fig. 3: mean drop per method, of each model and of each expert, with 95 % intervals."""
    methods = unique(summary, "method")
    groups = [attribution_label(method) for method in methods]

    def drops(rows: Rows) -> list[tuple[float, float, float]]:
        return values_by(rows, "method", methods, with_bounds("drop"), 100)

    figure = new_figure(9.5, 3.3)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.1, 1.5))
    whole = []
    for kind in unique(summary, "kind"):
        own = [row for row in summary if row["kind"] == kind and row["expert"] == ALL_EXPERTS]
        whole.append((model_label(kind), MODEL_COLORS.get(kind, MUTED), drops(own)))
        one = [row for row in summary if row["kind"] == kind and row["expert"] == EXPERTS_TOGETHER]
        if one:
            whole.append((f"{model_label(kind)}, {EXPERTS_TOGETHER}", PALE, drops(one)))
    grouped_bars(left, groups, whole)
    left.set(title="Models", ylabel=f"drop of {metric_label(summary[0]['metric'])} (points)")
    left.legend(loc="upper left")
    experts = [x for x in unique(summary, "expert") if x not in (ALL_EXPERTS, EXPERTS_TOGETHER)]
    colors = expert_colors(experts)
    if experts:
        series = [
            (expert_label(e), colors[e], drops([row for row in summary if row["expert"] == e]))
            for e in experts
        ]
        grouped_bars(right, groups, series)
        right.set(title="FL-I2MoE, by whose importance is used")
        outside_legend(right)
    else:
        right.axis("off")
    return figure


def draw_curves(rows: Rows) -> Figure:
    """The drop at every K, mean over seeds and experts, a panel per model."""
    kinds, methods = unique(rows, "kind"), unique(rows, "method")
    shares = sorted({row["share"] for row in rows})
    figure = new_figure(9.5, 3.1)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for i, method in enumerate(methods):
            own = [row for row in rows if (row["kind"], row["method"]) == (kind, method)]
            means = [value for value, _, _ in values_by(own, "share", shares, ("drop",) * 3, 100)]
            axes.plot(
                shares,
                means,
                marker=MARKERS[i % len(MARKERS)],
                color=MUTED if method == "random" else SERIES[i % len(SERIES)],
                linestyle="--" if method == "random" else "-",
                markersize=5,
                label=attribution_label(method),
            )
        axes.set(title=model_label(kind), xlabel="K, features masked (%)")
        axes.set_xticks(shares)
    panels[0].set_ylabel(f"drop of {metric_label(rows[0]['metric'])} (points)")
    outside_legend(panels[-1])
    return figure
