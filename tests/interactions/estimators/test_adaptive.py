"""The pairs that are the largest, found with fewer evaluations, and honest when they can't be told."""

import numpy as np
import pytest
from support.games import cross_pairs, smooth_game, unanimity_game

from raymoe.errors import InputError
from raymoe.interactions import estimate


def test_it_settles_clear_cases_early():
    rng = np.random.default_rng(0)
    noise = {tuple(sorted(rng.choice(12, 3, replace=False).tolist())): 0.1 * rng.normal() for _ in range(30)}
    game, _ = unanimity_game(12, {**noise, (0, 8): 3.0, (2, 9): 2.0, (3, 11): 2.5})
    pairs = cross_pairs(12, 6)
    found = estimate(game, pairs, budget=60_000, method="adaptive", share=3 / 36)
    assert found.settled
    assert found.num_evaluations < 20_000
    assert {tuple(p) for p in pairs[found.top].tolist()} == {(0, 8), (2, 9), (3, 11)}


def test_ties_are_not_settled():
    game, _ = unanimity_game(8, {(0, 4): 1.0, (1, 5): 1.0, (0, 1, 4): 0.3, (1, 2, 5): 0.3, (3, 6, 7): 1.0})
    found = estimate(game, cross_pairs(8, 4), budget=5000, method="adaptive", share=1 / 16)
    assert not found.settled
    assert found.top.sum() == 1
    assert found.num_evaluations <= 5000


@pytest.mark.parametrize("score", ["sii", "sii_magnitude", "redundancy_gap"])
def test_what_is_settled_is_right(score):
    right = settled = 0
    pairs = cross_pairs(10, 5)
    for seed in range(12):
        game = smooth_game(10, seed)
        truth = estimate(game, pairs, method="exact")
        value = truth.redundancy_gap if score == "redundancy_gap" else truth.sii
        value = np.abs(value) if score == "sii_magnitude" else value
        found = estimate(game, pairs, budget=100_000, method="adaptive", score=score, share=0.2, seed=seed)
        assert found.top.sum() == 5
        settled += found.settled
        right += found.settled and set(np.argsort(-value)[:5]) == set(np.flatnonzero(found.top))
    assert settled >= 4
    assert right >= settled - 1


def test_more_goes_to_pairs_in_doubt():
    pairs = cross_pairs(10, 5)
    found = estimate(smooth_game(10, 1), pairs, budget=40_000, method="adaptive", share=0.2)
    counts = found.sums.n_coalitions
    assert counts.max() > 4 * counts.min()
    order = np.argsort(-found.sii)
    assert counts[order[3:8]].mean() > counts[order[-8:]].mean()


def test_options_are_checked():
    game, pairs = smooth_game(8, 0), cross_pairs(8, 4)
    with pytest.raises(InputError, match="share is 2"):
        estimate(game, pairs, budget=4000, method="adaptive", share=2)
    with pytest.raises(InputError, match="unknown score 'best'"):
        estimate(game, pairs, budget=4000, method="adaptive", score="best")
    with pytest.raises(InputError, match="confidence is 0"):
        estimate(game, pairs, budget=4000, method="adaptive", confidence=0)
    with pytest.raises(InputError, match="budget 100 is too small: 'adaptive'"):
        estimate(game, pairs, budget=100, method="adaptive")


def test_all_of_them_are_the_top():
    game = smooth_game(8, 0)
    one = estimate(game, np.array([[0, 5]]), budget=4000, method="adaptive")
    assert one.settled
    assert one.top.tolist() == [True]
    two = estimate(game, np.array([[0, 5], [1, 6]]), budget=4000, method="adaptive", share=0.9)
    assert two.top.all()
