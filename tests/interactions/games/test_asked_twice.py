"""A game that changes its answers is found; one that merely rounds is not."""

import warnings

import numpy as np
import pytest
import torch
from support.games import cross_pairs, smooth_game

from raymoe.errors import InputError, NoisyGameWarning, RaymoeError
from raymoe.interactions import estimate

N = 8
PAIRS = cross_pairs(N, 4)


def noisy(size):
    game, rng = smooth_game(N, 0), np.random.default_rng(0)
    return lambda z: game(z) + rng.normal(0, size, len(z))


def test_noise_is_named_by_its_size():
    with pytest.warns(NoisyGameWarning, match=r"differ by 0\.\d+ .*\n.*model.eval") as seen:
        found = estimate(noisy(0.1), PAIRS, method="exact", num_players=N)
    size = float(str(seen[0].message).split("differ by ")[1].split()[0])
    assert 0.04 < size < 0.25
    assert np.isnan(found.sii_stderr).all()
    assert np.isfinite(found.sii).all()
    with pytest.raises(RaymoeError, match="changes its answer"):
        estimate(noisy(1e-3), PAIRS, budget=300, method="shared", num_players=N, nondeterministic="raise")


def test_it_may_be_allowed_but_nothing_is_certain():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate(noisy(0.1), PAIRS, budget=256, num_players=N, nondeterministic="allow")
        assert np.isnan(found.sii_stderr).all()
        trusted = estimate(noisy(0.1), PAIRS, budget=256, num_players=N, nondeterministic="trust")
    assert (trusted.sii_stderr == 0).all()
    with pytest.raises(InputError, match="unknown nondeterministic 'no'"):
        estimate(noisy(0.1), PAIRS, budget=256, num_players=N, nondeterministic="no")


def rounds_by_batch(z):
    return (smooth_game(N, 0)(z) * (1 + 1e-6 * (len(z) % 7))).astype(np.float32)


def last_places(kind):
    """The last place changes from call to call, as where a GPU adds up in no fixed order."""
    rng = np.random.default_rng(1)

    def game(z):
        value = smooth_game(N, 0)(z) + 2.0
        return (value * (1 + np.finfo(kind).eps * rng.integers(-1, 2, len(z)))).astype(kind)

    return game


def dropped(training):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(N, 32), torch.nn.Dropout(0.1), torch.nn.Linear(32, 1))
    model.train(training)
    return lambda z: model(torch.tensor(z).float())[:, 0]


@pytest.mark.parametrize(
    "game", [rounds_by_batch, last_places(np.float32), last_places(np.float16), dropped(False)]
)
def test_rounding_is_no_noise(game):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate(game, PAIRS, method="exact", num_players=N)
    assert (found.sii_stderr == 0).all()


def test_dropout_left_on_is_found():
    with pytest.warns(NoisyGameWarning):
        estimate(dropped(True), PAIRS, budget=300, method="shared", num_players=N)
