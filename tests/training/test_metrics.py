"""The scores on cases small enough to count."""

import numpy as np
import pytest

from raymoe.training.metrics import class_f1, scores


def test_multilabel_scores_by_hand():
    logits = np.array([[2.0, -1.0, 0.5], [-1.0, 1.0, -2.0], [3.0, 3.0, -1.0]])
    labels = [[0], [1], [0, 2]]
    # Predicted: {0, 2}, {1}, {0, 1}. Per class (tp, fp, fn): (2, 0, 0), (1, 1, 0), (0, 1, 1).
    found = scores(logits, labels, "multilabel")
    assert found["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)
    np.testing.assert_allclose(class_f1(logits, labels, "multilabel"), [1, 2 / 3, 0])


def test_a_class_that_never_occurs_counts_as_zero_in_multilabel_macro_f1():
    assert scores(np.array([[1.0, -1.0]]), [[0]], "multilabel")["macro_f1"] == pytest.approx(0.5)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_one_label_scores_by_hand(task):
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    labels = [[0], [1], [1], [1]]
    found = scores(logits, labels, task)
    assert found["accuracy"] == found["micro_f1"] == pytest.approx(3 / 4)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    np.testing.assert_allclose(class_f1(logits, labels, task), [2 / 3, 4 / 5])


def test_nothing_predicted_is_zero_and_no_warning():
    found = scores(np.full((2, 3), -1.0), [[0], [1]], "multilabel")
    assert found == {"micro_f1": 0.0, "macro_f1": 0.0, "accuracy": 0.0}
