"""Third-order interactions against the definition, closed forms and shapiq."""

import numpy as np
import pytest
from support.games import brute_force, smooth_game, table_game, unanimity_game

from raymoe.errors import InputError
from raymoe.interactions import estimate_triples

TRIPLES = np.array([[0, 3, 5], [1, 2, 4], [6, 0, 2]])


def test_exact_equals_the_definition_and_shapiq():
    shapiq = pytest.importorskip("shapiq")
    game = table_game(7, 1)
    found = estimate_triples(game, TRIPLES, method="exact").sii
    np.testing.assert_allclose(found, [brute_force(game, 7, t) for t in TRIPLES], atol=1e-12)
    theirs = shapiq.ExactComputer(n_players=7, game=game)("SII", 3)
    np.testing.assert_allclose(found, [theirs[tuple(sorted(t))] for t in TRIPLES.tolist()], atol=1e-9)


@pytest.mark.parametrize("index", ["sii", "banzhaf"])
def test_sampling_is_unbiased_and_says_how_sure_it_is(index):
    game = smooth_game(9, 4)
    truth = estimate_triples(game, TRIPLES, method="exact", index=index).sii
    runs = [estimate_triples(game, TRIPLES, budget=900, seed=s, index=index) for s in range(100)]
    values = np.array([run.sii for run in runs])
    assert (np.abs(values.mean(0) - truth) < 3.5 * values.std(0, ddof=1) / 10).all()
    inside = [(low <= truth) & (truth <= high) for low, high in (run.interval() for run in runs)]
    assert 0.88 < np.mean(inside) <= 1


def test_a_pure_triple():
    game, sii = unanimity_game(7, {(0, 3, 5): 2.0, (0, 3): 1.0, (1, 2): 4.0})
    found = estimate_triples(game, TRIPLES, budget=400)
    np.testing.assert_allclose(found.sii, [sii(*t) for t in TRIPLES.tolist()], atol=1e-12)


def test_bad_input():
    game = smooth_game(7, 0)
    with pytest.raises(InputError, match=r"triple 0 is \[0, 0, 1\]"):
        estimate_triples(game, np.array([[0, 0, 1]]), budget=1000)
    with pytest.raises(InputError, match="budget 20 is too small"):
        estimate_triples(game, TRIPLES, budget=20)
    with pytest.raises(InputError, match="on 3 triples"):
        estimate_triples(game, TRIPLES, budget=100, method="exact")
    with pytest.raises(InputError, match="needs a budget"):
        estimate_triples(game, TRIPLES)
    game.player_modality = np.array([0, 0, 0, 0, 0, 0, 1])
    with pytest.raises(InputError, match=r"triple 0, \[0, 3, 5\], lies within one modality"):
        estimate_triples(game, TRIPLES, budget=1000)
    with pytest.raises(InputError, match="unknown method 'paper' for triples"):
        estimate_triples(game, TRIPLES, budget=1000, method="paper")
    with pytest.raises(InputError, match="integers"):
        estimate_triples(game, np.array([[0, 1]]), budget=1000)
