"""Rollouts against loops over single numbers, and the normalisation by cases."""

import pytest
import torch

from raymoe.attribution.rollout import attention_rollout, grad_attention_rollout, min_max

E, N, H, T = 3, 4, 2, 5
LENGTHS = (5, 3, 1, 4)


def make(layers: int):
    generator = torch.Generator().manual_seed(layers)
    valid = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    attentions, gradients = [], []
    for _ in range(layers):
        scores = torch.randn(E, N, H, T, T, generator=generator, dtype=torch.float64)
        scores = scores.masked_fill(~valid[None, :, None, None, :], -torch.inf)
        attentions.append(scores.softmax(-1))
        gradients.append(torch.randn(E, N, H, T, T, generator=generator, dtype=torch.float64))
    return attentions, gradients, valid


def loop_rollout(attentions, gradients, e, n):
    """One expert and sample without padding, as matrices of lists."""
    size = LENGTHS[n]
    total = [[float(i == j) for j in range(size)] for i in range(size)]
    for layer, attention in enumerate(attentions):
        step = []
        for i in range(size):
            row = []
            for j in range(size):
                value = 0.0
                for h in range(H):
                    a = attention[e, n, h, i, j].item()
                    if gradients is not None:
                        a = max(a, 0.0) * max(gradients[layer][e, n, h, i, j].item(), 0.0)
                    value += a / H
                row.append(value + (i == j))
            step.append([x / sum(row) for x in row])
        total = [
            [sum(step[i][k] * total[k][j] for k in range(size)) for j in range(size)] for i in range(size)
        ]
    return [sum(total[i][j] for i in range(size)) / size for j in range(size)]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("with_gradients", [True, False])
def test_rollout_equals_a_loop(layers, with_gradients):
    attentions, gradients, valid = make(layers)
    if with_gradients:
        found = grad_attention_rollout(attentions, gradients, valid)
    else:
        found = attention_rollout(attentions, valid)
    assert found.shape == (E, N, T)
    for e in range(E):
        for n, size in enumerate(LENGTHS):
            expected = loop_rollout(attentions, gradients if with_gradients else None, e, n)
            torch.testing.assert_close(found[e, n, :size], torch.tensor(expected, dtype=torch.float64))
            assert not found[e, n, size:].any()


def test_importance_of_valid_positions_sums_to_one():
    attentions, gradients, valid = make(2)
    sums = grad_attention_rollout(attentions, gradients, valid).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_no_positive_gradient_means_every_position_alike():
    attentions, gradients, valid = make(2)
    found = grad_attention_rollout(attentions, [-g.abs() for g in gradients], valid)
    for n, size in enumerate(LENGTHS):
        torch.testing.assert_close(found[:, n, :size], torch.full((E, size), 1 / size, dtype=torch.float64))


def test_min_max_leaves_out_what_is_not_kept():
    importance = torch.tensor(
        [[9.0, 1.0, 2.0, 3.0, -9.0], [5.0, 4.0, 4.0, 4.0, 0.0], [1.0, 2.0, 3.0, 4.0, 5.0]]
    )
    kept = torch.tensor([[False, True, True, True, False]] * 2 + [[False] * 5])
    expected = torch.tensor([[0.0, 0.0, 0.5, 1.0, 0.0], [0.0] * 5, [0.0] * 5])
    torch.testing.assert_close(min_max(importance, kept), expected)
