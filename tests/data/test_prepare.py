"""prepare checks every row: what can be left out is left out and listed, what can't stops it by name."""

import csv
import io
import json
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from raymoe.config import Preset, load_preset
from raymoe.data import prepare, summary
from raymoe.data.summary import print_summary
from raymoe.errors import InputError, ParentError, WorkspaceError
from raymoe.project import Project, artifacts
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace

prepare_module = sys.modules["raymoe.data.prepare"]


def picture(colour="red", form="PNG", size=(12, 8)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def rows(n=9):
    return [
        {
            "id": f"s{i}",
            "split": ("train", "val", "test")[i % 3],
            "labels": [i % 3],
            "title": f"title {i}",
            "body": f"body {i}",
            "image": picture(form=("PNG", "JPEG", "WEBP")[i % 3]),
        }
        for i in range(n)
    ]


def project(tmp_path, source, **data):
    raw = {
        "name": "toy",
        "data": {
            "source": str(source),
            "task": "multilabel",
            "classes": ["cat", "dog", "bird"],
            "id_column": "id",
            "modalities": [
                {"name": "text", "kind": "text", "columns": ["title", "body"], "encoder": {"source": "hf:x"}},
                {"name": "image", "kind": "image", "columns": ["image"], "encoder": {"source": "hf:y"}},
            ],
            **data,
        },
    }
    return Project(Preset.model_validate(raw), Workspace(tmp_path / "ws"), "toy.toml")


def parquet(tmp_path, rows, **metadata):
    path = tmp_path / "raw.parquet"
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(metadata), path)
    return path


def prepared(project):
    return artifacts.SAMPLES.of(project).read()


def test_parquet_becomes_the_samples_table(tmp_path):
    raw = rows()
    p = project(tmp_path, parquet(tmp_path, raw, licence="CC0"))
    result = prepare(p)
    table, metadata = prepared(p), metadata_of(prepared(p).schema)
    assert result.ran
    assert result.skipped == ()
    assert table["sample_id"].to_pylist() == [r["id"] for r in raw]
    assert table["labels"].to_pylist() == [r["labels"] for r in raw]
    assert table["image"].to_pylist() == [r["image"] for r in raw]  # as they were in the source
    assert table["text"][0].as_py() == "title 0. body 0"
    assert metadata["classes"] == ["cat", "dog", "bird"]
    assert metadata["task"] == "multilabel"
    assert metadata["modalities"] == {"text": "text", "image": "image"}
    assert metadata["source"] == {"name": p.preset.data.source, "licence": "CC0"}
    assert metadata["fingerprint"] == result.fingerprint


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_csv_and_jsonl_with_pictures_in_files_give_the_same_table(tmp_path, form):
    wanted = project(tmp_path / "a", parquet(tmp_path, rows()))
    prepare(wanted)
    (tmp_path / "pictures").mkdir()
    raw = rows()
    for row in raw:
        (tmp_path / "pictures" / row["id"]).write_bytes(row["image"])
        row["image"] = f"pictures/{row['id']}"
    path = tmp_path / f"raw.{form}"
    if form == "csv":
        for row in raw:
            row["labels"] = "|".join(str(label) for label in row["labels"])
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, raw[0])
            writer.writeheader()
            writer.writerows(raw)
    else:
        path.write_text("\n".join(json.dumps(row) for row in raw))
    p = project(tmp_path, path)
    prepare(p)
    assert prepared(p).equals(prepared(wanted))


def test_a_picture_that_changes_its_file_makes_it_stale(tmp_path):
    raw = rows()
    for row in raw:
        (tmp_path / row["id"]).write_bytes(row["image"])
        row["image"] = row["id"]
    p = project(tmp_path, parquet(tmp_path, raw))
    prepare(p)
    (tmp_path / "s0").write_bytes(picture("blue", size=(30, 30)))
    with pytest.raises(ParentError, match="pictures"):
        prepare(p)
    assert prepare(p, overwrite=True).ran


