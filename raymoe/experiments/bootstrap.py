"""Paired bootstrap over samples: how much a figure depends on which samples happened to be in the split.

Shapes: N samples, V variants of a prediction (models, masks), C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raymoe.training.metrics import multi_hot

RESAMPLES = 1000


def resample_counts(size: int, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each sample is in each resample, [1 + R, N]; the first row is the split itself."""
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples)
    return np.concatenate([np.ones((1, size), drawn.dtype), drawn])


def resampled_metric(
    logits_VNC: np.ndarray, labels: Sequence[Sequence[int]], task: str, counts_RN: np.ndarray
) -> np.ndarray:
    """The paper's primary metric of every variant on every resample, [V, R]: micro-F1, or accuracy.

    Multi-label data have micro-F1, others accuracy (§4.1); as ``raymoe.training.metrics.scores`` defines it.
    """
    counts_NR = counts_RN.T.astype(np.float64)
    if task != "multilabel":
        right_VN = logits_VNC.argmax(-1) == np.array([label for (label,) in labels])
        return right_VN @ counts_NR / counts_NR.sum(0)
    truth_NC = multi_hot(labels, logits_VNC.shape[-1]).astype(bool)
    predicted_VNC = logits_VNC > 0
    both_VN = (predicted_VNC & truth_NC).sum(-1)
    either_VN = predicted_VNC.sum(-1) + truth_NC.sum(-1)
    return 2 * (both_VN @ counts_NR) / np.maximum(either_VN @ counts_NR, 1)


def resampled_macro_f1(
    logits_NC: np.ndarray, labels: Sequence[Sequence[int]], task: str, counts_RN: np.ndarray
) -> np.ndarray:
    """Macro-F1 on every resample, [R], as ``raymoe.training.metrics.scores`` defines it.

    A class without a positive counts as 0 where a sample can have several labels; else classes that a
    resample neither has nor predicts are left out.
    """
    counts_NR = counts_RN.T.astype(np.float64)
    truth_NC = multi_hot(labels, logits_NC.shape[-1]).astype(bool)
    predicted_NC = logits_NC > 0
    if task != "multilabel":
        predicted_NC = multi_hot(logits_NC.argmax(-1)[:, None], logits_NC.shape[-1]).astype(bool)
    both_CR = (predicted_NC & truth_NC).T @ counts_NR
    either_CR = predicted_NC.T @ counts_NR + truth_NC.T @ counts_NR
    classes_R = len(either_CR) if task == "multilabel" else (either_CR > 0).sum(0)
    return (2 * both_CR / np.maximum(either_CR, 1)).sum(0) / classes_R


def interval(values_R: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the resamples, the split itself (the first) left out."""
    low, high = np.quantile(values_R[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
