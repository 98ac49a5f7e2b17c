"""The sweep section, and the configurations that it stands for."""

from __future__ import annotations

import itertools
import math
import random
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from raymoe.config.section import Section
from raymoe.errors import InputError

MAX_CONFIGURATIONS = 10_000


class SweepConfig(Section):
    """Seeds times configurations; a configuration is one value for each field of the grid."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    """training seeds of each configuration"""
    # The paper adjusts it on validation, slightly, from the 2 of I2MoE.
    temperatures: tuple[float, ...] = Field((1.0, 2.0, 4.0), min_length=1)
    """values of `model.temperature_rw`"""
    grid: dict[str, tuple[Any, ...]] = Field({})
    """values of any other fields of model and train, for instance `{"model.dropout" = [0.3, 0.5]}`"""
    random: int | None = Field(None, ge=1)
    """only so many configurations of the grid, drawn at random; not set: all"""
    asha: bool = False
    """stop trials early that fall behind (asynchronous successive halving)"""
    trials_per_gpu: int = Field(2, ge=1)
    """how many trials share a GPU"""

    @field_validator("grid", mode="before")
    @classmethod
    def _flat(cls, grid: Any) -> Any:
        """TOML reads an unquoted ``model.dropout = [...]`` as a table in a table."""
        if not isinstance(grid, dict):
            return grid
        flat: dict[str, Any] = {}
        for key, value in grid.items():
            flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        return flat

    @model_validator(mode="after")
    def _distinct(self) -> SweepConfig:
        for name, values in {"seeds": self.seeds, "temperatures": self.temperatures, **self.grid}.items():
            twice = [value for i, value in enumerate(values) if value in values[:i]]
            if twice:
                raise ValueError(f"{name} has {twice[0]!r} twice")
        return self

    def configurations(self) -> list[dict[str, Any]]:
        """Every combination, or the drawn ones, in the order of the grid: field to value.

        Raises:
            InputError: more than ``MAX_CONFIGURATIONS`` of them.
        """
        values = {"model.temperature_rw": self.temperatures, **self.grid}
        total = math.prod(map(len, values.values()))
        if min(total, self.random or total) > MAX_CONFIGURATIONS:
            raise InputError(
                f"the grid of the sweep has {total:,} configurations, more than {MAX_CONFIGURATIONS:,}",
                "Take fewer values, or draw some of them with --random N.",
            )
        if self.random is None or self.random >= total:
            return [dict(zip(values, c, strict=True)) for c in itertools.product(*values.values())]
        found = []
        for index in sorted(random.Random(0).sample(range(total), self.random)):
            chosen = {}
            for field, choices in reversed(values.items()):
                index, at = divmod(index, len(choices))
                chosen[field] = choices[at]
            found.append({field: chosen[field] for field in values})
        return found
