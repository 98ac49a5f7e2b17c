"""The stage that trains a model on a feature store and says how good it is."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from raymoe.errors import InputError
from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import CheckpointInfo, Shape, read_info, save_checkpoint
from raymoe.project import Project, StageResult, contracts
from raymoe.project.artifacts import CHECKPOINT, EPOCHS, FEATURES, METRICS, PREDICTIONS, Artifact
from raymoe.project.lock import RunLock
from raymoe.project.outputs import Output
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of
from raymoe.runtime.device import resolve_device
from raymoe.runtime.progress import console, track
from raymoe.runtime.threads import Threads
from raymoe.training.epochs import DivergedError, State, eval_batch, run_epochs
from raymoe.training.predict import Predictions, predict

EVALUATED = ("val", "test")


def train(
    project: Project,
    *,
    device: str | None = None,
    overwrite: bool = False,
    on_epoch: Callable[[int, float], None] = lambda epoch, best: None,
) -> StageResult:
    """Train one model with one seed and keep its best epoch by the validation score of the preset.

    Writes, in the run's folder, ``checkpoint/``, ``epochs.parquet``, ``metrics.parquet`` and, last,
    ``predictions.parquet``. A training that was interrupted goes on after its last whole epoch and ends with
    the same weights, bit for bit, as one that was not (on the same device, with as many threads). Only one at
    a time trains a run.

    Args:
        project: what to train on, and where.
        device: as torch names it; by default a GPU where there is one.
        overwrite: train again even if the run is there; also forgets an interrupted training.
        on_epoch: told the number of each finished epoch and the best validation score until then, after the
            epoch is safe on disk; first those of an interrupted training. If it raises, training stops there
            and can go on later.

    Raises:
        ParentError: no features, or a run made from other inputs and ``overwrite`` is off.
        InputError: a split has no samples.
        RaymoeError: the loss became NaN, and the best epoch until then stays as the checkpoint; or another
            process trains this run.
    """
    workspace, checkpoint = project.workspace, CHECKPOINT.of(project)
    store = FeatureStore.open(FEATURES.of(project))
    complete = None if overwrite else finished(project, store.fingerprint)
    if complete:
        return StageResult(checkpoint.path, complete, ran=False)

    for split in ("train", *EVALUATED):
        if split not in store.splits:
            raise InputError(
                f"{store.path} has no sample in the split {split!r}",
                "Training learns on train, selects the epoch on val and reports val and test. "
                f"Give samples of each, then: {project.command('prepare')} --overwrite",
            )
    device = resolve_device(device)
    workspace.check_writable()
    with RunLock(workspace, f"{project.run}/train.lock", "this training") as lock:
        complete = None if overwrite else finished(project, store.fingerprint)
        if complete:  # by whoever held the lock before
            return StageResult(checkpoint.path, complete, ran=False)
        fingerprint = _train_and_evaluate(project, store, lock, device, overwrite, on_epoch)
    return StageResult(checkpoint.path, fingerprint, ran=True)


def _train_and_evaluate(
    project: Project,
    store: FeatureStore,
    lock: RunLock,
    device: str,
    overwrite: bool,
    on_epoch: Callable[[int, float], None],
) -> str:
    """All that a training writes; returns the checkpoint's fingerprint."""
    config, checkpoint = project.preset.train, CHECKPOINT.of(project)
    PREDICTIONS.of(project).remove()  # it marks the run as finished
    info = CheckpointInfo(
        modalities=tuple(Shape(m.name, m.width, m.max_length) for m in store.modalities),
        classes=tuple(store.classes),
        task=store.task.name,
        model=project.preset.model.model_dump(),
        features=store.fingerprint,
        training=config.defining(),
        epoch=0,
    )
    # Only the device in use: forking the others' generators would open a context on each.
    with torch.random.fork_rng(devices=[] if device == "cpu" else [torch.device(device)]):
        torch.manual_seed(config.seed)
        model = info.build().to(device)
        state = _train(project, model, store, info, lock, device, overwrite, on_epoch)
        info = _save_best(checkpoint, model, state, info)

    predictions = {
        split: predict(model, store, store.indices(split), batch_size=eval_batch(config), device=device)
        for split in EVALUATED
    }
    outputs = {
        EPOCHS: _epochs_table(state),
        METRICS: _metrics_table(predictions, store, model),
        PREDICTIONS: _predictions_table(predictions, store),
    }
    extra = {
        "experts": model.expert_names,
        "classes": list(store.classes),
        "task": store.task.name,
        "checkpoint": info.fingerprint,
        "best_epoch": state.best_epoch,
    }
    for artifact, table in outputs.items():
        artifact.of(project).write(table, made_from(project, store.fingerprint, artifact), extra)
    project.workspace.remove(_resume_file(project))
    return info.fingerprint


def made_from(project: Project, features: str, artifact: Artifact) -> Provenance:
    """What a table of a run is made from: the settings, and the features of this fingerprint."""
    settings = {"model": project.preset.model.model_dump(), "train": project.preset.train.defining()}
    return artifact.of(project).made_from(settings, {"features": features})


def finished(project: Project, features: str, *, command: str | None = None) -> str | None:
    """Fingerprint of the checkpoint of a complete run of these inputs; None where there is none.

    Args:
        project: whose run.
        features: fingerprint of the feature store.
        command: what makes the run, for the error messages; by default ``raymoe train``.

    Raises:
        ParentError: a run is there but damaged, or was made from other inputs (named).
    """
    # All three tables: one that was deleted, as damaged ones have to be, is made again with the others.
    for artifact in (PREDICTIONS, METRICS, EPOCHS):
        made = made_from(project, features, artifact)
        if not artifact.of(project).is_complete(made, command=command):
            return None
    again = f"{command or project.command('train')} --overwrite"
    info = read_info(CHECKPOINT.of(project).made_with(again))
    predictions = PREDICTIONS.of(project).made_with(again)
    of_checkpoint = metadata_of(predictions.read().schema)["checkpoint"]
    predictions.refuse_other_parents({"checkpoint": of_checkpoint}, {"checkpoint": info.fingerprint})
    return info.fingerprint


