"""Cheap masks are fair, and attention with dropout is what its definition says, gradients included."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.models import attention
from raymoe.models.attention import attend
from raymoe.models.dropout import keep_bits, keep_mask


@given(p=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_masks_keep_the_mean(p, seed):
    torch.manual_seed(seed)
    n = 40_000
    mask = keep_mask((200, n // 200), p, torch.zeros(1))
    kept = (mask > 0).double()
    assert abs(float(kept.mean()) - (1 - p)) < 6 * math.sqrt(p * (1 - p) / n) + 1e-4
    assert len(mask.unique()) == 2
    assert float(mask.max()) * (1 - p) == pytest.approx(1, rel=2e-3)
    # lanes of one word are independent: neighbours agree as often as they should
    agree = float((kept[:, 1:] == kept[:, :-1]).double().mean())
    assert abs(agree - (p**2 + (1 - p) ** 2)) < 0.02


def test_the_ends():
    assert keep_bits((3, 5), 0.0)[0].all()
    assert keep_bits((3, 5), 0.0)[1] == 1.0
    kept, scale = keep_bits((7,), 1.0)  # next to never
    assert not kept.all()
    assert scale == 1 << 16


@pytest.mark.parametrize("at_once", [1, 400, 1 << 19])  # one sample at a time, two and a rest, all
def test_attention_with_dropout_by_its_definition(monkeypatch, at_once):
    """The mask is drawn again from the same state, and applied to the softmax of the logits."""
    monkeypatch.setattr(attention, "WEIGHTS_AT_ONCE", at_once)
    E, N, H, T, d = 2, 3, 2, 7, 4
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(E, N, H, T, d, generator=generator, dtype=torch.double, requires_grad=True)
        for _ in range(3)
    )
    bias = torch.zeros(N, T, dtype=torch.double)
    bias[1, 5:] = -torch.inf

    def ours(*qkv):
        torch.manual_seed(3)
        return attend(*qkv, bias, 0.4)

    torch.manual_seed(3)
    step = max(1, at_once // (E * H * T * T))
    masks = [keep_bits((min(step, N - start), H, T, T), 0.4) for start in range(0, N, step)]
    kept = torch.cat([mask for mask, _ in masks]).double() * masks[0][1]
    weights = (q @ k.transpose(-1, -2) / math.sqrt(d) + bias[:, None, None]).softmax(-1)
    torch.testing.assert_close(ours(q, k, v), (weights * kept) @ v)
    assert torch.autograd.gradcheck(ours, (q, k, v))


def test_experts_share_the_mask_and_sequences_do_not():
    q = torch.randn(1, 1, 2, 9, 4).expand(3, 4, 2, 9, 4)
    torch.manual_seed(0)
    out = attend(q, q, q, torch.zeros(4, 9), 0.5)
    torch.testing.assert_close(out[0], out[1])
    assert not torch.allclose(out[0, 0], out[0, 1])
