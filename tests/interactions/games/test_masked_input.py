"""Each variant is encoded once, and values are those of the combinations themselves."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from raymoe.errors import InputError
from raymoe.interactions import estimate
from raymoe.interactions.estimators import Question, find_estimator
from raymoe.interactions.games.masked_input import MaskedInputGame, MaskedInputs
from raymoe.interactions.pieces import block_sums_of, work_of

MODALITY = np.array([0, 1, 0, 1, 1, 0, 1])  # players of both in any order
PAIRS = np.array([(u, v) for u, v in product(range(7), range(7)) if MODALITY[u] == 0 and MODALITY[v] == 1])
WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 4))


def make(log):
    def encoder(name):
        def encode(masks):
            log.extend((name, tuple(row)) for row in masks.tolist())
            return [row.astype(float) for row in masks]

        return encode

    def fuse(combinations):
        return np.array([[np.tanh(text @ w @ image) for w in WEIGHTS] for text, image in combinations])

    return MaskedInputs([encoder("text"), encoder("image")], fuse, MODALITY, batch_size=5)


def direct(coalitions, column):
    rows = coalitions.astype(float)
    return np.array([np.tanh(row[MODALITY == 0] @ WEIGHTS[column] @ row[MODALITY == 1]) for row in rows])


def test_values_and_how_often_anything_is_encoded():
    log: list = []
    inputs = make(log)
    games = [MaskedInputGame(inputs, column) for column in (0, 1)]
    rng = np.random.default_rng(1)
    for _ in range(3):
        coalitions = rng.random((40, 7)) < 0.5
        for column, game in enumerate(games):
            np.testing.assert_allclose(game(coalitions), direct(coalitions, column))
    assert len(log) == len(set(log)) == sum(inputs.encoded)
    assert inputs.encoded == [8, 16]
    assert inputs.fused <= 120


def test_a_flip_grid_takes_few_encodings():
    log: list = []
    inputs = make(log)
    context = np.array([True, False, True, True, False, False, True])
    flips = np.eye(7, dtype=bool)
    grid = [context, *(context ^ f for f in flips), *(context ^ flips[u] ^ flips[v] for u, v in PAIRS)]
    MaskedInputGame(inputs, 0)(np.array(grid))
    assert inputs.encoded == [1 + 3, 1 + 4]
    assert inputs.fused == (1 + 3) * (1 + 4)


def test_exact_scores_are_those_of_the_plain_game():
    inputs = make([])
    for column in (0, 1):
        found = estimate(MaskedInputGame(inputs, column), PAIRS, method="exact")
        wanted = estimate(partial(direct, column=column), PAIRS, method="exact", num_players=7)
        np.testing.assert_allclose(found.sii, wanted.sii)
        np.testing.assert_allclose(found.redundancy, wanted.redundancy)
    assert inputs.fused == 128


@pytest.mark.parametrize("method", ["shared", "paper"])
def test_games_that_share_coalitions_are_unbiased(method):
    """The mean over seeds is the exact value, and all games together cost what one does."""
    work = work_of(PAIRS, 7, method, 24)
    found = []
    for seed in range(60):
        inputs = make([])
        games = [MaskedInputGame(inputs, column) for column in (0, 1)]
        sums = block_sums_of(
            games, PAIRS, 7, method=method, coalitions=24, start=0, stop=work.blocks, seed=seed
        )
        found.append([s.scores()["sii"] for s in sums])
    estimates = np.array(found)
    for column in (0, 1):
        game = MaskedInputGame(make([]), column)
        exact = find_estimator("exact").estimate(Question(game, PAIRS, 7), None, {}).sii
        error = estimates[:, column].mean(0) - exact
        spread = estimates[:, column].std(0, ddof=1) / np.sqrt(60)
        assert (np.abs(error) < 4.5 * spread + 1e-12).all()


def test_a_modality_without_players_is_whole():
    inputs = MaskedInputs(
        [lambda masks: [row.sum() for row in masks], lambda masks: [5.0] * len(masks)],
        lambda combinations: np.array([[text + image] for text, image in combinations]),
        [0, 0],
    )
    assert MaskedInputGame(inputs, 0)(np.array([[True, False], [True, True]])).tolist() == [6.0, 7.0]
    assert inputs.encoded == [2, 1]


def test_players_of_a_modality_that_nobody_encodes_are_refused():
    with pytest.raises(InputError, match="1 are encoded"):
        MaskedInputs([lambda masks: list(masks)], lambda combinations: np.zeros((1, 1)), [0, 1])
