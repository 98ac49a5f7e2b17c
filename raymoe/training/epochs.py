"""The optimisation loop, one epoch at a time, so that it can stop after any epoch and go on exactly.

Knows nothing of files. Everything random in an epoch (order, dropout, noise) is drawn from generators seeded
by (seed, epoch): a state saved after an epoch is all that the next one depends on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raymoe.config import TrainConfig
from raymoe.errors import RaymoeError
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.base import FusionModel
from raymoe.runtime.threads import Threads
from raymoe.task import Task
from raymoe.training.objective import objective
from raymoe.training.predict import predict

EVAL_BATCH = 64  # without gradients a larger batch fits
# glibc gives larger blocks back to the system, and the next step faults them in again.
REUSED_BYTES = 32 << 20


class DivergedError(RaymoeError):
    """The loss is not a number any more."""


@dataclass
class State:
    """Training after some epochs: plain values and tensors, so that ``torch.save`` takes it.

    Attributes:
        rows: one per finished epoch, the columns of the epochs table.
        model, optimizer: their state; between epochs, since it shares their memory.
        scaler: of gradients, where the precision is float16.
        best: the model's state after the best epoch.
        best_epoch: which that was, counted from 1; 0 before the first.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    model: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0

    @property
    def best_scores(self) -> dict[str, float]:
        """Validation scores of the best epoch."""
        row = self.rows[self.best_epoch - 1]
        return {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}

    def is_finished(self, config: TrainConfig) -> bool:
        """Whether all epochs are done, or the last ``patience`` brought nothing better."""
        done = len(self.rows)
        waited = config.patience is not None and done - self.best_epoch >= config.patience
        return done >= config.epochs or (done > 0 and waited)


def run_epochs(
    model: FusionModel,
    store: FeatureStore,
    config: TrainConfig,
    state: State,
    *,
    device: torch.device | str,
    on_step: Callable[[str], None] = lambda note: None,
    threads: Threads | None = None,
) -> Iterator[int]:
    """Train on, updating ``state`` and yielding the epoch's number after every epoch.

    Args:
        model: on ``device``; loaded from ``state`` unless that is a fresh one.
        store: has a ``train`` and a ``val`` split.
        config: how to train.
        state: where to begin; changed in place.
        device: where to compute.
        on_step: told the running loss after every step.
        threads: chooses how many there are of a CPU's; by default nobody does.

    Raises:
        DivergedError: a loss, or an answer on the validation split, is NaN or infinite; the best epoch until
            then stays in ``state``.
    """
    scaler = torch.amp.GradScaler(str(device).partition(":")[0], enabled=config.precision == "float16")
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    if state.rows:
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        scaler.load_state_dict(state.scaler)
    train, val = store.indices("train"), store.indices("val")
    val_labels = [store.labels[i] for i in val]
    while not state.is_finished(config):
        epoch = len(state.rows) + 1
        losses = _train_epoch(model, optimizer, scaler, store, train, config, epoch, device, on_step, threads)
        answers = predict(model, store, val, batch_size=eval_batch(config), device=device)
        # The loss is that before the last step, so this is where the last step's damage shows.
        if not np.isfinite(answers.logits).all():
            raise DivergedError(
                f"the model's answers on the validation split are no numbers after epoch {epoch}",
                _slower(config),
            )
        row: dict[str, float] = {"epoch": epoch, **losses}
        found = store.task.scores(answers.logits, val_labels)
        row |= {f"val_{name}": value for name, value in found.items()}
        for name, weight in zip(model.expert_names, answers.expert_weights.mean(0), strict=True):
            row[f"weight_{name}"] = float(weight)
        state.rows.append(row)
        state.model, state.optimizer = model.state_dict(), optimizer.state_dict()
        state.scaler = scaler.state_dict()
        if state.best_epoch == 0 or found[config.selection] > state.best_scores[config.selection]:
            state.best_epoch = epoch
            state.best = {name: value.detach().clone() for name, value in state.model.items()}
        yield epoch


