"""The figures of the README, measured: time and memory of the demo, F1 over seeds, is the probe right.

    python benchmarks/demo.py [--workspace DIR] [--only time,f1,exact,collapse,kill]

Sections other than ``time`` reuse what is in the workspace. Everything runs as a user would run it: through
the command line, or through the package's public functions.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from machine import machine_line
from trained import Samples, project_at

from raymoe.interactions import estimate
from raymoe.pipeline import run
from raymoe.project import Project
from raymoe.project.artifacts import BASELINES, INTERACTIONS, METRICS, PREDICTIONS
from raymoe.project.interaction_tables import of_experts, read_interactions, remove_interactions
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console

SECTIONS = ("time", "f1", "exact", "collapse", "kill")


def main() -> None:
    """Print one block per section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default=None, help="default: a new temporary folder")
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated sections")
    arguments = parser.parse_args()
    folder = arguments.workspace or tempfile.mkdtemp(prefix="raymoe-benchmark-")
    chosen = arguments.only.split(",")
    unknown = set(chosen) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    console.quiet = True  # the stages' own progress; only figures are printed here
    print(machine_line())
    print(f"workspace {folder}")
    for name in SECTIONS:
        if name in chosen:
            print(f"\n== {name}", flush=True)
            globals()[f"measure_{name}"](folder)


def measure_time(folder: str) -> None:
    """``raymoe demo`` from nothing, then again with nothing changed."""
    if Path(folder, "demo").exists():
        shutil.rmtree(Path(folder, "demo"))
    for name, limit in (("first run", 300), ("second run", 20)):
        seconds, peak = timed([sys.executable, "-m", "raymoe", "demo", "--workspace", folder])
        print(
            f"{name}: {seconds:.0f} s (at most {limit}), peak memory {peak / (1 << 30):.1f} GiB (at most 6)"
        )


