"""How planted interactions are shown: how high the true pairs are ranked, and what each expert knows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raymoe.catalogue import MIXTURE
from raymoe.display.plots import grouped_bars, heat_map, new_figure, outside_legend
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import (
    INK,
    PALE,
    SERIES,
    expert_label,
    expert_title,
    ranking_label,
    score_label,
)
from raymoe.experiments.rows import (
    Rows,
    first_known,
    over_seeds,
    rows_of,
    seeds_of,
    seeds_said,
    unique,
    values_by,
)
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAIN = "average_precision"
SCENES = {"all": "all targets on", "alone": "one target on", "free": "drawn as the training scenes"}
NAMED = (("synergistic", "synergy", "sii"), ("redundant", "redundancy", "redundancy"))


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """Average precision at a glance; all measures with intervals, and every seed, in the longer tables."""
    each = rows_of(tables, "planted")
    every, experts = over_seeds(each), over_seeds(rows_of(tables, "planted-experts"))
    said = seeds_said(seeds_of(each))
    pairs, alone = of_scenes(every, "all"), of_scenes(every, "alone")
    figures = (
        Plot(
            "planted",
            "How well each score finds the true pairs, by expert: average precision per planted kind of "
            f"interaction, {said}. Whiskers: 95 % intervals. Dotted lines: what random scores would have.",
            lambda: draw(pairs),
        ),
        Plot(
            "planted-experts",
            "Each expert alone on the classes of each planted kind, and its weight in the mixture, "
            f"{said}. Shades: within a panel, from its least to its largest value.",
            lambda: draw_experts(experts),
        ),
    )
    samples = "; ".join(
        f"{SCENES[scenes]}: "
        + ", ".join(
            f"{_written(kind)} {max(row['samples'] for row in own if row['interaction'] == kind)}"
            for kind in unique(own, "interaction")
        )
        for scenes in unique(every, "scenes")
        if (own := [row for row in every if row["scenes"] == scenes])
    )
    return Shown(
        finding(each),
        figures,
        sheets=(
            _precision(pairs, said),
            *([_precision(alone, f"{said}; scenes with a single target on", "-alone")] if alone else []),
            _knowledge(experts, said),
        ),
        details=(_measures(each, said), _quantities(experts, said)),
        notes=(f"Samples with a true pair: {samples}.",),
    )


def finding(rows: Rows) -> str:
    """The two named experts' own scores beside the product of attributions, with every target on."""
    rows = [row for row in of_scenes(over_seeds(rows), "all") if row["measure"] == MAIN]
    said = []
    for kind, expert, score in NAMED:
        of_expert = {r["method"]: r for r in rows if (r["interaction"], r["expert"]) == (kind, expert)}
        own, product = (of_expert.get(method, {}).get("value") for method in (score, "product"))
        if own is not None and product is not None:
            said.append(f"{kind} by {score_label(score)} {own:.2f}, by the product {product:.2f}")
    return f"Average precision of true pairs: {'; '.join(said)}" if said else ""


def of_scenes(rows: Rows, scenes: str) -> Rows:
    """The rows of one kind of scenes; where none have all targets on, freely drawn ones stand for them."""
    known = {row["scenes"] for row in rows}
    wanted = "free" if scenes == "all" and "all" not in known else scenes
    return [row for row in rows if row["scenes"] == wanted]


def _written(word: str) -> str:
    """A kind of interaction, or a measure."""
    return (word or "all").replace("_", " ").replace("auroc", "AUROC")


def quantity_label(quantity: str) -> str:
    """How a quantity of the planted experts is written: ``drop:text`` is "drop without text"."""
    return _written(quantity.replace("drop:", "drop without "))


def _precision(pairs: Rows, said: str, suffix: str = "") -> Sheet:
    """A row per kind and expert, a column per method."""
    rows = [row for row in pairs if row["measure"] == MAIN]
    methods = unique(rows, "method")
    of = {(row["interaction"], row["expert"], row["method"]): row for row in rows}
    cells: list[tuple[Cell, ...]] = []
    for kind, expert in product(unique(rows, "interaction"), unique(rows, "expert")):
        found = [of.get((kind, expert, method), {}) for method in methods]
        values = [_per_cent(row.get("value")) for row in found]
        cells.append((_written(kind), expert_label(expert), *values, _per_cent(found[0].get("chance"))))
    caption = (
        "Average precision in per cent of the true pairs among all measured ones, mean over samples, "
        f"{said}; chance: of random scores"
    )
    heads = [ranking_label(method) for method in methods]
    return Sheet(f"planted-precision{suffix}", caption, ("planted", "expert", *heads, "chance"), tuple(cells))


def _knowledge(experts: Rows, said: str) -> Sheet:
    """A row per kind, a column per expert: its average precision, and its fall without each modality."""
    of = {(row["interaction"], row["expert"], row["quantity"]): row["value"] for row in experts}
    names, masked = (
        unique(experts, "expert"),
        [q for q in unique(experts, "quantity") if q.startswith("drop:")],
    )
    cells: list[tuple[Cell, ...]] = []
    for kind in unique(experts, "interaction"):
        line: list[Cell] = [_written(kind), _per_cent(of.get((kind, MIXTURE, "chance")), 0)]
        for name in names:
            falls = " ".join(str(_per_cent(of.get((kind, name, quantity)), 0)) for quantity in masked)
            own = str(_per_cent(of.get((kind, name, MAIN)), 0))
            line.append(f"{own} ({falls})" if masked else own)
        cells.append(tuple(line))
    without = " and ".join(quantity.removeprefix("drop:") for quantity in masked)
    caption = f"Average precision in per cent of each expert's own logits for each planted target, {said}"
    caption += f"; in parentheses its fall without {without}" if masked else ""
    heads = ("target", "on, %", *map(expert_label, names))
    return Sheet("planted-knowledge", caption, heads, tuple(cells))


