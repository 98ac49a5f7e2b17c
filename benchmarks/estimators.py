"""Accuracy per evaluation on families of games, ours beside shapiq's newest; every cell is measured here.

    python benchmarks/families.py FOLDER --set open
    python benchmarks/estimators.py FOLDER [--set open] [--methods auto peers] [--out FILE] [--plot DIR]

Relative mean squared error of the SII, sum over cross-modal pairs of (estimate - exact)^2 / sum of exact^2,
mean over seeds; centred: variance of the error / variance of the exact values, what a ranking sees. "Best
peer" is whichever of shapiq's did best in that cell, known only afterwards: nobody could have picked it, so
ratios are unkind to ours. "held": how many of the 95 % intervals of ``auto`` hold the exact value.

Runs are kept in ``--out`` as they come and are not run again, so that a measurement can be interrupted, and
methods can be measured apart; the table is of all that the files hold. shapiq runs in an environment that is
made once (``peers.py``); where that can't be, the table is of ours only. ``--workspace DIR`` adds the experts
trained there to the folder, as ``--set demo``. Seconds are processor time of one thread. How long an
estimator takes to an error of .05 on the live experts: ``reach.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from families import read, write_trained
from measured import FAILED, SLOW, Record, measure, records
from ours import OURS, runners
from peers import FOLDER, NoPeersError, add_choices, chosen, environment, run_in

from raymoe import __version__

WORST = 10  # cells that are listed


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_choices(parser)
    parser.add_argument("--out", type=Path, default=None, help="JSON lines (default: FOLDER/SET.jsonl)")
    parser.add_argument("--with", dest="beside", type=Path, nargs="*", default=[], help="more such, to read")
    parser.add_argument("--peers", type=Path, default=FOLDER, help="the folder of the peers' environment")
    parser.add_argument("--workspace", default=None, help="of a trained demo, for --set demo")
    parser.add_argument("--plot", type=Path, default=None, help="a folder for the curves")
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    out = arguments.out or arguments.folder / f"{arguments.which}.jsonl"
    if arguments.workspace:
        arguments.which = "demo"
        write_trained(arguments.folder, arguments.workspace)
    games = chosen(read(arguments.folder, arguments.which), arguments.games)
    if not arguments.table_only:
        wanted = arguments.methods or [*OURS, "peers"]
        own = runners()
        mine = {name: own[name] for name in wanted if name in own}
        said = {"by": f"raymoe {__version__}"}
        measure(games, mine, arguments.budgets, arguments.seeds, out, limit=arguments.limit, said=said)
        theirs = [name for name in wanted if name not in own]
        if theirs:
            measure_peers(arguments, theirs, out)
    names = {game.name for game in games}
    held = [r for path in (out, *arguments.beside) for r in records(path)]
    held = [r for r in held if r["game"] in names and r["budget"] in arguments.budgets]
    report(held)
    if arguments.plot:
        draw(held, arguments.plot)


def measure_peers(arguments: argparse.Namespace, names: list[str], out: Path) -> None:
    """Run shapiq's in their environment, or say why not."""
    given = [str(arguments.folder), "--set", arguments.which, "--out", str(out), "--games", arguments.games]
    given += ["--budgets", ",".join(map(str, arguments.budgets)), "--seeds", str(arguments.seeds)]
    given += ["--limit", str(arguments.limit)]
    if "peers" not in names:
        given += ["--methods", *names]
    try:
        run_in(environment(arguments.peers), given)
    except NoPeersError as error:
        print(f"ours only: {error}")
    except subprocess.CalledProcessError as error:
        print(f"the peers' run ended with {error.returncode}; the table is of what there is")


