"""One table written in every format is the same samples table, or is refused in every one."""

import gzip
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import few
from support.tables import (
    project_of,
    rows,
    samples_of,
    with_files,
    write_arrow,
    write_csv,
    write_jsonl,
    write_tar,
)

from raymoe.data import prepare
from raymoe.errors import RaymoeError
from raymoe.project import artifacts

# What CSV can hold of a text: it has no null, and its lines end as they are written.
TEXT = st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=12)
WRITERS = {
    "table.csv": write_csv,
    "table.tsv": lambda path, found: write_csv(path, found, delimiter="\t"),
    "semicolon.csv": lambda path, found: write_csv(path, found, delimiter=";"),
    "utf16.csv": lambda path, found: write_csv(path, found, encoding="utf-16"),
    "quoted.csv": lambda path, found: write_csv(path, found, quoting=1, lineterminator="\n"),
    "table.jsonl": write_jsonl,
    "marked.jsonl": lambda path, found: write_jsonl(path, found, "utf-8-sig"),
    "table.json": lambda path, found: path.write_text(json.dumps(found, indent=1)),
    "table.csv.gz": lambda path, found: path.write_bytes(
        gzip.compress(write_csv(path.with_suffix(".tmp"), found).read_bytes())
    ),
    "table.parquet": lambda path, found: pq.write_table(pa.Table.from_pylist(found), path),
    "table.arrow": lambda path, found: write_arrow(path, pa.Table.from_pylist(found)),
    "table.feather": lambda path, found: write_arrow(path, pa.Table.from_pylist(found), stream=True),
}


@st.composite
def tables(draw):
    """Rows of one type per column, as Arrow needs them, and the classes that they are of."""
    classes = draw(
        st.sampled_from(
            [("cat", "dog", "bird"), ("1", "2", "3"), ("0", "1", "2"), ("3", "1", "x"), ("a", "1.5")]
        )
    )
    n = draw(st.integers(3, 7))
    task = draw(st.sampled_from(["multilabel", "multiclass"]))
    flaw = draw(st.sampled_from(["", "", "", "", "id", "split", "class"]))
    name = st.sampled_from([*classes, f" {classes[0]}", *(["other"] if flaw == "class" else [])])
    index = st.integers(0, len(classes) - (flaw != "class"))
    one = draw(
        st.sampled_from([name, index, index.map(float), index.map(str), index.map(lambda i: f"{i}.0")])
    )
    if task == "multilabel":
        several = st.lists(one, max_size=3, unique_by=lambda v: str(v).strip())
        one = draw(st.sampled_from([several, one, several.map(lambda v: "|".join(map(str, v)))]))
    numbers = st.integers(-(10**6), 10**18)
    ids = draw(st.sampled_from([TEXT, numbers, st.integers(0, 99).map(float), numbers.map(str)]))
    if flaw == "id":
        ids = st.lists(ids, min_size=n, max_size=n)
    else:
        ids = st.lists(ids.filter(lambda v: str(v).strip()), min_size=n, max_size=n, unique_by=str)
    splits = st.sampled_from(
        ["train", "val", "test", "Train", "VALIDATION", "holdout" if flaw == "split" else "dev"]
    )
    found = with_files_of(n)
    for i, (row, sample_id) in enumerate(zip(found, draw(ids), strict=True)):
        row["sample_id"] = sample_id
        row["split"] = ("train", "val", "test")[i] if i < 3 else draw(splits)
        row["labels"] = draw(one)
        row["title"] = draw(TEXT)
    return found, {"classes": list(classes), "task": task, "empty_text": "keep"}


def with_files_of(count):
    return [{**row, "image": f"pictures/{i}.png"} for i, row in enumerate(rows(count))]


def outcome(folder, source, **data):
    """The samples' columns, or that it was refused."""
    project = project_of(folder, source, **data)
    try:
        prepare(project, overwrite=True)
    except RaymoeError as error:
        lines = error.message.splitlines()
        return "refused" if len(lines) <= 12 and max(map(len, lines)) < 500 else f"refused at length: {lines}"
    return artifacts.SAMPLES.of(project).read().to_pylist()


@given(tables())
@pytest.mark.hostile
@few(25)
def test_the_same_table_in_every_format(table):
    found, data = table
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with_files(folder, rows(len(found)))
        outcomes = {}
        for form, write in WRITERS.items():
            write(folder / form, found)
            outcomes[form] = outcome(folder, folder / form, **data)
        assert all(o == outcomes["table.csv"] for o in outcomes.values()), {
            form: o for form, o in outcomes.items() if o != outcomes["table.csv"]
        }


def test_the_samples_are_those_that_were_written(tmp_path):
    """All formats could be wrong together: this is what is right."""
    found = rows(7)
    wanted = [{**row, "text": row["title"]} for row in found]
    for row in wanted:
        del row["title"]
    wanted = pa.Table.from_pylist(wanted).to_pylist()
    named = with_files(tmp_path, found)
    for form, write in WRITERS.items():
        write(tmp_path / form, named)
        assert samples_of(tmp_path, tmp_path / form).select(list(wanted[0])).to_pylist() == wanted, form
    shard = write_tar(tmp_path / "shard.tar", found)
    assert samples_of(tmp_path, shard, image="png").num_rows == 7


@pytest.mark.parametrize("form", WRITERS)
def test_ids_keep_their_zeros_and_numbers_that_are_one_id_are_refused(tmp_path, form):
    found = with_files(tmp_path, rows(3))
    for row, sample_id in zip(found, ("007", "7", " x "), strict=True):
        row["sample_id"] = sample_id
    WRITERS[form](tmp_path / form, found)
    assert samples_of(tmp_path, tmp_path / form)["sample_id"].to_pylist() == ["007", "7", " x "]


def test_a_number_and_its_digits_are_one_id(tmp_path):
    found = with_files(tmp_path, rows(3))
    found[0]["sample_id"], found[2]["sample_id"] = 7, "7"
    assert outcome(tmp_path, write_jsonl(tmp_path / "t.jsonl", found)) == "refused"


def test_an_old_workspace_stays_complete(tmp_path):
    """Settings that are not set count for nothing in what the samples are made from."""
    defining = project_of(tmp_path, "t.csv").preset.data.defining()
    assert not {"labels_are", "labels_separator", "split_rule", "format"} & set(defining)
    defining = project_of(tmp_path, "t.csv", labels_are="names", labels_separator=",").preset.data.defining()
    assert (defining["labels_are"], defining["labels_separator"]) == ("names", ",")
