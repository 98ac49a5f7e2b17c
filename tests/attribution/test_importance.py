"""Every method against an independent implementation; batches, padding and workers do not matter."""

import numpy as np
import pytest
import torch
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.attribution.importance import METHODS, importance
from raymoe.attribution.integrated import integrated_gradients, mixture_integrated_gradients
from raymoe.config import AttributeConfig
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import load_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.workspace import Workspace


@pytest.fixture(scope="module", params=["fl-i2moe", "dense"])
def opened(request, tmp_path_factory):
    """A store, and a model of random weights."""
    preset = tiny_preset(model={"kind": request.param})
    project = Project(preset, Workspace(tmp_path_factory.mktemp("ws")), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    store = FeatureStore.open(FEATURES.of(project))
    return store, load_checkpoint(CHECKPOINT.of(project))[0]


def inputs_of(store, model, indices):
    batch = store.batch(indices)
    with torch.no_grad():
        inputs = model.fusion_input(model.project(batch.features, batch.valid), batch.valid)
    special = torch.cat([batch.special[name] for name in model.names], 1)
    return batch, inputs, special


def test_integrated_gradients_are_captums(opened):
    """Whose points are even, so that it needs more of them."""
    from captum.attr import IntegratedGradients  # brings matplotlib, which nothing else here needs

    store, model = opened
    indices = [2, 5]
    _, inputs, special = inputs_of(store, model, indices)
    targets = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    found = integrated_gradients(model.experts, inputs, targets, special, 64)
    for e in range(len(model.expert_names)):
        for n in range(len(indices)):

            def score(tokens, e=e, n=n):
                k = len(tokens)
                bias, pool = (t[n : n + 1].repeat(k, *[1] * (t.dim() - 1)) for t in inputs_tensors(inputs))
                return model.experts(tokens, bias, pool)[e] @ targets[n]

            tokens = inputs.tokens_BTD[n : n + 1]
            oracle = IntegratedGradients(score)
            baseline = tokens * special[n : n + 1, :, None]
            wanted, delta = oracle.attribute(
                tokens, baseline, n_steps=300, method="gausslegendre", return_convergence_delta=True
            )
            torch.testing.assert_close(found.scores_ENT[e, n], wanted[0].sum(-1), atol=1e-6, rtol=1e-4)
            assert found.delta_EN[e, n] == pytest.approx(float(delta), abs=2e-6)
    assert not found.scores_ENT[:, special | ~inputs.valid_BT].any()


def test_the_mixtures_integrated_gradients_are_captums(opened):
    """All experts at once, by the whole input's gate; special positions have zeros for a baseline, too."""
    from captum.attr import IntegratedGradients

    store, model = opened
    batch = store.batch([2, 5])
    with torch.no_grad():
        embeddings = model.project(batch.features, batch.valid)
        gate = model.gate_weights(embeddings, batch.valid)
    targets = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    found = mixture_integrated_gradients(model, embeddings, batch.valid, targets, 64)
    names = model.names

    def score(*parts, targets):
        k = len(parts[0]) // 2
        valid = {name: v.repeat(k, 1) for name, v in batch.valid.items()}
        own = dict(zip(names, parts, strict=True))
        inputs = model.fusion_input(own, valid)
        logits = model.experts(inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)
        mixed = model.mix(logits, gate.repeat(k, 1)).logits_BC
        return (mixed * targets.repeat(k, 1)).sum(-1)

    oracle = IntegratedGradients(lambda *parts: score(*parts, targets=targets))
    wanted, delta = oracle.attribute(
        tuple(embeddings[name] for name in names),
        n_steps=300,
        method="gausslegendre",
        return_convergence_delta=True,
    )
    wanted = torch.cat(wanted, 1).abs().mean(-1)
    torch.testing.assert_close(found.scores_ENT[0], wanted, atol=1e-6, rtol=1e-3)
    assert found.delta_EN[0].tolist() == pytest.approx(delta.tolist(), abs=1e-5)
    whole = (model(batch.features, batch.valid).logits_BC * targets).sum(-1)
    none = score(*(torch.zeros_like(embeddings[name]) for name in names), targets=targets)
    torch.testing.assert_close(found.rise_EN[0], (whole - none).detach(), atol=1e-6, rtol=1e-5)


def inputs_tensors(inputs):
    return inputs.key_bias_BT, inputs.pool_BMT


def test_more_steps_are_more_complete(opened):
    store, model = opened
    _, inputs, special = inputs_of(store, model, np.arange(8))
    targets = torch.eye(3)[torch.arange(8) % 3]
    gaps = []
    for steps in (1, 4, 32):
        found = integrated_gradients(model.experts, inputs, targets, special, steps)
        gaps.append(float((found.delta_EN.abs() / found.rise_EN.abs().mean()).mean()))
    assert gaps[0] > gaps[1]
    assert gaps[2] < 1e-3
    assert gaps[2] <= gaps[1]
    silent = found.rise_EN[:, 3]  # no words there, but patches
    assert silent.abs().sum() > 0


def test_attention_rollout_is_the_product_of_mean_attention(opened):
    store, model = opened
    batch, inputs, _ = inputs_of(store, model, [2])
    found = importance(model, batch, store.task, [[0]], AttributeConfig(method="attnroll"), together=True)
    _, attentions = model.experts.forward_with_attention(
        inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT
    )
    E = len(model.expert_names)
    every = np.zeros(attentions[0].shape[-1])
    for e in range(E):
        total = np.eye(len(every))
        for attention in attentions:
            step = attention[e, 0].detach().double().numpy().mean(0) + np.eye(len(total))
            total = step / step.sum(1, keepdims=True) @ total
        every += total.mean(0)
        np.testing.assert_allclose(found.scores["image"][e, 0], scaled(total.mean(0)[-9:]), atol=1e-5)
    assert len(found.scores["image"]) == E + 1
    np.testing.assert_allclose(found.scores["image"][E, 0], scaled(every[-9:]), atol=1e-5)


def scaled(values):
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize("method", list(METHODS))
def test_no_method_looks_at_the_rest_of_the_batch(opened, method):
    store, model = opened
    config, indices = AttributeConfig(method=method, steps=8), np.arange(len(store))
    targets = [store.labels[i] for i in indices]
    every = method != "random"  # random scores of all experts together are nothing
    together = importance(model, store.batch(indices), store.task, targets, config, together=every)
    for n, i in enumerate(indices):
        alone = importance(model, store.batch([i]), store.task, [targets[n]], config, together=every)
        for name, scores in alone.scores.items():
            size = scores.shape[-1]
            np.testing.assert_allclose(together.scores[name][:, n, :size], scores[:, 0], atol=5e-4)
            assert not together.scores[name][:, n, size:].any()
            assert not scores[:, 0, store.sequence(i, name)[2]].any(), "special positions are no features"


def test_random_scores_have_a_seed_and_differ_between_experts_and_samples(opened):
    store, model = opened
    config = AttributeConfig(method="random")
    scores = importance(model, store.batch([2, 5]), store.task, None, config).scores["image"]
    again = importance(model, store.batch([5]), store.task, None, config).scores["image"]
    np.testing.assert_array_equal(scores[:, 1], again[:, 0])
    rows = scores.reshape(-1, 9)
    assert len({row.tobytes() for row in rows}) == len(rows)
    other = importance(model, store.batch([5]), store.task, None, replace_seed(config)).scores["image"]
    assert not np.allclose(other, again)


def replace_seed(config):
    return config.model_copy(update={"seed": 1})
