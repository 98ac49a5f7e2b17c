"""Boosted trees against enumeration; the estimator that decides from the game at hand."""

from functools import partial

import numpy as np
import pytest
from support.games import brute_force, cross_pairs, smooth_game

from raymoe.errors import InputError
from raymoe.interactions import estimate as any_estimate
from raymoe.interactions.estimators.auto import edge_coalitions, interior_sizes
from raymoe.interactions.estimators.boosted_trees import MOST, BoostedTrees
from raymoe.interactions.estimators.exact import all_values, derivative_means, pair_scores
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sums import SCORES

estimate = partial(any_estimate, method="auto")
LAWS = [SizeLaw(), SizeLaw("banzhaf", 0.3)]
N = 12
PAIRS = cross_pairs(N, 6)


def game_of(seed):
    """Products and a saturated sum, with a spike at the empty coalition: what no model fits."""
    smooth = smooth_game(N, seed)
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, N)

    def game(coalitions):
        return smooth(coalitions) + np.tanh(coalitions @ weights) + 3.0 * ~coalitions.any(1)

    game.num_players = N
    return game


def fitted(coalitions, values, depth=4):
    return BoostedTrees.fitted(
        coalitions, values, trees=60, depth=depth, rate=0.2, rng=np.random.default_rng(0)
    )


@pytest.fixture(scope="module")
def trees():
    """Trees on 150 of the 2^8 coalitions of a smooth game."""
    index = np.random.default_rng(0).choice(256, 150, replace=False)
    coalitions = (index[:, None] >> np.arange(8) & 1).astype(bool)
    return fitted(coalitions, smooth_game(8, 3)(coalitions))


@pytest.mark.parametrize("law", LAWS)
def test_the_interactions_of_trees_are_those_of_their_values(trees, law):
    first, second = trees.interactions(law, 8)
    values = all_values(trees, 8)
    pairs = np.array([(u, v) for u in range(8) for v in range(8) if u != v])
    np.testing.assert_allclose(
        second[pairs[:, 0], pairs[:, 1]], pair_scores(values, 8, pairs, law)[0], atol=1e-9
    )
    np.testing.assert_allclose(first, derivative_means(values, 8, np.arange(8)[:, None], law), atol=1e-9)


def test_trees_predict_what_they_have_not_seen(trees):
    truth = all_values(smooth_game(8, 3), 8)
    assert (all_values(trees, 8) - truth).var() < 0.3 * truth.var()


def test_trees_fitted_to_a_part_at_a_time_learn_from_all():
    rng = np.random.default_rng(1)
    coalitions = rng.random((2 * MOST, N)) < 0.5
    values = game_of(0)(coalitions)
    model = fitted(coalitions, values)
    assert (model(coalitions) - values).var() < 0.2 * values.var()


def test_edges_and_interior_are_all_sizes():
    for n in (4, 7, 12):
        for edge in range(-1, (n - 2) // 2 + 1):
            coalitions = edge_coalitions(n, edge)
            assert len(np.unique(coalitions, axis=0)) == len(coalitions)
            enumerated = np.isin(np.arange(n + 1), coalitions.sum(1))
            np.testing.assert_array_equal(interior_sizes(n, SizeLaw(), edge) == 0, enumerated)


@pytest.mark.parametrize(("budget", "law"), [(700, LAWS[0]), (1000, LAWS[1])])
def test_the_mean_over_seeds_is_the_index_and_intervals_cover_it(budget, law):
    game = game_of(1)
    asked = {"index": law.index, "inclusion": law.inclusion}
    truth = estimate(game, PAIRS, method="exact", **asked)
    runs = [estimate(game, PAIRS, budget=budget, seed=seed, **asked) for seed in range(10)]
    assert all(run.num_evaluations <= budget for run in runs)
    for score in ("sii", "synergy", "redundancy", "antagonism", "pair_specific"):
        exact = getattr(truth, score)
        found = np.array([getattr(run, score) for run in runs])
        spread = found.std(0, ddof=1) / np.sqrt(len(runs))
        assert np.mean(np.abs(found.mean(0) - exact) < 3 * spread + 1e-9) > 0.9, score
        bounds = np.array([run.interval(score=score) for run in runs])
        covered = np.mean((bounds[:, 0] <= exact) & (exact <= bounds[:, 1]))
        assert covered > 0.88, (score, covered)
    assert all((run.sii_stderr > 0).all() for run in runs)


def test_it_is_much_better_than_the_papers_and_no_worse_than_shared():
    game, errors = game_of(2), {}
    truth = estimate(game, PAIRS, method="exact").sii
    for method in ("auto", "shared", "paper"):
        runs = [estimate(game, PAIRS, budget=2000, method=method, seed=seed).sii for seed in range(4)]
        errors[method] = np.mean([((run - truth) ** 2).sum() for run in runs])
    assert errors["auto"] < errors["shared"]
    assert errors["auto"] < errors["paper"] / 30


def test_what_is_within_the_budget_is_enumerated():
    game = game_of(3)
    found = estimate(game, PAIRS, budget=1 << N)
    np.testing.assert_allclose(
        found.sii[:3], [brute_force(game, N, pair) for pair in PAIRS[:3].tolist()], atol=1e-9
    )
    assert (found.sii_stderr == 0).all()
    assert found.choice == "all 4096 coalitions: they are within the budget"


def test_it_says_what_it_did():
    found = estimate(game_of(0), PAIRS, budget=1500)
    assert "players of the empty and the full one enumerated" in found.choice
    assert "flip grids of 49" in found.choice
    assert "choice='coalitions within" in repr(found)
    assert estimate(game_of(0), PAIRS, budget=1500, method="shared").choice is None


def test_a_game_without_anything_to_fit_is_left_to_sampling():
    rng = np.random.default_rng(0)
    table = rng.normal(size=1 << N)
    noise = lambda rows: table[rows @ (1 << np.arange(N))]  # noqa: E731
    assert "the mean left 1 " in estimate(noise, PAIRS, budget=1500, num_players=N).choice


def test_a_constant_game_has_no_interactions():
    found = estimate(lambda rows: np.full(len(rows), 2.5), PAIRS, budget=1500, num_players=N)
    np.testing.assert_allclose(found.sii, 0, atol=1e-9)
    assert found.empty_value == 2.5


def test_same_seed_same_answer():
    one, again, other = (estimate(game_of(0), PAIRS, budget=900, seed=seed) for seed in (5, 5, 6))
    for score in SCORES:
        np.testing.assert_array_equal(getattr(one, score), getattr(again, score))
    assert not np.array_equal(one.sii, other.sii)


def test_a_budget_too_small_says_the_least():
    with pytest.raises(InputError, match="budget 20 is too small: 'auto'") as caught:
        estimate(game_of(0), PAIRS, budget=20)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert estimate(game_of(0), PAIRS, budget=least).num_evaluations <= least
    with pytest.raises(InputError, match=f"at least {least}"):
        estimate(game_of(0), PAIRS, budget=least - 1)
