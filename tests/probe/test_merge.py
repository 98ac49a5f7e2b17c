"""From answers to tables: the same bytes however they came; what the tables say of themselves; bad input."""

import contextlib
import importlib
import os
import re
import tempfile
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run
from test_plan import plan_of

from raymoe.errors import ParentError, RaymoeError, WorkspaceError
from raymoe.interactions.pieces import Work
from raymoe.interactions.sums import TERMS, independent_sums
from raymoe.probe import commit, measuring, merge, probe
from raymoe.probe.commit import UnitFiles
from raymoe.probe.measuring import runner_arguments
from raymoe.probe.runner import UnitRunner
from raymoe.project.artifacts import CHECKPOINT, FEATURES, INTERACTIONS
from raymoe.project.interaction_tables import of_expert, of_experts, read_interactions
from raymoe.project.lock import RunLock
from raymoe.project.outputs import Output
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace
from raymoe.runtime.versions import differing, package_versions

stage = importlib.import_module("raymoe.probe.probe")  # the package has a function of that name


def toy_answer(unit) -> bytes:
    """Sums that depend on the unit alone, of as many pairs as it has."""
    rng, pairs = np.random.default_rng(unit.number), len(unit.job.candidates.pairs)
    table = pa.table(independent_sums(*(rng.normal(size=(4, pairs)) for _ in TERMS)).columns())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def merged_bytes(folder, units, order, sessions=1, failed=()) -> bytes:
    """Commit in an order, in so many sessions, and merge."""
    workspace = Workspace(folder)
    all_units = {unit.number: unit for unit in units.left(np.zeros(len(units), bool))}
    for part in np.array_split(np.array(order, dtype=int), sessions):
        with UnitFiles(workspace, "units", len(units)) as files:
            for number in part.tolist():
                files.commit(number, toy_answer(all_units[number]))
    with UnitFiles(workspace, "units", len(units)) as files:
        provenance = Provenance("probe", INTERACTIONS.contract.tag, {})
        tables = INTERACTIONS.at(workspace, "run/interactions-*.parquet", "raymoe probe tiny")
        merge.write_tables(tables, units, files, set(failed), provenance, {"experts": ["synergy"]})
    return workspace.read("run/interactions-synergy.parquet")


@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_any_order_and_any_packs_give_the_same_bytes(data):
    units = plan_of([Work(5, 40, 9), Work(1, 300, 0)], [0, 1, 1, 0, 0]).cut(100)
    numbers = list(range(len(units)))
    failed = data.draw(st.sets(st.sampled_from(numbers), max_size=2))
    order = [number for number in data.draw(st.permutations(numbers)) if number not in failed]
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(merge, "ROWS", data.draw(st.integers(1, 40)))
        first, second = (stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2))
        straight = merged_bytes(first, units, sorted(order), failed=failed)
        patch.setattr(commit, "PACK", data.draw(st.integers(1, 20)))
        patch.setattr(commit, "MAX_LOOSE", data.draw(st.integers(1, 20)))
        sessions = data.draw(st.integers(1, 3))
        assert merged_bytes(second, units, order, sessions, failed=failed) == straight
        table = pq.read_table(f"{second}/run/interactions-synergy.parquet")
    without = {units.job_of(number) for number in failed}
    expected = [f"s{job}" for job in range(5) if job not in without for _ in range(12)]
    assert table["sample_id"].to_pylist() == expected


def test_row_groups_are_filled_job_by_job(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "ROWS", 30)
    units = plan_of([Work(1, 10, 0)], [0] * 10).cut(100)
    merged_bytes(tmp_path, units, range(10))
    file = pq.ParquetFile(tmp_path / "run" / "interactions-synergy.parquet")
    rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert rows == [36, 36, 36, 12]  # never part of a job


def read(project, expert=None):
    return read_interactions(INTERACTIONS.of(project), expert)


def table_bytes(project):
    return [
        project.workspace.read(name)
        for name in [table.name for table in of_experts(INTERACTIONS.of(project))]
    ]


def with_probe(project, **fields):
    return replace(project, preset=tiny_preset(probe=fields))


def test_a_table_per_expert_says_what_made_it(tiny, inline):
    result = probe(tiny)
    assert result.path.endswith("interactions-*.parquet")
    synergy, both = read(tiny, "synergy"), read(tiny)
    assert set(synergy["expert"].to_pylist()) == {"synergy"}
    assert both["expert"].to_pylist() == ["synergy"] * len(synergy) + ["redundancy"] * len(synergy)
    about = metadata_of(synergy.schema)
    assert about["experts"] == ["synergy", "redundancy"]
    assert about["expert"] == "synergy"
    assert about["versions"] == package_versions()
    assert about["devices"] == [inline.runner.device_name]
    assert about["devices"][0].startswith("cpu")
    assert re.fullmatch("[0-9a-f]{16}", about["plan"])
    assert about["failed"] == {}
    assert [entry["sample_id"] for entry in about["skipped"]] == ["s3"]
    with pytest.raises(ParentError, match="no interactions of expert 'unique:text', only synergy"):
        read(tiny, "unique:text")


