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
from processes import ray_actors
from tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.probe import probe
from raymoe.probe.commit import UnitFiles
from raymoe.project import Project
from raymoe.workspace import Workspace

HERE = Path(__file__).parent


PROBE = {"coalitions": 2048, "unit_evaluations": 1000}  # some 680 units


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


def run_script(code_or_file, *arguments, **options):
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *code_or_file, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.slow
def test_twenty_random_kills_change_nothing(clean):
    project, sha256 = clean
    rng, stop, kills = np.random.default_rng(0), threading.Event(), []

    def killer():
        while not stop.is_set() and len(kills) < 20:
            if actors := ray_actors("UnitRunner"):
                victim = actors[rng.integers(len(actors))]
                os.kill(victim.pid, signal.SIGKILL)
                kills.append(victim.pid)
            time.sleep(float(rng.uniform(0.2, 1.2)))

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        result = probe(project, overwrite=True)
    finally:
        stop.set()
        thread.join()
    assert len(kills) == 20
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


CLI = """
import json
import sys
from tiny import tiny_preset, write_tiny_features, write_tiny_run
from raymoe import chosen, cli, pipeline
from raymoe.project import Project
from raymoe.workspace import Workspace
pipeline.needed = lambda last: [last]  # its parents were written by hand
chosen.with_chosen = lambda project: project
preset = tiny_preset(probe=json.loads(sys.argv[2]))
project = Project(preset, Workspace(sys.argv[1]), "tiny")
cli._project = lambda *_: project
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
