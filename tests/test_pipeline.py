"""The order of the stages, and what a sweep chose: in one place, for the command line and for Python."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from support.tiny import tiny_preset

from raymoe import pipeline
from raymoe.errors import InputError, RaymoeError
from raymoe.pipeline import STAGES, Options, Stage, needed
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


def never(project: Project, *, overwrite: bool) -> StageResult:
    raise AssertionError("it should have been refused before anything ran")


def with_encoder(source: str) -> dict:
    modalities = tiny_preset().data.model_dump()["modalities"]
    modalities[1]["encoder"] = {"source": source}
    return {"data": {"modalities": modalities}}


@pytest.mark.parametrize(
    ("sections", "stage", "words"),
    [
        (
            {"probe": {"experts": ["synergie"]}},
            "report",
            ["'synergie', which the model will not", ": synergy, "],
        ),
        (
            {"probe": {"experts": ["unique:picture"]}},
            "probe",
            ["'unique:picture'", "unique:text, unique:image"],
        ),
        ({"probe": {"experts": []}}, "probe", ["probe.experts is empty", "redundancy"]),
        ({"model": {"kind": "dense"}}, "probe", ["'synergy', 'redundancy'", "Its experts: dense"]),
        ({"model": {"kind": "i2moe"}}, "attribute", ["i2moe works on pooled vectors"]),
        (with_encoder("hf:./clip-of-mine"), "train", ["no such folder: ./clip-of-mine"]),
        (with_encoder("package:all-MiniLM-L6-v2"), "encode", ["does not take image"]),
        (with_encoder("clip"), "encode", ["unknown encoder 'clip'"]),
    ],
)
def test_what_the_settings_alone_forbid_is_refused_before_anything_runs(
    tmp_path, monkeypatch, sections, stage, words
):
    for name in STAGES:
        monkeypatch.setitem(STAGES, name, replace(STAGES[name], entry=f"{__name__}:never"))
    project = Project(tiny_preset(**sections), Workspace(tmp_path), "tiny")
    with pytest.raises(InputError) as caught:
        pipeline.run(project, stage)
    for each in words:
        assert each in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_model_without_these_experts_is_trained_all_the_same(tmp_path, monkeypatch):
    for name in STAGES:
        monkeypatch.setitem(
            STAGES, name, replace(STAGES[name], entry=f"{__name__}:note", options=(), foresees={})
        )
    for kind, last in (("dense", "attribute"), ("i2moe", "train")):
        project = Project(tiny_preset(model={"kind": kind}), Workspace(tmp_path), "tiny")
        assert pipeline.run(project, last).results[last].ran


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_refused_first_unless_a_cluster_may_have_it(tmp_path, monkeypatch):
    for name in STAGES:
        monkeypatch.setitem(
            STAGES, name, replace(STAGES[name], entry=f"{__name__}:note", options=(), foresees={})
        )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    SEEN.clear()
    with pytest.raises(RaymoeError, match="--device cuda, but this machine has no GPU"):
        pipeline.run(project, "report", options=Options(device="cuda"))
    with pytest.raises(RaymoeError, match="--device cuda"):
        pipeline.evaluate(project, "alignment", device="cuda")
    assert not SEEN
    assert pipeline.run(project, "train", options=Options("cuda", "head:6379")).results["train"].ran


def write_samples(project: Project, *, overwrite: bool) -> StageResult:
    """Four samples; the one of the test split has no label."""
    rows = [
        {"sample_id": f"s{i}", "split": ("train", "train", "val", "test")[i], "labels": [0] if i < 3 else []}
        for i in range(4)
    ]
    output = artifacts.SAMPLES.of(project)
    output.write(pa.Table.from_pylist(rows, output.contract.schema), output.made_from({}, {}))
    return StageResult(output.path, "f", ran=True)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ({"split": "holdout"}, ["no sample in the split 'holdout'", "one of test, train, val"]),
        ({}, ["split 'test' has a true label to explain", "attribute.target=predicted"]),
        ({"target": "predicted"}, []),
        ({"split": "val"}, []),
    ],
)
def test_what_the_samples_forbid_is_refused_before_the_training(tmp_path, monkeypatch, attribute, words):
    for name in STAGES:
        entry = "write_samples" if name == "prepare" else "never" if words else "note"
        # there are samples here, but no features to look at
        foresees = {k: v for k, v in STAGES[name].foresees.items() if k == "prepare"}
        fake = replace(STAGES[name], entry=f"{__name__}:{entry}", options=(), foresees=foresees)
        monkeypatch.setitem(STAGES, name, fake)
    project = Project(tiny_preset(attribute=attribute), Workspace(tmp_path), "tiny")
    if not words:
        assert pipeline.run(project, "probe").results["probe"].ran
        return
    with pytest.raises(InputError) as caught:
        pipeline.run(project, "probe")
    for each in words:
        assert each in str(caught.value)


def test_a_sample_that_is_not_there_is_told_as_soon_as_there_are_samples(tmp_path):
    """Not after the stages that the case study asks for have been run."""
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    write_samples(project, overwrite=False)
    with pytest.raises(InputError, match=r"--sample 's9': .*has no such sample") as caught:
        pipeline.evaluate(project, "case-study", samples=["s1", "s9"])
    assert "'s1'" in caught.value.remedy
