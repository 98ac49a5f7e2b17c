"""Parquet and Arrow columns of every type, and folders that Hugging Face datasets wrote, against pyarrow."""

import json
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import few
from support.tables import (
    CLASSES,
    COLUMNS,
    SETTINGS,
    cells_of,
    png,
    project_of,
    rows,
    samples_of,
    write_arrow,
    write_parquet,
)

from raymoe.data import prepare
from raymoe.data.raw import read_raw
from raymoe.errors import InputError
from raymoe.project import artifacts

BYTES = {
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
    "list": pa.list_(pa.uint8()),
    "large_list": pa.large_list(pa.uint8()),
    "list_view": pa.list_view(pa.uint8()),
    "struct": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
}
TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.binary())
LISTS = (pa.list_, pa.large_list, pa.list_view, pa.large_list_view, lambda t: pa.list_(t, 1))
NUMBERS = (pa.int8(), pa.uint64(), pa.float32(), pa.string(), pa.decimal128(5, 2))


def set_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.chunked_array(values))


def column_of(values, kind):
    """An array of the type, also of those that pyarrow can't make of Python's values."""
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_struct(kind):
        return pa.array([None if v is None else {"bytes": v, "path": "x.png"} for v in values], kind)
    if pa.types.is_binary(kind) and values and isinstance(values[0], str):
        return pa.array([v.encode() for v in values], kind)
    return pa.array([list(v) if hasattr(kind, "value_type") and v is not None else v for v in values], kind)


def written(folder, table, form):
    if form == "parquet":
        pq.write_table(table, folder / "t.parquet", row_group_size=3)
        return folder / "t.parquet"
    table = table.unify_dictionaries()  # a file has one dictionary
    return write_arrow(folder / "t.arrow", table, stream=form == "stream")


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("kind", BYTES)
def test_pictures_of_every_type(tmp_path, kind, form):
    found = rows(8)
    content = [row["image"] for row in found]
    parts = [column_of(part, BYTES[kind]) for part in (content[:3], content[3:])]
    if "view" in kind and form == "parquet" and "list" in kind:
        pytest.skip("pyarrow can't write list views to Parquet")
    table = set_column(pa.Table.from_pylist(found), "image", parts)
    path = written(tmp_path, table, form)
    assert cells_of(path) == content
    assert samples_of(tmp_path, path)["image"].to_pylist() == content


@given(
    st.sampled_from(TEXTS),
    st.sampled_from(LISTS),
    st.sampled_from(NUMBERS),
    st.sampled_from(["file", "stream"]),
)
@pytest.mark.hostile
@few(20)
def test_texts_and_labels_of_every_type(text, of, number, form):
    found = rows(6)
    table = pa.Table.from_pylist(found)
    for name in ("sample_id", "split", "title"):
        table = set_column(table, name, [column_of([row[name] for row in found], text)])
    make = {pa.string(): str, pa.decimal128(5, 2): Decimal}.get(number, int)
    values = [[make(row["labels"][0])] for row in found]
    table = set_column(table, "labels", [pa.array(values, of(number))])
    with tempfile.TemporaryDirectory() as folder:
        samples = samples_of(Path(folder), written(Path(folder), table, form))
    assert samples.select(["sample_id", "split", "labels", "text"]).to_pylist() == [
        {"sample_id": r["sample_id"], "split": r["split"], "labels": r["labels"], "text": r["title"]}
        for r in found
    ]


def test_a_struct_without_bytes_names_a_file(tmp_path):
    found = rows(6)
    (tmp_path / "pictures").mkdir()
    cells = [{"bytes": row["image"], "path": "nowhere.png"} for row in found]
    for i in (1, 4):
        (tmp_path / "pictures" / f"{i}.png").write_bytes(found[i]["image"])
        cells[i] = {"bytes": None, "path": f"pictures/{i}.png"}
    table = set_column(pa.Table.from_pylist(found), "image", [pa.array(cells)])
    path = written(tmp_path, table, "parquet")
    assert cells_of(path) == [row["image"] for row in found]
    project = project_of(tmp_path, path)
    prepare(project)
    (tmp_path / "pictures" / "1.png").write_bytes(png(99) + b" longer")
    with pytest.raises(Exception, match="pictures"):  # the file counts in what the samples are made from
        prepare(project)


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_lists_of_one_picture_and_structs_with_more_fields(tmp_path, form):
    found = rows(6)
    content = [row["image"] for row in found]
    for cells in (
        [[data] for data in content],
        [[{"bytes": data, "path": None, "size": 4}] for data in content],
    ):
        table = set_column(pa.Table.from_pylist(found), "image", [pa.array(cells)])
        path = written(tmp_path, table, form)
        assert cells_of(path) == content
        assert samples_of(tmp_path, path)["image"].to_pylist() == content


