"""How the comparison is shown: Table 2, and its scores as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from raymoe.display.plots import WHISKERS, new_figure
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import INK, MODEL_COLORS, MUTED, metric_label, model_label
from raymoe.experiments.rows import Row, Rows, differences_of, first_known, rows_of, unique
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """A row per model; per metric ours, the paper's and the difference."""
    rows = rows_of(tables, "comparison")
    in_paper = any(row["paper_mean"] is not None for row in rows)
    variants = {model_label(row["kind"]): row["variant"] for row in rows if row["variant"]}
    notes = [
        f"{name}: the configuration chosen on validation, {variant[1:]}."
        for name, variant in variants.items()
    ]
    for d in differences_of(tables["comparison"]):
        more = Amount(d["more"], d["more_low"], d["more_high"], signed=True)
        notes.append(
            f"{model_label(d['kind'])} over {model_label(d['against'])}, {metric_label(d['metric'])}: "
            f"{more}, 95 % of a paired bootstrap over samples."
        )
    if not in_paper:
        notes.append("The paper has no figures for this data.")
    caption = (
        "Test split. Where several seeds were trained, bars are means and whiskers standard deviations; of a "
        "single seed whiskers are 95 % intervals over samples."
    )
    caption += " Diamonds: the paper's." if in_paper else ""
    return Shown(
        finding=finding(rows),
        figures=(Plot("comparison", caption, lambda: draw(rows)),),
        sheets=(_sheet(rows, in_paper),),
        notes=tuple(notes),
    )


def finding(rows: Rows) -> str:
    """Every model in the first metric, ours first."""
    rows = [row for row in rows if row["mean"] is not None]
    if not rows:
        return ""
    metric = rows[0]["metric"]
    scores = [f"{model_label(r['kind'])} {r['mean']:.1f}" for r in rows if r["metric"] == metric]
    return f"{metric_label(metric)} in per cent: {', '.join(reversed(scores))}"


def _sheet(rows: Rows, in_paper: bool) -> Sheet:
    metrics = unique(rows, "metric")
    columns, cells = ["model", "seeds"], []
    for metric in metrics:
        columns += [metric_label(metric), "95 % interval"]
        columns += ["paper", "difference"] if in_paper else []
    for kind in unique(rows, "kind"):
        of_kind = {row["metric"]: row for row in rows if row["kind"] == kind}
        line: list[Cell] = [model_label(kind), str(max(len(row["seeds"]) for row in of_kind.values()))]
        for metric in metrics:
            row = of_kind.get(metric, {})
            line.append(Amount(row.get("mean"), deviation=row.get("std")))
            low, high = row.get("low"), row.get("high")
            line.append("–" if low is None else f"{low:.2f} to {high:.2f}")
            if in_paper:
                line.append(Amount(row.get("paper_mean"), deviation=row.get("paper_std")))
                line.append(Amount(row.get("difference"), signed=True))
        cells.append(tuple(line))
    caption = (
        "Scores on the test split in per cent, mean ± standard deviation over seeds, interval over samples"
    )
    return Sheet("comparison", caption, tuple(columns), tuple(cells))


def draw(rows: Rows) -> Figure:
    """Table 2 as bars with the deviation over seeds, of one seed the interval; a diamond is the paper's."""
    kinds, metrics = unique(rows, "kind"), unique(rows, "metric")
    figure = new_figure(8, 1.2 + 0.55 * len(kinds))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for y, kind in enumerate(kinds):
            row = next((r for r in rows if (r["kind"], r["metric"]) == (kind, metric)), None)
            if row is not None:
                _bar(axes, y, row)
        axes.set(title=f"{metric_label(metric)} (%)", xlim=(0, 100))
        axes.set_yticks(range(len(kinds)), [model_label(kind) for kind in kinds])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(visible=False)
    panels[0].invert_yaxis()
    if first_known(rows, "paper_mean") is not None:
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            panels[-1].legend(handles[:1], labels[:1], loc="upper left", bbox_to_anchor=(1.0, 1.02))
    return figure


def _bar(axes: Axes, y: int, row: Row) -> None:
    spread, end = row["std"], row["mean"] + (row["std"] or 0)
    if spread is None and row["low"] is not None:
        spread, end = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]], row["high"]
    color, whiskers = MODEL_COLORS.get(row["kind"], MUTED), {"ecolor": INK, **WHISKERS}
    axes.barh(y, row["mean"], xerr=spread, color=color, height=0.62, error_kw=whiskers)
    if row["paper_mean"] is not None:
        axes.errorbar(
            row["paper_mean"],
            y,
            xerr=row["paper_std"],
            fmt="D",
            color=INK,
            markersize=6,
            markerfacecolor="white",
            capsize=3,
            label="paper",
        )
        end = max(end, row["paper_mean"] + (row["paper_std"] or 0))
    axes.annotate(f"{row['mean']:.1f}", (end, y), textcoords="offset points", xytext=(7, -3))
