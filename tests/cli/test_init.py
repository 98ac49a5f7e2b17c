"""``raymoe init``: the file that it writes loads, and reading with it gives what the table has."""

import csv
import io
import json
import tomllib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.forks import run_command, run_forked
from support.hostile import few

from raymoe.cli.init import write_description
from raymoe.config import load_preset
from raymoe.data.prepare import prepare, read_checked
from raymoe.errors import InputError, WorkspaceError
from raymoe.project import Project
from raymoe.project.artifacts import SAMPLES
from raymoe.project.workspace import Workspace

WORDS = ("a quiet street", "two dogs on grass", "the old harbour", "red apples, sliced", "people at a table")
SPLITS = ("train", "train", "val", "test")


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_table(path, rows: list[dict]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def describe(folder, rows: list[dict], name: str = "table.csv", output: str = "own.toml"):
    """The file that is written of a table, its text and what was printed."""
    for i, row in enumerate(rows):
        picture = row.get("picture")
        if isinstance(picture, str) and not (folder / picture).exists():
            (folder / picture).write_bytes(png(i))
    write_table(folder / name, rows)
    write_description(str(folder / name), str(folder / output), overwrite=True)
    return folder / output


def rows_of(count: int = 40, **columns) -> list[dict]:
    """Rows of pictures and captions, with more columns: each a function of the row's number."""
    return [
        {"uid": f"s{i}", "picture": f"{i}.png", "caption": f"{WORDS[i % 5]} {i}"}
        | {name: value(i) for name, value in columns.items()}
        for i in range(count)
    ]


def read_back(path) -> tuple[list[str], list[str], list[set[str]]]:
    """Ids, splits and class names of every row, as ``prepare`` reads them with the file."""
    data = load_preset(str(path)).data
    ids, splits, labels, _ = read_checked(data)
    return ids, splits, [{data.classes[i] for i in row} for row in labels]


# What a column of labels may hold, and the classes that each row of it means.
names_st = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="|;\x00\r\n"), min_size=1, max_size=12)
    .map(str.strip)
    .filter(
        lambda name: name and not name.replace(".", "").strip("+-").isdecimal() and name[0] not in "[+-."
    ),
    min_size=2,
    max_size=5,
    unique_by=str.casefold,
)


@st.composite
def tables(draw):
    """A table with telling names for id and labels; the rest is as it comes. And what its labels are."""
    count = draw(st.integers(20, 40))
    classes = draw(st.one_of(names_st, st.integers(2, 5).map(lambda n: [str(i) for i in range(n)])))
    several = draw(st.booleans())
    meant = []
    for i in range(count):  # each class is there some times
        more = draw(st.sets(st.sampled_from(classes), max_size=2)) if several else set()
        meant.append({classes[i % len(classes)], *more})
    kind = draw(st.sampled_from(["csv", "jsonl", "parquet"]))
    lists = several and kind != "csv"
    numbers = kind != "csv" and classes[0] == "0"

    def cell(names: set[str]):
        ordered = sorted(names)
        if lists:
            return [int(n) for n in ordered] if numbers else ordered
        return int(ordered[0]) if numbers else "|".join(ordered)

    labels = draw(st.sampled_from(["label", "genres", "Class", "category_name"]))
    columns = {labels: lambda i: cell(meant[i])}
    if draw(st.booleans()):
        columns["Split"] = lambda i: SPLITS[i % 4]
    extra = draw(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), min_size=1, max_size=8))
    if extra.strip() and extra.casefold() not in {"uid", "picture", "caption", "split", labels.casefold()}:
        filling = draw(
            st.sampled_from([lambda i: i * 0.5, lambda i: "", lambda i: f"x {i}\t|", lambda i: "same"])
        )
        columns[extra] = filling
    return rows_of(count, **columns), meant, kind


@pytest.mark.hostile
@settings(few(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(tables())
def test_reading_with_what_is_written_gives_what_the_table_has(tmp_path, table):
    rows, meant, kind = table
    path = describe(tmp_path, rows, f"table.{kind}")
    ids, splits, labels = read_back(path)
    assert ids == [row["uid"] for row in rows]
    assert labels == meant
    assert set(splits) == {"train", "val", "test"}
    if "Split" in rows[0]:
        assert splits == [row["Split"] for row in rows]
    data = load_preset(str(path)).data
    assert data.task == (
        "multilabel"
        if any(len(m) > 1 for m in meant)
        else "binary"
        if len(data.classes) == 2
        else "multiclass"
    )
    assert {m.name: m.columns[0] for m in data.modalities if m.kind == "image"} == {"image": "picture"}
    assert "caption" in next(m.columns for m in data.modalities if m.kind == "text")


cells_st = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(0, 2)),
    st.sampled_from(["train", "a|b", "a", "b", "1.png", "http://x/y.jpg", "\x7f", "\ud800"]),
)