def test_pictures_and_tables_that_are_gone_leave_what_was_prepared(tmp_path, capsys):
    raw = rows()
    for row in raw:
        (tmp_path / row["id"]).write_bytes(row["image"])
        row["image"] = row["id"]
    (tmp_path / "s4").unlink()  # left out from the start, so it is not one that is gone
    p = project(tmp_path, parquet(tmp_path, raw))
    made = prepare(p)
    assert [entry["sample_id"] for entry in made.skipped] == ["s4"]
    (tmp_path / "s4").write_bytes(picture("blue"))
    with pytest.raises(ParentError, match="pictures"):
        prepare(p)
    (tmp_path / "s4").unlink()
    (tmp_path / "s0").unlink()
    (tmp_path / "s1").unlink()
    capsys.readouterr()
    again = prepare(p)
    assert (again.ran, again.fingerprint) == (False, made.fingerprint)
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of the pictures (s0, ...) are no longer on disk" in said
    changed = replace(p, preset=p.preset.with_fields({"data.empty_text": "keep"}))
    with pytest.raises(ParentError, match="empty_text"):
        prepare(changed)
    Path(p.preset.data.source).unlink()
    assert prepare(p).fingerprint == made.fingerprint
    assert "raw.parquet is no longer on disk" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(InputError, match="no such file"):
        prepare(p, overwrite=True)
    assert artifacts.SAMPLES.of(p).exists()


def test_complete_is_not_run_again_and_other_inputs_are_refused(tmp_path):
    raw = rows()
    raw[3]["image"] = b""
    path = parquet(tmp_path, raw)
    p = project(tmp_path, path)
    first, again = prepare(p), prepare(p)
    assert (first.ran, again.ran) == (True, False)
    assert again.fingerprint == first.fingerprint
    assert again.skipped == first.skipped != ()
    parquet(tmp_path, rows(12))
    with pytest.raises(ParentError, match="source"):
        prepare(p)
    with pytest.raises(ParentError, match="empty_text"):
        prepare(project(tmp_path, path, empty_text="keep"))


def test_the_encoder_is_no_business_of_the_samples(tmp_path):
    path = parquet(tmp_path, rows())
    a = project(tmp_path, path)
    modalities = a.preset.data.model_dump()["modalities"]
    modalities[0]["encoder"]["source"] = "hf:another"
    assert prepare(a).fingerprint == prepare(project(tmp_path, path, modalities=modalities)).fingerprint


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("image", None, "no picture"),
        ("image", b"", "no picture"),
        ("image", b"not a picture", "decoded"),
        ("image", picture(size=(300, 300), form="JPEG")[:900], "decoded"),
        ("image", picture(size=(90, 90))[:-30], "decoded"),
        ("title", "", "empty text"),
        ("title", "  ", "empty text"),
        ("title", None, "empty text"),
    ],
)
def test_an_unusable_sample_is_left_out_and_listed(tmp_path, column, value, reason):
    raw = rows()
    raw[4][column] = value
    p = project(tmp_path, parquet(tmp_path, raw))
    (skipped,) = prepare(p).skipped
    assert (skipped["sample_id"], skipped["row"]) == ("s4", 5)
    assert reason in skipped["reason"]
    assert prepared(p)["sample_id"].to_pylist() == [r["id"] for r in raw if r["id"] != "s4"]
    assert metadata_of(prepared(p).schema)["skipped"] == [skipped]


def test_a_picture_of_too_many_pixels_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    raw = rows()
    raw[0]["image"], raw[1]["image"] = picture(size=(100, 100)), picture(size=(40, 40))
    p = project(tmp_path, parquet(tmp_path, raw))
    with pytest.warns(Image.DecompressionBombWarning):
        skipped = prepare(p).skipped
    assert [s["row"] for s in skipped] == [1, 2]
    assert all("DecompressionBomb" in s["reason"] for s in skipped)


