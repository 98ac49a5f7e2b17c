"""The data contracts: name, version and columns of every table; experiments have their own."""

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
