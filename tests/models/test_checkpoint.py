"""A checkpoint comes back as it was written, and anything else is refused by name."""

import json

import pytest
import torch

from raymoe.config import ModelConfig
from raymoe.errors import ParentError
from raymoe.models.checkpoint import CheckpointInfo, Shape, load_checkpoint, read_info, save_checkpoint
from raymoe.project.artifacts import CHECKPOINT
from raymoe.project.outputs import Output
from raymoe.project.workspace import Workspace

MADE_BY = "raymoe train demo"


def at(workspace: Workspace, name: str) -> Output:
    return CHECKPOINT.at(workspace, name, MADE_BY)


@pytest.fixture
def saved(tmp_path):
    workspace = Workspace(tmp_path)
    info = CheckpointInfo(
        modalities=(Shape("text", 6, 7), Shape("image", 5, 9)),
        classes=("a", "b", "c"),
        task="multilabel",
        model=ModelConfig(hidden_dim=16, num_heads=2).model_dump(),
        features="f" * 16,
        training={"seed": 3},
        epoch=2,
        validation={"micro_f1": 0.5},
    )
    torch.manual_seed(0)
    model = info.build().eval()
    return workspace, model, save_checkpoint(at(workspace, "run/checkpoint"), model, info)


def test_round_trip(saved):
    workspace, model, info = saved
    loaded, found = load_checkpoint(at(workspace, "run/checkpoint"), features="f" * 16)
    assert found == info
    assert found.fingerprint == info.fingerprint
    assert not loaded.training
    features = {"text": torch.randn(2, 7, 6), "image": torch.randn(2, 9, 5)}
    valid = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in features.items()}
    with torch.no_grad():
        assert torch.equal(loaded(features, valid).logits_BC, model(features, valid).logits_BC)


def test_the_fingerprint_follows_the_weights(saved):
    workspace, model, info = saved
    with torch.no_grad():
        model.gate.mlp[0].bias[0] += 1
    assert save_checkpoint(at(workspace, "run/other"), model, info).fingerprint != info.fingerprint


def test_no_checkpoint_names_the_command(saved):
    with pytest.raises(ParentError, match="no checkpoint there") as caught:
        load_checkpoint(at(saved[0], "run/nothing"))
    assert MADE_BY in caught.value.remedy


def test_other_features_are_refused(saved):
    with pytest.raises(ParentError, match="was made from features") as caught:
        load_checkpoint(at(saved[0], "run/checkpoint"), features="0" * 16)
    assert MADE_BY in caught.value.remedy


@pytest.mark.parametrize("damage", ["truncated", "changed", "removed"])
def test_weights_that_are_not_those_described_are_refused(saved, damage):
    workspace = saved[0]
    name = "run/checkpoint/model.safetensors"
    weights = workspace.read(name)
    if damage == "truncated":
        workspace.write(name, weights[: len(weights) // 2])
    elif damage == "changed":
        workspace.write(name, weights[:-1] + bytes([weights[-1] ^ 1]))
    else:
        workspace.remove(name)
    with pytest.raises(ParentError, match=r"model\.safetensors does not hold the weights"):
        load_checkpoint(at(workspace, "run/checkpoint"))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[: len(c) // 2],
        lambda c: c.replace(b"fl-i2moe/1", b"fl-i2moe/9"),
        lambda c: b"[]",
        lambda c: b"{}",
    ],
)
def test_a_description_that_is_not_one_is_refused(saved, change):
    workspace = saved[0]
    workspace.write("run/checkpoint/config.json", change(workspace.read("run/checkpoint/config.json")))
    with pytest.raises(ParentError, match=r"config\.json is not a checkpoint of this version"):
        read_info(at(workspace, "run/checkpoint"))


def test_a_description_of_another_shape_is_refused(saved):
    workspace = saved[0]
    raw = json.loads(workspace.read("run/checkpoint/config.json"))
    raw["classes"] = ["a", "b"]
    workspace.write("run/checkpoint/config.json", json.dumps(raw).encode())
    with pytest.raises(ParentError, match=r"does not fit its config\.json"):
        load_checkpoint(at(workspace, "run/checkpoint"))
