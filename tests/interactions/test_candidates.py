"""Universe, bins and pairs, and every awkward case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.interactions import select_candidates


def all_allowed(scores):
    return {name: np.ones(len(values), dtype=bool) for name, values in scores.items()}


def test_top_rho_of_each_modality_and_all_cross_pairs():
    scores = {"text": np.array([0.0, 0.9, 0.1, 0.5, 0.0]), "image": np.linspace(0, 1, 20)}
    allowed = all_allowed(scores)
    allowed["text"][[0, 4]] = False  # CLS and SEP
    found = select_candidates(scores, allowed, rho=0.3)
    assert found.players == [("text", 1), *(("image", i) for i in range(14, 20))]
    assert found.pairs.tolist() == [[0, i] for i in range(1, 7)]
    assert found.bins.tolist() == [0] * 7


def test_special_positions_are_never_candidates_whatever_their_score():
    scores = {"a": np.array([9.0, 0.1, 0.2]), "b": np.array([9.0, 0.3])}
    allowed = {"a": np.array([False, True, True]), "b": np.array([False, True])}
    found = select_candidates(scores, allowed, rho=1.0)
    assert found.players == [("a", 1), ("a", 2), ("b", 1)]


def test_three_bins_at_thirty_per_cent_are_the_papers():
    scores = {"text": -np.arange(100.0), "image": -np.arange(50.0)}
    found = select_candidates(scores, all_allowed(scores), rho=0.3, num_bins=3)
    by_bin = [[p for p, b in zip(found.players, found.bins, strict=True) if b == k] for k in range(3)]
    assert by_bin[0] == [*(("text", i) for i in range(10)), *(("image", i) for i in range(5))]
    assert by_bin[2] == [*(("text", i) for i in range(20, 30)), *(("image", i) for i in range(10, 15))]
    assert np.bincount(found.pair_bins).tolist() == [50, 50, 50]
    assert (found.bins[found.pairs[:, 0]] == found.bins[found.pairs[:, 1]]).all()


def test_ties_go_to_the_earlier_position():
    scores = {"a": np.zeros(10), "b": np.zeros(10)}
    found = select_candidates(scores, all_allowed(scores), rho=0.2)
    assert found.players == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_short_texts_keep_the_minimum_they_have():
    scores = {"a": np.array([0.1, 0.2]), "b": np.arange(10.0)}
    found = select_candidates(scores, all_allowed(scores), rho=0.1, min_features=4)
    assert [m for m, _ in found.players] == ["a"] * 2 + ["b"] * 4


def test_no_features_in_a_modality_means_no_pairs():
    scores = {"a": np.array([0.1]), "b": np.arange(3.0)}
    found = select_candidates(scores, {"a": np.array([False]), "b": np.ones(3, bool)}, rho=0.5)
    assert found.pairs.shape == (0, 2)
    assert len(found.pair_bins) == 0


def test_three_modalities_pair_across_any_two():
    scores = {"a": np.zeros(1), "b": np.zeros(2), "c": np.zeros(1)}
    found = select_candidates(scores, all_allowed(scores), rho=1.0)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 3], [2, 3]]


@pytest.mark.parametrize(
    ("share", "size", "kept"), [(0.07, 100, 7), (0.1, 30, 3), (0.3, 10, 3), (0.29, 10, 3)]
)
def test_shares_are_rounded_up_but_not_by_rounding_noise(share, size, kept):
    scores = {"a": np.arange(float(size)), "b": np.arange(float(size))}
    assert len(select_candidates(scores, all_allowed(scores), rho=share).players) == 2 * kept


@given(
    sizes=st.lists(st.integers(0, 12), min_size=2, max_size=3),
    rho=st.floats(0.01, 1),
    bins=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_always_well_formed(sizes, rho, bins, seed):
    rng = np.random.default_rng(seed)
    scores = {f"m{i}": rng.random(size) for i, size in enumerate(sizes)}
    allowed = {name: rng.random(len(values)) < 0.8 for name, values in scores.items()}
    found = select_candidates(scores, allowed, rho=rho, num_bins=bins)
    assert len(set(found.players)) == len(found.players)
    assert all(allowed[name][position] for name, position in found.players)
    assert ((found.bins >= 0) & (found.bins < bins)).all()
    for a, b in found.pairs:
        assert found.players[a][0] < found.players[b][0]
        assert found.bins[a] == found.bins[b]
    for name in scores:  # nothing outside the universe scores higher than something inside
        inside = [scores[name][p] for m, p in found.players if m == name]
        outside = [
            s for p, s in enumerate(scores[name]) if allowed[name][p] and (name, p) not in found.players
        ]
        assert not inside or not outside or min(inside) >= max(outside)


def test_the_top_ten_per_cent_pool_is_the_first_of_three_bins():
    """The pool for pair masking (paper §4.4) is the top bin of the universe for alignment (§4.3)."""
    rng = np.random.default_rng(0)
    scores = {"text": rng.random(40), "image": rng.random(100)}
    pool = select_candidates(scores, all_allowed(scores), rho=0.1)
    universe = select_candidates(scores, all_allowed(scores), rho=0.3, num_bins=3)
    first = [p for p, b in zip(universe.players, universe.bins, strict=True) if b == 0]
    assert pool.players == first
    assert len(pool.pairs) == 4 * 10 == (universe.pair_bins == 0).sum()


def test_a_universe_smaller_than_its_bins():
    """One word and three bins: the word is in the first bin, and only pairs of that bin can be formed."""
    scores = {"text": np.array([0.5]), "image": np.arange(9.0)}
    found = select_candidates(scores, all_allowed(scores), rho=0.3, num_bins=3)
    assert [p for p, _ in found.players].count("text") == 1
    assert set(found.pair_bins.tolist()) <= {int(found.bins[0])}
    assert len(found.pairs) == (found.bins[1:] == found.bins[0]).sum()
