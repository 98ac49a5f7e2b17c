"""Shapes and types that the docstrings promise, checked with jaxtyping."""

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int
from support.games import cross_pairs, smooth_game
from support.shapes import shaped
from torch import Tensor

from raymoe.config import ModelConfig
from raymoe.interactions import estimate
from raymoe.interactions.games.collapse import CollapsedExpert, DenseExpert
from raymoe.interactions.games.expert import ExpertGame
from raymoe.interactions.games.sequence import MaskedSequence
from raymoe.interactions.result import COLUMNS
from raymoe.interactions.sampling.coalitions import (
    SHAPLEY,
    SizeLaw,
    context_probability,
    drawn_coalitions,
    pair_contexts,
    tiled_coalitions,
)
from raymoe.interactions.sampling.grid import FlipGrid
from raymoe.interactions.sums import (
    CORNER_TERMS,
    TERMS,
    corner_terms,
    independent_sums,
    tiled_sums,
    whole_terms,
)
from raymoe.interactions.two_way import TwoWay
from raymoe.models.build import build_model
from raymoe.models.checkpoint import Shape

A = np.ndarray


def test_a_wrong_shape_is_found():
    """The check itself."""
    doubled = shaped(lambda x: np.stack([x, x]), Float[A, "n n"], x=Float[A, "n"])
    doubled(np.zeros(2))
    with pytest.raises(AssertionError, match="answer"):
        doubled(np.zeros(3))
    with pytest.raises(AssertionError, match="x: int64"):
        doubled(np.zeros(2, dtype=int))


def test_coalitions():
    n = 7
    for law in (SHAPLEY, SizeLaw("banzhaf", 0.3)):
        sizes = shaped(law.sizes, Float[A, "8"])(n)
        tiled = shaped(tiled_coalitions, Bool[A, "4 3 7"], sizes=Float[A, "8"])
        tiled(sizes, 6, 3, 1, 5, (0,))
        shaped(drawn_coalitions, Bool[A, "5 7"], sizes=Float[A, "8"])(sizes, 5, (0,))
        shaped(law.nodes, (Float[A, "t"], Float[A, "t"]))(n)
    shaped(pair_contexts, Bool[A, "5 7"])(n, 1, 3, 0, 5, 0)
    shaped(context_probability, Float[A, "8 6"])(n, 2)


def test_the_grid_and_the_terms():
    pairs = cross_pairs(6, 2)
    grid, bases = FlipGrid(pairs, 6), drawn_coalitions(SHAPLEY.sizes(6), 5, (0,))
    measure = shaped(
        lambda bases_kn: vars(grid.measure(smooth_game(6, 0), bases_kn)).values(),
        (Float[A, "4 k 8"], list, Float[A, "k 6"], Bool[A, "k 6"], Int[A, "k"]),
        bases_kn=Bool[A, "k 6"],
    )
    corners, *_ = measure(bases)
    each = dict.fromkeys(("f_0", "f_u", "f_v", "f_uv"), Float[A, "k p"])
    found = shaped(corner_terms, (Float[A, "k p"],) * len(CORNER_TERMS), **each)(*corners)
    terms = shaped(whole_terms, (Float[A, "k p"],) * len(TERMS))(found, TwoWay(pairs))
    for sums in (independent_sums(*terms), tiled_sums(*(x.reshape(5, 1, 8)[:4] for x in terms))):
        for name, column in sums.columns().items():
            assert isinstance(column, Int[A, "8"] if name.startswith("n_") else Float[A, "8"]), name


@pytest.mark.parametrize("method", ["shared", "paper", "surrogate", "adaptive", "exact"])
def test_an_estimate(method):
    game, pairs = smooth_game(8, 0), cross_pairs(8, 4)
    found = estimate(game, pairs, budget=2000, method=method)
    p = Float[A, "16"]
    for name in COLUMNS:
        assert isinstance(getattr(found, name), p), name
    assert isinstance(found.pairs, Int[A, "16 2"])
    assert found.degrees_of_freedom.shape == (16,)
    assert found.main_effects is None if method == "paper" else isinstance(found.main_effects, Float[A, "8"])
    shaped(found.interval, (p, p))(0.9)


@pytest.fixture(scope="module")
def sample():
    """A small model, and one sample of it with six players."""
    torch.manual_seed(0)
    shapes = (Shape("text", 6, 5), Shape("image", 4, 7))
    model = build_model(shapes, 3, ModelConfig(hidden_dim=16, num_heads=2)).eval()
    features = {"text": torch.randn(5, 6), "image": torch.randn(7, 4)}
    special = {name: torch.zeros(len(x), dtype=torch.bool) for name, x in features.items()}
    players = [("text", 0), ("text", 2), ("text", 3), ("image", 1), ("image", 4), ("image", 6)]
    return model, features, special, players


def test_a_models_forward(sample):
    model, features, *_ = sample
    batch = {name: torch.stack([x] * 4) for name, x in features.items()}
    valid = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in batch.items()}
    forward = shaped(
        lambda text, image: vars(model({"text": text, "image": image}, valid)).values(),
        (Float[Tensor, "B 3"], Float[Tensor, "4 B 3"], Float[Tensor, "B 4"]),
        text=Float[Tensor, "B _ 6"],
        image=Float[Tensor, "B _ 4"],
    )
    with torch.no_grad():
        forward(**batch)
        inputs = model.fusion_input(model.project(batch, valid), valid)
        experts = shaped(
            model.experts.forward,
            Float[Tensor, "4 N 3"],
            tokens=Float[Tensor, "N T D"],
            key_bias_NT=Float[Tensor, "N T"],
            pool_NMT=Float[Tensor, "N M T"],
        )
        experts(inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)


@pytest.mark.parametrize("evaluator", [CollapsedExpert, DenseExpert])
@torch.no_grad()
def test_a_masked_expert(sample, evaluator):
    model, features, special, players = sample
    sequence = MaskedSequence.of_sample(model, features, special, players)
    assert isinstance(sequence.tokens_TD, Float[Tensor, "12 16"])
    targets = torch.eye(3)[:, :2]
    made = evaluator(model.experts.select(1), sequence, targets, 100)
    answer = shaped(made.__call__, Float[Tensor, "m 2"], active_mn=Bool[Tensor, "m 6"], sizes_m=Int[A, "m"])
    coalitions = np.random.default_rng(0).random((9, 6)) < 0.5
    answer(torch.from_numpy(coalitions), coalitions.sum(1))


@pytest.mark.parametrize("expert", ["synergy", "mixture"])
def test_a_game(sample, expert):
    coalitions = np.random.default_rng(0).random((9, 6)) < 0.5
    one = ExpertGame.of_sample(sample[0], expert, *sample[1:], torch.eye(3)[0])
    two = ExpertGame.of_sample(sample[0], expert, *sample[1:], torch.eye(3)[:, :2])
    shaped(one.__call__, Float[A, "m"], coalitions=Bool[A, "m n"])(coalitions)
    shaped(two.__call__, Float[A, "m 2"], coalitions=Bool[A, "m n"])(coalitions)
