"""Answers under many masks at once are those of one mask after the other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import CLASSES, tiny_preset

from raymoe.experiments import masked_logits as module
from raymoe.experiments.masked_logits import masked_logits, over_batches
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.build import build_model
from raymoe.models.checkpoint import Shape
from raymoe.project.artifacts import FEATURES

SHAPES = (Shape("text", 6, 10), Shape("image", 5, 9))


def model_of(**fields):
    torch.manual_seed(0)
    return build_model(SHAPES, len(CLASSES), tiny_preset(model=fields).model).eval()


def random_batch(generator: torch.Generator, samples: int) -> FeatureBatch:
    """Texts of different lengths, one of them without a word that is not special."""
    features, valid, special = {}, {}, {}
    for name, width, length in (("text", 6, 10), ("image", 5, 9)):
        own = torch.randint(1, length + 1, (samples, 1), generator=generator)
        if name == "text":
            own[0] = 1
        valid[name] = torch.arange(length) < own
        x = torch.randn(samples, length, width, generator=generator)
        features[name] = x * valid[name][..., None]
        special[name] = torch.zeros_like(valid[name])
    special["text"][:, 0] = True
    return FeatureBatch(features, valid, special, torch.zeros(samples, 3), [f"s{i}" for i in range(samples)])


@pytest.mark.parametrize(
    "fields", [{"kind": "fl-i2moe"}, {"kind": "dense"}, {"kind": "fl-i2moe", "residual": "attention"}]
)
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 4), limit=st.sampled_from([1, 40, 4096]))
@settings(max_examples=15, deadline=None)
def test_zero_tokens_carried_as_one_change_nothing(fields, seed, samples, limit):
    model, generator = model_of(**fields), torch.Generator().manual_seed(seed)
    batch = random_batch(generator, samples)
    share = torch.rand(5, 1, 1, generator=generator).round(decimals=1)
    masks = {
        name: torch.rand(5, *valid.shape, generator=generator) < share for name, valid in batch.valid.items()
    }
    for name, mask in masks.items():
        mask[0] = False  # nothing
        mask[1] = batch.valid[name]  # everything, special positions too
        mask[2] = mask[3]  # computed once
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(module, "TOKENS_AT_ONCE", {"cpu": limit, "cuda": limit})
        found = masked_logits(model, batch, masks)
        for v in range(5):
            one = model(batch.features, batch.valid, {name: mask[v] for name, mask in masks.items()})
            torch.testing.assert_close(found[v], one.logits_BC, atol=2e-6, rtol=1e-5)


def test_equal_masks_of_a_sample_are_computed_once(monkeypatch):
    model, batch = model_of(kind="dense"), random_batch(torch.Generator().manual_seed(0), 3)
    rows = []
    monkeypatch.setattr(module, "_answers", lambda *a: rows.append(len(a[4])) or torch.zeros(len(a[4]), 3))
    masks = {name: torch.zeros(8, *valid.shape, dtype=torch.bool) for name, valid in batch.valid.items()}
    masks["image"][4:, :, 0] = True
    masks["image"][:, :, 8] = ~batch.valid["image"][:, 8]  # masking padding is masking nothing
    assert masked_logits(model, batch, masks).shape == (8, 3, 3)
    assert sum(rows) == 6


def test_samples_come_back_in_the_order_asked_for(tiny):
    store = FeatureStore.open(FEATURES.of(tiny))
    indices = np.array([6, 2, 3, 7, 0])

    def work(batch):
        ids = np.array([int(sample_id[1:]) for sample_id in batch.sample_ids])
        return ids, batch.valid["text"].sum(1).numpy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_TOKENS", 1)
        found, lengths = over_batches(work, model_of(), store, indices, "cpu", title="test", least=2)
    assert found.tolist() == indices.tolist()
    assert lengths.tolist() == [len(store.sequence(int(i), "text")[0]) for i in indices]
