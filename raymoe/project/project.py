"""A dataset in a workspace: its preset, and where each stage's output lies.

    <workspace>/<dataset>/samples.parquet
                          features/                 parts, and features.json when complete
                          baselines.parquet         linear probes on pooled features
                          sweep.parquet, sweep.json what a sweep found, and what it chose
                          evaluation/               one table per protocol
                          runs/<model><variant>-seed<n>/
                                                    checkpoint/, epochs, predictions, metrics,
                                                    importance.arrow, units/,
                                                    interactions-<expert>.parquet,
                                                    report/ with index.html and figures

Every stage is a function of a ``Project``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from raymoe.config import Preset
from raymoe.project.workspace import Workspace

DEFAULT_WORKSPACE = "runs"


@dataclass(frozen=True)
class Project:
    """What a stage needs to know: the settings and the place."""

    preset: Preset
    workspace: Workspace
    dataset: str  # as the user typed it, for the commands that messages suggest
    settings: tuple[str, ...] = ()  # likewise, the --set options
    source: str | None = None  # likewise, --source
    variant: str = ""  # names the fields of a sweep that this run has, e.g. "-temperature_rw=2"

    @property
    def root(self) -> str:
        """The dataset's folder in the workspace."""
        return self.preset.name

    @property
    def samples(self) -> str:
        """The samples table."""
        return f"{self.root}/samples.parquet"

    @property
    def features(self) -> str:
        """The feature store's folder."""
        return f"{self.root}/features"

    @property
    def baselines(self) -> str:
        """Metrics of the linear probes."""
        return f"{self.root}/baselines.parquet"

    @property
    def run(self) -> str:
        """The folder of one trained model and all that is derived from it."""
        return f"{self.root}/runs/{self.preset.model.kind}{self.variant}-seed{self.preset.train.seed}"

    @property
    def sweep(self) -> str:
        """What a sweep of this kind of model found, without the file's ending; each kind has its own."""
        kind = self.preset.model.kind
        return f"{self.root}/sweep" if kind == "fl-i2moe" else f"{self.root}/sweep-{kind}"

    @property
    def report(self) -> str:
        """The report's folder."""
        return f"{self.run}/report"

    def command(self, stage: str, *words: str) -> str:
        """How a user runs a stage of this project; ``words`` follow the dataset."""
        line = ["raymoe", stage, self.dataset, *words]
        if self.workspace.uri != DEFAULT_WORKSPACE:
            line += ["--workspace", self.workspace.uri]
        if self.source is not None and stage != "evaluate":  # which makes nothing that is missing
            line += ["--source", self.source]
        data_only = stage in ("prepare", "encode")  # they depend on the data section alone
        for setting in self.settings:
            if not data_only or setting.startswith("data."):
                line += ["--set", setting]
        return shlex.join(line)


@dataclass(frozen=True)
class StageResult:
    """What a stage did.

    Attributes:
        path: where its output is.
        fingerprint: what later stages name as their parent.
        ran: False when the output was already there for the same inputs.
        skipped: samples left out, each ``{"sample_id", "row", "reason"}``.
    """

    path: str
    fingerprint: str
    ran: bool
    skipped: tuple[dict, ...] = ()
