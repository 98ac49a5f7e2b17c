"""Seconds until an estimator's relative error is below a threshold, on the demo's trained experts.

    python benchmarks/reach.py [--workspace DIR] [--methods NAME ...] [--plot DIR] [--limit N]

Both experts on six samples, exact values by enumeration, the live evaluator, one thread; budgets are doubled
until the error is below the threshold or a run takes too long. shapiq's are those of the version that is
importable here, beside torch.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from families import Known
from machine import machine_line
from measured import Record, Runner, errors
from ours import runners as our_runners
from trained import EXPERTS, Samples, chosen_samples, tabulated, universe

from raymoe.errors import RaymoeError
from raymoe.interactions import estimate

# numba, which an older shapiq imports, looks for a package coverage and would find the script beside this one
sys.modules.setdefault("coverage", None)  # type: ignore[arg-type]

LONG = 10.0  # seconds; budgets are doubled until a run takes longer
PEERS = ("ProxySHAP-xgboost-adjusted", "SVARMIQ-paired", "InconsistentKernelSHAPIQ-paired")


def main() -> None:
    """Print one line per estimator; draw how many games are known after so many seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default="runs")
    parser.add_argument("--methods", nargs="+", default=None)
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--limit", type=int, default=None, help="only so many samples")
    parser.add_argument("--plot", type=Path, default=None, help="a folder for the curve")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print(machine_line())
    found = measure_time(arguments.workspace, arguments.threshold, arguments.methods, arguments.limit)
    report(found, arguments.threshold)
    if arguments.plot:
        draw(found, arguments.threshold, arguments.plot)


def timed() -> Iterator[tuple[str, bool, Runner]]:
    """Name, whether on the collapsed evaluator, and what runs it."""
    ours = our_runners()
    for name in ("shared", "auto", "surrogate"):
        yield name, True, ours[name]
    yield "paper, dense passes", False, ours["paper"]
    yield "paper", True, ours["paper"]
    try:
        from peers import approximators

        theirs = approximators()
    except ImportError:
        print("shapiq is not installed here: ours only")
        return
    for name in PEERS:
        if name in theirs:
            yield name, True, theirs[name]


def measure_time(
    workspace: str, threshold: float, wanted: list[str] | None, limit: int | None
) -> list[Record]:
    """One record per game, estimator and budget."""
    tables = {game.name: game for game in tabulated(workspace)}
    data, records, methods = Samples(workspace), [], list(timed())
    for number, sample_id in list(enumerate(chosen_samples(data)))[:limit]:
        for expert in EXPERTS:
            held = tables[f"{number}-{expert}"]
            truth = estimate(held, held.pairs, method="exact").sii
            players, _ = universe(data, sample_id, expert, held.num_players)
            for name, collapse, run in methods:
                if wanted and name not in wanted:
                    continue
                live = data.game(sample_id, expert, players, collapse=collapse)
                live(np.zeros((8, held.num_players), dtype=bool))  # the first call warms up
                game = Known(held.name, "demo's experts", held.num_players, held.pairs, truth, live)
                records += doubled(run, game, name, threshold)
            print(f"  {held.name} done", flush=True)
    return records


def doubled(run: Runner, game: Known, name: str, threshold: float) -> Iterator[Record]:
    """Runs with more and more evaluations."""
    for budget in 2 ** np.arange(9, 21):
        start = time.perf_counter()
        try:
            sii, _ = run(game, int(budget), 0)
        except RaymoeError:  # the budget is too small for the pairs
            continue
        found = {"method": name, "budget": int(budget), "game": game.name}
        found |= {**errors(sii, game.sii), "seconds": time.perf_counter() - start}
        yield found
        if found["relative"] < threshold or found["seconds"] > LONG:
            return


def report(records: list[Record], threshold: float) -> None:
    """Median and worst seconds, and the ratio to ``shared``."""
    names, games = (list(dict.fromkeys(r[key] for r in records)) for key in ("method", "game"))
    reached = {name: seconds_to(records, name, threshold) for name in names}
    print(f"\n== seconds until the relative MSE is below {threshold}, {len(games)} games")
    print(f"{'':36}{'median':>10}{'worst':>10}{'reached in':>12}   times what shared takes: median (range)")
    for name in names:
        seconds = np.array([reached[name].get(game, np.inf) for game in games])
        line = f"{name:36}{np.median(seconds):10.3f}{seconds.max():10.3f}"
        line += f"{np.isfinite(seconds).sum():>7} of {len(games)}"
        first = reached.get("shared", {})
        ratio = [s / first[game] for game, s in zip(games, seconds, strict=True) if game in first]
        print(line + (f"   {np.median(ratio):.1f} ({min(ratio):.1f}-{max(ratio):.1f})" if ratio else ""))


def seconds_to(records: list[Record], name: str, threshold: float) -> dict[str, float]:
    """Seconds of an estimator's first run below the threshold, by game; games without one are left out."""
    first: dict[str, float] = {}
    for r in records:
        if r["method"] == name and r["relative"] < threshold:
            first.setdefault(r["game"], r["seconds"])
    return first


def draw(records: list[Record], threshold: float, folder: Path) -> None:
    """Share of the games that are known to the threshold after so many seconds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    games = {r["game"] for r in records}
    longest = max(r["seconds"] for r in records)
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name in dict.fromkeys(r["method"] for r in records):
        seconds = sorted(seconds_to(records, name, threshold).values())
        share = [*(np.arange(1, len(seconds) + 1) / len(games)), len(seconds) / len(games)]
        axes.step([*seconds, longest], share, where="post", label=name)
    axes.set(xscale="log", ylim=(0, 1.02), ylabel=f"games with a relative MSE below {threshold}")
    axes.set_xlabel("seconds, one CPU thread")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, frameon=False)
    figure.tight_layout()
    figure.savefig(folder / "time.svg")
    plt.close(figure)


if __name__ == "__main__":
    main()
