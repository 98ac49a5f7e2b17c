"""The benchmarks behind the documented figures run, on games small enough for a test."""

import importlib
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.forks import run_file, run_forked

from raymoe.interactions.sums import SCORES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def games(tmp_path):
    """Two tabulated games of eight players."""
    folder = tmp_path / "games"
    folder.mkdir()
    for number in range(2):
        rng = np.random.default_rng(number)
        inside = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(float)
        values = np.tanh(inside @ rng.normal(size=8) + (inside @ rng.normal(size=8)) ** 2 / 4)
        np.savez(folder / f"{number}-synergy.npz", values=values.astype(np.float32), words=3)
    return folder


def run(script, *arguments):
    ended = run_forked(run_file, BENCHMARKS / script, *arguments)
    assert ended.code == 0, ended.err
    return ended.out


def test_coverage_prints_a_row_per_method_and_effort(games):
    out = run("coverage.py", "--games", games, "--seeds", 4)
    rows = [line for line in out.splitlines() if "coalitions" in line]
    assert len(rows) == 9
    for row in rows:
        shares = [float(cell.split()[-1]) for cell in row.split("%")[:-1]]
        assert len(shares) == len(SCORES)
        if not row.startswith("auto"):  # of which only the SII is held to anything with so few players
            assert all(60 < share <= 100 for share in shares)
        assert shares[SCORES.index("sii")] > 70


def test_missing_games_are_named(tmp_path):
    ended = run_forked(run_file, BENCHMARKS / "coverage.py", "--games", tmp_path)
    assert ended.code == 1
    assert "holds no tabulated games" in ended.err


def test_pictures_compares_ways_that_find_the_same_ones_bad():
    out = run("pictures.py", "--count", 21, "--rounds", 1)
    assert "21 JPEGs" in out
    assert [line.split(":")[0] for line in out.splitlines()[2:]] == ["loop", "threads", "processes"]


def test_scheduler_measures_planning_tracking_committing_and_merging():
    out = run("scheduler.py", "--quick", "--only", "plan,track,commit,merge")
    assert [line.split(":")[0].split(",")[0] for line in out.splitlines()[1:]] == [
        *["plan"] * 2,
        *["track", "commit", "merge"],
    ]
    assert "track: 20,000 units of 1,000 jobs" in out


@pytest.mark.slow
def test_planted_and_the_time_of_its_experiments(tmp_path):
    small = ["data.scenes=64", "train.epochs=1", "probe.max_samples=4", "probe.coalitions=4"]
    small += ["data.alone=0", "probe.experts=unique:text,unique:image,synergy,redundancy"]
    settings = [word for setting in small for word in ("--set", setting)]
    draws = ("--seeds", "0", "--data-seeds", "0,1", "--only", "experiment,places")
    out = run("planted.py", "--workspace", tmp_path, *draws, *settings)
    assert "average_precision, per cent" in out
    assert re.search(r"redundant +redundancy +redundancy +[\d.]+ \(\d+; \d+\)", out), "a value of each draw"
    assert "data 1 seed 0 redundant    redundancy of redundancy: true " in out
    assert "redundant: redundancy of the redundancy expert has" in out
    out = run("experiments.py", "planted", "--workspace", tmp_path, "--quick")
    for words in ("made baselines, train (dense) in", "evaluate: ", "report: ", "together: ", "page: "):
        assert words in out, out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "wanted"),
    [
        ("training.py", ["--quick", "--device", "cpu"], ["largest difference of a loss", "private memory"]),
        ("scheduler.py", ["--quick", "--only", "driver"], ["496 units on 2 actors"]),
        ("scaling.py", ["--only", "driver,simulator", "--quick"], ["the driver spends", "16 actors, units"]),
        ("encode.py", ["--samples", 8, "--rounds", 1], ["loop over encode"]),
    ],
)
def test_the_other_benchmarks_run(script, options, wanted):
    out = run(script, *options)
    assert all(words in out for words in wanted), out


@pytest.fixture
def sums(tmp_path):
    """A game of ten players whose only interaction is 3 between players 1 and 7."""
    inside = np.arange(1 << 10)[:, None] >> np.arange(10) & 1
    table = inside @ np.arange(10.0) + 3 * inside[:, 1] * inside[:, 7]
    np.savez(tmp_path / "demo-00.npz", name="sum, n=10", family="sum", table=table, words=5)
    return tmp_path


