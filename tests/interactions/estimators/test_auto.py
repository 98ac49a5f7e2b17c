"""The estimator that decides from the game at hand, against enumeration and closed forms."""

from functools import partial

import numpy as np
import pytest
from support.games import brute_force, cross_pairs, smooth_game

from raymoe.errors import InputError
from raymoe.interactions import estimate as any_estimate
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


@pytest.mark.parametrize(("budget", "law"), [(700, LAWS[0]), (1000, LAWS[1])])
def test_the_mean_over_seeds_is_the_index_and_intervals_cover_it(budget, law):
    game = game_of(1)
    asked = {"index": law.index, "inclusion": law.inclusion}
    truth = estimate(game, PAIRS, method="exact", **asked)
    runs = [
        estimate(game, PAIRS, budget=budget, seed=seed, correction="unbiased", **asked) for seed in range(10)
    ]
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
    assert found.choice.startswith("all coalitions of 0 to ")
    assert "flip grids of 49" in found.choice
    assert "choice='all coalitions of 0 to" in repr(found)
    assert estimate(game_of(0), PAIRS, budget=1500, method="shared").choice is None


def test_a_game_without_anything_to_fit_is_left_to_sampling():
    rng = np.random.default_rng(0)
    table = rng.normal(size=1 << N)
    noise = lambda rows: table[rows @ (1 << np.arange(N))]  # noqa: E731
    assert "the mean left 1 " in estimate(noise, PAIRS, budget=1500, num_players=N).choice


def test_a_spike_at_the_full_input_is_known_exactly():
    spike = lambda rows: 20.0 * rows.all(1) + rows @ np.linspace(-1, 1, N)  # noqa: E731
    found = estimate(spike, PAIRS, budget=900, num_players=N)
    np.testing.assert_allclose(found.sii, 20 / (N - 1), rtol=0.02)


def few_terms(n, count, seed):
    """A sum of unanimity games and the index of its cross pairs: c / (size - 1) of a term that holds both."""
    rng = np.random.default_rng(seed)
    members = np.zeros((count, n), dtype=bool)
    for row in members:
        row[rng.choice(n, rng.integers(1, 5), replace=False)] = True
    weight, size = rng.uniform(-1, 1, count), members.sum(1)
    pairs = cross_pairs(n, n // 2)
    both = members[:, pairs[:, 0]] & members[:, pairs[:, 1]]
    sii = (weight / np.maximum(size - 1, 1)) @ both

    def game(rows):
        return (rows.astype(float) @ members.T > size - 0.5) @ weight

    return game, pairs, sii


def test_a_game_of_few_products_among_many_players_is_found():
    game, pairs, sii = few_terms(30, 25, 0)
    found = estimate(game, pairs, budget=3000, num_players=30)
    assert "products of players there" in found.choice
    assert ((found.sii - sii) ** 2).sum() < 0.02 * (sii**2).sum()
    low, high = found.interval()
    assert np.mean((low <= sii) & (sii <= high)) > 0.9


def test_players_that_do_nothing_are_left_out():
    small, where = game_of(4), np.arange(0, 3 * N, 3)
    pairs = cross_pairs(3 * N, 18)
    game = lambda rows: small(rows[:, where])  # noqa: E731
    found = estimate(game, pairs, budget=4000, num_players=3 * N)
    inner = np.array([(i, j) for i in range(N) for j in range(N) if i < j])
    square = np.zeros((3 * N, 3 * N))
    square[where[inner[:, 0]], where[inner[:, 1]]] = estimate(small, inner, method="exact").sii
    truth = square[pairs[:, 0], pairs[:, 1]]
    assert ((found.sii - truth) ** 2).sum() < 0.05 * (truth**2).sum()


def test_shrinking_errs_less_where_the_budget_is_small_and_its_intervals_hold():
    game = game_of(5)
    truth = estimate(game, PAIRS, method="exact").sii
    errors, covered = {}, []
    for correction in ("shrunk", "unbiased"):
        runs = [estimate(game, PAIRS, budget=400, seed=seed, correction=correction) for seed in range(4)]
        errors[correction] = np.mean([((run.sii - truth) ** 2).sum() for run in runs])
        if correction == "shrunk":
            bounds = [run.interval() for run in runs]
            covered = [np.mean((low <= truth) & (truth <= high)) for low, high in bounds]
    assert errors["shrunk"] < errors["unbiased"]
    assert np.mean(covered) > 0.88


def test_without_room_for_grids_nothing_but_the_index_is_told():
    game, pairs, _ = few_terms(30, 25, 1)
    found = estimate(game, pairs, budget=400, num_players=30)
    assert "no flip grids, which the budget is too small for" in found.choice
    assert np.isfinite(found.sii).all()
    assert np.isfinite(found.sii_stderr).all()
    assert np.isnan(found.redundancy).all()


def test_an_effort_can_be_asked_for():
    with pytest.raises(InputError, match="unknown effort 'all'"):
        estimate(game_of(0), PAIRS, budget=1500, effort="all")
    light, measured = (
        estimate(game_of(0), PAIRS, budget=900, effort=effort) for effort in ("light", "measured")
    )
    np.testing.assert_array_equal(light.sii, measured.sii)  # the game answers at once
    patient = estimate(game_of(0), PAIRS, budget=900, effort="patient")
    assert not np.array_equal(light.sii, patient.sii)


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
