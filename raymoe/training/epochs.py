"""The optimisation loop, one epoch at a time, so that it can stop after any epoch and go on exactly.

Knows nothing of files. Everything random in an epoch (order, dropout, noise) is drawn from generators seeded
by (seed, epoch): a state saved after an epoch is all that the next one depends on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raymoe.config import TrainConfig
from raymoe.errors import RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel
from raymoe.training.metrics import scores
from raymoe.training.objective import objective
from raymoe.training.predict import predict

EVAL_BATCH = 64  # without gradients a larger batch fits


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
) -> Iterator[int]:
    """Train on, updating ``state`` and yielding the epoch's number after every epoch.

    Args:
        model: on ``device``; loaded from ``state`` unless that is a fresh one.
        store: has a ``train`` and a ``val`` split.
        config: how to train.
        state: where to begin; changed in place.
        device: where to compute.
        on_step: told the running loss after every step.

    Raises:
        DivergedError: a loss is NaN or infinite; the best epoch until then stays in ``state``.
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
        losses = _train_epoch(model, optimizer, scaler, store, train, config, epoch, device, on_step)
        answers = predict(model, store, val, batch_size=EVAL_BATCH, device=device)
        row: dict[str, float] = {"epoch": epoch, **losses}
        found = scores(answers.logits, val_labels, store.task)
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
) -> dict[str, float]:
    """One pass over the training split; returns the mean losses over its samples."""
    sequence = np.random.SeedSequence([config.seed, epoch])
    order = np.random.default_rng(sequence).permutation(indices)
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    model.train()
    totals: dict[str, float] = {}
    for step, start in enumerate(range(0, len(order), config.batch_size), 1):
        chosen = order[start : start + config.batch_size]
        optimizer.zero_grad(set_to_none=True)
        values = _gradients(model, scaler, store, chosen, config, device)
        if not math.isfinite(values["train_loss"]):
            raise DivergedError(
                f"the loss became {values['train_loss']} in epoch {epoch}, step {step}",
                f"Lower the learning rate, e.g. --set train.lr={config.lr / 10:g}.",
            )
        if config.clip_norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + value * len(chosen)
        on_step(f"loss {totals['train_loss'] / (start + len(chosen)):.4f}")
    return {name: total / len(order) for name, total in totals.items()}


def _gradients(
    model: FusionModel,
    scaler: torch.amp.GradScaler,
    store: FeatureStore,
    chosen: np.ndarray,
    config: TrainConfig,
    device: torch.device | str,
) -> dict[str, float]:
    """Add a batch's gradients to the parameters', in pieces that fit the device; returns the mean losses.

    Every loss is a mean over samples, so pieces weighted by their size sum to the whole batch's.
    """
    size = config.micro_batch_size or len(chosen)
    dtype = getattr(torch, config.precision)
    kind = str(device).partition(":")[0]
    values: dict[str, float] = {}
    for start in range(0, len(chosen), size):
        batch = store.batch(chosen[start : start + size], device)
        with torch.autocast(kind, dtype, enabled=dtype != torch.float32):
            output, passes = model.forward_passes(*model.inputs(batch))
        loss, parts = objective(output, passes, batch.labels, store.task, config)
        share = len(batch.labels) / len(chosen)
        scaler.scale(loss * share).backward()
        for name, value in _columns(loss, parts, model.expert_names).items():
            values[name] = values.get(name, 0.0) + share * value
    return values


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