def test_the_size_of_a_unit_is_measured_and_kept_for_the_next_run(tiny, inline, capsys):
    project = with_probe(tiny, unit_evaluations="auto")
    inline.before = lambda unit: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        probe(project)
    words = capsys.readouterr().out
    size = int(re.search(r"units of about ([\d,]+) evaluations", words)[1].replace(",", ""))
    assert size & (size - 1) == 0
    assert re.search(r"to go on 1 x cpu, about \d+ s", words)
    inline.before = lambda unit: None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnitRunner, "calibrate", lambda self, job: pytest.fail("measured again"))
        probe(project)
    assert metadata_of(read(project).schema)["unit_evaluations"] == size


def test_an_actor_that_fails_on_the_job_it_is_measured_with_stops_nothing(tiny, monkeypatch, capsys):
    def get(call):
        raise measuring.ray.exceptions.ActorDiedError

    actor = SimpleNamespace(calibrate=SimpleNamespace(remote=lambda job: None))
    monkeypatch.setattr(measuring, "first_actor", lambda fleet: actor)
    monkeypatch.setattr(measuring.ray, "get", get)
    plan = plan_of([Work(5, 40, 9)], [0])
    assert measuring.measured_rate(None, plan) is None
    assert "can't measure how fast an actor is" in capsys.readouterr().out


def test_any_interruptions_give_the_same_bytes(tiny, inline):
    probe(tiny)
    clean = table_bytes(tiny)
    for stop_at in (0, 3, 7):

        def stop(unit, stop_at=stop_at):
            if unit.number == stop_at:
                raise KeyboardInterrupt

        probe_again = {"overwrite": stop_at == 0}
        inline.before = stop
        for name in [table.name for table in of_experts(INTERACTIONS.of(tiny))]:
            tiny.workspace.remove(name)
        with pytest.raises(KeyboardInterrupt):
            probe(tiny, **probe_again)
        assert not tiny.workspace.exists(f"{tiny.run}/probe.lock")
    inline.before = lambda unit: None
    probe(tiny)
    assert table_bytes(tiny) == clean


def test_an_interrupted_overwrite_with_other_settings_goes_on(tiny, inline):
    """The same command, --overwrite and all, does only the rest; tables of its own it measures again."""
    probe(tiny)
    other, done = with_probe(tiny, coalitions=12), []

    def stop(unit):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(unit.number)

    inline.before = stop
    with pytest.raises(KeyboardInterrupt):
        probe(other, overwrite=True)
    assert (read(tiny)["n_coalitions"].to_numpy() == 8).all()  # the old ones are still there
    first = [*done]
    done.clear()
    inline.before = lambda unit: done.append(unit.number)
    probe(other, overwrite=True)
    assert done
    assert set(done).isdisjoint(first)
    rest = len(done)
    done.clear()
    probe(other, overwrite=True)
    assert len(done) == rest + len(first)


def test_failed_units_are_named_by_sample_and_tried_again(tiny, inline):
    inline.failing = {3: "its actor died 3 times while it ran"}
    result = probe(tiny)
    assert [s["reason"] for s in result.skipped][1:] == [
        "sample s6, expert synergy: its actor died 3 times while it ran"
    ]
    assert "s6" not in read(tiny, "synergy")["sample_id"].to_pylist()
    assert "s6" in read(tiny, "redundancy")["sample_id"].to_pylist()
    done = []
    inline.failing, inline.before = {}, done.append
    probe(tiny)
    assert [unit.number for unit in done] == [3]
    assert "s6" in read(tiny, "synergy")["sample_id"].to_pylist()


@pytest.mark.parametrize("parent", ["features", "checkpoint", "importance"])
def test_a_parent_that_changes_in_mid_run_is_refused_at_the_end(tiny, inline, parent):
    def change(unit):
        if unit.number == 8:
            old = tiny.workspace.read(f"{tiny.run}/importance.arrow")
            if parent == "features":
                write_tiny_features(tiny, seed=9)
            else:
                write_tiny_run(tiny, inline.runner.source.expected["features"], seed=4)
            if parent == "checkpoint":
                tiny.workspace.write(f"{tiny.run}/importance.arrow", old)

    inline.before = change
    with pytest.raises(ParentError, match="changed since this was planned") as caught:
        probe(tiny)
    assert {"features": "/features", "checkpoint": "/checkpoint", "importance": "/checkpoint"}[
        parent
    ] in caught.value.message
    assert table_bytes(tiny) == []


