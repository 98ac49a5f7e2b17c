"""CSV and JSON Lines as spreadsheets, editors and other programs write them, against csv and json."""

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import few
from support.tables import COLUMNS, SETTINGS, png, rows, samples_of, with_files, write_csv, write_jsonl

from raymoe.config import load_preset
from raymoe.data.raw import read_raw
from raymoe.data.readers.delimited import DelimitedReader
from raymoe.data.readers.jsonlines import JsonReader
from raymoe.errors import InputError

# csv itself writes a carriage return without quotation marks where lines end in \n.
CELL = st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=8)
NAMES = st.lists(CELL.filter(str.strip), min_size=2, max_size=4, unique=True)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])


def read(reader, columns):
    found = {name: [] for name in columns}
    for count, batch in reader.batches(columns, (), size=3):
        assert {len(values) for values in batch.values()} <= {count}
        for name, values in batch.items():
            found[name] += values
    return found


@pytest.mark.hostile
@few(100)
@given(
    NAMES,
    st.data(),
    ENCODINGS,
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    *[st.booleans()] * 3,
)
def test_csv_is_what_csv_reads(names, data, encoding, delimiter, end, zipped, directive, asked):
    """Also with Excel's first line, and where nobody says which columns there should be."""
    if not asked:  # then the delimiter is told by the number of columns that it makes
        names = [name.translate(str.maketrans("", "", ",;\t|")) or f"n{i}" for i, name in enumerate(names)]
        names = [f"{i}{name}" for i, name in enumerate(names)]
    table = data.draw(st.lists(st.lists(CELL, min_size=len(names), max_size=len(names)), max_size=8))
    text = io.StringIO()
    if directive:
        text.write(f"sep={delimiter}{end}")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows([names, *table])
    content = text.getvalue().encode(encoding)
    lines = csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=delimiter)
    oracle = [row for row in lines if any(row)][directive + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(gzip.compress(content) if zipped else content)
        found = read(DelimitedReader(path, "t.csv", names if asked else ()), names)
    assert found == {name: [row[i] for row in oracle] for i, name in enumerate(names)}


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), VALUE), max_size=8),
    ENCODINGS,
    st.booleans(),
    st.booleans(),
)
@pytest.mark.hostile
@few(100)
def test_json_lines_are_what_json_reads(table, encoding, zipped, ascii_only):
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n\n" for row in table)
    content = text.encode(encoding, errors="replace")
    oracle = [json.loads(line) for line in content.decode(encoding).split("\n") if line]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_bytes(gzip.compress(content) if zipped else content)
        found = read(JsonReader(path, "t.jsonl"), "abc")
    assert found == {name: [row.get(name) for row in oracle] for name in "abc"}


def refused(path, *said):
    with pytest.raises(InputError) as caught:
        read_raw(str(path), COLUMNS, ["image"], settings=SETTINGS)
    error = caught.value
    text = f"{error.message} {error.remedy}"
    assert all(s in text for s in said), text
    assert error.remedy
    assert len(error.message) < 400 + len(str(path))
    assert error.message.isprintable()


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_rows_of_many_megabytes(tmp_path, write):
    found = with_files(tmp_path, rows(6))
    found[1]["title"] = "x " * 4_000_000 + "end"
    table = samples_of(tmp_path, write(tmp_path / f"t.{write.__name__[6:]}", found))
    assert table["text"][1].as_py() == found[1]["title"]


