"""Fig. 5 for any sample: the dense maps are those that ``attribute`` computes, and odd input is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from support import workspace_fixture
from support.interaction_rows import interaction_row
from typer.testing import CliRunner

from raymoe.attribution import attribute
from raymoe.cli.app import app
from raymoe.display.inputs import read_explained
from raymoe.display.samples import describe
from raymoe.errors import InputError
from raymoe.experiments.case_study import measure as module
from raymoe.experiments.case_study.measure import file_name
from raymoe.experiments.case_study.measure import measure as case_study
from raymoe.experiments.running import evaluate
from raymoe.pipeline import resolved
from raymoe.project import Project, artifacts
from raymoe.project.artifacts import INTERACTIONS
from raymoe.project.contracts import IMPORTANCE, SAMPLES
from raymoe.project.interaction_tables import of_expert
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from raymoe.training.train import train


@pytest.fixture
def trained(tmp_path) -> Project:
    """A tiny project with both models trained for an epoch, importance, and a few invented pairs."""
    from support.tiny import tiny_preset, write_tiny_features

    from raymoe.project.workspace import Workspace

    preset = tiny_preset(train={"epochs": 1, "batch_size": 4, "patience": None})
    project = Project(preset, Workspace(tmp_path / "ws"), "tiny")
    write_tiny_features(project)
    train(project, device="cpu")
    train(of_dense(project), device="cpu")
    attribute(project, device="cpu")
    name = f"{project.run}/importance.arrow"
    importance = metadata_of(read_table(project.workspace, name, IMPORTANCE, "").schema)
    parents = Provenance.from_json(importance["made_by"]).parents
    made = Provenance(
        "probe", INTERACTIONS.contract.tag, {}, parents | {"importance": importance["fingerprint"]}
    )
    for expert in ("synergy", "redundancy"):
        rows = [
            interaction_row(
                sample_id="s2",
                expert=expert,
                u=1,
                v=v,
                sii=0.1 * v - 0.2,
                sii_stderr=0.01,
                redundancy=0.1 * v,
                redundancy_stderr=0.01,
            )
            for v in range(5)
        ]
        write_table(
            project.workspace,
            of_expert(INTERACTIONS.of(project), expert).name,
            pa.Table.from_pylist(rows, INTERACTIONS.contract.schema),
            INTERACTIONS.contract,
            made,
            {"experts": ["synergy", "redundancy"], "plan": "p", "skipped": []},
        )
    samples = pa.table(
        {
            "sample_id": [f"s{i}" for i in range(8)],
            "split": [("train", "val", "test", "test")[i % 4] for i in range(8)],
            "labels": pa.array([[i % 3] for i in range(8)], pa.list_(pa.int32())),
            "text": ["words"] * 8,
            "image": [workspace_fixture.picture(i, 60) if i != 6 else b"gone" for i in range(8)],
        }
    )
    extra = {
        "classes": ["cat", "dog", "bird"],
        "task": "multilabel",
        "skipped": [],
        "source": "invented",
        "modalities": {"text": "text", "image": "image"},
    }
    write_table(
        project.workspace,
        artifacts.SAMPLES.of(project).name,
        samples,
        SAMPLES,
        Provenance("prepare", SAMPLES.tag, {}),
        extra,
    )
    return project


def of_dense(project: Project) -> Project:
    return replace(project, preset=project.preset.with_fields({"model.kind": "dense"}))


def test_draws_each_sample_with_the_dense_maps_that_attribute_computes(trained, capsys, monkeypatch):
    figures = []
    monkeypatch.setattr(module, "paneled", lambda *a: figures.append(a) or workspace_paneled(*a))
    result = case_study(trained, samples=["s2", "s6"], device="cpu")  # the second has no picture and no pairs
    names = trained.workspace.names(f"{trained.run}/evaluation/case-study")
    assert names == ["s2.png", "s2.svg", "s6.png", "s6.svg"]
    assert result.path.endswith("evaluation/case-study")
    attribute(of_dense(trained), device="cpu")
    name = f"{of_dense(trained).run}/importance.arrow"
    wanted = {
        (row["sample_id"], row["modality"]): row["scores"]
        for row in read_table(trained.workspace, name, IMPORTANCE, "").to_pylist()
    }
    for sample, _, lines in figures:
        dense = lines[0][0][0]
        for modality in ("text", "image"):
            np.testing.assert_allclose(dense.heat[modality], wanted[sample.sample_id, modality], atol=1e-4)
        assert [p.title for p in lines[0][0][1:]] == [
            f"(b) {e}" for e in ("unique text", "unique image", "synergy", "redundancy")
        ]
    (_, _, of_probed), (_, _, of_other) = figures
    assert [len(panel.pairs) for panel in of_probed[1][0]] == [5, 4], "one pair has no redundancy at all"
    assert of_probed[1][0][1].pairs[0].value == pytest.approx(0.4)
    assert all("raymoe probe tiny" in panel.gap for panel in of_other[1][0])


workspace_paneled = module.paneled


def test_without_a_dense_run_its_maps_are_a_gap(trained, capsys):
    trained.workspace.remove(of_dense(trained).run)
    evaluate(trained, "case-study")  # the strongest sample
    assert trained.workspace.exists(f"{trained.run}/evaluation/case-study/s2.svg")
    out = " ".join(capsys.readouterr().out.split())
    assert "no finished dense run" in out
    assert "--set model.kind=dense" in out


def test_what_a_sweep_chose_for_the_experts_does_not_hide_the_dense_run(trained, capsys):
    """The dense run has the preset's learning rate, the explained one that which its sweep chose."""
    swept = replace(trained, preset=trained.preset.with_fields({"train.lr": 3e-3}), variant="-lr=0.003")
    folder = trained.workspace.path
    shutil.copytree(folder(trained.run), folder(swept.run))
    chosen = {"chosen": {"train.lr": 3e-3}, "variant": "-lr=0.003", "seeds": [0]}
    trained.workspace.write(f"{trained.sweep}.json", json.dumps(chosen).encode())
    result = case_study(resolved(trained), samples=["s2"], device="cpu")
    assert "-lr=0.003" in result.path
    assert "without the dense Transformer's maps" not in capsys.readouterr().out


