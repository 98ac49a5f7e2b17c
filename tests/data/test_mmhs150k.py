"""MMHS150K from its published folder: majority labels, splits, OCR text, and copies with faults."""

import json

import pytest
from support.archives import DAMAGES, encoded, tweet_ids, write_json, write_mmhs150k

from raymoe.config import load_preset
from raymoe.data import prepare
from raymoe.errors import InputError
from raymoe.project import Project, artifacts
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace

IDS = tweet_ids(30)


def project(tmp_path, source, *settings):
    preset = load_preset("mmhs150k", list(settings), str(source))
    return Project(preset, Workspace(tmp_path / "ws"), "mmhs150k", settings, str(source))


def prepared(project):
    return artifacts.SAMPLES.of(project).read()


def warnings_of(project):
    return "\n".join(metadata_of(prepared(project).schema)["warnings"])


def change(archive, tweet_id, **fields):
    truth = json.loads((archive / "MMHS150K_GT.json").read_text())
    truth[tweet_id] |= fields
    write_json(archive / "MMHS150K_GT.json", truth)


@pytest.mark.parametrize("depth", ["archive", "parent"])
def test_the_published_folder_becomes_the_samples_table(tmp_path, depth):
    archive = write_mmhs150k(tmp_path)
    p = project(tmp_path, archive if depth == "archive" else tmp_path)
    assert prepare(p).skipped == ()
    table = prepared(p)
    assert table["sample_id"].to_pylist() == IDS
    assert table["split"].to_pylist() == ["train"] * 15 + ["val"] * 7 + ["test"] * 8
    truth = json.loads((archive / "MMHS150K_GT.json").read_text())
    assert table["text"].to_pylist() == [truth[i]["tweet_text"] for i in IDS]
    assert table["image"].to_pylist() == [encoded(i) for i in range(30)]
    assert "train_ids.txt has 15 ids, not 134,823" in warnings_of(p)


@pytest.mark.parametrize(
    ("labels", "hate"),
    [([0, 0, 0], 0), ([0, 5, 0], 0), ([2, 0, 2], 1), ([1, 2, 0], 1), ([1, 2, 3], 1), ([4, 4, 4], 1)],
)
def test_two_of_three_annotators_decide(tmp_path, labels, hate):
    archive = write_mmhs150k(tmp_path)
    change(archive, IDS[4], labels=labels)
    p = project(tmp_path, archive)
    prepare(p)
    assert prepared(p)["labels"][4].as_py() == [hate]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"labels": [1, 0]}, "labels [1, 0] in MMHS150K_GT.json aren't those of three annotators"),
        ({"labels": [1, 0, 0, 0]}, "aren't those of three annotators"),
        ({"labels": None}, "labels None"),
        ({"labels": [0, 6, 1]}, "aren't of 0..5"),
        ({"labels": [0, True, 1]}, "aren't of 0..5"),
        ({"tweet_text": None}, "no tweet_text"),
    ],
)
def test_a_tweet_with_wrong_labels_or_no_text_is_left_out(tmp_path, fields, reason):
    archive = write_mmhs150k(tmp_path)
    change(archive, IDS[7], **fields)
    p = project(tmp_path, archive)
    (skipped,) = prepare(p).skipped
    assert skipped["sample_id"] == IDS[7]
    assert reason in skipped["reason"]
    assert len(prepared(p)) == 29


def test_text_in_the_pictures_on_request(tmp_path):
    archive = write_mmhs150k(tmp_path)
    (archive / "img_txt" / f"{IDS[3]}.json").write_text('{"img_te')
    p = project(tmp_path, archive, "data.ocr_text=true")
    prepare(p)
    texts = prepared(p)["text"].to_pylist()
    assert texts[0].endswith("https://t.co/x0. words in picture 0")
    assert texts[1].endswith("https://t.co/x1")
    assert texts[3].endswith("https://t.co/x3")
    assert "9 of 30 pictures have text by OCR" in warnings_of(p)
    assert f"so that those pictures have no text: 1 ({IDS[3]})" in warnings_of(p)