@example([{"\x1b": None, "": [], "0": "0"}, {"00": "0", "": [0, 0, 0, 1]}])
@pytest.mark.hostile
@settings(few(150), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=6), cells_st, max_size=5), max_size=12))
def test_of_any_table_a_file_that_loads_or_a_reason(tmp_path, rows):
    table, output = tmp_path / "any.jsonl", tmp_path / "any.toml"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output.unlink(missing_ok=True)
    try:
        write_description(str(table), str(output))
    except InputError:
        assert not output.exists()
        return
    preset = load_preset(str(output))
    assert len(preset.data.classes) >= 2
    text = output.read_text(encoding="utf-8")
    try:
        read_checked(preset.data)
    except InputError:  # the file says so itself
        assert "# check this: as it is, `raymoe prepare` refuses it" in text


def test_a_telling_table_leaves_nothing_to_check_and_prepares(tmp_path, capsys):
    columns = {"kind": lambda i: ("cat", "dog", "bird")[i % 3], "year": lambda i: 1990 + i % 7}
    rows = rows_of(60, **columns, note=lambda i: "")
    path = describe(tmp_path, rows)
    text, said = path.read_text(), capsys.readouterr().out
    assert "check this" not in text + said
    assert "60 rows: multiclass, 3 classes" in said
    raw = tomllib.loads(text)
    assert raw["data"]["source"] == "table.csv", "relative to the file"
    assert raw["data"]["labels_column"] == "kind"
    assert '    "cat",  # 20\n' in text, "classes are counted"
    assert "# not used: 'year'" in text
    assert "# not used: 'note' (empty)" in text
    assert (raw["model"]["hidden_dim"], raw["train"]["lr"]) == (64, 2e-3), "the demo's, not the paper's"
    project = Project(load_preset(str(path)), Workspace(tmp_path / "ws"), str(path))
    prepare(project)
    splits = SAMPLES.of(project).read()["split"].to_pylist()
    counts = ", ".join(f"{split} {splits.count(split)}" for split in ("train", "val", "test"))
    assert f"which gives {counts}" in text


def test_pictures_in_the_table_are_told_by_their_content(tmp_path):
    rows = [
        dict(row, picture=png(i), blob=b"\xff no picture")
        for i, row in enumerate(rows_of(label=lambda i: i % 2))
    ]
    path = describe(tmp_path, rows, "table.parquet")
    data = load_preset(str(path)).data
    assert [m.columns for m in data.modalities if m.kind == "image"] == [("picture",)]
    assert "# not used: 'blob' (bytes that are no pictures" in path.read_text()


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_told_without_knowing_a_column(tmp_path, delimiter):
    rows = rows_of(30, label=lambda i: ("cat", "dog")[i % 2])
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    write_description(str(tmp_path / "table.csv"), str(tmp_path / "own.toml"))
    assert read_back(tmp_path / "own.toml")[2] == [{row["label"]} for row in rows]


def test_a_column_that_cannot_be_read_is_not_used(tmp_path):
    rows = [dict(row, pages=[b"\xff", b"\xfe"]) for row in rows_of(label=lambda i: ("cat", "dog")[i % 2])]
    path = describe(tmp_path, rows, "table.parquet")
    assert "# not used: 'pages' (can't be read)" in path.read_text()
    assert len(read_back(path)[0]) == len(rows)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": lambda i: i % 3}, ["labels are numbers from 0: write the classes' names here"]),
        (
            {"label": lambda i: "ab"[i % 2], "category": lambda i: "xyz"[i % 3]},
            ["'category' could be the labels as well"],
        ),
        ({"hue": lambda i: ("red", "blue")[i % 2]}, ["chosen by its values alone"]),
        (
            {"label": lambda i: "ab"[i % 2], "split": lambda i: ("train", "test")[i % 2]},
            ["train 20, test 20 but no val"],
        ),
        ({"label": lambda i: "abc"[i % 2 + (i == 9)]}, ["1 classes have fewer than 3 samples ('c')"]),
        ({"label": lambda i: "ab"[i % 2], "uid": lambda i: i // 2, "picture": lambda i: f"{i // 2}.png",
          "caption": lambda i: f"the same words {i // 2}"}, ["no column has another value in every row"]),
        ({"label": lambda i: "ab"[i % 2] if i else ""}, ["as it is, `raymoe prepare` refuses it", "row 1"]),
    ],
)  # fmt: skip
def test_what_the_table_leaves_open_is_asked(tmp_path, capsys, columns, words):
    path = describe(tmp_path, rows_of(40, **columns))
    load_preset(str(path))
    said = capsys.readouterr().out
    for each in words:
        assert each in said
        assert any(each in line for line in path.read_text().splitlines() if "# check this: " in line)


