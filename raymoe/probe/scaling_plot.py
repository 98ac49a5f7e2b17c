"""The picture of a scaling run: throughput and efficiency by number of actors, measured and simulated."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from raymoe.probe.scaling_runs import Scaling

COLORS = {"strong": "#2166ac", "weak": "#b2182b"}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.5,
    "svg.hashsalt": "raymoe",
}


def scaling_plot(found: Scaling) -> bytes:
    """An SVG of what ``scaling`` found."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        rate, efficiency = figure.subplots(1, 2)
        for mode, color in COLORS.items():
            for name, look in (("measured", "o-"), ("predicted", "x:")):
                rows = [row for row in getattr(found, name) if row.mode == mode]
                if rows:
                    label, actors = f"{mode}, {name}", [row.actors for row in rows]
                    rate.plot(actors, [row.rate for row in rows], look, color=color, label=label)
                    efficiency.plot(actors, [row.efficiency for row in rows], look, color=color, label=label)
        beyond = found.beyond
        actors = [row.actors for row in beyond]
        rate.plot(actors, [row.rate for row in beyond], ":", color="gray", label="weak, simulated")
        efficiency.plot(
            actors, [row.efficiency for row in beyond], ":", color="gray", label="weak, simulated"
        )
        for axes, title in ((rate, "Evaluations per second"), (efficiency, "Efficiency")):
            axes.set_xscale("log", base=2)
            axes.set_xlabel("actors")
            axes.set_title(title, loc="left", fontweight="bold")
        rate.set_yscale("log")
        efficiency.set_ylim(0, 1.15)
        efficiency.legend(frameon=False, fontsize=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
