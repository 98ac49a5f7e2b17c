"""What a source can be: patterns, folders of shards, image folders, tar shards."""

import io
import json
import re
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import few
from support.tables import (
    CLASSES,
    cells_of,
    png,
    project_of,
    rows,
    samples_of,
    with_files,
    write_csv,
    write_jsonl,
    write_parquet,
    write_tar,
)

from raymoe.data import prepare
from raymoe.data.raw import column_names
from raymoe.data.readers.sources import find, is_there, split_in
from raymoe.errors import InputError
from raymoe.project.workspace import Workspace


def without(row, *names):
    return {k: v for k, v in row.items() if k not in names}


def by_split(found):
    return {s: [r for r in found if r["split"] == s] for s in ("train", "val", "test")}


@pytest.mark.parametrize("write", [write_parquet, write_jsonl, write_csv, write_tar])
def test_shards_are_one_table(tmp_path, write):
    found = rows(7)
    whole = with_files(tmp_path, found) if write in (write_jsonl, write_csv) else found
    form = write.__name__[6:]
    for i, start in enumerate(range(0, 7, 3)):
        write(tmp_path / f"part-{i:03}.{form}", whole[start : start + 3])
    image = "png" if write is write_tar else "image"
    wanted = [row["image"] for row in found]
    for source in (f"part-*.{form}", f"part-{{000..002}}.{form}", f"part-00{{0,1,2}}.{form}", "."):
        samples = samples_of(tmp_path / "out", tmp_path / source, image=image)
        assert samples["image"].to_pylist() == wanted
        assert samples["sample_id"].to_pylist() == [row["sample_id"] for row in found]
        assert is_there(str(tmp_path / source))
    assert not is_there(str(tmp_path / "none-*"))
    with pytest.raises(InputError, match=r"1 of 4 files are not there .*part-003"):
        find(str(tmp_path / f"part-{{000..003}}.{form}"))
    with pytest.raises(InputError, match="no file fits"):
        find(str(tmp_path / "none-*.parquet"))


def test_shards_of_a_split_give_it_and_paths_start_from_their_folder(tmp_path):
    found = rows(9)
    for name, part in zip(("train", "validation", "test"), by_split(found).values(), strict=True):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        write_jsonl(folder / "rows.jsonl", [without(row, "split") for row in with_files(folder, part)])
    samples = samples_of(tmp_path, tmp_path / "data")
    assert dict(zip(samples["sample_id"].to_pylist(), samples["split"].to_pylist(), strict=True)) == {
        row["sample_id"]: row["split"] for row in found
    }
    assert dict(zip(samples["sample_id"].to_pylist(), samples["image"].to_pylist(), strict=True)) == {
        row["sample_id"]: row["image"] for row in found
    }
    for name, part in by_split(found).items():
        write_parquet(tmp_path / f"{name}-00000-of-00001.parquet", [without(row, "split") for row in part])
    assert set(samples_of(tmp_path, tmp_path / "*.parquet")["split"].to_pylist()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("train/a.csv", "train"),
        ("data/Validation/0.csv", "Validation"),
        ("test-00000-of-00002.parquet", "test"),
        ("train.csv", "train"),
        ("val_0.csv", "val"),
        ("dev01.jsonl", "dev"),
        ("training.csv", None),
        ("table.csv", None),
        ("latest/a.csv", None),
    ],
)
def test_the_split_in_a_name(place, split):
    assert split_in(place) == split


def test_formats_are_not_mixed(tmp_path):
    write_parquet(tmp_path / "a.parquet", rows(3))
    write_csv(tmp_path / "b.csv", with_files(tmp_path, rows(3)))
    with pytest.raises(InputError, match=r"several formats: a.parquet, b.csv"):
        find(str(tmp_path))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("layout", ["split folders", "one table"])
def test_an_image_folder(tmp_path, form, layout):
    found = rows(9)
    write = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}[form]
    listed = []
    for name, part in zip(("train", "validation", "test"), by_split(found).values(), strict=True):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        described = []
        for i, row in enumerate(part):  # the same names in each folder
            (folder / f"{i}.png").write_bytes(row["image"])
            described.append({"file_name": f"{i}.png", **without(row, "split", "image", "sample_id")})
        listed += [{**d, "file_name": f"{name}/{d['file_name']}"} for d in described]
        if layout == "split folders":
            write(folder / f"metadata.{form}", described)
    if layout == "one table":
        write(tmp_path / "data" / f"metadata.{form}", listed)
    for image in ("image", "file_name"):
        samples = samples_of(tmp_path, tmp_path / "data", id_column="file_name", image=image)
        order = sorted(listed, key=lambda d: samples["sample_id"].to_pylist().index(d["file_name"]))
        assert samples["sample_id"].to_pylist() == [d["file_name"] for d in order]
        assert [
            {"train": "train", "validation": "val", "test": "test"}[i.split("/")[0]]
            for i in samples["sample_id"].to_pylist()
        ] == samples["split"].to_pylist()
        assert samples["image"].to_pylist() == [
            (tmp_path / "data" / d["file_name"]).read_bytes() for d in order
        ]
        assert samples["text"].to_pylist() == [d["title"] for d in order]


