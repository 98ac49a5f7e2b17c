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
FEATURES = Contract(
    "features",
    2,
    {"sample_id": "string", "split": "string", "labels": "list<int32>"},
    open=True,
)

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

# One row per kind of model and metric, over the seeds that finished, in per cent. low and high are a 95 %
# interval over samples, null where the runs are gone; paper_* and difference are null where the paper has no
# such figure.
COMPARISON = Contract(
    "comparison",
    2,
    {
        "kind": "string",
        "variant": "string",
        "metric": "string",
        "seeds": "list<int32>",
        "mean": "float64",
        "std": "float64",  # null for a single seed
        "low": "float64",
        "high": "float64",
        "paper_mean": "float64",
        "paper_std": "float64",
        "difference": "float64",
    },
)

# One row per run, expert, method and share (K, per cent) of each modality's features that is zeroed. drop is
# base - masked, fractions; comprehensiveness and sufficiency are falls of the predicted classes' probability.
FAITHFULNESS = Contract(
    "faithfulness",
    1,
    {
        "kind": "string",
        "variant": "string",
        "seed": "int32",
        "expert": "string",
        "method": "string",
        "share": "int32",
        "metric": "string",
        "base": "float64",
        "masked": "float64",
        "drop": "float64",
        "comprehensiveness": "float64",
        "sufficiency": "float64",
    },
)

# Means over shares and seeds per kind of model, expert (or "all experts") and method. *_low and *_high are
# 95 % intervals of a paired bootstrap over samples, drop_std the deviation over seeds (null for one).
FAITHFULNESS_SUMMARY = Contract(
    "faithfulness-summary",
    1,
    {
        "kind": "string",
        "variant": "string",
        "seeds": "list<int32>",
        "expert": "string",
        "method": "string",
        "metric": "string",
        **dict.fromkeys(("drop", "drop_low", "drop_high", "drop_std"), "float64"),
        **dict.fromkeys(("over_random", "over_random_low", "over_random_high"), "float64"),
        "comprehensiveness": "float64",
        "sufficiency": "float64",
    },
)

# One row per seed (null: mean over seeds), expert, score, importance bin and q (``top``, per cent): the mean
# score of the top pairs with a 95 % interval over samples and its deviation over seeds (null for one), and
# the mean standard error of the bin's pairs (Monte Carlo). pairs are those of all the row's seeds.
ALIGNMENT = Contract(
    "alignment",
    2,
    {
        "seed": "int32",
        "expert": "string",
        "score": "string",
        "bin": "string",
        "top": "int32",
        **dict.fromkeys(("mean", "low", "high", "std"), "float64"),
        "pairs": "int64",
        "samples": "int64",
        "stderr": "float64",
    },
)

# One row per seed (null: mean over seeds), expert, score, share (K, per cent of the candidate pairs) and
# masking: "original", "random pairs", "random pairs, as many features" or "ranked pairs". drop is original -
# value, fractions; *_low and *_high are 95 % intervals of a paired bootstrap over samples, *_std deviations
# over seeds (null for one); pairs and features are mean numbers per sample, the latter of those zeroed.
PAIR_MASKING = Contract(
    "pair-masking",
    2,
    {
        "seed": "int32",
        "expert": "string",
        "score": "string",
        "share": "int32",
        "masking": "string",
        "metric": "string",
        **dict.fromkeys(("value", "value_low", "value_high", "value_std"), "float64"),
        **dict.fromkeys(("drop", "drop_low", "drop_high", "drop_std"), "float64"),
        "pairs": "float64",
        "features": "float64",
        "samples": "int64",
        "paper": "float64",  # the paper's value, null where it has none
    },
)

# One row per run, modality, disturbance ("noise" or "missing"), level and quantity: a metric,
# "expert_weight", "rank_correlation" or "top_overlap" (of the pairs' scores with the undisturbed ones).
# expert and score are null where a quantity has none; level 0 is undisturbed.
ROBUSTNESS = Contract(
    "robustness",
    1,
    {
        "kind": "string",
        "variant": "string",
        "seed": "int32",
        "modality": "string",
        "disturbance": "string",
        "level": "float64",
        "quantity": "string",
        "expert": "string",
        "score": "string",
        **dict.fromkeys(("value", "low", "high"), "float64"),
        "samples": "int64",
    },
)

# Ground truth of planted interactions. One row per seed (null: mean over seeds), expert, kind of interaction,
# method (sii, -sii, redundancy_gap, product, attention, random) and measure (average_precision, auroc,
# precision_at_k): how well the method's scores find the true pairs. chance is what random scores would have.
PLANTED = Contract(
    "planted",
    1,
    {
        "seed": "int32",
        "expert": "string",
        "interaction": "string",
        "method": "string",
        "measure": "string",
        **dict.fromkeys(("value", "low", "high", "chance"), "float64"),
        "positives": "int64",
        "pairs": "int64",
        "samples": "int64",
    },
)

# Does each expert do what its name says? One row per seed (null: mean over seeds), expert, kind of planted
# interaction and quantity, such as its weight in the mixture, or how well it alone tells the class.
PLANTED_EXPERTS = Contract(
    "planted-experts",
    1,
    {
        "seed": "int32",
        "expert": "string",
        "interaction": "string",
        "quantity": "string",
        **dict.fromkeys(("value", "low", "high"), "float64"),
        "samples": "int64",
    },
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

# u and v are positions in their modalities' sequences. The sums are what the scores come from, so that tables
# merge: over coalitions, and over contrasts between neighbouring strata (interactions/sums.py).
SUMS = (
    "sum_delta",
    "sum_base",
    "sum_span",
    "sum_delta_sq",
    "sum_base_sq",
    "sum_span_sq",
    "sum_base_span",
    "contrast_delta_sq",
    "contrast_base_sq",
    "contrast_span_sq",
    "contrast_base_span",
    "block_delta_sq",
    "block_base_sq",
    "block_span_sq",
)
INTERACTIONS = Contract(
    "interactions",
    2,
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
        "sii": "float64",
        "sii_stderr": "float64",
        "base_mean": "float64",
        "span_mean": "float64",
        "redundancy_gap": "float64",
        "redundancy_gap_stderr": "float64",
        "n_contrasts": "int64",
        "n_blocks": "int64",
        **{name: "float64" for name in SUMS},
    },
)
