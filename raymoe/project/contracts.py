"""The data contracts: name, version and columns of every table that several stages read.

Types are written as Arrow prints them, so that naming a contract costs no import of Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Contract:
    """Name, version and columns of a table. ``open`` tables may hold further columns.

    Attributes:
        columns: name to type: ``string``, ``int32``, ``int64``, ``float32``, ``float64``, or a list of one of
            them, ``list<int32>``.
    """

    name: str
    version: int
    columns: Mapping[str, str]
    open: bool = False

    @property
    def tag(self) -> str:
        """How the contract is written in a table's metadata."""
        return f"{self.name}/{self.version}"

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns as Arrow has them."""
        import pyarrow as pa

        return pa.schema({name: _arrow_type(text) for name, text in self.columns.items()})


def _arrow_type(text: str) -> pa.DataType:
    import pyarrow as pa

    if text.startswith("list<"):
        return pa.list_(_arrow_type(text.removeprefix("list<").removesuffix(">")))
    return pa.type_for_alias(text)


# One row per sample. Further columns: one per modality, string for text, binary (encoded picture) for images.
# Extra metadata: raymoe.classes, raymoe.task, raymoe.modalities {name: kind}, raymoe.skipped, raymoe.source.
SAMPLES = Contract(
    "samples",
    1,
    {"sample_id": "string", "split": "string", "labels": "list<int32>"},
    open=True,
)

# One row per sample, in the order of the samples table; the store is a folder of parts (features/store.py).
# Further columns, per modality m: m.features large_list<fixed_size_list<float16>[D]>, m.valid list<bool>,
# m.special list<bool>, m.pooled fixed_size_list<float32>[D], and for text m.tokens list<string>. Widths,
# lengths and grids are in the metadata raymoe.modalities.
# Version 2: tokens carry their tokenizer's marks (##ing), as all did before. Version 3: of texts whose
# modality says spans, tokens are what to show, and m.joined list<bool>, m.starts and m.stops list<int32> say
# the rest (features/text_pieces.py).
FEATURES = Contract(
    "features",
    2,
    {"sample_id": "string", "split": "string", "labels": "list<int32>"},
    open=True,
)
FEATURES_WITH_SPANS = Contract("features", 3, FEATURES.columns, open=True)

# Mean loss and validation scores of each epoch.
EPOCHS = Contract("epochs", 1, {"epoch": "int32", "train_loss": "float64"}, open=True)

# One row per sample of the validation and test split: what the model says.
PREDICTIONS = Contract(
    "predictions",
    1,
    {
        "sample_id": "string",
        "split": "string",
        "labels": "list<int32>",
        "logits": "list<float32>",  # [C]
        "expert_weights": "list<float32>",  # [E], in the order of raymoe.experts
        "expert_logits": "list<float32>",  # [E * C], expert by expert
    },
)

# One row per model, split and metric.
METRICS = Contract(
    "metrics",
    1,
    {"model": "string", "split": "string", "metric": "string", "value": "float64"},
)

# One row per trial of a sweep, split and metric; of a trial that was stopped or failed a single row. Further
# columns: one per swept field, named like model.temperature_rw.
SWEEP = Contract(
    "sweep",
    1,
    {
        "kind": "string",
        "variant": "string",
        "seed": "int32",
        "state": "string",  # finished, stopped (by --asha) or failed
        "split": "string",
        "metric": "string",
        "value": "float64",
        "epoch": "int32",  # the one whose weights were kept; of a stopped trial its last
        "checkpoint": "string",  # folder in the workspace
        "fingerprint": "string",  # of the checkpoint; null unless finished
        "error": "string",  # null unless failed
    },
    open=True,
)

# scores: one per position of the modality's sequence; special and invalid ones are 0, the rest in 0..1.
IMPORTANCE = Contract(
    "importance",
    1,
    {
        "sample_id": "string",
        "expert": "string",
        "modality": "string",
        "method": "string",
        "target": "string",
        "scores": "list<float32>",
    },
)

# u and v are positions in their modalities' sequences. A mean over contexts times n_coalitions is its sum;
# sums of squares and products are what the errors come from (interactions/sums.py), so that tables merge:
# over coalitions where these are independent, over contrasts between neighbouring strata elsewhere.
TERMS = (
    "delta",
    "base",
    "span",
    "synergy",
    "redundancy",
    "antagonism",
    "smaller_gain",
    "redundancy_against",
    "pair_specific",
)
SQUARES = (*(f"{term}_sq" for term in TERMS), "base_span", "redundancy_smaller_gain")
SUMS = (
    *(f"sum_{name}" for name in SQUARES),
    *(f"contrast_{name}" for name in SQUARES),
    *(f"block_{term}_sq" for term in TERMS),
)
SCORES = (
    "sii",
    "pair_specific",
    "synergy",
    "redundancy",
    "antagonism",
    "substitutability",
    "redundancy_against",
    "redundancy_gap",
)
INTERACTIONS = Contract(
    "interactions",
    4,
    {
        "sample_id": "string",
        "expert": "string",
        "target": "string",
        "bin": "int32",
        "u_modality": "string",
        "u": "int32",
        "v_modality": "string",
        "v": "int32",
        "n_coalitions": "int64",
        **{
            column: kind
            for score in SCORES
            for column, kind in ((score, "float64"), (f"{score}_stderr", "float32"))
        },
        "base_mean": "float64",
        "span_mean": "float64",
        "smaller_gain_mean": "float64",
        "n_contrasts": "int64",
        "n_blocks": "int64",
        **{name: "float32" for name in SUMS},
    },
)

# The same scores where features are taken out of the input. u and v are numbers of words and of regions;
# places say where these are: of a word its first character and the one after its last, of a region left, top,
# right and bottom as fractions of the upright picture.
_PLACES = {"text": "string", "place": "list<float64>"}
INPUT_INTERACTIONS = Contract(
    "input-interactions",
    1,
    {**INTERACTIONS.columns, **{f"{side}_{name}": kind for side in "uv" for name, kind in _PLACES.items()}},
)
