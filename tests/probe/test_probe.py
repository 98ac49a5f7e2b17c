"""The stage: same table however it is cut, interrupted or killed; and what it refuses."""

import shutil
import subprocess
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.catalogue import ESTIMATORS, ListedEstimator
from raymoe.errors import InputError, ParentError, RaymoeError, WorkspaceError
from raymoe.features.store import FeatureStore
from raymoe.interactions import ExpertGame, estimate, select_candidates
from raymoe.interactions.pieces import work_of
from raymoe.interactions.result import COLUMNS
from raymoe.interactions.sums import MEANS
from raymoe.models.checkpoint import load_checkpoint
from raymoe.probe import measuring, probe
from raymoe.probe.commit import UnitFiles
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES, INTERACTIONS
from raymoe.project.interaction_tables import of_experts, read_interactions
from raymoe.project.tables import metadata_of, read_table
from raymoe.project.workspace import Workspace
from raymoe.runtime.seeds import seed_of

EXPERTS = ["unique:text", "unique:image", "synergy", "redundancy"]


def read(project):
    return read_interactions(INTERACTIONS.of(project))


def table_bytes(project):
    """Those of all tables."""
    return [
        project.workspace.read(name)
        for name in [table.name for table in of_experts(INTERACTIONS.of(project))]
    ]


def with_probe(project, **fields):
    return replace(project, preset=tiny_preset(probe=fields))


def test_table_is_what_the_estimator_gives_sample_by_sample(tiny, ray_session):
    result = probe(tiny)
    table = read(tiny)
    assert result.ran
    store = FeatureStore.open(FEATURES.of(tiny))
    model, info = load_checkpoint(CHECKPOINT.of(tiny))
    rows = table.filter(pa.compute.equal(table["sample_id"], "s6")).to_pandas()
    for expert in ("synergy", "redundancy"):
        mine = rows[rows["expert"] == expert]
        importance = _scores(tiny, "s6", expert)
        parts = {m: store.sequence(6, m) for m in ("text", "image")}
        candidates = select_candidates(importance, {m: v & ~s for m, (_, v, s) in parts.items()}, rho=0.5)
        game = ExpertGame.of_sample(
            model,
            info.experts.index(expert),
            {m: torch.tensor(p[0]) for m, p in parts.items()},
            {m: torch.tensor(p[2]) for m, p in parts.items()},
            candidates.players,
            torch.eye(3)[0],
        )
        each = 1 + len(candidates.players) + len(candidates.pairs)
        seed = seed_of(0, "s6", expert)
        found = estimate(game, candidates.pairs, budget=8 * each + 1, method="shared", seed=seed)
        for column in COLUMNS:
            np.testing.assert_allclose(mine[column], getattr(found, column), rtol=1e-6, atol=1e-6)
        together = mine["synergy"] - mine["redundancy"] - mine["antagonism"]
        np.testing.assert_allclose(together, mine["sii"], rtol=0, atol=1e-9)
        assert list(zip(mine["u"], mine["v"], strict=True)) == [
            (candidates.players[a][1], candidates.players[b][1]) for a, b in candidates.pairs
        ]
        assert (mine["n_coalitions"] == 8).all()


def _scores(project, sample, expert):
    from raymoe.project.contracts import IMPORTANCE

    table = read_table(project.workspace, f"{project.run}/importance.arrow", IMPORTANCE, "")
    rows = [r for r in table.to_pylist() if r["sample_id"] == sample and r["expert"] == expert]
    return {r["modality"]: np.array(r["scores"]) for r in rows}


def test_the_mixture_is_probed_beside_its_experts(tiny, inline):
    """Its table is what the estimator gives for the model's own logit; ``all`` are the model's experts."""
    project = with_probe(tiny, experts=["all", "mixture"])
    assert probe(project).ran
    assert not probe(project).ran
    assert not probe(with_probe(tiny, experts=[*EXPERTS, "mixture"])).ran, "the same, by their names"
    rows = read(tiny).to_pandas()
    assert list(rows["expert"].unique()) == [*EXPERTS, "mixture"]
    mine = rows[(rows["expert"] == "mixture") & (rows["sample_id"] == "s6")]
    np.testing.assert_allclose(mine["sii"], estimated(tiny, mine, "mixture").sii, atol=1e-6)


