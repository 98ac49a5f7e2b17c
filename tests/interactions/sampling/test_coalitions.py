"""The distribution of what is drawn, and that it depends on the seed and the draw's number alone."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.errors import InputError
from raymoe.interactions.sampling.coalitions import (
    SizeLaw,
    context_probability,
    drawn_coalitions,
    pair_contexts,
    tiled_coalitions,
)
from raymoe.runtime.seeds import seed_of


@pytest.mark.parametrize("pair", [(0, 1), (2, 5)])
@pytest.mark.parametrize("law", [SizeLaw(), SizeLaw("banzhaf", 0.3)])
def test_contexts_have_the_law_of_the_index_for_every_pair(pair, law):
    """Without u and v, sizes follow the law and each set of a size is as likely as any other."""
    n = 6
    drawn = np.concatenate(
        [tiled_coalitions(law.sizes(n), 8, 8, 0, 8, (seed,)).reshape(-1, n) for seed in range(1500)]
    )
    rest = np.delete(drawn, pair, axis=1)
    shares = np.bincount(rest.sum(1), minlength=n - 1) / len(rest)
    np.testing.assert_allclose(shares, law.sizes(n - 2), atol=0.005)
    twos = rest[rest.sum(1) == 2] @ (1 << np.arange(n - 2))
    counts = np.unique(twos, return_counts=True)[1]
    assert len(counts) == 6  # 4 choose 2
    np.testing.assert_allclose(counts / counts.sum(), 1 / 6, atol=0.012)


@pytest.mark.parametrize("law", [SizeLaw(), SizeLaw("banzhaf", 0.3)])
def test_the_papers_contexts_have_the_same_distribution(law):
    n, (u, v) = 6, (1, 4)
    drawn = np.concatenate([pair_contexts(n, u, v, 0, 64, seed, law) for seed in range(1500)])
    assert not drawn[:, [u, v]].any()
    shares = np.bincount(drawn.sum(1), minlength=n - 1) / len(drawn)
    np.testing.assert_allclose(shares[: n - 1], law.sizes(n - 2), atol=0.005)


@given(
    seed=st.integers(0, 2**64 - 1),
    n=st.integers(2, 40),
    replicates=st.integers(1, 6),
    length=st.integers(1, 9),
    data=st.data(),
)
def test_blocks_are_slices_of_one_list(seed, n, replicates, length, data):
    start = data.draw(st.integers(0, replicates - 1))
    stop = data.draw(st.integers(start + 1, replicates))
    sizes = SizeLaw().sizes(n)
    whole = tiled_coalitions(sizes, replicates, length, 0, replicates, (seed,))
    assert whole.shape == (replicates, length, n)
    np.testing.assert_array_equal(
        tiled_coalitions(sizes, replicates, length, start, stop, (seed,)), whole[start:stop]
    )
    contexts = pair_contexts(n, 0, 1, 0, 10, seed)
    np.testing.assert_array_equal(pair_contexts(n, 0, 1, 4, 7, seed), contexts[4:7])


def test_sizes_are_stratified_and_members_balanced():
    n, replicates, length = 23, 4, 12
    drawn = tiled_coalitions(SizeLaw().sizes(n), replicates, length, 0, replicates, (3,))
    # coalition i of replicate r is in stratum i * replicates + r
    in_order = drawn.sum(2).T.ravel()
    wanted = (np.arange(48) + 0.5) / 48 * (n + 1) - 0.5
    assert np.abs(in_order - wanted).max() <= 1
    # within a replicate the windows go round the players: no one is in more than once more than another
    assert (np.ptp(drawn.sum(1), axis=1) <= 1).all()


def test_an_allocation_moves_coalitions_to_its_sizes():
    sizes = np.zeros(11)
    sizes[[2, 7]] = 0.75, 0.25
    drawn = drawn_coalitions(sizes, 400, (1,))
    assert np.bincount(drawn.sum(1), minlength=11)[[2, 7]].tolist() == [300, 100]
    assert (tiled_coalitions(sizes, 4, 2, 0, 4, (1,)).sum(2).ravel() == 2).sum() == 6


def test_context_probabilities():
    table = context_probability(7, 2)
    np.testing.assert_allclose(table.sum(1), 1)
    assert table[3, 2] == pytest.approx(2 * comb(5, 2) / comb(7, 3))
    # coalitions of the law's sizes give contexts of the law's sizes
    for law in (SizeLaw(), SizeLaw("banzhaf", 0.2)):
        np.testing.assert_allclose(law.sizes(7) @ table, law.sizes(5))
        np.testing.assert_allclose(law.sizes(7) @ context_probability(7, 3), law.sizes(4))


@pytest.mark.parametrize("law", [SizeLaw(), SizeLaw("banzhaf", 0.7)])
def test_nodes_integrate_over_contexts(law):
    """The mean of a product over players is the same by sizes and by nodes."""
    a, b = np.array([0.3, -1.0, 2.0, 0.5]), np.array([1.0, 0.2, -0.4, 1.5])
    by_sets = 0.0
    for index in range(16):
        inside = index >> np.arange(4) & 1
        by_sets += law.sizes(4)[inside.sum()] / comb(4, inside.sum()) * np.prod(np.where(inside, b, a))
    t, weight = law.nodes(4)
    assert weight @ np.prod(a + t[:, None] * (b - a), axis=1) == pytest.approx(by_sets)


def test_seeds_differ_by_every_part():
    assert len({seed_of(0, "a", "b"), seed_of(1, "a", "b"), seed_of(0, "ab", ""), seed_of(0, "b", "a")}) == 4
    assert seed_of(0, "a") == seed_of(0, "a")


def test_bad_laws_are_refused():
    with pytest.raises(InputError, match="unknown index"):
        SizeLaw("fsii")
    with pytest.raises(InputError, match="inclusion is 0"):
        SizeLaw("banzhaf", 0.0)
