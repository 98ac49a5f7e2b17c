"""Each planted target is what its construction says, and the recorded truth is what is shown."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymoe.config import load_preset
from raymoe.data import prepare
from raymoe.data.planted import (
    ADDITIVE,
    CELL,
    CELLS,
    DRAWINGS,
    EVIDENCE,
    KINDS,
    PICTURES,
    SIDE,
    WITH_PAIRS,
    WORDS,
    draw_scenes,
    paint,
    read_planted,
)
from raymoe.errors import InputError, ParentError
from raymoe.features.lookup import load_encoder
from raymoe.project import Project, artifacts
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace


@pytest.fixture(scope="module")
def drawn():
    """Some thousands of scenes of the training split."""
    return [scene for split, scene in draw_scenes(6000, 3) if split == "train"]


def share(scenes, kind, condition=lambda scene: True):
    """How often a target is on, and the standard error of that."""
    on = [kind in scene.labels for scene in scenes if condition(scene)]
    return np.mean(on), np.sqrt(0.25 / len(on))


def test_a_seed_gives_the_same_scenes_and_another_gives_others():
    assert list(draw_scenes(60, 1)) == list(draw_scenes(60, 1))
    assert list(draw_scenes(60, 1)) != list(draw_scenes(60, 2))
    splits = [split for split, _ in draw_scenes(200, 0)]
    assert {split: splits.count(split) for split in splits} == {"train": 200, "val": 25, "test": 8 + 40}


def test_unique_and_redundant_targets_follow_from_their_evidence(drawn):
    for scene in drawn:
        assert ("unique_text" in scene.labels) == ("hammer" in scene.words)
        assert ("unique_image" in scene.labels) == ("hammer" in scene.cells)
        assert ("redundant" in scene.labels) == ("tiger" in scene.words or "tiger" in scene.cells)
    for there in (lambda s: "tiger" in s.words, lambda s: "tiger" in s.cells):
        assert share(drawn, "redundant", there)[0] == 1
    both = np.mean(["tiger" in s.words and "tiger" in s.cells for s in drawn if "redundant" in s.labels])
    assert both == pytest.approx(0.5, abs=0.05)


def test_neither_modality_says_anything_of_the_synergistic_target(drawn):
    for scene in drawn:
        (word,) = set(WORDS["synergistic"]) & set(scene.words)
        (drawing,) = set(PICTURES["synergistic"]) & set(scene.cells)
        assert ("synergistic" in scene.labels) == (word == drawing)
    for name in DRAWINGS:
        for there in (lambda s, n=name: n in s.words, lambda s, n=name: n in s.cells):
            if any(map(there, drawn)):
                found, error = share(drawn, "synergistic", there)
                assert abs(found - 0.5) < 5 * error, name


def test_controls_add_on_the_scale_of_log_odds_or_cancel(drawn):
    for kind, (word,) in (("additive", WORDS["additive"]), ("antagonistic", WORDS["antagonistic"])):
        found = np.zeros((2, 2))
        for w in (0, 1):
            for d in (0, 1):
                chosen = [s for s in drawn if (word in s.words, word in s.cells) == (w, d)]
                law = EVIDENCE ** (w + d) * (1 - EVIDENCE) ** (2 - w - d)
                assert len(chosen) / len(drawn) == pytest.approx(law, abs=0.03)
                found[w, d] = share(chosen, kind)[0]
        odds = np.log(found / (1 - found))
        second = odds[1, 1] - odds[1, 0] - odds[0, 1] + odds[0, 0]
        if kind == "additive":
            assert abs(second) < 0.8, "of differences of about 3"
            exact = np.log(np.array(ADDITIVE) / (1 - np.array(ADDITIVE)))
            assert exact[2] - exact[1] == pytest.approx(exact[1] - exact[0])
        else:
            assert second < -4


def test_targets_are_drawn_independently(drawn):
    on = np.array([[kind in scene.labels for kind in KINDS] for scene in drawn])
    correlation = np.corrcoef(on.T) - np.eye(len(KINDS))
    assert np.abs(correlation).max() < 5 / np.sqrt(len(drawn))


def test_the_first_test_scenes_show_all_evidence_of_all_targets_with_pairs():
    test = [scene for split, scene in draw_scenes(800, 0) if split == "test"]
    assert [scene.explained for scene in test] == [True] * 32 + [False] * 160
    for scene in test[:32]:
        assert set(WITH_PAIRS) <= set(scene.labels)
        for kind in WITH_PAIRS:
            target = scene.truth()["targets"][kind]
            assert target["words"][0] in WORDS[kind]
            assert len(target["boxes"]) == 1


def test_the_truth_is_what_sentence_and_picture_show():
    table = read_planted(load_preset("planted", ["data.scenes=60"]).data)
    scenes = table.scenes[::7]
    for scene in scenes:
        picture = np.asarray(Image.open(io.BytesIO(paint(scene, table.drawings))), float)
        assert picture.shape == (SIDE, SIDE, 3)
        assert picture[CELLS * CELL :].min() > 200, "what is left of the patches is empty"
        assert picture[:, CELLS * CELL :].min() > 200
        for kind, target in scene.truth()["targets"].items():
            assert all(word in scene.text.split() for word in target["words"])
            assert (kind in scene.labels) == target["on"]
            for left, top, right, bottom in target["boxes"]:
                cut = picture[
                    round(top * SIDE) : round(bottom * SIDE), round(left * SIDE) : round(right * SIDE)
                ]
                distance = {name: np.abs(cut - centred(table.drawings[name])).mean() for name in DRAWINGS}
                assert min(distance, key=distance.get) in PICTURES[kind]
    shown = [name for scene in scenes for name in scene.cells if name]
    assert len(shown) == 6 * len(scenes)


def centred(drawing):
    """A drawing in the middle of a white cell."""
    cell = Image.new("RGB", (CELL, CELL), "white")
    cell.paste(drawing, tuple((CELL - size) // 2 for size in drawing.size))
    return np.asarray(cell, float)


def test_every_word_is_one_token_of_the_encoder():
    preset = load_preset("planted")
    config = preset.data.modalities[0].encoder
    assert config.layer == 0, "what a word says is at that word alone"
    encoder = load_encoder("text", config.model_copy(update={"max_length": len(DRAWINGS) + 3}))
    (tokens,) = encoder.encode([" ".join([*DRAWINGS, "and"])]).tokens
    assert tokens == ["[CLS]", *DRAWINGS, "and", "[SEP]"]


def test_prepare_writes_the_truth_beside_the_samples(tmp_path):
    project = Project(load_preset("planted", ["data.scenes=40"]), Workspace(tmp_path), "planted")
    assert prepare(project).ran
    table = artifacts.SAMPLES.of(project).read()
    assert table.num_rows == 40 + 5 + 1 + 8
    for row in table.to_pylist():
        truth = json.loads(row["planted"])["targets"]
        assert [KINDS.index(kind) for kind in KINDS if truth[kind]["on"]] == row["labels"]
    assert metadata_of(table.schema)["classes"] == list(KINDS)
    assert not prepare(project).ran
    other = replace(project, preset=load_preset("planted", ["data.scenes=40", "data.seed=1"]))
    with pytest.raises(ParentError, match="seed: 0 there, 1 now"):
        prepare(other)


def test_other_classes_settings_and_drawings_are_refused(tmp_path):
    preset = load_preset("planted")
    classes = preset.data.model_copy(update={"classes": ("a", "b")})
    with pytest.raises(InputError, match="has the classes unique_text"):
        read_planted(classes)
    with pytest.raises(InputError, match=r"scenes is no option of format table"):
        load_preset("demo", ["data.scenes=100"])
    with pytest.raises(InputError, match="greater than or equal to 8"):
        load_preset("planted", ["data.scenes=1"])
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"sample_id": ["x"], "image": [b"y"]}), path)
    with pytest.raises(InputError, match="has no drawing"):
        read_planted(load_preset("planted", source=str(path)).data)


def test_scenes_of_a_single_target_change_no_other_scene():
    without = list(draw_scenes(200, 4))
    drawn = list(draw_scenes(200, 4, alone=3))
    first = next(i for i, (split, _) in enumerate(drawn) if split == "test") + 200 // 25
    single = drawn[first : first + 3 * len(WITH_PAIRS)]
    assert drawn[:first] + drawn[first + len(single) :] == without
    for number, (split, scene) in enumerate(single):
        kind = WITH_PAIRS[number % len(WITH_PAIRS)]
        target = scene.truth()["targets"][kind]
        assert (split, scene.explained) == ("test", True)
        assert set(scene.labels) & set(WITH_PAIRS) == {kind}
        assert (len(target["words"]), len(target["boxes"])) == (1, 1)
    others = [scene for _, scene in draw_scenes(200, 5, alone=3) if scene.explained]
    assert others[-12:] != [scene for _, scene in single]


def test_no_scenes_of_a_single_target_leave_no_trace_in_fingerprints():
    preset = load_preset("planted")
    assert "alone" not in preset.data.defining()
    assert load_preset("planted", ["data.alone=0"]).data.defining() == preset.data.defining()
    assert load_preset("planted", ["data.alone=2"]).data.defining()["alone"] == 2
