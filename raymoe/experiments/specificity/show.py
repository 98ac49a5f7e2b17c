"""How it is shown whether pairs are pairs: stacked shares of each expert, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from raymoe.display.plots import new_figure, outside_legend
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import INK, PALE, SYNERGY, UNIQUE, expert_title
from raymoe.experiments.rows import Rows, over_seeds, rows_of, seeds_of, seeds_said
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = (
    "SII only. first, second: what features of the first and of the second modality do with any partner. The "
    "noise is that of the pairs' own part alone."
)
SHOWN_CLASSES = 12  # the others are in the table
Key = tuple[str, str, str]  # expert and the two modalities


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """The shares of every expert that was probed."""
    rows = rows_of(tables, "specificity")
    seeds, shown = seeds_of(rows), by_key(over_seeds(rows))
    caption = (
        "Of what distinguishes the pairs of a sample (variance of SII within samples): what their features "
        f"do with any partner, what is the pairs' own, and the noise of that; {seeds_said(seeds)}."
    )
    return Shown(
        finding=finding(rows),
        figures=(Plot("specificity", caption, lambda: draw(shown)),),
        sheets=(_sheet(shown, seeds), _class_sheet(over_seeds(rows_of(tables, "specificity-classes")))),
        notes=(NOTE,),
    )


def by_key(rows: Rows) -> dict[Key, dict[str, dict]]:
    """The rows of each quantity, by expert and modalities."""
    found: dict[Key, dict[str, dict]] = {}
    for row in rows:
        key = (row["expert"], row["u_modality"], row["v_modality"])
        found.setdefault(key, {})[row["quantity"]] = row
    return found


def finding(rows: Rows) -> str:
    """The parts of the expert whose pairs are most their own."""
    found = {key: of for key, of in by_key(over_seeds(rows)).items() if of["own"]["value"] is not None}
    if not found:
        return ""
    key = max(found, key=lambda key: found[key]["own"]["value"])
    part = {name: f"{100 * (row['value'] or 0):.0f} %" for name, row in found[key].items()}
    return (
        f"Of what distinguishes a sample's pairs ({expert_title(key[0])}), {part['first']} is what {key[1]} "
        f"features do with any partner, {part['second']} what {key[2]} features do, {part['own']} the pairs' "
        f"own, {part['noise']} noise"
    )


def _sheet(found: dict[Key, dict[str, dict]], seeds: list[int]) -> Sheet:
    columns = (
        *("expert", "first", "second", "pairs' own", "noise"),
        *("own without noise", "noise / own, median sample", "samples above noise", "between samples"),
        *("samples", "left out"),
    )
    names = ("first", "second", "own", "noise", "own_of_signal")
    several = len({key[1:] for key in found}) > 1
    cells: list[tuple[Cell, ...]] = []
    for (expert, u, v), row in found.items():
        title = expert_title(expert)
        cells.append(
            (
                f"{title}, {u} x {v}" if several else title,
                *(_percent(row[name]) for name in names),
                Amount(row["noise_of_own"]["value"], row["noise_of_own"]["low"], row["noise_of_own"]["high"]),
                *(_percent(row[name]) for name in ("above_noise", "between")),
                Amount(row["own"]["samples"], digits=0),
                Amount(row["own"]["left_out"], digits=0),
            )
        )
    u, v = next(iter(found))[1:] if found else ("first", "second")
    caption = (
        f"Where the variance of SII within samples lies, per cent, {seeds_said(seeds)} (95 % intervals, "
        f"bootstrap over samples); first: {u}, second: {v}; left out: samples with a single feature of one "
        "modality; between samples: the share of the samples' means in the variance of all pairs"
    )
    return Sheet("specificity", caption, columns, tuple(cells))


def _class_sheet(rows: Rows) -> Sheet:
    """Every class, by how one-sided its pairs are."""
    rows = sorted(rows, key=lambda row: -abs(row["negative"] - 0.5))[:SHOWN_CLASSES]
    several = len({(row["u_modality"], row["v_modality"]) for row in rows}) > 1
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        title = expert_title(row["expert"])
        cells.append(
            (
                row["class"],
                f"{title}, {row['u_modality']} x {row['v_modality']}" if several else title,
                Amount.scaled(100, row["negative"], row["negative_low"], row["negative_high"], 0, False),
                Amount(row["mean"], row["mean_low"], row["mean_high"], digits=4, signed=True),
                Amount(row["samples"], digits=0),
            )
        )
    caption = (
        "SII by the class of the sample (true classes with at least three samples, the "
        f"{SHOWN_CLASSES} whose pairs are most of one sign): share of the pairs that are negative, per cent, "
        "and their mean, with 95 % intervals over samples"
    )
    columns = ("class", "expert", "negative pairs", "mean SII", "samples")
    return Sheet("specificity-classes", caption, columns, tuple(cells))


def _percent(row: dict) -> Amount:
    return Amount.scaled(100, row["value"], row["low"], row["high"], 1, False)


def draw(found: dict[Key, dict[str, dict]]) -> Figure:
    """A bar per expert, its parts side by side."""
    several = len({key[1:] for key in found}) > 1
    labels = [expert_title(e) + (f"\n{u} x {v}" if several else "") for e, u, v in found]
    first, second = ("/".join(dict.fromkeys(key[side] for key in found)) for side in (1, 2))
    figure = new_figure(7.5, 1.1 + 0.42 * max(1, len(found)))
    axes, left = figure.subplots(), np.zeros(len(found))
    parts = (
        ("first", f"{first}, with any partner", UNIQUE[0]),
        ("second", f"{second}, with any partner", UNIQUE[1]),
        ("own", "the pairs' own", SYNERGY),
        ("noise", "noise of that", PALE),
    )
    for name, label, color in parts:
        width = np.array([100 * max(of[name]["value"] or 0, 0) for of in found.values()])
        axes.barh(range(len(found)), width, left=left, height=0.7, color=color, label=label)
        left += width
    axes.set_yticks(range(len(found)), labels)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 100), xlabel="per cent of the variance between a sample's pairs", title="Is it a pair?")
    outside_legend(axes)
    return figure
