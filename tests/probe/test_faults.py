"""Faults in mid-run: actors killed, machines lost and joining, the driver told to stop. Same table."""

import hashlib
import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray.cloudpickle
from cluster_driver import on_a_changing_cluster
from support.forks import forked, run_forked
from support.processes import noting_its_process, processes_at_work, ray_actors
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe import cli, pipeline
from raymoe.actors import pool
from raymoe.cli import stage_command
from raymoe.probe import measuring, probe
from raymoe.probe.commit import UnitFiles
from raymoe.project import Project
from raymoe.project.workspace import Workspace

PROBE = {"coalitions": 256, "unit_evaluations": 250}  # some 250 units


@dataclass(frozen=True)
class Clean:
    """What there is when nothing goes wrong; ``answers`` is a folder with each unit's."""

    project: Project
    sha256: str
    answers: Path


@dataclass(frozen=True)
class Light:
    """A unit without what its real answer is computed from."""

    key: str
    evaluations: int


class Recorded:
    """Answers units as an earlier run did, and starts in a third of the time: it imports no torch."""

    def __init__(self, answers, device, threads):
        self.answers = answers

    def ready(self):
        return "cpu"

    def run(self, unit):
        time.sleep(0.01)
        return (self.answers / str(int(unit.key))).read_bytes()


ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actors can't import this file


@pytest.fixture
def recorded(clean, monkeypatch):
    """The stage with actors that answer from the clean run."""
    open_fleet, run_units, whole = measuring.open_fleet, measuring.run_units, {}

    def run_light(units, fleet, on_done, **options):
        def light():
            for unit in units:
                whole[unit.key] = unit
                yield Light(unit.key, unit.evaluations)

        return run_units(light(), fleet, lambda unit, answer: on_done(whole[unit.key], answer), **options)

    def open_recorded(runner, arguments, **options):
        return open_fleet(Recorded, (clean.answers,), **options)

    monkeypatch.setattr(measuring, "open_fleet", open_recorded)
    monkeypatch.setattr(measuring, "run_units", run_light)


