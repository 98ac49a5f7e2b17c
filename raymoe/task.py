"""What the labels of a dataset mean: any number of classes per sample, one of several, or one of two.

A task is the one place that knows what follows from that: what a model's logits predict, what a loss compares
them with, and which scores are reported. Everything else is handed a ``Task`` and asks it.

Knows nothing of configuration, tables or models, and imports torch and scikit-learn only where they are used.

Shapes: N samples (B of a batch), C classes; ``...`` any leading axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# All that ``Task.scores`` gives, in the order in which they are shown.
METRIC_NAMES = ("micro_f1", "macro_f1", "accuracy")


@dataclass(frozen=True)
class Task(ABC):
    """One kind of labels. There are three: ``MULTILABEL``, ``MULTICLASS`` and ``BINARY``.

    Attributes:
        name: as configuration and tables write it.
        metrics: what the paper reports for such data (§4.1), the main one first.
        num_classes: how many classes such data have to have; None: any number.
        one_label: whether every sample has exactly one class.
    """

    name: str
    metrics: tuple[str, ...]
    num_classes: int | None = None
    one_label: ClassVar[bool]

    @staticmethod
    def named(name: str) -> Task:
        """The task that a configuration or a table names.

        Raises:
            ValueError: there is no such task; names those there are.
        """
        if name not in TASKS:
            raise ValueError(f"no task {name!r}; there are {', '.join(TASKS)}")
        return TASKS[name]

    @property
    def main_metric(self) -> str:
        """The metric that experiments measure a fall of."""
        return self.metrics[0]

    @abstractmethod
    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """Which classes a model predicts, bool [..., C].

        This is what 'predicted' means in metrics, on the page and in explanations. It may be no class at all
        where a sample can have any number of them.

        Args:
            logits: [..., C].
        """

    def explained_classes(self, logits_BC: Tensor) -> list[list[int]]:
        """The classes whose mean logit is explained when the prediction is what is asked about.

        They are the predicted ones. An explanation needs a class to be about, so where none is predicted it
        is the likeliest one.
        """
        logits = logits_BC.detach().cpu().numpy()
        best_B = logits.argmax(-1)
        return [
            np.flatnonzero(predicted_C).tolist() or [int(best)]
            for predicted_C, best in zip(self.predicted(logits), best_B, strict=True)
        ]

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Class probabilities [..., C] of logits [..., C]."""

    @abstractmethod
    def label_tensor(self, labels: Sequence[Sequence[int]], num_classes: int) -> Tensor:
        """Class indices per sample as ``loss`` takes them.

        Raises:
            ValueError: the task has one label, and a sample has none or several.
        """

    @abstractmethod
    def loss(self, logits_BC: Tensor, labels: Tensor, positive_weight: float = 1.0) -> Tensor:
        """The task loss, mean over samples; a scalar.

        Args:
            logits_BC: the mixture's or one expert's.
            labels: see ``label_tensor``.
            positive_weight: of tasks with any number of labels: how much more a class that is there counts
                than one that is not. Above 1, rare classes are predicted more readily. 1 is the paper's loss.
        """

    def scores(self, logits_NC: np.ndarray, labels: Sequence[Sequence[int]]) -> dict[str, float]:
        """Micro-F1, macro-F1 and accuracy: the share of samples with every class right.

        Args:
            logits_NC: a model's answers.
            labels: each sample's class indices.
        """
        from sklearn.metrics import f1_score

        truth, predicted = self._compared(logits_NC, labels)
        right = truth == predicted
        return {
            "micro_f1": float(f1_score(truth, predicted, average="micro", zero_division=0)),
            "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
            "accuracy": float((right.all(1) if right.ndim == 2 else right).mean()),
        }

    def class_f1(self, logits_NC: np.ndarray, labels: Sequence[Sequence[int]]) -> np.ndarray:
        """F1 of each class, [C]; 0 for a class that neither occurs nor is predicted."""
        from sklearn.metrics import f1_score

        truth, predicted = self._compared(logits_NC, labels)
        classes = None if truth.ndim == 2 else np.arange(logits_NC.shape[1])
        return np.asarray(f1_score(truth, predicted, average=None, labels=classes, zero_division=0))

    @abstractmethod
    def averaged_classes(self, occurs: np.ndarray) -> np.ndarray:
        """Over how many classes macro-F1 is the mean.

        Args:
            occurs: bool [C, ...], which classes the samples have or are predicted to have.
        """

    @abstractmethod
    def _compared(
        self, logits_NC: np.ndarray, labels: Sequence[Sequence[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Truth and prediction as scikit-learn takes them: [N, C] of 0 and 1, or class indices [N]."""


class _AnyLabels(Task):
    """A sample has any number of classes, each of which is a yes or a no of its own."""

    one_label = False

    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """The classes whose probability is above one half."""
        return np.asarray(logits > 0)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid."""
        return logits.sigmoid()

    def label_tensor(self, labels: Sequence[Sequence[int]], num_classes: int) -> Tensor:
        """Zeros and ones, float32 [B, C]."""
        import torch

        labels_BC = torch.zeros(len(labels), num_classes)
        for b, of_sample in enumerate(labels):
            labels_BC[b, list(of_sample)] = 1.0
        return labels_BC

    def loss(self, logits_BC: Tensor, labels: Tensor, positive_weight: float = 1.0) -> Tensor:
        """Binary cross-entropy, mean over classes too."""
        from torch.nn import functional as F

        weight_C = logits_BC.new_full((logits_BC.shape[-1],), positive_weight)
        return F.binary_cross_entropy_with_logits(logits_BC, labels, pos_weight=weight_C)

    def averaged_classes(self, occurs: np.ndarray) -> np.ndarray:
        """All of them: a class that neither occurs nor is predicted counts as 0."""
        return np.full(occurs.shape[1:], len(occurs))

    def _compared(
        self, logits_NC: np.ndarray, labels: Sequence[Sequence[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        return multi_hot(labels, logits_NC.shape[1]), self.predicted(logits_NC).astype(np.int64)


class _OneLabel(Task):
    """A sample has exactly one class."""

    one_label = True

    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """The likeliest class; of several, the first."""
        return logits.argmax(-1)[..., None] == np.arange(logits.shape[-1])

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax."""
        return logits.softmax(-1)

    def label_tensor(self, labels: Sequence[Sequence[int]], num_classes: int) -> Tensor:
        """Class indices, int64 [B]."""
        import torch

        return torch.tensor([label for (label,) in labels], dtype=torch.int64)

    def loss(self, logits_BC: Tensor, labels: Tensor, positive_weight: float = 1.0) -> Tensor:
        """Cross-entropy; every class counts alike."""
        from torch.nn import functional as F

        return F.cross_entropy(logits_BC, labels)

    def averaged_classes(self, occurs: np.ndarray) -> np.ndarray:
        """Only the classes that occur or are predicted."""
        return occurs.sum(0)

    def _compared(
        self, logits_NC: np.ndarray, labels: Sequence[Sequence[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.array([indices[0] for indices in labels], np.int64), logits_NC.argmax(1)


MULTILABEL = _AnyLabels("multilabel", ("micro_f1", "macro_f1"))
MULTICLASS = _OneLabel("multiclass", ("accuracy",))
BINARY = _OneLabel("binary", ("accuracy", "macro_f1"), num_classes=2)
TASKS: dict[str, Task] = {task.name: task for task in (MULTILABEL, MULTICLASS, BINARY)}


def multi_hot(labels: Sequence[Sequence[int]], num_classes: int) -> np.ndarray:
    """Class indices as a matrix of zeros and ones, [N, C] int64."""
    matrix = np.zeros((len(labels), num_classes), np.int64)
    for row, indices in zip(matrix, labels, strict=True):
        row[list(indices)] = 1
    return matrix
