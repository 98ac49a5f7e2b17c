"""Faults in mid-run: actors killed, machines lost and joining, the driver told to stop. Same table."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.processes import ray_actors
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.probe import probe
from raymoe.probe.commit import UnitFiles
from raymoe.project import Project
from raymoe.project.workspace import Workspace

HERE = Path(__file__).parent


PROBE = {"coalitions": 1024, "unit_evaluations": 1000}  # some 340 units


@pytest.fixture(scope="module")
def clean(tmp_path_factory, ray_session):
    """A project that was probed with nothing going wrong, and the SHA-256 of its tables."""
    project = Project(tiny_preset(probe=PROBE), Workspace(tmp_path_factory.mktemp("clean")), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    probe(project)
    return project, digest(project)


def digest(project) -> str:
    """SHA-256 of the merged tables."""
    tables = sorted(Path(project.workspace.path(project.run)).glob("interactions*"))
    assert tables
    return hashlib.sha256(b"".join(table.read_bytes() for table in tables)).hexdigest()


def run_script(code_or_file, *arguments, address=None, **options):
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    environment |= {"RAY_ADDRESS": address} if address else {}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *code_or_file, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.slow
def test_twenty_random_kills_change_nothing(clean, capsys):
    project, sha256 = clean
    rng, stop, kills = np.random.default_rng(0), threading.Event(), []

    def killer():
        while not stop.is_set() and len(kills) < 20:
            if actors := ray_actors("UnitRunner"):
                victim = actors[rng.integers(len(actors))]
                os.kill(victim.pid, signal.SIGKILL)
                kills.append(victim.pid)
            time.sleep(float(rng.uniform(0.1, 1.0)))

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        result = probe(project, overwrite=True)
    finally:
        stop.set()
        thread.join()
    assert len(kills) == 20
    assert int(re.search(r"(\d+) actor deaths survived", capsys.readouterr().out)[1]) > 3  # at work
    assert [entry["sample_id"] for entry in result.skipped] == ["s3"]  # no unit was given up
    assert digest(project) == sha256


@pytest.mark.slow
def test_a_machine_lost_and_another_joining_in_mid_run_change_nothing(clean):
    project, sha256 = clean
    for table in Path(project.workspace.path(project.run)).glob("interactions*"):
        table.unlink()
    driver = run_script([str(HERE / "cluster_driver.py")], project.workspace.root, json.dumps(PROBE))
    out, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, out
    happened = json.loads(re.search(r"RESULT (.*)", out)[1])
    assert happened["lost after"] < happened["committed"]
    assert happened["another after"] < happened["committed"]
    assert happened["committed"] == happened["distinct"]  # nothing was counted twice
    assert happened["skipped"] == ["s3"]
    assert digest(project) == sha256


DRIVER = """
import json
import sys
from support.tiny import tiny_preset
from raymoe.probe import probe
from raymoe.project import Project
from raymoe.project.workspace import Workspace
probe(Project(tiny_preset(probe=json.loads(sys.argv[2])), Workspace(sys.argv[1]), "tiny"))
"""


@pytest.mark.slow
def test_killing_the_driver_three_times_changes_nothing(tmp_path, clean, ray_session):
    """On a cluster that outlives its drivers, which saves the time to start one."""
    whole, sha256 = clean
    project = Project(whole.preset, Workspace(tmp_path), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    units = Path(project.workspace.path(project.run), "units")
    address, done = ray_session.get_runtime_context().gcs_address, 0
    for _ in range(3):
        driver = run_script(["-c", DRIVER], tmp_path, json.dumps(PROBE), address=address)
        deadline, before = time.monotonic() + 120, done
        while done < before + 5 and time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.02)
            done = len(list(units.rglob("unit-*.arrow")))
        assert driver.poll() is None, "it should still be running when it is killed"
        driver.kill()
        driver.communicate()
        assert done >= before + 5
        assert not list(units.parent.glob("interactions*"))
    probe(project)
    assert digest(project) == sha256


CLI = """
import json
import sys
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run
from raymoe.cli import app as cli
from raymoe import pipeline
from raymoe.project import Project
from raymoe.project.workspace import Workspace
pipeline.needed = lambda last: [last]  # its parents were written by hand
preset = tiny_preset(probe=json.loads(sys.argv[2]))
project = Project(preset, Workspace(sys.argv[1]), "tiny")
cli._project = lambda *_, **__: project
sys.argv[1:] = ["probe", "tiny"]
cli.main()
"""


@pytest.mark.slow
def test_sigterm_ends_the_command_and_the_same_command_goes_on(tmp_path, clean):
    whole, sha256 = clean
    project = Project(whole.preset, Workspace(tmp_path), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    driver = run_script(["-c", CLI], tmp_path, json.dumps(PROBE), stderr=subprocess.STDOUT)
    units = Path(project.workspace.path(project.run), "units")
    deadline = time.monotonic() + 120
    while sum(1 for _ in units.rglob("*")) < 8 and time.monotonic() < deadline and driver.poll() is None:
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 143, out
    found = re.search(r"stopped: (\d+) of (\d+) units were done in this run", out)
    assert found, out
    done, total = map(int, found.groups())
    assert 0 < done < total
    assert "run the same command to go on" in out
    commits, commit = [], UnitFiles.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnitFiles, "commit", lambda self, *rest: (commits.append(rest), commit(self, *rest)))
        probe(project)
    assert len(commits) == total - done
    assert digest(project) == sha256