@pytest.fixture
def benchmarks(monkeypatch):
    """The modules of the benchmarks by their names."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setitem(sys.modules, "coverage", None)
    return importlib.import_module


def test_a_games_exact_interactions_are_those_of_its_formula(sums, benchmarks):
    families = benchmarks("families")
    (game,) = families.read(sums, "demo")
    assert len(game.pairs) == 25
    assert dict(zip(map(tuple, game.pairs.tolist()), game.sii, strict=True))[1, 7] == pytest.approx(3)
    assert np.abs(game.sii).sum() == pytest.approx(3)
    parts = families.terms(8, 4, 20, 0)
    closed = families.unanimity("", "", 8, *parts)
    table = families.tabulated("", "", families.table_of(closed, 8))
    assert np.allclose(closed.sii, table.sii, atol=1e-5)


def test_errors_are_the_formulas(benchmarks):
    found = benchmarks("measured").errors(np.array([1.0, 3.0]), np.array([1.0, 2.0]))
    assert found["relative"] == pytest.approx(1 / 5)
    assert found["centred"] == pytest.approx(1)
    assert benchmarks("measured").errors(np.array([2.0, 3.0]), np.array([1.0, 2.0]))["centred"] == 0


def test_what_was_measured_is_read_and_not_run_again(sums, benchmarks, capsys):
    measured, out = benchmarks("measured"), sums / "found.jsonl"
    games = benchmarks("families").read(sums, "demo")

    def known(game, budget, seed):
        game(np.ones((3, 10)))
        return game.sii + 0.3, {}

    def broken(game, budget, seed):
        raise ValueError("no")

    def slow(game, budget, seed):
        time.sleep(60)

    tried = {"known": known, "broken": broken, "slow": slow}
    measured.measure(games, tried, [64, 512, 4096], 2, out, limit=1.0)
    first = measured.records(out)
    assert all(r["budget"] < 1024 for r in first), "2^10 values are known by asking for all"
    mine = [r for r in first if r["method"] == "known"]
    assert len(mine) == 4
    assert all(r["asked"] == 3 and r["relative"] == pytest.approx(25 * 0.09 / 9) for r in mine)
    assert {r["failed"] for r in first if r["method"] == "broken"} == {"ValueError: no"}
    assert [r["budget"] for r in first if r["method"] == "slow"] == [64], "left out from then on"
    assert "slow: over 1 s" in capsys.readouterr().out
    with out.open("a") as file:
        file.write('{"game": "cut sho')
    measured.measure(games, {"known": broken, "slow": broken}, [64, 512], 3, out)
    again = measured.records(out)
    assert again[: len(first)] == first
    assert [(r["seed"], "failed" in r) for r in again[len(first) :]] == [(2, True)] * 2


def test_the_table_sets_auto_beside_the_best_peer(benchmarks, capsys):
    estimators = benchmarks("estimators")

    def line(method, seed, relative, **more):
        known = {"game": "g, n=10", "family": "f", "n": 10, "pairs": 25, "budget": 512, "seconds": 2.0}
        return {**known, "method": method, "seed": seed, "relative": relative, "centred": relative, **more}

    held = [line("auto", s, e, held=0.9) for s, e in ((0, 0.1), (1, 0.3))]
    held += [line("shared", s, 0.1) for s in (0, 1)]
    held += [line("one", 0, 0.3), line("one", 1, 0.5), line("two", 0, 0.5), line("two", 1, 0.5)]
    held += [line("lucky", 0, 0.001), {**line("three", 0, 0), "failed": "TypeError: no"}]
    del held[-1]["relative"]
    (cell,) = estimators.cells(held)
    assert cell.best(cell.peers, "relative") == ("one", pytest.approx(0.4)), "of both seeds"
    assert cell.to_peer == pytest.approx(0.5)
    assert cell.to_own == pytest.approx(2)
    estimators.report(held)
    out = capsys.readouterr().out
    assert re.search(r"g, n=10 +512 +0.2 +0.1 +– +– +0.4 +0.5 +0.2 +0.4 +2 +2 +90%  one", out), out
    assert "at most 1.0 times the best peer in 1 of 1 cells" in out
    assert "at most 1.1 times the best of our other methods in 0 of 1 cells" in out
    assert "2.00  g, n=10 at 512, shared" in out
    assert "three: TypeError: no (1 runs)" in out


def test_a_peers_environment_that_cannot_be_is_said(sums, monkeypatch, benchmarks):
    peers = benchmarks("peers")
    monkeypatch.setattr(peers, "LEAST", (9, 0))
    monkeypatch.setenv("PATH", str(sums))
    monkeypatch.setenv("PYENV_ROOT", str(sums))
    with pytest.raises(peers.NoPeersError, match=r"no python3\.12 on the path"):
        peers.environment(sums / "env")
    monkeypatch.setattr(peers, "LEAST", (3, 0))
    monkeypatch.setattr(peers, "PINNED", ("no such package",))
    with pytest.raises(peers.NoPeersError, match="can't be made: ERROR"):
        peers.environment(sums / "env")
    assert not (sums / "env" / "pinned.txt").exists()


def test_estimators_prints_ours_where_peers_are_missing(sums):
    (sums / "file").write_text("in the way")
    options = ["--set", "demo", "--budgets", "512", "--seeds", "1", "--plot", sums / "plots"]
    out = run(
        "estimators.py", sums, *options, "--methods", "shared", "peers", "--peers", sums / "file" / "env"
    )
    assert "ours only: " in out
    assert re.search(r"sum, n=10 +512 +– +[\de.-]+ +– +– +– ", out), out
    assert (sums / "plots" / "sum.svg").read_text().startswith("<?xml")
    assert len((sums / "demo.jsonl").read_text().splitlines()) == 1
    again = run("estimators.py", sums, *options, "--methods", "shared", "--games", "sum")
    assert len((sums / "demo.jsonl").read_text().splitlines()) == 1
    assert again in out, "the same table, of what was kept"