@dataclass
class Cell:
    """What is known of one game at one budget: means over seeds, by method."""

    game: str
    family: str
    budget: int
    found: dict[str, list[Record]]

    def mean(self, method: str, what: str) -> float:
        """NaN where the method has none."""
        values = [r[what] for r in self.found.get(method, []) if r.get(what) is not None]
        return float(np.mean(values)) if values else float("nan")

    def best(self, methods: Iterable[str], what: str) -> tuple[str, float]:
        """The method with the smallest mean, of those that have as many seeds as any; or ""."""
        there = {m: self.found[m] for m in methods if self.found.get(m)}
        most = max((len(runs) for runs in there.values()), default=0)
        means = {m: self.mean(m, what) for m, runs in there.items() if len(runs) == most}
        name = min(means, key=means.__getitem__, default="")
        return name, means.get(name, float("nan"))

    @property
    def peers(self) -> list[str]:
        """Methods that are not ours."""
        return [m for m in self.found if m not in OURS]

    @property
    def to_peer(self) -> float:
        """Error of ``auto`` by the best peer's."""
        return ratio(self.mean("auto", "relative"), self.best(self.peers, "relative")[1])

    @property
    def to_own(self) -> float:
        """Error of ``auto`` by that of the best of our other methods."""
        return ratio(self.mean("auto", "relative"), self.best(OURS[1:], "relative")[1])


def ratio(ours: float, theirs: float) -> float:
    """NaN where either is not known; two errors of 0 are equal."""
    if ours == theirs:
        return 1.0
    return ours / theirs if theirs else float("inf") if ours == ours else float("nan")


def cells(held: list[Record]) -> list[Cell]:
    """One per game and budget, in the order of the records' games."""
    found: dict[tuple[str, int], Cell] = {}
    games = list(dict.fromkeys(r["game"] for r in held))
    for r in sorted(held, key=lambda r: (games.index(r["game"]), r["budget"])):
        cell = found.setdefault((r["game"], r["budget"]), Cell(r["game"], r["family"], r["budget"], {}))
        if "relative" in r:
            cell.found.setdefault(r["method"], []).append(r)
    return list(found.values())


def report(held: list[Record]) -> None:
    """The table, and what it comes to."""
    rows = cells(held)
    print(
        f"{'':26}{'':>7}" + "".join(f"{name:>10}" for name in OURS) + f"{'best peer':>10}{'auto/peer':>10}"
        f"{'centred':>10}{'peer':>10}{'s':>7}{'peer':>7}{'held':>6}  best peer (centred)"
    )
    for cell in rows:
        print(_line(cell))
    for name, what in (("best peer", "to_peer"), ("best of our other methods", "to_own")):
        bounds = (1.0,) if what == "to_peer" else (1.1,)
        known = [(getattr(c, what), c) for c in rows if not np.isnan(getattr(c, what))]
        if not known:
            continue
        for bound in bounds:
            good = sum(value <= bound for value, _ in known)
            print(f"\nauto is at most {bound} times the {name} in {good} of {len(known)} cells")
        worst = sorted((pair for pair in known if pair[0] > bounds[-1]), key=lambda pair: -pair[0])
        for value, cell in worst[:WORST]:
            there = cell.best(cell.peers if what == "to_peer" else OURS[1:], "relative")[0]
            print(f"  {value:8.2f}  {cell.game} at {cell.budget}, {there}")
    for line in _left_out(held):
        print(line)


def _line(cell: Cell) -> str:
    peer, error = cell.best(cell.peers, "relative")
    ranking, centred = cell.best(cell.peers, "centred")
    numbers = [*(cell.mean(name, "relative") for name in OURS), error]
    text = f"{cell.game:26}{cell.budget:>7}" + "".join(f"{_short(x):>10}" for x in numbers)
    text += f"{_short(cell.to_peer):>10}{_short(cell.mean('auto', 'centred')):>10}{_short(centred):>10}"
    text += f"{_short(cell.mean('auto', 'seconds')):>7}{_short(cell.mean(peer, 'seconds')):>7}"
    held = cell.mean("auto", "held")
    text += f"{'–' if np.isnan(held) else f'{held:.0%}':>6}"
    return f"{text}  {peer}" + (f" ({ranking})" if ranking != peer else "")


def _short(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2g}"


