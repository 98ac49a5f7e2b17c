"""The run's own charts: training, expert weights, test metrics, how interaction scores are distributed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from raymoe.display.fonts import drawable
from raymoe.display.inputs import Inputs, has_test_labels, matrix
from raymoe.display.plots import new_figure, outside_legend, ramp
from raymoe.display.shown import Plot
from raymoe.display.vocabulary import (
    INK,
    METRICS,
    MUTED,
    NEGATIVE,
    PLAIN,
    REDUNDANCY,
    SHADES,
    SYNERGY,
    expert_colors,
    expert_label,
    metric_label,
    model_label,
    score_columns,
)

CLASSES_SHOWN = 30
CLASS_LETTERS = 40


def charts(inputs: Inputs) -> tuple[Plot, ...]:
    """Every chart that the tables allow."""
    return (
        Plot(
            "training",
            "Loss and validation scores by epoch; the dot is the best epoch of each score. The parts of the "
            "loss are drawn before they are weighted.",
            lambda: training_curves(inputs.epochs),
        ),
        Plot(
            "expert-weights",
            "The gate's weights over the test split, and their mean for samples of each class (number of "
            "samples in brackets).",
            lambda: expert_weights(inputs),
        ),
        Plot(
            "test-metrics",
            "FL-I2MoE beside linear probes on the same frozen features, test split.",
            lambda: test_metrics(inputs.metrics, inputs.baselines, labelled=has_test_labels(inputs)),
        ),
        Plot(
            "interactions",
            "All measured pairs, counts on a logarithmic scale. Grey: every pair; coloured: those further "
            "from zero than two standard errors.",
            lambda: interaction_scores(inputs.interactions),
        ),
    )


def training_curves(epochs: pa.Table) -> Figure:
    """Losses and validation scores by epoch."""
    figure = new_figure(9, 3.1)
    left, right = figure.subplots(1, 2)
    x = epochs["epoch"].to_numpy()
    losses = [n for n in epochs.column_names if n == "train_loss" or n.startswith("loss_")]
    colors = expert_colors([n.removeprefix("loss_") for n in losses if n not in ("train_loss", "loss_task")])
    for name in losses:
        whole = name in ("train_loss", "loss_task")
        left.plot(
            x,
            epochs[name].to_numpy(),
            color=INK if name == "train_loss" else MUTED if whole else colors[name.removeprefix("loss_")],
            linewidth=2.2 if name == "train_loss" else 1.3,
            linestyle="--" if name == "loss_task" else "-",
            label={"train_loss": "total", "loss_task": "task", "loss_expert_task": "experts' task"}.get(
                name, expert_label(name.removeprefix("loss_"))
            ),
        )
    left.set(title="Training loss", xlabel="epoch")
    outside_legend(left)
    scores = [n for n in epochs.column_names if n.startswith("val_") and n != "val_loss"]
    for name, color in zip(scores, (REDUNDANCY, SYNERGY, *expert_colors(scores).values()), strict=False):
        y = epochs[name].to_numpy() * 100
        metric = name.removeprefix("val_")
        right.plot(x, y, color=color, linewidth=2, label=metric_label(metric))
        if not np.isfinite(y).any():
            continue
        best = int(np.nanargmax(y))
        right.plot(x[best], y[best], "o", color=color, markersize=6)
        right.annotate(
            f"{y[best]:.1f}", (x[best], y[best]), textcoords="offset points", xytext=(0, 7), ha="center"
        )
    right.set(title="Validation scores (%)", xlabel="epoch")
    right.margins(y=0.2)
    outside_legend(right)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def expert_weights(inputs: Inputs) -> Figure:
    """How much each expert counts: over all test samples, and per class."""
    test = inputs.predictions.filter(pc.equal(inputs.predictions["split"], "test"))
    weights_NE = matrix(test["expert_weights"])
    labels = test["labels"].to_pylist()
    experts, names = inputs.experts, [expert_label(e) for e in inputs.experts]
    members = [[i for i, row in enumerate(labels) if c in row] for c in range(len(inputs.classes))]
    shown = sorted((c for c, m in enumerate(members) if m), key=lambda c: -len(members[c]))[:CLASSES_SHOWN]
    figure = new_figure(9, max(3.2, 0.9 + 0.19 * len(shown)))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    colors = expert_colors(experts)
    digits = 2 if np.ptp(weights_NE.mean(axis=0)) > 0.02 else 3  # a gate that hardly chooses is seen to
    for e, expert in enumerate(experts):
        values = weights_NE[:, e]
        if np.ptp(values) > 1e-9:
            body = left.violinplot(values, [e], widths=0.8, showextrema=False)["bodies"][0]
            body.set(facecolor=colors[expert], alpha=0.35, edgecolor="none")
        low, high = np.percentile(values, [25, 75])
        left.vlines(e, low, high, color=colors[expert], linewidth=5, alpha=0.8)
        left.plot(e, values.mean(), "o", color="white", markeredgecolor=colors[expert], markersize=7)
        left.annotate(
            f"{values.mean():.{digits}f}",
            (e, values.mean()),
            textcoords="offset points",
            xytext=(13, -3),
            fontsize=8,
        )
    left.set(title="Weight of each expert", xticks=range(len(experts)), ylim=(0, None))
    left.set_ylim(0, 1.06 * left.get_ylim()[1])  # room for the whole circle
    left.set_xticklabels(names, rotation=20 if max(map(len, names)) > 10 else 0)
    left.set_xlabel("bar: middle half, circle: mean")
    if not shown:
        right.axis("off")
        _say(right, "no test sample has a label")
        return figure
    means_CE = np.array([weights_NE[members[c]].mean(axis=0) for c in shown]).reshape(
        len(shown), len(experts)
    )
    image = right.imshow(means_CE, aspect="auto", cmap=ramp(*SHADES), vmin=0)
    for (row, column), value in np.ndenumerate(means_CE):
        dark = value > 0.75 * means_CE.max()
        right.text(
            column,
            row,
            f"{value:.{digits}f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "#222222",
        )
    right.set(title="Mean weight by true class", xticks=range(len(experts)), yticks=range(len(shown)))
    right.set_xticklabels(names, rotation=20 if max(map(len, names)) > 10 else 0)
    right.set_yticklabels(
        [f"{_short(drawable(inputs.classes[c]))} ({len(members[c])})" for c in shown], fontsize=8
    )
    right.grid(False)
    right.tick_params(length=0)
    for spine in right.spines.values():
        spine.set_visible(False)
    figure.colorbar(image, ax=right, shrink=0.8, pad=0.02).outline.set_visible(False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= CLASS_LETTERS else f"{name[: CLASS_LETTERS - 1]}…"


def test_metrics(metrics: pa.Table, baselines: pa.Table, *, labelled: bool) -> Figure:
    """FL-I2MoE beside the linear probes, on the test split; no bars where it has no label."""
    rows = [r for t in (metrics, baselines) for r in t.to_pylist() if r["split"] == "test"]
    rows = [r for r in rows if not r["model"].startswith("expert:")]
    models = list(dict.fromkeys(r["model"] for r in rows))
    names = [m for m in METRICS if any(r["metric"] == m for r in rows)]
    values = {(r["model"], r["metric"]): r["value"] * 100 for r in rows if labelled}
    figure = new_figure(7, 0.8 + 0.5 * len(models))
    for axes, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        scores = [values.get((m, name), np.nan) for m in models]
        axes.barh(
            [model_label(m) for m in models],
            np.nan_to_num(scores),  # a bar of nothing still has its name
            color=[SYNERGY if m == "fl-i2moe" else PLAIN for m in models],
            height=0.62,
        )
        for y, score in enumerate(scores):
            if np.isfinite(score):
                axes.annotate(f"{score:.1f}", (score, y), textcoords="offset points", xytext=(4, -3))
        axes.set(title=f"{METRICS[name]} (%)", xlim=(0, 100))
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        if not np.isfinite(scores).any():
            _say(axes, "no test sample\nhas a label")
    axes.invert_yaxis()
    return figure


def _say(axes: Axes, text: str) -> None:
    """Words where there is nothing to draw."""
    axes.text(0.5, 0.5, text, color=MUTED, ha="center", va="center", transform=axes.transAxes)


def interaction_scores(interactions: pa.Table) -> Figure:
    """How each probed expert's own score is distributed over the pairs, and how much of it is signal."""
    figure = new_figure(9, 3.2)
    panels: list[tuple[str, str, str, Callable[[np.ndarray], np.ndarray]]] = [
        ("synergy", "sii", "Synergy expert: SII of each pair", lambda v: np.where(v < 0, 1, 0)),
        (
            "redundancy",
            "redundancy",
            "Redundancy expert: redundancy of each pair",
            lambda v: np.zeros(len(v), int),
        ),
    ]
    probed = set(interactions["expert"].unique().to_pylist())
    panels = [p for p in panels if p[0] in probed] or panels[:1]
    for axes, (expert, score, title, side) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        rows = interactions.filter(pc.equal(interactions["expert"], expert))
        value, stderr = (rows[column].to_numpy() for column in score_columns(score))
        value, stderr = value[np.isfinite(value)], stderr[np.isfinite(value)]
        axes.set(title=title, xlabel="value", ylabel="pairs", yscale="log")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.0f}" if y >= 1 else "")
        axes.yaxis.set_minor_formatter(NullFormatter())
        if not len(value):
            _say(axes, "no pair of this expert was measured")
            continue
        signal = np.abs(value) > 2 * stderr  # False where the error is unknown
        edges = np.histogram_bin_edges(value, 60)
        colors = (SYNERGY, NEGATIVE) if expert == "synergy" else (REDUNDANCY,)
        axes.hist(value, edges, color=PLAIN)
        for k, color in enumerate(colors):  # in front, not stacked: heights don't add on a logarithmic axis
            axes.hist(value[signal & (side(value) == k)], edges, color=color)
        axes.set_xlabel(f"{signal.mean():.0%} of {len(value):,} pairs beyond 2 standard errors")
    return figure
