"""How robustness is shown: curves over the noise, and per kind of model a table of the disturbances."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import pyarrow as pa

from raymoe.display.plots import MARKERS, line, new_figure
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import (
    INK,
    METRICS,
    MUTED,
    SERIES,
    expert_colors,
    expert_label,
    metric_label,
    model_label,
    score_label,
)
from raymoe.experiments.rows import Row, Rows, rows_of, unique, values_by
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "missing"
RANKINGS = {"rank_correlation": "rank correlation", "top_overlap": "top pairs kept"}
QUANTITIES = {"expert_weight": "expert weight"} | RANKINGS  # beside metrics
EXPLAINED = (
    "One modality disturbed at a time. Rank correlation: Spearman's, of the pairs' scores with the "
    "undisturbed ones; top pairs kept: the part of the strongest tenth that stays in it. Whiskers: 95 % "
    "intervals, bootstrap over samples."
)
NOTE = (
    "Noise 0 is undisturbed; rankings there compare two estimates from different coalitions: what Monte "
    "Carlo alone leaves uncertain."
)
Column = tuple[str, str | None, str | None]  # quantity, expert and score


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """Every kind of model by itself."""
    rows = [
        row
        for row in rows_of(tables, "robustness")
        # a missing modality at level 0 is undisturbed, as without noise
        if row["disturbance"] != MISSING or row["level"]
    ]
    kinds = unique(rows, "kind")
    figures, sheets = [], []
    for kind in kinds:
        own, name = [row for row in rows if row["kind"] == kind], model_label(kind)
        file = "robustness" if len(kinds) == 1 else f"robustness-{kind}"
        figures.append(Plot(file, f"{name}. {EXPLAINED}", partial(draw, own, name)))
        sheets.append(_sheet(file, name, own))
    return Shown(finding(rows), tuple(figures), tuple(sheets), notes=(NOTE,))


def finding(rows: Rows) -> str:
    """FL-I2MoE's main metric, whole and without each modality, mean over seeds."""
    rows = [row for row in rows if row["kind"] == "fl-i2moe"]
    metric = next((row["quantity"] for row in rows if row["quantity"] in METRICS), "")
    rows = [row for row in rows if row["quantity"] == metric and row["value"] is not None]
    whole = [row["value"] for row in rows if not row["level"]]
    if not whole:
        return ""
    missing: dict[str, list[float]] = {}
    for row in rows:
        if row["disturbance"] == MISSING and row["level"]:
            missing.setdefault(row["modality"], []).append(row["value"])
    without = "".join(f", without {name} {100 * fmean(values):.1f}" for name, values in missing.items())
    return f"FL-I2MoE's {metric_label(metric)} in per cent: {100 * fmean(whole):.1f}{without}"


def _columns(rows: Rows) -> list[Column]:
    return list(dict.fromkeys((row["quantity"], row["expert"], row["score"]) for row in rows))


def _sheet(file: str, model: str, rows: Rows) -> Sheet:
    """A row per disturbance; of several seeds one per seed, and their mean."""
    columns, seeds = _columns(rows), unique(rows, "seed")
    found: dict[tuple[tuple[str, str], int, Column], Amount] = {}
    for row in rows:
        column = (row["quantity"], row["expert"], row["score"])
        found[_disturbed(row), row["seed"], column] = _amount(column, row["value"], row["low"], row["high"])
    cells: list[tuple[Cell, ...]] = []
    for disturbed in dict.fromkeys(_disturbed(row) for row in rows):
        of_seeds = {
            seed: [found.get((disturbed, seed, column), Amount(None)) for column in columns] for seed in seeds
        }
        if len(seeds) == 1:
            cells.append((*disturbed, *of_seeds[seeds[0]]))
            continue
        cells += [(*disturbed, f"seed {seed}", *amounts) for seed, amounts in of_seeds.items()]
        each = zip(columns, zip(*of_seeds.values(), strict=True), strict=True)
        cells.append((*disturbed, "mean", *(_mean(column, amounts) for column, amounts in each)))
    of_seed = f"seed {seeds[0]}" if len(seeds) == 1 else "each seed and their mean"
    caption = (
        f"{model}, {of_seed}: scores (95 % intervals over samples) and mean weights of the experts in per "
        "cent when one modality is disturbed, noise in standard deviations; and how well the pairs' ranking "
        "agrees with the undisturbed one: rank correlation, and the part of the top tenth that is kept (of "
        "experts by their own score)"
    )
    heads = ("disturbed", "by", *(["seed"] if len(seeds) > 1 else []), *map(_head, columns))
    return Sheet(file, caption, heads, tuple(cells))


