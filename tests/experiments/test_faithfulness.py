"""Masks take the right features, resamples are the metric's own, and what is important matters."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.readable import make_project
from support.tiny import tiny_preset, write_tiny_features

from raymoe.display.vocabulary import ALL_EXPERTS, EXPERTS_TOGETHER
from raymoe.errors import InputError, ParentError
from raymoe.experiments.bootstrap import interval, resample_counts, resampled_metric
from raymoe.experiments.faithfulness import FAITHFULNESS, FAITHFULNESS_SUMMARY
from raymoe.experiments.faithfulness.measure import METHODS, SHARES, top_share
from raymoe.experiments.faithfulness.measure import measure as faithfulness
from raymoe.experiments.running import evaluate
from raymoe.features.store import FeatureStore
from raymoe.interactions import ExpertGame
from raymoe.models.checkpoint import load_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.tables import read_table
from raymoe.project.workspace import Workspace
from raymoe.task import METRIC_NAMES, Task
from raymoe.training import train


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30),
    st.sampled_from(SHARES),
)
def test_the_top_share_is_the_best_candidates_rounded_up(row, share):
    values, candidates = zip(*row, strict=True)
    top = top_share(torch.tensor([values]), torch.tensor([candidates]), share)[0].tolist()
    order = sorted((i for i, c in enumerate(candidates) if c), key=lambda i: (-values[i], i))
    wanted = order[: -(-len(order) * share // 100)]
    assert [i for i, chosen in enumerate(top) if chosen] == sorted(wanted)
    assert len(wanted) >= min(1, len(order))


@pytest.mark.parametrize("task", ["multilabel", "multiclass", "binary"])
def test_resampled_metrics_are_those_of_the_samples_drawn(task):
    task = Task.named(task)
    rng = np.random.default_rng(0)
    classes = task.num_classes or 4
    logits = rng.normal(size=(3, 40, classes + 1))  # no sample has the last class
    logits[0, :, -1] = -9  # and the first variant never predicts it
    labels = [
        [int(rng.integers(classes))]
        if task.one_label
        else sorted(set(rng.integers(0, classes, rng.integers(0, 3))))
        for _ in range(40)
    ]
    counts = resample_counts(40, resamples=20)
    main = resampled_metric(logits, labels, task, counts)
    found = {metric: resampled_metric(logits, labels, task, counts, metric) for metric in METRIC_NAMES}
    assert main.shape == (3, 21)
    assert (main == found["accuracy" if task.one_label else "micro_f1"]).all()
    assert (counts[0] == 1).all()
    assert (counts.sum(1) == 40).all()
    for v in range(3):
        for r in range(21):
            drawn = np.repeat(np.arange(40), counts[r])
            own = task.scores(logits[v][drawn], [labels[i] for i in drawn])
            assert {metric: values[v, r] for metric, values in found.items()} == pytest.approx(own)


def test_an_interval_covers_what_it_says():
    values = np.concatenate([[99.0], np.linspace(0, 1, 1001)])
    assert interval(values) == pytest.approx((0.025, 0.975))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Project:
    """Labels can be read off one word or patch of each sample; two seeds of one kind, one of the other."""
    project = make_project(tmp_path_factory.mktemp("ws"), epochs=12, expert_task_weight=0.5)
    for changed in ({}, {"train.seed": 1}, {"model.kind": "dense"}):
        train(replace(project, preset=project.preset.with_fields(changed)), device="cpu")
    return project


def test_a_masked_feature_is_the_games_absent_player(trained):
    store = FeatureStore.open(FEATURES.of(trained))
    model, _ = load_checkpoint(CHECKPOINT.of(trained))
    index = int(store.indices("test")[0])
    batch = store.batch([index])
    generator = torch.Generator().manual_seed(0)
    masked = {
        name: (torch.rand(v.shape, generator=generator) < 0.5) & v & ~batch.special[name]
        for name, v in batch.valid.items()
    }
    with torch.no_grad():
        found = model(batch.features, batch.valid, masked)
        nothing = {name: torch.zeros_like(mask) for name, mask in masked.items()}
        whole = model(batch.features, batch.valid, nothing)
        torch.testing.assert_close(whole.logits_BC, model(batch.features, batch.valid).logits_BC)
    players = [
        (name, int(t))
        for name in model.names
        for t in torch.nonzero(batch.valid[name][0] & ~batch.special[name][0])
    ]
    coalition = np.array([[not masked[name][0, t] for name, t in players]])
    parts = {name: store.sequence(index, name) for name in model.names}
    target = torch.tensor([0.0, 1.0, 0.0])
    for e in range(len(model.expert_names)):
        game = ExpertGame.of_sample(
            model,
            e,
            {m: torch.tensor(p[0]) for m, p in parts.items()},
            {m: torch.tensor(p[2]) for m, p in parts.items()},
            players,
            target,
        )
        assert found.expert_logits_EBC[e, 0, 1].item() == pytest.approx(game(coalition)[0], abs=1e-5)


def test_what_is_important_matters_and_every_figure_is_there(trained, capsys):
    result = evaluate(trained, "faithfulness", device="cpu")
    assert result.ran
    root = f"{trained.root}/evaluation"
    rows = read_table(trained.workspace, f"{root}/faithfulness.parquet", FAITHFULNESS, "").to_pandas()
    assert len(rows) == (5 * 2 + 1) * len(METHODS) * len(SHARES)
    assert set(rows["metric"]) == {"micro_f1"}
    np.testing.assert_allclose(rows["drop"], rows["base"] - rows["masked"])
    table = read_table(trained.workspace, f"{root}/faithfulness-summary.parquet", FAITHFULNESS_SUMMARY, "")
    summary = table.to_pandas().set_index(["kind", "expert", "method"])
    for kind, seeds in (("fl-i2moe", [0, 1]), ("dense", [0])):
        for method in METHODS:
            row = summary.loc[kind, ALL_EXPERTS, method]
            own = rows[(rows["kind"] == kind) & (rows["method"] == method)]
            part = own[own["expert"] != EXPERTS_TOGETHER]
            assert list(row["seeds"]) == seeds
            for column in ("drop", "comprehensiveness", "sufficiency"):
                assert row[column] == pytest.approx(part[column].mean())
            assert row["drop_low"] <= row["drop"] <= row["drop_high"]
            assert np.isnan(row["drop_std"]) == (len(seeds) == 1)
        whose = [ALL_EXPERTS, EXPERTS_TOGETHER] if kind == "fl-i2moe" else [ALL_EXPERTS]
        for expert, method in product(whose, ("ig", "grad_attnroll")):
            row, random = summary.loc[kind, expert, method], summary.loc[kind, expert, "random"]
            assert row["over_random_low"] > 0, "masking the word or patch that tells the label hurts more"
            assert row["over_random"] == pytest.approx(row["drop"] - random["drop"])
            assert row["comprehensiveness"] > random["comprehensiveness"]
            assert row["sufficiency"] < random["sufficiency"]
    experts = summary.loc["fl-i2moe"].index.get_level_values("expert").unique()
    assert list(experts[-2:]) == [ALL_EXPERTS, EXPERTS_TOGETHER]
    one = rows[(rows["expert"] == EXPERTS_TOGETHER) & (rows["method"] == "ig")]
    assert summary.loc["fl-i2moe", EXPERTS_TOGETHER, "ig"]["drop"] == pytest.approx(one["drop"].mean())
    known = summary["convergence_delta"].dropna()
    assert set(known.index.get_level_values("method")) == {"ig"}
    assert (known < 0.01).all(), "the attributions of integrated gradients add up"
    assert (known > 0).all()
    said = capsys.readouterr().out
    assert "Faithfulness (Fig. 3, §4.2)" in said
    assert "Grad x AttnRoll" in said
    assert not evaluate(trained, "faithfulness", device="cpu").ran


def test_another_seed_is_measured_too_when_it_is_there(trained, tmp_path):
    faithfulness(trained, device="cpu")
    wider = replace(trained, preset=trained.preset.with_fields({"sweep.seeds": [1]}))
    assert faithfulness(wider, device="cpu").ran is False, "the project's own seed and the sweep's"
    fewer = wider.preset.with_fields({"sweep.seeds": [1], "train.seed": 1})
    assert faithfulness(replace(wider, preset=fewer), device="cpu").ran


def test_missing_parents_and_splits_are_named(tmp_path):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    with pytest.raises(ParentError, match="no complete feature store"):
        faithfulness(project)
    write_tiny_features(project)
    with pytest.raises(ParentError, match="no finished run") as caught:
        faithfulness(project)
    assert "raymoe train tiny" in caught.value.remedy
    assert "model.kind=dense" in caught.value.remedy
    with pytest.raises(InputError, match="unknown experiment 'faith'"):
        evaluate(project, "faith")