def timed(command: list[str]) -> tuple[float, int]:
    """Wall seconds, and the peak memory of the command and all its children (proportional set size)."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            try:
                tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            total = 0
            for each in tree:
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    total += each.memory_full_info().pss
            peak[0] = max(peak[0], total)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - start
    stop.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return seconds, peak[0]


def measure_f1(folder: str) -> None:
    """FL-I2MoE over seeds 0, 1, 2 against linear probes on the same pooled features, test split."""
    found: dict[str, dict[str, list[float]]] = {}
    weights = []
    for seed in (0, 1, 2):
        project = project_at(folder, seed)
        start = time.monotonic()
        done = run(project, "train")
        if done.results["train"].ran:
            print(f"seed {seed}: trained in {time.monotonic() - start:.0f} s")
        collect(METRICS.of(done.project).read(), found)
        predictions = PREDICTIONS.of(done.project).read()
        test = predictions.to_pandas().query("split == 'test'")
        weights.append(np.stack(test["expert_weights"]).mean(0))
        experts = metadata_of(predictions.schema)["experts"]
    done = run(project_at(folder), "baselines")
    collect(BASELINES.of(done.project).read(), found)
    print(f"{'test split':28} {'micro-F1':>16} {'macro-F1':>16}")
    for model, values in found.items():
        cells = [spread(values[metric]) for metric in ("micro_f1", "macro_f1")]
        print(f"{model:28} {cells[0]:>16} {cells[1]:>16}")
    for i, expert in enumerate(experts):
        print(f"mean weight of {expert:16} {spread([w[i] for w in weights])}")


def collect(table, found: dict[str, dict[str, list[float]]]) -> None:
    for row in table.to_pylist():
        if row["split"] == "test":
            found.setdefault(row["model"], {}).setdefault(row["metric"], []).append(row["value"])


def spread(values: list[float]) -> str:
    text = f"{np.mean(values):.3f}"
    return f"{text} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else text


def measure_exact(
    folder: str, samples: int = 24, players: int = 10, seeds: int = 64, coalitions: int = 32
) -> None:
    """The shared estimator's mean over 64 seeds against all 2^10 coalitions, on the trained checkpoint."""
    data = Samples(folder)
    shares: dict[str, list[np.ndarray]] = {"sii": [], "redundancy_gap": []}
    covered: dict[str, list[np.ndarray]] = {"sii": [], "redundancy_gap": []}
    errors, powers = {"shared": [], "paper": []}, []
    for sample_id in data.sample_ids[:: max(1, len(data.sample_ids) // samples)][:samples]:
        for expert in ("synergy", "redundancy"):
            words, patches = (data.ranked(sample_id, expert, m) for m in ("text", "image"))
            words = words[: players // 2 - 1]
            universe = [*words, *patches[: players - len(words)]]
            game = data.game(sample_id, expert, universe)
            pairs = np.array([(u, v) for u in range(len(words)) for v in range(len(words), players)])
            truth = estimate(game, pairs, method="exact")
            cached = cache(game)
            budget = 1 + coalitions * (1 + players + len(pairs))
            runs = [estimate(cached, pairs, budget=budget, seed=s, num_players=players) for s in range(seeds)]
            plain = estimate(cached, pairs, budget=budget, seed=0, num_players=players, method="paper")
            for score, within in shares.items():
                values = np.array([getattr(r, score) for r in runs])
                bounds = np.array([r.interval(0.95, score=score) for r in runs])
                right = getattr(truth, score)
                mean_error = np.abs(values.mean(0) - right)
                within.append(mean_error <= 3 * values.std(0, ddof=1) / np.sqrt(seeds) + 1e-7)
                covered[score].append((bounds[:, 0] <= right + 1e-7) & (right <= bounds[:, 1] + 1e-7))
            errors["shared"].append(((runs[0].sii - truth.sii) ** 2).sum())
            errors["paper"].append(((plain.sii - truth.sii) ** 2).sum())
            powers.append((truth.sii**2).sum())
    for score, within in shares.items():
        share = np.concatenate(within).mean()
        interval = np.concatenate([c.ravel() for c in covered[score]]).mean()
        print(
            f"{score}: mean over {seeds} seeds within 3 standard errors for {share:.2%} of "
            f"{sum(map(len, within))} pairs (at least 99 %); one run's 95 % intervals cover {interval:.1%}"
        )
    for method, found in errors.items():
        print(
            f"{method}: relative squared error of SII, {budget} evaluations: {sum(found) / sum(powers):.4f}"
        )


def cache(game):
    """All values of a small game once, so that many estimates cost little."""
    n = game.num_players
    masks = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    values = game(masks)
    return lambda coalitions: values[coalitions @ (1 << np.arange(n))]


def measure_collapse(folder: str, masks: int = 16) -> None:
    """Collapsed against dense: each sample of the test split, each expert, random masks of all features."""
    data = Samples(folder)
    worst, scale, count = 0.0, [], 0
    rng = np.random.default_rng(0)
    for sample_id in data.sample_ids:
        universe = [f for m in ("text", "image") for f in data.ranked(sample_id, "synergy", m)]
        coalitions = rng.random((masks, len(universe))) < rng.random((masks, 1))
        for expert in data.info.experts:
            collapsed = data.game(sample_id, expert, universe)(coalitions)
            dense = data.game(sample_id, expert, universe, collapse=False)(coalitions)
            worst = max(worst, float(np.abs(collapsed - dense).max()))
            scale.append(dense.std())
            count += masks
    print(
        f"largest difference {worst:.1e} (at most 1e-5) over {len(data.sample_ids)} samples, {count} masks; "
        f"values have a spread of {np.mean(scale):.2f} within a sample"
    )
    sample_id = data.sample_ids[0]
    universe = [data.ranked(sample_id, "synergy", m)[:k] for m, k in (("text", 4), ("image", 15))]
    universe = universe[0] + universe[1]
    coalitions = rng.random((4096, len(universe))) < rng.random((4096, 1))
    rates = {}
    for name, collapse in (("collapsed", True), ("dense", False)):
        game = data.game(sample_id, "synergy", universe, collapse=collapse)
        game(coalitions[:512])
        start = time.perf_counter()
        game(coalitions)
        rates[name] = len(coalitions) / (time.perf_counter() - start)
    print(
        f"evaluations per second on one thread, {len(universe)} players: collapsed {rates['collapsed']:,.0f}"
        f", dense {rates['dense']:,.0f}, ratio {rates['collapsed'] / rates['dense']:.1f}"
    )


def measure_kill(folder: str, rounds: int = 3) -> None:
    """The table of an undisturbed probe against that of one whose actors and whole run were killed."""
    project = project_at(folder)
    run(project, "probe")
    clean = digest(project)
    command = [sys.executable, "-m", "raymoe", "probe", "demo", "--workspace", folder]
    units = Path(folder, project.run, "units")
    for number in range(rounds):
        remove_interactions(INTERACTIONS.of(project))
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        actors = 0
        while driver.poll() is None and committed(units) < 200:
            time.sleep(0.5)
            found = [
                p
                for p in psutil.process_iter(["cmdline"])
                if "ray::UnitRunner.run" in " ".join(p.info["cmdline"] or [])
            ]
            if found and actors < 2:
                found[0].kill()
                actors += 1
        running = driver.poll() is None
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        same = digest(project) == clean
        print(
            f"round {number + 1}: {actors} actors killed, run {'killed' if running else 'already over'}, "
            f"run again: {'byte-identical' if same else 'DIFFERENT'} (SHA-256 {clean[:12]})"
        )
    print(f"{read_interactions(project.workspace, project.run, 'raymoe probe demo').num_rows} rows")


def committed(units: Path) -> int:
    """How many units are finished; of a pack with gaps a few."""
    names = [path.name for path in units.rglob("*.arrow")] if units.exists() else []
    return sum(1024 if name.startswith("pack") else 1 for name in names)


def digest(project: Project) -> str:
    """SHA-256 of all tables of the probe."""
    found = hashlib.sha256()
    for name in [table.name for table in of_experts(INTERACTIONS.of(project))]:
        found.update(project.workspace.read(name))
    return found.hexdigest()


if __name__ == "__main__":
    main()
