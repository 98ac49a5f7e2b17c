"""The stage that makes the page and the figures from the finished tables."""

from __future__ import annotations

import json
from dataclasses import asdict

from raymoe.progress import track
from raymoe.project import Project, StageResult
from raymoe.report.explorer import explore
from raymoe.report.figures import charts, png, svg
from raymoe.report.inputs import read_inputs
from raymoe.report.page import render
from raymoe.report.sample_figure import sample_figure
from raymoe.tables import Provenance

VERSION = "report/1"
SAMPLE_FIGURES = 4


def report(project: Project, *, overwrite: bool = False) -> StageResult:
    """Make ``index.html`` and ``figures/`` in the project's report folder.

    Unlike the tables, a report made from other inputs is simply made again: it is cheap and nothing
    follows from it.

    Raises:
        ParentError: a table that the report shows is missing or damaged.
    """
    workspace, config = project.workspace, project.preset.report
    inputs = read_inputs(project)
    provenance = Provenance("report", VERSION, config.model_dump(), inputs.fingerprints)
    page, seal = f"{project.report}/index.html", f"{project.report}/report.json"
    result = StageResult(workspace.path(page), provenance.fingerprint, ran=True)
    if not overwrite and workspace.exists(page) and _sealed(workspace, seal) == provenance.fingerprint:
        return StageResult(result.path, result.fingerprint, ran=False)
    workspace.remove(seal)
    samples = explore(inputs, config)
    with track("report", 1) as progress:
        figures = charts(inputs)
        drawings = {name: svg(figure) for name, figure in figures.items()}
        for i, sample in enumerate(samples[:SAMPLE_FIGURES], 1):
            figure = sample_figure(sample, inputs.experts, inputs.classes)
            if figure:
                figures[f"sample-{i}"] = figure
        for name, figure in figures.items():
            workspace.write(f"{project.report}/figures/{name}.png", png(figure))
            workspace.write(f"{project.report}/figures/{name}.svg", drawings.get(name) or svg(figure))
        workspace.write(page, render(project, inputs, samples, drawings, provenance).encode())
        progress.advance(note=f"{len(samples)} samples, {len(figures)} figures")
    record = {"fingerprint": provenance.fingerprint, "made_by": asdict(provenance)}
    workspace.write(seal, json.dumps(record, indent=1).encode())
    return result


def _sealed(workspace, seal: str) -> str | None:
    """The fingerprint of the report that is there; None where it was not finished."""
    if not workspace.exists(seal):
        return None
    try:
        return json.loads(workspace.read(seal)).get("fingerprint")
    except (ValueError, AttributeError):
        return None
