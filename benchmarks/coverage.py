"""Are the standard errors honest? How often 95 % intervals hold the exact value, on the trained experts.

    python benchmarks/coverage.py [--workspace DIR] [--seeds 12] [--methods shared surrogate]

For ``shared`` and ``surrogate``, or those asked for, with the budget of 8, 32 and 128 coalitions of
``shared``, every score, over both experts, six samples and all pairs; wanted are 92-98 % (SII) and 90-99 %
(the others). A pair counts where the exact score and its interval are known: substitutability is not where
two features never both help. Also the ratio of SII's reported standard error to its root mean square error.
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
from raymoe.interactions.sums import SCORES

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
    heads = [f"{score.replace('_', ' '):>21}" for score in SCORES]
    print(f"covered, and by game:{'':4}{''.join(heads)}  stderr/error  s")
    for method in arguments.methods:
        seeds = max(1, round(SHARE.get(method, 1.0) * arguments.seeds))
        for coalitions in COALITIONS:
            inside: dict[str, list[np.ndarray]] = {score: [] for score in SCORES}
            ratios, start = [], time.perf_counter()
            for game, truth in zip(games, truths, strict=True):
                budget = 1 + coalitions * evaluations_per_coalition(game.pairs, "shared")
                runs = [
                    estimate(game, game.pairs, budget=budget, method=method, seed=s) for s in range(seeds)
                ]
                for score, found in inside.items():
                    exact = getattr(truth, score)
                    bounds = np.array([run.interval(0.95, score=score) for run in runs])  # [run, 2, p]
                    known = np.isfinite(bounds).all(1) & np.isfinite(exact)
                    # what is known exactly, as where nothing is there to be found, but for rounding
                    close = np.abs(exact) * 1e-6 + 1e-9
                    covered = (bounds[:, 0] <= exact + close) & (exact - close <= bounds[:, 1])
                    found.append(covered[known])
                error = np.mean([(run.sii - truth.sii) ** 2 for run in runs])
                ratios.append(np.sqrt(np.mean([run.sii_stderr**2 for run in runs]) / error))
            cells = [_cell(found) for found in inside.values()]
            took = (time.perf_counter() - start) / seeds / len(games)
            print(
                f"{method:10}{coalitions:4} coalitions{''.join(cells)}  {np.median(ratios):12.2f}  {took:.2f}"
            )


def _cell(found: list[np.ndarray]) -> str:
    """The share that is covered over all pairs, and the least and the largest of the games."""
    games = [covered.mean() for covered in found if len(covered)]
    if not games:
        return f"{'–':>21}"
    text = f"{np.concatenate(found).mean():.1%} {100 * min(games):.0f}-{100 * max(games):.0f}"
    return f"{text:>21}"


if __name__ == "__main__":
    main()
