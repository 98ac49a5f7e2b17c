"""Accuracy per evaluation, ours against shapiq's: trained experts with exact values, and closed-form games.

    python benchmarks/estimators.py [--workspace DIR] [--only trained,closed,time] [--seeds 1] [--plot DIR]

Relative mean squared error: sum over cross-modal pairs of (estimate - exact)^2 / sum of exact^2; centred:
variance of the error / variance of the exact values, what a ranking sees. One thread. The workspace holds (or
gets) the demo's checkpoint; shapiq's contenders are those that the installed version has (ProxySHAP needs
1.8, so Python 3.12, and xgboost). ``--games DIR`` reads tabulated games from another workspace's folder, so
that this part runs where only raymoe's interactions can be imported.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from closed_form import UnanimitySum
from machine import machine_line

from raymoe.errors import RaymoeError
from raymoe.interactions import estimate

# numba, which shapiq imports, looks for a package coverage and would find the script beside this one
sys.modules.setdefault("coverage", None)

BUDGETS = (1024, 4096, 16384)
OURS = ("paper", "shared", "surrogate")
SLOW = 90.0  # seconds; a contender that took longer is left out from then on at this budget and larger ones
LONG = 10.0  # seconds; budgets are doubled until a run takes longer
Contender = Callable[[object, int, int], np.ndarray]


def main() -> None:
    """Print one block per section; write what was found as JSON and curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default="runs")
    parser.add_argument("--games", default=None, help="a folder of tabulated games")
    parser.add_argument("--only", default="trained,closed,time", help="comma-separated sections")
    parser.add_argument("--contenders", nargs="*", default=[], help="only these, by name")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--limit", type=int, default=None, help="only so many games")
    parser.add_argument("--plot", default=None, help="a folder for results.json and the curves")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    unknown = set(chosen) - {"trained", "closed", "time"}
    if unknown:
        parser.error(f"unknown section {', '.join(unknown)}; there are trained, closed, time")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightgbm").setLevel(logging.ERROR)
    budgets = tuple(int(b) for b in arguments.budgets.split(","))
    print(machine_line())
    print(f"shapiq {shapiq_version()}")
    sections = {
        "trained": lambda: measure_trained(arguments, budgets),
        "closed": lambda: measure_closed(arguments, tuple(b for b in budgets if b >= 4096)),
        "time": lambda: measure_time(arguments),
    }
    for name, measure in sections.items():
        if name in chosen:
            found = measure()
            if arguments.plot:
                keep({name: found}, Path(arguments.plot))


def shapiq_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("shapiq")
    except PackageNotFoundError:
        return "not installed"


def contenders(n: int) -> Iterator[tuple[str, Contender]]:
    """Ours, and every approximator of the Shapley Interaction Index that the installed shapiq has."""
    for method in OURS:

        def ours(game, budget: int, seed: int, method: str = method) -> np.ndarray:
            return estimate(game, game.pairs, budget=budget, method=method, seed=seed).sii

        yield method, ours
    try:
        from shapiq.approximator import SII_APPROXIMATORS
    except ImportError:
        return
    for approximator in SII_APPROXIMATORS:
        name = approximator.__name__
        variants: dict[str, dict] = {name: {}}
        if name in ("SVARMIQ", "KernelSHAPIQ", "InconsistentKernelSHAPIQ", "SHAPIQ"):
            variants = {name: {}, f"{name}, paired": {"pairing_trick": True}}
        if name == "ProxySHAP":
            variants = {
                f"ProxySHAP, {model}{', adjusted' * adjusted}": {"proxy_model": model, "adjustment": adjusted}
                for model in ("xgboost", "linear")
                for adjusted in (False, True)
            }
            variants["ProxySHAP, xgboost, adjusted, 5 folds"] = {"adjustment": True, "k_folds": 5}
        for label, options in variants.items():

            def theirs(game, budget: int, seed: int, make=approximator, options=options) -> np.ndarray:
                solver = make(n=n, max_order=2, index="SII", random_state=seed, **options)
                found = solver.approximate(budget, lambda z: np.atleast_1d(game(z)))
                return np.array([found[(int(u), int(v))] for u, v in game.pairs])

            yield label, theirs


