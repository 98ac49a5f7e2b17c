"""A sweep trains what plain training would, chooses on validation, and ends the same however it was cut."""

import itertools
import json
import re
import shutil
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.forks import forked
from support.processes import ray_actors
from support.readable import make_project
from support.tiny import CLASSES, tiny_preset, write_tiny_features
from typer.testing import CliRunner

from raymoe.cli.app import app
from raymoe.config import SweepConfig, grid_setting, load_preset
from raymoe.errors import InputError, ParentError, RaymoeError, WorkspaceError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.pipeline import Stage
from raymoe.project import Project, StageResult, artifacts
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.chosen import read_chosen, with_chosen
from raymoe.project.contracts import METRICS, SWEEP
from raymoe.project.tables import read_table
from raymoe.project.workspace import Workspace
from raymoe.training import sweep as sweep_module
from raymoe.training import train
from raymoe.training.live import LiveTable
from raymoe.training.seed_statistics import spread
from raymoe.training.sweep import sweep, trial_resources
from raymoe.training.trials import trials_of, variant_of

TRAIN = {"epochs": 3, "batch_size": 1, "lr": 3e-3, "selection": "micro_f1"}
GRID = {"seeds": [0, 1], "temperatures": [1, 4]}


def swept(folder, train=(), **fields) -> Project:
    """A project with random features, two samples to train on, and a sweep."""
    preset = tiny_preset(train={**TRAIN, **dict(train)}, sweep={**GRID, **fields})
    project = Project(preset, Workspace(folder), "tiny")
    if not artifacts.FEATURES.of(project).exists():
        write_tiny_features(project)
    return project


def table_of(project: Project):
    return read_table(project.workspace, f"{project.sweep}.parquet", SWEEP, "").to_pandas()


def bytes_of(project: Project) -> tuple[bytes, bytes]:
    """What a sweep writes."""
    return tuple(project.workspace.read(f"{project.sweep}.{ending}") for ending in ("parquet", "json"))


@contextmanager
def scheduled_inline():
    """Trials run in this process, one after another, and report to the observer as Tune would have them."""

    def schedule(project, trials, features, device, resources, most):
        observer = sweep_module.Observer(trials, features, LiveTable(trials, "micro_f1"))
        for i in range(len(trials)):
            trial = SimpleNamespace(config={"trial": i}, last_result={})

            def report(result, trial=trial):
                trial.last_result = result
                observer.on_trial_result(0, [], trial, result)

            patch.setattr(sweep_module.tune, "report", report)
            observer.on_trial_start(0, [], trial)
            sweep_module.run_trial(trial.config, trials, features, "cpu")
            observer.on_trial_complete(0, [], trial)
        return observer.outcomes

    node = {"Resources": {"CPU": 1}, "Alive": True}
    cluster = nullcontext(SimpleNamespace(cluster_resources=lambda: {"CPU": 1}, nodes=lambda: [node]))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_module, "connected", lambda address: cluster)
        patch.setattr(sweep_module, "_schedule", schedule)
        patch.setattr(sweep_module, "console", Console(file=StringIO()))
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def inline():
    """Without Ray for the whole test."""
    with scheduled_inline():
        yield


# What is trained


def test_trials_are_seeds_times_configurations_with_a_folder_each(tmp_path):
    project = swept(tmp_path, grid={"train.lr": [1e-3, 1e-4]})
    trials = trials_of(project)
    assert [t.name for t in trials] == [
        f"fl-i2moe-temperature_rw={temperature}-lr={lr}-seed{seed}"
        for temperature, lr, seed in itertools.product((1, 4), ("0.001", "0.0001"), (0, 1))
    ]
    assert trials[5].fields == {"model.temperature_rw": 4.0, "train.lr": 1e-3}
    preset = trials[5].project.preset
    assert (preset.model.temperature_rw, preset.train.lr, preset.train.seed) == (4.0, 1e-3, 1)
    assert preset.model.hidden_dim == project.preset.model.hidden_dim