def test_a_second_driver_is_refused_while_the_first_runs(tiny, inline, monkeypatch):
    from raymoe.project import lock

    monkeypatch.setattr(lock, "BEAT", 0.1)
    begun, go_on = threading.Event(), threading.Event()

    def wait(unit):
        begun.set()
        go_on.wait()

    inline.before = wait
    first = threading.Thread(target=probe, args=(tiny,))
    first.start()
    begun.wait()
    with pytest.raises(RaymoeError, match=f"another process is at work on this probe: process {os.getpid()}"):
        probe(tiny)
    go_on.set()
    first.join()
    assert read(tiny).num_rows > 0


def test_who_waited_for_the_lock_finds_the_work_done(tiny, inline, monkeypatch):
    done = []
    real = RunLock._acquire

    def another_finishes_first(self):
        if not done:
            done.append(True)
            probe(tiny)
        real(self)

    monkeypatch.setattr(RunLock, "_acquire", another_finishes_first)
    assert not probe(tiny).ran


def test_a_crash_between_two_tables_is_mended_by_the_next_run(tiny, inline, monkeypatch):
    real = Output.write_batches

    def crash(self, *rest):
        if "redundancy" in self.name:
            raise KeyboardInterrupt
        real(self, *rest)

    probe(with_probe(tiny, coalitions=12))
    monkeypatch.setattr(Output, "write_batches", crash)
    with pytest.raises(KeyboardInterrupt):
        probe(tiny, overwrite=True)
    monkeypatch.setattr(Output, "write_batches", real)
    inline.before = lambda unit: pytest.fail("measured again")
    probe(tiny)
    assert set(read(tiny)["n_coalitions"].to_pylist()) == {8}


def test_a_table_of_an_earlier_version_is_replaced_and_said_so(tiny, inline, capsys):
    old = f"{tiny.run}/interactions.arrow"
    tiny.workspace.write(old, b"whatever")
    with pytest.raises(ParentError, match=r"is missing \(interactions.arrow is of an earlier version\)"):
        read(tiny)
    probe(tiny)
    assert "interactions.arrow is of an earlier version: it is replaced" in capsys.readouterr().out
    assert not tiny.workspace.exists(old)


def test_tables_that_do_not_belong_together_or_are_damaged_are_refused(tiny, inline):
    probe(tiny)
    name = of_expert(INTERACTIONS.of(tiny), "redundancy").name
    whole = tiny.workspace.read(name)
    probe(with_probe(tiny, coalitions=12), overwrite=True)
    tiny.workspace.write(name, whole)
    with pytest.raises(ParentError, match="is of another probe than the tables beside it"):
        read(tiny)
    tiny.workspace.write(name, whole[: len(whole) // 2])
    with pytest.raises(ParentError, match="is not a whole Parquet file"):
        read(tiny)
    tiny.workspace.remove(name)
    with pytest.raises(ParentError, match=r"interactions-redundancy.parquet is missing") as caught:
        read(tiny)
    assert "raymoe probe tiny" in caught.value.remedy


def test_expert_names_become_file_names(tiny):
    table = of_expert(INTERACTIONS.of(tiny), "unique:text")
    assert table.name == f"{tiny.run}/interactions-unique-text.parquet"


def runner(project, **changes):
    _, provenance = stage.parents_of(project)
    source, precision = runner_arguments(project, provenance)
    return UnitRunner(replace(source, **changes), precision, "cpu")


def test_an_actor_with_other_packages_names_both_and_itself(tiny):
    here = package_versions()
    for name, version in (("raymoe", "9.9.9"), ("ray", "1.0.0"), ("torch", "1.13.1")):
        with pytest.raises(RaymoeError, match=f"has {name} {re.escape(here[name])}, where .* {version}"):
            runner(tiny, versions=here | {name: version}).ready()
    assert differing(here, here | {"torch": here["torch"].split(".")[0] + ".99", "numpy": "0"}) == []


def test_an_actor_that_does_not_reach_the_workspace_says_so(tiny, tmp_path):
    elsewhere = replace(tiny, workspace=Workspace(tmp_path / "elsewhere"))
    with pytest.raises(WorkspaceError, match="does not reach the workspace") as caught:
        runner(tiny, checkpoint=CHECKPOINT.of(elsewhere), features=FEATURES.of(elsewhere)).ready()
    assert "shared folder" in caught.value.remedy


def test_an_actor_tells_how_fast_it_is(tiny):
    store_plan = stage.make_plan(
        stage.FeatureStore.open(FEATURES.of(tiny)),
        stage.parents_of(tiny)[0],
        ["unique:text", "unique:image", "synergy", "redundancy"],
        tiny.preset.probe,
        made_by="",
    )
    start = time.process_time()
    rate = runner(tiny).calibrate(store_plan.typical_job())
    assert 100 < rate < 1e8
    assert time.process_time() - start < 60
