"""The figures of the experiments, from the rows of their tables; values are never told by colour alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raymoe.display.charts import METRIC_LABELS, STYLE, outside_legend, ramp
from raymoe.display.palette import (
    DENSE,
    INK,
    MUTED,
    NEGATIVE,
    REDUNDANCY,
    SYNERGY,
    UNIQUE,
    expert_colors,
    expert_label,
)
from raymoe.experiments.comparison.measure import KINDS
from raymoe.experiments.faithfulness.measure import ALL, METHODS

Rows = list[dict[str, Any]]

KIND_COLORS = {"fl-i2moe": SYNERGY, "dense": DENSE, "i2moe": UNIQUE[1]}
SERIES = (SYNERGY, REDUNDANCY, UNIQUE[1], UNIQUE[0], NEGATIVE, "#8894a0", UNIQUE[2])
MARKERS = "osD^vPX"
PLANTED_LABELS = {
    "random": "random",
    "sii": "SII",
    "-sii": "−SII",
    "redundancy_gap": "redundancy gap",
    "product": "product of attributions",
    "attention": "attention",
}
SCORE_LABELS = {"sii": "SII", "redundancy_gap": "redundancy gap"}
RANKINGS = ("rank_correlation", "top_overlap")
DISTURBED = {
    "expert_weight": "expert weight",
    "rank_correlation": "rank correlation",
    "top_overlap": "top pairs kept",
}


def styled(make: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the report's style, which matplotlib reads when things are made."""

    @wraps(make)
    def made(*arguments, **options) -> Figure:
        with mpl.rc_context(STYLE):
            return make(*arguments, **options)

    return made


@styled
def comparison(rows: Rows) -> Figure:
    """Table 2 as bars with the deviation over seeds, of one seed the interval; a diamond is the paper's."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    figure = Figure(figsize=(8, 1.2 + 0.55 * len(kinds)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for y, kind in enumerate(kinds):
            row = next((r for r in rows if (r["kind"], r["metric"]) == (kind, metric)), None)
            if row is None:
                continue
            spread, end = row["std"], row["mean"] + (row["std"] or 0)
            if spread is None and row["low"] is not None:
                spread, end = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]], row["high"]
            axes.barh(
                y,
                row["mean"],
                xerr=spread,
                color=KIND_COLORS.get(kind, MUTED),
                height=0.62,
                error_kw=ERRORS,
            )
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
        axes.set(title=f"{METRIC_LABELS.get(metric, metric)} (%)", xlim=(0, 100))
        axes.set_yticks(range(len(kinds)), [KINDS.get(kind, kind) for kind in kinds])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(visible=False)
    panels[0].invert_yaxis()
    if any(row["paper_mean"] is not None for row in rows):
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            panels[-1].legend(handles[:1], labels[:1], loc="upper left", bbox_to_anchor=(1.0, 1.02))
    return figure


@styled
def faithfulness(summary: Rows) -> Figure:
    """Fig. 3: mean drop per method, of each model and of each expert, with 95 % intervals."""
    kinds = list(dict.fromkeys(row["kind"] for row in summary))
    experts = list(dict.fromkeys(row["expert"] for row in summary if row["expert"] != ALL))
    whole = [
        (
            KINDS.get(k, k),
            KIND_COLORS.get(k, MUTED),
            [r for r in summary if r["kind"] == k and r["expert"] == ALL],
        )
        for k in kinds
    ]
    figure = Figure(figsize=(9.5, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.1, 1.5))
    methods = list(dict.fromkeys(row["method"] for row in summary))
    groups = [METHODS.get(m, m) for m in methods]
    grouped_bars(
        left,
        groups,
        [(label, color, _by(rows, "method", methods, "drop", 100)) for label, color, rows in whole],
    )
    metric = METRIC_LABELS.get(summary[0]["metric"], summary[0]["metric"])
    left.set(title="Models", ylabel=f"drop of {metric} (points)")
    left.legend(loc="upper left")
    colors = expert_colors(experts)
    series = [
        (
            expert_label(e),
            colors[e],
            _by([r for r in summary if r["expert"] == e], "method", methods, "drop", 100),
        )
        for e in experts
    ]
    if series:
        grouped_bars(right, groups, series)
        right.set(title="FL-I2MoE, by whose importance is used")
        outside_legend(right)
    else:
        right.axis("off")
    return figure


@styled
def drop_curves(rows: Rows) -> Figure:
    """The drop at every K, mean over seeds and experts, a panel per model."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure = Figure(figsize=(9.5, 3.1), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for axes, kind in zip(panels, kinds, strict=True):
        for i, method in enumerate(methods):
            found: dict[int, list[float]] = {}
            for row in rows:
                if (row["kind"], row["method"]) == (kind, method):
                    found.setdefault(row["share"], []).append(100 * row["drop"])
            shares = sorted(found)
            color = MUTED if method == "random" else SERIES[i % len(SERIES)]
            axes.plot(
                shares,
                [np.mean(found[s]) for s in shares],
                marker=MARKERS[i % len(MARKERS)],
                color=color,
                linestyle="--" if method == "random" else "-",
                markersize=5,
                label=METHODS.get(method, method),
            )
        axes.set(title=KINDS.get(kind, kind), xlabel="K, features masked (%)")
        axes.set_xticks(sorted({row["share"] for row in rows}))
    metric = METRIC_LABELS.get(rows[0]["metric"], rows[0]["metric"])
    panels[0].set_ylabel(f"drop of {metric} (points)")
    outside_legend(panels[-1])
    return figure