def forget(project: Project) -> None:
    """Make a run unfinished, so that it is trained from the start."""
    PREDICTIONS.of(project).remove()
    project.workspace.remove(_resume_file(project))


def _train(
    project: Project,
    model: FusionModel,
    store: FeatureStore,
    info: CheckpointInfo,
    lock: RunLock,
    device: str,
    overwrite: bool,
    on_epoch: Callable[[int, float], None],
) -> State:
    """All epochs, from where an interrupted training of the same inputs stopped."""
    config, workspace = project.preset.train, project.workspace
    resume, tag = _resume_file(project), info.fingerprint
    if overwrite:
        workspace.remove(resume)
    state = _resume(project, tag, device)
    if state.rows:
        console.print(f"  going on after epoch {len(state.rows)} of {config.epochs}")
    for epoch, best in enumerate(
        np.maximum.accumulate([r[f"val_{config.selection}"] for r in state.rows]), 1
    ):
        on_epoch(epoch, float(best))
    steps = -(-len(store.indices("train")) // config.batch_size)
    with track(f"train, seed {config.seed}", config.epochs * steps) as progress:
        progress.advance(len(state.rows) * steps)
        note = ""

        def on_step(loss: str) -> None:
            progress.advance(1, f"{loss}{note}")

        threads = Threads(lambda change: console.print(f"  {change}")) if device == "cpu" else None
        try:
            for _ in run_epochs(model, store, config, state, device=device, on_step=on_step, threads=threads):
                best = state.best_scores[config.selection]
                note = f", best val {config.selection} {best:.3f} (epoch {state.best_epoch})"
                progress.advance(0, f"loss {state.rows[-1]['train_loss']:.4f}{note}")
                buffer = io.BytesIO()
                torch.save({"tag": tag, **vars(state)}, buffer)
                lock.check()
                workspace.write(resume, buffer.getvalue())
                on_epoch(len(state.rows), best)
        except DivergedError as error:
            if state.best_epoch:
                _save_best(CHECKPOINT.of(project), model, state, info)
                error.remedy += f" The best epoch until then, {state.best_epoch}, is kept as the checkpoint."
            raise
        finally:
            if threads:
                threads.close()
    return state


def _resume_file(project: Project) -> str:
    return f"{project.run}/resume.pt"


def _resume(project: Project, tag: str, device: str) -> State:
    """Where an interrupted training of the same inputs stopped, or a fresh state."""
    name = _resume_file(project)
    if not project.workspace.exists(name):
        return State()
    try:
        saved = torch.load(io.BytesIO(project.workspace.read(name)), map_location="cpu", weights_only=True)
        # Under another tag it was left by other settings or features: nothing to go on with.
        return State(**saved) if saved.pop("tag") == tag else State()
    except (RuntimeError, EOFError, LookupError, TypeError, AttributeError, pickle.UnpicklingError):
        console.print(f"  {project.workspace.path(name)} is damaged; training begins again")
        return State()


def _save_best(checkpoint: Output, model: FusionModel, state: State, info: CheckpointInfo) -> CheckpointInfo:
    """Put the best epoch's weights into the model and write the checkpoint."""
    model.load_state_dict(state.best)
    info = replace(info, epoch=state.best_epoch, validation=state.best_scores)
    return save_checkpoint(checkpoint, model, info)


def _epochs_table(state: State) -> pa.Table:
    columns = {name: [row[name] for row in state.rows] for name in state.rows[0]}
    table = pa.table(columns)
    return table.set_column(0, "epoch", table["epoch"].cast(pa.int32()))


def _metrics_table(predictions: dict[str, Predictions], store: FeatureStore, model: FusionModel) -> pa.Table:
    """The mixture, then each expert on its own: a row per split and metric, F1 of each class included."""
    rows = []
    alone = enumerate(model.expert_names) if len(model.expert_names) > 1 else ()
    for name, expert in ((model.kind, None), *((f"expert:{name}", e) for e, name in alone)):
        for split, answers in predictions.items():
            logits = answers.logits if expert is None else answers.expert_logits[:, expert]
            labels = [store.labels[i] for i in store.indices(split)]
            by_class = zip(store.classes, store.task.class_f1(logits, labels), strict=True)
            found = store.task.scores(logits, labels) | {f"f1:{c}": float(value) for c, value in by_class}
            for metric, value in found.items():
                rows.append({"model": name, "split": split, "metric": metric, "value": value})
    return pa.Table.from_pylist(rows, contracts.METRICS.schema)


def _predictions_table(predictions: dict[str, Predictions], store: FeatureStore) -> pa.Table:
    parts = []
    for split, answers in predictions.items():
        indices = store.indices(split)
        columns = {
            "sample_id": [store.sample_ids[i] for i in indices],
            "split": [split] * len(indices),
            "labels": [list(store.labels[i]) for i in indices],
            "logits": list(answers.logits),
            "expert_weights": list(answers.expert_weights),
            "expert_logits": list(answers.expert_logits.reshape(len(indices), -1)),
        }
        parts.append(pa.table(columns, contracts.PREDICTIONS.schema))
    return pa.concat_tables(parts)
