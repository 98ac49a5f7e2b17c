"""The index as a weighted sum of values, sizes, draws without replacement, and shrinking."""

from math import comb

import numpy as np
import pytest
from support.games import smooth_game

from raymoe.interactions.estimators.exact import all_values, derivative_means, pair_scores
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sampling.sized import WHOLE, Drawn, coalitions_of, size_plan
from raymoe.interactions.shrinkage import shrunk
from raymoe.interactions.surrogates.network import enumerated_coalitions
from raymoe.interactions.weighted_values import index_of_values, size_weights, value_sizes


@pytest.mark.parametrize("law", [SizeLaw(), SizeLaw("banzhaf", 0.3)])
def test_all_values_weighted_are_the_index(law):
    n = 9
    rows = enumerated_coalitions(n)
    values = smooth_game(n, 1)(rows)
    first, second = index_of_values(rows, values, law)
    pairs = np.array([(u, v) for u in range(n) for v in range(n) if u != v])
    np.testing.assert_allclose(
        second[pairs[:, 0], pairs[:, 1]], pair_scores(values, n, pairs, law)[0], atol=1e-9
    )
    np.testing.assert_allclose(first, derivative_means(values, n, np.arange(n)[:, None], law), atol=1e-9)
    np.testing.assert_array_equal(values, all_values(smooth_game(n, 1), n))


@pytest.mark.parametrize("n", [4, 17, 200])
def test_sizes_of_a_sample_are_a_distribution_and_symmetric(n):
    share = value_sizes(n, SizeLaw())
    assert share.sum() == pytest.approx(1)
    np.testing.assert_allclose(share, share[::-1], rtol=1e-6)
    assert np.isfinite(size_weights(n, SizeLaw())).all()


def test_a_plan_takes_whole_what_would_be_taken_almost_whole():
    n = 12
    weight = size_weights(n, SizeLaw())
    plan = size_plan(weight, 600, np.zeros(n + 1))
    assert plan.whole[[0, 1, n - 1, n]].all()
    assert not plan.whole[n // 2]
    assert plan.evaluations <= 600
    np.testing.assert_array_equal(plan.share[plan.whole], 0)
    assert (plan.share[~plan.whole] > 0).all()
    assert plan.share.sum() == pytest.approx(1)
    left = 600 - plan.evaluations
    there = np.array([comb(n, size) for size in range(n + 1)])
    assert (left * plan.share < (WHOLE + 0.1) * there)[~plan.whole].all()


def test_a_plan_follows_what_varies():
    n = 12
    weight, varies = size_weights(n, SizeLaw()), np.ones(n + 1)
    varies[n - 3] = 20
    plain, told = (size_plan(weight * v, 300, np.zeros(n + 1)) for v in (np.ones(n + 1), varies))
    assert told.share[n - 3] > 3 * plain.share[n - 3] or told.whole[n - 3]


def test_nothing_is_drawn_twice_and_every_coalition_has_its_chance():
    counts = np.zeros(1 << 6)
    for seed in range(400):
        drawn = Drawn(6)
        assert drawn.add(coalitions_of(6, 1)).all()
        assert not drawn.add(coalitions_of(6, 1)).any()
        rows, at = drawn.draw(np.array([3] * 8 + [2] * 20 + [1]), np.random.default_rng(seed))
        assert len(np.unique(rows, axis=0)) == len(rows) == 8 + 15  # all 15 of two, none left of one
        np.testing.assert_array_equal(rows.sum(1), np.array([3] * 8 + [2] * 20 + [1])[at])
        counts[rows @ (1 << np.arange(6))] += 1
    threes = counts[coalitions_of(6, 3) @ (1 << np.arange(6))]
    assert np.abs(threes - 400 * 8 / 20).max() < 4 * np.sqrt(400 * 0.4 * 0.6)


def test_shrinking_takes_what_stands_out():
    rng = np.random.default_rng(0)
    truth, fold = rng.normal(0, 1, 200), np.repeat([0, 1], 4)
    start = np.zeros((8, 200))
    for noise, least, most in ((0.1, 0.98, 1.0), (20.0, 0.0, 0.3)):
        whole = truth + noise * rng.normal(0, 1, (8, 200))
        found, share = shrunk(whole, start, fold)
        assert least <= share <= most
        assert ((found.mean(0) - truth) ** 2).sum() <= 1.02 * ((whole.mean(0) - truth) ** 2).sum()
        error = found.std(0, ddof=1) / np.sqrt(8)
        assert np.mean(np.abs(found.mean(0) - truth) < 2.4 * error) > 0.9


def test_a_pair_alone_is_not_shrunk():
    whole = np.random.default_rng(0).normal(size=(8, 2))
    found, share = shrunk(whole, np.zeros((8, 2)), np.repeat([0, 1], 4))
    assert share == 1
    np.testing.assert_array_equal(found, whole)
