"""The data contracts: name, version and columns of every table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Contract:
    """Name, version and columns of a table. ``open`` tables may hold further columns."""

    name: str
    version: int
    schema: pa.Schema
    open: bool = False

    @property
    def tag(self) -> str:
        """How the contract is written in a table's metadata."""
        return f"{self.name}/{self.version}"


# One row per sample. Further columns: one per modality, string for text, binary (encoded picture) for images.
# Extra metadata: raymoe.classes, raymoe.task, raymoe.modalities {name: kind}, raymoe.skipped, raymoe.source.
SAMPLES = Contract(
    "samples",
    1,
    pa.schema({"sample_id": pa.string(), "split": pa.string(), "labels": pa.list_(pa.int32())}),
    open=True,
)

# One row per sample, in the order of the samples table; the store is a folder of parts (features/store.py).
# Further columns, per modality m: m.features large_list<fixed_size_list<float16>[D]>, m.valid list<bool>,
# m.special list<bool>, m.pooled fixed_size_list<float32>[D], and for text m.tokens list<string>. Widths,
# lengths and grids are in the metadata raymoe.modalities.
FEATURES = Contract(
    "features",
    2,
    pa.schema({"sample_id": pa.string(), "split": pa.string(), "labels": pa.list_(pa.int32())}),
    open=True,
)

# Mean loss and validation scores of each epoch.
EPOCHS = Contract("epochs", 1, pa.schema({"epoch": pa.int32(), "train_loss": pa.float64()}), open=True)

# One row per sample of the validation and test split: what the model says.
PREDICTIONS = Contract(
    "predictions",
    1,
    pa.schema(
        {
            "sample_id": pa.string(),
            "split": pa.string(),
            "labels": pa.list_(pa.int32()),
            "logits": pa.list_(pa.float32()),  # [C]
            "expert_weights": pa.list_(pa.float32()),  # [E], in the order of raymoe.experts
            "expert_logits": pa.list_(pa.float32()),  # [E * C], expert by expert
        }
    ),
)

# One row per model, split and metric.
METRICS = Contract(
    "metrics",
    1,
    pa.schema({"model": pa.string(), "split": pa.string(), "metric": pa.string(), "value": pa.float64()}),
)

# One row per trial of a sweep, split and metric; of a trial that was stopped or failed a single row. Further
# columns: one per swept field, named like model.temperature_rw.
SWEEP = Contract(
    "sweep",
    1,
    pa.schema(
        {
            "kind": pa.string(),
            "variant": pa.string(),
            "seed": pa.int32(),
            "state": pa.string(),  # finished, stopped (by --asha) or failed
            "split": pa.string(),
            "metric": pa.string(),
            "value": pa.float64(),
            "epoch": pa.int32(),  # the one whose weights were kept; of a stopped trial its last
            "checkpoint": pa.string(),  # folder in the workspace
            "fingerprint": pa.string(),  # of the checkpoint; null unless finished
            "error": pa.string(),  # null unless failed
        }
    ),
    open=True,
)

# One row per kind of model and metric, over the seeds that finished, in per cent. low and high are a 95 %
# interval over samples, null where the runs are gone; paper_* and difference are null where the paper has no
# such figure.
COMPARISON = Contract(
    "comparison",
    2,
    pa.schema(
        {
            "kind": pa.string(),
            "variant": pa.string(),
            "metric": pa.string(),
            "seeds": pa.list_(pa.int32()),
            "mean": pa.float64(),
            "std": pa.float64(),  # null for a single seed
            "low": pa.float64(),
            "high": pa.float64(),
            "paper_mean": pa.float64(),
            "paper_std": pa.float64(),
            "difference": pa.float64(),
        }
    ),
)

# One row per run, expert, method and share (K, per cent) of each modality's features that is zeroed. drop is
# base - masked, fractions; comprehensiveness and sufficiency are falls of the predicted classes' probability.
FAITHFULNESS = Contract(
    "faithfulness",
    1,
    pa.schema(
        {
            "kind": pa.string(),
            "variant": pa.string(),
            "seed": pa.int32(),
            "expert": pa.string(),
            "method": pa.string(),
            "share": pa.int32(),
            "metric": pa.string(),
            "base": pa.float64(),
            "masked": pa.float64(),
            "drop": pa.float64(),
            "comprehensiveness": pa.float64(),
            "sufficiency": pa.float64(),
        }
    ),
)

# Means over shares and seeds per kind of model, expert (or "all experts") and method. *_low and *_high are
# 95 % intervals of a paired bootstrap over samples, drop_std the deviation over seeds (null for one).
FAITHFULNESS_SUMMARY = Contract(
    "faithfulness-summary",
    1,
    pa.schema(
        {
            "kind": pa.string(),
            "variant": pa.string(),
            "seeds": pa.list_(pa.int32()),
            "expert": pa.string(),
            "method": pa.string(),
            "metric": pa.string(),
            **dict.fromkeys(("drop", "drop_low", "drop_high", "drop_std"), pa.float64()),
            **dict.fromkeys(("over_random", "over_random_low", "over_random_high"), pa.float64()),
            "comprehensiveness": pa.float64(),
            "sufficiency": pa.float64(),
        }
    ),
)

