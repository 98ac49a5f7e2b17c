"""How coalitions are spent: edges, pilot, allocation."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.games import brute_force, cross_pairs, smooth_game, unanimity_game

from raymoe.interactions import estimate as any_estimate
from raymoe.interactions.estimators import Question
from raymoe.interactions.estimators.shared import SharedSampling, pilot_evaluations, pilot_layout
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sampling.grid import FlipGrid, grid_evaluations

estimate = partial(any_estimate, method="shared")


@given(
    coalitions=st.integers(4, 3000),
    n=st.integers(2, 60),
    words=st.integers(1, 30),
    index=st.sampled_from(["sii", "banzhaf"]),
)
def test_layouts_spend_nearly_all(coalitions, n, words, index):
    pairs = cross_pairs(n, min(words, n - 1))
    plan = pilot_layout(coalitions, pairs, n, SizeLaw(index))
    each = grid_evaluations(pairs)
    spent = plan.replicates * plan.length * each + plan.pilot * pilot_evaluations(pairs)
    assert spent <= coalitions * each
    assert spent >= each * max(4, coalitions - 8 - coalitions // 20)
    assert plan.replicates % 2 == 0
    assert plan.replicates >= 2
    assert plan.pilot == (coalitions >= 18 and n >= 5 and index == "sii")


@pytest.mark.parametrize("order", [2, 3])
def test_a_grid_is_counted_without_building_it(order):
    rng = np.random.default_rng(0)
    for count in (1, 5, 40):
        rows = np.array([rng.permutation(9)[:order] for _ in range(count)])
        assert grid_evaluations(rows) == FlipGrid(rows, 9).evaluations


def test_edges_are_exact():
    """An interaction that lives in the full coalition alone is known without sampling it."""
    n = 12
    game, sii = unanimity_game(n, {tuple(range(n)): 5.0, (0, 7): 1.0})
    pairs = cross_pairs(n, 6)
    found = estimate(game, pairs, budget=20 * (1 + n + 36))
    np.testing.assert_allclose(found.sii, [sii(*p) for p in pairs.tolist()], atol=5e-3)
    assert found.sii_stderr.max() < 5e-3
    few = estimate(game, pairs, budget=5 * (1 + n + 36))  # too few coalitions for edges
    assert np.abs(few.sii - found.sii).max() > 0.1


def test_the_pilot_sends_coalitions_where_differences_are():
    n = 16
    rng = np.random.default_rng(0)
    weights = rng.normal(size=n)

    def game(z):  # interactions only where few are present
        return np.exp(-1.2 * z.sum(1)) * (3 + z @ weights)

    work = SharedSampling(Question(game, cross_pairs(n, 8), n), 100)
    work.sums()
    share = work.allocation
    assert share[[0, n]].sum() == 0
    assert share.sum() == pytest.approx(1)
    assert share[1:4].sum() > 2 * share[-4:-1].sum()
    assert share[1:n].min() > 0.1 / n


@pytest.mark.parametrize("index", ["sii", "banzhaf"])
@pytest.mark.parametrize("budget", [300, 3000])
def test_main_effects_are_the_players_values(index, budget):
    n, game, pairs = 8, smooth_game(8, 2), cross_pairs(8, 3)
    weight = None if index == "sii" else (lambda s: 0.5 ** (n - 1))
    truth = [brute_force(game, n, (u,), weight) for u in range(n)]
    effects = [estimate(game, pairs, budget=budget, seed=s, index=index).main_effects for s in range(40)]
    np.testing.assert_allclose(np.mean(effects, 0), truth, atol=0.02)
    exact = estimate(game, pairs, method="exact", index=index)
    np.testing.assert_allclose(exact.main_effects, truth, atol=1e-12)
    some = estimate(game, pairs[:2], budget=budget, index=index).main_effects
    assert np.isnan(some).sum() == n - 3  # players in no pair


def test_allocation_and_edges_pay_on_steep_games():
    """Differences that decay with the context's size, as on trained experts."""
    n, pairs = 14, cross_pairs(14, 7)
    errors = {"shared": [], "paper": []}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=n), rng.random(n)

        def game(z, a=a, b=b):
            return (z @ a) / (1 + z @ b)

        game.num_players = n
        truth = estimate(game, pairs, method="exact").sii
        for method, found in errors.items():
            estimates = estimate(game, pairs, budget=4096, method=method, seed=seed).sii
            found.append(((estimates - truth) ** 2).sum() / (truth**2).sum())
    assert np.mean(errors["shared"]) * 20 < np.mean(errors["paper"])
