"""A trained model on disk: ``model.safetensors`` and ``config.json`` beside it.

The JSON says all that is needed to build the model again, what it was trained on, and the hash of the
weights, so that a checkpoint of other features, or one that changed, is refused by name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import safetensors
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from raymoe.catalogue import expert_names
from raymoe.config import ModelConfig
from raymoe.errors import ParentError
from raymoe.models.base import FusionModel
from raymoe.models.build import build_model
from raymoe.project.outputs import Output

FORMAT = "fl-i2moe/1"


@dataclass(frozen=True)
class Shape:
    """Name, width and longest sequence of a modality."""

    name: str
    width: int
    max_length: int


@dataclass(frozen=True)
class CheckpointInfo:
    """What ``config.json`` holds.

    Attributes:
        modalities: in the order of the joint sequence.
        classes, task: what the logits mean.
        model: the model's configuration.
        features: fingerprint of the feature store it was trained on.
        training: the training configuration.
        epoch, validation: which epoch was kept, and its scores.
        weights_sha256: hash of the weights file.
    """

    modalities: tuple[Shape, ...]
    classes: tuple[str, ...]
    task: str
    model: dict[str, object]
    features: str
    training: dict[str, object]
    epoch: int
    validation: dict[str, float] = field(default_factory=dict)
    weights_sha256: str = ""
    format: str = FORMAT

    @property
    def fingerprint(self) -> str:
        """What later stages name as their parent: the hash of the weights and of what they mean."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def kind(self) -> str:
        """Which model it is."""
        return str(self.model.get("kind", "fl-i2moe"))

    @property
    def experts(self) -> list[str]:
        """The experts' names, in order."""
        return expert_names(self.kind, [m.name for m in self.modalities])

    def build(self) -> FusionModel:
        """The model, with random weights."""
        return build_model(self.modalities, len(self.classes), ModelConfig.model_validate(self.model))


def save_checkpoint(checkpoint: Output, model: FusionModel, info: CheckpointInfo) -> CheckpointInfo:
    """Write the weights, then the JSON that makes them a checkpoint; returns it with the hash filled in."""
    weights = save_tensors({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()})
    values = {f: getattr(info, f) for f in CheckpointInfo.__dataclass_fields__}
    info = CheckpointInfo(**values | {"weights_sha256": hashlib.sha256(weights).hexdigest()})
    workspace, folder = checkpoint.workspace, checkpoint.name
    workspace.write(f"{folder}/model.safetensors", weights)
    workspace.write(f"{folder}/config.json", json.dumps(asdict(info), indent=1).encode())
    return info


def read_info(checkpoint: Output) -> CheckpointInfo:
    """The JSON alone.

    Raises:
        ParentError: missing, not JSON, or of another format.
    """
    workspace, name = checkpoint.workspace, f"{checkpoint.name}/config.json"
    if not workspace.exists(name):
        raise ParentError(f"{checkpoint.path}: no checkpoint there", f"Make it with: {checkpoint.command}")
    try:
        raw = json.loads(workspace.read(name))
        if raw.get("format") != FORMAT:
            raise ValueError(f"format {raw.get('format')!r}, expected {FORMAT!r}")
        shapes = tuple(Shape(**m) for m in raw["modalities"])
        return CheckpointInfo(**raw | {"modalities": shapes, "classes": tuple(raw["classes"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParentError(
            f"{workspace.path(name)} is not a checkpoint of this version ({error})",
            f"Delete it and make it again with: {checkpoint.command}",
        ) from None


def load_checkpoint(checkpoint: Output, *, features: str | None = None) -> tuple[FusionModel, CheckpointInfo]:
    """The model in eval mode, on the CPU, and its info.

    Args:
        checkpoint: where it is, and what makes it.
        features: fingerprint of the feature store it is to be used with.

    Raises:
        ParentError: missing, damaged, changed since it was written, or trained on other features.
    """
    info = read_info(checkpoint)
    if features is not None:
        checkpoint.refuse_other_parents({"features": info.features}, {"features": features})
    workspace, name = checkpoint.workspace, f"{checkpoint.name}/model.safetensors"
    weights = workspace.read(name) if workspace.exists(name) else b""
    remedy = f"Delete {checkpoint.path} and make it again with: {checkpoint.command}"
    if hashlib.sha256(weights).hexdigest() != info.weights_sha256:
        problem = "does not hold the weights that config.json describes (cut short, or changed)"
        raise ParentError(f"{workspace.path(name)} {problem}", remedy)
    model = info.build()
    try:
        model.load_state_dict(load_tensors(weights))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ParentError(f"{workspace.path(name)} does not fit its config.json: {error}", remedy) from None
    return model.eval(), info
