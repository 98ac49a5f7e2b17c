"""Bins follow the importance, means are those of the best pairs, and resamples count samples."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import tiny_preset

from raymoe.display.vocabulary import COMPARED
from raymoe.errors import InputError, ParentError
from raymoe.experiments.alignment import ALIGNMENT, POOLED, SAME, WITHIN
from raymoe.experiments.alignment import measure as module
from raymoe.experiments.alignment.measure import TOP, _parts, _rows, mean_of_top, means_within
from raymoe.experiments.alignment.measure import measure as alignment
from raymoe.experiments.bins import BINS, bins_of
from raymoe.experiments.running import evaluate
from raymoe.features.store import FeatureStore
from raymoe.probe import probe
from raymoe.project.artifacts import FEATURES, INTERACTIONS
from raymoe.project.contracts import IMPORTANCE
from raymoe.project.interaction_tables import read_interactions
from raymoe.project.tables import read_table


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3)), min_size=1, max_size=40),
    st.sampled_from([5, 10, 20, 100]),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_the_mean_is_that_of_the_best_pairs_written_out(pairs, share, counts):
    """As if each pair stood there as often as its sample was drawn."""
    values, samples = (np.array(column) for column in zip(*pairs, strict=True))
    written = sorted((v for v, s in pairs for _ in range(counts[s])), reverse=True)
    (found,) = mean_of_top(values.astype(float), samples, share, np.array([counts]))
    if not written:
        assert np.isnan(found)
        return
    wanted = min(max(len(written) * share / 100, 1.0), len(written))
    whole = int(wanted)
    total = sum(written[:whole]) + (wanted - whole) * (written[whole] if whole < len(written) else 0)
    assert found == pytest.approx(total / wanted)


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3)), min_size=1, max_size=40),
    st.sampled_from([5, 20, 100]),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_within_samples_every_sample_counts_as_often_as_it_was_drawn(pairs, share, counts):
    values, samples = (np.array(column) for column in zip(*pairs, strict=True))
    written = []
    for sample in sorted(set(samples)):
        own = sorted(values[samples == sample])[::-1]
        wanted = max(len(own) * share / 100, 1.0)
        whole = int(wanted)
        top = (sum(own[:whole]) + (wanted - whole) * (own[whole] if whole < len(own) else 0)) / wanted
        written += counts[sample] * [top]
    (found,) = means_within(values.astype(float), samples, share, np.array([counts]))
    assert np.isnan(found) if not written else found == pytest.approx(np.mean(written))


class Rows:
    """A store that knows samples by their number."""

    def index_of(self, name):
        return int(name[1:])


def test_like_is_compared_with_like():
    """A sample with pairs in one bin alone counts where all are pooled, and not beside the other bins."""
    frames = []
    for sample, bins, level in (("s0", (0, 1, 2), 1.0), ("s1", (0, 1, 2), 3.0), ("s2", (0,), 100.0)):
        for number in bins:
            values = level - 0.1 * number + np.array([0.0, 0.01])
            columns = {f"{score}{end}": values for score in COMPARED for end in ("", "_stderr")}
            frames.append(pd.DataFrame({"expert": "synergy", "sample_id": sample, "bin": number, **columns}))
    found = {}
    for key, part in _parts(0, pd.concat(frames), Rows()):
        found.setdefault(key, []).append(part)
    rows = pd.DataFrame(_rows(found))
    rows = rows[(rows["score"] == "sii") & (rows["top"] == 5) & rows["seed"].isna()]
    means = {choice: of["mean"].round(6).tolist() for choice, of in rows.groupby("choice")}
    assert means == {POOLED: [100.01, 2.91, 2.81], SAME: [3.01, 2.91, 2.81], WITHIN: [2.01, 1.91, 1.81]}
    counts = {choice: of["samples"].tolist() for choice, of in rows.groupby("choice")}
    assert counts == {POOLED: [3, 2, 2], SAME: [2, 2, 2], WITHIN: [2, 2, 2]}


def test_bins_hold_the_pairs_of_equally_important_features(tiny):
    store = FeatureStore.open(FEATURES.of(tiny))
    importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    found = bins_of(store, importance, ["synergy", "redundancy"])
    assert set(found["expert"]) == {"synergy", "redundancy"}
    frame = importance.to_pandas().set_index(["sample_id", "expert", "modality"])["scores"]
    for (sample_id, expert), part in found.groupby(["sample_id", "expert"]):
        scores = frame[sample_id, expert, "image"]
        ranks = np.argsort(np.argsort(-scores, kind="stable"))  # of nine patches one belongs to each bin
        for row in part.itertuples():
            assert ranks[row.v] == row.bin
            assert (row.u_modality, row.v_modality) == ("text", "image")


def test_every_bin_and_q_is_there_and_the_mean_is_right(tiny, ray_session, capsys, monkeypatch):
    probe(tiny)
    result = evaluate(tiny, "alignment")
    rows = read_table(tiny.workspace, f"{tiny.root}/evaluation/alignment.parquet", ALIGNMENT, "").to_pandas()
    assert set(rows["seed"].dropna()) == {0}
    rows = rows[rows["seed"].isna()]
    assert set(rows["choice"]) == {POOLED, SAME, WITHIN}
    assert (rows[rows["choice"] != POOLED]["samples"] == 1).all(), "one sample has pairs in every bin"
    rows = rows[rows["choice"] == POOLED]
    assert result.path.endswith("evaluation/alignment.parquet")
    assert set(rows["top"]) == set(TOP)
    assert set(rows["bin"]) <= set(BINS)
    assert BINS[0] in set(rows["bin"])
    pairs = read_interactions(INTERACTIONS.of(tiny)).to_pandas()
    store = FeatureStore.open(FEATURES.of(tiny))
    importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    binned = bins_of(store, importance, ["synergy", "redundancy"])
    keys = ["sample_id", "expert", "u_modality", "u", "v_modality", "v"]
    joined = binned.merge(pairs, on=keys, suffixes=("", "_probe"))
    for row in rows.itertuples():
        part = joined[(joined["expert"] == row.expert) & (joined["bin"] == BINS.index(row.bin))]
        values = np.sort(part[row.score])[::-1]
        assert len(values) == row.pairs
        assert row.mean == pytest.approx(values[0], rel=1e-6), "of so few pairs the best one"
        assert np.isnan(row.low) == np.isnan(row.high) == (row.samples == 1), "of one sample no interval"
        assert row.samples == 1 or row.low <= row.mean + 1e-12
        assert row.samples == 1 or row.low <= row.high
    said = capsys.readouterr().out
    assert "SII, synergy expert" in said
    assert "redundancy gap, redundancy expert" in said

    assert result.ran
    again = evaluate(tiny, "alignment")
    assert (again.ran, again.fingerprint) == (False, result.fingerprint)
    assert "SII, synergy expert" in capsys.readouterr().out, "it is printed all the same"
    assert evaluate(tiny, "alignment", overwrite=True).ran
    monkeypatch.setattr(module, "TOP", (5,))
    assert evaluate(tiny, "alignment").ran, "other settings, another table"

    assert [entry["sample_id"] for entry in result.skipped] == ["s3"]
    assert "left out: 1, no features in text: s3" in said
    config = f"{tiny.run}/checkpoint/config.json"
    written = json.loads(tiny.workspace.read(config))
    tiny.workspace.write(config, json.dumps(written | {"features": "0" * 16}).encode())
    with pytest.raises(ParentError, match="features 0000") as caught:
        alignment(tiny)
    assert "raymoe train tiny" in caught.value.remedy


def test_too_small_a_universe_and_missing_tables_name_the_command(tiny, ray_session):
    with pytest.raises(ParentError, match="is missing") as caught:
        alignment(tiny)
    assert "raymoe probe tiny" in caught.value.remedy
    small = replace(tiny, preset=tiny_preset(probe={"rho": 0.1}))
    with pytest.raises(InputError, match=r"probe\.rho is 0\.1") as caught:
        alignment(small)
    assert "probe.rho=0.3" in caught.value.remedy
    apart = replace(tiny, preset=tiny_preset(probe={"rho": 0.3, "num_bins": 2}))
    probe(apart)
    with pytest.raises(InputError, match="pairs within a bin were not measured") as caught:
        alignment(apart)
    assert "probe.num_bins=1" in caught.value.remedy