@pytest.fixture(scope="module")
def clean(tmp_path_factory, ray_session):
    """A project that was probed with nothing going wrong."""
    project = Project(tiny_preset(probe=PROBE), Workspace(tmp_path_factory.mktemp("clean")), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    answers, commit = tmp_path_factory.mktemp("answers"), UnitFiles.commit

    def keep(self, unit, answer):
        (answers / str(unit)).write_bytes(answer)
        commit(self, unit, answer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnitFiles, "commit", keep)
        probe(project)
    return Clean(project, digest(project), answers)


def digest(project) -> str:
    """SHA-256 of the merged tables."""
    tables = sorted(Path(project.workspace.path(project.run)).glob("interactions*"))
    assert tables
    return hashlib.sha256(b"".join(table.read_bytes() for table in tables)).hexdigest()


def slowly(commit):
    """So that a process is still at it when it is stopped, however busy the machine is."""

    def commit_and_rest(self, *answer):
        commit(self, *answer)
        time.sleep(0.05)

    return commit_and_rest


@pytest.mark.slow
def test_twenty_random_kills_change_nothing(clean, recorded, capsys, tmp_path, monkeypatch):
    """Four times one at work, then four more at random, most of which are only just starting again.

    Nothing is committed while those are killed, so that there is work left for the next.
    """
    rng, kills, at_work, commit = np.random.default_rng(0), [], [], UnitFiles.commit
    monkeypatch.setattr(pool, "do_units", noting_its_process(tmp_path))

    def kill(process):
        os.kill(process.pid, signal.SIGKILL)
        kills.append(process.pid)

    def kill_four_more():
        wanted = len(kills) + 4
        while len(kills) < wanted:
            time.sleep(float(rng.uniform(0.1, 0.5)))
            if actors := [actor for actor in ray_actors("Recorded") if actor.pid not in kills]:
                kill(actors[rng.integers(len(actors))])

    def commit_and_kill(self, *answer):
        commit(self, *answer)
        working = [actor for actor in processes_at_work(tmp_path) if actor.pid not in kills]
        if len(kills) < 20 and working:
            at_work.append(working[rng.integers(len(working))])
            kill(at_work[-1])
            kill_four_more()

    monkeypatch.setattr(UnitFiles, "commit", commit_and_kill)
    result = probe(clean.project, overwrite=True)
    assert len(kills) == 20
    survived = int(re.search(r"(\d+) actor deaths survived", capsys.readouterr().out)[1])
    assert survived >= len(at_work) == 4
    assert [entry["sample_id"] for entry in result.skipped] == ["s3"]  # no unit was given up
    assert digest(clean.project) == clean.sha256


@pytest.mark.slow
def test_a_machine_lost_and_another_joining_in_mid_run_change_nothing(clean, tmp_path):
    project = clean.project
    for table in Path(project.workspace.path(project.run)).glob("interactions*"):
        table.unlink()
    ended = run_forked(on_a_changing_cluster, project.workspace.root, PROBE)
    assert ended.code == 0, ended.said
    happened = json.loads(re.search(r"RESULT (.*)", ended.out)[1])
    assert 0 < happened["lost after"] < happened["another after"] < happened["committed"]
    assert happened["committed"] == happened["distinct"]  # nothing was counted twice
    assert happened["skipped"] == ["s3"]
    assert digest(project) == clean.sha256


def probe_slowly(root, address):
    UnitFiles.commit = slowly(UnitFiles.commit)
    probe(Project(tiny_preset(probe=PROBE), Workspace(root), "tiny"), address=address, num_actors=1)


@pytest.mark.slow
def test_killing_the_driver_three_times_changes_nothing(tmp_path, clean, ray_session, monkeypatch):
    """On a cluster that outlives its drivers, which saves the time to start one. The last loses an actor."""
    project = Project(clean.project.preset, Workspace(tmp_path), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    units = Path(project.workspace.path(project.run), "units")
    address, done, log = ray_session.get_runtime_context().gcs_address, 0, tmp_path / "log"
    for _ in range(3):
        with forked(log, probe_slowly, project.workspace.root, address) as driver:
            before = done
            while done < before + 5 and driver.is_alive():
                time.sleep(0.02)
                done = len(list(units.rglob("unit-*.arrow")))
            assert driver.is_alive(), log.read_text()
        assert done >= before + 5
        assert not list(units.parent.glob("interactions*"))
    kills, commit = [], UnitFiles.commit

    def commit_and_kill(self, *answer):
        commit(self, *answer)
        if not kills and (actors := processes_at_work(tmp_path)):
            kills.append(actors[0].pid)
            actors[0].kill()

    monkeypatch.setattr(pool, "do_units", noting_its_process(tmp_path))
    monkeypatch.setattr(UnitFiles, "commit", commit_and_kill)
    probe(project)
    assert kills
    assert digest(project) == clean.sha256


def command_line(root, address):
    """``raymoe probe tiny``; what comes before was written by hand."""
    project = Project(tiny_preset(probe=PROBE), Workspace(root), "tiny")
    UnitFiles.commit = slowly(UnitFiles.commit)
    pipeline.needed = lambda last: [last]
    stage_command.project_of = lambda *_, **__: project
    sys.argv[1:] = ["probe", "tiny", "--address", address]
    cli.main()


@pytest.mark.slow
def test_sigterm_ends_the_command_and_the_same_command_goes_on(tmp_path, clean, ray_session):
    project = Project(clean.project.preset, Workspace(tmp_path), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    units = Path(project.workspace.path(project.run), "units")
    address, log = ray_session.get_runtime_context().gcs_address, tmp_path / "log"
    with forked(log, command_line, project.workspace.root, address) as driver:
        while not any(units.rglob("unit-*.arrow")) and driver.is_alive():
            time.sleep(0.02)
        driver.terminate()
        driver.join()
    out = log.read_text()
    assert driver.exitcode == 143, out
    found = re.search(r"stopped: (\d+) of (\d+) units were done in this run", out)
    assert found, out
    done, total = map(int, found.groups())
    assert 0 < done < total
    assert "run the same command to go on" in out
    commits, commit = [], UnitFiles.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnitFiles, "commit", lambda self, *rest: (commits.append(rest), commit(self, *rest)))
        probe(project, num_actors=1)
    assert len(commits) == total - done
    assert digest(project) == clean.sha256