def test_a_model_without_experts_is_not_trained_once_per_temperature(tmp_path):
    project = swept(tmp_path, grid={"model.kind": ["fl-i2moe", "dense"], "model.dropout": [0.1, 0.2]})
    names = [t.name for t in trials_of(project)]
    assert [n for n in names if n.startswith("dense")] == [
        f"dense-dropout={dropout}-seed{seed}" for dropout in (0.1, 0.2) for seed in (0, 1)
    ]
    assert len(names) == 4 + 8
    assert names == sorted(names, key=lambda n: n.startswith("fl")), "kind by kind"


values = st.one_of(st.floats(1e-9, 1e9), st.integers(-5, 1000), st.none(), st.booleans())


@given(st.lists(values, min_size=2, max_size=2), st.sampled_from(["model.dropout", "train.patience"]))
def test_a_folder_says_its_fields_exactly_and_in_safe_characters(pair, field):
    a, b = (variant_of({field: value, "model.num_heads": 2}) for value in pair)
    assert (a == b) == (pair[0] == pair[1]) or isinstance(pair[0], bool) != isinstance(pair[1], bool)
    assert re.fullmatch(r"(-[a-z_]+=[A-Za-z0-9._+-]+)+", a)
    assert a == variant_of({"model.num_heads": 2, field: pair[0]}), "whatever the order"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 300))
def test_a_random_sweep_draws_distinct_configurations_of_the_grid(sizes, count):
    fields = ["model.temperature_rw", "model.dropout", "train.lr", "train.epochs"]
    grid = {
        field: [round(0.1 * (i + 1), 1) for i in range(n)] for field, n in zip(fields, sizes, strict=False)
    }
    whole = SweepConfig(grid=grid).configurations()
    drawn = SweepConfig(grid=grid, random=count).configurations()
    assert whole == [dict(zip(grid, c, strict=True)) for c in itertools.product(*grid.values())]
    assert len(drawn) == min(count, len(whole))
    positions = [whole.index(configuration) for configuration in drawn]
    assert positions == sorted(set(positions))
    assert drawn == SweepConfig(grid=grid, random=count).configurations()


def test_the_fields_of_a_file_and_of_the_command_line_join(tmp_path):
    file = tmp_path / "own.toml"
    preset = tiny_preset().model_dump(exclude_none=True, include={"data"})
    file.write_text(
        "[sweep]\nseeds = [5]\n[sweep.grid]\nmodel.dropout = [0.1]\n[data]\n"
        + "\n".join(f"{k} = {json.dumps(v)}" for k, v in preset["data"].items() if k in ("source", "task"))
        + '\nclasses = ["a", "b"]\n'
        + "".join(
            f'[[data.modalities]]\nname = "{n}"\nkind = "text"\ncolumns = ["c"]\n'
            'encoder = {source = "hf:x"}\n'
            for n in ("x", "y")
        )
    )
    settings = [grid_setting("train.lr=1e-3, 1e-4"), grid_setting("model.kind=dense,fl-i2moe")]
    config = load_preset(str(file), settings).sweep
    assert config.seeds == (5,)
    assert config.grid == {
        "model.dropout": (0.1,),
        "train.lr": (1e-3, 1e-4),
        "model.kind": ("dense", "fl-i2moe"),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sweep.grid.model.dropuot=[0.1]"], r"'model.dropuot' can't be swept"),
        (["sweep.grid.probe.rho=[0.1]"], r"'probe.rho' can't be swept"),
        (["sweep.grid.train.seed=[0]"], r"'train.seed' can't be swept"),
        (["sweep.grid.model.dropout=[]"], r"model.dropout has no values"),
        (
            ["sweep.grid.model.dropout=[0.1,1.5]"],
            r"model.dropout=1.5 is not possible: dropout: .* less than 1",
        ),
        (
            ["sweep.grid.model.num_heads=[2,3]"],
            r"model.num_heads=3 is not possible: .* multiple of num_heads",
        ),
        (["sweep.grid.model.dropout=[0.1,0.1]"], r"model.dropout has 0.1 twice"),
        (["sweep.temperatures=[2,0]"], r"temperature_rw=0.0 is not possible"),
        (["sweep.seeds=[]"], r"sweep.seeds"),
        (["sweep.seeds=[-1]"], r"sweep.seeds"),
        (["sweep.random=0"], r"sweep.random"),
        ([f"sweep.grid.train.lr={[i + 1 for i in range(9999)]}"], r"29,997 configurations"),
    ],
)
def test_a_sweep_that_is_not_possible_is_refused_before_anything_starts(settings, message):
    with pytest.raises(InputError, match=message):
        load_preset("demo", settings)


