"""What a sweep costs beside its trainings, and whether a kill changes its table.

    python benchmarks/sweep.py [--workspace DIR] [--epochs N] [--alone N] [--kills N]

Trains the trials of the demo's sweep (3 seeds x 3 temperatures) one after another in this process,
each on one thread with the machine to itself, as a trial on a CPU is; then runs ``raymoe sweep demo`` as a
user would, its start included, and compares its wall time with the sum of those trainings divided by the
cores. Then sends SIGKILL to that command and all its processes at a random moment, runs it again, and
compares the files. The features are taken from the workspace, or made there.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import machine_line

from raymoe.config import load_preset
from raymoe.pipeline import run
from raymoe.project import Project
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console
from raymoe.training import train
from raymoe.training.trials import trials_of


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default=None, help="one that holds the demo's features; only read")
    parser.add_argument("--epochs", type=int, default=7, help="of each training (7 in the demo)")
    parser.add_argument("--alone", type=int, default=9, help="how many trainings are timed alone")
    parser.add_argument("--kills", type=int, default=1, help="how often the sweep is killed and run again")
    arguments = parser.parse_args()
    console.quiet = True
    settings = [f"train.epochs={arguments.epochs}"]
    with tempfile.TemporaryDirectory(prefix="raymoe-benchmark-") as folder:
        places = {name: Path(folder, name) for name in ("alone", "clean", "killed")}
        if arguments.workspace:
            for name in ("samples.parquet", "features"):
                copy(Path(arguments.workspace, "demo", name), places["alone"] / "demo" / name)
        run(project_at(places["alone"], settings), "encode")
        for name in ("clean", "killed"):
            shutil.copytree(places["alone"], places[name])
        print(machine_line(), flush=True)
        measure_time(places["alone"], places["clean"], settings, arguments.alone)
        for _ in range(arguments.kills):
            measure_kill(places["clean"], places["killed"], settings)


def measure_time(alone: Path, swept: Path, settings: list[str], count: int) -> None:
    """The sweep's wall time against the sum of its trainings, each alone on one thread."""
    trials = trials_of(project_at(alone, settings))
    torch.set_num_threads(1)
    seconds = []
    for trial in trials[:count]:
        start = time.monotonic()
        train(trial.project, device="cpu")
        seconds.append(time.monotonic() - start)
        print(f"{trial.name} alone: {seconds[-1]:.1f} s", flush=True)
    total = sum(seconds) / len(seconds) * len(trials)
    start = time.monotonic()
    subprocess.run(command(swept, settings), stdout=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - start
    cores = len(os.sched_getaffinity(0))
    print(
        f"{len(trials)} trainings: {total:.1f} s one after another ({len(seconds)} of them timed); the sweep "
        f"on {cores} cores: {wall:.1f} s, {wall / (total / cores):.2f} times the sum divided by the cores",
        flush=True,
    )


def measure_kill(clean: Path, killed: Path, settings: list[str]) -> None:
    """Killed at a random moment between the first epoch and the time that a whole sweep may take."""
    shutil.rmtree(killed / "demo" / "runs", ignore_errors=True)
    for file in outputs(killed):
        file.unlink(missing_ok=True)
    process = subprocess.Popen(
        command(killed, settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    runs = killed / "demo" / "runs"
    wanted = random.randint(0, len(trials_of(project_at(killed, settings))) - 1)
    while process.poll() is None and (
        not list(runs.glob("*/resume.pt")) or len(list(runs.glob("*/predictions.parquet"))) < wanted
    ):
        time.sleep(0.1)
    time.sleep(random.uniform(0, 3))
    when = "running" if process.poll() is None else "already over"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(runs.glob("*/predictions.parquet")))
    subprocess.run(command(killed, settings), stdout=subprocess.DEVNULL, check=True)
    same = all(a.read_bytes() == b.read_bytes() for a, b in zip(outputs(clean), outputs(killed), strict=True))
    again = "the same bytes" if same else "DIFFERENT"
    print(f"killed while {when} with {done} trials finished, run again: {again}", flush=True)


def outputs(workspace: Path) -> list[Path]:
    return [workspace / "demo" / name for name in ("sweep.parquet", "sweep.json")]


def command(workspace: Path, settings: list[str]) -> list[str]:
    options = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "raymoe", "sweep", "demo", "--workspace", str(workspace), *options]


def project_at(workspace: Path, settings: list[str]) -> Project:
    return Project(load_preset("demo", settings), Workspace(workspace), "demo", tuple(settings))


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


if __name__ == "__main__":
    main()
