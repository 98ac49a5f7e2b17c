"""Runs of estimators on games, one JSON line each, so that a benchmark can be interrupted and resumed.

Every run is a forked process of one thread with a time limit and a memory limit: what is too slow or too
large is a result, too. NumPy alone, so that every environment measures in the same way.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from families import Known

Answer = tuple[np.ndarray, dict]  # SII of the pairs, and what else is to be kept
Runner = Callable[[Known, int, int], Answer]  # game, budget, seed
Record = dict
MEMORY = 8 << 30  # bytes of address space of a run
SLOW, FAILED = "slow", "failed"


def measure(
    games: list[Known],
    runners: dict[str, Runner],
    budgets: list[int],
    seeds: int,
    out: Path,
    *,
    limit: float = 60.0,
    said: dict | None = None,
) -> None:
    """Append what ``out`` does not hold yet; small budgets first, since they are soon there.

    Args:
        games: each is tried below 2^n evaluations only.
        runners: estimators by their names.
        budgets: evaluations.
        seeds: 0 to so many less one.
        out: JSON lines.
        limit: seconds; a method that took longer is left out from then on where there are as many
            players and evaluations.
        said: what to keep with every run.
    """
    before = records(out)
    done = {key(r) for r in before}
    slow = {(r["method"], r["n"], r["budget"]) for r in before if r.get(SLOW)}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for budget, game, method, seed in _plan(games, list(runners), budgets, seeds):
            found = {"game": game.name, "budget": budget, "method": method, "seed": seed}
            if key(found) in done or too_slow(slow, method, game.num_players, budget):
                continue
            found |= {"family": game.family, "n": game.num_players, "pairs": len(game.pairs), **(said or {})}
            found |= _limited(runners[method], game, budget, seed, limit)
            if found.get(SLOW):
                slow.add((method, game.num_players, budget))
                print(
                    f"{method}: over {limit:g} s on {game.name} at {budget}, left out from here",
                    flush=True,
                )
            file.write(json.dumps(found) + "\n")
            file.flush()


def _plan(
    games: list[Known], methods: list[str], budgets: list[int], seeds: int
) -> Iterator[tuple[int, Known, str, int]]:
    for budget in sorted(budgets):
        for game in games:
            if budget < 1 << game.num_players:
                for method in methods:
                    for seed in range(seeds):
                        yield budget, game, method, seed


def key(record: Record) -> tuple[str, int, str, int]:
    """What says which run it was."""
    return record["game"], record["budget"], record["method"], record["seed"]


def records(path: Path) -> list[Record]:
    """What a file holds; a line that an interruption cut short counts for nothing, and is taken away."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def too_slow(slow: set[tuple[str, int, int]], method: str, n: int, budget: int) -> bool:
    """Whether the method was too slow with no more players and evaluations."""
    return any(m == method and n >= players and budget >= b for m, players, b in slow)


class Counted:
    """A game that knows how often it was asked."""

    def __init__(self, game: Known) -> None:
        self.game, self.asked = game, 0

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(coalitions, dtype=bool))
        self.asked += len(rows)
        return self.game(rows)


def _limited(run: Runner, game: Known, budget: int, seed: int, limit: float) -> Record:
    """What the run finds, in a process of its own; or that it was too slow, or why there is nothing."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside BLAS's idle threads
        process = fork.Process(target=_in_child, args=(theirs, run, game, budget, seed))
        process.start()
    theirs.close()
    try:
        if ours.poll(limit):
            return ours.recv()
        return {SLOW: True, "seconds": limit}
    except EOFError:
        return {FAILED: "the process died"}
    finally:
        process.kill()
        process.join()
        ours.close()


def _in_child(pipe, run: Runner, game: Known, budget: int, seed: int) -> None:
    warnings.filterwarnings("ignore")
    _bound_memory()
    with open(os.devnull, "w") as nowhere:  # what libraries have to say at every run
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        pipe.send(one(run, game, budget, seed))
    except BaseException as error:  # a budget too small, memory: each is a result
        pipe.send({FAILED: f"{type(error).__name__}: {error}"[:200]})
    pipe.close()
    os._exit(0)  # the parent's buffers and threads are not the child's to close


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def one(run: Runner, game: Known, budget: int, seed: int) -> Record:
    """One run's errors, processor seconds and evaluations."""
    counted = Counted(game)
    asked = Known(game.name, game.family, game.num_players, game.pairs, game.sii, counted, game.table)
    start = time.process_time()
    sii, more = run(asked, budget, seed)
    seconds = time.process_time() - start
    if not np.isfinite(sii).all():
        return {FAILED: "estimates that are not finite"}
    return {**errors(sii, game.sii), "seconds": round(seconds, 3), "asked": counted.asked, **more}


def errors(sii: np.ndarray, exact: np.ndarray) -> Record:
    """Relative mean squared error, and the centred one, which a ranking sees."""
    error = sii - exact
    return {
        "relative": float((error**2).sum() / (exact**2).sum()),
        "centred": float(error.var() / exact.var()),
    }
