"""Estimates as tables and as shapiq's InteractionValues."""

import matplotlib
import numpy as np
import pytest
from support.games import cross_pairs, smooth_game

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions import estimate

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def shapiq():
    """Not while tests are collected, which every process does: it takes longer to import than torch."""
    return pytest.importorskip("shapiq")


@pytest.mark.parametrize("method", ["shared", "surrogate", "adaptive", "exact"])
def test_shapiq_gets_orders_0_1_and_2(method, shapiq):
    n, game, pairs = 8, smooth_game(8, 0), cross_pairs(8, 3)
    found = estimate(game, pairs, budget=3000, method=method)
    values = found.to_shapiq()
    theirs = shapiq.ExactComputer(n_players=n, game=game)("SII", 2)
    assert isinstance(values, shapiq.InteractionValues)
    assert values.index == "SII"
    assert values[()] == pytest.approx(game(np.zeros((1, n), bool))[0])
    tolerance = 1e-9 if method == "exact" else 0.1
    for u in range(n):
        assert values[(u,)] == pytest.approx(theirs[(u,)], abs=tolerance)
    for (u, v), sii in zip(pairs.tolist(), found.sii, strict=True):
        assert values[(u, v)] == sii
        assert sii == pytest.approx(theirs[(u, v)], abs=tolerance)
    assert values[(0, 1)] == 0  # not measured


def test_shapiqs_plots_take_it(shapiq):
    found = estimate(smooth_game(8, 0), cross_pairs(8, 3), budget=3000)
    values = found.to_shapiq()
    names = [f"word {i}" for i in range(3)] + [f"patch {i}" for i in range(5)]
    import matplotlib.pyplot as plt

    shapiq.network_plot(values, feature_names=names, show=False)
    shapiq.si_graph_plot(values, feature_names=names, show=False)
    values.plot_upset(show=False)
    values.plot_force(feature_names=np.array(names), show=False)
    plt.close("all")
    gap = found.to_shapiq(score="redundancy_gap")
    assert gap[(0, 3)] == found.redundancy_gap[0]


def test_tables():
    found = estimate(smooth_game(8, 0), cross_pairs(8, 3), budget=3000)
    table = found.to_arrow()
    assert table.column_names[:4] == ["u", "v", "sii", "sii_stderr"]
    np.testing.assert_array_equal(table["redundancy_gap"], found.redundancy_gap)
    frame = found.to_pandas()
    assert len(frame) == 15
    assert frame.loc[3, "u"] == found.pairs[3, 0]


def test_the_papers_procedure_has_no_single_players():
    found = estimate(smooth_game(8, 0), cross_pairs(8, 3), budget=3000, method="paper")
    with pytest.raises(RaymoeError, match="no entries of order 0 and 1"):
        found.to_shapiq()


def test_a_banzhaf_index_goes_by_its_name():
    game, pairs = smooth_game(8, 0), cross_pairs(8, 3)
    assert estimate(game, pairs, budget=3000, index="banzhaf").to_shapiq().index == "BII"
    skewed = estimate(game, pairs, budget=3000, index="banzhaf", inclusion=0.2)
    assert skewed.to_arrow().schema.metadata[b"inclusion"] == b"0.2"
    with pytest.raises(RaymoeError, match=r"no index for inclusion 0\.2"):
        skewed.to_shapiq()
    with pytest.raises(InputError, match="no score 'gap'"):
        skewed.to_shapiq(score="gap")