@pytest.mark.parametrize("option", ["model.dropout", "dropout=0.1", "=1"])
def test_a_grid_option_of_another_form_is_named(option):
    with pytest.raises(InputError, match="--grid"):
        grid_setting(option)


# What comes out


@pytest.mark.slow
def test_a_sweep_trains_what_training_alone_would_and_chooses_on_validation(tmp_path, ray_session):
    project = swept(tmp_path / "a")
    result = sweep(project)
    assert (result.ran, result.skipped) == (True, ())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = swept(tmp_path / "b")
    expected = {t.name: train(t.project, device="cpu").fingerprint for t in trials_of(alone)}
    torch.set_num_threads(threads)
    table = table_of(project)
    assert (
        dict(zip(table["checkpoint"].str.split("/").str[-2], table["fingerprint"], strict=True)) == expected
    )

    assert len(table) == 4 * 2 * (3 + len(CLASSES))  # three scores, and F1 of each class
    assert (table["state"] == "finished").all()
    for trial in trials_of(alone):
        metrics = read_table(alone.workspace, f"{trial.project.run}/metrics.parquet", METRICS, "").to_pandas()
        metrics = metrics.query("model == 'fl-i2moe'")
        temperature = trial.fields["model.temperature_rw"]
        rows = table[(table["model.temperature_rw"] == temperature) & (table["seed"] == trial.seed)]
        assert rows[["split", "metric", "value"]].to_dict("list") == metrics[
            ["split", "metric", "value"]
        ].to_dict("list")
        info = read_info(CHECKPOINT.of(trial.project))
        assert set(rows["epoch"]) == {info.epoch}

    scores = table.query("split == 'val' and metric == 'micro_f1'").groupby("model.temperature_rw")["value"]
    best = scores.mean().idxmax()
    chosen = read_chosen(project)
    assert chosen["chosen"] == {"model.temperature_rw": best}
    assert chosen["validation_mean"] == pytest.approx(scores.mean()[best])
    assert chosen["validation_std"] == pytest.approx(scores.std()[best])
    assert chosen["seeds"] == [0, 1]
    for folder in chosen["checkpoints"]:
        assert read_info(CHECKPOINT.at(project.workspace, folder, "")).model["temperature_rw"] == best


def test_only_what_is_missing_is_trained(tmp_path, inline):
    project = swept(tmp_path)
    result = sweep(project)
    before, table = bytes_of(project), table_of(project)
    again = sweep(project)
    assert (again.ran, again.fingerprint) == (False, result.fingerprint)
    assert bytes_of(project) == before

    files = [Path(project.workspace.path(f"{t.project.run}/metrics.parquet")) for t in trials_of(project)]
    kept = [file.stat().st_mtime_ns for file in files]
    project.workspace.remove(trials_of(project)[1].project.run)
    assert sweep(project).ran
    assert bytes_of(project) == before
    assert [file.stat().st_mtime_ns == then for file, then in zip(files, kept, strict=True)] == [
        True,
        False,
        True,
        True,
    ]

    more = swept(tmp_path, temperatures=[1, 4, 9])
    assert sweep(more).ran
    wider = table_of(more)
    assert wider[wider["model.temperature_rw"] < 9].reset_index(drop=True).equals(table)
    assert [file.stat().st_mtime_ns for file in files][2:] == kept[2:]


