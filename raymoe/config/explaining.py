"""The attribute, probe and report sections: what is explained, with what effort, and what is shown of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from raymoe.catalogue import ALL, ESTIMATORS, MIXTURE
from raymoe.config.problems import likely_first
from raymoe.config.section import Section
from raymoe.errors import InputError
from raymoe.runtime.quoting import quoted


class AttributeConfig(Section):
    """Expert-wise feature importance."""

    method: Literal["grad_attnroll", "attnroll", "ig", "random"] = "grad_attnroll"
    """attention rollout with or without gradients, integrated gradients, or the random baseline"""
    target: Literal["true", "predicted"] = "true"
    """the classes whose logits are explained"""
    split: str = "test"
    """the split whose samples are explained"""
    steps: int = Field(128, ge=1)
    """of `ig`: points of the integral"""
    seed: int = Field(0, ge=0)
    """of `random`"""
    batch_size: int = Field(16, ge=1)
    """samples at once"""

    def defining(self) -> dict[str, Any]:
        """The settings that what comes out depends on."""
        others = {"steps": "ig", "seed": "random"}
        useless = {name for name, method in others.items() if method != self.method}
        return self.model_dump(exclude={"batch_size", *useless})

    def refuse_model(self, kind: str) -> None:
        """Refuse a kind of model that has nothing to attribute to.

        Raises:
            InputError: it is an i2moe.
        """
        if kind == "i2moe":
            raise InputError(
                "i2moe works on pooled vectors: there are no tokens or patches to attribute to",
                "Attribute a model of kind fl-i2moe or dense.",
            )

    def refuse_split(self, splits: Collection[str], path: str) -> None:
        """Refuse a split that has no samples.

        Args:
            splits: those that have.
            path: where the samples are, for the message.

        Raises:
            InputError: says which there are.
        """
        if self.split not in splits:
            raise InputError(
                f"{path} has no sample in the split {self.split!r}",
                f"Choose one of {', '.join(sorted(splits))} with --set attribute.split=NAME.",
            )


class ProbeConfig(Section):
    """Which pairs to measure, with what effort."""

    experts: tuple[str, ...] = ("synergy", "redundancy")
    """the experts whose interactions are measured: names, `all`, and `mixture`, what they say together"""
    rho: float = Field(0.3, gt=0, le=1)
    """share of each modality's features in the universe"""
    min_features: int = Field(1, ge=1)
    """but at least so many of each modality, where it has them"""
    num_bins: int = Field(1, ge=1)
    """importance bins; pairs are formed within a bin"""
    estimator: str = Field("shared", json_schema_extra={"enum": list(ESTIMATORS)})
    """how interactions are estimated: see docs/interactions.md"""
    coalitions: int = Field(32, ge=4)
    """per sample and expert; `paper` draws as many contexts for each pair, `auto`, `surrogate` and
    `adaptive` spend what `shared` would on so many"""
    index: Literal["sii", "banzhaf"] = "sii"
    """the law of contexts: `sii` draws their size first, uniformly; with `banzhaf` every feature is in a
    context independently, with probability `inclusion`"""
    inclusion: float = Field(0.5, gt=0, lt=1)
    """of `banzhaf`"""
    mask: Literal["zero", "input"] = "zero"
    """how a feature is taken away: `zero` puts the zero vector in its place after the encoder, as the paper
    does; `input` takes words out of the text and regions out of the picture before the encoder, and writes
    tables of its own"""
    regions: str = Field("3x3", pattern=r"^[1-9]\d?x[1-9]\d?$")
    """of `input`: rows x columns that a picture is cut into"""
    fill: Literal["white", "mean", "blur"] = "white"
    """of `input`: what takes the place of a region: white, the picture's mean colour, the region blurred"""
    words: int = Field(12, ge=1)
    """of `input`: the most words of a text that can be taken out, the most important ones; others stay"""
    samples: tuple[str, ...] = ()
    """of `input`: ids of the samples to measure; empty: all that were attributed"""
    precision: Literal["float32", "float64"] = "float32"
    """of the evaluations; float32 is without TF32"""
    seed: int = Field(0, ge=0)
    """what the coalitions are drawn from"""
    max_samples: int | None = Field(None, ge=1)
    """the first so many samples of the split, in table order; not set: all"""
    unit_evaluations: int | None = Field(None, ge=1)
    """a work unit is about so many model evaluations; not set, or "auto": as many as take half a second on
    the device that the run begins on"""

    @field_validator("experts", "samples", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Names as they are typed: ``synergy,mixture``."""
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @field_validator("unit_evaluations", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("estimator")
    @classmethod
    def _listed(cls, value: str) -> str:
        if value not in ESTIMATORS:
            *most, last = map(repr, ESTIMATORS)
            expected = f"{', '.join(most)} or {last}"
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return value

    def defining(self) -> dict[str, Any]:
        """The settings that what comes out depends on.

        The usual law of contexts goes without saying: tables from before there was a choice are of it. So
        does masking with zero vectors; masking at the input takes its players by rules of its own.
        """
        useless = {"index", "inclusion"} if self.index == "sii" else set()
        if self.mask == "zero":
            useless |= {"mask", "regions", "fill", "words", "samples"}
        else:
            useless |= {"rho", "min_features", "num_bins"} | (set() if self.samples else {"samples"})
        return self.model_dump(mode="json", exclude={"unit_evaluations", *useless})

    def experts_among(self, known: Sequence[str]) -> tuple[str, ...]:
        """The experts that are measured, by name: ``all`` are the model's, and ``mixture`` is one more.

        Args:
            known: those that the model has, in its order.

        Raises:
            InputError: it names none, or some that the model does not have; says which it has.
        """
        possible = (*known, ALL, MIXTURE)
        unknown = [expert for expert in self.experts if expert not in possible]
        if unknown:
            named = ", ".join(map(quoted, unknown))
            raise InputError(
                f"probe.experts names {named}, which the model will not have",
                f"Its experts: {', '.join(likely_first(unknown[0], possible))}.",
            )
        if not self.experts:
            raise InputError("probe.experts is empty", f"The model's experts: {', '.join(possible)}.")
        found: dict[str, None] = {}
        for name in self.experts:
            found |= dict.fromkeys(known if name == ALL else [name])
        return tuple(found)

    @property
    def region_grid(self) -> tuple[int, int]:
        """Rows and columns of regions."""
        rows, cols = map(int, self.regions.split("x"))
        return rows, cols

    @model_validator(mode="after")
    def _enough(self) -> ProbeConfig:
        least = ESTIMATORS[self.estimator].min_coalitions
        if self.coalitions < least:
            raise ValueError(
                f"coalitions must be at least {least} for {self.estimator}, not {self.coalitions}"
            )
        return self


class ReportConfig(Section):
    """What the page shows."""

    samples: Annotated[int, Field(ge=1)] | Literal["all"] = 24
    """samples that can be looked at"""
    pairs: int = Field(8, ge=1)
    """top pairs drawn as links per sample, expert and score"""
    listed: int = Field(40, ge=1)
    """top pairs in the list, which tell a word or patch its partners"""
    seed: int = Field(0, ge=0)
    """of the samples that are drawn at random beside the strongest"""
