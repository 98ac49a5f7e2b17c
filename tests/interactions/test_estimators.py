"""Estimators against brute force, hand-made games, shapiq's exact computer, and each other."""

from itertools import combinations, pairwise
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions import estimate, exact
from raymoe.interactions.estimators import block_sums, evaluations_per_coalition

shapiq = pytest.importorskip("shapiq")


def table_game(n, seed):
    """A game with 2^n random values; bit i of the index is player i."""
    values = np.random.default_rng(seed).normal(size=1 << n)

    def game(coalitions):
        return values[coalitions @ (1 << np.arange(n))]

    game.num_players = n
    return game


def smooth_game(n, seed):
    """A random quadratic form through a squashing function: interactions of every order, moderate noise."""
    rng = np.random.default_rng(seed)
    linear, quadratic = rng.normal(size=n), rng.normal(size=(n, n)) / n

    def game(coalitions):
        x = coalitions.astype(float)
        return np.tanh(x @ linear / 2 + np.einsum("mi,ij,mj->m", x, quadratic, x))

    game.num_players = n
    return game


def cross_pairs(n, left):
    return np.array([(u, v) for u in range(left) for v in range(left, n)])


def brute_force_sii(game, n, u, v):
    """The definition, term by term: sum |S|! (n-|S|-2)! / (n-1)! delta(S)."""
    others = [i for i in range(n) if i not in (u, v)]
    total = 0.0
    for size in range(n - 1):
        weight = factorial(size) * factorial(n - size - 2) / factorial(n - 1)
        for members in combinations(others, size):
            rows = np.zeros((4, n), dtype=bool)
            rows[:, list(members)] = True
            rows[[1, 3], u] = True
            rows[[2, 3], v] = True
            f0, fu, fv, fuv = game(rows)
            total += weight * (fuv - fu - fv + f0)
    return total


def test_exact_equals_the_definition_and_shapiq():
    game, pairs = table_game(7, 0), cross_pairs(7, 3)
    ours = exact(game, pairs).sii
    np.testing.assert_allclose(ours, [brute_force_sii(game, 7, u, v) for u, v in pairs], atol=1e-12)
    theirs = shapiq.ExactComputer(n_players=7, game=game)("SII", 2)
    np.testing.assert_allclose(ours, [theirs[(int(u), int(v))] for u, v in pairs], atol=1e-9)


HAND_MADE = {
    # name: (values of {}, {u}, {v}, {u, v}), SII, base, span
    "pure synergy": ((0, 0, 0, 1), 1, 0, 1),  # AND: nothing alone, all together
    "pure redundancy": ((0, 1, 1, 1), -1, 1, 0),  # OR: either suffices
    "additive": ((0, 1, 2, 3), 0, 2, 1),
    "antagonistic": ((0, 1, 1, 0), -2, 0, 1),  # XOR: each helps, together they cancel
    "harmful": ((0, -1, -2, -3), 0, 0, 2),  # additive and negative: no support, so no base
    "partly redundant": ((0, 2, 3, 4), -1, 3, 1),
}


@pytest.mark.parametrize("method", ["exact", "shared", "paper"])
@pytest.mark.parametrize("name", HAND_MADE)
def test_scores_of_hand_made_games(name, method):
    """u and v play the game of the table; a third and fourth player add a constant each."""
    values, sii, base, span = HAND_MADE[name]

    def game(coalitions):
        x = coalitions.astype(int)
        return np.array(values, dtype=float)[x[:, 0] + 2 * x[:, 2]] + 0.5 * x[:, 1] - 0.25 * x[:, 3]

    game.num_players = 4
    pairs = np.array([[0, 2]])
    found = exact(game, pairs) if method == "exact" else estimate(game, pairs, budget=64, method=method)
    assert found.sii == pytest.approx([sii])
    assert found.base_mean == pytest.approx([base])
    assert found.span_mean == pytest.approx([span])
    assert found.redundancy_gap == pytest.approx([base / (1 + span)])
    # the pair's game does not depend on its context, so there is nothing to be unsure of
    assert found.sii_stderr == pytest.approx([0], abs=1e-7)
    assert found.redundancy_gap_stderr == pytest.approx([0], abs=1e-7)


@pytest.mark.parametrize("method", ["shared", "paper"])
def test_mean_over_seeds_is_exact(method):
    """Unbiased: the mean over 64 seeds is within three of its standard errors for 99 % of the pairs."""
    outside, total = 0, 0
    for game_seed in range(12):
        game, pairs = smooth_game(10, game_seed), cross_pairs(10, 4)
        truth = exact(game, pairs)
        runs = [estimate(game, pairs, budget=4000, method=method, seed=s) for s in range(64)]
        estimates = np.array([run.sii for run in runs])
        error = np.abs(estimates.mean(0) - truth.sii)
        outside += (error > 3 * estimates.std(0, ddof=1) / 8).sum()
        total += len(pairs)
    assert outside <= 0.01 * total