def test_a_trial_that_fails_is_listed_and_does_not_stop_the_others(tmp_path, inline):
    project = swept(tmp_path, temperatures=[2], grid={"train.lr": [1e30, 1e-3]})
    result = sweep(project)
    assert [s["sample_id"] for s in result.skipped] == [
        f"fl-i2moe-temperature_rw=2-lr=1e+30-seed{seed}" for seed in (0, 1)
    ]
    assert all("the loss became" in s["reason"] for s in result.skipped)
    table = table_of(project)
    assert set(table.query("state == 'failed'")["train.lr"]) == {1e30}
    assert table.query("state == 'failed'")["error"].str.contains("the loss became").all()
    assert table.query("state == 'failed'")["value"].isna().all()
    assert set(table.query("state == 'finished'")["seed"]) == {0, 1}
    assert read_chosen(project)["chosen"]["train.lr"] == 1e-3
    before = bytes_of(project)
    assert len(sweep(project).skipped) == 2, "it is tried again, and fails again"
    assert bytes_of(project) == before

    hopeless = swept(tmp_path, temperatures=[2], grid={"train.lr": [1e30]})
    with pytest.raises(RaymoeError, match=r"no trial of fl-i2moe finished; fl.*seed0: .*the loss became"):
        sweep(hopeless)
    assert set(table_of(hopeless)["state"]) == {"failed"}
    assert read_chosen(hopeless) is None


def test_each_kind_of_model_has_a_table_and_a_choice_of_its_own(tmp_path, inline):
    project = swept(tmp_path, grid={"model.kind": ["i2moe", "fl-i2moe", "dense"]})
    assert sweep(project).path.endswith("tiny/sweep-dense.parquet")
    for kind, trials in (("fl-i2moe", 4), ("i2moe", 4), ("dense", 2)):
        of_kind = replace(project, preset=project.preset.with_fields({"model.kind": kind}))
        table = table_of(of_kind)
        assert set(table["kind"]) == {kind}
        assert table["checkpoint"].nunique() == trials
        chosen = with_chosen(of_kind)
        assert project.workspace.exists(f"{chosen.run}/checkpoint/config.json")
        assert ("model.temperature_rw" in read_chosen(of_kind)["chosen"]) == (kind != "dense")


@pytest.mark.parametrize("mounted", [8], indirect=True)
def test_a_disk_that_fills_up_keeps_the_finished_trials(mounted, inline, monkeypatch):
    whole = swept(mounted / "ws")
    sweep(whole)
    expected, filler = bytes_of(whole), mounted / "filler"
    sweep(whole, overwrite=True)
    ends = []
    original = sweep_module.train

    def train_and_fill(project, **options):
        result = original(project, **options)
        ends.append(project)
        if len(ends) == 2:
            filler.write_bytes(bytes(shutil.disk_usage(mounted).free))
        return result

    monkeypatch.setattr(sweep_module, "train", train_and_fill)
    with pytest.raises(WorkspaceError, match="the workspace is full") as caught:
        sweep(whole, overwrite=True)
    assert "run the same command again" in caught.value.remedy
    assert len(ends) == 2
    filler.unlink()
    sweep(whole)
    assert bytes_of(whole) == expected
    assert len(ends) == len(trials_of(whole))


@pytest.mark.parametrize(
    ("nodes", "per_gpu", "share"),
    [
        ([(8, 1)], 1, {"cpu": 1, "gpu": 1}),
        ([(0, 0), (16, 4)], 4, {"cpu": 1, "gpu": 0.25}),
        ([(2, 1)], 4, {"cpu": 0.5, "gpu": 0.25}),  # few cores must not keep trials off the GPU
        ([(8, 1), (1, 1)], 2, {"cpu": 0.5, "gpu": 0.5}),
    ],
)
def test_trials_share_gpus_as_asked(nodes, per_gpu, share):
    resources = [{"CPU": float(cpus), "GPU": float(gpus)} for cpus, gpus in nodes]
    assert trial_resources(resources, "cuda", per_gpu, 9) == share


