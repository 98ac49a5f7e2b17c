"""How the locality of layers is shown: each against what a linear probe makes of it, and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from raymoe.display.plots import new_figure
from raymoe.display.sheets import Amount, Sheet
from raymoe.display.shown import Plot, Shown
from raymoe.display.vocabulary import METRICS, SYNERGY, UNIQUE
from raymoe.experiments.locality import MARGIN
from raymoe.experiments.rows import Rows, percent, rows_of, unique
from raymoe.project import Project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = (
    "A word is replaced by the tokenizer's mask (else the unknown token, else padding), a patch by the "
    f"picture's mean colour. Suggested: the most local layer whose score is at most {100 * MARGIN:g} point "
    "below that of the layer that the features are of. The scores are of one modality alone, and the linear "
    "probe's settings were chosen on the same split, for every layer alike."
)


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """Every layer of every encoder."""
    rows = rows_of(tables, "locality")
    caption = (
        "Share of the squared change of an encoder's features that is at the word or patch that was taken "
        "out of the input, and the score of a linear probe on the validation split, layer by layer"
    )
    return Shown(
        finding=finding(rows),
        figures=(Plot("locality", f"{caption}.", lambda: draw(rows)),),
        sheets=(_sheet(rows, caption),),
        notes=(NOTE, *_hints(rows)),
    )


def finding(rows: Rows) -> str:
    """How local each modality's stored layer is, and the suggested one."""
    said = []
    for name in unique(rows, "modality"):
        stored, suggested = (_only(rows, name, mark) for mark in ("stored", "suggested"))
        text = f"of what taking out one feature changes ({name}), {100 * stored['locality']:.0f} % is at its "
        text += f"own position ({layer_name(stored['layer'])}; evenly spread {100 * stored['even']:.0f} %)"
        if suggested is not stored:
            text += f", {100 * suggested['locality']:.0f} % in {layer_name(suggested['layer'])}"
        said.append(text)
    text = "; ".join(said)
    return text[:1].upper() + text[1:]


def layer_name(layer: int) -> str:
    """As people say it."""
    return {-1: "the last layer", 0: "the embedding"}.get(layer, f"layer {layer}")


def _only(rows: Rows, modality: str, mark: str) -> dict:
    return next(row for row in rows if row["modality"] == modality and row[mark])


def _hints(rows: Rows) -> list[str]:
    """The option that takes a suggested layer."""
    return [
        f"More local: --set data.{row['modality']}.encoder.layer={row['layer']} (encode and train again)."
        for row in rows
        if row["suggested"] and not row["stored"]
    ]


def _sheet(rows: Rows, caption: str) -> Sheet:
    metric = METRICS[rows[0]["metric"]] if rows else "score"
    cells = tuple(
        (
            row["modality"],
            layer_name(row["layer"]),
            percent(row, "locality"),
            percent(row, "even"),
            percent(row, "score"),
            ", ".join(mark for mark in ("stored", "suggested") if row[mark]),
            Amount(row["samples"], digits=0),
            Amount(row["masks"], digits=0),
        )
        for row in rows
    )
    columns = (
        "modality",
        "layer",
        "at its own position",
        "evenly spread",
        metric,
        "",
        "samples",
        "taken out",
    )
    return Sheet("locality", f"{caption}; per cent, with 95 % intervals over samples", columns, cells)


def draw(rows: Rows) -> Figure:
    """A panel per modality; a point per layer."""
    names = unique(rows, "modality")
    figure = new_figure(1.2 + 3.4 * max(1, len(names)), 3.2)
    panels = figure.subplots(1, max(1, len(names)), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=False):
        own = [row for row in rows if row["modality"] == name]
        x, y = ([100 * row[what] for row in own] for what in ("locality", "score"))
        axes.plot(x, y, color=UNIQUE[0], marker="o", linewidth=1)
        for row, at, score in zip(own, x, y, strict=True):
            label = {-1: "last", 0: "embedding"}.get(row["layer"], str(row["layer"]))
            axes.annotate(label, (at, score), xytext=(3, 4), textcoords="offset points", fontsize=8)
            if row["suggested"]:
                axes.plot([at], [score], marker="o", markersize=10, fillstyle="none", color=SYNERGY)
        axes.set(xlim=(0, 105), xlabel="per cent of the change at its own position", title=name)
    if names:
        panels[0].set_ylabel(f"{METRICS[rows[0]['metric']]}, per cent")
    return figure
