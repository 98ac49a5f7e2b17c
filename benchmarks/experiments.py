"""Time of ``raymoe evaluate`` and ``raymoe report``, whole, where everything before them is there.

    python benchmarks/experiments.py DATASET [--workspace DIR] [--seeds 0,1,2] [--set KEY=VALUE] [--quick]

Works on a copy of the workspace, without what a former ``evaluate`` and ``report`` left in it. What they need
and isn't there is made first: the table of the linear probes, and of every seed the dense Transformer,
FL-I2MoE, its importances and its interactions. Then both commands run as a user would run them, their start
included. ``--quick`` is a small run that tests this script, not a measurement.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine_line

from raymoe.config import load_preset
from raymoe.features.store import FeatureStore
from raymoe.pipeline import run
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console

LIMIT = 600  # seconds, of both together on two cores
MADE_HERE = ("evaluation", "report")  # folders of a dataset and of its runs
LEFT_OUT = 3  # exit code of a command that did what it could
QUICK = ("train.epochs=1", "probe.max_samples=4", "probe.coalitions=4", "report.samples=2")
QUICK_OF = {"planted": ("data.scenes=64",)}


def main() -> None:
    """Print seconds of both commands, and the size of the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a preset or a .toml file")
    parser.add_argument("--workspace", default=None, help="one with trained models; only read")
    parser.add_argument("--seeds", default="0", help="comma-separated; the page is of the first")
    parser.add_argument("--set", action="append", default=[], help="a setting of the preset, repeatable")
    parser.add_argument("--quick", action="store_true", help="tiny, to test the script")
    arguments = parser.parse_args()
    console.quiet = True  # the stages' own progress; only figures are printed here
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    settings = [*arguments.set, f"sweep.seeds={seeds}"]
    if arguments.quick:
        settings += [*QUICK, *QUICK_OF.get(arguments.dataset, ())]
    with tempfile.TemporaryDirectory(prefix="raymoe-benchmark-") as folder:
        if arguments.workspace:
            copy(Path(arguments.workspace), Path(folder), arguments.dataset)
        print(machine_line(), flush=True)
        projects = [project_at(folder, arguments.dataset, [*settings, f"train.seed={s}"]) for s in seeds]
        for project in projects:
            make_parents(project)
        measure(projects[0])


def project_at(folder: str, dataset: str, settings: list[str]) -> Project:
    return Project(load_preset(dataset, settings), Workspace(folder), dataset, tuple(settings))


def copy(source: Path, target: Path, dataset: str) -> None:
    """The dataset's part of a workspace, as before the first ``evaluate``."""
    of_dataset = Path(project_at(str(target), dataset, []).root)
    if not (source / of_dataset).is_dir():
        raise SystemExit(f"--workspace {source} holds no {of_dataset}")
    shutil.copytree(
        source / of_dataset,
        target / of_dataset,
        ignore=shutil.ignore_patterns(*MADE_HERE, "units", "resume.pt"),
    )


def make_parents(project: Project) -> None:
    """All that ``evaluate`` and ``report`` read; says what had to be made."""
    dense = (*project.settings, "model.kind=dense")
    start = time.monotonic()
    stages = ((project, "baselines"), (project, "probe"))
    made = [name for each, last in stages for name, r in run(each, last).results.items() if r.ran]
    other = project_at(project.workspace.root, project.dataset, list(dense))
    made += ["train (dense)"] if run(other, "train").results["train"].ran else []
    if made:
        print(f"{project.run}: made {', '.join(made)} in {time.monotonic() - start:.0f} s", flush=True)


def measure(project: Project) -> None:
    """Both commands, one after the other."""
    total = 0.0
    for name in ("evaluate", "report"):
        seconds, left_out = timed(name, project)
        total += seconds
        print(f"{name}: {seconds:.0f} s", *left_out, sep="\n  ", flush=True)
    print(f"together: {total:.0f} s (at most {LIMIT})")
    place = Path(project.workspace.path(project.run), "report")
    page = (place / "index.html").stat().st_size
    everything = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    store = FeatureStore.open(FEATURES.of(project))
    inside = len(store.indices(project.preset.attribute.split))
    print(
        f"page: {page / 1024:,.0f} KiB, with figures and tables {everything / 1024:,.0f} KiB; "
        f"{inside} samples in the split {project.preset.attribute.split}"
    )


def timed(name: str, project: Project) -> tuple[float, list[str]]:
    """Wall seconds, and the lines that say what was left out."""
    options = [word for setting in project.settings for word in ("--set", setting)]
    place = ["--workspace", project.workspace.root]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "raymoe", name, project.dataset, *place, *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    if done.returncode not in (0, LEFT_OUT):
        raise SystemExit(f"raymoe {name} ended with {done.returncode}\n{done.stdout}")
    return seconds, [line.strip() for line in done.stdout.splitlines() if "left out" in line]


if __name__ == "__main__":
    main()
