"""Running sums: their columns are those of the table, and they merge whichever way they were cut."""

import numpy as np
import pytest

from raymoe.interactions.sums import (
    COLUMNS,
    PRODUCTS,
    SCORES,
    TERMS,
    RunningSums,
    certain_sums,
    corner_terms,
    independent_sums,
    summed,
    tiled_sums,
    whole_terms,
)
from raymoe.interactions.two_way import TwoWay
from raymoe.project import contracts
from raymoe.project.contracts import INTERACTIONS, SUMS


def drawn(p=5, k=12, seed=0):
    """The terms of k contexts, each [k, p]; the pairs are of two players with all the others."""
    terms = corner_terms(*np.random.default_rng(seed).normal(size=(4, k, p)))
    return whole_terms(terms, TwoWay(np.array([(i % 2, 2 + i // 2) for i in range(p)])))


def tiled(p=5, seed=0):
    """Those of four replicates of three."""
    return tiled_sums(*(x.reshape(4, 3, p) for x in drawn(p, seed=seed)))


def test_the_tables_columns_are_those_of_the_sums():
    means = [f"sum_{term}" for term in TERMS]  # of these the table has the means
    assert tuple(name for name in COLUMNS if not name.startswith("n_") and name not in means) == SUMS
    counts = [name for name in COLUMNS if name.startswith("n_")]
    assert set(COLUMNS) - set(means) <= set(INTERACTIONS.schema.names)
    assert TERMS == contracts.TERMS
    assert SCORES == contracts.SCORES
    assert all(str(INTERACTIONS.schema.field(name).type) == "int64" for name in counts)
    assert tuple(tiled().columns()) == COLUMNS
    assert set(tiled().scores()) <= set(INTERACTIONS.schema.names)


def test_there_is_a_sum_for_every_term_and_a_product_for_every_error():
    assert {(term, term) for term in TERMS} <= set(PRODUCTS)
    sums = tiled()
    assert sums.totals.shape == sums.block_squares.shape == (len(TERMS), 5)
    assert sums.products.shape == sums.contrasts.shape == (len(PRODUCTS), 5)


def test_columns_give_the_sums_back():
    sums, columns = tiled(), tiled().columns()
    again = RunningSums.of_columns(dict(reversed(columns.items())))
    for name, values in again.columns().items():
        assert values.dtype == columns[name].dtype
        np.testing.assert_array_equal(values, columns[name], err_msg=name)
    np.testing.assert_array_equal(again.scores()["sii_stderr"], sums.scores()["sii_stderr"])
    with pytest.raises(ValueError, match="expected n_coalitions"):
        RunningSums.of_columns({name: values for name, values in columns.items() if name != "sum_base"})
    with pytest.raises(ValueError, match="sum_charm"):
        RunningSums.of_columns({**columns, "sum_charm": columns["sum_base"]})


def test_blocks_add():
    terms = drawn(k=12)
    whole = independent_sums(*terms)
    blocks = [independent_sums(*(x[i : i + 4] for x in terms)) for i in (0, 4, 8)]
    grown = blocks[0].added(independent_sums(*(x[4:, [1, 3]] for x in terms)), np.array([1, 3]))
    for name, values in whole.columns().items():
        np.testing.assert_allclose(summed(blocks).columns()[name], values, atol=1e-12, err_msg=name)
        expected = np.where(np.isin(np.arange(5), (1, 3)), values, blocks[0].columns()[name])
        np.testing.assert_allclose(grown.columns()[name], expected, atol=1e-12, err_msg=name)


def test_what_is_certain_has_no_error():
    means = corner_terms(*np.random.default_rng(1).normal(size=(4, 6)))
    table = TwoWay(np.array([(u, v) for u in (0, 1) for v in (2, 3, 4)]))
    scores = certain_sums(*whole_terms(means, table), count=1 << 10).scores()
    np.testing.assert_array_equal(scores["sii"], means.delta)
    np.testing.assert_array_equal(scores["pair_specific"], table.rest(means.delta))
    np.testing.assert_array_equal(scores["redundancy_gap"], means.base / (1 + means.span))
    for score in ("sii", "pair_specific", "redundancy_gap"):
        assert not scores[f"{score}_stderr"].any()
