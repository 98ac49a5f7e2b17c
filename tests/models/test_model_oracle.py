"""The stacked experts, the gate and the whole model against plain implementations with the same weights."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from raymoe.config import ModelConfig
from raymoe.models.base import FusionModel
from raymoe.models.build import build_model
from raymoe.models.checkpoint import Shape
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.models.fusion import position_code

CONFIG = ModelConfig(hidden_dim=16, num_heads=4, dropout=0.3, hidden_dim_rw=12, num_layers_rw=3)
SHAPES = {
    2: (Shape("text", 6, 7), Shape("image", 5, 9)),
    3: (Shape("text", 6, 7), Shape("image", 5, 9), Shape("audio", 3, 4)),
}


def make_model(modalities: int, classes: int = 5, seed: int = 0, **options) -> FusionModel:
    torch.manual_seed(seed)
    config = CONFIG.model_copy(update=options)
    model = build_model(SHAPES[modalities], classes, config).eval()
    with torch.no_grad():  # norms start as the identity, which would hide a mistake
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def make_batch(modalities: int, lengths: list[list[int]], pad: int = 0, seed: int = 1):
    """Samples with ``lengths[b][m]`` positions of modality m, padded by ``pad`` more than needed."""
    generator = torch.Generator().manual_seed(seed)
    samples = [
        [
            torch.randn(n, shape.width, generator=generator)
            for n, shape in zip(row, SHAPES[modalities], strict=True)
        ]
        for row in lengths
    ]
    features, valid = {}, {}
    for m, shape in enumerate(SHAPES[modalities]):
        size = min(shape.max_length, max(row[m] for row in lengths) + pad)
        features[shape.name] = torch.zeros(len(lengths), size, shape.width)
        valid[shape.name] = torch.zeros(len(lengths), size, dtype=torch.bool)
        for b, row in enumerate(samples):
            features[shape.name][b, : len(row[m])] = row[m]
            valid[shape.name][b, : len(row[m])] = True
    return features, valid


def plain_expert(model: FusionModel, e: int, tokens_BTD, valid_BT, segments) -> torch.Tensor:
    """One expert in terms of nn.MultiheadAttention and nn.Linear, one sample and no padding at a time."""
    D, H = CONFIG.hidden_dim, CONFIG.num_heads
    out = []
    for x_TD, valid_T in zip(tokens_BTD, valid_BT, strict=True):
        x = x_TD[valid_T][None]
        for block in model.experts.blocks:
            attention = nn.MultiheadAttention(D, H, bias=True, batch_first=True).eval()
            attention.in_proj_weight.data = block.qkv.weight_EIO[e].T
            attention.in_proj_bias.data.zero_()
            attention.out_proj.weight.data = block.out.weight_EIO[e].T
            attention.out_proj.bias.data = block.out.bias_E1O[e, 0]
            h = F.layer_norm(x, (D,), block.norm1.scale_ED[e], block.norm1.shift_ED[e])
            attended = attention(h, h, h, need_weights=False)[0]
            x = (x if model.config.residual == "input" else attended) + attended
            h = F.layer_norm(x, (D,), block.norm2.scale_ED[e], block.norm2.shift_ED[e])
            h = F.gelu(F.linear(h, block.up.weight_EIO[e].T, block.up.bias_E1O[e, 0]))
            x = x + F.linear(h, block.down.weight_EIO[e].T, block.down.bias_E1O[e, 0])
        kept = segments[valid_T]
        means = [x[0, kept == m].mean(0) for m in range(int(segments.max()) + 1)]
        head = model.experts.head
        out.append(F.linear(torch.cat(means), head.weight_EIO[e].T, head.bias_E1O[e, 0]))
    return torch.stack(out)


@pytest.mark.parametrize("modalities", [2, 3])
@torch.no_grad()
def test_model_equals_a_loop_over_plain_experts(modalities):
    model = make_model(modalities)
    shapes = SHAPES[modalities]
    features, valid = make_batch(
        modalities, [[7, 9, 4][:modalities], [2, 5, 1][:modalities], [1, 9, 3][:modalities]]
    )
    output = model(features, valid)

    code = position_code(sum(s.max_length for s in shapes), CONFIG.hidden_dim)
    projected, start = [], 0
    for shape in shapes:
        linear = model.projections[shapes.index(shape)]
        x = F.linear(features[shape.name], linear.weight, linear.bias) * valid[shape.name][..., None]
        projected.append((x, start))
        start += shape.max_length
    tokens = torch.cat([x + code[s : s + x.shape[1]] for x, s in projected], 1)
    mask = torch.cat([valid[s.name] for s in shapes], 1)
    segments = torch.cat([torch.full((x.shape[1],), m) for m, (x, _) in enumerate(projected)])
    logits = torch.stack([plain_expert(model, e, tokens, mask, segments) for e in range(modalities + 2)])
    torch.testing.assert_close(output.expert_logits_EBC, logits, atol=2e-5, rtol=1e-4)

    means = [
        torch.stack([F.normalize(row[v].mean(0), dim=0) for row, v in zip(x, valid[s.name], strict=True)])
        for (x, _), s in zip(projected, shapes, strict=True)
    ]
    h = torch.cat(means, 1)
    linears = [layer for layer in model.gate.mlp if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linears] == [12, 12, modalities + 2]
    for layer in linears[:-1]:
        h = torch.relu(layer(h))
    weights = torch.softmax(linears[-1](h) / CONFIG.temperature_rw, -1)
    torch.testing.assert_close(output.expert_weights_BE, weights, atol=1e-6, rtol=1e-5)
    mixture = sum(weights[:, e, None] * logits[e] for e in range(modalities + 2))
    torch.testing.assert_close(output.logits_BC, mixture, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_one_selected_expert_equals_it_in_the_stack():
    model = make_model(3)
    features, valid = make_batch(3, [[7, 9, 4], [2, 5, 1]])
    inputs = model.fusion_input(model.project(features, valid), valid)
    stacked, attentions = model.experts.forward_with_attention(*inputs_of(inputs))
    for e in range(5):
        alone, own = model.experts.select(e).forward_with_attention(*inputs_of(inputs))
        torch.testing.assert_close(alone[0], stacked[e], atol=1e-6, rtol=1e-5)
        for layer, all_experts in zip(own, attentions, strict=True):
            torch.testing.assert_close(layer[0], all_experts[e], atol=1e-6, rtol=1e-5)


def inputs_of(inputs):
    return inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT


@torch.no_grad()
def test_explicit_attention_gives_the_same_logits_and_ignores_padding():
    model = make_model(2)
    features, valid = make_batch(2, [[7, 9], [2, 5]])
    inputs = model.fusion_input(model.project(features, valid), valid)
    logits, attentions = model.experts.forward_with_attention(*inputs_of(inputs))
    torch.testing.assert_close(logits, model.experts(*inputs_of(inputs)), atol=1e-6, rtol=1e-5)
    for weights in attentions:
        assert weights.shape == (4, 2, 4, 16, 16)
        torch.testing.assert_close(weights.sum(-1), torch.ones(4, 2, 4, 16))
        assert not weights[:, :, :, :, ~inputs.valid_BT[1]][:, 1].any()


@pytest.mark.parametrize("modalities", [2, 3])
@torch.no_grad()
def test_a_sample_does_not_depend_on_how_the_batch_is_padded(modalities):
    model = make_model(modalities)
    lengths = [[3, 4, 2][:modalities]]
    alone = model(*make_batch(modalities, lengths))
    for pad in (1, 3):
        padded = model(*make_batch(modalities, lengths, pad=pad))
        torch.testing.assert_close(padded.logits_BC, alone.logits_BC, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(padded.expert_weights_BE, alone.expert_weights_BE, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_garbage_in_the_padding_changes_nothing():
    model = make_model(2)
    features, valid = make_batch(2, [[3, 4], [7, 9]])
    clean = model(features, valid).logits_BC
    dirty = {n: torch.where(valid[n][..., None], x, 7.0) for n, x in features.items()}
    torch.testing.assert_close(model(dirty, valid).logits_BC, clean, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_passes_are_the_full_input_and_one_modality_replaced_each():
    model = make_model(3)
    features, valid = make_batch(3, [[3, 4, 2], [7, 9, 4]])
    output, passes = model.forward_passes(features, valid, torch.Generator().manual_seed(3))
    plain = model(features, valid)
    assert passes.logits_EPBC.shape == (5, 4, 2, 5)
    torch.testing.assert_close(passes.logits_EPBC[:, 0], plain.expert_logits_EBC, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(output.logits_BC, plain.logits_BC, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(output.expert_weights_BE, plain.expert_weights_BE)

    generator = torch.Generator().manual_seed(3)
    for p, name in enumerate(model.names, 1):
        embeddings = model.project(features, valid)
        embeddings[name] = torch.empty_like(embeddings[name]).normal_(generator=generator)
        expected = model.experts(*inputs_of(model.fusion_input(embeddings, valid)))
        torch.testing.assert_close(passes.logits_EPBC[:, p], expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_dropout_is_off_in_eval_and_on_in_training():
    model = make_model(2)
    batch = make_batch(2, [[3, 4], [7, 9]])
    assert torch.equal(model(*batch).logits_BC, model(*batch).logits_BC)
    model.train()
    assert not torch.equal(model(*batch).logits_BC, model(*batch).logits_BC)


def test_attention_dropout_can_be_set_apart():
    config = CONFIG.model_copy(update={"dropout_attention": 0.0})
    model = FLI2MoE(tuple(replace(s) for s in SHAPES[2]), 5, config)
    assert {block.dropout_attention for block in model.experts.blocks} == {0.0}
    assert {block.dropout for block in model.experts.blocks} == {0.3}


@torch.no_grad()
@pytest.mark.parametrize("kind", ["fl-i2moe", "dense"])
def test_the_residual_of_the_original_code_is_attention_twice(kind):
    model = make_model(2, kind=kind, residual="attention")
    features, valid = make_batch(2, [[3, 4], [7, 9]])
    inputs = model.fusion_input(model.project(features, valid), valid)
    segments = torch.cat([torch.full((features[n].shape[1],), m) for m, n in enumerate(model.names)])
    for e in range(len(model.expert_names)):
        expected = plain_expert(model, e, inputs.tokens_BTD, inputs.valid_BT, segments)
        found = model(features, valid).expert_logits_EBC[e]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_dense_transformer_is_one_expert_and_nothing_else():
    model = make_model(3, kind="dense")
    features, valid = make_batch(3, [[3, 4, 2], [7, 9, 4]])
    output, passes = model.forward_passes(features, valid)
    segments = torch.cat([torch.full((features[n].shape[1],), m) for m, n in enumerate(model.names)])
    inputs = model.fusion_input(model.project(features, valid), valid)
    expected = plain_expert(model, 0, inputs.tokens_BTD, inputs.valid_BT, segments)
    torch.testing.assert_close(output.logits_BC, expected, atol=1e-5, rtol=1e-5)
    assert passes.logits_EPBC.shape == (1, 1, 2, 5)
    assert torch.equal(output.expert_weights_BE, torch.ones(2, 1))
    assert model.expert_names == ["dense"]


@torch.no_grad()
@pytest.mark.parametrize("slices", [1, 4])
def test_i2moe_is_experts_over_slices_of_pooled_vectors(slices):
    """One sample, one expert and one slice at a time."""
    model = make_model(2, kind="i2moe", num_patches=slices)
    model.slice_position_MSD.normal_()
    generator = torch.Generator().manual_seed(4)
    pooled = {s.name: torch.randn(3, s.width, generator=generator) for s in SHAPES[2]}
    batch = SimpleNamespace(pooled=pooled)
    features, valid = model.inputs(batch)
    output = model(features, valid)
    tokens = []
    for m, (name, vectors) in enumerate(pooled.items()):
        width = -(-vectors.shape[1] // slices)
        for i in range(slices):
            piece = torch.zeros(3, width)
            part = vectors[:, i * width : (i + 1) * width]
            piece[:, : part.shape[1]] = part
            projection = model.projections[m]
            tokens.append(piece @ projection.weight.T + projection.bias + model.slice_position_MSD[m, i])
        torch.testing.assert_close(
            model.project(features, valid)[name], torch.stack(tokens[-slices:], 1), atol=1e-6, rtol=1e-5
        )
    tokens_BTD = torch.stack(tokens, 1)
    segments = torch.arange(2).repeat_interleave(slices)
    there = torch.ones(tokens_BTD.shape[:2], dtype=torch.bool)
    experts = torch.stack([plain_expert(model, e, tokens_BTD, there, segments) for e in range(4)])
    torch.testing.assert_close(output.expert_logits_EBC, experts, atol=1e-5, rtol=1e-5)
    means = torch.cat([tokens_BTD[:, segments == m].mean(1) for m in range(2)], -1)
    weights = (model.gate.mlp(means) / CONFIG.temperature_rw).softmax(-1)
    torch.testing.assert_close(output.expert_weights_BE, weights, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(output.logits_BC, torch.einsum("ebc,be->bc", experts, weights))
    assert model.forward_passes(features, valid)[1].logits_EPBC.shape == (4, 3, 3, 5)
