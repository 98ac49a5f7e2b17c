from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
from support import workspace_fixture
from support.experiments_fixture import write_experiments

from raymoe.display.inputs import Inputs, read_inputs
from raymoe.display.samples import Sample, explore
from raymoe.project import Project
from raymoe.report import report

MEASURED = (
    *("comparison", "faithfulness", "faithfulness-summary", "alignment"),
    *(
        "specificity",
        "specificity-samples",
        "specificity-classes",
        "locality",
        "pair-masking",
        "planted",
        "planted-experts",
        "planted-ranks",
    ),
)  # and no robustness


@dataclass(frozen=True)
class Finished:
    """A report, what it was made from, and what its explorer shows."""

    project: Project
    inputs: Inputs
    samples: list[Sample]


@pytest.fixture
def project(tmp_path, monkeypatch):
    workspace_fixture.use_fake_store(monkeypatch)
    return workspace_fixture.build(tmp_path / "runs")


@pytest.fixture
def quick(project, monkeypatch):
    """A project whose reports are not drawn, which takes most of their time."""
    stage = sys.modules["raymoe.report.report"]  # by that name the package has the function
    monkeypatch.setattr(stage, "png", lambda figure: b"png")
    monkeypatch.setattr(stage, "svg", lambda figure: b"<svg></svg>")
    monkeypatch.setattr(stage, "sample_figure", lambda *arguments: None)
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project with its report, for tests that only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        workspace_fixture.use_fake_store(patch)
        project = workspace_fixture.build(tmp_path_factory.mktemp("finished"), pairs=8, listed=12)
        inputs = read_inputs(project)
        write_experiments(project, inputs.fingerprints | {"checkpoint": inputs.checkpoint}, only=MEASURED)
        report(project)
    return Finished(project, inputs, explore(inputs, project.preset.report))
