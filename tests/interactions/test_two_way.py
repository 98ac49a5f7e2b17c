"""What is a pair's own: held against a plain least-squares fit, in tables with holes, of three modalities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.games import cross_pairs, smooth_game, table_game

from raymoe.interactions import estimate
from raymoe.interactions.two_way import TwoWay, shares

METHODS = ("exact", "shared", "paper", "surrogate")


def test_a_full_table_is_centred_twice():
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    centred = values - values.mean(1, keepdims=True) - values.mean(2, keepdims=True)
    centred += values.mean((1, 2), keepdims=True)
    found = TwoWay(cross_pairs(9, 4)).rest(values.reshape(3, 20))
    np.testing.assert_allclose(found, centred.reshape(3, 20), atol=1e-12)


tables = st.sets(st.tuples(st.integers(0, 3), st.integers(4, 8)), min_size=1, max_size=20).map(
    lambda found: np.array(sorted(found))
)


@given(pairs=tables, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_any_table_is_fitted_by_least_squares(pairs, seed):
    """The rest is what a fit of all effects leaves; a pair that one of the effects fits alone has none."""
    values = np.random.default_rng(seed).normal(size=len(pairs))
    design = np.zeros((len(pairs), 9))
    for row, (u, v) in enumerate(pairs):
        design[row, [u, v]] = 1
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    table = TwoWay(pairs)
    for row in range(len(pairs)):
        others = np.arange(len(pairs)) != row
        free = np.linalg.matrix_rank(design[others]) == np.linalg.matrix_rank(design)
        assert table.known[row] == free
    np.testing.assert_allclose(table.rest(values)[table.known], left[table.known], atol=1e-9)
    assert np.isnan(table.rest(values)[~table.known]).all()


def test_of_three_modalities_an_effect_is_with_partners_of_one_kind():
    modality = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    pairs = np.array([(u, v) for u in range(9) for v in range(u, 9) if modality[u] < modality[v]])
    rng = np.random.default_rng(1)
    effect = rng.normal(size=(9, 3))  # of a player among partners of each kind
    values = np.array([effect[u, modality[v]] + effect[v, modality[u]] for u, v in pairs])
    np.testing.assert_allclose(TwoWay(pairs, modality).rest(values), 0, atol=1e-9)
    assert np.abs(TwoWay(pairs).rest(values)).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_rest_of_the_index_in_every_estimator(method):
    game, pairs = table_game(9, 2), cross_pairs(9, 4)
    found = estimate(game, pairs, budget=4000, method=method, seed=3)
    np.testing.assert_allclose(found.pair_specific, TwoWay(pairs).rest(found.sii), atol=1e-9)
    assert (found.pair_specific_stderr > 0).all() or method in ("exact", "surrogate")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pairs", [[(0, 3), (0, 4), (0, 5)], [(0, 3), (1, 3)], [(1, 4)]])
def test_with_one_word_or_one_patch_it_is_not_known(method, pairs):
    found = estimate(smooth_game(6, 0), np.array(pairs), budget=800, method=method)
    assert np.isnan(found.pair_specific).all()
    assert np.isnan(found.pair_specific_stderr).all()
    assert np.isfinite(found.sii_stderr).all()


def test_a_pair_without_a_rest_leaves_the_others_their_errors():
    pairs = np.array([(0, 3), (0, 4), (1, 3), (1, 4), (2, 5)])
    found = estimate(smooth_game(6, 0), pairs, budget=800)
    known = np.array([True, True, True, True, False])
    np.testing.assert_array_equal(np.isfinite(found.pair_specific), known)
    np.testing.assert_array_equal(np.isfinite(found.pair_specific_stderr), known)


def test_adaptive_says_nothing_of_it():
    found = estimate(smooth_game(9, 0), cross_pairs(9, 4), budget=4000, method="adaptive")
    assert np.isnan(found.pair_specific).all()
    assert np.isnan(found.interval(score="pair_specific")[0]).all()


@pytest.mark.parametrize(
    ("method", "budget", "seeds"),
    [("shared", 800, 40), ("shared", 2560, 40), ("paper", 1344, 40), ("surrogate", 700, 10)],
)
def test_its_errors_are_honest_where_those_of_the_index_are_shared(method, budget, seeds):
    """What all pairs share makes the index noisy and leaves the rest alone, whose errors still hold."""
    inner = smooth_game(11, 4)

    def game(z):
        words, patches = z[:, :4].sum(1), z[:, 4:].sum(1)
        return inner(z) + words * patches * (z.sum(1) % 3 == 0)  # rough, and alike for every pair

    pairs = cross_pairs(11, 4)
    truth = estimate(game, pairs, method="exact", num_players=11)
    hits, ratios = [], []
    for seed in range(seeds):
        found = estimate(game, pairs, budget=budget, method=method, seed=seed, num_players=11)
        low, high = found.interval(score="pair_specific")
        hits.append(((low <= truth.pair_specific) & (truth.pair_specific <= high)).mean())
        ratios.append(np.mean(found.pair_specific_stderr**2) / np.mean(found.sii_stderr**2))
    assert 0.87 <= np.mean(hits) <= 0.995
    if method == "shared":
        assert np.mean(ratios) < 0.3  # what the pairs share has cancelled


def test_shares_add_up_and_name_the_side_that_decides():
    pairs = cross_pairs(9, 4)
    rng = np.random.default_rng(0)
    word, patch, own = rng.normal(size=4), 5 * rng.normal(size=5), 0.15 * rng.normal(size=(4, 5))
    values = (word[:, None] + patch[None] + own).ravel()
    table = TwoWay(pairs)
    found = shares(pairs, values, table.rest(values), np.full(20, 0.04))
    assert found.total == pytest.approx(values.var())
    assert found.first + found.second + found.own == pytest.approx(found.total)
    assert found.second > 5 * found.first > 5 * found.own
    assert found.noise == pytest.approx(0.04**2)
    assert found.above_noise
    assert not shares(pairs, values, table.rest(values), np.full(20, 0.15)).above_noise
    assert table.free == 3 * 4
    # The limit of the F test is 1.75 at 12 free values; were words and patches of the same number one player,
    # 15 would be free and the limit 1.67.
    for numbers in (pairs, pairs - [0, 4]):
        for ratio, above in ((1.70, False), (1.80, True)):
            noise = np.full(20, np.sqrt(found.own / ratio))
            assert shares(numbers, values, table.rest(values), noise).above_noise == above
    one = np.array([(0, 3), (0, 4)])
    assert shares(one, np.ones(2), TwoWay(one).rest(np.ones(2)), np.full(2, np.nan)) is None
