"""A new experiment is a folder and a line in the registry; terminal, page and files then have it."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from pathlib import Path

import pytest
from support import workspace_fixture
from support.workspace_fixture import folder_of
from typer.testing import CliRunner

from raymoe.cli.app import app
from raymoe.experiments import registry
from raymoe.experiments.running import evaluate, evaluate_all
from raymoe.project import Project
from raymoe.report import report

FOLDER = {
    "__init__.py": """
        from raymoe.experiments.experiment import Experiment, evaluation_table
        from raymoe.project.artifacts import PREDICTIONS
        from raymoe.project.contracts import Contract

        # One row per expert: its mean weight on the split, a fraction.
        WEIGHTS = Contract("weights", 1, {"expert": "string", "value": "float64"})
        TABLE = evaluation_table("weights", WEIGHTS, (PREDICTIONS,))
        EXPERIMENT = Experiment(
            name="weights",
            title="Weights",
            place="beyond the paper",
            question="Which expert counts most?",
            help="weights (which expert counts most?)",
            folder=__name__,
            tables=(TABLE,),
            options=("overwrite",),
        )
    """,
    "measure.py": """
        import numpy as np
        import pyarrow as pa

        from raymoe.project import StageResult
        from raymoe.project.artifacts import PREDICTIONS
        from raymoe.project.tables import metadata_of

        from toy_weights import TABLE, WEIGHTS


        def measure(project, *, overwrite=False):
            predictions = PREDICTIONS.of(project).read()
            found = metadata_of(predictions.schema)
            output = TABLE.of(project)
            made = output.made_from({}, {"checkpoint": found["checkpoint"]})
            ran = overwrite or not output.is_current(made)
            if ran:
                means = np.mean(predictions["expert_weights"].to_pylist(), 0)
                rows = [{"expert": e, "value": v} for e, v in zip(found["experts"], means, strict=True)]
                output.write(pa.Table.from_pylist(rows, WEIGHTS.schema), made)
            return StageResult(output.path, made.fingerprint, ran)
    """,
    "show.py": """
        from raymoe.display.plots import grouped_bars, new_figure
        from raymoe.display.sheets import Amount, Sheet
        from raymoe.display.shown import Plot, Shown
        from raymoe.display.vocabulary import SYNERGY, expert_label


        def show(project, tables):
            rows = tables["weights"].to_pylist()
            cells = tuple((expert_label(row["expert"]), Amount(row["value"], digits=3)) for row in rows)
            most = max(rows, key=lambda row: row["value"])
            return Shown(
                finding=f"Most weight: {expert_label(most['expert'])} {most['value']:.3f}",
                figures=(Plot("weights", "Mean weight of each expert.", lambda: draw(rows)),),
                sheets=(Sheet("weights", "Mean weight of each expert", ("expert", "mean weight"), cells),),
                notes=("A toy.",),
            )


        def draw(rows):
            figure = new_figure(4, 2)
            bars = [("weight", SYNERGY, [(row["value"], float("nan"), float("nan")) for row in rows])]
            grouped_bars(figure.subplots(), [expert_label(row["expert"]) for row in rows], bars)
            return figure
    """,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An invented workspace, and a toy experiment that is registered with one line."""
    folder = tmp_path / "toy_weights"
    folder.mkdir()
    for name, text in FOLDER.items():
        lines = [line.removeprefix(" " * 8) for line in text.splitlines()]
        (folder / name).write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("toy_weights", "toy_weights.measure", "toy_weights.show"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(registry, "FOLDERS", (*registry.FOLDERS, "toy_weights"))
    workspace_fixture.use_fake_store(monkeypatch)
    return workspace_fixture.build(tmp_path / "runs")


def page_of(project: Project) -> str:
    report(project)
    return project.workspace.read(f"{folder_of(project)}/index.html").decode()


def part_of(page: str) -> str:
    """The toy's part of the page."""
    start = page.index('<article class="experiment" id="experiment-weights"')
    return page[start : page.index("</article>", start)]


def test_it_is_a_visible_gap_with_its_command_before_it_was_run(project):
    page = page_of(project)
    assert "raymoe evaluate demo weights --workspace" in part_of(page)
    assert "Not measured yet." in part_of(page)
    assert "Which expert counts most?" in part_of(page)
    assert '<a href="#experiment-weights"><span class="state none">' in page


def test_it_runs_prints_its_table_and_is_on_the_page_with_its_files(project, capsys):
    result = evaluate(project, "weights")
    assert result.ran
    assert result.path.endswith("demo/evaluation/weights.parquet")
    said = capsys.readouterr().out
    assert "Weights (beyond the paper). Mean weight of each expert" in said
    assert "A toy." in said
    rows = {line.split("  ")[0]: line.split()[-1] for line in said.splitlines()}
    assert set(rows) >= {"unique text", "synergy", "redundancy"}
    assert not evaluate(project, "weights").ran

    page = page_of(project)
    part = part_of(page)
    assert part.count("<figure>") == 1
    assert rows["synergy"] in part
    assert (
        f"Most weight: {max(('unique text', 'unique image', 'synergy', 'redundancy'), key=rows.get)}" in page
    )
    folder = folder_of(project)
    for name in ("figures/weights.svg", "figures/weights.png", "tables/weights.tex", "tables/weights.csv"):
        assert project.workspace.exists(f"{folder}/{name}"), name
    table = list(csv.DictReader(io.StringIO(project.workspace.read(f"{folder}/tables/weights.csv").decode())))
    assert [f"{float(row['value']):.3f}" for row in table if row["expert"] == "synergy"] == [rows["synergy"]]
    assert b"toprule" in project.workspace.read(f"{folder}/tables/weights.tex")


def test_all_experiments_and_the_command_line_know_it(project, monkeypatch, capsys):
    monkeypatch.setattr(registry, "FOLDERS", ("toy_weights",))
    assert list(evaluate_all(project)) == ["weights"]
    assert registry.experiments_help() == "weights (which expert counts most?)"
    shutil.rmtree(project.workspace.path(f"{project.root}/evaluation"))
    monkeypatch.setattr("raymoe.features.encode.refuse_other_features", lambda project: None)
    place = ["--workspace", str(project.workspace.root)]
    done = CliRunner().invoke(app, ["evaluate", "demo", "weights", *place])
    assert done.exit_code == 0, done.output
    assert project.workspace.exists(f"{project.root}/evaluation/weights.parquet")
