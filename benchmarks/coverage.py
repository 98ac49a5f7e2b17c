"""Are the standard errors honest? How often 95 % intervals hold the exact value, on games that are known.

    python benchmarks/coverage.py [--workspace DIR] [--seeds 12] [--methods shared surrogate]
    python benchmarks/coverage.py --families FOLDER [--set open]

For ``shared``, ``surrogate`` and ``auto``, or those asked for, with the budget of 8, 32 and 128 coalitions of
``shared`` (of 4, too, on families), every score, all pairs; wanted are 92-98 % (SII), 90-99 % (others).
By default on the trained experts of a workspace, both on six samples; ``--families`` takes the games of
``families.py``, whose closed forms know the SII alone. A pair counts where the exact score and its interval
are known: substitutability is not where two features never both help. Also the ratio of SII's reported
standard error to its root mean square error.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from families import SETS, read
from machine import machine_line

from raymoe.errors import InputError
from raymoe.interactions import estimate
from raymoe.interactions.estimate import evaluations_per_coalition
from raymoe.interactions.sums import SCORES

SHARE = {"surrogate": 0.25, "auto": 0.25}  # of the seeds: they take seconds
COALITIONS = (8, 32, 128)
ENUMERATED = 20  # players of which every score is known exactly


class Truth:
    """The exact scores of a game's pairs; those that are not known are NaN."""

    def __init__(self, game) -> None:
        self.sii = getattr(game, "sii", None)
        if game.num_players <= ENUMERATED:
            exact = estimate(game, game.pairs, num_players=game.num_players, method="exact")
            for score in SCORES:
                setattr(self, score, getattr(exact, score))
        else:
            for score in SCORES:
                if score != "sii":
                    setattr(self, score, np.full(len(game.pairs), np.nan))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default="runs")
    parser.add_argument("--games", default=None, help="a folder of tabulated games")
    parser.add_argument("--families", type=Path, default=None, help="a folder that families.py wrote")
    parser.add_argument("--set", dest="which", choices=SETS, default="open")
    parser.add_argument("--only", default="", help="families' games with this in their name")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--methods", nargs="+", default=["shared", "surrogate", "auto"])
    parser.add_argument("--coalitions", type=int, nargs="+", default=None)
    parser.add_argument("--most", type=int, default=1 << 16, help="evaluations of a family's game")
    parser.add_argument("--limit", type=int, default=None, help="only so many games")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    games = load(arguments)[: arguments.limit]
    truths = [Truth(game) for game in games]
    print(f"{len(games)} games, {sum(len(g.pairs) for g in games)} pairs")
    heads = [f"{score.replace('_', ' '):>21}" for score in SCORES]
    print(f"covered, and by game:{'':4}{''.join(heads)}  stderr/error  s")
    efforts = arguments.coalitions or ((4, *COALITIONS) if arguments.families else COALITIONS)
    # more than all coalitions are no test of an estimate, but what the trained experts were always asked
    most = [min(arguments.most, (1 << g.num_players) - 1) for g in games] if arguments.families else None
    for method in arguments.methods:
        seeds = max(1, round(SHARE.get(method, 1.0) * arguments.seeds))
        for coalitions in efforts:
            print(row(method, coalitions, seeds, most, games, truths), flush=True)


def load(arguments) -> list:
    if arguments.families:
        games = read(arguments.families, arguments.which)
        return [game for game in games if arguments.only in game.name]
    if arguments.games:
        from tabulated import read_games

        return read_games(Path(arguments.games))
    from trained import tabulated

    return tabulated(arguments.workspace)


def row(
    method: str, coalitions: int, seeds: int, most: list[int] | None, games: list, truths: list[Truth]
) -> str:
    """A method's coverage of every score at one effort; ``most`` evaluations, by game."""
    inside: dict[str, list[np.ndarray]] = {score: [] for score in SCORES}
    ratios, refused, start = [], 0, time.perf_counter()
    for number, (game, truth) in enumerate(zip(games, truths, strict=True)):
        n = game.num_players
        budget = 1 + coalitions * evaluations_per_coalition(game.pairs, "shared")
        if most and budget > most[number]:
            refused += 1
            continue
        try:
            runs = [
                estimate(game, game.pairs, num_players=n, budget=budget, method=method, seed=s)
                for s in range(seeds)
            ]
        except InputError:  # the budget is too small for this method
            refused += 1
            continue
        for score, found in inside.items():
            exact = getattr(truth, score)
            bounds = np.array([run.interval(0.95, score=score) for run in runs])  # [run, 2, p]
            known = np.isfinite(bounds).all(1) & np.isfinite(exact)
            # what is known exactly, as where nothing is there to be found, but for rounding
            close = np.abs(exact) * 1e-6 + 1e-9
            covered = (bounds[:, 0] <= exact + close) & (exact - close <= bounds[:, 1])
            found.append(covered[known])
        error = np.mean([(run.sii - truth.sii) ** 2 for run in runs])
        ratios.append(np.sqrt(np.mean([run.sii_stderr**2 for run in runs]) / max(error, 1e-300)))
    cells = [_cell(found) for found in inside.values()]
    took = (time.perf_counter() - start) / seeds / max(1, len(ratios))
    few = f"  without {refused} games" if refused else ""
    ratio = np.median(ratios) if ratios else np.nan
    return f"{method:10}{coalitions:4} coalitions{''.join(cells)}  {ratio:12.2f}  {took:.2f}{few}"


def _cell(found: list[np.ndarray]) -> str:
    """The share that is covered over all pairs, and the least and the largest of the games."""
    games = [covered.mean() for covered in found if len(covered)]
    if not games:
        return f"{'–':>21}"
    text = f"{np.concatenate(found).mean():.1%} {100 * min(games):.0f}-{100 * max(games):.0f}"
    return f"{text:>21}"


if __name__ == "__main__":
    main()
