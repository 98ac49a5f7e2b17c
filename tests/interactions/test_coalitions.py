"""The distribution of what is drawn, and that it depends on the seed and the coalition's number alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.interactions.coalitions import pair_contexts, seed_of, shared_coalitions


@pytest.mark.parametrize("pair", [(0, 1), (2, 5)])
def test_contexts_have_the_shapley_distribution_for_every_pair(pair):
    """Without u and v, sizes are uniform on 0..n-2 and each set of a size is as likely as any other."""
    n = 6
    drawn = np.concatenate([shared_coalitions(n, 64, 0, 64, seed) for seed in range(1500)])
    rest = np.delete(drawn, pair, axis=1)
    shares = np.bincount(rest.sum(1), minlength=n - 1) / len(rest)
    np.testing.assert_allclose(shares, 1 / (n - 1), atol=0.005)
    twos = rest[rest.sum(1) == 2] @ (1 << np.arange(n - 2))
    counts = np.unique(twos, return_counts=True)[1]
    assert len(counts) == 6  # 4 choose 2
    np.testing.assert_allclose(counts / counts.sum(), 1 / 6, atol=0.01)


def test_the_papers_contexts_have_the_same_distribution():
    n, (u, v) = 6, (1, 4)
    drawn = np.concatenate([pair_contexts(n, u, v, 0, 64, seed) for seed in range(1500)])
    assert not drawn[:, [u, v]].any()
    shares = np.bincount(drawn.sum(1), minlength=n - 1) / len(drawn)
    np.testing.assert_allclose(shares, 1 / (n - 1), atol=0.005)


@given(seed=st.integers(0, 2**64 - 1), n=st.integers(2, 40), groups=st.integers(1, 6), data=st.data())
def test_blocks_are_slices_of_one_list(seed, n, groups, data):
    total = 4 * groups
    start = data.draw(st.integers(0, total - 1))
    stop = data.draw(st.integers(start + 1, total))
    whole = shared_coalitions(n, total, 0, total, seed)
    assert whole.shape == (total, n)
    np.testing.assert_array_equal(shared_coalitions(n, total, start, stop, seed), whole[start:stop])
    np.testing.assert_array_equal(whole[0::2], ~whole[1::2])  # complements
    contexts = pair_contexts(n, 0, 1, 0, total, seed)
    np.testing.assert_array_equal(pair_contexts(n, 0, 1, start, stop, seed), contexts[start:stop])


def test_sizes_are_stratified():
    """Over many players the share of members is t, and coalition 2j has its t in the j-th stratum."""
    drawn = shared_coalitions(20_000, 16, 0, 16, 3)
    assert (np.floor(drawn[0::2].mean(1) * 16 + 1e-9).astype(int) == np.arange(8)).sum() >= 7


def test_seeds_differ_by_every_part():
    assert len({seed_of(0, "a", "b"), seed_of(1, "a", "b"), seed_of(0, "ab", ""), seed_of(0, "b", "a")}) == 4
    assert seed_of(0, "a") == seed_of(0, "a")


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        shared_coalitions(5, 6, 0, 6, 0)
    with pytest.raises(ValueError, match="not among"):
        shared_coalitions(5, 8, 4, 12, 0)
