"""The one interface of every frozen encoder, and how one is found by name.

Importing this, or asking for an encoder's identity, builds no model and imports neither torch nor
transformers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from raymoe.config import EncoderConfig
from raymoe.errors import InputError

if TYPE_CHECKING:
    import torch
    from PIL import Image

MINILM, EFFICIENTNET = "package:all-MiniLM-L6-v2", "package:efficientnet-lite0"
EFFICIENTNET_PIXELS = {"side": 224, "resample": "bicubic", "mean": 127.0, "scale": 128.0}
KIND_OF_PACKAGE = {MINILM: "text", EFFICIENTNET: "image"}


@dataclass
class EncodedBatch:
    """What an encoder says about B items, padded to T positions.

    Attributes:
        features_BTD: ``[B, T, D]`` float32.
        valid_BT: ``[B, T]`` bool, False at padding.
        special_BT: ``[B, T]`` bool: CLS, SEP and their like; always active, never candidates.
        tokens: per item the display strings of its valid positions; None for images.
        grid: rows and columns of the non-special positions, row by row; None for texts.
        pooled_BD: ``[B, D]`` float32, a vector for each whole item; None where it is the mean of the
            positions that aren't special.
        cut: items that were longer than the limit.
    """

    features_BTD: torch.Tensor
    valid_BT: torch.Tensor
    special_BT: torch.Tensor
    tokens: list[list[str]] | None
    grid: tuple[int, int] | None
    pooled_BD: torch.Tensor | None = None
    cut: frozenset[int] = frozenset()

    def cpu(self) -> EncodedBatch:
        """The same on the CPU."""
        pooled_BD = None if self.pooled_BD is None else self.pooled_BD.cpu()
        return replace(self, features_BTD=self.features_BTD.cpu(), pooled_BD=pooled_BD)


class Encoder(Protocol):
    """A frozen encoder: it is always in evaluation mode and takes no gradients.

    Attributes:
        kind: ``text`` or ``image``.
        width: D, its native width.
        max_length: the most positions an item can have, special ones included.
        grid: rows and columns of the non-special positions of a picture; None for texts. The grid covers
            the picture as the encoder crops and scales it.
    """

    kind: str
    width: int
    max_length: int
    grid: tuple[int, int] | None

    def identity(self) -> dict[str, Any]:
        """All that its features depend on, as ``encoder_identity`` gives it."""
        ...

    def prepare(self, items: Iterable[str] | Iterable[Image.Image]) -> Any:
        """What can be done ahead and in any thread: tokenising, scaling; pictures are taken one by one."""
        ...

    def run(self, prepared: Any) -> EncodedBatch:
        """Encode what was prepared; the features stay on the encoder's device."""
        ...

    def encode(self, items: Iterable[str] | Iterable[Image.Image]) -> EncodedBatch:
        """Encode texts or RGB pictures: ``run`` of ``prepare``, on the CPU."""
        ...

    def to(self, device: str | torch.device) -> Encoder:
        """Move it to a device, in place."""
        ...


def load_encoder(kind: str, config: EncoderConfig, device: str | torch.device = "cpu") -> Encoder:
    """Build the encoder that ``config.source`` names.

    Raises:
        InputError: an unknown source, one of the other kind, a missing package, missing or damaged weights,
            mixed precision on a CPU.
    """
    _check(kind, config)
    if config.precision != "float32" and str(device).startswith("cpu"):
        raise InputError(
            f"{config.source}: precision {config.precision} needs a GPU, and this is to run on the CPU",
            "Leave the encoder's precision out (float32), or encode where there is a GPU.",
        )
    if config.source.startswith("package:"):
        from raymoe.features import packaged

        return packaged.load(config).to(device)
    from raymoe.features import huggingface

    return huggingface.load(kind, config).to(device)


def encoder_identity(kind: str, config: EncoderConfig) -> dict[str, Any]:
    """What an encoder's features depend on: name, hash of the weights and of the preprocessing, layer, cut.

    Hashes files, at some gigabyte a second, and builds no model.

    Raises:
        InputError: as ``load_encoder``, where the files themselves tell.
    """
    _check(kind, config)
    from raymoe.features import files

    found = files.locate(config.source)
    chosen = {k: getattr(config, k) for k in ("layer", "drop_cls", "pooling", "precision")}
    identity = {"name": found.name, **chosen, **found.hashes()}
    if config.dropout:  # what is drawn depends on the batch
        identity |= {"dropout": True, "batch_size": config.batch_size}
    if config.source == EFFICIENTNET:
        identity["preprocessing"] = EFFICIENTNET_PIXELS  # no file says it
    return identity | ({"max_length": config.max_length} if kind == "text" else {})


def _check(kind: str, config: EncoderConfig) -> None:
    forms = f"{MINILM} (text), {EFFICIENTNET} (image), hf:NAME or hf:FOLDER"
    source = config.source
    if source not in KIND_OF_PACKAGE and not (source.startswith("hf:") and len(source) > 3):
        raise InputError(f"unknown encoder {source!r}", f"Valid: {forms}.")
    if KIND_OF_PACKAGE.get(source, kind) != kind:
        raise InputError(f"encoder {source} does not take {kind}", f"Valid: {forms}.")
    if source == EFFICIENTNET and (config.layer != -1 or config.drop_cls or config.pooling != "mean"):
        raise InputError(
            f"{source} has one layer to take, no CLS position and no pooled output",
            "Leave layer, drop_cls and pooling as they are.",
        )
    if config.pooling == "model" and config.layer != -1:
        raise InputError(
            f"{source}: pooling = model is the last layer's, but layer is {config.layer}",
            "Take pooling = mean or cls with another layer.",
        )
