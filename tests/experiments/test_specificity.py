"""Is it a pair? The table against the decomposition written out; where nothing can be told, nothing is."""

import numpy as np
import pandas as pd
import pytest

from raymoe.errors import ParentError
from raymoe.experiments.bootstrap import resample_counts
from raymoe.experiments.running import evaluate
from raymoe.experiments.specificity import EXPERIMENT
from raymoe.experiments.specificity.classes import by_class
from raymoe.experiments.specificity.measure import QUANTITIES, decomposed, quantities
from raymoe.interactions.two_way import TwoWay
from raymoe.probe import probe
from raymoe.project.artifacts import INTERACTIONS
from raymoe.project.interaction_tables import read_interactions


def pairs_of(sample_id, values, stderr, expert="synergy"):
    """Rows of an interactions table: all words of a sample with all its patches."""
    rows, columns = np.indices(values.shape).reshape(2, -1)
    own = TwoWay(np.stack([rows, 100 + columns], 1)).rest(values.ravel())
    return pd.DataFrame(
        {
            "expert": expert,
            "sample_id": sample_id,
            "u_modality": "text",
            "u": rows,
            "v_modality": "image",
            "v": columns,
            "sii": values.ravel(),
            "pair_specific": own,
            "pair_specific_stderr": np.where(np.isnan(own), np.nan, stderr),
            "n_coalitions": 24,
            "n_contrasts": 12,
        }
    )


def test_parts_of_the_samples_add_up_before_their_shares_are_taken():
    rng = np.random.default_rng(0)
    tables = [scale * rng.normal(size=(3, 4)) + shift for scale, shift in ((1, 0), (10, 5), (0.1, -3))]
    frame = pd.concat([pairs_of(f"s{i}", table, 0.05) for i, table in enumerate(tables)])
    samples = decomposed(frame)
    assert samples["sample_id"].tolist() == ["s0", "s1", "s2"]
    np.testing.assert_allclose(samples["total"], [table.var() for table in tables])
    np.testing.assert_allclose(samples["mean"], [table.mean() for table in tables])
    np.testing.assert_allclose(samples[["first", "second", "own"]].sum(axis=1), samples["total"])
    words = [np.var(table.mean(1)) for table in tables]
    np.testing.assert_allclose(samples["first"], words)
    found = quantities(samples, resample_counts(3, resamples=1))
    assert set(found) == set(QUANTITIES)
    assert found["first"][0] == pytest.approx(sum(words) / samples["total"].sum())
    assert found["noise"][0] == pytest.approx(3 * 0.05**2 / samples["total"].sum())
    every = np.concatenate([table.ravel() for table in tables])
    assert found["between"][0] == pytest.approx(1 - samples["total"].mean() / every.var())
    ratio = samples["noise"] / (samples["own"] - samples["noise"]).clip(0)
    assert found["noise_of_own"][0] == pytest.approx(ratio.replace(-np.inf, np.inf).median())
    assert found["above_noise"][0] == pytest.approx(samples["above_noise"].astype(float).mean())


def test_noise_alone_is_not_taken_for_the_pairs_own():
    """Of tables with nothing of the pairs' own one in twenty is above its noise; of others nearly all."""
    rng = np.random.default_rng(1)
    plain, real = [], []
    for i in range(300):
        effects = rng.normal(size=(4, 1)) + 2 * rng.normal(size=(1, 6))
        noise = 0.1 * rng.normal(size=(4, 6))
        of_rest = 0.1 * np.sqrt(3 * 5 / 24)  # what centring leaves of the noise
        plain.append(pairs_of(f"s{i}", effects + noise, of_rest))
        real.append(pairs_of(f"s{i}", effects + noise + 0.3 * rng.normal(size=(4, 6)), of_rest))
    plain, real = decomposed(pd.concat(plain)), decomposed(pd.concat(real))
    assert plain["above_noise"].astype(float).mean() < 0.08
    assert real["above_noise"].astype(float).mean() > 0.9
    counts = resample_counts(300, resamples=1)
    assert abs(quantities(plain, counts)["own"][0]) < 0.001


