"""How good predictions are: F1 and accuracy as the paper reports them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import f1_score


def scores(logits: np.ndarray, labels: Sequence[Sequence[int]], task: str) -> dict[str, float]:
    """Micro-F1, macro-F1 and accuracy; of multi-label data, the share of samples with every class right.

    Args:
        logits: [N, C].
        labels: each sample's class indices; just one where the task has one label.
        task: ``multilabel`` (a class is predicted where its probability is above one half), ``multiclass``
            or ``binary`` (the class with the largest logit).
    """
    truth, predicted = _as_sklearn_wants(logits, labels, task)
    right = truth == predicted
    return {
        "micro_f1": float(f1_score(truth, predicted, average="micro", zero_division=0)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
        "accuracy": float((right.all(1) if right.ndim == 2 else right).mean()),
    }


def class_f1(logits: np.ndarray, labels: Sequence[Sequence[int]], task: str) -> np.ndarray:
    """F1 of each class, [C]; 0 for a class that neither occurs nor is predicted."""
    truth, predicted = _as_sklearn_wants(logits, labels, task)
    classes = None if truth.ndim == 2 else np.arange(logits.shape[1])
    return np.asarray(f1_score(truth, predicted, average=None, labels=classes, zero_division=0))


def multi_hot(labels: Sequence[Sequence[int]], num_classes: int) -> np.ndarray:
    """Class indices as a matrix of zeros and ones, [N, C] int64."""
    matrix = np.zeros((len(labels), num_classes), np.int64)
    for row, indices in zip(matrix, labels, strict=True):
        row[list(indices)] = 1
    return matrix


def _as_sklearn_wants(
    logits: np.ndarray, labels: Sequence[Sequence[int]], task: str
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction: both [N, C] of 0 and 1, or both [N] class indices."""
    if task == "multilabel":
        return multi_hot(labels, logits.shape[1]), (logits > 0).astype(np.int64)
    return np.array([indices[0] for indices in labels], np.int64), logits.argmax(1)
