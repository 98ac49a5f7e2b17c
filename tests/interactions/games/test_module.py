"""A model of the user's own as a game; the documented example is executed as it stands."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions import estimate
from raymoe.interactions.games.module import ModuleGame

DOCUMENT = Path(__file__).parents[3] / "docs" / "own-model.md"


def tiny_clip():
    """CLIP at random, 3 words and 2 x 2 patches, with the inputs a processor would give."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 40, "max_position_embeddings": 12}
    special = {"bos_token_id": 38, "eos_token_id": 39, "pad_token_id": 0}
    config = transformers.CLIPConfig(
        text_config={**shape, **tokens, **special},
        vision_config={**shape, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    model = transformers.CLIPModel(config).eval()
    inputs = {"input_ids": torch.tensor([[38, 5, 6, 7, 39]]), "pixel_values": torch.randn(1, 3, 16, 16)}
    return model, inputs


def test_the_documented_example_is_what_brute_force_says(capsys):
    """Masked one coalition at a time by hand, and summed by the definition of the index."""
    load, explain, ask = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert "from raymoe.interactions import ModuleGame, estimate" in load
    model, inputs = tiny_clip()
    space = {"np": np, "torch": torch, "F": F, "ModuleGame": ModuleGame, "estimate": estimate}
    space |= {"ids": inputs["input_ids"], "picture": inputs["pixel_values"]}
    space |= {"model": model, "words": 3, "side": 2, "size": 8}
    exec(explain, space)
    exec(ask, space)
    game, result = space["game"], space["result"]
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert len([line for line in explain.splitlines() if line.strip()]) <= 10

    coalitions = np.array(list(product([False, True], repeat=7)))
    expected = np.empty(len(coalitions))
    for row, active in enumerate(coalitions):
        pixels = inputs["pixel_values"].clone()
        for patch in range(4):
            if not active[3 + patch]:
                y, x = 8 * (patch // 2), 8 * (patch % 2)
                pixels[:, :, y : y + 8, x : x + 8] = 0
        seen = torch.tensor([[1, *active[:3].astype(int), 1]])
        with torch.no_grad():
            out = model(input_ids=inputs["input_ids"], attention_mask=seen, pixel_values=pixels)
        expected[row] = float(out.logits_per_image)
    assert expected.std() > 0.01
    np.testing.assert_allclose(game(coalitions), expected, atol=1e-4)
    value = dict(zip(map(tuple, coalitions), expected, strict=True))
    for (u, v), found, stderr in zip(result.pairs, result.sii, result.sii_stderr, strict=True):
        rest = [i for i in range(7) if i not in (u, v)]
        by_size = [[] for _ in range(6)]
        for bits in product([False, True], repeat=5):
            four = []
            for has_u, has_v in product([False, True], repeat=2):
                active = np.zeros(7, dtype=bool)
                active[rest], active[u], active[v] = bits, has_u, has_v
                four.append(value[tuple(active)])
            by_size[sum(bits)].append(four[3] - four[2] - four[1] + four[0])
        index = np.mean([np.mean(deltas) for deltas in by_size])
        assert abs(found - index) < 6 * stderr + 1e-4


class Affine(nn.Module):
    """Logits [m, 3] linear in the input, with dropout that would show in training mode."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("weights", torch.arange(12.0).view(4, 3))

    def forward(self, x):
        return self.dropout(x) @ self.weights


def test_targets_batches_and_ways_to_call():
    coalitions = np.random.default_rng(0).random((11, 4)) < 0.5
    logits = coalitions @ np.arange(12.0).reshape(4, 3)
    module = Affine()

    def values(target, mask=lambda active: active.float(), **options):
        return ModuleGame(module, mask, 4, target, **options)(coalitions)

    for batch_size in (1, 4, 32):
        np.testing.assert_allclose(values(2, batch_size=batch_size), logits[:, 2])
    np.testing.assert_allclose(values([0, 2]), logits[:, [0, 2]].mean(1))
    np.testing.assert_allclose(values(lambda out: out[:, 1] - out[:, 0]), logits[:, 1] - logits[:, 0])
    np.testing.assert_allclose(values(1, mask=lambda active: {"x": active.float()}), logits[:, 1])
    np.testing.assert_allclose(values(1, mask=lambda active: (active.float(),)), logits[:, 1])
    np.testing.assert_allclose(values(None, forward=lambda x: 2 * x.sum(1)), 2 * coalitions.sum(1))
    assert values(0).dtype == np.float64


def test_the_mode_is_put_back():
    module = nn.Sequential(Affine(), nn.Identity())
    module.train()
    module[1].eval()
    game = ModuleGame(module, lambda active: active.float(), 4, 1)
    once = game(np.ones((3, 4), bool))
    np.testing.assert_array_equal(once, [22, 22, 22])  # 1 + 4 + 7 + 10: nothing was dropped
    assert module.training
    assert module[0].dropout.training
    assert not module[1].training
    broken = ModuleGame(module, lambda active: active, 4, 1)  # bool @ float
    with pytest.raises(RuntimeError):
        broken(np.ones((1, 4), bool))
    assert module[0].training


def test_bad_answers_are_named():
    def nan_without_the_last(active):
        return torch.where(active[:, 3:], active.float(), torch.nan)

    names = ["a", "dog", "sat", "patch 0"]
    game = ModuleGame(
        Affine(), nan_without_the_last, 4, 0, player_names=names, batch_size=1, name="sample s3"
    )
    assert game(np.array([[False, True, False, True]]))[0] == 12
    with pytest.raises(RaymoeError, match=r"sample s3: .*not finite .* players \['dog'\]"):
        game(np.array([[True, True, True, True], [False, True, False, False]]))
    active = np.ones((2, 4), bool)
    for target, message in ((3, "no class 3"), ([], "no class"), (-1, "no class -1")):
        with pytest.raises(InputError, match=message):
            ModuleGame(Affine(), lambda a: a.float(), 4, target)(active)
    with pytest.raises(RaymoeError, match=r"target's values are \[2, 3\] for 2"):
        ModuleGame(Affine(), lambda a: a.float(), 4)(active)
    with pytest.raises(RaymoeError, match=r"answered \[1, 3\] for 2"):
        ModuleGame(Affine(), lambda a: a[:1].float(), 4, 0)(active)
    with pytest.raises(RaymoeError, match="answered str"):
        ModuleGame(Affine(), lambda a: a, 4, 0, forward=lambda batch: "no")(active)
    with pytest.raises(InputError, match=r"\[m, 4\], got \[2, 3\]"):
        ModuleGame(Affine(), lambda a: a.float(), 4, 0)(active[:, :3])
    with pytest.raises(InputError, match="must be bool, got int64"):
        ModuleGame(Affine(), lambda a: a.float(), 4, 0)(active.astype(int))
    with pytest.raises(InputError, match=r"not a torch\.nn\.Module"):
        ModuleGame(lambda x: x, lambda a: a.float(), 4, 0)
    with pytest.raises(InputError, match="1 names for 4 players"):
        ModuleGame(Affine(), lambda a: a.float(), 4, 0, player_names=["a"])
