"""The masked expert: what a coalition means, and the zero-token collapse against the dense pass."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.config import ModelConfig
from raymoe.errors import InputError, RaymoeError
from raymoe.interactions.games import collapse as collapse_module
from raymoe.interactions.games.expert import ExpertGame
from raymoe.interactions.games.mixture import MixtureGame
from raymoe.interactions.games.precision import full_precision, noise_floor
from raymoe.models.build import build_model
from raymoe.models.checkpoint import Shape


def make_model(widths, classes=5, seed=0, **config):
    torch.manual_seed(seed)
    shapes = tuple(Shape(f"m{i}", width, 12) for i, width in enumerate(widths))
    settings = {"hidden_dim": 16, "num_heads": 2, **config}
    return build_model(shapes, classes, ModelConfig(**settings)).eval()


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
    heads=st.sampled_from([1, 2, 4]),
    padding=st.integers(0, 2),
    everything=st.booleans(),
    limit=st.sampled_from([0.0, 100.0]),  # layer 1 gathered, layer 1 from the table
    seed=st.integers(0, 10_000),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_collapsed_equals_dense(lengths, layers, heads, padding, everything, limit, seed, data):
    """For any number of modalities, any specials, any universe, either precision: the collapse is exact."""
    widths = [4] * len(lengths)
    model = make_model(widths, seed=seed, num_layers=layers, num_heads=heads)
    specials = [data.draw(st.sets(st.integers(0, length - 1), max_size=2)) for length in lengths]
    features, special = make_sample(widths, lengths, specials, seed)
    free = [(f"m{i}", t) for i, n in enumerate(lengths) for t in range(n) if t not in specials[i]]
    players = data.draw(st.lists(st.sampled_from(free), unique=True)) if free else []
    if everything:
        players = free
    room = min(padding, 12 - max(lengths))
    padded = {n: torch.cat([x, torch.full((room, 4), 7.0)]) for n, x in features.items()}
    marks = {n: torch.cat([x, torch.zeros(room, dtype=torch.bool)]) for n, x in special.items()}
    valid = {n: torch.arange(len(x)) < len(x) - room for n, x in padded.items()}
    target = torch.randn(5, 2, generator=torch.Generator().manual_seed(seed))
    expert = data.draw(st.integers(0, len(lengths) + 1))
    coalitions = np.random.default_rng(0).random((30, len(players))) < np.linspace(0, 1, 30)[:, None]
    before, collapse_module.TABLE_LIMIT = collapse_module.TABLE_LIMIT, limit
    try:
        games = {
            (collapse, dtype): ExpertGame.of_sample(
                model, expert, padded, marks, players, target, valid=valid, collapse=collapse, dtype=dtype
            )
            for collapse in (True, False)
            for dtype in (torch.float32, torch.float64)
        }
    finally:
        collapse_module.TABLE_LIMIT = before
    values = {key: game(coalitions) for key, game in games.items()}
    assert values[True, torch.float32].shape == (30, 2)
    np.testing.assert_allclose(values[True, torch.float32], values[False, torch.float32], atol=1e-5)
    np.testing.assert_allclose(values[True, torch.float64], values[False, torch.float64], atol=1e-12)
    np.testing.assert_allclose(values[True, torch.float32], values[True, torch.float64], atol=1e-5)


def test_several_targets_are_each_target():
    widths, lengths = (6, 4), (6, 9)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", 2), ("m0", 3), ("m1", 1), ("m1", 4), ("m1", 8)]
    args = (make_model(widths), "synergy", features, special, players)
    coalitions = np.random.default_rng(0).random((32, 5)) < 0.5
    together = {e: ExpertGame.of_sample(args[0], e, *args[2:], torch.eye(5)) for e in ("synergy", "mixture")}
    for expert, game in together.items():
        values = game(coalitions)
        assert values.shape == (32, 5)
        for c in range(5):
            alone = ExpertGame.of_sample(args[0], expert, *args[2:], torch.eye(5)[c])(coalitions)
            np.testing.assert_allclose(values[:, c], alone, atol=1e-6)
        assert values.std(0).min() > 1e-4


def masked_forward(model, features, keep):
    """``FLI2MoE.forward`` with masked features' embeddings and tokens zero: what ``mixture`` means."""
    valid = {n: torch.ones(1, len(x), dtype=torch.bool) for n, x in features.items()}
    embeddings = model.project({n: x[None] for n, x in features.items()}, valid)
    embeddings = {n: x * keep[n][None, :, None] for n, x in embeddings.items()}
    inputs = model.fusion_input(embeddings, valid)
    tokens = inputs.tokens_BTD * torch.cat([keep[n] for n in features])[None, :, None]
    logits = model.experts(tokens, inputs.key_bias_BT, inputs.pool_BMT)
    return model.mix(logits, model.gate_weights(embeddings, valid)).logits_BC[0]


