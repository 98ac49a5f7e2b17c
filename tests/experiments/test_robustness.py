"""Level 0 is the model as it is, a missing modality is a masked one, and rankings compare as they should."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.readable import make_project
from support.stores import write_store
from support.tiny import CLASSES, tiny_preset, write_tiny_features

from raymoe.errors import ParentError
from raymoe.experiments.robustness import ROBUSTNESS
from raymoe.experiments.robustness import measure as module
from raymoe.experiments.robustness.measure import Disturbance, agreement, deviations, noise_of
from raymoe.experiments.robustness.measure import measure as robustness
from raymoe.experiments.running import evaluate
from raymoe.experiments.trained_runs import TrainedRun
from raymoe.features.parts import ModalityInfo, Row, SequenceRow
from raymoe.features.store import FeatureStore
from raymoe.interactions import ExpertGame
from raymoe.interactions.candidates import Candidates
from raymoe.interactions.estimate import estimate, evaluations_per_coalition
from raymoe.models.build import build_model
from raymoe.models.checkpoint import Shape, load_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.provenance import Provenance
from raymoe.project.tables import read_table
from raymoe.project.workspace import Workspace
from raymoe.training import train
from raymoe.training.predict import predict

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
    project = make_project(tmp_path_factory.mktemp("ws"), epochs=1)
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
    store = FeatureStore.open(FEATURES.of(project))
    model, _ = load_checkpoint(CHECKPOINT.of(project))
    indices = store.indices("test")
    labels = [store.labels[i] for i in indices]
    clean = predict(model, store, indices, batch_size=8, device="cpu")
    rows = table[table["kind"] == kind]
    metric = rows[rows["quantity"] == "micro_f1"].set_index(["modality", "disturbance", "level"])["value"]
    weights = rows[rows["quantity"] == "expert_weight"]
    batch = store.batch(indices)
    for name in model.names:
        for level in (0.0, 1e-6):
            wanted = store.task.scores(clean.logits, labels)["micro_f1"]
            assert metric[name, "noise", level] == pytest.approx(wanted)
        assert metric[name, "noise", 3.0] != metric[name, "noise", 0.0]
        masked = {n: torch.zeros_like(valid) for n, valid in batch.valid.items()}
        masked[name] = batch.valid[name] & ~batch.special[name]
        with torch.no_grad():
            output = model(batch.features, batch.valid, masked)
        wanted = store.task.scores(output.logits_BC.numpy(), labels)["micro_f1"]
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
    # of the tiny model's experts one finds nothing redundant: there is nothing to rank
    assert set(zip(ranked["kind"], ranked["expert"], ranked["score"], strict=True)) == {
        ("fl-i2moe", "synergy", "sii"),
        ("fl-i2moe", "redundancy", "redundancy_gap"),
        ("dense", "dense", "sii"),
        ("dense", "dense", "redundancy"),
        ("dense", "dense", "redundancy_gap"),
    }
    assert set(ranked["disturbance"]) == {"noise"}, "of two modalities one alone has no pairs"
    assert ranked["samples"].between(1, 5).all(), "those whose scores are not all the same"
    correlation = ranked[ranked["quantity"] == "rank_correlation"]
    by_level = correlation.groupby("level")["value"]
    assert by_level.min()[1e-6] > 0.999, "the same coalitions"
    assert by_level.mean()[0.0] < 1, "other coalitions, other estimates"
    assert by_level.mean()[3.0] < by_level.mean()[1e-6]


def test_deviations_and_noise_are_those_of_the_definition(tiny):
    store = FeatureStore.open(FEATURES.of(tiny))
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


def test_without_one_of_three_modalities_the_pairs_of_the_others_are_ranked(tmp_path, monkeypatch):
    """As the pairs of a game in which the missing modality's features are in no coalition."""
    names, width, length = ("text", "image", "sound"), 4, 10
    encoder = {"source": "hf:none"}
    modalities = [{"name": n, "kind": "image", "columns": [n], "encoder": encoder} for n in names]
    preset = tiny_preset(data={"modalities": modalities}, model={"kind": "dense"})
    project = Project(preset, Workspace(tmp_path), "tiny")
    rng = np.random.default_rng(0)
    infos = [ModalityInfo(name, "image", width, length, (2, 5)) for name in names]
    rows = []
    for i in range(2):
        parts = {}
        for name in names:
            values = rng.normal(size=(length, width)).astype(np.float16)
            parts[name] = SequenceRow(values, np.ones(length, bool), np.zeros(length, bool))
        rows.append(Row(f"s{i}", "test", [i], parts))
    made = Provenance("encode", FEATURES.contract.tag, {})
    write_store(project, rows, infos, made, classes=CLASSES, task="multilabel")
    store = FeatureStore.open(FEATURES.of(project))
    torch.manual_seed(0)
    shapes = tuple(Shape(name, width, length) for name in names)
    model = build_model(shapes, len(CLASSES), preset.model).requires_grad_(False).eval()
    monkeypatch.setattr(TrainedRun, "model", lambda self, store, device: model)
    indices = store.indices("test")
    test = module._Run(
        TrainedRun(project, "dense", 0, ""), store, indices, store.labels, deviations(store, indices), "cpu"
    )
    agreements = test._agreements(0)
    players = [(name, t) for name in names for t in (1, 4, 5)]
    candidates = Candidates(players, np.zeros(9), np.array([[0, 8], [2, 3], [1, 5], [4, 6], [0, 4]]), None)
    ranked = module._Ranked(test, store.batch([0]), "dense", candidates, [1])
    for name, of_others in (("text", [3]), ("sound", [1, 2, 4]), ("image", [0])):
        missing = Disturbance(name, "missing", 1.0)
        v = test.disturbances.index(missing)
        assert (v, "dense", "sii") in agreements, "pairs of the other two are left"
        assert np.flatnonzero(ranked.kept(missing)).tolist() == of_others
        left = [i for i, (modality, _) in enumerate(players) if modality != name]
        features, _, special = (
            {n: torch.tensor(store.sequence(0, n)[k]).float() for n in names} for k in range(3)
        )
        special = {n: x.bool() for n, x in special.items()}
        target = torch.tensor([0.0, 1.0, 0.0])
        whole = ExpertGame.of_sample(model, "dense", features, special, players, target)

        def without(masks, whole=whole, left=left):
            placed = np.zeros((len(masks), 9), bool)
            placed[:, left] = masks
            return whole(placed)

        pairs = np.array([[left.index(p) for p in candidates.pairs[i]] for i in of_others])
        budget = 1 + preset.probe.coalitions * evaluations_per_coalition(pairs, "shared")
        seed = preset.probe.seed
        wanted = estimate(without, pairs, budget=budget, method="shared", seed=seed, num_players=6)
        found = ranked.scores(missing)
        np.testing.assert_allclose(found["sii"][of_others], wanted.sii, atol=1e-6)
        np.testing.assert_allclose(found["redundancy_gap"][of_others], wanted.redundancy_gap, atol=1e-6)
        assert np.isnan(np.delete(found["sii"], of_others)).all()


def test_missing_parents_are_named(tmp_path):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    with pytest.raises(ParentError, match="no complete feature store"):
        robustness(project)
    write_tiny_features(project)
    with pytest.raises(ParentError, match="no finished run") as caught:
        robustness(project)
    assert "model.kind=dense" in caught.value.remedy
