"""The linear probes find what is linearly there, in either modality or in both."""

import numpy as np
import pytest
from support.stores import write_store
from support.tiny import CLASSES, tiny_preset, write_tiny_features

from raymoe.errors import InputError, ParentError
from raymoe.features.parts import ModalityInfo, Row, SequenceRow
from raymoe.project import Project, artifacts
from raymoe.project.contracts import FEATURES
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace
from raymoe.training.baselines import GRID, _one_vs_rest, _side_by_side, _standardise, linear_probes


def make_project(folder, task="multilabel", splits=("train", "train", "val", "test")) -> Project:
    """The text says whether it is class 0, the picture whether it is class 1 or 2."""
    project = Project(tiny_preset(data={"task": task}), Workspace(folder), "tiny")
    rng = np.random.default_rng(0)
    infos = [ModalityInfo("text", "text", 6, 4, None), ModalityInfo("image", "image", 40, 4, (2, 2))]
    rows = []
    for i in range(200):
        label = int(rng.integers(3))
        text, image = rng.normal(size=(4, 6)), rng.normal(size=(4, 40))
        text[:, 0] += 4 * (label == 0)
        image[:, 3] += 4 * (label == 1)
        image[:, 7] = 5  # constant: nothing to divide by
        none = np.zeros(4, bool)
        sequences = {
            "text": SequenceRow(text.astype(np.float16), ~none, none, ["x"] * 4),
            "image": SequenceRow(image.astype(np.float16), ~none, none),
        }
        rows.append(Row(f"s{i}", splits[i % len(splits)], [label], sequences))
    made = Provenance("encode", FEATURES.tag, {"task": task})
    write_store(project, rows, infos, made, classes=CLASSES, task=task)
    return project


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_both_together_beat_each_alone(tmp_path, task):
    project = make_project(tmp_path, task)
    assert linear_probes(project).ran
    table = artifacts.BASELINES.of(project).read()
    of = {(r["model"], r["split"], r["metric"]): r["value"] for r in table.to_pylist()}
    names = ["linear probe: text", "linear probe: image", "linear probe: text+image"]
    metrics = ("micro_f1", "macro_f1", "accuracy")
    assert set(of) == {(m, s, k) for m in names for s in ("val", "test") for k in metrics}
    both = of[names[2], "test", "macro_f1"]
    assert both > 0.7
    assert both > of[names[0], "test", "macro_f1"]
    assert both > of[names[1], "test", "macro_f1"]
    metadata = metadata_of(table.schema)
    assert set(metadata["chosen_c"]) == set(names)
    for name in names:
        assert (metadata["chosen_c"][name], metadata["chosen_positive_weight"][name]) in GRID


def test_it_is_deterministic_and_not_made_twice(tmp_path):
    a, b = make_project(tmp_path / "a"), make_project(tmp_path / "b")
    first = linear_probes(a)
    linear_probes(b)
    again = linear_probes(a)
    assert (again.ran, again.fingerprint) == (False, first.fingerprint)
    tables = [artifacts.BASELINES.of(p).read() for p in (a, b)]
    assert tables[0].equals(tables[1])


def test_other_features_and_missing_splits_are_refused(tmp_path):
    project = make_project(tmp_path / "a")
    linear_probes(project)
    write_tiny_features(project)
    with pytest.raises(ParentError, match="the features it was made from"):
        linear_probes(project)
    with pytest.raises(InputError, match="no sample in the split 'val'"):
        linear_probes(make_project(tmp_path / "b", splits=("train", "test")))


def test_blocks_weigh_the_same_however_wide_they_are():
    rng = np.random.default_rng(0)
    blocks = [_standardise({s: rng.normal(3, 2, (50, d)) for s in ("train", "val", "test")}) for d in (4, 36)]
    joint = _side_by_side(blocks)["train"]
    assert joint.shape == (50, 40)
    assert joint[:, :4].var() * 4 == pytest.approx(20)
    assert joint[:, 4:].var() * 36 == pytest.approx(20)
    np.testing.assert_array_equal(_side_by_side(blocks[:1])["val"], blocks[0]["val"])


def test_a_class_that_training_never_or_always_shows(tmp_path):
    inputs = {s: np.random.default_rng(0).normal(size=(6, 2)) for s in ("train", "val", "test")}
    targets = np.array([[0, 1, i % 2] for i in range(6)])
    logits, converged = _one_vs_rest(inputs, targets, 0.1)
    assert converged
    assert (logits["val"][:, 0] < -10).all()
    assert (logits["test"][:, 1] > 10).all()


def test_no_features_names_the_command(tmp_path):
    with pytest.raises(ParentError) as caught:
        linear_probes(Project(tiny_preset(), Workspace(tmp_path), "tiny"))
    assert "raymoe encode tiny" in caught.value.remedy