@pytest.mark.parametrize(
    ("cores", "trials", "most", "together"),
    [
        ([2], 9, None, 3),  # three rounds of three, not five of which the last is one
        ([2], 8, None, 2),
        ([2], 1, None, 2),
        ([2], 9, 2, 2),  # at most two, the user says
        ([2], 9, 1, 2),  # Tune is told that limit
        ([8], 9, None, 9),
        ([8], 20, None, 10),
        ([64], 9, None, 64),
        ([3, 3], 9, None, 6),  # nine would be four and four, and one more
        ([1, 1, 1, 1], 5, None, 4),  # no core takes two halves of a trial's share
        ([4, 4], 12, None, 12),
    ],
)
def test_trials_share_cores_so_that_none_is_idle_at_the_end(cores, trials, most, together):
    (cpu,) = trial_resources([{"CPU": float(c)} for c in cores], "cpu", 1, trials, most).values()
    assert cpu == pytest.approx(sum(cores) / together, abs=1e-4)
    assert sum(int(c / cpu) for c in cores) == together


def test_a_full_gpu_names_the_knobs(tmp_path, inline, monkeypatch):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sweep_module, "train", full)
    with pytest.raises(RaymoeError, match=r"GPU's memory is full: lower sweep\.trials_per_gpu") as caught:
        sweep(swept(tmp_path))
    assert "train.micro_batch_size" in caught.value.message


def test_configurations_with_fewer_finished_seeds_are_not_chosen(tmp_path, inline, monkeypatch):
    """However well the one seed that is left may do."""
    project = swept(tmp_path)
    sweep(project)
    other = 5.0 - read_chosen(project)["chosen"]["model.temperature_rw"]
    project.workspace.remove(
        next(t for t in trials_of(project) if t.fields["model.temperature_rw"] != other).project.run
    )
    broken = sweep_module.TrialOutcome("failed", error="for the test")
    monkeypatch.setattr(
        sweep_module, "_schedule", lambda project, trials, *_: {trial.name: broken for trial in trials}
    )
    assert len(sweep(project).skipped) == 1
    assert read_chosen(project)["chosen"]["model.temperature_rw"] == other


@pytest.mark.slow
def test_asha_stops_what_falls_behind_and_does_not_count_it(tmp_path, ray_session):
    base = make_project(tmp_path, epochs=5, lr=3e-3)

    def asha(on: bool) -> Project:
        config = SweepConfig(seeds=(0,), temperatures=(2,), grid={"train.lr": (1e-2, 1e-9, 1e-8)}, asha=on)
        return replace(base, preset=base.preset.model_copy(update={"sweep": config}))

    project = asha(True)
    result = sweep(project, num_actors=1)  # one after another: the good one first
    assert result.skipped == ()
    table = table_of(project)
    assert dict(zip(table["train.lr"], table["state"], strict=True)) == {
        1e-2: "finished",
        1e-9: "stopped",
        1e-8: "stopped",
    }
    stopped = table.query("state == 'stopped'")
    assert (stopped["epoch"] < 5).all()
    assert stopped["fingerprint"].isna().all()
    assert set(stopped["metric"]) == {"micro_f1"}
    assert read_chosen(project)["chosen"]["train.lr"] == 1e-2


def test_what_was_stopped_stays_so_until_a_sweep_without_asha(tmp_path, inline):
    project = swept(tmp_path, asha=True)
    trials = trials_of(project)
    features = FeatureStore.open(FEATURES.of(project)).fingerprint
    sweep_module._mark_stopped(trials[2], features, (0.1, 0.2))
    sweep(project)
    rows = table_of(project).query("state == 'stopped'")
    assert rows[["seed", "split", "metric", "value", "epoch"]].to_dict("records") == [
        {"seed": 0, "split": "val", "metric": "micro_f1", "value": 0.2, "epoch": 2}
    ]
    assert rows["fingerprint"].isna().all()
    assert read_chosen(project)["chosen"] == {"model.temperature_rw": 1.0}, "its configuration lacks a seed"
    before = bytes_of(project)
    assert not sweep(project).ran
    assert bytes_of(project) == before

    sweep(swept(tmp_path))
    assert set(table_of(project)["state"]) == {"finished"}
    sweep_module._mark_stopped(trials[2], features, (0.1, 0.2))
    other = swept(tmp_path / "other", asha=True, train={"lr": 1e-4})
    shutil.copytree(
        project.workspace.path(trials[2].project.run), other.workspace.path(trials[2].project.run)
    )
    other.workspace.remove(f"{trials[2].project.run}/predictions.parquet")
    sweep(other)
    assert set(table_of(other)["state"]) == {"finished"}, "it was stopped with other settings"