@pytest.mark.parametrize("collapse", [True, False])
def test_the_mixture_is_the_model_on_zeroed_features(collapse):
    widths, lengths = (6, 4, 5), (5, 7, 3)
    model = make_model(widths, temperature_rw=0.1)  # a gate that takes sides
    features, special = make_sample(widths, lengths, [(0, 4), (), (1,)])
    players = [("m0", 1), ("m0", 3), ("m1", 0), ("m1", 6), ("m2", 0)]
    target = torch.tensor([0.5, 0, 0.5, 0, 0])
    game = ExpertGame.of_sample(model, "mixture", features, special, players, target, collapse=collapse)
    assert isinstance(game, MixtureGame)
    coalitions = np.random.default_rng(0).random((20, 5)) < np.linspace(0, 1, 20)[:, None]
    expected = []
    for row in coalitions:
        keep = {n: x.clone() for n, x in special.items()}
        for (name, position), active in zip(players, row, strict=True):
            keep[name][position] = bool(active)
        with torch.no_grad():
            expected.append(float(masked_forward(model, features, keep) @ target))
    np.testing.assert_allclose(game(coalitions), expected, atol=1e-5)
    np.testing.assert_allclose(game.double()(coalitions), expected, atol=1e-5)
    weights = game.gate_weights(torch.from_numpy(coalitions))
    assert weights.std(0).max() > 1e-3  # the gate answers to the coalition


def test_the_whole_mixture_is_the_prediction():
    widths, lengths = (6, 4), (5, 7)
    model = make_model(widths)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", i) for i in range(1, 5)] + [("m1", i) for i in range(7)]
    batch = {n: x[None] for n, x in features.items()}
    valid = {n: torch.ones(1, len(x), dtype=torch.bool) for n, x in features.items()}
    with torch.no_grad():
        logits = model(batch, valid).logits_BC[0]
    game = ExpertGame.of_sample(model, "mixture", features, special, players, torch.eye(5))
    np.testing.assert_allclose(game(np.ones((1, 11), bool))[0], logits, atol=1e-6)


@pytest.mark.parametrize("residual", ["input", "attention"])
def test_the_dense_transformer_is_a_game_too(residual):
    widths, lengths = (6, 4), (5, 7)
    model = make_model(widths, kind="dense", residual=residual)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", 1), ("m0", 3), ("m1", 0), ("m1", 6)]
    args = features, special, players, torch.eye(5)[1]
    coalitions = np.array([[True, False, False, True], [False, False, True, True]])
    batch = {n: x[None] for n, x in features.items()}
    valid = {n: torch.ones(1, len(x), dtype=torch.bool) for n, x in features.items()}
    expected = []
    for coalition in coalitions:
        keep = torch.zeros(12, dtype=torch.bool)
        keep[0] = True
        keep[[[1, 3, 5, 11][i] for i in np.flatnonzero(coalition)]] = True
        with torch.no_grad():
            inputs = model.fusion_input(model.project(batch, valid), valid)
            masked = inputs.tokens_BTD * keep[None, :, None]
            expected.append(float(model.experts(masked, inputs.key_bias_BT, inputs.pool_BMT)[0, 0, 1]))
    for expert in ("dense", "mixture", 0):
        game = ExpertGame.of_sample(model, expert, *args)
        np.testing.assert_allclose(game(coalitions), expected, atol=1e-6)
        np.testing.assert_allclose(game.double()(coalitions), expected, atol=1e-6)