def test_a_missing_picture_file_is_left_out(tmp_path):
    raw = rows()
    for row in raw:
        (tmp_path / row["id"]).write_bytes(row["image"])
        row["image"] = row["id"]
    (tmp_path / "s8").unlink()
    (skipped,) = prepare(project(tmp_path, parquet(tmp_path, raw))).skipped
    assert "there is no picture" in skipped["reason"]


def test_empty_texts_can_be_kept(tmp_path):
    raw = rows()
    raw[4]["title"] = None
    p = project(tmp_path, parquet(tmp_path, raw), empty_text="keep")
    assert prepare(p).skipped == ()
    assert prepared(p)["text"][4].as_py() == "body 4"


@pytest.mark.parametrize(
    ("title", "body", "text"),
    [("A", "B", "A. B"), ("A!", "B", "A! B"), ("A.", "", "A."), (" A ", None, "A"), ("A?", " B ", "A? B")],
)
def test_text_columns_join_into_sentences(tmp_path, title, body, text):
    raw = rows()
    raw[0]["title"], raw[0]["body"] = title, body
    p = project(tmp_path, parquet(tmp_path, raw))
    prepare(p)
    assert prepared(p)["text"][0].as_py() == text


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ([2, 0], [0, 2]),
        (["bird", "cat"], [0, 2]),
        ("dog", [1]),
        (1, [1]),
        ("cat|bird", [0, 2]),
        ("cat; dog", [0, 1]),
        ("0;2", [0, 2]),
        ([], []),
    ],
)
def test_labels_in_every_form(tmp_path, label, wanted):
    raw = [r | {"image": None, "labels": label if i == 0 else r["labels"]} for i, r in enumerate(rows())]
    for row in raw:
        (tmp_path / row["id"]).write_bytes(picture())
        row["image"] = row["id"]
    path = tmp_path / "raw.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in raw))
    p = project(tmp_path, path)
    prepare(p)
    assert prepared(p)["labels"][0].as_py() == wanted


@pytest.mark.parametrize("name", ["dev", "valid", "validation"])
def test_names_of_the_validation_split(tmp_path, name):
    raw = [r | {"split": name if r["split"] == "val" else r["split"]} for r in rows()]
    p = project(tmp_path, parquet(tmp_path, raw))
    prepare(p)
    assert set(prepared(p)["split"].to_pylist()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("changes", "task", "message"),
    [
        ({"labels": [3]}, "multilabel", "row 2, column labels: class 3 is outside 0..2"),
        ({"labels": [-1]}, "multilabel", "row 2, column labels: class -1"),
        ({"labels": None}, "multilabel", "row 2, column labels: no label"),
        ({"labels": [0, 1]}, "multiclass", "row 2, column labels: 2 labels"),
        ({"labels": []}, "multiclass", "row 2, column labels: 0 labels"),
        (
            {"id": "s0"},
            "multilabel",
            "row 2, column id: 's0' is the id of row 1 too, .*train and val overlap",
        ),
        ({"id": None}, "multilabel", "row 2, column id: no id"),
        ({"id": ""}, "multilabel", "row 2, column id: no id"),
        ({"split": "holdout"}, "multilabel", "row 2, column split: unknown split 'holdout'"),
        ({"split": None}, "multilabel", "row 2, column split: unknown split None"),
    ],
)
def test_a_wrong_row_stops_it_by_name(tmp_path, changes, task, message):
    raw = rows()
    raw[1] |= changes
    p = project(tmp_path, parquet(tmp_path, raw), task=task)
    with pytest.raises(InputError, match=message) as caught:
        prepare(p)
    assert "raw.parquet" in caught.value.message
    assert "raymoe prepare toy.toml" in caught.value.remedy
    assert not artifacts.SAMPLES.of(p).exists()