def test_a_run_of_other_settings_is_refused_before_anything_starts(tmp_path, inline, monkeypatch):
    short = swept(tmp_path, train={"epochs": 1}, temperatures=[1])
    sweep(short)
    whole = swept(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sweep_module, "_schedule", lambda *_: pytest.fail("something was trained"))
        with pytest.raises(ParentError, match=r"train\.epochs: 1 there, 3 now") as caught:
            sweep(whole)
    assert "raymoe sweep tiny" in caught.value.remedy
    assert sweep(whole, overwrite=True).ran
    fresh = swept(tmp_path / "fresh")
    sweep(fresh)
    assert bytes_of(whole) == bytes_of(fresh)


def test_no_features_names_the_command(tmp_path):
    with pytest.raises(ParentError) as caught:
        sweep(Project(tiny_preset(), Workspace(tmp_path), "tiny"))
    assert "raymoe encode tiny" in caught.value.remedy


# Kills


LONG = {"train": {"epochs": 30}, "seeds": [0]}


def sweep_elsewhere(root, address):
    sweep(swept(root, **LONG), device="cpu", address=address)


@pytest.mark.slow
def test_killed_at_a_random_moment_and_resumed_it_gives_the_same_bytes(tmp_path, ray_session):
    """The driver and its actors, some epochs after one was first kept."""
    whole = swept(tmp_path / "whole", **LONG)
    with scheduled_inline():
        sweep(whole)

    project = swept(tmp_path / "cut", **LONG)
    runs = [Path(project.workspace.path(t.project.run)) for t in trials_of(project)]
    address, log = ray_session.get_runtime_context().gcs_address, tmp_path / "log"
    seen, wanted = set(), np.random.default_rng().integers(1, 10)
    with forked(log, sweep_elsewhere, project.workspace.root, address) as driver:
        while len(seen) < wanted and driver.is_alive():
            seen |= {kept.stat().st_mtime_ns for run in runs for kept in run.glob("resume.pt")}
            time.sleep(0.005)
        assert driver.is_alive(), log.read_text()
        for process in [driver, *ray_actors("ImplicitFunc")]:
            process.kill()
    while ray_actors("ImplicitFunc"):
        time.sleep(0.05)
    unfinished = [not (run / "predictions.parquet").exists() for run in runs]
    assert any(unfinished)
    assert not project.workspace.exists(f"{project.sweep}.json")
    times = {run: (run / "metrics.parquet").stat().st_mtime_ns
             for run, missing in zip(runs, unfinished, strict=True) if not missing}  # fmt: skip

    sweep(project, device="cpu")
    assert bytes_of(project) == bytes_of(whole)
    assert all((run / "metrics.parquet").stat().st_mtime_ns == then for run, then in times.items())


@pytest.mark.slow
def test_a_killed_actor_goes_on_after_its_last_epoch(tmp_path, ray_session):
    only = LONG | {"temperatures": [1]}
    project = swept(tmp_path / "cut", **only)
    stop, kills = threading.Event(), []

    def kill_one() -> None:
        resume = [Path(project.workspace.path(t.project.run), "resume.pt") for t in trials_of(project)]
        while not stop.is_set() and not kills:
            found = ray_actors("ImplicitFunc")
            if found and any(file.exists() for file in resume):
                kills.append(found[0].pid)
                found[0].kill()
            time.sleep(0.05)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        result = sweep(project, device="cpu")
    finally:
        stop.set()
        killer.join()
    assert kills
    assert result.skipped == ()
    whole = swept(tmp_path / "whole", **only)
    with scheduled_inline():
        sweep(whole)
    assert bytes_of(project) == bytes_of(whole)