def _measures(each: Rows, said: str) -> Sheet:
    """Every measure with its interval, and of the main one each seed's value."""
    pairs, seeds = over_seeds(each), seeds_of(each)
    measures = unique(pairs, "measure")
    by_key = {(*_key(row), row["measure"]): row for row in pairs}
    of_seeds = _by_seed(each, measures[0], seeds)
    several = len(seeds) > 1
    cells: list[tuple[Cell, ...]] = []
    for key in dict.fromkeys(key[:4] for key in by_key):
        scenes, kind, expert, method = key
        found = [by_key.get((*key, measure), {}) for measure in measures]
        amounts = [Amount(row.get("value"), row.get("low"), row.get("high"), digits=3) for row in found]
        cells.append(
            (
                _written(kind),
                scenes,
                expert_label(expert or ""),
                ranking_label(method),
                amounts[0],
                *([of_seeds.get(key, "–")] if several else []),
                Amount(found[0].get("chance"), digits=3),
                *amounts[1:],
            )
        )
    labels = [_written(measure) for measure in measures]
    columns = (
        *("planted", "scenes", "expert", "scored by", labels[0], *(["by seed"] if several else [])),
        *("chance", *labels[1:]),
    )
    caption = (
        f"How well each score finds the true pairs, {said} (95 % intervals); chance: {labels[0]} of "
        "random scores"
    )
    return Sheet("planted", caption, columns, tuple(cells))


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["scenes"], row["interaction"], row["expert"], row["method"]


def _by_seed(rows: Rows, measure: str, seeds: list[int]) -> dict[tuple[str, str, str, str], str]:
    """The values of each seed, in their order, by kind of scenes, kind of interaction, expert and method."""
    values: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for row in rows:
        if row["measure"] == measure and row["seed"] is not None:
            values.setdefault(_key(row), {})[row["seed"]] = row["value"]
    return {
        key: ", ".join(str(Amount(of_seed.get(seed), digits=3)) for seed in seeds)
        for key, of_seed in values.items()
    }


def _quantities(experts: Rows, said: str) -> Sheet:
    """A row per quantity and expert, a column per kind, with intervals."""
    kinds = unique(experts, "interaction")
    of = {(row["quantity"], row["expert"], row["interaction"]): row for row in experts}
    cells: list[tuple[Cell, ...]] = []
    for quantity, expert in product(unique(experts, "quantity"), unique(experts, "expert")):
        found = [of.get((quantity, expert, kind), {}) for kind in kinds]
        if any(row.get("value") is not None for row in found):
            amounts = (Amount(row.get("value"), row.get("low"), row.get("high")) for row in found)
            cells.append((quantity_label(quantity), expert_label(expert or ""), *amounts))
    caption = f"Does each expert do what its name says? By planted kind of interaction, {said}"
    return Sheet("planted-experts", caption, ("quantity", "expert", *map(_written, kinds)), tuple(cells))


def _per_cent(value: float | None, digits: int = 1) -> Amount:
    return Amount(None if value is None else 100 * value, digits=digits)


def draw(pairs: Rows) -> Figure:
    """Average precision per kind of interaction and method, a panel per expert; ticks are chance."""
    rows = [row for row in pairs if row["measure"] == MAIN]
    experts, methods = unique(rows, "expert"), unique(rows, "method")
    figure = new_figure(9.5, 2.5 * max(1, len(experts)) + 0.3)
    panels = figure.subplots(max(1, len(experts)), 1, squeeze=False)[:, 0]
    for axes, expert in zip(panels, experts, strict=False):
        own = [row for row in rows if row["expert"] == expert]
        kinds = unique(own, "interaction")
        series = []
        for i, method in enumerate(methods):
            color = PALE if method == "random" else SERIES[i % len(SERIES)]
            values = values_by([row for row in own if row["method"] == method], "interaction", kinds)
            series.append((ranking_label(method), color, values))
        grouped_bars(axes, kinds, series)
        for x, kind in enumerate(kinds):
            chance = first_known([row for row in own if row["interaction"] == kind], "chance")
            if chance is not None:
                axes.hlines(chance, x - 0.42, x + 0.42, color=INK, linewidth=1.2, linestyle=":", zorder=4)
        axes.set(title=expert_title(expert or "all"), ylabel="average precision", ylim=(0, 1.05))
    outside_legend(figure.axes[0])
    return figure


def draw_experts(experts: Rows) -> Figure:
    """Per quantity a map of experts x kinds of planted interaction."""
    rows = [row for row in experts if row["quantity"] != "chance" and row["value"] is not None]
    if not rows:  # no class has a positive sample
        return new_figure(4, 1)
    quantities, kinds = unique(rows, "quantity"), unique(rows, "interaction")
    columns = min(2, len(quantities))
    lines = -(-len(quantities) // columns)
    most = max(len(unique([row for row in rows if row["quantity"] == q], "expert")) for q in quantities)
    figure = new_figure(4.8 * columns, lines * (1.2 + 0.36 * most))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(quantities) :]:
        axes.axis("off")
    for axes, quantity in zip(panels, quantities, strict=False):
        own = [row for row in rows if row["quantity"] == quantity]
        names = unique(own, "expert")
        values = np.full((len(names), len(kinds)), np.nan)
        for row in own:
            values[names.index(row["expert"]), kinds.index(row["interaction"])] = row["value"]
        heat_map(axes, values, [expert_label(name or "all") for name in names], [_written(k) for k in kinds])
        axes.set_title(quantity_label(quantity))
    return figure