def test_a_column_that_is_there_twice(tmp_path):
    found = with_files(tmp_path, rows(3))
    lines = write_csv(tmp_path / "t.csv", found).read_text().splitlines()
    (tmp_path / "t.csv").write_text(
        "\n".join([lines[0] + ",title", *(line + ",again" for line in lines[1:])])
    )
    refused(tmp_path / "t.csv", "'title' 2 times: columns 4, 6 of 6")
    (tmp_path / "t.csv").write_text("\n".join([lines[0] + ",x,x", *(line + ",1,2" for line in lines[1:])]))
    assert len(read_raw(str(tmp_path / "t.csv"), COLUMNS)) == 3
    path = write_jsonl(tmp_path / "t.jsonl", found)
    path.write_text(path.read_text().replace('"title": "title 1"', '"title": "a", "title": "b"'))
    refused(path, "row 2: the field 'title' is there more than once")
    path.write_text(path.read_text().replace("title", "x") + '{"title": 1}')
    assert len(read_raw(str(path), COLUMNS)) == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "sample_id,caf\xe9\n".encode("latin-1"), ["line 1", "0xe9", "Save it as UTF-8"]),
        ("t.csv", b"", ["empty"]),
        ("t.csv", b"\n\n", ["empty"]),
        ("t.csv", b"a\0b\0,\0", ["UTF-16"]),
        ("t.csv", b"PAR1xxxx\xff", ["it is Parquet"]),
        ("t.csv", b"PK\x03\x04xx\xff\xff", ["workbook", "CSV"]),
        ("t.csv", b"\x1f\x8b\x08cut", ["gz"]),
        ("t.csv", b'sample_id,split,labels,title,image\n1,train,0,"x,a.png\n', ["line 2 is never closed"]),
        (
            "t.csv",
            b'sample_id,split,labels,title,image\n1,train,0,"x"y",a.png\n',
            ["line 2", "written twice"],
        ),
        (
            "t.csv",
            b"sample_id,split,labels,title,image\n1,train,0,a,b,a.png\n2,train,0,a,a.png\n3,x\n",
            ["5 columns (by comma)", "row 3: 2 fields", "row 1: 6 fields"],
        ),
        ("t.tsv", b"sample_id,split\n1,train\n", ["no column", "id_column for 'sample_id'", "split_rule"]),
        ("t.jsonl", b'{"a": 1}\n{"a": ', ["line 2"]),
        ("t.jsonl", b"[1]\n", ["line 1", "one object a line"]),
        ("t.jsonl", b"version https://git-lfs.github.com/spec/v1\n", ["Git LFS", "git lfs pull"]),
        ("t.jsonl", b"<html>not found</html>", ["HTML"]),
        ("t.jsonl", b"[" * 100_000, ["nested too deeply"]),
        ("t.jsonl", b'{"a": ' + b"1" * 5000 + b"}", ["line 1"]),
        ("t.jsonl", b'{"a": 1}\n', ["no column sample_id, split, labels, title, image", "columns are a;"]),
        ("t.jsonl", b'[{"a": 1}]', ["line 1: not an object", "named .json"]),
        ("t.json", b'{"a": [1, 2], "b": [1, 2]}', ["one object of columns (a, b)", 'orient="records"']),
        ("t.json", b'{"a": {"0": 1}, "b": {"0": 2}}', ["one object of columns (a, b)"]),
        ("t.json", b'{"data": [{"a": 1}]}', ["one object of the rows in a field (data)"]),
        ("t.json", b'[{"a": 1}, 2]', ["row 2", "not an object"]),
        ("t.json", b'[{"a": 1}', ["line 1"]),
        ("t.parquet", b"PAR1 and then nothing", ["Parquet"]),
        ("t.arrow", b"ARROW1 and then nothing", ["Arrow"]),
        ("t.feather", b"FEA1 and more", ["Feather of version 1", "version 2"]),
        ("t.xlsx", b"x", ["no known format", "docs/own-tables.md"]),
        ("t.xlsx", b"PK\x03\x04", ["a workbook", "CSV"]),
        ("t.parquet.gz", b"PAR1", ["is Parquet", ".parquet"]),
    ],
)
def test_what_cant_be_read_says_why_in_a_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, *said)


def test_a_stray_quotation_mark_never_swallows_rows(tmp_path):
    found = with_files(tmp_path, rows(9))
    lines = write_csv(tmp_path / "t.csv", found).read_text().splitlines()
    lines[3] = lines[3].replace("title 2", '"title 2')
    for end in (4, 7):
        stray = list(lines)
        stray[end] = stray[end].replace(f"title {end - 1}", f'title {end - 1}"')
        (tmp_path / "t.csv").write_text("\n".join(stray))
        refused(tmp_path / "t.csv", "row 3", "rows of their own", "stray")


@given(st.lists(st.text('ab,\n" 0s', max_size=12), min_size=3, max_size=5))
@pytest.mark.hostile
@few(100)
def test_texts_of_several_lines_are_texts(texts):
    """The rule that finds stray marks lets alone what is quoted as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        found = with_files(Path(folder), rows(len(texts)))
        for row, text in zip(found, texts, strict=True):
            row["title"] = text
        path = write_csv(Path(folder) / "t.csv", found)
        assert read_raw(str(path), COLUMNS, settings=SETTINGS).columns["title"] == texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_preset_with_a_byte_order_mark(tmp_path, encoding):
    text = Path(str(load_preset.__code__.co_filename)).parent.joinpath("presets/demo.toml").read_text()
    (tmp_path / "own.toml").write_text(text, encoding=encoding)
    assert load_preset(str(tmp_path / "own.toml")).data.classes == load_preset("demo").data.classes


def test_pictures_of_a_table_that_shrinks_meanwhile(tmp_path):
    import base64

    found = [{**row, "image": base64.b64encode(png(i)).decode()} for i, row in enumerate(rows(6))]
    path = write_jsonl(tmp_path / "t.jsonl", found)
    raw = read_raw(str(path), COLUMNS, ["image"], settings=SETTINGS)
    write_jsonl(path, found[:3])
    with pytest.raises(InputError, match="fewer rows"):
        list(raw.batches(["image"], 4))