@pytest.mark.parametrize("label", ["horse", 1.5, True, {"a": 1}, ["cat", "horse"], [1, 0, 0]])
def test_a_label_that_is_none_stops_it(tmp_path, label):
    path = tmp_path / "raw.jsonl"
    raw = [{k: v for k, v in r.items() if k != "image"} | {"image": "x.png"} for r in rows()]
    raw[1]["labels"] = label
    path.write_text("\n".join(json.dumps(r) for r in raw))
    with pytest.raises(InputError, match="row 2, column labels"):
        prepare(project(tmp_path, path))


def test_all_problems_are_named_at_once_each_kind_in_one_line(tmp_path):
    raw = [r | {"labels": [7]} for r in rows(15)]
    raw[0]["split"] = "x"
    with pytest.raises(InputError) as caught:
        prepare(project(tmp_path, parquet(tmp_path, raw)))
    assert caught.value.message.count("\n") == 2  # a line for each kind, with a count
    assert "row 1, column split: unknown split 'x'" in caught.value.message
    assert "rows 1, 2, 3, 4, 5, ... (15 in all), column labels: classes outside 0..2" in caught.value.message


def test_values_of_the_wrong_type_stop_it(tmp_path):
    raw = [r | {"title": 5, "image": 7} for r in rows(3)]
    with pytest.raises(InputError, match="column title: int, not text") as caught:
        prepare(project(tmp_path, parquet(tmp_path, raw)))
    assert "column image: int, not a path or bytes" in caught.value.message


def test_a_split_without_samples_stops_it(tmp_path):
    raw = [r for r in rows() if r["split"] != "val"]
    with pytest.raises(InputError, match="split val"):
        prepare(project(tmp_path, parquet(tmp_path, raw)))


def test_nothing_left_stops_it_with_the_reason(tmp_path):
    raw = [r | {"image": b"x"} for r in rows()]
    p = project(tmp_path, parquet(tmp_path, raw))
    with pytest.raises(InputError, match=r"no usable sample at all.*9 samples were left out.*decoded"):
        prepare(p)
    assert not artifacts.SAMPLES.of(p).exists()


def test_a_class_without_training_sample_is_a_warning(tmp_path):
    p = project(tmp_path, parquet(tmp_path, rows()))  # labels go with splits: dog is in val only
    assert prepare(p).ran
    assert metadata_of(prepared(p).schema)["warnings"] == [
        "no training sample of class dog, bird",
        "no test sample of class cat, dog: the test scores say nothing of it",
    ]


def test_a_binary_task_has_two_classes(tmp_path):
    with pytest.raises(InputError, match="binary but there are 3"):
        prepare(project(tmp_path, parquet(tmp_path, rows()), task="binary"))


def test_a_missing_column_is_named_with_those_there(tmp_path):
    raw = [{k: v for k, v in r.items() if k != "body"} for r in rows()]
    with pytest.raises(InputError, match="no column body") as caught:
        prepare(project(tmp_path, parquet(tmp_path, raw)))
    assert "title" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("raw.parquet", b"PAR1 and then nothing"),
        ("raw.csv", b"id,split\n1,train,extra\n"),
        ("raw.csv", b""),
        ("raw.jsonl", b'{"id": 1}\n{"id": '),
        ("raw.jsonl", b"[1]\n"),
        ("raw.jsonl", b"\xff\xfe\n"),
        ("raw.xlsx", b"x"),
    ],
)
def test_a_file_that_is_no_table_stops_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        prepare(project(tmp_path, tmp_path / name))


def test_a_truncated_parquet_and_a_missing_file_stop_it(tmp_path):
    path = parquet(tmp_path, rows())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cut short"):
        prepare(project(tmp_path, path))
    with pytest.raises(InputError, match="no such file"):
        prepare(project(tmp_path, tmp_path / "none.parquet"))


def test_the_embedded_drawings_prepare_whole(tmp_path):
    p = Project(load_preset("demo"), Workspace(tmp_path), "demo")
    assert prepare(p).skipped == ()
    table = prepared(p)
    assert len(table) == 2193
    assert "public domain" in metadata_of(table.schema)["source"]["licence"]