def _disturbed(row: Row) -> tuple[str, str]:
    """The modality, and what is done to it."""
    return row["modality"], MISSING if row["disturbance"] == MISSING else f"noise {row['level']:g}"


def _head(column: Column) -> str:
    quantity, expert, score = column
    if quantity == "expert_weight":
        return f"weight of {expert_label(expert or '')}"
    if quantity not in RANKINGS:
        return metric_label(quantity)
    by = score_label(score or "") if expert == "dense" else expert_label(expert or "")
    return f"{RANKINGS[quantity]}, {by}"


def _amount(column: Column, value: float | None, low: float | None, high: float | None) -> Amount:
    quantity, _, _ = column
    if quantity in RANKINGS:
        return Amount(value, digits=2)
    if quantity == "expert_weight":
        low = high = None
    return Amount.scaled(100, value, low, high, digits=1)


def _mean(column: Column, amounts: tuple[Amount, ...]) -> Amount:
    known = [amount.value for amount in amounts if amount.value is not None]
    return Amount(fmean(known) if known else None, digits=amounts[0].digits)


def draw(rows: Rows, title: str) -> Figure:
    """A row of panels per modality: scores, expert weights, rankings; without it at the right end."""
    modalities, quantities = unique(rows, "modality"), unique(rows, "quantity")
    groups = [("scores", [q for q in quantities if q not in QUANTITIES])]
    groups += [(label, [q]) for q, label in QUANTITIES.items() if q in quantities]
    groups = [(name, of_group) for name, of_group in groups if of_group]
    colors = expert_colors([expert for expert in unique(rows, "expert") if expert])
    figure = new_figure(max(3.1 * len(groups) + 0.6, 5), 2.7 * len(modalities) + 0.5)
    figure.suptitle(title, fontsize=10, color=INK, fontweight="bold", x=0.01, ha="left")
    panels = figure.subplots(len(modalities), len(groups), squeeze=False)
    for of_modality, modality in zip(panels, modalities, strict=True):
        own = [row for row in rows if row["modality"] == modality]
        levels = sorted({row["level"] for row in own if row["disturbance"] != MISSING})
        for axes, (name, of_group) in zip(of_modality, groups, strict=True):
            _panel(axes, [row for row in own if row["quantity"] in of_group], levels, colors)
            axes.set(title=f"{modality}: {name}", xlabel="noise (standard deviations)")
            axes.legend(loc="lower left", fontsize=7, handlelength=1.4)
    return figure


def _panel(axes: Axes, rows: Rows, levels: list[float], colors: dict[str, str]) -> None:
    for i, column in enumerate(_columns(rows)):
        quantity, expert, score = column
        own = [row for row in rows if (row["quantity"], row["expert"], row["score"]) == column]
        noisy = [row for row in own if row["disturbance"] != MISSING]
        label = expert_label(expert) if expert else metric_label(quantity)
        label += f", {score_label(score)}" if score else ""
        dashed = score == "redundancy_gap"
        look = {
            "color": colors[expert] if expert else SERIES[i % len(SERIES)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        # a ranking without noise is held beside one of other coalitions: no point of the curve
        apart = [0.0] if quantity in RANKINGS else []
        measured = sorted({row["level"] for row in noisy} - set(apart))
        at = [levels.index(level) for level in measured]
        line(
            axes,
            at,
            values_by(noisy, "level", measured),
            label=label,
            linestyle="--" if dashed else "-",
            **look,
        )
        undisturbed = values_by([row for row in noisy if row["level"] in apart], "level", apart)
        line(axes, [0] * len(apart), undisturbed, linestyle="none", **look)
        gone = [row for row in own if row["disturbance"] == MISSING]
        if gone:
            line(axes, [len(levels)], values_by(gone, "disturbance", [MISSING]), linestyle="none", **look)
    axes.axvline(len(levels) - 0.5, color=MUTED, linewidth=0.6, linestyle=":")
    axes.set_xticks(range(len(levels) + 1), [*(f"{level:g}" for level in levels), MISSING])
    low, high = min(0, axes.get_ylim()[0]), axes.get_ylim()[1]
    axes.set_ylim(low, high + 0.08 * (high - low))
