"""A preset: one object per stage, which is everything that defines a run on one dataset."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, field_validator, model_validator

from raymoe.config.data import AnyData
from raymoe.config.explaining import AttributeConfig, ProbeConfig, ReportConfig
from raymoe.config.model import ModelConfig
from raymoe.config.paths import DATASET, dataset_name
from raymoe.config.problems import problems
from raymoe.config.section import Section
from raymoe.config.training import SweepConfig, TrainConfig
from raymoe.errors import InputError
from raymoe.runtime.quoting import quoted

SWEPT = ("model", "train")  # the sections whose fields a sweep can vary


class Preset(Section):
    """Everything that defines a run on one dataset."""

    name: str
    """the dataset's folder in the workspace: letters a to z, digits, `.`, `_` and `-`; by default of the
    file's name"""
    data: AnyData
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    sweep: SweepConfig = SweepConfig()
    attribute: AttributeConfig = AttributeConfig()
    probe: ProbeConfig = ProbeConfig()
    report: ReportConfig = ReportConfig()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not DATASET.fullmatch(value):
            raise ValueError(
                f"{quoted(value)} can't name a folder of results: letters a to z, digits, '.', '_' and '-' "
                f"can, as in {dataset_name(value)!r}"
            )
        return value

    def with_fields(self, fields: dict[str, Any]) -> Preset:
        """The preset with some fields of its sections changed, for instance ``{"model.dropout": 0.3}``.

        Raises:
            ValidationError: a value is out of range, or they don't go together.
        """
        sections: dict[str, dict[str, Any]] = {}
        for key, value in fields.items():
            section, _, field = key.partition(".")
            sections.setdefault(section, getattr(self, section).model_dump())[field] = value
        changed = {name: type(getattr(self, name)).model_validate(s) for name, s in sections.items()}
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _sweep_is_possible(self) -> Preset:
        """Every trial of a sweep has to be valid before the first one starts."""
        for key, values in self.sweep.grid.items():
            section, _, field = key.partition(".")
            fields = type(getattr(self, section)).model_fields if section in SWEPT else {}
            if field not in fields or key == "train.seed":
                raise InputError(
                    f"sweep.grid: {key!r} can't be swept",
                    "Seeds are sweep.seeds (--set sweep.seeds=[0,1,2])."
                    if key == "train.seed"
                    else f"Name a field of {' or '.join(SWEPT)}: "
                    + ", ".join(f"{s}.{f}" for s in SWEPT for f in type(getattr(self, s)).model_fields),
                )
            if not values:
                raise InputError(f"sweep.grid: {key} has no values", f"For instance --grid {key}=VALUE,VALUE")
        for configuration in self.sweep.configurations():
            try:
                self.with_fields(configuration)
            except ValidationError as error:
                what = ", ".join(f"{key}={value}" for key, value in configuration.items())
                raise InputError(
                    f"the sweep's configuration {what} is not possible: {problems(error)}",
                    "Leave that value out.",
                ) from None
        return self


# Those that are one table of fields; the data section's fields depend on its format.
PLAIN_SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "train": TrainConfig,
    "sweep": SweepConfig,
    "attribute": AttributeConfig,
    "probe": ProbeConfig,
    "report": ReportConfig,
}
SECTIONS = ("data", *PLAIN_SECTIONS)
