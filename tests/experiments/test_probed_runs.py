"""Several seeds in one table: each one's figures, their mean on the same resamples, and seeds left out."""

from dataclasses import replace

import numpy as np
import pytest
from support.tiny import write_tiny_importance, write_tiny_interactions

from raymoe.errors import ParentError
from raymoe.experiments.alignment import ALIGNMENT
from raymoe.experiments.alignment.measure import measure as alignment
from raymoe.experiments.pair_masking import PAIR_MASKING, RANDOM, RANKED
from raymoe.experiments.pair_masking.measure import measure as pair_masking
from raymoe.experiments.probed_runs import left_out_of, probed_seeds
from raymoe.experiments.running import evaluate
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.tables import metadata_of, read_table
from raymoe.training import train


@pytest.fixture
def two_seeds(tiny):
    """The tiny project, probed; and another seed of it, trained and attributed but not probed."""
    tiny = replace(tiny, preset=tiny.preset.with_fields({"sweep.seeds": [1, 0, 2], "train.epochs": 1}))
    second = replace(tiny, preset=tiny.preset.with_fields({"train.seed": 1}))
    for project in (tiny, second):
        train(project, device="cpu")
        seed = project.preset.train.seed
        write_tiny_importance(project, read_info(CHECKPOINT.of(project)), seed=seed)
    write_tiny_interactions(tiny)
    return tiny, second


def table(project, name, contract):
    found = read_table(project.workspace, f"{project.root}/evaluation/{name}.parquet", contract, "")
    return found.to_pandas(), metadata_of(found.schema)


def test_seeds_that_were_not_probed_are_named_with_their_command(two_seeds, capsys):
    tiny, second = two_seeds
    store = FeatureStore.open(FEATURES.of(tiny))
    assert [run.seed for run in probed_seeds(tiny, store)] == [0]
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 1 left out: " in said
    assert "Make it with: raymoe probe tiny" in said
    assert "--seed 1" in said
    assert "seed 2" not in said, "it was never trained"
    write_tiny_interactions(second)
    found = probed_seeds(tiny, store)
    assert [run.seed for run in found] == [0, 1]
    assert [run.command("probe")[-8:] == "--seed 1" for run in found] == [False, True]
    write_tiny_importance(second, read_info(CHECKPOINT.of(second)), seed=5)
    assert [run.seed for run in probed_seeds(tiny, store)] == [0], "its interactions are of other importances"
    assert "was made from importance" in capsys.readouterr().out
    third = replace(tiny, preset=tiny.preset.with_fields({"train.seed": 3}))
    assert [run.seed for run in probed_seeds(third, store)] == [0], "another seed stands in, and it is said"
    tiny.workspace.remove(f"{tiny.run}/importance.arrow")
    with pytest.raises(ParentError, match=r"seed0/importance\.arrow is missing") as caught:
        probed_seeds(tiny, store)
    assert "raymoe attribute tiny" in caught.value.remedy, "of its own seed, where none is left"


def test_alignment_over_seeds_is_their_mean_on_the_same_samples(two_seeds, capsys):
    tiny, second = two_seeds
    assert alignment(tiny).ran
    alone, _ = table(tiny, "alignment", ALIGNMENT)
    write_tiny_interactions(second, lambda row: 1 + (row.u + row.v) % 5)
    assert alignment(tiny).ran, "another seed, another table"
    assert not evaluate(second, "alignment").ran, "whichever of them asks"
    assert "mean over seeds 0, 1" in " ".join(capsys.readouterr().out.split())
    rows, _ = table(tiny, "alignment", ALIGNMENT)
    keys = ["expert", "score", "bin", "top"]
    first, other = (rows[rows["seed"] == seed].set_index(keys) for seed in (0, 1))
    mean = rows[rows["seed"].isna()].set_index(keys)
    assert len(first) == len(other) == len(mean) > 0
    np.testing.assert_allclose(first["mean"], alone[alone["seed"] == 0].set_index(keys)["mean"])
    both = np.stack([first["mean"], other.loc[first.index]["mean"]])
    np.testing.assert_allclose(mean.loc[first.index]["mean"], both.mean(0))
    np.testing.assert_allclose(mean.loc[first.index]["std"], both.std(0, ddof=1))
    assert first["std"].isna().all()
    assert (mean["pairs"] == (first["pairs"] + other["pairs"]).loc[mean.index]).all()
    assert mean["samples"].to_list() == first.loc[mean.index]["samples"].to_list()
    # of two seeds that say the same the interval is that of one: their resamples are the same
    write_tiny_importance(second, read_info(CHECKPOINT.of(second)), seed=0)
    write_tiny_interactions(second)
    alignment(tiny)
    rows, _ = table(tiny, "alignment", ALIGNMENT)
    mean = rows[rows["seed"].isna()].set_index(keys)
    for column in ("mean", "low", "high"):
        np.testing.assert_allclose(mean[column], first.loc[mean.index][column])
    assert (mean["std"] == 0).all()


def test_pair_masking_over_seeds_is_their_mean_and_differences_are_paired(two_seeds):
    tiny, second = two_seeds
    pair_masking(tiny, device="cpu")
    alone, _ = table(tiny, "pair-masking", PAIR_MASKING)
    write_tiny_interactions(second, lambda row: 1 + (row.u + row.v) % 5)
    assert pair_masking(tiny, device="cpu").ran
    rows, metadata = table(tiny, "pair-masking", PAIR_MASKING)
    keys = ["expert", "score", "share", "masking"]
    first, other = (rows[rows["seed"] == seed].set_index(keys) for seed in (0, 1))
    mean = rows[rows["seed"].isna()].set_index(keys).sort_index()
    of_first = alone[alone["seed"] == 0].set_index(keys)
    for column in ("value", "value_low", "drop_high", "features"):
        np.testing.assert_allclose(first[column], of_first[column])
    for column in ("value", "drop", "features"):
        both = np.stack([first[column], other.loc[first.index][column]])
        np.testing.assert_allclose(mean.loc[first.index][column], both.mean(0), atol=1e-12)
    both = np.stack([first["drop"], other.loc[first.index]["drop"]])
    np.testing.assert_allclose(mean.loc[first.index]["drop_std"], both.std(0, ddof=1), atol=1e-12)
    for d in metadata["differences"]:
        values = mean["value"][d["expert"], d["score"], d["share"]]
        assert d["more"] == pytest.approx(values[d["against"]] - values[RANKED])
        assert d["more_low"] <= d["more"] + 1e-12
    assert any(d["against"] == RANDOM for d in metadata["differences"])
    assert [entry["reason"] for entry in metadata["skipped"]] == ["no words"], "once, not per seed"


def test_reasons_name_the_seeds_where_they_differ():
    found = left_out_of([(0, {"a": "no words", "b": "failed"}), (1, {"a": "no words", "b": "not measured"})])
    assert [(entry["sample_id"], entry["reason"]) for entry in found] == [
        ("a", "no words"),
        ("b", "failed (seed 0)"),
        ("b", "not measured (seed 1)"),
    ]