def test_a_column_of_nulls_or_of_another_type_is_said_once(tmp_path):
    table = pa.Table.from_pylist(rows(30))
    for column, values, said in (
        ("labels", pa.nulls(30), "rows 1, 2, 3, 4, 5, ... (30 in all), column labels: no label"),
        ("sample_id", pa.nulls(30), "(30 in all), column sample_id: no id"),
        ("image", pa.array([[b"a", b"b"]] * 30), "column image: list of 2, not a path or bytes"),
        ("image", pa.array(range(30)), "(30 in all), column image: int, not a path or bytes"),
        ("title", pa.array([["a"]] * 30), "(30 in all), column title: list, not text"),
        ("sample_id", pa.array([[1]] * 30), "(30 in all), column sample_id: list, not an id"),
    ):
        path = written(tmp_path, set_column(table, column, [values]), "parquet")
        with pytest.raises(InputError) as caught:
            prepare(project_of(tmp_path, path))
        assert said in caught.value.message
        assert caught.value.message.count("\n") == 1
    path = written(tmp_path, set_column(table, "image", [pa.nulls(30)]), "file")
    with pytest.raises(InputError, match=r"no usable sample at all; 30 samples.*no picture in column image"):
        prepare(project_of(tmp_path, path))


def test_a_repeated_name_is_refused_where_it_is_asked_for(tmp_path):
    table = pa.Table.from_pylist(rows(3))
    for form in ("parquet", "file", "stream"):
        path = written(tmp_path, table.append_column("title", table["title"]), form)
        with pytest.raises(InputError, match="'title' 2 times: columns 4, 6 of 6"):
            read_raw(str(path), COLUMNS)
        unused = table.append_column("x", table["title"]).append_column("x", table["title"])
        assert cells_of(written(tmp_path, unused, form)) == table["image"].to_pylist()


@given(st.integers(1, 200))
@pytest.mark.hostile
@few(100)
def test_half_a_stream_is_never_read_as_a_whole_one(cut):
    """Wherever it is cut; between two messages it would look like a shorter table."""
    with tempfile.TemporaryDirectory() as folder:
        table = pa.Table.from_pylist(rows(6))
        whole = pa.BufferOutputStream()
        ends = []
        with pa.ipc.new_stream(whole, table.schema) as writer:
            for batch in table.to_batches(2):
                writer.write_batch(batch)
                ends.append(whole.tell())
        content = whole.getvalue().to_pybytes()
        for size in (len(content) - cut, *ends):
            (Path(folder) / "t.arrow").write_bytes(content[:size])
            with pytest.raises(InputError):
                read_raw(f"{folder}/t.arrow", COLUMNS)


