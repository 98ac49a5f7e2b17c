"""What a sweep trains: every configuration with every seed, each an ordinary training in its own folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from raymoe.project import Project

# What a model without experts has no use for: sweeping it would train the same model again and again.
OF_EXPERTS = (
    "model.temperature_rw",
    "model.hidden_dim_rw",
    "model.num_layers_rw",
    "model.dropout_rw",
    "train.interaction_loss_weight",
    "train.expert_task_weight",
)
KIND = "model.kind"  # names the folder itself, and each kind has a table of its own


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        project: its settings and place; ``variant`` names the swept fields.
        fields: the swept fields and their values, the kind of model apart.
    """

    project: Project
    fields: dict[str, Any]

    @property
    def kind(self) -> str:
        """Which model it trains."""
        return self.project.preset.model.kind

    @property
    def seed(self) -> int:
        """Its training seed."""
        return self.project.preset.train.seed

    @property
    def configuration(self) -> str:
        """Its configuration as shown to the user; the same for all seeds."""
        return f"{self.kind}{self.project.variant}"

    @property
    def name(self) -> str:
        """The trial as shown to the user, and the last part of its folder."""
        return self.project.run.rsplit("/", 1)[1]


def trials_of(project: Project) -> list[Trial]:
    """All trials of the preset's sweep, kind by kind and configuration by configuration."""
    preset = project.preset
    found: dict[str, Trial] = {}
    for values in preset.sweep.configurations():
        changed = preset.with_fields(values)
        dense = changed.model.kind == "dense"
        # As the sections hold them: 2 and 2.0 are one temperature.
        fields = {key: _get(changed, key) for key in values if key != KIND}
        fields = {key: value for key, value in fields.items() if not (dense and key in OF_EXPERTS)}
        kind = {KIND: changed.model.kind}
        for seed in preset.sweep.seeds:
            of_trial = preset.with_fields({**fields, **kind, "train.seed": seed})
            trial = Trial(replace(project, preset=of_trial, variant=variant_of(fields)), fields)
            found.setdefault(trial.name, trial)
    return sorted(found.values(), key=lambda trial: trial.kind)  # stable: grid order within a kind


def by_configuration(trials: Iterable[Trial]) -> Iterator[list[Trial]]:
    """The trials of each configuration, which differ in the seed alone."""
    for _, group in groupby(trials, key=lambda trial: trial.configuration):
        yield list(group)


def variant_of(fields: dict[str, Any]) -> str:
    """What the folder of a run with these fields has in its name: ``-dropout=0.3-temperature_rw=2``.

    Args:
        fields: ``section.field`` to value; the order does not matter.
    """
    return "".join(f"-{key.partition('.')[2]}={_label(fields[key])}" for key in sorted(fields))


def _label(value: Any) -> str:
    text = repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9._+-]", "_", text)


def _get(preset: Any, key: str) -> Any:
    section, _, field = key.partition(".")
    return getattr(getattr(preset, section), field)
