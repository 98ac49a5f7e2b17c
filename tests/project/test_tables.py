"""Contracts and provenance: what a table says of itself, and which tables are refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.errors import ParentError
from raymoe.project.contracts import INTERACTIONS, METRICS, SAMPLES
from raymoe.project.provenance import Provenance
from raymoe.project.tables import (
    metadata_of,
    read_schema,
    read_table,
    write_batches,
    write_table,
)
from raymoe.project.workspace import Workspace

ROWS = pa.table(
    {"model": ["m"], "split": ["test"], "metric": ["accuracy"], "value": [0.5]}, schema=METRICS.schema
)
MADE = Provenance("train", METRICS.tag, {"lr": 0.1, "deep": {"x": 1}}, {"features": "abc"})


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_round_trip_with_what_made_it(tmp_path, name):
    workspace = Workspace(tmp_path)
    write_table(workspace, name, ROWS, METRICS, MADE, {"classes": ["ä", "b"]})
    table = read_table(workspace, name, METRICS, "raymoe train")
    assert table.equals(ROWS)
    metadata = metadata_of(table.schema)
    assert metadata["schema"] == "metrics/1"
    assert metadata["fingerprint"] == MADE.fingerprint
    assert metadata["classes"] == ["ä", "b"]
    assert Provenance.from_json(metadata["made_by"]) == MADE


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_file_cut_short_is_named_with_the_command_that_makes_it(tmp_path, name, share):
    workspace = Workspace(tmp_path)
    write_table(workspace, name, ROWS, METRICS, MADE)
    whole = workspace.read(name)
    workspace.write(name, whole[: int(len(whole) * share)])
    with pytest.raises(ParentError, match="not a whole") as caught:
        read_table(workspace, name, METRICS, "raymoe train demo")
    with pytest.raises(ParentError, match="not a whole"):
        read_schema(workspace, name, METRICS, "raymoe train demo")
    assert name in caught.value.message
    assert "raymoe train demo" in caught.value.remedy


def test_other_contracts_and_missing_files_are_refused(tmp_path):
    workspace = Workspace(tmp_path)
    write_table(workspace, "t.parquet", ROWS, METRICS, MADE)
    with pytest.raises(ParentError, match=r"holds metrics/1, expected samples/1"):
        read_table(workspace, "t.parquet", SAMPLES, "raymoe prepare")
    with pytest.raises(ParentError, match="is missing"):
        read_table(workspace, "u.parquet", SAMPLES, "raymoe prepare")
    with pytest.raises(ParentError, match="column value is string, not double"):
        write_table(workspace, "v.parquet", ROWS.set_column(3, "value", pa.array(["x"])), METRICS, MADE)
    with pytest.raises(ParentError, match="unknown column more"):
        write_table(workspace, "v.parquet", ROWS.append_column("more", pa.array([1])), METRICS, MADE)


def test_batches_are_the_row_groups_of_a_parquet_file(tmp_path):
    workspace = Workspace(tmp_path)
    schema = pa.schema([*SAMPLES.schema, pa.field("text", pa.string())])
    made = Provenance("prepare", SAMPLES.tag, {})
    rows = [pa.record_batch([[f"s{i}"], ["train"], [[i]], ["words"]], schema=schema) for i in range(3)]
    write_batches(workspace, "t.parquet", rows, SAMPLES, made, {"skipped": []}, schema=schema)
    table = read_table(workspace, "t.parquet", SAMPLES, "x")
    assert table["sample_id"].to_pylist() == ["s0", "s1", "s2"]
    assert metadata_of(table.schema)["fingerprint"] == made.fingerprint
    assert pq.ParquetFile(workspace.path("t.parquet")).num_row_groups == 3
    with pytest.raises(ParentError, match="column split is missing"):
        write_batches(workspace, "u.parquet", [], SAMPLES, made, schema=schema.remove(1))


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=4))
def test_fingerprints_depend_on_content_not_on_order(config):
    other = dict(reversed(config.items()))
    assert Provenance("s", "c/1", config).fingerprint == Provenance("s", "c/1", other).fingerprint
    assert (
        Provenance("s", "c/1", {**config, "more": 1}).fingerprint
        != Provenance("s", "c/1", config).fingerprint
    )


def test_the_same_rows_are_the_same_bytes(tmp_path):
    workspace = Workspace(tmp_path)
    batch = pa.record_batch(
        [pa.array([_example(f.type)], f.type) for f in INTERACTIONS.schema], schema=INTERACTIONS.schema
    )
    for name in ("a.arrow", "b.arrow"):
        made = Provenance("probe", INTERACTIONS.tag, {"rho": 0.3})
        write_batches(workspace, name, [batch, batch], INTERACTIONS, made, {"skipped": []})
    assert workspace.read("a.arrow") == workspace.read("b.arrow")
    assert read_table(workspace, "a.arrow", INTERACTIONS, "").num_rows == 2


def _example(kind):
    return "x" if pa.types.is_string(kind) else 1