def _left_out(held: list[Record]) -> list[str]:
    """A line per method and reason: what the table does not have, and why."""
    slow: dict[str, list[Record]] = {}
    broken: dict[tuple[str, str], int] = {}
    for r in held:
        if r.get(SLOW):
            slow.setdefault(r["method"], []).append(r)
        elif FAILED in r:
            broken[r["method"], r[FAILED]] = broken.get((r["method"], r[FAILED]), 0) + 1
    lines = [
        f"{name}: left out where it takes over {runs[0]['seconds']:g} s, from "
        + "; ".join(f"n={r['n']} at {r['budget']}" for r in runs[:4])
        for name, runs in slow.items()
    ]
    return ["", *lines, *(f"{name}: {why[:90]} ({n} runs)" for (name, why), n in broken.items())]


def draw(held: list[Record], folder: Path) -> None:
    """A figure per family with a panel per game: error against evaluations, ours, and the best five peers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    rows = cells(held)
    for family in dict.fromkeys(cell.family for cell in rows):
        games = list(dict.fromkeys(cell.game for cell in rows if cell.family == family))
        figure, panels = plt.subplots(1, len(games), figsize=(4.2 * len(games), 3.8), squeeze=False)
        for axes, game in zip(panels[0], games, strict=True):
            own = [cell for cell in rows if cell.game == game]
            for name in [*OURS, *best_peers(own)]:
                points = [(c.budget, c.mean(name, "relative")) for c in own if name in c.found]
                mine = name in OURS
                if points:
                    style = {"lw": 2 if mine else 1, "ls": "-" if mine else "--"}
                    axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=name, **style)
            axes.set(xscale="log", yscale="log", title=game, xlabel="evaluations of the model")
            axes.grid(alpha=0.3)
            axes.legend(fontsize=6, frameon=False)
        panels[0][0].set_ylabel("relative mean squared error of SII")
        figure.tight_layout()
        figure.savefig(folder / f"{re.sub('[^a-z0-9]+', '-', family.lower())}.svg")
        plt.close(figure)
    draw_overview(rows, folder / "families.svg")


def draw_overview(rows: list[Cell], to: Path) -> None:
    """A panel per family, of its game with most budgets measured: ours, and whichever peer was best."""
    import matplotlib.pyplot as plt

    by_game: dict[str, list[Cell]] = {}
    for cell in rows:
        by_game.setdefault(cell.game, []).append(cell)
    shown: dict[str, list[Cell]] = {}
    for own in by_game.values():
        shown[own[0].family] = max(shown.get(own[0].family, []), own, key=len)
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(3.1 * columns, 2.9 * lines), squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, own in zip(panels.flat, shown.values(), strict=False):
        for name, colour in (("auto", "tab:blue"), ("shared", "tab:orange")):
            points = [(c.budget, c.mean(name, "relative")) for c in own if name in c.found]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", ms=3, color=colour, label=name)
        points = [(c.budget, c.best(c.peers, "relative")[1]) for c in own if c.peers]
        if points:
            label = "best of shapiq, budget by budget"
            axes.plot(*zip(*points, strict=True), marker="o", ms=3, color="0.4", ls="--", label=label)
        axes.set(xscale="log", yscale="log", title=own[0].game)
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("relative MSE of SII")
    for axes in panels[-1]:
        axes.set_xlabel("evaluations of the model")
    panels[0][0].legend(fontsize=6, frameon=False)
    figure.tight_layout()
    figure.savefig(to)
    plt.close(figure)


def _log_ratio(one: float, other: float) -> float:
    return float(np.log(max(one, 1e-300) / max(other, 1e-300)))


def best_peers(own: list[Cell], count: int = 5) -> list[str]:
    """Those with the smallest geometric mean of the error by the best peer's."""
    total: dict[str, list[float]] = {}
    for cell in own:
        least = cell.best(cell.peers, "relative")[1]
        for name in cell.peers:
            total.setdefault(name, []).append(_log_ratio(cell.mean(name, "relative"), least))
    often = max(map(len, total.values()), default=0)
    return sorted((n for n in total if len(total[n]) == often), key=lambda n: np.mean(total[n]))[:count]


if __name__ == "__main__":
    main()
