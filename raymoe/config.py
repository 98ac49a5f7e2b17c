"""Every setting of every stage, as validated data; presets are rows of a table, not code paths.

A ``Preset`` holds one object per stage. ``load_preset`` finds one by name or reads it from a TOML file of
the user's own, and applies ``section.field=value`` overrides. Nothing here imports torch or Ray.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from raymoe.errors import InputError

Task = Literal["multilabel", "multiclass", "binary"]
Metric = Literal["micro_f1", "macro_f1", "accuracy"]


class Section(BaseModel):
    """Base of every configuration object: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderConfig(Section):
    """A frozen encoder.

    ``source`` is ``package:all-MiniLM-L6-v2``, ``package:efficientnet-lite0``, or ``hf:`` and the name or
    local folder of a Hugging Face model.
    """

    source: str
    layer: int = -1  # which hidden layer to take; -1 is the last
    max_length: int = Field(320, ge=3)  # tokens kept of a text, special ones included; no meaning for images
    drop_cls: bool = False  # leave the CLS position out instead of keeping it always active
    # What stands for the whole sample: the mean of the positions that aren't special, the CLS position, or
    # the model's own pooled output (pooler_output).
    pooling: Literal["mean", "cls", "model"] = "mean"
    # float16 and bfloat16: mixed precision, on a GPU only. Features are computed once and used for ever, so
    # the default is the exact one.
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: int = Field(32, ge=1)


class ModalityConfig(Section):
    """One modality: where it comes from in the raw table and what encodes it.

    A text may come from several columns, joined by ". "; the first one must not be empty.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["text", "image"]
    columns: tuple[str, ...] = Field(min_length=1)
    encoder: EncoderConfig


class DataConfig(Section):
    """The raw table: Parquet, CSV or JSON Lines with an id, a split, labels and a column per modality."""

    source: str  # path of the table; relative to the preset's file, or "embedded:NAME" for packaged data
    task: Task
    classes: tuple[str, ...] = Field(min_length=2)
    id_column: str = "sample_id"
    split_column: str = "split"
    labels_column: str = "labels"  # list of class indices or names; one of them when the task has one label
    empty_text: Literal["skip", "keep"] = "skip"  # keep: such a sample has only the special tokens
    modalities: tuple[ModalityConfig, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _distinct(self) -> DataConfig:
        names = [m.name for m in self.modalities]
        taken = sorted({"sample_id", "split", "labels"} & set(names))
        if taken:
            raise ValueError(
                f"a modality can't be called {', '.join(taken)}: the tables have columns of that name"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"modality names must differ, got {names}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ")
        return self


class ModelConfig(Section):
    """FL-I2MoE's shape; defaults are those of the paper's MM-IMDb recipe."""

    hidden_dim: int = Field(256, ge=4)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(4, ge=1)
    ffn_ratio: int = Field(2, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    dropout_attention: float | None = Field(None, ge=0, lt=1)  # of attention weights; None: as dropout
    temperature_rw: float = Field(2.0, gt=0)
    hidden_dim_rw: int = Field(256, ge=1)
    num_layers_rw: int = Field(2, ge=1)
    dropout_rw: float = Field(0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelConfig:
        if self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim {self.hidden_dim} is not a multiple of num_heads {self.num_heads}")
        if self.hidden_dim % 2:
            raise ValueError("hidden_dim must be even (sinusoidal position code)")
        return self


class TrainConfig(Section):
    """Optimisation and model selection."""

    seed: int = Field(0, ge=0)
    epochs: int = Field(40, ge=1)
    batch_size: int = Field(32, ge=1)
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    interaction_loss_weight: float = Field(0.5, ge=0)
    expert_task_weight: float = Field(0.0, ge=0)  # >0: every expert also learns the task, so none dies
    positive_weight: float = Field(1.0, gt=0)  # multi-label: weight of a class that is there in the task loss
    selection: Metric = "macro_f1"
    patience: int | None = Field(None, ge=1)  # stop after so many epochs without a better validation score


class AttributeConfig(Section):
    """Expert-wise feature importance."""

    method: Literal["grad_attnroll"] = "grad_attnroll"
    target: Literal["true", "predicted"] = "true"
    split: str = "test"
    batch_size: int = Field(16, ge=1)


class ProbeConfig(Section):
    """Which pairs to measure, with what effort."""

    experts: tuple[str, ...] = ("synergy", "redundancy")
    rho: float = Field(0.3, gt=0, le=1)  # share of each modality's features in the universe
    min_features: int = Field(1, ge=1)  # but at least so many of each modality, where it has them
    num_bins: int = Field(1, ge=1)  # importance bins; pairs are formed within a bin
    estimator: Literal["shared", "surrogate", "adaptive", "exact", "paper"] = "shared"
    coalitions: int = Field(32, ge=4)  # per sample and expert; other estimators get what shared would spend
    precision: Literal["float32", "float64"] = "float32"  # float32 without TF32
    seed: int = Field(0, ge=0)
    max_samples: int | None = Field(None, ge=1)  # the first so many of the split, in table order
    unit_evaluations: int = Field(16384, ge=1)  # a work unit is about this many model evaluations

    @model_validator(mode="after")
    def _enough(self) -> ProbeConfig:
        least = {"surrogate": 16, "adaptive": 32}.get(self.estimator, 4)
        if self.coalitions < least:
            raise ValueError(
                f"coalitions must be at least {least} for {self.estimator}, not {self.coalitions}"
            )
        return self


class ReportConfig(Section):
    """What the page shows."""

    samples: int = Field(24, ge=1)  # samples that can be looked at
    pairs: int = Field(8, ge=1)  # top pairs drawn per sample, expert and score
    seed: int = Field(0, ge=0)


class Preset(Section):
    """Everything that defines a run on one dataset."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    data: DataConfig
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    attribute: AttributeConfig = AttributeConfig()
    probe: ProbeConfig = ProbeConfig()
    report: ReportConfig = ReportConfig()


