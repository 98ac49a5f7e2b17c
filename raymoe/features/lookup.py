"""An encoder by the source that a configuration names, and what its features depend on.

Importing this, or asking for an encoder's identity, builds no model and imports neither torch nor
transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features.encoder import Encoder
from raymoe.features.files import EFFICIENTNET, EFFICIENTNET_PIXELS, MINILM, is_folder, is_siglip, locate
from raymoe.features.geometry import Geometry

if TYPE_CHECKING:
    import torch

KIND_OF_PACKAGE = {MINILM: "text", EFFICIENTNET: "image"}


def load_encoder(kind: str, config: EncoderConfig, device: str | torch.device = "cpu") -> Encoder[Any, Any]:
    """Build the encoder that ``config.source`` names.

    Raises:
        InputError: an unknown source, one of the other kind, a missing package, missing or damaged files, a
            layer that does not exist, mixed precision on a CPU.
    """
    _check(kind, config)
    if config.precision != "float32" and str(device).startswith("cpu"):
        raise InputError(
            f"{config.source}: precision {config.precision} needs a GPU, and this is to run on the CPU",
            "Leave the encoder's precision out (float32), or encode where there is a GPU.",
        )
    encoder: Encoder[Any, Any]
    if config.source == EFFICIENTNET:
        from raymoe.features.efficientnet import EfficientNetLite0

        encoder = EfficientNetLite0(config)
    else:
        from raymoe.features.huggingface import ImageEncoder, TextEncoder

        encoder = TextEncoder(config) if kind == "text" else ImageEncoder(config)
    return encoder.to(device)


def seen(config: EncoderConfig, size: tuple[int, int], grid: tuple[int, int]) -> Geometry:
    """What the patches of a picture show of it: measured, for stores that were written before it was kept.

    Loads the encoder's image processor, and no weights.

    Args:
        config: the encoder.
        size: width and height of the upright picture.
        grid: rows and columns of the encoder's patches.

    Raises:
        InputError: the image processor can't be had.
        ValueError: it can't take pictures of this size.
    """
    if config.source in KIND_OF_PACKAGE:
        return Geometry(*grid)
    from raymoe.features.huggingface import bare_processor

    return bare_processor(config.source).geometry(size, grid)


def encoder_identity(kind: str, config: EncoderConfig) -> dict[str, Any]:
    """What an encoder's features depend on: name, hash of the weights and of the preprocessing, layer, cut.

    Hashes files, at some gigabyte a second, and builds no model.

    Raises:
        InputError: see ``load_encoder``, so far as the files themselves tell.
    """
    _check(kind, config)
    found = locate(config.source)
    chosen = {k: getattr(config, k) for k in ("layer", "drop_cls", "pooling", "precision")}
    identity = {"name": found.name, **chosen, **found.hashes()}
    if config.dropout:  # what is drawn depends on the batch
        identity |= {"dropout": True, "batch_size": config.batch_size}
    if kind == "text" and is_siglip(found):  # until then they were encoded with a mask, and not lowered
        identity["reading"] = "lowered, padded to full length, no mask"
    if config.source == EFFICIENTNET:
        identity["preprocessing"] = EFFICIENTNET_PIXELS  # no file says it
    return identity | ({"max_length": config.max_length} if kind == "text" else {})


def refuse_absent(kind: str, config: EncoderConfig) -> None:
    """Refuse an encoder that is known not to be there: a model of the hub is not looked for.

    Raises:
        InputError: see ``load_encoder``, so far as names and folders tell.
    """
    _check(kind, config)
    if not config.source.startswith("hf:") or is_folder(config.source.removeprefix("hf:")):
        locate(config.source)


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