# One row per seed (null: mean over seeds), expert, score, importance bin and q (``top``, per cent): the mean
# score of the top pairs with a 95 % interval over samples and its deviation over seeds (null for one), and
# the mean standard error of the bin's pairs (Monte Carlo). pairs are those of all the row's seeds.
ALIGNMENT = Contract(
    "alignment",
    2,
    pa.schema(
        {
            "seed": pa.int32(),
            "expert": pa.string(),
            "score": pa.string(),
            "bin": pa.string(),
            "top": pa.int32(),
            **dict.fromkeys(("mean", "low", "high", "std"), pa.float64()),
            "pairs": pa.int64(),
            "samples": pa.int64(),
            "stderr": pa.float64(),
        }
    ),
)

# One row per seed (null: mean over seeds), expert, score, share (K, per cent of the candidate pairs) and
# masking: "original", "random pairs", "random pairs, as many features" or "ranked pairs". drop is original -
# value, fractions; *_low and *_high are 95 % intervals of a paired bootstrap over samples, *_std deviations
# over seeds (null for one); pairs and features are mean numbers per sample, the latter of those zeroed.
PAIR_MASKING = Contract(
    "pair-masking",
    2,
    pa.schema(
        {
            "seed": pa.int32(),
            "expert": pa.string(),
            "score": pa.string(),
            "share": pa.int32(),
            "masking": pa.string(),
            "metric": pa.string(),
            **dict.fromkeys(("value", "value_low", "value_high", "value_std"), pa.float64()),
            **dict.fromkeys(("drop", "drop_low", "drop_high", "drop_std"), pa.float64()),
            "pairs": pa.float64(),
            "features": pa.float64(),
            "samples": pa.int64(),
            "paper": pa.float64(),  # the paper's value, null where it has none
        }
    ),
)

# One row per run, modality, disturbance ("noise" or "missing"), level and quantity: a metric,
# "expert_weight", "rank_correlation" or "top_overlap" (of the pairs' scores with the undisturbed ones).
# expert and score are null where a quantity has none; level 0 is undisturbed.
ROBUSTNESS = Contract(
    "robustness",
    1,
    pa.schema(
        {
            "kind": pa.string(),
            "variant": pa.string(),
            "seed": pa.int32(),
            "modality": pa.string(),
            "disturbance": pa.string(),
            "level": pa.float64(),
            "quantity": pa.string(),
            "expert": pa.string(),
            "score": pa.string(),
            **dict.fromkeys(("value", "low", "high"), pa.float64()),
            "samples": pa.int64(),
        }
    ),
)

# Ground truth of planted interactions. One row per seed (null: mean over seeds), expert, kind of interaction,
# method (sii, -sii, redundancy_gap, product, attention, random) and measure (average_precision, auroc,
# precision_at_k): how well the method's scores find the true pairs. chance is what random scores would have.
PLANTED = Contract(
    "planted",
    1,
    pa.schema(
        {
            "seed": pa.int32(),
            "expert": pa.string(),
            "interaction": pa.string(),
            "method": pa.string(),
            "measure": pa.string(),
            **dict.fromkeys(("value", "low", "high", "chance"), pa.float64()),
            "positives": pa.int64(),
            "pairs": pa.int64(),
            "samples": pa.int64(),
        }
    ),
)

# Does each expert do what its name says? One row per seed (null: mean over seeds), expert, kind of planted
# interaction and quantity, such as its weight in the mixture, or how well it alone tells the class.
PLANTED_EXPERTS = Contract(
    "planted-experts",
    1,
    pa.schema(
        {
            "seed": pa.int32(),
            "expert": pa.string(),
            "interaction": pa.string(),
            "quantity": pa.string(),
            **dict.fromkeys(("value", "low", "high"), pa.float64()),
            "samples": pa.int64(),
        }
    ),
)

# scores: one per position of the modality's sequence; special and invalid ones are 0, the rest in 0..1.
IMPORTANCE = Contract(
    "importance",
    1,
    pa.schema(
        {
            "sample_id": pa.string(),
            "expert": pa.string(),
            "modality": pa.string(),
            "method": pa.string(),
            "target": pa.string(),
            "scores": pa.list_(pa.float32()),
        }
    ),
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
    pa.schema(
        {
            "sample_id": pa.string(),
            "expert": pa.string(),
            "target": pa.string(),
            "bin": pa.int32(),
            "u_modality": pa.string(),
            "u": pa.int32(),
            "v_modality": pa.string(),
            "v": pa.int32(),
            "n_coalitions": pa.int64(),
            "sii": pa.float64(),
            "sii_stderr": pa.float64(),
            "base_mean": pa.float64(),
            "span_mean": pa.float64(),
            "redundancy_gap": pa.float64(),
            "redundancy_gap_stderr": pa.float64(),
            "n_contrasts": pa.int64(),
            "n_blocks": pa.int64(),
            **{name: pa.float64() for name in SUMS},
        }
    ),
)
