"""The masked expert: what a coalition means, and the zero-token collapse against the dense pass."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.config import ModelConfig
from raymoe.errors import RaymoeError
from raymoe.interactions import ExpertGame
from raymoe.models.checkpoint import Shape
from raymoe.models.fl_i2moe import FLI2MoE


def make_model(widths, classes=5, seed=0, **config):
    torch.manual_seed(seed)
    shapes = tuple(Shape(f"m{i}", width, 12) for i, width in enumerate(widths))
    settings = {"hidden_dim": 16, "num_heads": 2, **config}
    return FLI2MoE(shapes, classes, ModelConfig(**settings)).eval()


def make_sample(widths, lengths, specials, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = {
        f"m{i}": torch.randn(length, width, generator=generator)
        for i, (width, length) in enumerate(zip(widths, lengths, strict=True))
    }
    special = {}
    for i, (length, positions) in enumerate(zip(lengths, specials, strict=True)):
        special[f"m{i}"] = torch.zeros(length, dtype=torch.bool)
        special[f"m{i}"][list(positions)] = True
    return features, special


def test_a_coalition_means_the_model_on_zeroed_features():
    """f(S) is the expert's logit when tokens outside S and CLS are zeroed at the fusion input."""
    widths, lengths = (6, 4), (5, 7)
    model = make_model(widths)
    features, special = make_sample(widths, lengths, [(0, 4), ()])
    players = [("m0", 1), ("m0", 3), ("m1", 0), ("m1", 6)]
    target = torch.tensor([0.5, 0, 0.5, 0, 0])
    game = ExpertGame.of_sample(model, 2, features, special, players, target)
    coalition = np.array([[True, False, False, True]])

    batch = {n: x[None] for n, x in features.items()}
    valid = {n: torch.ones(1, len(x), dtype=torch.bool) for n, x in features.items()}
    with torch.no_grad():
        inputs = model.fusion_input(model.project(batch, valid), valid)
        keep = torch.zeros(12, dtype=torch.bool)
        keep[[0, 4, 1, 5 + 6]] = True  # specials, the active token, the active patch
        logits = model.experts(inputs.tokens_BTD * keep[None, :, None], inputs.key_bias_BT, inputs.pool_BMT)
    assert game(coalition)[0] == pytest.approx(float(logits[2, 0] @ target), abs=1e-6)


def test_everything_active_is_the_unmasked_model():
    widths, lengths = (6, 4), (5, 7)
    model = make_model(widths)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", i) for i in range(1, 5)] + [("m1", i) for i in range(7)]
    batch = {n: x[None] for n, x in features.items()}
    valid = {n: torch.ones(1, len(x), dtype=torch.bool) for n, x in features.items()}
    with torch.no_grad():
        logits = model(batch, valid).expert_logits_EBC
    for expert in range(4):
        game = ExpertGame.of_sample(model, expert, features, special, players, torch.eye(5)[1])
        assert game(np.ones((1, 11), bool))[0] == pytest.approx(float(logits[expert, 0, 1]), abs=1e-6)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    layers=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_collapsed_equals_dense(lengths, layers, seed, data):
    """For any number of modalities, any specials, any universe: the collapse is exact."""
    widths = [4] * len(lengths)
    model = make_model(widths, seed=seed, num_layers=layers)
    specials = [data.draw(st.sets(st.integers(0, length - 1), max_size=2)) for length in lengths]
    features, special = make_sample(widths, lengths, specials, seed)
    free = [(f"m{i}", t) for i, n in enumerate(lengths) for t in range(n) if t not in specials[i]]
    players = data.draw(st.lists(st.sampled_from(free), unique=True)) if free else []
    target = torch.randn(5, generator=torch.Generator().manual_seed(seed))
    expert = data.draw(st.integers(0, len(lengths) + 1))
    coalitions = np.random.default_rng(seed).random((30, len(players))) < np.linspace(0, 1, 30)[:, None]
    games = [
        ExpertGame.of_sample(model, expert, features, special, players, target, collapse=c)
        for c in (True, False)
    ]
    collapsed, dense = (game(coalitions) for game in games)
    np.testing.assert_allclose(collapsed, dense, atol=1e-5)


def test_batch_size_and_order_do_not_matter():
    widths, lengths = (6, 4), (6, 9)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", 2), ("m0", 3), ("m1", 1), ("m1", 4), ("m1", 8)]
    args = (make_model(widths), 2, features, special, players, torch.eye(5)[0])
    coalitions = np.random.default_rng(0).random((64, 5)) < 0.5
    values = ExpertGame.of_sample(*args)(coalitions)
    order = np.random.default_rng(1).permutation(64)
    for budget in (1, 50, 1 << 20):
        for collapse in (True, False):
            game = ExpertGame.of_sample(*args, tokens_per_batch=budget, collapse=collapse)
            np.testing.assert_allclose(game(coalitions[order]), values[order], atol=1e-5)


def test_padding_stays_out():
    """A sequence padded to any length is the same game."""
    widths, lengths = (6, 4), (4, 5)
    model = make_model(widths)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", 2), ("m1", 1), ("m1", 4)]
    coalitions = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=bool)
    expected = ExpertGame.of_sample(model, 3, features, special, players, torch.eye(5)[0])(coalitions)
    padded = {n: torch.cat([x, torch.full((3, x.shape[1]), 7.0)]) for n, x in features.items()}
    marks = {n: torch.cat([x, torch.zeros(3, dtype=torch.bool)]) for n, x in special.items()}
    valid = {n: torch.arange(len(x)) < len(x) - 3 for n, x in padded.items()}
    game = ExpertGame.of_sample(model, 3, padded, marks, players, torch.eye(5)[0], valid=valid)
    np.testing.assert_allclose(game(coalitions), expected, atol=1e-6)
    with pytest.raises(ValueError, match="not padding"):
        ExpertGame.of_sample(model, 3, padded, marks, [("m0", 5), ("m1", 1)], torch.eye(5)[0], valid=valid)


def test_bad_input_is_refused():
    widths = (6, 4)
    model, (features, special) = make_model(widths), make_sample(widths, (4, 4), [(0,), ()])
    with pytest.raises(ValueError, match="special positions"):
        ExpertGame.of_sample(model, 0, features, special, [("m0", 0)], torch.eye(5)[0])
    with pytest.raises(ValueError, match="distinct positions"):
        ExpertGame.of_sample(model, 0, features, special, [("m0", 1), ("m0", 1)], torch.eye(5)[0])
    game = ExpertGame.of_sample(model, 0, features, special, [("m0", 1), ("m1", 1)], torch.eye(5)[0])
    with pytest.raises(ValueError, match=r"\[m, 2\]"):
        game(np.ones((3, 5), bool))
    features["m1"][2] = torch.nan
    broken = ExpertGame.of_sample(model, 0, features, special, [("m0", 1), ("m1", 2)], torch.eye(5)[0])
    with pytest.raises(RaymoeError, match=r"not finite for the coalition of players \[0, 1\]"):
        broken(np.array([[True, False], [True, True]]))
