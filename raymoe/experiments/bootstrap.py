"""Paired bootstrap over samples: how much a figure depends on which samples happened to be in the split.

Shapes: N samples, V variants of a prediction (models, masks), C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raymoe.task import Task, multi_hot

RESAMPLES = 1000


def resample_counts(size: int, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each sample is in each resample, [1 + R, N]; the first row is the split itself.

    One sample is the same in every resample, which would look like certainty: of one there are none (R = 0).
    """
    resamples = resamples if size > 1 else 0
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples)
    return np.concatenate([np.ones((1, size), drawn.dtype), drawn])


def resampled_metric(
    logits_VNC: np.ndarray,
    labels: Sequence[Sequence[int]],
    task: Task,
    counts_RN: np.ndarray,
    metric: str | None = None,
) -> np.ndarray:
    """A metric of every variant on every resample, [V, R], as ``Task.scores`` defines it.

    Args:
        logits_VNC: what is predicted.
        labels: each sample's class indices.
        task: what they mean.
        counts_RN: see ``resample_counts``.
        metric: ``micro_f1``, ``macro_f1`` or ``accuracy``; by default the task's main one.
    """
    counts_NR = counts_RN.T.astype(np.float64)
    truth_NC = multi_hot(labels, logits_VNC.shape[-1]).astype(bool)
    return FORMULAS[metric or task.main_metric](task.predicted(logits_VNC), truth_NC, counts_NR, task)


def _accuracy(
    predicted_VNC: np.ndarray, truth_NC: np.ndarray, counts_NR: np.ndarray, task: Task
) -> np.ndarray:
    """The share of samples with every class right; NaN on a resample of none."""
    return (predicted_VNC == truth_NC).all(-1) @ counts_NR / counts_NR.sum(0)


def _micro_f1(
    predicted_VNC: np.ndarray, truth_NC: np.ndarray, counts_NR: np.ndarray, task: Task
) -> np.ndarray:
    """F1 over the classes of all samples; 0 where none is there or predicted."""
    both_VN = (predicted_VNC & truth_NC).sum(-1)
    either_VN = predicted_VNC.sum(-1) + truth_NC.sum(-1)
    return 2 * (both_VN @ counts_NR) / np.maximum(either_VN @ counts_NR, 1)


def _macro_f1(
    predicted_VNC: np.ndarray, truth_NC: np.ndarray, counts_NR: np.ndarray, task: Task
) -> np.ndarray:
    """The mean of the classes' F1, over the classes that the task counts."""
    found = []
    for predicted_NC in predicted_VNC:
        both_CR = (predicted_NC & truth_NC).T @ counts_NR
        either_CR = predicted_NC.T @ counts_NR + truth_NC.T @ counts_NR
        classes_R = task.averaged_classes(either_CR > 0)
        found.append((2 * both_CR / np.maximum(either_CR, 1)).sum(0) / classes_R)
    return np.array(found)


FORMULAS = {"accuracy": _accuracy, "micro_f1": _micro_f1, "macro_f1": _macro_f1}


def interval(values_R: np.ndarray, level: float = 0.95) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of the resamples, the split itself (the first) left out; of none it is unknown."""
    if len(values_R) < 2:
        return None, None
    low, high = np.quantile(values_R[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class Spread(NamedTuple):
    """A figure over seeds: its mean, the interval of that over samples, and how far the seeds lie apart.

    Attributes:
        mean: of the split itself.
        low, high: see ``interval``.
        std: deviation over seeds; None for one.
    """

    mean: float
    low: float | None
    high: float | None
    std: float | None


def spread_over_seeds(values_SR: np.ndarray) -> Spread:
    """What is known of a figure that several seeds were measured for, on the same resamples.

    Args:
        values_SR: per seed, the split itself and its resamples; those that are NaN for a seed are left out.
    """
    low, high = interval(values_SR[:, ~np.isnan(values_SR).any(0)].mean(0))
    whole_S = values_SR[:, 0]
    std = float(whole_S.std(ddof=1)) if len(whole_S) > 1 else None
    return Spread(float(whole_S.mean()), low, high, std)