def estimated(tiny, mine, expert, **law):
    """What the estimator gives for the pairs of sample s6 that a table has."""
    store = FeatureStore.open(FEATURES.of(tiny))
    model, _ = load_checkpoint(CHECKPOINT.of(tiny))
    parts = {m: store.sequence(6, m) for m in ("text", "image")}
    features = {m: torch.tensor(p[0]) for m, p in parts.items()}
    players = [
        (m, i)
        for m in ("text", "image")
        for i in sorted({*mine.loc[mine["u_modality"] == m, "u"], *mine.loc[mine["v_modality"] == m, "v"]})
    ]
    game = ExpertGame.of_sample(
        model,
        expert,
        features,
        {m: torch.tensor(p[2]) for m, p in parts.items()},
        players,
        torch.eye(3)[0],
    )
    pairs = np.array(
        [
            [players.index(("text", u)), players.index(("image", v))]
            for u, v in zip(mine["u"], mine["v"], strict=True)
        ]
    )
    each = 1 + len(players) + len(pairs)
    return estimate(game, pairs, budget=8 * each + 1, method="shared", seed=seed_of(0, "s6", expert), **law)


def test_contexts_of_independent_inclusion(tiny, inline):
    """Every score is of that law of contexts; inclusion is a setting of it alone."""
    project = with_probe(tiny, index="banzhaf", inclusion=0.3)
    assert probe(project).ran
    assert not probe(project).ran
    rows = read(tiny).to_pandas()
    mine = rows[(rows["expert"] == "synergy") & (rows["sample_id"] == "s6")]
    found = estimated(tiny, mine, "synergy", index="banzhaf", inclusion=0.3)
    for score in ("sii", "pair_specific", "redundancy", "redundancy_gap"):
        np.testing.assert_allclose(mine[score], getattr(found, score), atol=1e-6)
    assert np.abs(mine["sii"] - estimated(tiny, mine, "synergy").sii).max() > 1e-4
    with pytest.raises(ParentError, match="index"):
        probe(tiny)
    assert not {"index", "inclusion"} & tiny.preset.probe.defining().keys()


def test_samples_without_pairs_are_counted_and_listed(tiny, inline):
    result = probe(tiny)
    assert [(s["sample_id"], s["reason"]) for s in result.skipped] == [("s3", "no features in text")]
    assert metadata_of(read(tiny).schema)["skipped"] == list(result.skipped)
    assert set(read(tiny)["sample_id"].to_pylist()) == {"s2", "s4", "s5", "s6", "s7"}


def test_complete_is_not_run_again_and_other_settings_are_refused(tiny, inline):
    first = probe(tiny)
    again = probe(tiny)
    assert first.ran
    assert not again.ran
    assert again.skipped == first.skipped
    with pytest.raises(ParentError, match="coalitions: 8 there, 12 now") as caught:
        probe(with_probe(tiny, coalitions=12))
    assert "--overwrite" in caught.value.remedy
    assert probe(with_probe(tiny, coalitions=12), overwrite=True).ran
    assert (read(tiny)["n_coalitions"].to_numpy() == 12).all()


def test_double_precision_differs_by_rounding(tiny, inline):
    probe(tiny)
    single = read(tiny).to_pandas()
    probe(with_probe(tiny, precision="float64"), overwrite=True)
    double = read(tiny).to_pandas()
    difference = np.abs(single["sii"] - double["sii"]).max()
    assert 0 < difference < 1e-5


@pytest.mark.slow
def test_any_number_of_actors_gives_the_same_bytes(tiny, ray_session):
    probe(tiny, num_actors=1)
    one = table_bytes(tiny)
    probe(tiny, num_actors=2, overwrite=True)
    assert table_bytes(tiny) == one


