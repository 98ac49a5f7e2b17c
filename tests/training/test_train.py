"""Training learns, is deterministic, goes on exactly after an interruption, and refuses what it can't use."""

import os
import shutil
import socket
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.forks import forked, run_forked
from support.readable import SETTINGS, make_project
from support.tiny import CLASSES, tiny_preset, write_tiny_features

from raymoe.errors import InputError, ParentError, RaymoeError, WorkspaceError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import load_checkpoint, read_info
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.contracts import EPOCHS, METRICS, PREDICTIONS
from raymoe.project.tables import metadata_of, read_table
from raymoe.project.workspace import Workspace
from raymoe.runtime import threads as threads_module
from raymoe.runtime.threads import Threads
from raymoe.training import epochs as epochs_module
from raymoe.training import train

EXPERTS = ["unique:text", "unique:image", "synergy", "redundancy"]


def weights_of(project: Project) -> dict[str, torch.Tensor]:
    return load_checkpoint(CHECKPOINT.of(project))[0].state_dict()


def tables_of(project: Project) -> dict:
    contracts = {"epochs": EPOCHS, "metrics": METRICS, "predictions": PREDICTIONS}
    return {
        n: read_table(project.workspace, f"{project.run}/{n}.parquet", c, "") for n, c in contracts.items()
    }


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_it_learns_and_writes_every_table(tmp_path, task):
    project = make_project(tmp_path, task, epochs=12, expert_task_weight=0.5)
    result = train(project, device="cpu")
    info = read_info(CHECKPOINT.of(project))
    assert result.ran
    assert result.fingerprint == info.fingerprint
    found = tables_of(project)

    epochs = found["epochs"].to_pydict()
    assert epochs["epoch"] == list(range(1, 13))
    assert epochs["train_loss"][-1] < epochs["train_loss"][0] / 2
    losses = [f"loss_{name}" for name in ("task", *EXPERTS, "expert_task")]
    validation = ["val_micro_f1", "val_macro_f1", "val_accuracy"]
    assert list(epochs) == ["epoch", "train_loss", *losses, *validation, *(f"weight_{e}" for e in EXPERTS)]
    assert sum(epochs[f"weight_{e}"][-1] for e in EXPERTS) == pytest.approx(1, abs=1e-5)
    interaction = sum(epochs[f"loss_{e}"][0] for e in EXPERTS) / 4
    total = epochs["loss_task"][0] + 0.5 * interaction + 0.5 * epochs["loss_expert_task"][0]
    assert epochs["train_loss"][0] == pytest.approx(total, rel=1e-5)
    assert info.epoch == int(np.argmax(epochs["val_micro_f1"])) + 1
    assert info.validation["micro_f1"] == max(epochs["val_micro_f1"])

    rows = found["metrics"].to_pylist()
    assert {(r["model"], r["split"]) for r in rows} == {
        (m, s) for m in ("fl-i2moe", *(f"expert:{e}" for e in EXPERTS)) for s in ("val", "test")
    }
    of = {(r["model"], r["split"], r["metric"]): r["value"] for r in rows}
    assert of["fl-i2moe", "val", "micro_f1"] == pytest.approx(info.validation["micro_f1"])
    assert of["fl-i2moe", "test", "micro_f1"] > 0.8

    predictions = found["predictions"]
    store = FeatureStore.open(FEATURES.of(project))
    assert predictions.num_rows == len(store.indices("val")) + len(store.indices("test"))
    assert metadata_of(predictions.schema)["experts"] == EXPERTS
    first = predictions.slice(0, 1).to_pylist()[0]
    mixed = np.array(first["expert_weights"]) @ np.array(first["expert_logits"]).reshape(4, 3)
    np.testing.assert_allclose(mixed, first["logits"], atol=1e-5)
    assert first["labels"] == store.labels[store.index_of(first["sample_id"])]
    assert not project.workspace.exists(f"{project.run}/resume.pt")


