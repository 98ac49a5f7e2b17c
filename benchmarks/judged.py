"""Estimators judged on families of games with exact values (``families.py``): one line per game and budget.

    python benchmarks/families.py FOLDER --set open
    python benchmarks/judged.py FOLDER [--set open] [--methods auto shared] [--seeds 2]

Relative mean squared error, sum over cross-modal pairs of (estimate - exact)^2 / sum of exact^2, mean over
seeds; of ours also how many of the 95 % intervals of SII hold the exact value; seconds. ``proxyshap`` (trees,
adjusted), ``proxyshap-linear`` and ``svarm-iq`` are shapiq's. Methods are left out where they
can't be imported: an environment with shapiq on Python 3.12 and without torch gives the peers' columns.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from families import Known, read

PEERS = {
    "proxyshap": ("ProxySHAP", {"proxy_model": "xgboost", "adjustment": True}),
    "proxyshap-linear": ("ProxySHAP", {"proxy_model": "linear", "adjustment": True}),
    "svarm-iq": ("SVARMIQ", {"pairing_trick": True}),
}
Found = tuple[np.ndarray, float | None]


def main() -> None:
    """Print the table as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", dest="which", choices=("open", "closed"), default="open")
    parser.add_argument("--budgets", default="1024,4096,16384")
    parser.add_argument("--methods", nargs="+", default=["auto", "shared", "paper", *PEERS])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--most-players", type=int, default=60)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for game in read(arguments.folder, arguments.which):
        if game.num_players > arguments.most_players:
            continue
        for budget in map(int, arguments.budgets.split(",")):
            if budget < 1 << game.num_players:
                cells = [_cell(game, budget, name, arguments.seeds) for name in arguments.methods]
                print(f"{game.name:26} {budget:6}  {'  '.join(cells)}", flush=True)


def _cell(game: Known, budget: int, name: str, seeds: int) -> str:
    try:
        run = _peer(name) if name in PEERS else _ours(name)
        start = time.perf_counter()
        found = [run(game, budget, seed) for seed in range(seeds)]
        seconds = (time.perf_counter() - start) / seeds
    except Exception as error:  # a budget too small, a library that is not there: each is a result
        return f"{name}: {type(error).__name__}"
    error = np.mean([((sii - game.sii) ** 2).sum() for sii, _ in found]) / (game.sii**2).sum()
    covered = [share for _, share in found if share is not None]
    said = f" {np.mean(covered):.0%}" if covered else ""
    return f"{name}: {error:.2g}{said} {seconds:.1f}s"


def _ours(name: str) -> Callable[[Known, int, int], Found]:
    import torch

    from raymoe.interactions import estimate

    torch.set_num_threads(1)

    def run(game: Known, budget: int, seed: int) -> Found:
        found = estimate(
            game, game.pairs, num_players=game.num_players, method=name, budget=budget, seed=seed
        )
        low, high = found.interval()
        return found.sii, float(np.mean((low <= game.sii) & (game.sii <= high)))

    return run


def _peer(name: str) -> Callable[[Known, int, int], Found]:
    from shapiq import approximator

    kind, options = PEERS[name]

    def run(game: Known, budget: int, seed: int) -> Found:
        solver = getattr(approximator, kind)(
            n=game.num_players, max_order=2, index="SII", random_state=seed, **options
        )
        found = solver.approximate(budget, lambda rows: game(np.asarray(rows, dtype=bool)))
        return np.array([found[int(u), int(v)] for u, v in game.pairs]), None

    return run


if __name__ == "__main__":
    main()
