"""Data of a user's own: a few of the embedded drawings in a raw table, with the file that describes it."""

import json
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

PRESET = """
name = "own"
[data]
source = "table.parquet"
task = "multilabel"
classes = {classes}
[[data.modalities]]
name = "text"
kind = "text"
columns = ["title", "description"]
encoder = {{source = "package:all-MiniLM-L6-v2", max_length = 32}}
[[data.modalities]]
name = "image"
kind = "image"
columns = ["image"]
encoder = {{source = "package:efficientnet-lite0", batch_size = 8}}
[model]
hidden_dim = 16
num_heads = 2
hidden_dim_rw = 8
[train]
epochs = 2
lr = 0.003
[probe]
coalitions = 8
min_features = 2
[report]
samples = 3
"""


def embedded_rows(**counts: int) -> tuple[list[dict], list[str]]:
    """So many drawings of each split, spread over the embedded data, and the names of the classes."""
    table = pq.read_table(str(files("raymoe.data") / "embedded" / "openclipart.parquet"))
    chosen = []
    for split, count in counts.items():
        part = table.filter(pa.compute.equal(table["split"], split))
        chosen += part.take(list(range(0, part.num_rows, part.num_rows // count)))[:count].to_pylist()
    return chosen, table.schema.metadata[b"classes"].decode().split(",")


def write_own(folder: Path, rows: list[dict], classes: list[str]) -> Path:
    """The user's files: a raw table and a preset beside it."""
    schema = pa.schema(
        {k: pa.string() for k in ("sample_id", "split", "title", "description")}
        | {"labels": pa.list_(pa.int32()), "image": pa.binary()}
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "table.parquet")
    (folder / "own.toml").write_text(PRESET.format(classes=json.dumps(classes)))
    return folder / "own.toml"
