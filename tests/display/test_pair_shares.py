"""What is said of a sample's pairs: whose the differences are, and when nothing is the pairs' own."""

import numpy as np
import pytest

from raymoe.display.pair_shares import MEMBERS, shares_of, verdict
from raymoe.interactions.two_way import Shares, TwoWay

WORD, PATCH = MEMBERS["text"], MEMBERS["image"]


def columns_of(table, stderr):
    """The columns of a sample's pairs."""
    u, v = np.indices(table.shape).reshape(2, -1)
    own = TwoWay(np.stack([u, 100 + v], 1)).rest(table.ravel())
    return {
        "u": u,
        "v": 100 + v,
        "sii": table.ravel(),
        "pair_specific": own,
        "pair_specific_stderr": np.full(table.size, stderr, np.float32),
        "n_coalitions": np.full(table.size, 24),
        "n_contrasts": np.full(table.size, 0),
    }


def test_patches_that_matter_with_any_word_are_said_to():
    table = np.tile(np.array([3.0, 0, 0, 1]), (3, 1)) + 0.01 * np.random.default_rng(0).normal(size=(3, 4))
    said = verdict(shares_of(columns_of(table, 0.02)), WORD, PATCH)
    assert said.startswith("These patches matter with any word: what is a pair's own is not above noise.")
    assert "100 % what patches do with any word" in said
    other = verdict(shares_of(columns_of(table.T, 0.02)), WORD, PATCH)
    assert other.startswith("These words matter with any patch")


def test_pairs_of_their_own_are_told_with_their_noise():
    said = verdict(shares_of(columns_of(np.eye(4) - 0.25, 0.05)), WORD, PATCH)
    assert "100 % the pairs' own" in said
    assert "% noise)" in said
    assert "not above" not in said


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_with_one_of_a_kind_nothing_is_told(shape):
    said = verdict(shares_of(columns_of(np.ones(shape), np.nan)), WORD, PATCH)
    assert "can't be told" in said
    assert "two words and two patches" in said


def test_equal_pairs_and_a_single_draw():
    assert "same SII" in verdict(shares_of(columns_of(np.zeros((3, 3)), 0.1)), WORD, PATCH)
    unknown = Shares(1.0, 0.2, 0.3, 0.5, float("nan"), False)
    assert "not above noise" in verdict(unknown, WORD, PATCH)
