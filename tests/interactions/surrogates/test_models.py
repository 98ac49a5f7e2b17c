"""Fitted models: their index against enumeration of their own values, and what they learn."""

import numpy as np
import pytest
from support.games import smooth_game

from raymoe.interactions.estimators.exact import all_values, derivative_means, pair_scores
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.surrogates import network as network_module
from raymoe.interactions.surrogates.choice import LIGHT, QUICK, chosen_model
from raymoe.interactions.surrogates.network import Among, Network
from raymoe.interactions.surrogates.polynomial import Polynomial
from raymoe.interactions.surrogates.products import Products
from raymoe.interactions.surrogates.trees import Trees

N = 8
LAWS = [SizeLaw(), SizeLaw("banzhaf", 0.3)]
PAIRS = np.array([(u, v) for u in range(N) for v in range(N) if u != v])
FITS = {
    "polynomial": Polynomial.fitted,
    "there": lambda x, y: Products.fitted(x, y, "there"),
    "gone": lambda x, y: Products.fitted(x, y, "gone"),
    "mixed": lambda x, y: Products.fitted(x, y, "mixed"),
    "trees": Trees,
    "network": lambda x, y: Network.fitted(x, y, steps=200, seed=0),
    "network among": lambda x, y: Among(
        Network.fitted(x[:, [0, 2, 3, 5, 7]], y, steps=200, seed=0), np.array([0, 2, 3, 5, 7]), N
    ),
}


def some_coalitions(count, n=N, seed=0):
    return np.random.default_rng(seed).random((count, n)) < 0.5


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", FITS)
def test_the_index_is_that_of_the_models_own_values(name, law):
    coalitions = some_coalitions(180)
    model = FITS[name](coalitions, smooth_game(N, 3)(coalitions))
    first, second = model.interactions(law, (1, 2))
    values = all_values(model, N)
    found = second[PAIRS[:, 0], PAIRS[:, 1]]
    np.testing.assert_allclose(found, pair_scores(values, N, PAIRS, law)[0], atol=1e-5)
    np.testing.assert_allclose(first, derivative_means(values, N, np.arange(N)[:, None], law), atol=1e-5)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "left"), [("polynomial", 0.5), ("there", 0.5), ("trees", 0.5), ("network", 0.2)]
)
def test_models_foretell_what_they_have_not_seen(name, left):
    coalitions = some_coalitions(180)
    truth = all_values(smooth_game(N, 3), N)
    model = FITS[name](coalitions, smooth_game(N, 3)(coalitions))
    assert (all_values(model, N) - truth).var() < left * truth.var()


def test_the_index_of_a_network_of_many_players_is_right_on_average(monkeypatch):
    """Sampled about a control, where it isn't enumerated."""
    coalitions = some_coalitions(300)
    model = Network.fitted(coalitions, smooth_game(N, 3)(coalitions), steps=200, seed=0)
    exact = model.interactions(SizeLaw())[1]
    monkeypatch.setattr(network_module, "MOST_ENUMERATED", N - 1)
    monkeypatch.setattr(network_module, "VALUES", 1 << 10)
    draws = np.array([model.interactions(SizeLaw(), (draw,))[1] for draw in range(24)])
    off = ~np.eye(N, dtype=bool)
    spread = draws.std(0, ddof=1)[off] / np.sqrt(len(draws))
    assert (spread > 0).all()
    assert np.mean(np.abs(draws.mean(0) - exact)[off] < 2.5 * spread) > 0.9


def test_few_products_are_found_exactly():
    rng = np.random.default_rng(0)
    coalitions = some_coalitions(600, 30)
    terms = [(0, 5), (1, 2, 9), (4, 11, 17), (20,)]
    weights = rng.uniform(1, 2, len(terms))

    def game(rows):
        return sum(w * rows[:, list(term)].all(1) for w, term in zip(weights, terms, strict=True))

    model = Products.fitted(coalitions, game(coalitions), "there")
    unseen = some_coalitions(600, 30, 1)
    assert (model(unseen) - game(unseen)).var() < 1e-3 * game(unseen).var()
    assert len(model.weight) < 40


def test_a_constant_is_learned_by_all():
    coalitions = some_coalitions(60)
    for name, fit in FITS.items():
        model = fit(coalitions, np.full(60, 2.5))
        np.testing.assert_allclose(model(some_coalitions(20, seed=1)), 2.5, atol=1e-3, err_msg=name)


@pytest.mark.parametrize(
    ("game", "name"),
    [
        (
            lambda rows: rows.astype(float) @ np.arange(12) + 3.0 * rows[:, 0] * rows[:, 1],
            "a polynomial of order 2",
        ),
        (lambda rows: 2.0 * rows[:, :4].all(1) + rows[:, 4:8].all(1), "products of players"),
        (lambda rows: 2.0 * ~rows[:, :4].any(1) + 1.0 * ~rows[:, 4:8].any(1), "products of players"),
        (lambda rows: np.tanh(rows @ np.linspace(-2, 3, 12)), "a network"),
    ],
)
def test_the_kind_is_chosen_by_what_it_leaves(game, name):
    seen, unseen = some_coalitions(900, 12), some_coalitions(300, 12, 1)
    chosen = chosen_model((seen, game(seen)), (unseen, game(unseen)), np.ones(300), LIGHT, 0, 100.0)
    assert chosen.name.startswith(name)
    assert chosen.left < 0.1
    assert (chosen.name in QUICK) is not chosen.is_network