@pytest.mark.parametrize(
    ("value", "names", "line"),
    [
        (
            lambda i: ("sea, sky", "sky", "sea", "land, sea")[i % 4],
            {"sea", "sky", "land"},
            'labels_separator = ","',
        ),
        (lambda i: i % 3 + 1, {"1", "2", "3"}, 'labels_are = "names"'),
        (lambda i: ("['a', 'b']", "['a']", "[]")[i % 3], {"a", "b"}, 'task = "multilabel"'),
        (lambda i: i % 2 == 0, {"True", "False"}, 'task = "binary"'),
    ],
)
def test_labels_as_people_write_them_into_csv(tmp_path, value, names, line):
    path = describe(tmp_path, rows_of(40, tags=value))
    assert line in path.read_text()
    assert set(load_preset(str(path)).data.classes) == names
    _, _, labels = read_back(path)
    for i, found in enumerate(labels):
        assert found == {part.strip(" '") for part in str(value(i)).strip("[]").split(",")} - {""}


def test_an_image_folder_of_hugging_face(tmp_path):
    """Its splits are the names of its folders, its pictures those that metadata.csv lists."""
    for split, count in (("train", 12), ("validation", 6), ("test", 6)):
        folder = tmp_path / "scenes" / split
        folder.mkdir(parents=True)
        rows = [
            {"file_name": f"{split}{i}.png", "text": WORDS[i % 5], "label": "ab"[i % 2]} for i in range(count)
        ]
        for i, row in enumerate(rows):
            (folder / row["file_name"]).write_bytes(png(i))
        write_table(folder / "metadata.csv", rows)
    write_description(str(tmp_path / "scenes"), str(tmp_path / "own.toml"))
    assert "check this" not in (tmp_path / "own.toml").read_text()
    preset = load_preset(str(tmp_path / "own.toml"))
    assert preset.data.source == str(tmp_path / "scenes")
    project = Project(preset, Workspace(tmp_path / "ws"), "own.toml")
    assert not prepare(project).skipped
    splits = SAMPLES.of(project).read()["split"].to_pylist()
    assert [splits.count(split) for split in ("train", "val", "test")] == [12, 6, 6]


def test_names_of_pictures_that_are_not_there_are_asked_about(tmp_path, capsys):
    rows = [dict(row, image=f"img/{i}.jpg") for i, row in enumerate(rows_of(label=lambda i: "ab"[i % 2]))]
    for row in rows:
        del row["picture"]
    path = describe(tmp_path, rows)
    assert [m.columns for m in load_preset(str(path)).data.modalities if m.kind == "image"] == [("image",)]
    assert "but none looked at is there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("drop", "columns", "message"),
    [
        ((), {}, "no column can be the labels"),
        (("caption",), {"label": lambda i: "ab"[i % 2]}, "has one modality or none"),
        (("picture",), {"label": lambda i: "ab"[i % 2]}, "has one modality or none"),
    ],
)
def test_what_raymoe_is_not_for_is_refused_with_what_each_column_is(tmp_path, drop, columns, message):
    rows = [{k: v for k, v in row.items() if k not in drop} for row in rows_of(**columns)]
    with pytest.raises(InputError, match=message) as caught:
        describe(tmp_path, rows)
    assert "'uid': text, 40 different" in caught.value.message
    assert not (tmp_path / "own.toml").exists()


def test_two_texts_are_two_modalities(tmp_path):
    rows = rows_of(question=lambda i: f"what is there, {i}?", label=lambda i: "ab"[i % 2])
    path = describe(tmp_path, [{k: v for k, v in row.items() if k != "picture"} for row in rows])
    assert [(m.name, m.kind) for m in load_preset(str(path)).data.modalities] == [
        ("caption", "text"),
        ("question", "text"),
    ]


def test_nothing_is_overwritten_unasked_and_the_place_is_checked_first(tmp_path):
    table, output = str(tmp_path / "no-table.csv"), tmp_path / "own.toml"
    output.write_text("mine")
    with pytest.raises(InputError, match="is there already") as caught:
        write_description(table, str(output))
    assert "--overwrite" in caught.value.remedy
    assert output.read_text() == "mine"
    with pytest.raises(WorkspaceError, match="there is no folder"):
        write_description(table, str(tmp_path / "none" / "own.toml"))
    with pytest.raises(InputError, match="not the name of a"):
        write_description(table, str(tmp_path / "own.txt"))
    with pytest.raises(InputError, match="no such file") as caught:
        write_description(table, str(output), overwrite=True)
    assert caught.value.remedy.startswith("Correct TABLE.")


@pytest.mark.slow
def test_from_a_table_to_the_page(tmp_path):
    """What is written runs as it is."""
    rows = rows_of(48, kind=lambda i: ("cat", "dog", "bird")[i % 3])
    describe(tmp_path, rows, output="first.toml")
    ended = run_forked(run_command, "init", "table.csv", PWD=str(tmp_path))
    assert ended.code == 0, ended.said
    assert "run: raymoe report own.toml" in ended.said
    quick = ["--set", "train.epochs=1", "--set", "probe.coalitions=4", "--set", "report.samples=2"]
    ended = run_forked(run_command, "report", "own.toml", *quick, PWD=str(tmp_path))
    assert ended.code == 0, ended.said
    assert (tmp_path / "runs/own/runs/fl-i2moe-seed0/report/index.html").stat().st_size > 50_000