@styled
def alignment(rows: Rows) -> Figure:
    """Fig. 4: bars of importance bins x q, SII and redundancy gap, with 95 % intervals."""
    scores = list(dict.fromkeys(row["score"] for row in rows))
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores, strict=True):
        of_score = [row for row in rows if row["score"] == score]
        bins = list(dict.fromkeys(row["bin"] for row in of_score))
        tops = sorted({row["top"] for row in of_score})
        color = SYNERGY if score == "sii" else REDUNDANCY
        series = [
            (
                f"top {top} %",
                _mixed(color, share),
                _by([r for r in of_score if r["top"] == top], "bin", bins, "mean", 1, ("low", "high")),
            )
            for top, share in zip(tops, np.linspace(1, 0.35, len(tops)), strict=True)
        ]
        grouped_bars(axes, bins, series)
        label = SCORE_LABELS.get(score, score)
        axes.set(
            title=f"{label}, {expert_label(of_score[0]['expert'])} expert",
            ylabel=f"mean {label}",
            xlabel="features, by importance",
        )
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend above the whiskers
        axes.legend(loc="upper right", ncols=len(tops), columnspacing=1.2, handlelength=1.2)
    return figure


@styled
def pair_masking(rows: Rows) -> Figure:
    """Table 1 over the budgets, as drops: a panel per expert and score; diamonds are the paper's figures.

    The drop has a paired interval, which is much narrower than that of the score itself.
    """
    panels = list(dict.fromkeys((row["expert"], row["score"]) for row in rows))
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns + 2.4, 2.7 * lines + 0.2), layout="constrained")
    metric = METRIC_LABELS.get(rows[0]["metric"], rows[0]["metric"])
    found = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in found.ravel()[len(panels) :]:
        axes.axis("off")
    maskings = list(dict.fromkeys(row["masking"] for row in rows if row["masking"] != "original"))
    for axes, (expert, score) in zip(found.ravel(), panels, strict=False):
        own = [row for row in rows if (row["expert"], row["score"]) == (expert, score)]
        original = next((row["paper"] for row in own if row["masking"] == "original" and row["paper"]), None)
        shares = sorted({row["share"] for row in own if row["masking"] != "original"})
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for i, masking in enumerate(maskings):
            of_masking = sorted(
                (row for row in own if row["masking"] == masking), key=lambda row: row["share"]
            )
            color = SYNERGY if masking.startswith("ranked") else ("#8894a0", NEGATIVE)[i % 2]
            # budgets side by side, so that intervals don't hide each other
            x = [shares.index(row["share"]) + 0.16 * (i - (len(maskings) - 1) / 2) for row in of_masking]
            percent = [
                {c: 100 * (np.nan if row[c] is None else row[c]) for c in ("drop", "drop_low", "drop_high")}
                for row in of_masking
            ]
            marker = MARKERS[i % len(MARKERS)]
            _line(axes, x, percent, "drop", color, marker, masking, ("drop_low", "drop_high"), "none")
            paper = [
                (place, 100 * (original - row["paper"]))
                for place, row in zip(x, of_masking, strict=True)
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
        axes.set(title=f"{SCORE_LABELS.get(score, score)}, {expert_label(expert)} expert")
        axes.set_xticks(range(len(shares)), [f"{share} %" for share in shares])
    for axes in found[-1]:
        axes.set_xlabel("K, pairs masked")
    for axes in found[:, 0]:
        axes.set_ylabel(f"drop of {metric}\n(points)")
    outside_legend(found[0, -1])
    return figure


@styled
def robustness(rows: Rows, title: str) -> Figure:
    """A row of panels per modality: scores, expert weights, rankings; without it at the right end."""
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    quantities = dict.fromkeys(row["quantity"] for row in rows)
    groups = [("scores", [q for q in quantities if q not in DISTURBED])]
    groups += [(DISTURBED[q], [q]) for q in DISTURBED if q in quantities]
    groups = [(name, of_group) for name, of_group in groups if of_group]
    experts = list(dict.fromkeys(row["expert"] for row in rows if row["expert"]))
    colors = expert_colors(experts)
    figure = Figure(
        figsize=(max(3.1 * len(groups) + 0.6, 5), 2.7 * len(modalities) + 0.5), layout="constrained"
    )
    figure.suptitle(title, fontsize=10, color=INK, fontweight="bold", x=0.01, ha="left")
    for line, modality in zip(
        figure.subplots(len(modalities), len(groups), squeeze=False), modalities, strict=True
    ):
        of_modality = [row for row in rows if row["modality"] == modality]
        levels = sorted({row["level"] for row in of_modality if row["disturbance"] != "missing"})
        for axes, (name, of_group) in zip(line, groups, strict=True):
            keys = dict.fromkeys(
                (r["quantity"], r["expert"], r["score"]) for r in of_modality if r["quantity"] in of_group
            )
            for i, key in enumerate(keys):
                quantity, expert, score = key
                own = [r for r in of_modality if (r["quantity"], r["expert"], r["score"]) == key]
                label = expert_label(expert) if expert else METRIC_LABELS.get(quantity, quantity)
                label += f", {SCORE_LABELS.get(score, score)}" if score else ""
                look = colors[expert] if expert else SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
                dashed = score == "redundancy_gap" and expert != "redundancy"
                curve = _mean_by([r for r in own if r["disturbance"] != "missing"], "level")
                # a ranking without noise is held beside one of other coalitions: no point of the curve
                apart = [r for r in curve if r["level"] == 0 and quantity in RANKINGS]
                curve = [r for r in curve if r not in apart]
                bounds = ("low", "high")
                x = [levels.index(r["level"]) for r in curve]
                _line(axes, x, curve, "value", *look, label, bounds, "--" if dashed else "-")
                gone = _mean_by(
                    [r for r in own if r["disturbance"] == "missing" and r["level"]], "disturbance"
                )
                for x, points in ((0, apart), (len(levels), gone)):
                    _line(axes, [x] * len(points), points, "value", *look, None, bounds, "none")
            axes.axvline(len(levels) - 0.5, color=MUTED, linewidth=0.6, linestyle=":")
            axes.set_xticks(range(len(levels) + 1), [*(f"{level:g}" for level in levels), "missing"])
            axes.set(title=f"{modality}: {name}", xlabel="noise (standard deviations)")
            low, high = min(0, axes.get_ylim()[0]), axes.get_ylim()[1]
            axes.set_ylim(low, high + 0.08 * (high - low))
            axes.legend(loc="lower left", fontsize=7, handlelength=1.4)
    return figure


@styled
def planted(rows: Rows) -> Figure:
    """Average precision per kind of interaction and method, a panel per expert; ticks are chance."""
    rows = [row for row in rows if row["measure"] == "average_precision"]
    experts = list(dict.fromkeys(row["expert"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(9.5, 2.5 * max(1, len(experts)) + 0.3), layout="constrained")
    for axes, expert in zip(
        figure.subplots(max(1, len(experts)), 1, squeeze=False)[:, 0], experts, strict=False
    ):
        own = [row for row in rows if row["expert"] == expert]
        kinds = list(dict.fromkeys(row["interaction"] for row in own))
        series = [
            (
                PLANTED_LABELS.get(m, m),
                "#b8bfc6" if m == "random" else SERIES[i % len(SERIES)],
                _by(
                    [row for row in own if row["method"] == m],
                    "interaction",
                    kinds,
                    "value",
                    1,
                    ("low", "high"),
                ),
            )
            for i, m in enumerate(methods)
        ]
        grouped_bars(axes, kinds, series)
        for x, kind in enumerate(kinds):
            chance = next(
                (r["chance"] for r in own if r["interaction"] == kind and r["chance"] is not None), None
            )
            if chance is not None:
                axes.hlines(chance, x - 0.42, x + 0.42, color=INK, linewidth=1.2, linestyle=":", zorder=4)
        axes.set(title=f"{expert_label(expert or 'all')} expert", ylabel="average precision", ylim=(0, 1.05))
    outside_legend(figure.axes[0])
    return figure


@styled
def planted_experts(rows: Rows) -> Figure:
    """Per quantity a map of experts x kinds of planted interaction."""
    rows = [row for row in rows if row["quantity"] != "chance" and row["value"] is not None]
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    kinds = list(dict.fromkeys(row["interaction"] for row in rows))
    columns = min(2, len(quantities))
    lines = -(-len(quantities) // columns)
    if not quantities:  # no class has a positive sample
        return Figure(figsize=(4, 1))
    most = max(len({row["expert"] for row in rows if row["quantity"] == q}) for q in quantities)
    figure = Figure(figsize=(4.8 * columns, lines * (1.2 + 0.36 * most)), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(quantities) :]:
        axes.axis("off")
    for axes, quantity in zip(panels, quantities, strict=False):
        own = [row for row in rows if row["quantity"] == quantity]
        experts = list(dict.fromkeys(row["expert"] for row in own))
        values = np.full((len(experts), len(kinds)), np.nan)
        for row in own:
            values[experts.index(row["expert"]), kinds.index(row["interaction"])] = row["value"]
        axes.imshow(values, aspect="auto", cmap=ramp("#f3f5f7", "#31688e"))
        low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0, 1)
        for (y, x), value in np.ndenumerate(values):
            dark = np.isfinite(value) and value - low > 0.6 * (high - low)
            axes.text(
                x,
                y,
                f"{value:.2f}" if np.isfinite(value) else "–",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "#222222",
            )
        axes.set_title(quantity_label(quantity))
        axes.set_xticks(
            range(len(kinds)), [(k or "all").replace("_", " ") for k in kinds], rotation=25, ha="right"
        )
        axes.set_yticks(range(len(experts)), [expert_label(e or "all") for e in experts])
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def quantity_label(quantity: str) -> str:
    """How a quantity of the planted experts is written: ``drop:text`` is "drop without text"."""
    return quantity.replace("drop:", "drop without ").replace("_", " ").replace("auroc", "AUROC")


ERRORS = {"ecolor": INK, "elinewidth": 1.1, "capsize": 2.5}
Triple = tuple[float, float, float]


def grouped_bars(axes: Axes, groups: Sequence[str], series: Sequence[tuple[str, Any, list[Triple]]]) -> None:
    """Bars side by side: per series a label, a colour and for each group value, low and high (NaN: none)."""
    width = 0.84 / max(1, len(series))
    for i, (label, color, values) in enumerate(series):
        x = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width
        value, low, high = np.array(values, dtype=float).reshape(-1, 3).T
        axes.bar(x, value, width * 0.94, color=color, label=label)
        known = np.isfinite(low) & np.isfinite(high)
        if known.any():
            reach = np.maximum([(value - low)[known], (high - value)[known]], 0)
            axes.errorbar(x[known], value[known], yerr=reach, fmt="none", **ERRORS)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0, labelcolor=INK)


def _by(
    rows: Rows, key: str, order: Sequence[str], name: str, scale: float, bounds: tuple[str, str] | None = None
) -> list[Triple]:
    """Value, low and high of each member of ``order``; rows of the same member (seeds) are averaged."""
    bounds = bounds or (f"{name}_low", f"{name}_high")
    found = []
    for member in order:
        own = [row for row in rows if row[key] == member]
        found.append(tuple(scale * _mean(row[column] for row in own) for column in (name, *bounds)))
    return found


def _mean_by(rows: Rows, key: str) -> Rows:
    """Rows with the same ``key`` averaged, in its order: seeds and variants become one curve."""
    found = []
    for member in sorted({row[key] for row in rows}):
        own = [row for row in rows if row[key] == member]
        found.append({key: member, **{c: _mean(row[c] for row in own) for c in ("value", "low", "high")}})
    return found


def _mean(values: Any) -> float:
    known = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(known)) if known else np.nan


def _line(
    axes: Axes,
    x: Sequence[float],
    rows: Rows,
    name: str,
    color: Any,
    marker: str,
    label: str | None,
    bounds: tuple[str, str],
    linestyle: str = "-",
) -> None:
    """A curve with intervals where they are known."""
    value, low, high = (np.array([row[c] for row in rows], dtype=float) for c in (name, *bounds))
    axes.plot(
        x, value, marker=marker, color=color, linestyle=linestyle, markersize=5, linewidth=1.6, label=label
    )
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        reach = np.maximum([(value - low)[known], (high - value)[known]], 0)
        axes.errorbar(
            np.array(x, dtype=float)[known],
            value[known],
            yerr=reach,
            fmt="none",
            ecolor=color,
            elinewidth=1.1,
            capsize=2.5,
        )


def _mixed(color: str, share: float) -> tuple[float, ...]:
    """The colour on a mid grey: one that stands out on light and on dark."""
    return tuple(0.72 + share * (c - 0.72) for c in mpl.colors.to_rgb(color))
