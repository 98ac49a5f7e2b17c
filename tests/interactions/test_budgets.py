"""Any budget is either an estimate or an error that names the least one that works."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.games import smooth_game

from raymoe.errors import InputError
from raymoe.interactions import estimate


def usable(found, budget):
    assert found.num_evaluations <= budget
    assert np.isfinite(found.sii).all()
    assert np.isfinite(found.sii_stderr).all()
    assert (found.sii_stderr >= 0).all()
    if np.isnan(found.synergy).any():
        assert "nothing but the index is estimated (the other scores from a budget of" in found.choice


@pytest.mark.parametrize("method", ["auto", "shared", "surrogate", "paper", "exact"])
@given(n=st.integers(2, 14), budget=st.integers(-1, 200), count=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_every_budget(method, n, budget, count, seed):
    game = smooth_game(n, seed)
    every = np.array([(u, v) for u in range(n) for v in range(u + 1, n)])
    pairs = np.random.default_rng(seed).permutation(every)[:count]
    try:
        found = estimate(game, pairs, budget=budget, method=method)
    except InputError as error:
        message, remedy = error.message, error.remedy
    else:
        usable(found, budget)
        return
    least = int(re.search(r"at least (\d+)", remedy)[1])
    assert f"'{method}'" in message
    assert least > budget
    usable(estimate(game, pairs, budget=least, method=method), least)


def test_auto_of_one_pair_says_whether_the_ends_are_exact():
    game, pairs = smooth_game(12, 0), np.array([[0, 6]])
    with pytest.raises(InputError, match=r"'auto' on 1 pairs .* buys 2 flip grids of 4"):
        estimate(game, pairs, budget=10)
    few = estimate(game, pairs, budget=40).choice
    least = int(re.search(r"exact from a budget of (\d+)", few)[1])
    assert "last context of each exact" in estimate(game, pairs, budget=least).choice
    assert "sampled like the others" in estimate(game, pairs, budget=least - 1).choice


def test_the_budget_that_auto_names_gives_the_other_scores():
    game, pairs = smooth_game(14, 0), np.array([(u, v) for u in range(7) for v in range(7, 14)])
    least = int(re.search(r"from a budget of (\d+)", estimate(game, pairs, budget=100).choice)[1])
    assert np.isnan(estimate(game, pairs, budget=least - 1).synergy).all()
    assert np.isfinite(estimate(game, pairs, budget=least).synergy).all()