def test_a_tweet_cut_within_an_emoji_is_kept(tmp_path):
    archive = write_mmhs150k(tmp_path)
    change(archive, IDS[0], tweet_text="a laugh \U0001f602 and half of one \ud83d")
    p = project(tmp_path, archive)
    assert prepare(p).skipped == ()
    assert prepared(p)["text"][0].as_py() == "a laugh \U0001f602 and half of one ?"


def test_text_in_the_pictures_that_is_not_there_stops_it(tmp_path):
    archive = write_mmhs150k(tmp_path)
    (archive / "img_txt").rename(archive / "texts")
    with pytest.raises(InputError, match=r"data\.ocr_text is on") as caught:
        prepare(project(tmp_path, archive, "data.ocr_text=true"))
    assert "leave data.ocr_text off" in caught.value.remedy


def test_the_copy_with_test_ids_for_training_is_recognised(tmp_path):
    archive = write_mmhs150k(tmp_path)
    (archive / "splits" / "train_ids.txt").write_bytes((archive / "splits" / "test_ids.txt").read_bytes())
    p = project(tmp_path, archive)
    with pytest.raises(InputError, match=r"ids in both train and test: 8 \(") as caught:
        prepare(p)
    assert IDS[-8] in caught.value.message
    assert "A copy of MMHS150K in circulation has this fault" in caught.value.remedy
    assert not artifacts.SAMPLES.of(p).exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_tweet_without_a_usable_picture_is_left_out(tmp_path, damage):
    archive = write_mmhs150k(tmp_path)
    spoil, reason = DAMAGES[damage]
    spoil(archive / "img_resized" / f"{IDS[11]}.jpg")
    p = project(tmp_path, archive)
    (skipped,) = prepare(p).skipped
    assert (skipped["sample_id"], skipped["row"]) == (IDS[11], None)
    assert reason in skipped["reason"]
    if damage == "missing":
        assert f"pictures missing in {archive / 'img_resized'}: 1 of 30 ({IDS[11]}.jpg)" in warnings_of(p)


def test_ids_without_tweet_and_tweets_without_split_are_said(tmp_path):
    archive = write_mmhs150k(tmp_path)
    truth = json.loads((archive / "MMHS150K_GT.json").read_text())
    truth["99"] = truth.pop(IDS[2])
    write_json(archive / "MMHS150K_GT.json", truth)
    p = project(tmp_path, archive)
    (skipped,) = prepare(p).skipped
    assert (skipped["sample_id"], skipped["reason"]) == (IDS[2], "it is not in MMHS150K_GT.json")
    assert "tweets in no split: 1 (99)" in warnings_of(p)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("MMHS150K_GT.json", None, "no MMHS150K_GT.json"),
        ("MMHS150K_GT.json", '{"111": {"labels": [0,', "cut short"),
        ("MMHS150K_GT.json", "<html></html>", "HTML page"),
        ("MMHS150K_GT.json", "[]", "not an object"),
        ("splits/val_ids.txt", None, "no splits/val_ids.txt"),
        ("splits/val_ids.txt", "<html>\n", r"no tweet ids: 1 \(<html>\)"),
    ],
)
def test_damaged_files_stop_it_by_name(tmp_path, name, content, message):
    archive = write_mmhs150k(tmp_path)
    (archive / name).unlink()
    if content is not None:
        (archive / name).write_text(content)
    with pytest.raises(InputError, match=message):
        prepare(project(tmp_path, archive))


def test_no_picture_at_all_stops_it(tmp_path):
    archive = write_mmhs150k(tmp_path)
    (archive / "img_resized").rename(archive / "img")
    with pytest.raises(InputError, match="none of the pictures") as caught:
        prepare(project(tmp_path, archive))
    assert "gombru.github.io" in caught.value.message