def test_samples_that_cannot_be_drawn_are_told(trained):
    with pytest.raises(InputError, match="no sample 'nobody'"):
        case_study(trained, samples=["s2", "nobody"])
    with pytest.raises(InputError, match="s0: its importance was not computed"):
        case_study(trained, samples=["s0"])
    with pytest.raises(InputError, match="not for alignment"):
        evaluate(trained, "alignment", samples=["s2"])
    assert not trained.workspace.exists(f"{trained.run}/evaluation/case-study")


def test_markup_and_scripts_from_right_to_left_are_drawn(tmp_path, monkeypatch):
    """Invented samples: <script>, Hebrew, a picture that can't be read, a long text."""
    workspace_fixture.use_fake_store(monkeypatch)
    project = workspace_fixture.build(tmp_path / "runs")
    inputs = read_explained(project)
    chosen = [(sample_id, "asked") for sample_id in workspace_fixture.TEXTS]
    for sample in describe(inputs, chosen, 8):
        lines = module._lines(project, inputs, sample, None, "There is no dense run. <b>")
        figure = module.paneled(sample, inputs.classes, lines)
        assert b"<path" in module.svg(figure)
        assert min(figure.get_size_inches()) > 3


def test_the_sample_option_is_repeatable(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(
        "raymoe.experiments.running.evaluate", lambda project, name, **options: asked.update(options)
    )
    place = ["--workspace", str(tmp_path)]  # the folder that the suite runs in may have a demo of its own
    samples = ["--sample", "a/b", "--sample", "c"]
    result = CliRunner().invoke(app, ["evaluate", "demo", "case-study", *place, *samples])
    assert result.exit_code == 0, result.output
    assert list(asked["samples"]) == ["a/b", "c"]


def test_file_names_are_safe_and_differ():
    ids = ["a/b", "a-b", "a\\b", "../x", "שלום", "x" * 200, "x" * 201, "ok-1.2_3"]
    names = [file_name(sample_id) for sample_id in ids]
    assert len(set(names)) == len(ids)
    assert file_name("ok-1.2_3") == "ok-1.2_3"
    for name in names:
        assert "/" not in name
        assert not name.startswith((".", "-"))
        assert 0 < len(name) < 80