def big_pictures(tmp_path, count, embedded):
    """Rows of different pictures of 270 KB each, in files or in the table."""
    made = []
    for i in range(count):
        data = picture((i, 255 - i, 7), "BMP", (300, 300))
        if not embedded:
            (tmp_path / f"{i}.bmp").write_bytes(data)
        split = ("train", "val", "test")[i % 3]
        made.append(
            {"id": f"s{i}", "split": split, "labels": [i % 3], "title": f"t{i}", "body": "", "image": data}
            if embedded
            else {
                "id": f"s{i}",
                "split": split,
                "labels": [i % 3],
                "title": f"t{i}",
                "body": "",
                "image": f"{i}.bmp",
            }
        )
    return made


@pytest.mark.parametrize("embedded", [False, True])
def test_few_pictures_are_in_memory_at_any_time(tmp_path, monkeypatch, embedded):
    monkeypatch.setattr(prepare_module, "ROWS_AT_A_TIME", 8)
    monkeypatch.setattr(prepare_module, "READ_AHEAD", 4)
    raw = big_pictures(tmp_path, 120, embedded)
    path = parquet(tmp_path, raw)
    images = [r["image"] if embedded else (tmp_path / r["image"]).read_bytes() for r in raw]
    p = project(tmp_path, path)
    del raw
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    prepare(p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * sum(map(len, images))
    assert pa.total_allocated_bytes() - before < 0.1 * sum(map(len, images))
    assert prepared(p)["image"].to_pylist() == images


def test_row_groups_are_cut_by_rows_and_bytes_and_the_file_is_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "ROWS_AT_A_TIME", 8)
    raw = big_pictures(tmp_path, 30, True)
    raw[3]["image"] = b"no picture"
    p = project(tmp_path, parquet(tmp_path, raw))
    prepare(p)
    whole = p.workspace.read(artifacts.SAMPLES.of(p).name)
    groups = pq.ParquetFile(artifacts.SAMPLES.of(p).path).metadata
    assert [groups.row_group(g).num_rows for g in range(groups.num_row_groups)] == [8, 8, 8, 5]
    prepare(p, overwrite=True)
    assert p.workspace.read(artifacts.SAMPLES.of(p).name) == whole
    monkeypatch.setattr(prepare_module, "BYTES_AT_A_TIME", 1_000_000)  # reached by the fourth picture
    prepare(p, overwrite=True)
    groups = pq.ParquetFile(artifacts.SAMPLES.of(p).path).metadata
    assert [groups.row_group(g).num_rows for g in range(groups.num_row_groups)] == [4] * 7 + [1]


def test_row_groups_of_the_source_do_not_matter(tmp_path):
    raw = rows(50)
    wanted = project(tmp_path / "a", parquet(tmp_path, raw))
    prepare(wanted)
    path = tmp_path / "cut.parquet"
    pq.write_table(pa.Table.from_pylist(raw), path, row_group_size=7)
    p = project(tmp_path, path)
    prepare(p)
    assert prepared(p).equals(prepared(wanted))


def test_a_picture_that_goes_while_it_runs_leaves_nothing_behind(tmp_path, monkeypatch):
    raw = big_pictures(tmp_path, 9, False)
    p = project(tmp_path, parquet(tmp_path, raw))
    check = prepare_module._bad_pictures

    def then_remove(*arguments):
        found = check(*arguments)
        (tmp_path / "7.bmp").unlink()
        return found

    monkeypatch.setattr(prepare_module, "_bad_pictures", then_remove)
    with pytest.raises(InputError, match=r"when it was checked, but not afterwards.*7\.bmp"):
        prepare(p)
    assert p.workspace.names(p.root) == []