@pytest.mark.parametrize("kind", ["dense", "i2moe"])
def test_the_models_of_the_comparison_learn_too(tmp_path, kind):
    project = make_project(tmp_path, epochs=20)
    model = project.preset.model.model_copy(update={"kind": kind, "num_patches": 2, "dropout": 0.1})
    project = replace(project, preset=project.preset.model_copy(update={"model": model}))
    train(project, device="cpu")
    loaded, info = load_checkpoint(CHECKPOINT.of(project))
    assert (loaded.kind, info.kind) == (kind, kind)
    assert project.run.endswith(f"runs/{kind}-seed0")
    found = tables_of(project)
    assert info.experts == (["dense"] if kind == "dense" else EXPERTS)
    of = {(r["model"], r["split"], r["metric"]): r["value"] for r in found["metrics"].to_pylist()}
    # a token of a class stands out in the mean of four to eight less than by itself
    assert of[kind, "test", "micro_f1"] > (0.8 if kind == "dense" else 0.6)
    by_class = [of[kind, "test", f"f1:{name}"] for name in CLASSES]
    assert np.mean(by_class) == pytest.approx(of[kind, "test", "macro_f1"])
    assert any(m.startswith("expert:") for m, _, _ in of) == (kind == "i2moe")


def test_a_batch_in_pieces_has_the_gradients_of_the_whole(tmp_path):
    """The dense model draws no noise, and without dropout nothing else is random."""
    whole = make_project(tmp_path / "a", epochs=2, clip_norm=0.5)
    model = whole.preset.model.model_copy(update={"kind": "dense", "dropout": 0.0})
    whole = replace(whole, preset=whole.preset.model_copy(update={"model": model}))
    settings = whole.preset.train.model_copy(update={"micro_batch_size": 5})
    pieces = make_project(tmp_path / "b")
    pieces = replace(pieces, preset=whole.preset.model_copy(update={"train": settings}))
    train(whole, device="cpu")
    train(pieces, device="cpu")
    a, b = weights_of(whole), weights_of(pieces)
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-4
    losses = [tables_of(p)["epochs"]["train_loss"].to_numpy() for p in (whole, pieces)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_mixed_precision_learns(tmp_path):
    project = make_project(tmp_path, epochs=12, precision="bfloat16")
    train(project, device="cpu")
    of = {(r["split"], r["metric"]): r["value"] for r in tables_of(project)["metrics"].to_pylist()[:9]}
    assert of["val", "micro_f1"] > 0.7  # how bfloat16 rounds depends on the processor
    assert weights_of(project)["experts.head.weight_EIO"].dtype == torch.float32


def test_same_seed_same_bits_and_another_seed_other_ones(tmp_path):
    projects = [make_project(tmp_path / name) for name in "ab"]
    results = [train(p, device="cpu") for p in projects]
    assert results[0].fingerprint == results[1].fingerprint
    a, b = (tables_of(p) for p in projects)
    assert all(a[name].equals(b[name]) for name in a)
    other = make_project(tmp_path / "c", seed=1)
    assert train(other, device="cpu").fingerprint != results[0].fingerprint


def test_trying_numbers_of_threads_leaves_no_trace(tmp_path, monkeypatch):
    """Steps whose result is thrown away change neither gradients nor random numbers."""
    tried: list[int] = []
    monkeypatch.setattr(threads_module, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(threads_module, "SLOW", 0.0)  # every step is slow
    monkeypatch.setattr(threads_module, "CLEAR", 1e9)  # and no other number better
    monkeypatch.setattr(threads_module, "_candidates", lambda: [torch.get_num_threads(), 1000])
    monkeypatch.setattr(Threads, "_set", staticmethod(tried.append))
    found = {}
    for settled in (1e9, 0.0):
        tried.clear()
        monkeypatch.setattr(threads_module, "SETTLED", settled)
        project = make_project(tmp_path / str(settled))
        found[settled] = train(project, device="cpu").fingerprint
        assert (1000 in tried) == (settled == 0.0)
        assert tried[-1] == torch.get_num_threads()
    assert len(tried) > 10
    assert found[0.0] == found[1e9]


@pytest.mark.parametrize("stop_at", [3, 11, 16])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, monkeypatch, stop_at):
    """Killed at a step in the first, in a later and in the last epoch (of four steps each)."""
    whole = make_project(tmp_path / "whole")
    train(whole, device="cpu")

    project, steps = make_project(tmp_path / "cut"), 0

    def interrupted(*arguments):
        nonlocal steps
        steps += 1
        if steps == stop_at:
            raise KeyboardInterrupt
        return objective(*arguments)

    objective = epochs_module.objective
    monkeypatch.setattr(epochs_module, "objective", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(project, device="cpu")
    assert not project.workspace.exists(f"{project.run}/predictions.parquet")
    steps = 100
    torch.manual_seed(12345)  # whatever the process did in between has no say
    assert train(project, device="cpu").fingerprint == read_info(CHECKPOINT.of(whole)).fingerprint
    assert steps - 100 == 16 - (stop_at - 1) // 4 * 4, "finished epochs are not trained again"
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(project)[name]), name
    a, b = tables_of(whole), tables_of(project)
    assert all(a[name].equals(b[name]) for name in a)


@pytest.mark.parametrize("change", ["other settings", "damaged"])
def test_what_an_interrupted_training_left_is_used_only_if_it_fits(tmp_path, change, monkeypatch):
    project = make_project(tmp_path / "a")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[train.__module__], "_save_best", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(project, device="cpu")
    resume = f"{project.run}/resume.pt"
    assert project.workspace.exists(resume)
    lr = SETTINGS["lr"]
    if change == "damaged":
        project.workspace.write(resume, project.workspace.read(resume)[:200])
    else:
        lr = 1e-3
    changed = make_project(tmp_path / "a", lr=lr)
    fresh = make_project(tmp_path / "b", lr=lr)
    assert train(changed, device="cpu").fingerprint == train(fresh, device="cpu").fingerprint


def test_a_complete_run_is_not_trained_again(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    first = train(project, device="cpu")
    monkeypatch.setattr(FeatureStore, "batch", lambda *_: pytest.fail("features were read"))
    again = train(project, device="cpu")
    assert (again.ran, again.fingerprint, again.path) == (False, first.fingerprint, first.path)


def test_a_run_of_other_settings_or_features_is_named_and_can_be_replaced(tmp_path):
    train(make_project(tmp_path, epochs=2), device="cpu")
    other = make_project(tmp_path, epochs=1)
    with pytest.raises(ParentError, match=r"train\.epochs: 2 there, 1 now"):
        train(other, device="cpu")
    assert train(other, device="cpu", overwrite=True).ran
    write_tiny_features(other)
    with pytest.raises(ParentError, match="the features it was made from"):
        train(other, device="cpu")


def test_a_checkpoint_that_was_exchanged_is_noticed(tmp_path):
    project = make_project(tmp_path, epochs=1)
    train(project, device="cpu")
    other = make_project(tmp_path / "other", epochs=1, lr=1e-4)
    train(other, device="cpu")
    for name in ("model.safetensors", "config.json"):
        data = other.workspace.read(f"{other.run}/checkpoint/{name}")
        project.workspace.write(f"{project.run}/checkpoint/{name}", data)
    with pytest.raises(ParentError, match=r"predictions.parquet was made from checkpoint"):
        train(project, device="cpu")


def test_divergence_names_the_step_and_keeps_the_best_epoch(tmp_path, monkeypatch):
    project, steps = make_project(tmp_path), 0

    def diverges(*arguments):
        nonlocal steps
        steps += 1
        loss, parts = objective(*arguments)
        return loss * (float("nan") if steps == 10 else 1), parts

    objective = epochs_module.objective
    monkeypatch.setattr(epochs_module, "objective", diverges)
    with pytest.raises(RaymoeError, match="the loss became nan in epoch 3, step 2") as caught:
        train(project, device="cpu")
    assert "train.lr=0.0003" in caught.value.remedy
    assert load_checkpoint(CHECKPOINT.of(project))[1].epoch in (1, 2)
    assert not project.workspace.exists(f"{project.run}/predictions.parquet")


@pytest.mark.parametrize("epochs", [1, 2])
def test_divergence_in_the_last_step_of_an_epoch_is_no_result(tmp_path, epochs):
    """The loss is that before the step; what the step did shows in validation."""
    project = make_project(tmp_path, epochs=epochs, lr=1e30, batch_size=64)
    with pytest.raises(RaymoeError, match="on the validation split are no numbers after epoch 1") as caught:
        train(project, device="cpu")
    assert "train.lr=1e+29" in caught.value.remedy
    assert "is kept" not in caught.value.remedy
    assert not project.workspace.exists(f"{project.run}/checkpoint/config.json")


def test_predictions_take_no_more_at_once_than_training_is_told(tmp_path, monkeypatch):
    seen = []

    def watched(*arguments, batch_size, **options):
        seen.append(batch_size)
        return original(*arguments, batch_size=batch_size, **options)

    original = epochs_module.predict
    monkeypatch.setattr(epochs_module, "predict", watched)
    train(make_project(tmp_path / "all", epochs=1), device="cpu")
    train(make_project(tmp_path / "few", epochs=1, micro_batch_size=3), device="cpu")
    assert seen == [64, 3]


@pytest.mark.parametrize("missing", ["train", "val", "test"])
def test_a_split_without_samples_is_an_input_error(tmp_path, missing):
    names = [s for s in ("train", "val", "test") if s != missing]
    project = make_project(tmp_path, split_of=lambda i: names[i % 2])
    with pytest.raises(InputError, match=f"no sample in the split '{missing}'"):
        train(project, device="cpu")


def test_no_features_names_the_command(tmp_path):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    with pytest.raises(ParentError) as caught:
        train(project, device="cpu")
    assert "raymoe encode tiny" in caught.value.remedy


def test_patience_stops_early(tmp_path):
    project = make_project(tmp_path, epochs=40, lr=1e-12, patience=2)
    train(project, device="cpu")
    assert tables_of(project)["epochs"].num_rows == 3  # the first is the best, then two that are no better


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(make_project(tmp_path, epochs=1), device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_a_disk_that_fills_up_keeps_the_finished_epochs(mounted):
    """One message; with space again it goes on after the last whole epoch and ends with the same weights."""
    project = make_project(mounted)
    train(project, device="cpu")
    whole = weights_of(project)
    filler = mounted / "filler"

    def fill(epoch: int, best: float) -> None:
        if epoch == 2:
            filler.write_bytes(bytes(shutil.disk_usage(mounted).free))

    with pytest.raises(WorkspaceError, match="the workspace is full") as caught:
        train(project, device="cpu", overwrite=True, on_epoch=fill)
    assert "run the same command again" in caught.value.remedy
    filler.unlink()
    seen = []
    train(project, device="cpu", on_epoch=lambda epoch, best: seen.append(epoch))
    assert seen == [1, 2, 3, 4]
    assert tables_of(project)["epochs"].num_rows == 4
    assert all(value.equal(whole[name]) for name, value in weights_of(project).items())


def train_until(project: Project, go: str) -> None:
    """A training that waits after each epoch until there is such a file."""

    def wait(epoch: int, best: float) -> None:
        while not os.path.exists(go):
            time.sleep(0.02)

    train(project, device="cpu", on_epoch=wait)


def train_beside(project: Project) -> None:
    """What the second command says."""
    try:
        train(project, device="cpu")
    except RaymoeError as error:
        print(error)


def test_of_two_processes_that_would_train_the_same_run_one_does(tmp_path):
    """The second says who is at it and since when; killed, the first one's lock keeps nobody out."""
    project, go = make_project(tmp_path, epochs=2), tmp_path / "go"
    lock = f"{project.run}/train.lock"
    with forked(tmp_path / "log", train_until, project, str(go)) as first:
        resume = f"{project.run}/resume.pt"
        while not project.workspace.exists(resume):
            assert first.is_alive(), (tmp_path / "log").read_text()
            time.sleep(0.02)
        said = run_forked(train_beside, project).said
        assert "another process is at work on this training: " in said
        assert f"process {first.pid} on {socket.gethostname()}, since 20" in said
        assert not project.workspace.exists(f"{project.run}/predictions.parquet")
        first.kill()
        first.join()
    assert project.workspace.exists(lock), "nobody took it away"
    assert train(project, device="cpu").ran, "it goes on after the first epoch"
    assert not project.workspace.exists(lock)
    assert tables_of(project)["epochs"].num_rows == 2