DEMO_CLASSES = [
    "people", "animal", "mammal", "bird", "insect", "food", "fruit", "dessert", "beverage",
    "transport", "flag", "sign", "symbol", "building", "plant", "tool", "office", "music", "sports",
    "holiday", "clothing", "map", "arrow", "geography", "pattern",
]  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "demo": {
        "name": "demo",
        "data": {
            "source": "embedded:openclipart.parquet",
            "task": "multilabel",
            "classes": DEMO_CLASSES,
            "modalities": [
                {
                    "name": "text",
                    "kind": "text",
                    "columns": ["title", "description"],
                    "encoder": {"source": "package:all-MiniLM-L6-v2", "max_length": 32, "batch_size": 32},
                },
                {
                    "name": "image",
                    "kind": "image",
                    "columns": ["image"],
                    "encoder": {"source": "package:efficientnet-lite0", "batch_size": 4},
                },
            ],
        },
        # Chosen on the validation split, for two minutes on two cores. At the temperature 2 of the paper and
        # loss weight 0.5 the gate gives nearly all weight to the redundancy expert on data this small; a
        # flatter gate, weaker interaction losses and a task loss of every expert's own keep all of them in
        # use. Classes are rare (1.4 of 25 per sample), so one that is there counts more. Dropout of attention
        # weights costs much time on a CPU.
        "model": {
            "hidden_dim": 64,
            "num_heads": 2,
            "dropout": 0.3,
            "dropout_attention": 0.0,
            "temperature_rw": 10.0,
            "hidden_dim_rw": 64,
            "dropout_rw": 0.1,
        },
        "train": {
            "epochs": 7,
            "lr": 2e-3,
            "weight_decay": 1.5e-4,  # validates a little better, and smaller logits have smaller roundings
            "interaction_loss_weight": 0.1,
            "expert_task_weight": 1.0,
            "positive_weight": 4.0,
            "selection": "micro_f1",
        },
        "probe": {"min_features": 4},
    },
}


def load_preset(dataset: str, overrides: list[str] | None = None) -> Preset:
    """A preset by name, or from the user's own TOML file, with ``section.field=value`` overrides applied.

    Raises:
        InputError: an unknown name, an unreadable file, an unknown field or a value out of range.
    """
    if dataset in PRESETS:
        raw = json.loads(json.dumps(PRESETS[dataset]))
        where = f"preset {dataset!r}"
    elif dataset.endswith(".toml"):
        raw = _read_toml(Path(dataset))
        where = dataset
    else:
        raise InputError(
            f"unknown dataset {dataset!r}",
            f"Presets: {', '.join(sorted(PRESETS))}. For data of your own give the path of a .toml file "
            "(README, 'Your own data').",
        )
    for override in overrides or []:
        _apply(raw, override)
    try:
        return Preset.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(
            f"{where} doesn't validate: {problems}", "Correct those fields, or the --set that changed them."
        ) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}", f"Give a preset ({', '.join(sorted(PRESETS))}) or a TOML file."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} can't be read as TOML: {error}", "Correct the file.") from None
    data = raw.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if isinstance(source, str) and not source.startswith("embedded:"):
        raw["data"]["source"] = str((path.parent / source).resolve())
    raw.setdefault("name", path.stem)
    return raw


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one field; the value is read as JSON where it is JSON, else as a string."""
    key, separator, value = override.partition("=")
    section, dot, field = key.strip().partition(".")
    sections = [name for name in Preset.model_fields if name not in ("name", "data")]
    if not separator or not dot:
        raise InputError(
            f"--set {override!r} is not of the form section.field=value", f"Sections: {', '.join(sections)}."
        )
    if section not in sections:
        raise InputError(f"--set {override!r}: no section {section!r}", f"Sections: {', '.join(sections)}.")
    fields = Preset.model_fields[section].annotation.model_fields
    if field not in fields:
        raise InputError(
            f"--set {override!r}: {section} has no field {field!r}", f"Fields: {', '.join(fields)}."
        )
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        parsed = value
    if not isinstance(raw.setdefault(section, {}), dict):
        raise InputError(
            f"{section} is not a table of fields", f"Write [{section}] and its fields in the file."
        )
    raw[section][field] = parsed
