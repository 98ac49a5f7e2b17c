"""ENRICO from its published folder: the shuffled split, two kinds of pictures, and damaged downloads."""

import random

import pytest
from support.archives import DAMAGES, encoded, enrico_ids, write_enrico

from raymoe.config import load_preset
from raymoe.data import prepare
from raymoe.data.enrico import shuffled_split
from raymoe.errors import InputError
from raymoe.project import Project, artifacts
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace

IDS = enrico_ids(42)
USED = [i for i in IDS if i not in ("50105", "50109")]


def project(tmp_path, source):
    preset = load_preset("enrico", [], str(source))
    return Project(preset, Workspace(tmp_path / "ws"), "enrico", (), str(source))


def prepared(project):
    return artifacts.SAMPLES.of(project).read()


def test_the_published_folder_becomes_the_samples_table(tmp_path):
    p = project(tmp_path, write_enrico(tmp_path))
    assert prepare(p).skipped == ()
    table, metadata = prepared(p), metadata_of(prepared(p).schema)
    assert table["sample_id"].to_pylist() == USED
    assert metadata["modalities"] == {"screenshot": "image", "wireframe": "image"}
    at = IDS.index(USED[20])
    assert table["screenshot"][20].as_py() == encoded(at)
    assert table["wireframe"][20].as_py() == encoded(at + 42, "PNG")
    assert table["labels"][20].as_py() == [(7 * at) % 20]
    assert "42 screens, not 1,460" in "\n".join(metadata["warnings"])


@pytest.mark.parametrize("count", [40, 1458])
def test_the_split_is_the_shuffle_of_the_row_indices(count):
    keys = list(range(count))
    random.Random(42).shuffle(keys)
    train, val = int(count * 0.65), int(count * (0.65 + 0.15))
    found = shuffled_split(count)
    assert {k for k in range(count) if found[k] == "train"} == set(keys[:train])
    assert {k for k in range(count) if found[k] == "val"} == set(keys[train:val])
    assert {k for k in range(count) if found[k] == "test"} == set(keys[val:])
    if count == 1458:
        assert [found.count(name) for name in ("train", "val", "test")] == [947, 219, 292]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["screenshots", "wireframes"])
def test_a_screen_without_a_usable_picture_is_left_out(tmp_path, kind, damage):
    archive = write_enrico(tmp_path)
    spoil, reason = DAMAGES[damage]
    spoil(next((archive / kind).glob(f"{USED[5]}.*")))
    p = project(tmp_path, archive)
    (skipped,) = prepare(p).skipped
    assert skipped["sample_id"] == USED[5]
    assert reason in skipped["reason"]
    kept = [(i, s) for i, s in zip(USED, shuffled_split(40), strict=True) if i != USED[5]]
    assert [(r["sample_id"], r["split"]) for r in prepared(p).to_pylist()] == kept
    if damage == "missing":
        assert f"{kind} missing in {archive / kind}: 1 of 40 ({USED[5]}." in "\n".join(
            metadata_of(prepared(p).schema)["warnings"]
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"{USED[3]},", f"{USED[2]},", f"line 5: {USED[2]} is in line 4 too"),
        (f"{USED[3]},", ",", "line 5: no screen_id"),
        ("screen_id,topic\n1000,bare", "screen_id,topic\n1000,bear", "line 2: unknown topic 'bear'"),
        ("screen_id,topic", "id,label", "no columns screen_id and topic, but: id, label"),
    ],
)
def test_a_damaged_list_of_topics_stops_it_by_line(tmp_path, old, new, message):
    archive = write_enrico(tmp_path)
    path = archive / "design_topics.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=r"design_topics\.csv") as caught:
        prepare(project(tmp_path, archive))
    assert message in caught.value.message


def test_an_html_page_instead_of_the_list_stops_it(tmp_path):
    archive = write_enrico(tmp_path)
    (archive / "design_topics.csv").write_text("<!DOCTYPE html>\n<html>\n")
    with pytest.raises(InputError, match=r"no columns .*<!DOCTYPE html>"):
        prepare(project(tmp_path, archive))


def test_a_list_cut_short_keeps_what_is_whole_but_says_so(tmp_path):
    archive = write_enrico(tmp_path)
    path = archive / "design_topics.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:30]))
    p = project(tmp_path, archive)
    prepare(p)
    assert "29 screens, not 1,460" in "\n".join(metadata_of(prepared(p).schema)["warnings"])


@pytest.mark.parametrize("kind", ["screenshots", "wireframes"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_pictures_that_is_not_there_stops_it(tmp_path, kind, zipped):
    archive = write_enrico(tmp_path)
    for path in (archive / kind).iterdir():
        path.unlink()
    if zipped:
        (archive / f"{kind}.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=kind) as caught:
        prepare(project(tmp_path, archive))
    assert "unzip" in caught.value.remedy if zipped else "as it was published" in caught.value.remedy


def test_another_folder_is_told_what_is_expected(tmp_path):
    with pytest.raises(InputError, match=r"no design_topics.csv in it") as caught:
        prepare(project(tmp_path, tmp_path))
    assert "github.com/luileito/enrico" in caught.value.message
    with pytest.raises(InputError, match="no such folder"):
        prepare(project(tmp_path, tmp_path / "none"))
