"""The probe section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from raymoe.config.section import Section


class ProbeConfig(Section):
    """Which pairs to measure, with what effort."""

    experts: tuple[str, ...] = ("synergy", "redundancy")
    """the experts whose interactions are measured"""
    rho: float = Field(0.3, gt=0, le=1)
    """share of each modality's features in the universe"""
    min_features: int = Field(1, ge=1)
    """but at least so many of each modality, where it has them"""
    num_bins: int = Field(1, ge=1)
    """importance bins; pairs are formed within a bin"""
    estimator: Literal["shared", "surrogate", "adaptive", "exact", "paper"] = "shared"
    """how interactions are estimated: see docs/interactions.md"""
    coalitions: int = Field(32, ge=4)
    """per sample and expert; the other estimators get what `shared` would spend on so many"""
    precision: Literal["float32", "float64"] = "float32"
    """of the evaluations; float32 is without TF32"""
    seed: int = Field(0, ge=0)
    """what the coalitions are drawn from"""
    max_samples: int | None = Field(None, ge=1)
    """the first so many samples of the split, in table order; not set: all"""
    unit_evaluations: int | None = Field(None, ge=1)
    """a work unit is about so many model evaluations; not set, or "auto": as many as take half a second on
    the device that the run begins on"""

    @field_validator("unit_evaluations", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return None if value == "auto" else value

    @model_validator(mode="after")
    def _enough(self) -> ProbeConfig:
        least = {"surrogate": 16, "adaptive": 32}.get(self.estimator, 4)
        if self.coalitions < least:
            raise ValueError(
                f"coalitions must be at least {least} for {self.estimator}, not {self.coalitions}"
            )
        return self
