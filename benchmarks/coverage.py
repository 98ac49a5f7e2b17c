"""Are the standard errors honest? How often 95 % intervals hold the exact value, on the trained experts.

    python benchmarks/coverage.py [--workspace DIR] [--seeds 12] [--methods shared surrogate]

For ``shared`` and ``surrogate``, or those asked for, with the budget of 8, 32 and 128 coalitions of
``shared``, both scores, over both experts, six samples and all pairs; wanted are 92-98 % (SII) and 90-99 %
(redundancy gap). Also the ratio of the reported standard error to the root mean square error.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from machine import machine_line

from raymoe.interactions import estimate
from raymoe.interactions.estimate import evaluations_per_coalition

SHARE = {"surrogate": 0.25}  # of the seeds: it takes seconds
COALITIONS = (8, 32, 128)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default="runs")
    parser.add_argument("--games", default=None, help="a folder of tabulated games")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--methods", nargs="+", default=["shared", "surrogate"])
    parser.add_argument("--limit", type=int, default=None, help="only so many games")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    if arguments.games:
        from tabulated import read_games

        games = read_games(Path(arguments.games))
    else:
        from trained import tabulated

        games = tabulated(arguments.workspace)
    games = games[: arguments.limit]
    truths = [estimate(game, game.pairs, method="exact") for game in games]
    print(f"{len(games)} games, {sum(len(g.pairs) for g in games)} pairs")
    print(
        f"{'':22} {'SII: covered':>13} {'by game':>11} {'gap: covered':>13} {'by game':>11}  stderr/error  s"
    )
    for method in arguments.methods:
        seeds = max(1, round(SHARE.get(method, 1.0) * arguments.seeds))
        for coalitions in COALITIONS:
            inside: dict[str, list] = {"sii": [], "redundancy_gap": []}
            ratios, start = [], time.perf_counter()
            for game, truth in zip(games, truths, strict=True):
                budget = 1 + coalitions * evaluations_per_coalition(game.pairs, "shared")
                runs = [
                    estimate(game, game.pairs, budget=budget, method=method, seed=s) for s in range(seeds)
                ]
                for score, found in inside.items():
                    exact = getattr(truth, score)
                    bounds = [run.interval(0.95, score=score) for run in runs]
                    found.append(np.mean([(low <= exact) & (exact <= high) for low, high in bounds]))
                error = np.mean([(run.sii - truth.sii) ** 2 for run in runs])
                ratios.append(np.sqrt(np.mean([run.sii_stderr**2 for run in runs]) / error))
            cells = [f"{np.mean(x):13.1%} {min(x):5.0%}-{max(x):4.0%}" for x in inside.values()]
            took = (time.perf_counter() - start) / seeds / len(games)
            print(
                f"{method:10} {coalitions:4} coalitions {' '.join(cells)}  {np.median(ratios):.2f} {took:.2f}"
            )


if __name__ == "__main__":
    main()