def compare(
    games: list, truths: list[np.ndarray], budgets: tuple[int, ...], seeds: int, wanted: list[str]
) -> list[dict]:
    """One record per contender, budget, game and seed."""
    records, slow, broken = [], set(), {}
    for number, (game, truth) in enumerate(zip(games, truths, strict=True)):
        for name, run in contenders(game.num_players):
            if wanted and name not in wanted:
                continue
            for budget in budgets:
                for seed in range(seeds):
                    if (name, budget) in slow or name in broken:
                        continue
                    start = time.perf_counter()
                    try:
                        error = run(game, budget, seed) - truth
                    except RaymoeError:  # the budget is too small for the pairs, and says so
                        continue
                    except Exception as problem:
                        broken[name] = f"{type(problem).__name__}: {problem}"
                        continue
                    took = time.perf_counter() - start
                    if took > SLOW:
                        slow |= {(name, b) for b in budgets if b >= budget}
                    records.append(
                        {
                            "contender": name,
                            "budget": budget,
                            "game": game.name,
                            "number": number,
                            "seed": seed,
                            "relative": float((error**2).sum() / (truth**2).sum()),
                            "centred": float(error.var() / truth.var()),
                            "seconds": took,
                        }
                    )
    for name, why in broken.items():
        print(f"{name}: left out, {why[:100]}")
    return records


def table(records: list[dict], budgets: tuple[int, ...]) -> None:
    """Geometric means over games (errors span decades), and the arithmetic ones in brackets."""
    print(
        f"{'relative MSE: geometric (arithmetic) mean':44}"
        + "".join(f"{b:>22,}" for b in budgets)
        + "   centred"
    )
    names = dict.fromkeys(r["contender"] for r in records)
    most = len({r["number"] for r in records}) * len({r["seed"] for r in records})

    def cell(name: str, budget: int, key: str) -> str:
        values = [r[key] for r in records if r["contender"] == name and r["budget"] == budget]
        if not values:
            return "-"
        few = f" of {len(values)}" if len(values) < most else ""  # left out of some games, being slow
        return f"{np.exp(np.mean(np.log(values))):.5f} ({np.mean(values):.4f}){few}"

    for name in names:
        cells = "".join(f"{cell(name, b, 'relative'):>22}" for b in budgets)
        centred = "  ".join(cell(name, b, "centred").split(" ")[0] for b in budgets)
        seconds = [r["seconds"] for r in records if r["contender"] == name and r["budget"] == budgets[-1]]
        print(f"{name:44}{cells}   {centred}   {np.median(seconds) if seconds else np.nan:.1f} s")


def measure_trained(arguments, budgets: tuple[int, ...]) -> list[dict]:
    """Both experts on six samples, universes of 18 to 20 features, exact values by enumeration."""
    games = load_games(arguments)[: arguments.limit]
    truths = [estimate(game, game.pairs, method="exact").sii for game in games]
    print(f"\n== trained: {len(games)} games of {sorted({g.num_players for g in games})} players")
    records = compare(games, truths, budgets, arguments.seeds, arguments.contenders)
    table(records, budgets)
    return records


def load_games(arguments) -> list:
    if arguments.games:
        from tabulated import read_games

        return read_games(Path(arguments.games))
    from trained import tabulated

    return tabulated(arguments.workspace)


def measure_closed(arguments, budgets: tuple[int, ...]) -> list[dict]:
    """Sums of unanimity games with 40 and 60 players."""
    records = []
    for n in (40, 60):
        for largest in (4, n):
            games = [UnanimitySum(n, largest, seed) for seed in range(3)][: arguments.limit]
            print(f"\n== {games[0].name}: {len(games)} games, {len(games[0].pairs)} pairs")
            found = compare(
                games, [game.sii for game in games], budgets, arguments.seeds, arguments.contenders
            )
            table(found, budgets)
            records += found
    return records


def measure_time(arguments, threshold: float = 0.05) -> list[dict]:
    """Seconds until the relative error falls below a threshold on the live evaluator; budgets double."""
    from trained import EXPERTS, Samples, chosen_samples, universe

    tables = {game.name: game for game in load_games(arguments)}
    data, records = Samples(arguments.workspace), []
    for number, sample_id in list(enumerate(chosen_samples(data)))[: arguments.limit]:
        for expert in EXPERTS:
            held = tables[f"{number}-{expert}"]
            truth = estimate(held, held.pairs, method="exact").sii
            players, _ = universe(data, sample_id, expert, held.num_players)
            for name, collapse, run in timed_contenders(held.num_players):
                if arguments.contenders and name not in arguments.contenders:
                    continue
                live = data.game(sample_id, expert, players, collapse=collapse)
                live.pairs = held.pairs
                live(np.zeros((8, held.num_players), dtype=bool))  # the first call warms up
                for budget in 2 ** np.arange(9, 21):
                    start = time.perf_counter()
                    try:
                        error = run(live, int(budget), 0) - truth
                    except RaymoeError:  # the budget is too small for the pairs
                        continue
                    took = time.perf_counter() - start
                    relative = float((error**2).sum() / (truth**2).sum())
                    found = {"contender": name, "budget": int(budget), "game": held.name}
                    records.append({**found, "relative": relative, "seconds": took})
                    if relative < threshold or took > LONG:
                        break
            print(f"  {held.name} done", flush=True)
    names, games = (list(dict.fromkeys(r[key] for r in records)) for key in ("contender", "game"))
    reached = {name: seconds_to(records, name, threshold) for name in names}
    print(f"\n== seconds until the relative MSE is below {threshold}, {len(games)} games")
    print(f"{'':36}{'median':>10}{'worst':>10}{'reached in':>12}   shared takes 1/x of it: median (range)")
    for name in names:
        seconds = np.array([reached[name].get(game, np.inf) for game in games])
        ratio = np.array([s / reached["shared"][g] for g, s in zip(games, seconds, strict=True)])
        print(
            f"{name:36}{np.median(seconds):10.3f}{seconds.max():10.3f}"
            f"{np.isfinite(seconds).sum():>7} of {len(games)}"
            f"   {np.median(ratio):.1f} ({ratio.min():.1f}-{ratio.max():.1f})"
        )
    return records


