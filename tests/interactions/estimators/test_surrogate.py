"""The Gaussian process against refitting and enumeration; the surrogate estimator built on it."""

import numpy as np
import pytest
import torch
from support.games import brute_force, cross_pairs, smooth_game, unanimity_game

from raymoe.interactions import estimate
from raymoe.interactions.estimators.exact import all_values, derivative_means, pair_scores
from raymoe.interactions.estimators.gaussian_process import GaussianProcess, ProductKernel
from raymoe.interactions.estimators.surrogate import spread_sizes, spread_weights
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sampling.grid import FlipGrid

LAWS = [SizeLaw(), SizeLaw("banzhaf", 0.3)]


@pytest.fixture(scope="module")
def fitted():
    """A process on 120 of the 2^8 coalitions of a smooth game."""
    n, game = 8, smooth_game(8, 3)
    index = np.random.default_rng(0).choice(1 << n, 120, replace=False)
    coalitions = (index[:, None] >> np.arange(n) & 1).astype(bool)
    values = game(coalitions)
    return n, coalitions, values, GaussianProcess(ProductKernel(coalitions, values), coalitions, values)


def test_it_predicts_what_it_has_not_seen(fitted):
    n, _, _, process = fitted
    truth = all_values(smooth_game(8, 3), n)
    everything = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    error = process.predict(everything, process.alpha_m) - truth
    assert error.var() < 0.1 * truth.var()


@pytest.mark.parametrize("law", LAWS)
def test_its_interactions_are_those_of_its_predictions(fitted, law):
    n, _, _, process = fitted
    first, second = process.interactions(process.alpha_m, law, np.arange(n))
    values = all_values(lambda z: process.predict(z, process.alpha_m), n)
    pairs = cross_pairs(n, 3)
    np.testing.assert_allclose(
        second[pairs[:, 0], pairs[:, 1]], pair_scores(values, n, pairs, law)[0], atol=1e-9
    )
    np.testing.assert_allclose(first, derivative_means(values, n, np.arange(n)[:, None], law), atol=1e-9)


def test_leaving_out_equals_fitting_without(fitted):
    _, coalitions, values, process = fitted
    left_out = np.arange(30, 55)
    alpha = process.without(left_out)
    assert (alpha[30:55] == 0).all()
    rest = np.delete(np.arange(120), left_out)
    smaller = GaussianProcess(process.kernel, coalitions[rest], values[rest])
    np.testing.assert_allclose(
        process.predict(coalitions, alpha), smaller.predict(coalitions, smaller.alpha_m), atol=1e-8
    )
    assert process.without(np.array([], dtype=int)) is process.alpha_m


def test_its_corners_are_its_predictions(fitted):
    n, coalitions, _, process = fitted
    pairs = np.array([[0, 4], [5, 1], [2, 7]])
    grid = FlipGrid(pairs, n)
    masks = (coalitions[:20, None] ^ grid.flips).reshape(-1, n)
    predicted = process.predict(masks, process.alpha_m).reshape(20, -1)
    np.testing.assert_allclose(
        process.corners(coalitions[:20], pairs, process.alpha_m, at_once=7),
        grid.corners(coalitions[:20], predicted).corners,
        atol=1e-9,
    )


@pytest.mark.parametrize("law", LAWS)
def test_spread_weights_give_the_index(law):
    """Summed over all coalitions with their probabilities, weighted values are the index."""
    n, game = 6, smooth_game(6, 1)
    pairs, sizes = cross_pairs(6, 2), spread_sizes(6, law)
    everything = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    size = everything.sum(1)
    drawn = sizes[size] / np.bincount(size)[size]
    weights = spread_weights(everything, pairs, sizes, law)
    found = (drawn * game(everything)) @ weights
    if law.index == "sii":
        np.testing.assert_allclose(found, [brute_force(game, n, pair) for pair in pairs], atol=1e-12)
    else:
        by_size = [brute_force(game, n, p, lambda s: 0.3**s * 0.7 ** (4 - s)) for p in pairs]
        np.testing.assert_allclose(found, by_size, atol=1e-12)


def test_it_is_far_ahead_of_shared_on_a_smooth_game():
    n, pairs = 14, cross_pairs(14, 7)
    errors = {"shared": 0.0, "surrogate": 0.0}
    for seed in range(3):
        game = smooth_game(n, seed)
        truth = estimate(game, pairs, method="exact").sii
        for method in errors:
            found = estimate(game, pairs, budget=2000, method=method, seed=seed)
            errors[method] += ((found.sii - truth) ** 2).mean()
    assert errors["surrogate"] < errors["shared"] / 3


def test_known_games_of_many_players():
    """A sum of unanimity games with 40 players, whose indices are known in closed form."""
    rng = np.random.default_rng(0)
    terms = {
        tuple(sorted(rng.choice(40, int(rng.integers(1, 5)), replace=False).tolist())): rng.normal()
        for _ in range(60)
    }
    game, sii = unanimity_game(40, terms)
    pairs = cross_pairs(40, 4)
    truth = np.array([sii(*pair) for pair in pairs.tolist()])
    found = estimate(game, pairs, budget=4000, method="surrogate", seed=1)
    low, high = found.interval(0.99)
    assert np.mean((low <= truth) & (truth <= high)) > 0.9
    assert ((found.sii - truth) ** 2).sum() < 0.3 * (truth**2).sum()


def test_a_constant_game_and_few_players():
    found = estimate(
        lambda z: np.full(len(z), 2.5), cross_pairs(12, 4), budget=2000, method="surrogate", num_players=12
    )
    np.testing.assert_allclose(found.sii, 0, atol=1e-9)
    np.testing.assert_allclose(found.redundancy_gap, 0, atol=1e-9)
    game, pairs = smooth_game(5, 0), cross_pairs(5, 2)
    all_of_them = estimate(game, pairs, budget=32, method="surrogate")
    assert all_of_them.num_evaluations == 32
    np.testing.assert_allclose(all_of_them.sii, estimate(game, pairs, method="exact").sii)
    assert (all_of_them.sii_stderr == 0).all()


def test_it_leaves_the_callers_random_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    estimate(smooth_game(12, 0), cross_pairs(12, 4), budget=1500, method="surrogate")
    assert torch.equal(before, torch.get_rng_state())