def test_samples_with_one_word_are_counted_and_not_zero():
    frame = pd.concat([pairs_of("one", np.ones((1, 5)), 0.1), pairs_of("more", np.eye(4), 0.1)])
    samples = decomposed(frame).set_index("sample_id")
    assert samples.loc["one", ["total", "own", "noise", "above_noise"]].isna().all()
    assert samples.loc["more", "own"] > 0


def test_the_sign_of_a_class_is_that_of_its_samples():
    """Samples weigh alike, however many pairs they have; one with two classes counts for both."""
    rng = np.random.default_rng(2)
    tables = {f"a{i}": -1 - rng.random((2, 3)) for i in range(4)} | {
        f"b{i}": rng.normal(size=(5, 6)) for i in range(6)
    }
    labels = {name: [0] if name[0] == "a" else [1] for name in tables} | {"b0": [0, 1], "b5": [2]}
    samples = decomposed(pd.concat([pairs_of(name, table, 0.1) for name, table in tables.items()]))
    samples = pd.concat([samples.assign(seed=seed) for seed in (0, 3)])
    samples.loc[samples["seed"] == 3, "mean"] += 1
    found = {
        (row["seed"], row["class"]): row for row in by_class(samples, labels, ["cat", "dog", "rare", "none"])
    }
    assert set(found) == {(seed, name) for seed in (0, 3, None) for name in ("cat", "dog")}
    of = {"cat": ["a0", "a1", "a2", "a3", "b0"], "dog": [f"b{i}" for i in range(5)]}
    for (seed, name), row in found.items():
        means = [tables[sample].mean() for sample in of[name]]
        assert row["samples"] == len(of[name])
        assert row["mean"] == pytest.approx(np.mean(means) + {0: 0, 3: 1, None: 0.5}[seed])
        assert row["negative"] == pytest.approx(np.mean([(tables[sample] < 0).mean() for sample in of[name]]))
        assert row["negative_low"] <= row["negative"] <= row["negative_high"]
    assert found[None, "cat"]["negative_high"] <= 1


def test_from_the_probes_tables_to_the_terminal(tiny, ray_session, capsys):
    probe(tiny)
    result = evaluate(tiny, "specificity")
    assert result.ran
    assert not evaluate(tiny, "specificity").ran
    tables = EXPERIMENT.read(tiny)
    samples = tables["specificity-samples"].to_pandas()
    pairs = read_interactions(INTERACTIONS.of(tiny)).to_pandas()
    assert len(samples) == len(pairs.groupby(["expert", "sample_id"]))
    for row in samples.dropna().itertuples():
        own = pairs[(pairs["sample_id"] == row.sample_id) & (pairs["expert"] == row.expert)]
        assert row.own == pytest.approx((own["pair_specific"] ** 2).mean(), rel=1e-6)
        assert row.pairs == len(own)
    rows = tables["specificity"].to_pandas()
    of_all = rows[rows["seed"].isna()]
    assert set(of_all["quantity"]) == set(QUANTITIES)
    assert set(of_all["expert"]) == set(pairs["expert"])
    whole = samples[samples["expert"] == "synergy"].dropna()
    share = (whole["own"] - whole["noise"]).sum() / whole["total"].sum()
    own = of_all[(of_all["expert"] == "synergy") & (of_all["quantity"] == "own")]["value"].item()
    assert own == pytest.approx(share, rel=1e-6)
    printed = capsys.readouterr().out
    assert "Is it a pair?" in printed
    assert "the pairs' own" in " ".join(printed.split())


def test_without_a_probe_it_names_the_command(tiny):
    with pytest.raises(ParentError) as caught:
        evaluate(tiny, "specificity")
    assert "raymoe probe" in caught.value.remedy