def seconds_to(records: list[dict], name: str, threshold: float) -> dict[str, float]:
    """Seconds of a contender's first run below the threshold, by game; games without one are left out."""
    first: dict[str, float] = {}
    for r in records:
        if r["contender"] == name and r["relative"] < threshold:
            first.setdefault(r["game"], r["seconds"])
    return first


def timed_contenders(n: int) -> Iterator[tuple[str, bool, Contender]]:
    """Ours, the paper's procedure as written (dense passes) and on our evaluator, shapiq's on ours."""
    named = dict(contenders(n))
    yield "shared", True, named["shared"]
    yield "surrogate", True, named["surrogate"]
    yield "paper, dense passes", False, named["paper"]
    yield "paper", True, named["paper"]
    for name in (
        "ProxySHAP, xgboost, adjusted",
        "SVARMIQ, paired",
        "InconsistentKernelSHAPIQ, paired",
    ):
        if name in named:
            yield name, True, named[name]


def keep(results: dict[str, list[dict]], folder: Path) -> None:
    """What was found, and the curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    for section, records in results.items():  # what was measured again replaces what was there
        again = {(r["contender"], r["budget"], r["game"]) for r in records}
        kept = [r for r in before.get(section, []) if (r["contender"], r["budget"], r["game"]) not in again]
        results[section] = kept + records
    path.write_text(json.dumps({**before, **results}))
    for section, records in results.items():
        for group in sorted({r["game"] if section == "closed" else "" for r in records}):
            own = [r for r in records if not group or r["game"] == group]
            figure, axes = plt.subplots(figsize=(7, 4.2))
            (draw_times if section == "time" else draw_errors)(axes, own)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=6, frameon=False)
            figure.tight_layout()
            figure.savefig(folder / f"{section}{re.sub('[^a-z0-9]+', '-', group.lower())}.svg")
            plt.close(figure)


def draw_errors(axes, records: list[dict]) -> None:
    """Geometric mean of the error over games against the number of evaluations."""
    for name in dict.fromkeys(r["contender"] for r in records):
        own = [r for r in records if r["contender"] == name]
        errors = {
            b: float(np.exp(np.mean([np.log(r["relative"]) for r in own if r["budget"] == b])))
            for b in sorted({r["budget"] for r in own})
        }
        if min(errors.values()) < 5:
            axes.plot(errors.keys(), errors.values(), marker="o", ms=3, label=name, **line_style(name))
    axes.set(xscale="log", yscale="log", ylabel="relative mean squared error of SII")
    axes.set_xlabel("evaluations of the model")


def draw_times(axes, records: list[dict], threshold: float = 0.05) -> None:
    """Share of the games that are known to the threshold after so many seconds."""
    games = {r["game"] for r in records}
    longest = max(r["seconds"] for r in records)
    for name in dict.fromkeys(r["contender"] for r in records):
        seconds = sorted(seconds_to(records, name, threshold).values())
        share = np.arange(1, len(seconds) + 1) / len(games)
        axes.step(
            [*seconds, longest],
            [*share, len(seconds) / len(games)],
            where="post",
            label=name,
            **line_style(name),
        )
    axes.set(xscale="log", ylim=(0, 1.02), ylabel=f"games with a relative MSE below {threshold}")
    axes.set_xlabel("seconds, one CPU thread")


def line_style(name: str) -> dict:
    mine = name.split(",")[0] in OURS
    return {"lw": 2 if mine else 1, "ls": "-" if mine else "--"}


if __name__ == "__main__":
    main()