@pytest.mark.parametrize("method", ["shared", "paper"])
def test_standard_errors_are_honest(method):
    """Reported standard errors match the spread over seeds, for both scores."""
    game, pairs = smooth_game(10, 7), cross_pairs(10, 4)
    runs = [estimate(game, pairs, budget=24 * 4 * 64, method=method, seed=s) for s in range(200)]
    for score in ("sii", "redundancy_gap"):
        spread = np.array([getattr(run, score) for run in runs]).std(0, ddof=1)
        reported = np.sqrt(np.mean([getattr(run, f"{score}_stderr") ** 2 for run in runs], axis=0))
        sure = spread > 1e-9  # pairs without any support have no gap and nothing to be unsure of
        assert sure.sum() > len(pairs) / 3
        ratio = reported[sure] / spread[sure]
        assert 0.95 < np.median(ratio) < 1.1, score
        assert 0.8 < ratio.min() < ratio.max() < 1.25, score


def test_shared_beats_paper_at_equal_budget():
    errors = {"shared": [], "paper": []}
    for seed in range(8):
        game, pairs = smooth_game(12, seed), cross_pairs(12, 6)
        truth = exact(game, pairs).sii
        for method, found in errors.items():
            found.append(
                ((estimate(game, pairs, budget=4096, method=method, seed=seed).sii - truth) ** 2).mean()
            )
    assert np.mean(errors["shared"]) * 3 < np.mean(errors["paper"])


@pytest.mark.parametrize("method", ["shared", "paper"])
@given(cuts=st.lists(st.integers(1, 7), max_size=3), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=25, deadline=None)
def test_any_cut_of_the_coalitions_gives_the_same_sums(method, cuts, seed):
    game, pairs = smooth_game(6, 1), cross_pairs(6, 3)
    edges = sorted({0, 32, *(4 * c for c in cuts)})
    whole = block_sums(game, pairs, 6, method=method, total=32, start=0, stop=32, seed=seed)
    parts = None
    for start, stop in pairwise(edges):
        part = block_sums(game, pairs, 6, method=method, total=32, start=start, stop=stop, seed=seed)
        parts = part if parts is None else parts + part
    for name, values in whole.columns().items():
        np.testing.assert_allclose(parts.columns()[name], values, rtol=1e-12, atol=1e-12, err_msg=name)


@given(seed=st.integers(0, 1000), shift=st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_invariances(seed, shift):
    """Constants and linear games change nothing; dummies interact with nobody; relabelling relabels pairs."""
    n, game = 6, smooth_game(6, seed)
    pairs = cross_pairs(n, 3)
    base = exact(game, pairs).sii
    slope = np.random.default_rng(seed).normal(size=n)
    shifted = exact(lambda z: game(z) + shift + z @ slope, pairs, num_players=n).sii
    np.testing.assert_allclose(shifted, base, atol=1e-9)
    with_dummy = exact(lambda z: game(z[:, :n]), np.array([*pairs, (0, n)]), num_players=n + 1)
    np.testing.assert_allclose(with_dummy.sii[:-1], base, atol=1e-9)
    assert with_dummy.sii[-1] == pytest.approx(0, abs=1e-9)
    assert with_dummy.redundancy_gap[-1] >= 0
    order = np.random.default_rng(seed + 1).permutation(n)
    relabelled = exact(lambda z: game(z[:, order]), order[pairs], num_players=n).sii
    np.testing.assert_allclose(relabelled, base, atol=1e-9)


def test_counts_the_evaluations_it_makes():
    game, pairs, seen = smooth_game(8, 0), cross_pairs(8, 3), []

    def counting(coalitions):
        seen.append(len(coalitions))
        return game(coalitions)

    for method in ("shared", "paper"):
        seen.clear()
        found = estimate(counting, pairs, budget=2000, method=method, num_players=8)
        assert sum(seen) == found.num_evaluations <= 2000
    assert evaluations_per_coalition(pairs, "shared") == 1 + 8 + 15
    assert evaluations_per_coalition(pairs, "paper") == 60


def test_bad_input_is_named():
    game, pairs = smooth_game(6, 0), cross_pairs(6, 3)
    with pytest.raises(InputError, match=r"budget 50 is too small: .* takes 16 evaluations") as caught:
        estimate(game, pairs, budget=50)
    assert "at least 64" in caught.value.remedy
    with pytest.raises(InputError, match=r"pair 1 is \[2, 2\]"):
        estimate(game, np.array([[0, 1], [2, 2]]), budget=1000)
    with pytest.raises(InputError, match=r"pair 0 is \[0, 6\]"):
        estimate(game, np.array([[0, 6]]), budget=1000)
    with pytest.raises(InputError, match="unknown method 'magic'"):
        estimate(game, pairs, budget=1000, method="magic")
    with pytest.raises(InputError, match="num_players"):
        estimate(lambda z: z.sum(1), pairs, budget=1000)
    with pytest.raises(RaymoeError, match="nan for the coalition"):
        estimate(lambda z: np.where(z[:, 0], np.nan, 0.0), pairs, budget=1000, num_players=6)
    with pytest.raises(RaymoeError, match="the game answered"):
        estimate(lambda z: z.astype(float), pairs, budget=1000, num_players=6)
    with pytest.raises(InputError, match=r"2\^21"):
        exact(game, pairs, num_players=21)