def test_measured_units_are_cut_as_before_when_measured_again(tiny, inline, monkeypatch):
    """With a rate twice as high."""
    project = with_probe(tiny, coalitions=200, unit_evaluations="auto")
    rates = iter([3000.0, 6000.0, 500_000.0])
    monkeypatch.setattr(measuring, "measured_rate", lambda fleet, plan: next(rates))
    probe(project)
    first = table_bytes(project)
    assert metadata_of(read(project).schema)["unit_evaluations"] == 1024
    probe(project, overwrite=True)
    assert table_bytes(project) == first
    probe(project, overwrite=True)  # now units of before would be far too short
    assert metadata_of(read(project).schema)["unit_evaluations"] > 1024


def test_units_of_a_measured_size_give_the_same_table(tiny, inline):
    probe(with_probe(tiny, coalitions=48))
    asked = read(tiny)
    probe(with_probe(tiny, coalitions=48, unit_evaluations="auto"), overwrite=True)
    measured = read(tiny)
    size = metadata_of(measured.schema)["unit_evaluations"]
    assert size & (size - 1) == 0
    assert metadata_of(measured.schema)["plan"] != metadata_of(asked.schema)["plan"]
    assert metadata_of(measured.schema)["fingerprint"] == metadata_of(asked.schema)["fingerprint"]
    np.testing.assert_allclose(measured["sii"], asked["sii"], atol=1e-6)


@pytest.mark.parametrize(("estimator", "coalitions"), [("shared", 8), ("shared", 48), ("paper", 8)])
def test_any_cut_gives_the_same_table(tiny, inline, estimator, coalitions):
    tables = []
    for unit in (40, 300, 100_000):  # pairs are cut, coalitions, nothing
        project = with_probe(tiny, unit_evaluations=unit, estimator=estimator, coalitions=coalitions)
        probe(project, overwrite=True)
        tables.append(read(project).to_pandas())
    for other in tables[1:]:
        for column in COLUMNS:  # a ratio of small means shows more of what batches round differently
            most = 1e-4 if column.startswith("substitutability") else 1e-6
            np.testing.assert_allclose(other[column], tables[0][column], atol=most)
        assert other[["sample_id", "expert", "u", "v"]].equals(tables[0][["sample_id", "expert", "u", "v"]])


@pytest.mark.parametrize("estimator", ["surrogate", "adaptive", "exact"])
def test_every_estimator_comes_through_the_same_door(tiny, inline, estimator):
    """As good as ``exact`` to its own errors; where all coalitions are evaluated there are none."""
    probe(with_probe(tiny, estimator="exact"))
    truth = read(tiny).to_pandas()
    assert (truth["sii_stderr"] == 0).all()
    assert probe(with_probe(tiny, estimator=estimator, coalitions=64), overwrite=True).ran
    found = read(tiny).to_pandas()
    assert found[["sample_id", "expert", "u", "v"]].equals(truth[["sample_id", "expert", "u", "v"]])
    for score in ("sii", *MEANS, "redundancy_gap"):
        error = np.abs(found[score] - truth[score])
        assert (error <= 6 * found[f"{score}_stderr"] + 1e-6).mean() > 0.98


def test_an_estimator_that_was_added_comes_through_it_too(tiny, inline, monkeypatch):
    """One line of the catalogue; plan, units, merging and table know nothing of it."""
    monkeypatch.setitem(ESTIMATORS, "toy", ListedEstimator("support.toy_estimator:Toy"))
    tables = []
    for unit in (100, 100_000):
        probe(with_probe(tiny, estimator="toy", coalitions=12, unit_evaluations=unit), overwrite=True)
        tables.append(read(tiny).to_pandas())
    assert (tables[0]["n_coalitions"] == 12).all()
    for column in ("sii", "sii_stderr", "redundancy_gap"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], atol=1e-6)
    probe(with_probe(tiny, estimator="exact"), overwrite=True)
    truth = read(tiny).to_pandas()
    error = np.abs(tables[0]["sii"] - truth["sii"])
    assert (error <= 6 * tables[0]["sii_stderr"] + 1e-6).mean() > 0.98


