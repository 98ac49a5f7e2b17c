"""Level 0 is the model as it is, a missing modality is a masked one, and rankings compare as they should."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from readable import make_project
from tiny import tiny_preset, write_tiny_features

from raymoe.errors import ParentError
from raymoe.evaluation import robustness as module
from raymoe.evaluation.protocols import evaluate
from raymoe.evaluation.robustness import agreement, deviations, noise_of, robustness
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import load_checkpoint
from raymoe.project import Project
from raymoe.tables import ROBUSTNESS, read_table
from raymoe.training import train
from raymoe.training.metrics import scores
from raymoe.training.predict import predict
from raymoe.workspace import Workspace

scores_lists = st.lists(st.integers(-50, 50), min_size=2, max_size=40, unique=True)


@given(scores_lists, st.integers(0, 2**32 - 1))
def test_agreement_is_one_with_itself_and_follows_the_order_alone(values, seed):
    before = np.array(values, float)
    assert agreement(before, np.exp(before / 50)) == pytest.approx({"rank_correlation": 1, "top_overlap": 1})
    assert agreement(before, -before)["rank_correlation"] == pytest.approx(-1)
    after = np.random.default_rng(seed).permutation(before)
    found = agreement(before, after)
    size = -(-len(values) // 10)
    best = [set(np.argsort(-x)[:size].tolist()) for x in (before, after)]
    assert found["top_overlap"] == pytest.approx(len(best[0] & best[1]) / size)
    assert all(math.isnan(x) for x in agreement(before, np.zeros(len(before))).values())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Project:
    project = make_project(tmp_path_factory.mktemp("ws"), epochs=2)
    for kind in ("fl-i2moe", "dense"):
        train(replace(project, preset=project.preset.with_fields({"model.kind": kind})), device="cpu")
    return project


@pytest.fixture(scope="module")
def table(trained):
    """With hardly any noise at one of the levels, so that it must change nothing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEVELS", (1e-6, 3.0))
        patch.setattr(module, "RANKED_SAMPLES", 5)
        assert evaluate(trained, "robustness", device="cpu").ran
        assert not evaluate(trained, "robustness", device="cpu").ran
    name = f"{trained.root}/evaluation/robustness.parquet"
    return read_table(trained.workspace, name, ROBUSTNESS, "").to_pandas()


@pytest.mark.parametrize("kind", ["fl-i2moe", "dense"])
def test_level_0_is_the_model_and_missing_is_masked(trained, table, kind):
    project = replace(trained, preset=trained.preset.with_fields({"model.kind": kind}))
    store = FeatureStore.open(project.workspace, project.features, "")
    model, _ = load_checkpoint(project.workspace, f"{project.run}/checkpoint", "")
    indices = store.indices("test")
    labels = [store.labels[i] for i in indices]
    clean = predict(model, store, indices, batch_size=8, device="cpu")
    rows = table[table["kind"] == kind]
    metric = rows[rows["quantity"] == "micro_f1"].set_index(["modality", "disturbance", "level"])["value"]
    weights = rows[rows["quantity"] == "expert_weight"]
    batch = store.batch(indices)
    for name in model.names:
        for level in (0.0, 1e-6):
            wanted = scores(clean.logits, labels, store.task)["micro_f1"]
            assert metric[name, "noise", level] == pytest.approx(wanted)
        assert metric[name, "noise", 3.0] != metric[name, "noise", 0.0]
        masked = {n: torch.zeros_like(valid) for n, valid in batch.valid.items()}
        masked[name] = batch.valid[name] & ~batch.special[name]
        with torch.no_grad():
            output = model(batch.features, batch.valid, masked)
        wanted = scores(output.logits_BC.numpy(), labels, store.task)["micro_f1"]
        assert metric[name, "missing", 1.0] == pytest.approx(wanted)
        if kind == "dense":
            assert weights.empty
            continue
        means = {0.0: clean.expert_weights.mean(0), 1.0: output.expert_weights_BE.mean(0).numpy()}
        for level, wanted in means.items():
            of_level = weights[(weights["modality"] == name) & (weights["level"] == level)]
            np.testing.assert_allclose(of_level["value"], wanted, atol=1e-6)
            assert list(of_level["expert"]) == model.expert_names
            assert (of_level["low"] <= of_level["value"]).all()


def test_rankings_change_with_the_noise_alone(table):
    ranked = table[table["quantity"].isin(["rank_correlation", "top_overlap"])]
    assert set(zip(ranked["kind"], ranked["expert"], ranked["score"], strict=True)) == {
        ("fl-i2moe", "synergy", "sii"),
        ("fl-i2moe", "redundancy", "redundancy_gap"),
        ("dense", "dense", "sii"),
        ("dense", "dense", "redundancy_gap"),
    }
    assert set(ranked["disturbance"]) == {"noise"}, "of two modalities one alone has no pairs"
    assert ranked["samples"].between(1, 5).all(), "those whose scores are not all the same"
    correlation = ranked[ranked["quantity"] == "rank_correlation"]
    by_level = correlation.groupby("level")["value"]
    assert by_level.min()[1e-6] > 0.999, "the same coalitions"
    assert by_level.max()[0.0] < 1, "other coalitions, other estimates"
    assert by_level.mean()[3.0] < by_level.mean()[1e-6]


def test_deviations_and_noise_are_those_of_the_definition(tiny):
    store = FeatureStore.open(tiny.workspace, tiny.features, "")
    indices = store.indices("test")
    for modality, found in deviations(store, indices).items():
        values = np.concatenate([store.sequence(int(i), modality)[0] for i in indices]).astype(float)
        np.testing.assert_allclose(found, values.std(0), rtol=1e-5)
    noise = noise_of("s1", "text", (2000, 3), 0)
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert (noise_of("s1", "text", (2000, 3), 0) == noise).all()
    for other in (("s2", "text", 0), ("s1", "image", 0), ("s1", "text", 1)):
        assert (noise_of(*other[:2], (2000, 3), other[2]) != noise).any()


def test_missing_parents_are_named(tmp_path):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    with pytest.raises(ParentError, match="no complete feature store"):
        robustness(project)
    write_tiny_features(project)
    with pytest.raises(ParentError, match="no finished run") as caught:
        robustness(project)
    assert "model.kind=dense" in caught.value.remedy