def test_what_was_made_of_a_folder_is_no_part_of_it(tmp_path):
    """Whose workspace lies in the folder of the data, as where everything is done in one place."""
    data = tmp_path / "data"
    data.mkdir()
    for split, part in by_split(rows(6)).items():
        write_parquet(data / f"{split}.parquet", part)
    project = replace(project_of(tmp_path, data), workspace=Workspace(data / "runs"))
    assert prepare(project).ran
    assert not prepare(project).ran, "the same table as before"
    assert [shard.path.name for shard in find(str(data)).shards] == [
        "test.parquet",
        "train.parquet",
        "val.parquet",
    ]


def test_class_folders_have_no_text(tmp_path):
    for name in CLASSES:
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        (tmp_path / "data" / "train" / name / "1.png").write_bytes(png())
    with pytest.raises(InputError, match="bird, cat, dog, but no table: their texts are missing") as caught:
        find(str(tmp_path / "data"))
    assert "metadata.csv" in caught.value.remedy
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without a table"):
        find(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="can't be the name"):
        find("a\0b")


def member(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def test_a_web_dataset(tmp_path):
    """Keys end at the first dot of the name; a class, a text and a picture of any format."""
    found = rows(6)
    for split, part in by_split(found).items():
        with tarfile.open(tmp_path / f"{split}-000.tar", "w") as tar:
            for row in part:
                key = f"./some.folder/{row['sample_id']}"
                member(tar, f"{key}.cls", str(row["labels"][0]).encode() + b"\n")
                member(tar, f"{key}.meta.json", b"no column that is asked for")
                member(tar, f"{key}.PNG", row["image"])
                member(tar, f"{key}.txt", row["title"].encode())
    settings = {"id_column": "__key__", "labels_column": "cls", "task": "multiclass"}
    settings["modalities"] = [
        {"name": "text", "kind": "text", "columns": ["txt"], "encoder": {"source": "hf:x"}},
        {"name": "image", "kind": "image", "columns": ["image"], "encoder": {"source": "hf:y"}},
    ]
    samples = samples_of(tmp_path / "a", tmp_path / "{train,val,test}-000.tar", **settings)
    ordered = [row for part in by_split(found).values() for row in part]
    assert samples["sample_id"].to_pylist() == [f"some.folder/{row['sample_id']}" for row in ordered]
    for column, name in (("split", "split"), ("labels", "labels"), ("text", "title"), ("image", "image")):
        assert samples[column].to_pylist() == [row[name] for row in ordered]


def test_of_a_web_dataset_each_picture_is_offered_once(tmp_path):
    """The extensions where a sample has several pictures; else ``image``, which stands for all of them."""
    one = [(f"{key}.{end}", png()) for key, end in (("a", "jpg"), ("b", "png"))] + [("b.txt", b"a")]
    assert column_names(str(shard(tmp_path / "one.tar", one))) == ["__key__", "image", "txt"]
    two = [("a.jpg", png()), ("b.jpg", png()), ("b.seg.png", png())]
    assert column_names(str(shard(tmp_path / "two.tar", two))) == ["__key__", "jpg", "seg.png"]


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member(tar, name, content)
    return path


def full(key):
    row = json.dumps({"sample_id": key, "split": "train", "labels": [0], "title": "a"}).encode()
    return [(f"{key}.json", row), (f"{key}.png", png())]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([*full("a"), *full("b"), ("a.cls", b"1")], "'a' do not lie next to each other"),
        ([*full("a"), ("a.png", png())], "'a.png' is there twice"),
        ([*full("a"), ("a.jpg", png())], "'a' has several pictures"),
        ([("a.json", b"{")], "'a.json' is no JSON"),
        ([("a.json", b"[1]")], "'a.json' is not an object"),
    ],
)
def test_a_shard_that_is_wrong_says_where(tmp_path, members, said):
    with pytest.raises(InputError, match=re.escape(said)):
        cells_of(shard(tmp_path / "t.tar", members))


@given(st.data())
@pytest.mark.hostile
@few(40)
def test_a_damaged_shard_never_loses_samples_in_silence(data):
    with tempfile.TemporaryDirectory() as folder:
        path = shard(Path(folder) / "t.tar", [m for k in "abcd" for m in full(k)])
        content = bytearray(path.read_bytes())
        used = len(bytes(content).rstrip(b"\0"))
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(1, used - 1))]
        else:  # a header's checksum
            start = data.draw(
                st.sampled_from(
                    [i * 512 for i in range(used // 512) if b"ustar" in content[i * 512 : i * 512 + 512]]
                )
            )
            content[start + 150] ^= 1
        path.write_bytes(content)
        try:
            found = cells_of(path)
        except InputError:
            return
        assert found == [png()] * 4