@given(st.sampled_from(["parquet", "file", "stream"]), st.data())
@pytest.mark.hostile
@few(80)
def test_a_damaged_file_is_refused_or_read_and_crashes_nothing(form, data):
    """Arrow trusts the offsets in a file; wrong ones point anywhere in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), pa.Table.from_pylist(rows(6)), form)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            found = cells_of(path)
        except InputError as error:
            assert error.message.isprintable()  # noqa: PT017
        else:
            assert all(isinstance(cell, bytes) or cell is None for cell in found)


def hub_metadata(**features):
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def class_label(*names):
    return {"names": list(names), "_type": "ClassLabel"}


def test_numbers_that_the_file_names_are_these_names(tmp_path):
    """The file's order of the classes is another than the preset's: as indices they would be others."""
    found = rows(6)
    table = set_column(pa.Table.from_pylist(found), "labels", [pa.array([r["labels"][0] for r in found])])
    path = tmp_path / "t.parquet"
    for feature in (class_label("bird", "cat", "dog"),):
        pq.write_table(table.replace_schema_metadata(hub_metadata(labels=feature)), path)
        assert samples_of(tmp_path, path)["labels"].to_pylist() == [[2], [0], [1]] * 2
        assert samples_of(tmp_path, path, labels_are="indices")["labels"].to_pylist() == [[0], [1], [2]] * 2
    several = pa.Table.from_pylist(found)
    for feature in (
        {"feature": class_label("dog", "cat", "bird"), "_type": "Sequence"},
        [class_label("dog", "cat", "bird")],
    ):
        pq.write_table(several.replace_schema_metadata(hub_metadata(labels=feature)), path)
        assert samples_of(tmp_path, path)["labels"].to_pylist() == [[1], [0], [2]] * 2
    pq.write_table(table.replace_schema_metadata(hub_metadata(labels=class_label("neg", "pos"))), path)
    with pytest.raises(InputError, match="2 is no number of the 2 classes that the file itself names"):
        read_raw(str(path), COLUMNS, settings=SETTINGS)


def save_to_disk(folder, table, files=2, **state):
    """What ``Dataset.save_to_disk`` writes: Arrow streams, and a list of them."""
    folder.mkdir(parents=True)
    size = -(-len(table) // files)
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    for i, name in enumerate(names):
        write_arrow(folder / name, table.slice(i * size, size), stream=True)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": n} for n in names], **state}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def test_a_saved_dataset(tmp_path):
    found = rows(7)
    cells = pa.array([{"bytes": r["image"], "path": "x.png"} for r in found])
    save_to_disk(tmp_path / "saved", set_column(pa.Table.from_pylist(found), "image", [cells]), files=3)
    samples = samples_of(tmp_path, tmp_path / "saved")
    assert samples["image"].to_pylist() == [row["image"] for row in found]
    (tmp_path / "saved" / "data-00001-of-00003.arrow").unlink()
    with pytest.raises(InputError, match="lacks 1 of its 3 files"):
        prepare(project_of(tmp_path / "b", tmp_path / "saved"))
    save_to_disk(
        tmp_path / "chosen", pa.Table.from_pylist(found), _indices_data_files=[{"filename": "i.arrow"}]
    )
    with pytest.raises(InputError, match="chosen by another file") as caught:
        prepare(project_of(tmp_path, tmp_path / "chosen"))
    assert "flatten_indices" in caught.value.remedy


def test_a_saved_dict_of_datasets_gives_the_split(tmp_path):
    found = rows(9)
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        part = [{k: v for k, v in row.items() if k != "split"} for row in found if row["split"] == split]
        save_to_disk(tmp_path / "saved" / name, pa.Table.from_pylist(part))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    samples = samples_of(tmp_path, tmp_path / "saved")
    assert samples["split"].to_pylist() == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    ordered = sorted(found, key=lambda r: ("train", "val", "test").index(r["split"]))
    assert samples["sample_id"].to_pylist() == [r["sample_id"] for r in ordered]


def test_bytes_that_are_no_text_are_named(tmp_path):
    table = pa.Table.from_pylist(rows(3))
    broken = pa.array([b"a", b"\xff", b"c"])
    for column in (broken, broken.view(pa.string())):
        path = written(tmp_path, set_column(table, "title", [column]), "file")
        with pytest.raises(InputError, match="column title: bytes that are no UTF-8, within rows 1 to 3"):
            read_raw(str(path), COLUMNS)


def test_what_the_file_says_of_itself_is_carried_on(tmp_path):
    table = pa.Table.from_pylist(rows(3)).replace_schema_metadata({"license": "CC0", "other": "x"})
    path = write_parquet(tmp_path / "a.parquet", rows(3))
    pq.write_table(table, path)
    project = project_of(tmp_path, path)
    prepare(project)
    assert artifacts.SAMPLES.of(project).metadata()["source"] == {"name": str(path), "license": "CC0"}
    assert CLASSES == ("cat", "dog", "bird")