def _train_epoch(
    model: FusionModel,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    store: FeatureStore,
    indices: np.ndarray,
    config: TrainConfig,
    epoch: int,
    device: torch.device | str,
    on_step: Callable[[str], None],
    threads: Threads | None,
) -> dict[str, float]:
    """One pass over the training split; returns the mean losses over its samples."""
    sequence = np.random.SeedSequence([config.seed, epoch])
    order = np.random.default_rng(sequence).permutation(indices)
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    model.train()
    totals: dict[str, float] = {}
    done = 0
    for step, batch in enumerate(store.batches(order, config.batch_size, device, **model.reads), 1):
        optimizer.zero_grad(set_to_none=True)
        work = partial(accumulate, model, batch, store.task, config, scaler)
        with threads.step(partial(_thrown_away, work, model)) if threads else nullcontext():
            values = work()
        if not math.isfinite(values["train_loss"]):
            raise DivergedError(
                f"the loss became {values['train_loss']} in epoch {epoch}, step {step}",
                _slower(config),
            )
        if config.clip_norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + value * len(batch.sample_ids)
        done += len(batch.sample_ids)
        on_step(f"loss {totals['train_loss'] / done:.4f}")
    return {name: total / len(order) for name, total in totals.items()}


def _thrown_away(work: Callable[[], object], model: FusionModel) -> None:
    """A step that leaves no trace: no gradients, and random numbers as if it had not been (a CPU's)."""
    with torch.random.fork_rng(devices=[]):
        work()
    model.zero_grad(set_to_none=True)


def eval_batch(config: TrainConfig) -> int:
    """Samples at once without gradients: as many as fit anywhere, or as few as training is told to take."""
    return min(EVAL_BATCH, config.micro_batch_size or EVAL_BATCH)


def _slower(config: TrainConfig) -> str:
    return f"Lower the learning rate, e.g. --set train.lr={config.lr / 10:g}."


def accumulate(
    model: FusionModel, batch: FeatureBatch, task: Task, config: TrainConfig, scaler: torch.amp.GradScaler
) -> dict[str, float]:
    """Add a batch's gradients to the parameters', piece by piece; returns the mean losses.

    Every loss is a mean over samples, so pieces weighted by their size sum to the whole batch's.

    Args:
        model: in training mode, on the batch's device.
        batch: any number of samples.
        task: what its labels mean.
        config: how to train.
        scaler: of gradients; does nothing unless the precision is float16.
    """
    dtype, device = getattr(torch, config.precision), batch.labels.device
    values: dict[str, float] = {}
    for piece in batch.split(config.micro_batch_size or _fitting(model, batch)):
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output, passes = model.forward_passes(*model.inputs(piece))
        loss, parts = objective(output, passes, piece.labels, task, config)
        share = len(piece.labels) / len(batch.labels)
        scaler.scale(loss * share).backward()
        for name, value in _columns(loss, parts, model.expert_names).items():
            values[name] = values.get(name, 0.0) + share * value
    return values


def _fitting(model: FusionModel, batch: FeatureBatch) -> int:
    """Samples at once: all on a GPU; on a CPU so many that the largest tensor's memory is used again."""
    if batch.labels.device.type != "cpu":
        return len(batch.labels)
    passes = 1 + len(model.names) * (len(model.expert_names) > 1)
    _, valid = model.inputs(batch)
    tokens = sum(mask_BT.shape[1] for mask_BT in valid.values())
    width = model.config.hidden_dim * model.config.ffn_ratio
    return max(1, REUSED_BYTES // (4 * len(model.expert_names) * passes * tokens * width))


def _columns(loss: Tensor, parts: dict[str, Tensor], experts: list[str]) -> dict[str, float]:
    """The losses by column name; one transfer from the device for all of them."""
    names, tensors = ["train_loss", "loss_task"], [loss[None], parts["task"][None]]
    if "interaction" in parts:
        names += [f"loss_{name}" for name in experts]
        tensors.append(parts["interaction"])
    if "expert_task" in parts:
        names.append("loss_expert_task")
        tensors.append(parts["expert_task"][None])
    return dict(zip(names, torch.cat(tensors).detach().tolist(), strict=True))
