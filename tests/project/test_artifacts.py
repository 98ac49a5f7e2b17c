"""Artifacts: where they lie, what makes them, and when they are taken as they are."""

from dataclasses import replace

import pyarrow as pa
import pytest
from support.tiny import tiny_preset

from raymoe.errors import ParentError
from raymoe.project import Project, Workspace, artifacts
from raymoe.project.artifacts import Artifact
from raymoe.project.contracts import METRICS
from raymoe.project.outputs import Output
from raymoe.project.provenance import Provenance
from raymoe.project.tables import read_schema, read_table

ROWS = pa.table(
    {"model": ["m"], "split": ["test"], "metric": ["accuracy"], "value": [0.5]}, schema=METRICS.schema
)
MADE = Provenance("train", METRICS.tag, {"lr": 0.1, "deep": {"x": 1}}, {"features": "abc"})


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tiny_preset(), Workspace(tmp_path), "tiny")


def output(workspace: Workspace, name: str) -> Output:
    return Artifact("metrics", ("train",), name, METRICS).at(workspace, name, "raymoe train x")


def test_several_files_are_not_called_missing(project):
    pairs = artifacts.INTERACTIONS.of(project)
    for read in (pairs.read, pairs.metadata, pairs.open_parquet):
        with pytest.raises(TypeError, match=r"several files: raymoe\.project\.interaction_tables"):
            read()


def test_complete_means_the_same_inputs(tmp_path):
    table = output(Workspace(tmp_path), "t.parquet")
    assert not table.is_complete(MADE)
    table.write(ROWS, MADE)
    assert table.is_complete(MADE)
    assert not table.is_complete(MADE, overwrite=True)
    for other, message in [
        (
            Provenance("train", METRICS.tag, {"lr": 0.2, "deep": {"x": 1}}, {"features": "abc"}),
            "lr: 0.1 there, 0.2 now",
        ),
        (
            Provenance("train", METRICS.tag, {"lr": 0.1, "deep": {"x": 2}}, {"features": "abc"}),
            "deep.x: 1 there, 2 now",
        ),
        (
            Provenance("train", METRICS.tag, MADE.config, {"features": "xyz"}),
            "the features it was made from: abc",
        ),
    ]:
        assert not table.is_current(other)
        with pytest.raises(ParentError) as caught:
            table.is_complete(other)
        assert message in caught.value.message
        assert "raymoe train x --overwrite" in caught.value.remedy
        with pytest.raises(ParentError, match="other inputs") as caught:
            table.is_complete(other, command="raymoe sweep x")
        assert "raymoe sweep x --overwrite" in caught.value.remedy


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_whether_it_is_complete_is_read_from_the_footer_alone(tmp_path, name):
    """The rows are overwritten with noise, yet the metadata is found: nothing of them was read."""
    workspace = Workspace(tmp_path)
    table = output(workspace, name)
    table.write(ROWS, MADE)
    assert read_schema(workspace, name, METRICS, "x") == read_table(workspace, name, METRICS, "x").schema
    whole = bytearray(workspace.read(name))
    if name.endswith(".parquet"):
        whole[4:60] = bytes(56)
        workspace.write(name, bytes(whole))
        with pytest.raises((ParentError, OSError)):
            table.read()
    assert table.is_complete(MADE)


def test_a_damaged_table_is_not_current_and_no_error(tmp_path):
    table = output(Workspace(tmp_path), "t.parquet")
    table.write(ROWS, MADE)
    assert table.is_current(MADE)
    table.workspace.write(table.name, b"no table")
    assert not table.is_current(MADE)
    with pytest.raises(ParentError, match="not a whole Parquet file"):
        table.is_complete(MADE)


def test_a_child_of_another_parent_is_refused_with_the_command_that_makes_it_again(project):
    importance = artifacts.IMPORTANCE.of(project)
    importance.refuse_other_parents({"features": "a", "checkpoint": "b"}, {"checkpoint": "b"})
    with pytest.raises(ParentError, match="was made from checkpoint b, the one there is c") as caught:
        importance.refuse_other_parents({"features": "a", "checkpoint": "b"}, {"checkpoint": "c"})
    assert caught.value.message.startswith(importance.path)
    assert caught.value.remedy.endswith(f"{project.command('attribute')} --overwrite")
    with pytest.raises(ParentError, match="made from samples unknown"):
        importance.refuse_other_parents({}, {"samples": "a"})


def test_commands_have_what_the_user_gave_and_what_the_command_takes(tmp_path):
    workspace = Workspace(tmp_path / "ws")
    settings = ("probe.coalitions=64", "data.seed=3")
    project = Project(tiny_preset(), workspace, "my.toml", settings, "/raw", seed=2)
    where, of_data = f"--workspace {workspace.uri}", "--set data.seed=3"
    every = f"--set probe.coalitions=64 {of_data}"
    for artifact, command in {
        artifacts.SAMPLES: f"raymoe prepare my.toml {where} --source /raw {of_data}",
        artifacts.FEATURES: f"raymoe encode my.toml {where} --source /raw {of_data}",
        artifacts.SWEEP: f"raymoe sweep my.toml {where} --source /raw {every}",
        artifacts.INTERACTIONS: f"raymoe probe my.toml {where} --source /raw --seed 2 {every}",
    }.items():
        assert artifact.of(project).command == command
    experiment = Artifact("x", ("evaluate", "planted"), "{root}/evaluation/x.parquet", METRICS)
    assert experiment.of(project).command == f"raymoe evaluate my.toml planted {where} --seed 2 {every}"
    assert Project(tiny_preset(), Workspace("runs"), "demo").command("probe") == "raymoe probe demo"


def test_of_another_seed_or_kind_the_command_says_so(tmp_path):
    project = Project(tiny_preset(), Workspace("runs"), "demo")
    assert project.with_seed(project.preset.train.seed) is project
    assert artifacts.CHECKPOINT.of(project.with_seed(5)).command == "raymoe train demo --seed 5"
    assert artifacts.CHECKPOINT.of(project.with_seed(5)).name.endswith("-seed5/checkpoint")
    dense = project.with_kind("dense")
    assert artifacts.CHECKPOINT.of(dense).command == "raymoe train demo --set model.kind=dense"
    assert "/dense-seed" in artifacts.CHECKPOINT.of(dense).name


def test_each_artifact_is_stated_once():
    found = [value for value in vars(artifacts).values() if isinstance(value, Artifact)]
    assert len({a.name for a in found}) == len({a.place for a in found}) == len(found)
    for artifact in found:
        assert all(parent in found for parent in artifact.parents)


def test_an_output_needs_no_settings(project):
    """It goes to actors, which know nothing of the preset."""
    found = artifacts.IMPORTANCE.of(project)
    assert not any(isinstance(value, Project) for value in vars(found).values())
    assert replace(found, command="x").again == "x --overwrite"
    assert found.made_with(found.again).again == found.again