def test_exact_with_too_many_features_names_the_sample_before_anything_runs(tiny):
    from raymoe.probe.plan import make_plan
    from raymoe.project.contracts import IMPORTANCE

    store = FeatureStore.open(FEATURES.of(tiny))
    importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    config = tiny_preset(probe={"estimator": "exact", "rho": 1.0}).probe
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raymoe.interactions.estimators.exact.MAX_PLAYERS", 12)
        with pytest.raises(
            InputError, match=r"sample s\d+, expert synergy: exact values of \d+ players"
        ) as caught:
            make_plan(store, importance, EXPERTS, config, made_by="")
    assert "probe.rho" in caught.value.remedy


def test_units_of_a_job_cover_it_exactly(tiny):
    from raymoe.probe.plan import make_plan
    from raymoe.project.contracts import IMPORTANCE

    store = FeatureStore.open(FEATURES.of(tiny))
    importance = read_table(tiny.workspace, f"{tiny.run}/importance.arrow", IMPORTANCE, "")
    for unit_evaluations in (1, 50, 300, 10_000):
        config = tiny_preset(probe={"coalitions": 200}).probe
        plan = make_plan(store, importance, EXPERTS, config, made_by="")
        units = plan.cut(unit_evaluations)
        for job in plan.jobs:
            work = work_of(
                job.candidates.pairs, len(job.candidates.players), config.estimator, config.coalitions
            )
            covered = np.zeros(work.blocks, dtype=int)
            for unit in units.of(job):
                covered[unit.start : unit.stop] += 1
                assert units.job_of(unit.number) == job.number
            assert (covered == 1).all()
        nothing = np.zeros(len(units), dtype=bool)
        assert [unit.number for unit in units.left(nothing)] == list(range(len(units)))
        assert units.evaluations(nothing) == sum(unit.evaluations for unit in units.left(nothing))
        some = np.arange(len(units)) % 3 == 1
        assert [unit.number for unit in units.left(some)] == np.flatnonzero(~some).tolist()
        assert units.evaluations(some) == sum(unit.evaluations for unit in units.left(some))


def test_only_what_is_missing_is_done_again(tiny, inline, monkeypatch):
    """With the committed units of a run in place, a second run does the others alone."""
    commits = []
    real = UnitFiles.commit

    def stop_after_seven(self, unit, answer):
        if len(commits) == 7:
            raise KeyboardInterrupt
        commits.append(unit)
        real(self, unit, answer)

    monkeypatch.setattr(UnitFiles, "commit", stop_after_seven)
    with pytest.raises(KeyboardInterrupt):
        probe(tiny)
    first = set(commits)
    commits.clear()
    monkeypatch.setattr(
        UnitFiles, "commit", lambda self, unit, answer: (commits.append(unit), real(self, unit, answer))
    )
    probe(tiny)
    assert first.isdisjoint(commits)
    assert len(commits) > 0
    resumed = table_bytes(tiny)
    probe(tiny, overwrite=True)
    assert table_bytes(tiny) == resumed
    assert not tiny.workspace.exists(f"{tiny.run}/units/x")


def test_a_cluster_that_is_not_there_is_said_at_once(tiny, monkeypatch):
    from raymoe.actors import cluster

    start = time.monotonic()
    with pytest.raises(RaymoeError, match=r"can't reach the Ray cluster at '127.0.0.1:1'"):
        cluster._check_reachable("127.0.0.1:1")
    assert time.monotonic() - start < 60, "Ray itself tries for minutes"
    cluster._check_reachable("auto")


