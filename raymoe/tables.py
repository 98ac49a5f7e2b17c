"""The data contracts: the schema of every table, what made it, and how it is read and written.

Each table names its contract (``raymoe.schema`` = ``samples/1``), what made it (``raymoe.made_by``, JSON of
stage, configuration and parents) and the hash of that (``raymoe.fingerprint``). Readers refuse a table of
another contract or one cut short, by name. Files ending in ``.parquet`` are Parquet, in ``.arrow`` Arrow IPC.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raymoe.errors import ParentError
from raymoe.workspace import Workspace

ROW_GROUP = 256  # rows of a Parquet table that are read at once, so that pictures needn't all be in memory


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


@dataclass(frozen=True)
class Provenance:
    """What made a table: two tables with the same fingerprint hold the same thing.

    Attributes:
        stage: the command that makes it.
        contract: the table's contract.
        config: every setting that the content depends on.
        parents: fingerprints of what it was made from, by name.
    """

    stage: str
    contract: str
    config: dict[str, Any]
    parents: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of all of it, 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space."""
        return json.dumps(vars(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """The inverse of ``to_json``."""
        return cls(**json.loads(text))

    def differences(self, other: Provenance) -> str:
        """What differs between two, in words, for error messages."""
        lines = [
            f"{name}: {_short(a)} there, {_short(b)} now"
            for name, a, b in _compare({**self.config, **_parents(self)}, {**other.config, **_parents(other)})
        ]
        return "; ".join(lines) or "made by another version of raymoe"

    def metadata(self, extra: dict[str, Any] | None = None) -> dict[str, str]:
        """The table metadata that says all this; ``extra`` goes in as JSON under ``raymoe.<key>``."""
        own = {
            "raymoe.schema": self.contract,
            "raymoe.made_by": self.to_json(),
            "raymoe.fingerprint": self.fingerprint,
        }
        return own | {f"raymoe.{k}": json.dumps(v) for k, v in (extra or {}).items()}


def _parents(provenance: Provenance) -> dict[str, str]:
    return {f"the {name} it was made from": value for name, value in provenance.parents.items()}


def _compare(a: Any, b: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(a.keys() | b.keys()):
            found += _compare(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if a == b else [(prefix, a, b)]


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:57] + "..."


def write_table(
    workspace: Workspace,
    name: str,
    table: pa.Table,
    contract: Contract,
    provenance: Provenance,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a table under its contract; ``extra`` metadata is stored as JSON under ``raymoe.<key>``."""
    conform(table.schema, contract, name)
    table = table.replace_schema_metadata(provenance.metadata(extra))

    def write(sink: pa.NativeFile) -> None:
        if name.endswith(".parquet"):
            pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
        else:
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

    workspace.write_with(name, write)


def write_batches(
    workspace: Workspace,
    name: str,
    batches: Iterable[pa.RecordBatch],
    contract: Contract,
    provenance: Provenance,
    extra: dict[str, Any] | None = None,
    *,
    schema: pa.Schema | None = None,
) -> None:
    """Write a table batch by batch, as they come, so that it is never held in memory.

    In a Parquet file every batch is a row group.

    Args:
        workspace, name, contract, provenance, extra: as in ``write_table``.
        batches: all of one schema.
        schema: theirs, where the contract is open; by default the contract's.
    """
    schema = schema or contract.schema
    conform(schema, contract, name)
    schema = schema.with_metadata(provenance.metadata(extra))

    def write(sink: pa.NativeFile) -> None:
        if name.endswith(".parquet"):
            writer = pq.ParquetWriter(sink, schema, compression="zstd")
        else:
            writer = pa.ipc.new_file(sink, schema)
        with writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))

    workspace.write_with(name, write)


def read_table(
    workspace: Workspace, name: str, contract: Contract, made_by: str, columns: list[str] | None = None
) -> pa.Table:
    """Read a table; Arrow files are memory-mapped.

    Args:
        workspace: where it is.
        name: its name there.
        contract: what it must be.
        made_by: the command that makes it, for the error messages.
        columns: those of a Parquet file that are read; by default all.

    Raises:
        ParentError: it is missing, cut short, or holds something else.
    """
    if name.endswith(".parquet"):
        file = open_parquet(workspace, name, contract, made_by)
        with _whole(workspace, name, made_by):
            return file.read(columns)
    _require(workspace, name, made_by)
    with _whole(workspace, name, made_by), pa.memory_map(workspace.local(name)) as source:
        table = pa.ipc.open_file(source).read_all()
    _check_contract(table.schema, workspace.path(name), contract, made_by)
    return table


def open_parquet(workspace: Workspace, name: str, contract: Contract, made_by: str) -> pq.ParquetFile:
    """Open a Parquet table to read it group by group; arguments and errors as of ``read_table``."""
    _require(workspace, name, made_by)
    with _whole(workspace, name, made_by):
        file = pq.ParquetFile(workspace.local(name))
    _check_contract(file.schema_arrow, workspace.path(name), contract, made_by)
    return file


def read_schema(workspace: Workspace, name: str, contract: Contract, made_by: str) -> pa.Schema:
    """A table's schema with its metadata, from the file's footer: of the rows nothing is read.

    Args and errors as in ``read_table``; damage to the rows themselves goes unnoticed.
    """
    _require(workspace, name, made_by)
    with _whole(workspace, name, made_by), workspace.fs.open_input_file(workspace.path(name)) as source:
        if name.endswith(".parquet"):
            schema = pq.ParquetFile(source).schema_arrow
        else:
            schema = pa.ipc.open_file(source).schema
    _check_contract(schema, workspace.path(name), contract, made_by)
    return schema


def _require(workspace: Workspace, name: str, made_by: str) -> None:
    if not workspace.exists(name):
        raise ParentError(f"{workspace.path(name)} is missing", f"Make it with: {made_by}")


@contextmanager
def _whole(workspace: Workspace, name: str, made_by: str) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into an error that says what to do."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if name.endswith(".parquet") else "Arrow"
        raise ParentError(
            f"{workspace.path(name)} is not a whole {kind} file ({error})",
            f"It was cut short or damaged: delete it and make it again with: {made_by}",
        ) from None


def _check_contract(schema: pa.Schema, path: str, contract: Contract, made_by: str) -> None:
    tag = metadata_of(schema).get("schema")
    if tag != contract.tag:
        raise ParentError(
            f"{path} holds {tag or 'no raymoe table'}, expected {contract.tag}",
            f"Delete it and make it again with: {made_by}",
        )
    conform(schema, contract, path)


def conform(schema: pa.Schema, contract: Contract, name: str) -> None:
    """Raise unless the schema has the contract's columns, with their types."""
    problems = []
    for wanted in contract.schema:
        found = schema.field(wanted.name).type if wanted.name in schema.names else "missing"
        if found != wanted.type:
            problems.append(f"column {wanted.name} is {found}, not {wanted.type}")
    if not contract.open:
        problems += [f"unknown column {n}" for n in schema.names if n not in contract.schema.names]
    if problems:
        raise ParentError(f"{name} does not fit {contract.tag}: {'; '.join(problems)}", "Make it again.")


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """A table's own metadata without the prefix, JSON values decoded."""
    found: dict[str, Any] = {}
    for key, value in (schema.metadata or {}).items():
        if key.startswith(b"raymoe."):
            name, text = key[7:].decode(), value.decode()
            found[name] = text if name in ("schema", "fingerprint", "made_by") else json.loads(text)
    return found


def is_complete(
    workspace: Workspace,
    name: str,
    contract: Contract,
    provenance: Provenance,
    command: str,
    *,
    overwrite: bool = False,
) -> bool:
    """Whether the output is already there, made from the same inputs; reads its metadata alone.

    Args:
        workspace, name, contract: the output.
        provenance: what it would be made from now.
        command: how a user makes it, for the error messages.
        overwrite: act as if it were not there.

    Raises:
        ParentError: it is there but damaged, or was made from other inputs (named), and ``overwrite`` is off.
    """
    if overwrite or not workspace.exists(name):
        return False
    schema = read_schema(workspace, name, contract, f"{command} --overwrite")
    refuse_other_inputs(workspace.path(name), metadata_of(schema), provenance, command)
    return True


def refuse_other_inputs(path: str, metadata: dict[str, Any], provenance: Provenance, command: str) -> None:
    """Raise if what is there was made from other inputs than those asked for, saying which."""
    if metadata["fingerprint"] != provenance.fingerprint:
        differences = Provenance.from_json(metadata["made_by"]).differences(provenance)
        raise ParentError(
            f"{path} was made from other inputs ({differences})",
            f"Replace it with: {command} --overwrite; or give the settings it was made with, or another "
            "--workspace to have both.",
        )