# What later stages and people see of it


@pytest.fixture
def commanded(monkeypatch):
    """Runs a command whose stages do nothing; returns the project that the last of them would begin with."""

    def invoke(*arguments) -> Project:
        seen: list[Project] = []

        def nothing(stage, project, options, overwrite):
            seen.append(project)
            return StageResult("", "", ran=False)

        monkeypatch.setattr(Stage, "run", nothing)
        monkeypatch.setattr(Stage, "foresee", lambda *_: None)  # there are no samples to look at
        result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return seen[-1]

    return invoke


def test_later_stages_find_what_was_chosen(tmp_path, commanded):
    def command(*arguments) -> Project:
        return commanded(*arguments, "--workspace", tmp_path)

    assert command("train", "demo").run == "demo/runs/fl-i2moe-seed0"
    chosen = {"chosen": {"model.temperature_rw": 4.0}, "variant": "-temperature_rw=4", "seeds": [0, 1]}
    Workspace(tmp_path).write("demo/sweep.json", json.dumps(chosen).encode())
    for stage in ("train", "attribute", "probe", "report"):
        project = command(stage, "demo", "--seed", 1)
        assert project.run == "demo/runs/fl-i2moe-temperature_rw=4-seed1"
        assert project.preset.model.temperature_rw == 4.0
        assert "temperature" not in project.command(stage), "what messages suggest finds it likewise"

    own = command("attribute", "demo", "--set", "model.temperature_rw=7")
    assert (own.run, own.preset.model.temperature_rw) == ("demo/runs/fl-i2moe-seed0", 7.0)
    assert command("train", "demo", "--set", "train.lr=1e-3").variant == "-temperature_rw=4"
    assert command("train", "demo", "--set", "model.kind=dense").run == "demo/runs/dense-seed0"
    for stage in ("sweep", "encode", "baselines"):
        assert command(stage, "demo").variant == ""


def test_the_options_of_the_command(tmp_path, commanded):
    arguments = ["--grid", "model.dropout=0.1,0.2", "--grid", "train.lr=1e-3", "--random", "2", "--asha"]
    project = commanded("sweep", "demo", "--workspace", tmp_path, *arguments)
    config = project.preset.sweep
    assert config.grid == {"model.dropout": (0.1, 0.2), "train.lr": (1e-3,)}
    assert (config.random, config.asha) == (2, True)
    assert len(config.configurations()) == 2
    assert "sweep.asha=true" in project.command("sweep")


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"chosen": {"model.nope": 1}, "variant": "-x", "seeds": []}']
)
def test_a_damaged_choice_is_named(tmp_path, content):
    project = swept(tmp_path)
    project.workspace.write("tiny/sweep.json", content)
    with pytest.raises(ParentError, match=r"sweep.json is not what a sweep writes") as caught:
        with_chosen(project)
    assert "raymoe sweep tiny" in caught.value.remedy


def test_the_live_table_shows_every_trial_and_its_state(tmp_path):
    live = LiveTable(trials_of(swept(tmp_path)), "micro_f1")
    live.update(live.trials[0], "running", 2, 0.75)
    live.update(live.trials[1], "failed")
    out = Console(file=StringIO(), width=100)
    out.print(live._table())
    lines = out.file.getvalue().splitlines()
    assert lines[1].split() == ["fl-i2moe-temperature_rw=1", "0", "2/3", "0.7500", "running"]
    assert lines[2].split() == ["fl-i2moe-temperature_rw=1", "1", "failed"]
    assert sum("waiting" in line for line in lines[:5]) == 2
    assert lines[-1].startswith("1 failed, 1 running, 2 waiting")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_spread_is_mean_and_sample_deviation_in_per_cent(values):
    text = spread(values)
    mean = sum(values) / len(values)
    found = [float(part) for part in text.split(" ± ")]
    assert found[0] == pytest.approx(100 * mean, abs=0.0051)
    if len(values) > 1:
        deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
        assert found[1] == pytest.approx(100 * deviation, abs=0.0051)
    else:
        assert len(found) == 1