def test_pooled_vectors_have_no_features_to_mask():
    model = make_model((6, 4), kind="i2moe", num_patches=2)
    features, special = make_sample((6, 4), (5, 7), [(0,), ()])
    with pytest.raises(InputError, match="no tokens or patches"):
        ExpertGame.of_sample(model, "synergy", features, special, [("m0", 1)], torch.eye(5)[0])


def test_an_expert_by_name_is_the_one_by_index():
    widths = (6, 4)
    model, (features, special) = make_model(widths), make_sample(widths, (4, 4), [(0,), ()])
    args = (features, special, [("m0", 1), ("m1", 1)], torch.eye(5)[0])
    coalitions = np.array([[False, False], [True, False], [True, True]])
    seen = set()
    for index, name in enumerate(model.expert_names):
        values = ExpertGame.of_sample(model, name, *args)(coalitions)
        np.testing.assert_array_equal(values, ExpertGame.of_sample(model, index, *args)(coalitions))
        seen.add(values[0])
    assert len(seen) == 4
    for unknown in ("synergi", 4, -1):
        with pytest.raises(InputError, match="no expert") as error:
            ExpertGame.of_sample(model, unknown, *args)
        assert "unique:m0, unique:m1, synergy, redundancy, or mixture" in error.value.remedy


def test_the_noise_floor_is_rounding_and_no_more():
    widths, lengths = (6, 4), (6, 9)
    model = make_model(widths)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", 2), ("m0", 3), ("m1", 1), ("m1", 4), ("m1", 8)]
    for expert in ("synergy", "mixture"):
        game = ExpertGame.of_sample(model, expert, features, special, players, torch.eye(5)[0])
        assert 1e-9 < noise_floor(game) < 1e-5
        assert noise_floor(game) == noise_floor(game, seed=0)
        assert noise_floor(game.double()) == 0
        assert noise_floor(game, np.zeros((0, 5), bool)) == 0
    assert all(p.dtype == torch.float32 for p in model.parameters())  # the twin is a copy
    with pytest.raises(InputError, match="no float64 twin"):
        noise_floor(lambda coalitions: coalitions.sum(1))


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))],
)
def test_low_precision_products_are_off_while_a_game_is_made_and_runs(device):
    """Some CPUs take bfloat16 for ``medium``, GPUs TF32 for ``high``: neither reaches a game's values."""
    widths, lengths = (6, 4), (12, 12)
    model = make_model(widths, hidden_dim=64).to(device)
    features, special = make_sample(widths, lengths, [(0,), ()])
    players = [("m0", i) for i in range(1, 12)] + [("m1", i) for i in range(12)]
    of_sample = model, 2, features, special, players, torch.eye(5, device=device)[0]
    game = ExpertGame.of_sample(*of_sample)
    coalitions = np.random.default_rng(0).random((200, 23)) < 0.5
    expected = game(coalitions)
    assert noise_floor(game, coalitions) < 1e-5
    before = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("medium")
        np.testing.assert_array_equal(game(coalitions), expected)
        np.testing.assert_array_equal(ExpertGame.of_sample(*of_sample)(coalitions), expected)
        assert torch.get_float32_matmul_precision() == "medium"
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32 == cudnn
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(
    not hasattr(torch.backends.mkldnn, "matmul"), reason="the switches per backend came with torch 2.9"
)
def test_the_newer_precision_switches_are_put_back_too():
    parts = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [part.fp32_precision for part in parts]
    try:
        parts[0].fp32_precision, parts[1].fp32_precision = "tf32", "bf16"
        with full_precision():
            assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
        assert [part.fp32_precision for part in parts] == ["tf32", "bf16"]
    finally:
        for part, value in zip(parts, before, strict=True):
            part.fp32_precision = value


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
    with pytest.raises(InputError, match="not padding"):
        ExpertGame.of_sample(model, 3, padded, marks, [("m0", 5), ("m1", 1)], torch.eye(5)[0], valid=valid)