@pytest.mark.parametrize("terminal", [False, True])
def test_the_summary_counts_samples_by_split_and_class(monkeypatch, terminal):
    console = Console(force_terminal=terminal, width=80, record=True, file=io.StringIO())
    monkeypatch.setattr(summary, "console", console)
    splits = ["train"] * 1200 + ["val", "test"]
    print_summary(splits, [[0]] * 1200 + [[0, 1], []], ["cat", "dog"])
    said = console.export_text()
    if terminal:
        lines = [
            [cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line
        ]
        assert lines == [["samples", "1,200", "1", "1"], ["cat", "1,200", "1", "0"], ["dog", "0", "1", "0"]]
    else:
        assert said.splitlines() == [
            "  samples: train 1,200, val 1, test 1",
            "  cat: train 1,200, val 1, test 0",
            "  dog: train 0, val 1, test 0",
        ]


def test_two_texts_and_no_picture_are_fine(tmp_path):
    modalities = [
        {"name": name, "kind": "text", "columns": [name], "encoder": {"source": "hf:x"}}
        for name in ("title", "body")
    ]
    raw = rows(600)
    p = project(tmp_path, parquet(tmp_path, raw), modalities=modalities)
    prepare(p)
    assert prepared(p).select(["sample_id", "title", "body"]).to_pylist() == [
        {"sample_id": r["id"], "title": r["title"], "body": r["body"]} for r in raw
    ]


def test_a_full_disk_is_named_and_leaves_no_half_table(tmp_path, mounted):
    noise = np.random.default_rng(0)
    raw = rows(9)
    for row in raw:
        buffer = io.BytesIO()
        Image.fromarray(noise.integers(0, 256, (300, 300, 3), np.uint8)).save(buffer, "PNG")
        row["image"] = buffer.getvalue()
    p = project(tmp_path, parquet(tmp_path, raw))
    p = Project(p.preset, Workspace(mounted), p.dataset)
    with pytest.raises(WorkspaceError, match="the workspace is full"):
        prepare(p)
    assert not artifacts.SAMPLES.of(p).exists()
    assert list((mounted / "toy").iterdir()) == []


def test_a_rule_instead_of_a_split_column(tmp_path):
    """By the id's hash: shares come out about right, and rows stay in place when others go."""
    rule = {"train": 0.5, "val": 0.2, "test": 0.3}
    all_rows = [{k: v for k, v in row.items() if k != "split"} for row in rows(200)]
    for row in all_rows:
        row["image"] = all_rows[0]["image"]
    whole = project(tmp_path / "a", parquet(tmp_path, all_rows), split_rule=rule)
    prepare(whole)
    split = dict(zip(*(prepared(whole)[name].to_pylist() for name in ("sample_id", "split")), strict=True))
    for name, share in rule.items():
        assert abs(list(split.values()).count(name) / 200 - share) < 0.12
    half = project(tmp_path / "b", parquet(tmp_path, all_rows[::2]), split_rule=rule)
    prepare(half)
    found = dict(zip(*(prepared(half)[name].to_pylist() for name in ("sample_id", "split")), strict=True))
    assert found == {f"s{i}": split[f"s{i}"] for i in range(0, 200, 2)}
    for wrong in ({"train": 0.5, "val": 0.5}, {"train": 0.9, "val": 0.2, "test": 0.1}):
        with pytest.raises(ValueError, match="split_rule needs shares"):
            project(tmp_path / "c", "raw.parquet", split_rule=wrong)


def test_a_table_without_any_label_is_refused(tmp_path):
    """There is nothing to train on, which would show after the encoders only."""
    raw = [dict(row, labels=[]) for row in rows()]
    source = tmp_path / "raw.jsonl"
    source.write_text("".join(json.dumps({**row, "image": "none.png"}) + "\n" for row in raw))
    (tmp_path / "none.png").write_bytes(rows()[0]["image"])
    with pytest.raises(InputError, match="no sample has any of the classes") as caught:
        prepare(project(tmp_path, source))
    assert "labels_column in [data], now 'labels'" in caught.value.remedy
    assert not (tmp_path / "ws" / "toy").exists()
