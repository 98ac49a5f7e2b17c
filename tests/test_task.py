"""What each kind of labels means, on cases small enough to count."""

import math
import pickle
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import torch

from raymoe.config import TaskName
from raymoe.task import BINARY, METRIC_NAMES, MULTICLASS, MULTILABEL, TASKS, Task, multi_hot

one_label = pytest.mark.parametrize("task", [MULTICLASS, BINARY], ids=lambda task: task.name)
every = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


@every
def test_a_task_is_found_by_its_name_and_is_the_same_in_another_process(task):
    assert Task.named(task.name) is task
    assert pickle.loads(pickle.dumps(task)) == task
    assert set(task.metrics) <= set(METRIC_NAMES)
    assert task.main_metric == task.metrics[0]


def test_the_configuration_knows_the_same_tasks():
    assert get_args(TaskName) == tuple(TASKS)


def test_an_unknown_task_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no task 'regression'; there are multilabel, multiclass, binary"):
        Task.named("regression")


def test_importing_it_imports_neither_torch_nor_scikit_learn():
    script = "import sys, raymoe.task; print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_of_any_labels_the_classes_more_likely_than_not_are_predicted():
    logits = np.array([[[2.0, -1.0, 0.0], [-3.0, -1.0, -2.0]]])
    assert MULTILABEL.predicted(logits).tolist() == [[[True, False, False], [False, False, False]]]
    probabilities = MULTILABEL.probabilities(torch.tensor(logits)).numpy()
    assert ((probabilities > 0.5) == MULTILABEL.predicted(logits)).all()


@one_label
def test_of_one_label_the_likeliest_class_is_predicted(task):
    logits = np.array([[[-1.0, -3.0], [2.0, 2.0]]])
    assert task.predicted(logits).tolist() == [[[True, False], [True, False]]]
    probabilities = task.probabilities(torch.tensor(logits)).numpy()
    np.testing.assert_allclose(probabilities.sum(-1), 1)
    assert probabilities[0, 0, 0] == pytest.approx(1 / (1 + math.exp(-2)))


@every
def test_the_predicted_classes_are_explained_and_the_likeliest_where_there_is_none(task):
    logits = torch.tensor([[2.0, -1.0, 1.0], [-3.0, -1.0, -2.0]], requires_grad=True)
    assert task.explained_classes(logits) == [[0] if task.one_label else [0, 2], [1]]


def test_labels_as_losses_take_them():
    found = MULTILABEL.label_tensor([[0, 2], [], [1]], 3)
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert found.dtype == torch.float32
    assert multi_hot([[0, 2], [], [1]], 3).tolist() == found.tolist()


@one_label
def test_one_label_as_losses_take_it(task):
    found = task.label_tensor([[2], [0]], 3)
    assert found.tolist() == [2, 0]
    assert found.dtype == torch.int64
    for labels in ([], [0, 1]):
        with pytest.raises(ValueError, match="to unpack"):
            task.label_tensor([labels], 3)


def test_the_loss_of_any_labels():
    logits = torch.tensor([[0.5, -1.0, 2.0]])
    present = torch.tensor([[1.0, 0.0, 1.0]])
    p = [1 / (1 + math.exp(-x)) for x in (0.5, -1.0, 2.0)]
    terms = [-math.log(p[0]), -math.log(1 - p[1]), -math.log(p[2])]
    assert MULTILABEL.loss(logits, present).item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    weighted = (3 * terms[0] + terms[1] + 3 * terms[2]) / 3
    assert MULTILABEL.loss(logits, present, 3.0).item() == pytest.approx(weighted, rel=1e-5)


@one_label
def test_the_loss_of_one_label(task):
    logits = torch.tensor([[0.5, -1.0, 2.0]])
    softmax = math.exp(2) / (math.exp(0.5) + math.exp(-1) + math.exp(2))
    for weight in (1.0, 3.0):
        loss = task.loss(logits, torch.tensor([2]), weight)
        assert loss.item() == pytest.approx(-math.log(softmax), rel=1e-5)


def test_multilabel_scores_by_hand():
    logits = np.array([[2.0, -1.0, 0.5], [-1.0, 1.0, -2.0], [3.0, 3.0, -1.0]])
    labels = [[0], [1], [0, 2]]
    # Predicted: {0, 2}, {1}, {0, 1}. Per class (tp, fp, fn): (2, 0, 0), (1, 1, 0), (0, 1, 1).
    found = MULTILABEL.scores(logits, labels)
    assert tuple(found) == METRIC_NAMES
    assert found["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)
    np.testing.assert_allclose(MULTILABEL.class_f1(logits, labels), [1, 2 / 3, 0])


def test_a_class_that_never_occurs_counts_as_zero_in_multilabel_macro_f1():
    assert MULTILABEL.scores(np.array([[1.0, -1.0]]), [[0]])["macro_f1"] == pytest.approx(0.5)


@one_label
def test_one_label_scores_by_hand(task):
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    labels = [[0], [1], [1], [1]]
    found = task.scores(logits, labels)
    assert found["accuracy"] == found["micro_f1"] == pytest.approx(3 / 4)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    np.testing.assert_allclose(task.class_f1(logits, labels), [2 / 3, 4 / 5])


def test_nothing_predicted_is_zero_and_no_warning():
    found = MULTILABEL.scores(np.full((2, 3), -1.0), [[0], [1]])
    assert found == {"micro_f1": 0.0, "macro_f1": 0.0, "accuracy": 0.0}
