"""A dataset in a workspace: its settings, its folders, and the commands that a user would type.

Every stage is a function of a ``Project``. What they write there is listed in artifacts.py.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raymoe.project.provenance import Skipped

if TYPE_CHECKING:  # `raymoe --help` need wait neither for pydantic nor for Arrow
    from raymoe.config import Preset
    from raymoe.project.workspace import Workspace

DEFAULT_WORKSPACE = "runs"
OF_DATA_ALONE = ("prepare", "encode")  # commands that depend on the data section alone
WITHOUT_SEED = ("prepare", "encode", "baselines", "sweep")  # those before a training, or of many seeds
WITHOUT_SOURCE = ("evaluate",)  # it makes nothing that is missing


@dataclass(frozen=True)
class Project:
    """What a stage needs to know: the settings and the place."""

    preset: Preset
    workspace: Workspace
    dataset: str  # as the user typed it, for the commands that messages suggest
    settings: tuple[str, ...] = ()  # likewise, the --set options
    source: str | None = None  # likewise, --source
    seed: int | None = None  # likewise, --seed; the preset has it already
    variant: str = ""  # names the fields of a sweep that this run has, e.g. "-temperature_rw=2"
    asked: Project | None = None  # without what a sweep chose, where that was applied (chosen.py)

    @property
    def root(self) -> str:
        """The dataset's folder in the workspace."""
        return self.preset.name

    @property
    def run(self) -> str:
        """The folder of one trained model and all that is derived from it."""
        return f"{self.root}/runs/{self.preset.model.kind}{self.variant}-seed{self.preset.train.seed}"

    @property
    def sweep(self) -> str:
        """What a sweep of this kind of model found, without the file's ending; each kind has its own."""
        kind = self.preset.model.kind
        return f"{self.root}/sweep" if kind == "fl-i2moe" else f"{self.root}/sweep-{kind}"

    def with_seed(self, seed: int) -> Project:
        """The same with another training seed, as if the user had given ``--seed``."""
        if seed == self.preset.train.seed:
            return self
        return replace(self, preset=self.preset.with_fields({"train.seed": seed}), seed=seed)

    def with_kind(self, kind: str) -> Project:
        """The same with another kind of model, as if the user had given ``--set model.kind=...``.

        What a sweep chose for this kind is not chosen for that one: it is left out.
        """
        if kind == self.preset.model.kind:
            return self
        asked = self.asked or self
        settings = (*asked.settings, f"model.kind={kind}")
        return replace(asked, preset=asked.preset.with_fields({"model.kind": kind}), settings=settings)

    def command(self, stage: str, *words: str) -> str:
        """How a user runs a stage of this project: with the options that they gave.

        Args:
            stage: the command's first word after ``raymoe``.
            words: what follows the dataset, such as the name of an experiment.
        """
        line = ["raymoe", stage, self.dataset, *words]
        if self.workspace.uri != DEFAULT_WORKSPACE:
            line += ["--workspace", self.workspace.uri]
        if self.source is not None and stage not in WITHOUT_SOURCE:
            line += ["--source", self.source]
        if self.seed is not None and stage not in WITHOUT_SEED:
            line += ["--seed", str(self.seed)]
        for setting in self.settings:
            if stage not in OF_DATA_ALONE or setting.startswith("data."):
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
    skipped: tuple[Skipped, ...] = ()