@pytest.mark.parametrize("expert", [2, "mixture"])
def test_a_modality_without_positions_has_an_empty_mean(expert):
    """A sample without words: no bias reaches the head through their mean."""
    widths, lengths = (6, 4), (3, 5)
    model = make_model(widths)
    features, special = make_sample(widths, lengths, [(), ()])
    valid = {"m0": torch.zeros(3, dtype=torch.bool), "m1": torch.ones(5, dtype=torch.bool)}
    players = [("m1", i) for i in range(5)]
    coalitions = np.array([[True] * 5, [True, False, True, False, False]])
    games = [
        ExpertGame.of_sample(
            model, expert, features, special, players, torch.eye(5), valid=valid, collapse=collapse
        )
        for collapse in (True, False)
    ]
    values = [game(coalitions) for game in games]
    np.testing.assert_allclose(*values, atol=1e-6)
    with torch.no_grad():
        output = model({n: x[None] for n, x in features.items()}, {n: v[None] for n, v in valid.items()})
    logits = output.logits_BC[0] if expert == "mixture" else output.expert_logits_EBC[expert, 0]
    np.testing.assert_allclose(values[0][0], logits, atol=1e-6)


def test_bad_input_is_refused():
    widths = (6, 4)
    model, (features, special) = make_model(widths), make_sample(widths, (4, 4), [(0,), ()])
    with pytest.raises(InputError, match="special positions"):
        ExpertGame.of_sample(model, 0, features, special, [("m0", 0)], torch.eye(5)[0])
    with pytest.raises(InputError, match="distinct positions"):
        ExpertGame.of_sample(model, 0, features, special, [("m0", 1), ("m0", 1)], torch.eye(5)[0])
    game = ExpertGame.of_sample(model, 0, features, special, [("m0", 1), ("m1", 1)], torch.eye(5)[0])
    with pytest.raises(InputError, match=r"\[m, 2\]"):
        game(np.ones((3, 5), bool))
    with pytest.raises(InputError, match="must be bool, got float64"):
        game(np.ones((3, 2)))
    for player in (("m0", 4), ("m0", -1), ("m2", 0)):
        with pytest.raises(InputError, match="is not in the sample"):
            ExpertGame.of_sample(model, 0, features, special, [player], torch.eye(5)[0])
    args = (model, 0, features, special, [("m0", 1), ("m1", 1)])
    for target in (torch.ones(4), torch.ones(2, 5), torch.ones(5, 1, 1)):
        with pytest.raises(InputError, match="target's weights"):
            ExpertGame.of_sample(*args, target)
    for options, message in (
        ({"dtype": torch.float16}, "dtype is torch.float16"),
        ({"tokens_per_batch": 0}, "tokens_per_batch is 0"),
    ):
        with pytest.raises(InputError, match=message):
            ExpertGame.of_sample(*args, torch.eye(5)[0], **options)
    nothing = {n: torch.zeros(4, dtype=torch.bool) for n in features}
    with pytest.raises(InputError, match="no valid positions"):
        ExpertGame.of_sample(model, 0, features, special, [], torch.eye(5)[0], valid=nothing)
    model.train()
    with pytest.raises(InputError, match="training mode"):
        ExpertGame.of_sample(*args, torch.eye(5)[0])


@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("expert", [2, "mixture"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_named(bad, expert, collapse):
    """The first coalition with the broken feature, not one without it; and the game's own name."""
    widths = (6, 4)
    model, (features, special) = make_model(widths), make_sample(widths, (4, 4), [(0,), ()])
    features["m1"][2] = bad
    players = [("m0", 1), ("m1", 2)]
    options = {"collapse": collapse, "name": "sample s3, expert synergy"}
    game = ExpertGame.of_sample(model, expert, features, special, players, torch.eye(5)[0], **options)
    assert np.isfinite(game(np.array([[True, False], [False, False]]))).all()
    with pytest.raises(RaymoeError, match=r"^sample s3, expert synergy: .*not finite.*players \[0, 1\]"):
        game(np.array([[True, False], [True, True]]))
