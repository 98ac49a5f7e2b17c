"""The benchmarks behind the documented figures run, on games small enough for a test."""

import re
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


@pytest.mark.slow
def test_estimators_compares_ours_with_shapiqs(games, tmp_path):
    pytest.importorskip("shapiq")
    options = ("--only", "trained", "--budgets", "120,200", "--plot", tmp_path / "p", "--contenders")
    chosen = ("paper", "shared", "surrogate", "SVARMIQ, paired", "KernelSHAPIQ", "PermutationSamplingSII")
    out = run("estimators.py", "--games", games, *options, *chosen)
    rows = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    for name in chosen:
        assert name in rows, out
    error = {name: float(rows[name].split("(")[-1].split(")")[0]) for name in ("paper", "surrogate")}
    assert error["surrogate"] < error["paper"]
    assert (tmp_path / "p" / "results.json").stat().st_size > 500
    assert (tmp_path / "p" / "trained.svg").read_text().startswith("<?xml")


def test_coverage_prints_a_row_per_method_and_effort(games):
    out = run("coverage.py", "--games", games, "--seeds", 4)
    rows = [line for line in out.splitlines() if "coalitions" in line]
    assert len(rows) == 6
    for row in rows:
        shares = [float(cell.split()[-1]) for cell in row.split("%")[:-1]]
        assert len(shares) == len(SCORES)
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


def test_estimators_are_judged_on_games_from_a_folder(tmp_path):
    table = np.random.default_rng(0).normal(size=1 << 10)
    np.savez(tmp_path / "open-00.npz", name="noise, n=10", family="noise", table=table)
    out = run(
        "judged.py", tmp_path, "--budgets", "512", "--methods", "auto", "shared", "--most-players", "10"
    )
    assert re.search(r"noise, n=10 +512  auto: [\d.]+ \d+% [\d.]+s  shared: [\d.]+ \d+% ", out), out
