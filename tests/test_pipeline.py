"""The order of the stages, and what a sweep chose: in one place, for the command line and for Python."""

import json

import pytest
from support.tiny import tiny_preset

from raymoe import pipeline
from raymoe.pipeline import STAGES, Stage, needed
from raymoe.project import Project, StageResult, Workspace, artifacts
from raymoe.project.artifacts import Artifact
from raymoe.project.chosen import of_kind, with_chosen
from raymoe.project.contracts import METRICS
from raymoe.project.project import WITHOUT_SEED


def test_the_order_of_the_stages_follows_from_what_each_makes():
    assert needed("prepare") == ["prepare"]
    assert needed("sweep") == ["prepare", "encode", "sweep"]
    assert needed("probe") == ["prepare", "encode", "train", "attribute", "probe"]
    assert needed("report") == [
        *("prepare", "encode", "baselines", "train", "attribute", "probe", "report"),
    ]


def test_every_artifact_is_made_by_the_stage_that_it_names():
    for stage in STAGES.values():
        assert {made.stage for made in stage.makes} == {stage.name}
    stated = {value for value in vars(artifacts).values() if isinstance(value, Artifact)}
    assert stated == {made for stage in STAGES.values() for made in stage.makes}


def test_commands_in_messages_have_the_options_that_the_stages_take():
    assert {name for name, stage in STAGES.items() if not stage.of_run} == set(WITHOUT_SEED)


def test_adding_a_stage_is_one_file_and_one_line(tmp_path, monkeypatch):
    """The file is this one; the line is the stage."""
    counts = Artifact("counts", ("count",), "{run}/counts.parquet", METRICS, (artifacts.IMPORTANCE,))
    line = Stage((counts,), f"{__name__}:count", "Importance -> how many rows it has.", of_run=True)
    monkeypatch.setitem(STAGES, line.name, line)
    assert needed("count") == ["prepare", "encode", "train", "attribute", "count"]
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    assert counts.of(project).command == f"raymoe count tiny --workspace {tmp_path}"
    monkeypatch.setattr(pipeline, "needed", lambda last: [last])  # its parents are not the point here
    done = pipeline.run(project, "count")
    assert done.results["count"].path == counts.of(project).path


def count(project: Project, *, overwrite: bool) -> StageResult:
    return StageResult(project.workspace.path(f"{project.run}/counts.parquet"), "f", ran=not overwrite)


def write_choice(project: Project) -> None:
    choice = {"chosen": {"model.temperature_rw": 4.0}, "variant": "-temperature_rw=4", "seeds": [0]}
    project.workspace.write(artifacts.CHOSEN.of(project).name, json.dumps(choice).encode())


@pytest.mark.parametrize("stage", ["train", "attribute", "probe", "report"])
def test_what_a_sweep_chose_holds_for_python_too(tmp_path, monkeypatch, stage, capsys):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    write_choice(project)
    seen = []
    for name in STAGES:
        line = Stage(STAGES[name].makes, f"{__name__}:note", "", of_run=True)
        monkeypatch.setitem(STAGES, name, line)
    monkeypatch.setattr("test_pipeline.SEEN", seen)
    done = pipeline.run(project, stage)
    assert done.project.run.endswith("-temperature_rw=4-seed0")
    assert {p.preset.model.temperature_rw for p in seen} == {4.0}
    assert capsys.readouterr().out.count("chosen by the sweep") == 1


SEEN: list[Project] = []


def note(project: Project, *, overwrite: bool) -> StageResult:
    SEEN.append(project)
    return StageResult("x", "f", ran=True)


@pytest.mark.parametrize("name", [None, "alignment"])
def test_what_a_sweep_chose_holds_for_experiments_and_is_applied_once(tmp_path, monkeypatch, capsys, name):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    write_choice(project)
    seen = []
    monkeypatch.setattr(
        "raymoe.experiments.running.evaluate", lambda project, name, **how: seen.append(project)
    )
    pipeline.evaluate(project, name)
    assert {p.run.rsplit("/", 1)[1] for p in seen} == {"fl-i2moe-temperature_rw=4-seed0"}
    assert capsys.readouterr().out.count("chosen by the sweep") == 1


def test_of_another_kind_its_own_sweep_chose(tmp_path):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    write_choice(project)
    chosen = with_chosen(project)
    assert chosen.run.endswith("fl-i2moe-temperature_rw=4-seed0")
    assert with_chosen(chosen) is chosen, "applied again it changes nothing"
    dense = of_kind(chosen, "dense")
    assert dense.run.endswith("dense-seed0"), "no sweep of its own: as the user gave it"
    assert dense.preset.model.temperature_rw == project.preset.model.temperature_rw
    assert of_kind(chosen, "fl-i2moe") is chosen
