"""The stage that makes the page and the figures from the finished tables."""

from __future__ import annotations

import json
from dataclasses import asdict

from raymoe.display.inputs import Inputs, read_inputs
from raymoe.display.plots import drawn, png, svg
from raymoe.display.sample_figure import sample_figure
from raymoe.display.samples import explore
from raymoe.display.sheets import latex, to_csv
from raymoe.project import Project, StageResult, Workspace
from raymoe.project.artifacts import REPORT
from raymoe.project.provenance import Provenance
from raymoe.report.charts import charts
from raymoe.report.experiments import Found, find_experiments
from raymoe.report.page import own_tables, render
from raymoe.runtime.progress import track

VERSION = "report/2"
SAMPLE_FIGURES = 4


def report(project: Project, *, overwrite: bool = False) -> StageResult:
    """Make ``index.html``, ``figures/`` and ``tables/`` in the project's report folder.

    Unlike the tables, a report made from other inputs is simply made again: it is cheap and nothing
    follows from it.

    Raises:
        ParentError: a table that the report needs is missing or damaged, or of another checkpoint. The
            tables of ``evaluate`` are not needed: what is missing there is a visible gap.
    """
    workspace, config = project.workspace, project.preset.report
    inputs = read_inputs(project)
    found = find_experiments(project, inputs)
    parents = inputs.fingerprints | {
        f"evaluation/{name}": fingerprint for e in found for name, fingerprint in e.fingerprints.items()
    }
    for each in found:
        # under the names that earlier versions gave them, so that their reports stay current
        parents |= {picture.removeprefix("evaluation/"): "drawn" for picture in each.shown.pictures}
    provenance = Provenance("report", VERSION, config.model_dump(), parents)
    folder = REPORT.of(project).name
    page, seal = f"{folder}/index.html", f"{folder}/report.json"
    result = StageResult(workspace.path(page), provenance.fingerprint, ran=True)
    if not overwrite and workspace.exists(page) and _sealed(workspace, seal) == provenance.fingerprint:
        return StageResult(result.path, result.fingerprint, ran=False)
    workspace.remove(seal)
    for old in ("figures", "tables"):  # of what is a gap now, nothing old may stay
        workspace.remove(f"{folder}/{old}")
    samples = explore(inputs, config)
    with track("report", 1) as progress:
        plots = [*charts(inputs), *(plot for each in found for plot in each.shown.figures)]
        captions = {plot.name: plot.caption for plot in plots}
        figures = {plot.name: drawn(plot) for plot in plots}
        drawings = {name: svg(figure) for name, figure in figures.items()}
        singles = {}
        for i, sample in enumerate(samples[:SAMPLE_FIGURES], 1):
            figure = sample_figure(sample, inputs.explained, inputs.classes, config.pairs)
            if figure:
                singles[f"sample-{i}"] = figure
        for name, figure in (figures | singles).items():
            workspace.write(f"{folder}/figures/{name}.png", png(figure))
            workspace.write(f"{folder}/figures/{name}.svg", drawings.get(name) or svg(figure))
        _write_tables(project, inputs, found)
        text = render(project, inputs, samples, found, drawings, captions, list(singles), provenance)
        workspace.write(page, text.encode())
        progress.advance(note=f"{len(samples)} samples, {len(figures | singles)} figures")
    record = {"fingerprint": provenance.fingerprint, "made_by": asdict(provenance)}
    workspace.write(seal, json.dumps(record, indent=1).encode())
    return result


def _write_tables(project: Project, inputs: Inputs, found: list[Found]) -> None:
    """``tables/``: as they are printed (LaTeX), and with every row and digit (CSV)."""
    folder, own = REPORT.of(project).name, own_tables(inputs)
    sheets = [sheet for sheet, _ in own.values()] + [sheet for e in found for sheet in e.shown.tables]
    tables = {name: table for name, (_, table) in own.items()}
    for each in found:
        tables |= each.tables
    for sheet in sheets:
        project.workspace.write(f"{folder}/tables/{sheet.name}.tex", latex(sheet).encode())
    for name, table in tables.items():
        project.workspace.write(f"{folder}/tables/{name}.csv", to_csv(table))


def _sealed(workspace: Workspace, seal: str) -> str | None:
    """The fingerprint of the report that is there; None where it was not finished."""
    if not workspace.exists(seal):
        return None
    try:
        return json.loads(workspace.read(seal)).get("fingerprint")
    except (ValueError, AttributeError):
        return None
