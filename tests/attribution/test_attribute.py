"""The importance table: one row per sample, expert and modality, whatever the batches were."""

import contextlib

import numpy as np
import pytest
import torch
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.actors.fleet import open_fleet
from raymoe.attribution import attribute, on_actors
from raymoe.attribution import sample_blocks as blocks
from raymoe.attribution.importance import importance, target_logits
from raymoe.errors import InputError, ParentError, RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import load_checkpoint
from raymoe.models.target import target_weights
from raymoe.project import Project, lock
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.contracts import IMPORTANCE
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table
from raymoe.project.workspace import Workspace
from raymoe.task import MULTILABEL

EXPERTS = ["unique:text", "unique:image", "synergy", "redundancy"]


@pytest.fixture
def project(tmp_path) -> Project:
    """Features and a checkpoint; the random importance table that comes with it is removed."""
    made = Project(tiny_preset(attribute={"batch_size": 3}), Workspace(tmp_path), "tiny")
    write_tiny_run(made, write_tiny_features(made))
    made.workspace.remove(f"{made.run}/importance.arrow")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad_attnroll", "ig"])
def test_actors_make_the_same_table(project, ray_session, capsys, monkeypatch, method):
    monkeypatch.setattr(blocks, "BATCHES", 1)
    preset = tiny_preset(attribute={"batch_size": 1, "method": method})
    project = Project(preset, project.workspace, "tiny")
    attribute(project, device="cpu")
    alone = table_of(project)
    attribute(project, address="local", num_actors=2, device="cpu", overwrite=True)
    shared = table_of(project)
    assert "blocks on 2 actors, one per core" in capsys.readouterr().out
    keys = ["sample_id", "expert", "modality", "method", "target"]
    assert shared.select(keys) == alone.select(keys)
    for a, b in zip(shared["scores"].to_pylist(), alone["scores"].to_pylist(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    if method == "ig":
        a, b = (metadata_of(t.schema)["convergence"] for t in (shared, alone))
        assert a == pytest.approx(b, rel=1e-2)


@pytest.mark.slow
def test_a_checkpoint_that_changed_stops_the_actors(project, ray_session, monkeypatch):
    @contextlib.contextmanager
    def changed(runner, arguments, **how):
        write_tiny_run(project, arguments[0].expected["features"], seed=4)
        with open_fleet(runner, arguments, **how) as fleet:
            yield fleet

    monkeypatch.setattr(on_actors, "open_fleet", changed)
    with pytest.raises(RaymoeError, match="changed since this was planned"):
        attribute(project, address="local", num_actors=1, device="cpu", overwrite=True)


def test_one_process_does_unless_actors_are_asked_for(project, monkeypatch):
    class ActorsError(Exception):
        pass

    def refuse(*_, **how):
        raise ActorsError

    monkeypatch.setattr(on_actors, "open_fleet", refuse)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert attribute(project, device="cpu").ran
    with pytest.raises(ActorsError):
        attribute(project, num_actors=2, device="cpu", overwrite=True)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(ActorsError):
        attribute(project, device="cpu", overwrite=True)


def test_without_a_sample_to_explain_no_ray_is_started(monkeypatch):
    monkeypatch.setattr(on_actors, "open_fleet", lambda *_, **how: pytest.fail("Ray was asked for"))
    how = {"address": "head:6379", "num_actors": 2, "device": None}
    on_actors.attribute_on_actors(None, None, [], lambda *_: None, **how)


def opened(project: Project):
    store = FeatureStore.open(FEATURES.of(project))
    model, info = load_checkpoint(CHECKPOINT.of(project))
    return store, model, info


def table_of(project: Project):
    return read_table(project.workspace, f"{project.run}/importance.arrow", IMPORTANCE, "")


def test_table_holds_every_sample_expert_and_modality(project):
    result = attribute(project, device="cpu")
    store, _, info = opened(project)
    table = table_of(project)
    ids = [store.sample_ids[i] for i in store.indices("test")]
    rows = table.to_pylist()
    keys = [(r["sample_id"], r["expert"], r["modality"]) for r in rows]
    assert keys == [(s, e, m) for s in ids for e in EXPERTS for m in ("text", "image")]
    for row in rows:
        _, valid, special = store.sequence(store.index_of(row["sample_id"]), row["modality"])
        scores = np.array(row["scores"])
        assert len(scores) == len(valid)
        kept = scores[valid & ~special]
        assert not scores[special].any()
        assert kept.size == 0 or (kept.min() == 0 and kept.max() in (0, 1))
        assert (row["method"], row["target"]) == ("grad_attnroll", "true")
    made = Provenance.from_json(metadata_of(table.schema)["made_by"])
    assert made.parents == {"checkpoint": info.fingerprint, "features": store.fingerprint}
    assert result.fingerprint == made.fingerprint
    assert not attribute(project, device="cpu").ran


def test_batches_do_not_matter(project):
    store, model, _ = opened(project)
    indices = np.arange(len(store))
    targets = [store.labels[i] for i in indices]
    together = importance(model, store.batch(indices, "cpu"), store.task, targets)
    for n, i in enumerate(indices):
        alone = importance(model, store.batch([i], "cpu"), store.task, [targets[n]])
        for name, scores in alone.scores.items():
            size = scores.shape[-1]
            np.testing.assert_allclose(together.scores[name][:, n, :size], scores[:, 0], atol=2e-4)
            assert not together.scores[name][:, n, size:].any()


def test_importance_follows_the_recipe_for_one_sample(project):
    """Attention, gradient, rollout and scaling written out for one expert of one sample."""
    store, model, _ = opened(project)
    index, classes = 2, [0, 2]
    batch = store.batch([index], "cpu")
    found = importance(model, batch, store.task, [classes])

    embeddings = model.project(batch.features, batch.valid)
    inputs = model.fusion_input(embeddings, batch.valid)
    logits, attentions = model.experts.forward_with_attention(
        inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT
    )
    weights = model.gate_weights(embeddings, batch.valid)
    score = sum(weights[0, e] * logits[e, 0, c] / len(classes) for e in range(4) for c in classes)
    gradients = torch.autograd.grad(score, attentions)
    for e in range(4):
        total = torch.eye(attentions[0].shape[-1], dtype=torch.float64)
        for a, g in zip(attentions, gradients, strict=True):
            step = (a[e, 0].relu().double() * g[e, 0].relu()).mean(0) + torch.eye(len(total))
            total = step / step.sum(1, keepdim=True) @ total
        raw = total.mean(0)
        text, image = raw.split([batch.valid["text"].shape[1], 9])
        words = text[1:-1]  # the first and the last are special
        expected = (words - words.min()) / (words.max() - words.min())
        np.testing.assert_allclose(found.scores["text"][e, 0, 1:-1], expected.detach(), atol=1e-4)
        expected = (image - image.min()) / (image.max() - image.min())
        np.testing.assert_allclose(found.scores["image"][e, 0], expected.detach(), atol=1e-4)


def test_target_is_the_mean_over_its_classes():
    logits = torch.tensor([[1.0, 2.0, 6.0], [3.0, 5.0, 7.0]])
    torch.testing.assert_close(target_logits(logits, [[0, 2], [1]]), torch.tensor([3.5, 5.0]))
    assert logits[0] @ target_weights([0, 2], 3) == 3.5


@pytest.mark.parametrize("method", ["attnroll", "ig", "random"])
def test_other_methods_have_the_same_table(project, method):
    other = Project(tiny_preset(attribute={"method": method}), project.workspace, "tiny")
    attribute(other, device="cpu")
    table = table_of(other)
    assert set(table["method"].to_pylist()) == {method}
    scores = np.concatenate(table["scores"].to_pylist())
    assert scores.min() == 0
    assert scores.max() == 1
    convergence = metadata_of(table.schema).get("convergence")
    assert (convergence is not None) == (method == "ig")
    if convergence:
        assert 0 <= convergence["mean"] <= convergence["max"] < 1e-2
    with pytest.raises(ParentError, match=f"method: {method} there, grad_attnroll now"):
        attribute(project, device="cpu")


def test_importance_that_is_zero_everywhere_is_counted_and_said(project, capsys, monkeypatch):
    """Of an expert without gradients; a single feature has nothing to be ranked with and doesn't count."""

    def without_gradients(model, batch, *rest):
        found = importance(model, batch, *rest)
        found.scores["text"][model.expert_names.index("synergy")] = 0.0
        return found

    monkeypatch.setattr(blocks, "importance", without_gradients)
    attribute(project)
    table = read_table(project.workspace, f"{project.run}/importance.arrow", IMPORTANCE, "")
    store = FeatureStore.open(FEATURES.of(project))
    explained = set(table["sample_id"].to_pylist())
    several = sum(store.candidates(store.index_of(name))["text"].sum() > 1 for name in explained)
    assert several > 0
    assert metadata_of(table.schema)["zero"] == {"synergy": several}
    said = " ".join(capsys.readouterr().out.split())
    assert f"importance is 0 for every feature of a modality in some of {len(explained)} samples" in said
    assert f"synergy {several} (an expert that the gate" in said
    monkeypatch.undo()
    attribute(project, overwrite=True)
    table = read_table(project.workspace, f"{project.run}/importance.arrow", IMPORTANCE, "")
    assert "zero" not in metadata_of(table.schema)


def test_settings_of_other_methods_do_not_matter(project):
    attribute(project, device="cpu")
    same = tiny_preset(attribute={"steps": 5, "seed": 9})
    assert not attribute(Project(same, project.workspace, "tiny"), device="cpu").ran


def test_predicted_target_explains_what_the_model_says(project):
    preset = tiny_preset(attribute={"target": "predicted"})
    other = Project(preset, project.workspace, "tiny")
    attribute(other, device="cpu")
    assert set(table_of(other)["target"].to_pylist()) == {"predicted"}
    store, model, _ = opened(project)
    indices = store.indices("test")
    batch = store.batch(indices, "cpu")
    found = importance(model, batch, MULTILABEL)
    with torch.no_grad():
        logits = model(batch.features, batch.valid).logits_BC
    for classes, row in zip(found.targets, logits, strict=True):
        assert classes == (torch.nonzero(row > 0).flatten().tolist() or [int(row.argmax())])


def test_unlabelled_samples_are_left_out_and_listed(project, monkeypatch):
    opened_store = FeatureStore.open

    def without_label(*arguments):
        store = opened_store(*arguments)
        store.labels[2] = []
        return store

    monkeypatch.setattr(FeatureStore, "open", without_label)
    for _ in range(2):  # the second time the table is there
        result = attribute(project, device="cpu")
        assert [entry["sample_id"] for entry in result.skipped] == ["s2"]
    assert "s2" not in table_of(project)["sample_id"].to_pylist()
    assert metadata_of(table_of(project).schema)["skipped"] == list(result.skipped)


def test_other_features_missing_checkpoint_and_unknown_split_are_refused(project):
    with pytest.raises(InputError, match="no sample in the split 'nowhere'") as caught:
        attribute(Project(tiny_preset(attribute={"split": "nowhere"}), project.workspace, "tiny"))
    assert "test, train, val" in caught.value.remedy
    write_tiny_features(project, seed=1)
    with pytest.raises(ParentError, match="was made from features"):
        attribute(project, device="cpu")
    project.workspace.remove(f"{project.run}/checkpoint")
    with pytest.raises(ParentError, match="no checkpoint there") as caught:
        attribute(project, device="cpu")
    assert "raymoe train tiny" in caught.value.remedy


def test_a_table_of_another_checkpoint_is_refused(project):
    attribute(project, device="cpu")
    name = f"{project.run}/checkpoint/config.json"
    changed = project.workspace.read(name).replace(b'"epoch": 0', b'"epoch": 1')
    project.workspace.write(name, changed)
    with pytest.raises(ParentError, match="the checkpoint it was made from"):
        attribute(project, device="cpu")
    assert attribute(project, device="cpu", overwrite=True).ran


def test_of_two_that_would_attribute_the_same_one_does(tiny, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    with (
        lock.RunLock(tiny.workspace, f"{tiny.run}/attribute.lock", "this attribution"),
        pytest.raises(RaymoeError, match=r"at work on this attribution: process \d+ on .*, since 20"),
    ):
        attribute(tiny, device="cpu", overwrite=True)
    assert attribute(tiny, device="cpu", overwrite=True).ran
    assert not tiny.workspace.exists(f"{tiny.run}/attribute.lock")