def test_a_damaged_unit_is_named_and_done_again(tiny, inline, monkeypatch):
    real = UnitFiles.commit
    count = []

    def damage_the_third(self, unit, answer):
        count.append(unit)
        real(self, unit, answer[: len(answer) // 2] if len(count) == 3 else answer)

    monkeypatch.setattr(UnitFiles, "commit", damage_the_third)
    with pytest.raises(ParentError, match="was damaged") as caught:
        probe(tiny)
    assert "pack-0000000000-0000000009.arrow" in caught.value.message
    assert "only what it held" in caught.value.remedy
    monkeypatch.setattr(UnitFiles, "commit", real)
    assert probe(tiny).ran


def test_parents_that_do_not_fit_are_refused(tiny, inline, tmp_path):
    with pytest.raises(InputError, match=r"probe.experts names 'magic'"):
        probe(with_probe(tiny, experts=("magic",)))
    # another checkpoint than the one the importance was computed from
    write_tiny_run(tiny, FeatureStore.open(FEATURES.of(tiny)).fingerprint, seed=1)
    importance = tiny.workspace.read(f"{tiny.run}/importance.arrow")
    write_tiny_run(tiny, FeatureStore.open(FEATURES.of(tiny)).fingerprint, seed=2)
    tiny.workspace.write(f"{tiny.run}/importance.arrow", importance)
    with pytest.raises(ParentError, match=r"importance.arrow was made from checkpoint"):
        probe(tiny)
    # a feature store of other encoders
    features = write_tiny_features(tiny, seed=5)
    assert features
    write_tiny_run(tiny, "0123456789abcdef", seed=2)
    with pytest.raises(RaymoeError, match="was made from features 0123456789abcdef"):
        probe(tiny)


def test_truncated_parents_are_named(tiny, inline):
    name = f"{tiny.run}/importance.arrow"
    whole = tiny.workspace.read(name)
    tiny.workspace.write(name, whole[: len(whole) // 2])
    with pytest.raises(ParentError, match=r"importance.arrow is not a whole Arrow file") as caught:
        probe(tiny)
    assert "raymoe attribute tiny" in caught.value.remedy


def test_non_finite_outputs_end_in_the_ledger(tiny, inline):
    """A checkpoint with a NaN in one expert: its jobs fail by name, the other expert's rows are there."""
    model, info = load_checkpoint(CHECKPOINT.of(tiny))
    from raymoe.models.checkpoint import save_checkpoint
    from raymoe.project.contracts import IMPORTANCE
    from raymoe.project.provenance import Provenance
    from raymoe.project.tables import write_table

    with torch.no_grad():
        model.experts.head.weight_EIO[2] = torch.nan
    info = save_checkpoint(CHECKPOINT.of(tiny), model, info)
    name = f"{tiny.run}/importance.arrow"
    table = read_table(tiny.workspace, name, IMPORTANCE, "")
    table = pa.Table.from_pylist(table.to_pylist(), schema=IMPORTANCE.schema)
    provenance = Provenance("attribute", IMPORTANCE.tag, {}, {"checkpoint": info.fingerprint})
    write_table(tiny.workspace, name, table, IMPORTANCE, provenance)
    result = probe(tiny)
    reasons = [s["reason"] for s in result.skipped if s["sample_id"].startswith("unit")]
    assert reasons
    assert all("expert synergy" in r and "not finite" in r for r in reasons)
    assert set(read(tiny)["expert"].to_pylist()) == {"redundancy"}
    assert probe(tiny).ran  # failed units are tried again


def test_a_disk_that_fills_up_keeps_the_finished_units(mounted, inline):
    """The run stops with one message; with space again, only the rest is done."""
    project = Project(tiny_preset(), Workspace(mounted), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    filler = mounted / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(mounted).free - (40 << 10)))
    with pytest.raises(WorkspaceError, match="the workspace is full") as caught:
        probe(project)
    assert "run the same command again" in caught.value.remedy
    units = sorted(p.name for p in (mounted / project.run / "units").rglob("*.arrow"))
    assert units
    filler.unlink()
    probe(project)
    resumed = table_bytes(project)
    probe(project, overwrite=True)
    assert table_bytes(project) == resumed


def test_a_read_only_workspace_fails_before_any_work(mounted):
    project = Project(tiny_preset(), Workspace(mounted), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(WorkspaceError, match="no permission to write"):
        probe(project)
