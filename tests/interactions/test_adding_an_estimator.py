"""Another estimator is one file (``support/toy_estimator.py``) and one line of the catalogue (``listed``).

That the whole probe runs with it is in ``tests/probe/test_probe.py``.
"""

import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.games import cross_pairs, smooth_game

from raymoe.catalogue import ESTIMATORS, ListedEstimator
from raymoe.config import load_preset
from raymoe.errors import InputError
from raymoe.interactions import estimate, estimators
from raymoe.interactions.estimate import evaluations_per_coalition
from raymoe.interactions.estimators import Estimator, find_estimator
from raymoe.interactions.pieces import block_sums, pieces, work_of
from raymoe.interactions.sums import summed


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    """The one line."""
    line = ListedEstimator("support.toy_estimator:Toy", min_coalitions=6)
    monkeypatch.setitem(ESTIMATORS, "toy", line)


def test_every_listed_estimator_is_there_and_is_called_so():
    for name in ESTIMATORS:
        estimator = find_estimator(name)
        assert isinstance(estimator, Estimator)
        assert estimator.name == name


def test_it_answers_through_the_one_door():
    game, pairs = smooth_game(8, 3), cross_pairs(8, 3)
    truth = estimate(game, pairs, method="exact")
    found = estimate(game, pairs, budget=40_000, method="toy")
    assert (np.abs(found.sii - truth.sii) < 5 * found.sii_stderr).all()
    assert found.num_evaluations == 40_000 // 60 * 60
    assert evaluations_per_coalition(pairs, "toy") == 60
    with pytest.raises(InputError, match="budget 100 is too small: 'toy' on 15 pairs"):
        estimate(game, pairs, budget=100, method="toy")
    with pytest.raises(InputError, match="'toy' takes no option share"):
        estimate(game, pairs, budget=40_000, method="toy", share=0.1)
    with pytest.raises(InputError, match="unknown method 'toi'") as caught:
        estimate(game, pairs, budget=40_000, method="toi")
    assert "toy" in caught.value.remedy


def test_it_is_cut_into_pieces_like_the_others():
    game, pairs, coalitions = smooth_game(8, 3), cross_pairs(8, 3), 20
    options = {"method": "toy", "coalitions": coalitions, "seed": 4}
    whole = block_sums(game, pairs, 8, start=0, stop=coalitions, **options)
    work = work_of(pairs, 8, "toy", coalitions)
    assert (work.blocks, work.block, work.evaluations) == (20, 60, 1200)
    cut = pieces(work, 200)
    assert len(cut) > 3
    found = summed(block_sums(game, pairs, 8, start=p.start, stop=p.stop, **options) for p in cut)
    edges = [0, 3, 11, 20]
    blocks = summed(block_sums(game, pairs, 8, start=a, stop=b, **options) for a, b in pairwise(edges))
    for name, values in whole.columns().items():
        np.testing.assert_allclose(found.columns()[name], values, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(blocks.columns()[name], values, atol=1e-12, err_msg=name)


def test_a_setting_names_it():
    preset = load_preset("demo", ["probe.estimator=toy", "probe.coalitions=6"])
    assert preset.probe.estimator == "toy"
    with pytest.raises(InputError, match="coalitions must be at least 6 for toy, not 5"):
        load_preset("demo", ["probe.estimator=toy", "probe.coalitions=5"])
    with pytest.raises(InputError, match="'paper' or 'toy'"):
        load_preset("demo", ["probe.estimator=toi"])


def test_the_one_that_contributors_are_shown(monkeypatch, tmp_path):
    """The file and the line of CONTRIBUTING.md, as they stand there."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (source,) = re.findall(
        r"^```python\n(# raymoe/interactions/estimators/plain\.py\n.*?)^```", text, re.M | re.S
    )
    (place,) = re.findall(r'"plain": ListedEstimator\("([\w.:]+)"\)', text)
    assert place == "raymoe.interactions.estimators.plain:Plain"
    (tmp_path / "plain.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(estimators, "__path__", [*estimators.__path__, str(tmp_path)])
    monkeypatch.setitem(ESTIMATORS, "plain", ListedEstimator(place))
    game, pairs = smooth_game(8, 3), cross_pairs(8, 3)
    found = estimate(game, pairs, budget=40_000, method="plain")
    error = found.sii - estimate(game, pairs, method="exact").sii
    assert (np.abs(error) < 5 * found.sii_stderr).all()
    monkeypatch.delitem(sys.modules, "raymoe.interactions.estimators.plain")
