"""Raw tables of a test's own: rows, pictures, and the same rows written in every format."""

import csv
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from raymoe.config import Preset
from raymoe.data import prepare
from raymoe.data.raw import read_raw
from raymoe.project import Project, artifacts
from raymoe.project.workspace import Workspace

CLASSES = ("cat", "dog", "bird")
COLUMNS = ("sample_id", "split", "labels", "title", "image")
SETTINGS = {"sample_id": "id_column", "split": "split_column", "labels": "labels_column"}


def png(number: int = 0) -> bytes:
    """A small picture of a colour of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (number * 7 % 256, number * 31 % 256, 50)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int = 6) -> list[dict]:
    """Rows with pictures in them."""
    return [
        {
            "sample_id": f"s{i}",
            "split": ("train", "val", "test")[i % 3],
            "labels": [i % 3],
            "title": f"title {i}",
            "image": png(i),
        }
        for i in range(count)
    ]


def with_files(folder: Path, found: list[dict]) -> list[dict]:
    """The same rows with their pictures in files beside the table."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    named = []
    for i, row in enumerate(found):
        (folder / "pictures" / f"{i}.png").write_bytes(row["image"])
        named.append({**row, "image": f"pictures/{i}.png"})
    return named


def project_of(folder: Path, source: Path | str, **data) -> Project:
    """A project of a table with a title and an image."""
    image = data.pop("image", "image")
    raw = {
        "name": "own",
        "data": {
            "source": str(source),
            "task": "multilabel",
            "classes": list(CLASSES),
            "modalities": [
                {"name": "text", "kind": "text", "columns": ["title"], "encoder": {"source": "hf:x"}},
                {"name": "image", "kind": "image", "columns": [image], "encoder": {"source": "hf:y"}},
            ],
            **data,
        },
    }
    return Project(Preset.model_validate(raw), Workspace(folder / "ws"), "own.toml")


def samples_of(folder: Path, source: Path | str, **data) -> pa.Table:
    """The samples table that a raw table becomes; no sample may be left out."""
    project = project_of(folder, source, **data)
    assert prepare(project, overwrite=True).skipped == ()
    return artifacts.SAMPLES.of(project).read()


def cells_of(source: Path | str, column: str = "image") -> list:
    """What a table's pictures are, read as ``prepare`` reads them."""
    raw = read_raw(str(source), COLUMNS, [column], settings=SETTINGS)
    cells = [cell for batch in raw.batches([column], 4) for (cell,) in batch]
    return [cell if cell is None else raw.picture(cell) for cell in cells]


def write_csv(path: Path, found: list[dict], **options) -> Path:
    """As Python writes it; several labels separated by |."""
    encoding = options.pop("encoding", "utf-8")
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(found[0]), **options)
        writer.writeheader()
        for row in found:
            labels = row["labels"]
            text = "|".join(map(str, labels)) if isinstance(labels, list) else labels
            writer.writerow({**row, "labels": text})
    return path


def write_jsonl(path: Path, found: list[dict], encoding: str = "utf-8") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding=encoding)
    return path


def write_parquet(path: Path, found: list[dict], schema: pa.Schema | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(found, schema=schema), path)
    return path


def write_arrow(path: Path, table: pa.Table, stream: bool = False) -> Path:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


def write_tar(path: Path, found: list[dict]) -> Path:
    """As WebDataset writes it: a picture, a text and a JSON of the rest for each sample."""
    with tarfile.open(path, "w") as tar:
        for i, row in enumerate(found):
            rest = {k: v for k, v in row.items() if k != "image"}
            members = (
                ("png", row["image"]),
                ("txt", row["title"].encode()),
                ("json", json.dumps(rest).encode()),
            )
            for extension, content in members:
                info = tarfile.TarInfo(f"{i:06}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path
