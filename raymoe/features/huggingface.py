"""Encoders from Hugging Face model folders: one modality's tower, its hidden states, its special positions.

Shape suffixes: B items, T positions, D width.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from PIL import Image
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForTextEncoding,
    CLIPTextModel,
    CLIPVisionModel,
)
from transformers.utils import logging

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features.encoder import EncodedBatch
from raymoe.features.files import is_siglip, locate
from raymoe.features.folders import from_folder
from raymoe.features.frozen import Frozen, Replayed
from raymoe.features.geometry import Geometry
from raymoe.features.image_processor import ImageProcessor, PreparedPicture
from raymoe.features.tokenizing import UNLIMITED, Tokenized, Tokenizer

LONGEST_TRIED = 2048


class TextEncoder:
    """A text model with its tokenizer; special positions are those that the tokenizer adds.

    Args:
        config: ``max_length`` is cut to what the model has positions for.

    Raises:
        InputError: the files are missing, damaged, of another kind, or the layer doesn't exist.
    """

    kind = "text"
    grid: tuple[int, int] | None = None

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        files = locate(config.source)
        model = _text_tower(files.folder, config)
        self._tokenizer = Tokenizer(files.folder)
        self._model = Frozen(model, config.precision, config.dropout)
        of_model = _positions(model)
        self._positions = min(config.max_length, self._tokenizer.max_length, of_model)
        taken = inspect.signature(model.forward).parameters
        self._taken = frozenset(taken)
        siglip = is_siglip(files)
        # A model that was trained without a mask has seen every text padded to its full length.
        self._padded_to = None
        if siglip or "attention_mask" not in taken:
            self._taken -= {"attention_mask"}
            self._padded_to = of_model if of_model < UNLIMITED else self._positions
        if siglip:
            self._tokenizer.lower()
        # CLS is dropped only where the tokenizer puts one: the first position of every item.
        leading = self._tokenizer.puts_one_first
        self._dropped = int(config.drop_cls and leading)
        if config.pooling == "cls" and not leading:
            raise InputError(
                f"{config.source}: pooling = cls, but its tokenizer puts no CLS position first",
                "Take pooling = mean, or model where the model has a pooled output.",
            )
        self.max_length = self._positions - self._dropped
        alone = _tried(self, ["a"])
        # What it can't take at full length shows itself here, too; beyond this no table of positions ends.
        _tried(
            self,
            ["a " * min(self._positions, LONGEST_TRIED)],
            f"At {self._positions} positions; set its max_length to what the model was made for.",
        )
        self.width = alone.features_BTD.shape[2]
        if config.pooling == "model":
            exact = copy.copy(self)
            exact._model = Frozen(model)
            pooled = (exact.encode(items).pooled_BD for items in (["a"], ["a", "a a a a a a"]))
            alone_BD, beside_BD = (cast("torch.Tensor", each) for each in pooled)
            if not torch.allclose(alone_BD[0], beside_BD[0], atol=1e-3):
                raise InputError(
                    f"{config.source}: its pooled output looks at the padding, so it would depend on which "
                    "texts are encoded together",
                    "Take pooling = mean or cls.",
                )

    def to(self, device: str | torch.device) -> TextEncoder:
        """Move it to a device, in place."""
        self._model.to(device)
        return self

    def prepare(self, items: Iterable[str]) -> Tokenized:
        """Token ids; what is longer than the limit is cut and noted."""
        return self._tokenizer(list(items), self._positions, self._padded_to)

    def run(self, prepared: Tokenized) -> EncodedBatch:
        """Encode what was prepared."""
        valid_BT, special_BT, start = prepared.valid_BT, prepared.special_BT, 0
        if not valid_BT.shape[1]:  # empty texts only, and a tokenizer that adds nothing
            features_BTD = torch.zeros(*valid_BT.shape, self.width, device=self._model.device)
            return EncodedBatch(
                features_BTD, valid_BT, special_BT, prepared.tokens, None, pieces=prepared.pieces
            )
        inputs: dict[str, Any] = {
            name: tensor.to(self._model.device)
            for name, tensor in prepared.inputs.items()
            if name in self._taken
        }
        if "use_cache" in self._taken:  # of a decoder, whose keys nobody asks for again
            inputs["use_cache"] = False
        output = self._model(**inputs, output_hidden_states=self.config.layer != -1, return_dict=True)
        features_BTD, start = _layer(output, self.config).float(), self._dropped
        if features_BTD.shape[:2] != valid_BT.shape:
            raise ValueError(
                f"it gives {features_BTD.shape[1]} hidden states for {valid_BT.shape[1]} positions"
            )
        return EncodedBatch(
            features_BTD[:, start:],
            valid_BT[:, start:],
            special_BT[:, start:],
            [of_item[start:] for of_item in prepared.tokens],
            None,
            _pooled(output, features_BTD, self.config),
            prepared.cut,
            [of_item[start:] for of_item in prepared.pieces],
        )

    def run_layers(self, prepared: Tokenized) -> dict[int, EncodedBatch]:
        """What ``run`` gives with each ``layer``: 0, the embedding, and so on; the last one is -1."""
        return _run_layers(self, prepared)

    def without(self, prepared: Tokenized, taken: Sequence[Sequence[int]]) -> Tokenized:
        """The same texts with some tokens blank (the tokenizer's mask, where it has one).

        Args:
            prepared: of as many texts.
            taken: of each text, which of its stored positions.
        """
        ids_BT = prepared.inputs["input_ids"].clone()
        for b, positions in enumerate(taken):
            places = prepared.valid_BT[b].nonzero().ravel()  # padding may stand before them
            ids_BT[b, places[[p + self._dropped for p in positions]]] = self._tokenizer.blank
        return replace(prepared, inputs={**prepared.inputs, "input_ids": ids_BT})

    def encode(self, items: Iterable[str]) -> EncodedBatch:
        """Encode texts."""
        return self.run(self.prepare(items)).cpu()


class ImageEncoder:
    """A vision model with its image processor; what comes before the patches (CLS, registers) is special.

    Where the processor keeps proportions each picture has patches of its own, and ``grid`` is None.

    Raises:
        InputError: see ``TextEncoder``; or it can't be told which part of a picture its patches show.
    """

    kind = "image"

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        folder = locate(config.source).folder
        model = _load_model(folder, CLIPVisionModel, "vision_model", config)
        # Always Pillow's resizing: torchvision's differs, and features must not depend on what is installed.
        processor = from_folder(AutoImageProcessor, folder, backend="pil")
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        self._model = Frozen(model, config.precision, config.dropout)
        self._patch = _pair(getattr(model.config, "patch_size", None))
        self._sides = _pair(getattr(model.config, "image_size", None))  # that it has position codes for
        self._one_by_one = False
        try:
            self._processor = ImageProcessor(processor, self._takes, self._patch)
        except Exception as error:  # whatever the processor raises
            raise self._unusable(error) from None
        shapes = [Image.new("RGB", size) for size in ((64, 64), (64, 64), (256, 64), (64, 256))]
        blank = _tried(self, shapes)
        self._check_order(self._processor(shapes[0]))
        self.grid = blank.grid
        self.max_length, self.width = blank.features_BTD.shape[1:]

    def to(self, device: str | torch.device) -> ImageEncoder:
        """Move it to a device, in place."""
        self._model.to(device)
        return self

    def prepare(self, items: Iterable[Image.Image]) -> list[PreparedPicture]:
        """Upright RGB pictures cropped, scaled and normalised as the model wants them.

        Raises:
            ValueError: the processor can't take one of them; says why in one line.
        """
        return [self._processor(picture) for picture in items]  # of which one is in memory in its full size

    def run(self, prepared: list[PreparedPicture]) -> EncodedBatch:
        """Encode what was prepared: pictures of one shape together."""
        groups: dict[Any, list[int]] = {}
        for b, picture in enumerate(prepared):
            groups.setdefault(b if self._one_by_one else picture.shapes, []).append(b)
        found = [(group, self._run_alike([prepared[b] for b in group])) for group in groups.values()]
        if len(found) == 1:
            return found[0][1]
        return _merged(found, len(prepared))

    def run_layers(self, prepared: list[PreparedPicture]) -> dict[int, EncodedBatch]:
        """See ``TextEncoder.run_layers``; without layers whose positions are no grid of patches."""
        return _run_layers(self, prepared)

    def encode(self, items: Iterable[Image.Image]) -> EncodedBatch:
        """Encode upright RGB pictures."""
        return self.run(self.prepare(items)).cpu()

    def _run_alike(self, pictures: list[PreparedPicture]) -> EncodedBatch:
        output = self._answer(pictures, hidden_states=self.config.layer != -1)
        features = _layer(output, self.config).float()
        if len(features) != len(pictures):  # all in one sequence, as Pixtral does
            self._one_by_one = True
            return self.run(pictures)
        features_BTD = features.flatten(2).transpose(1, 2) if features.ndim == 4 else features
        valid_BT = torch.zeros(features_BTD.shape[:2], dtype=torch.bool)
        geometry, before = [], 0
        for b, picture in enumerate(pictures):
            rows, cols, *side = self._patches(picture, features)
            # The rest of a sequence that the processor padded comes after its patches, special ones before.
            before = 0 if picture.grid else features_BTD.shape[1] - rows * cols
            shown, kept = picture.view.geometry(rows, cols, *side)
            valid_BT[b, before : before + rows * cols] = torch.from_numpy(kept)
            geometry.append(shown)
        valid_BT[:, :before] = True
        if self.config.pooling == "cls" and not before:
            raise InputError(
                f"{self.config.source}: pooling = cls, but the model has no CLS position",
                "Take pooling = mean, or model where the model has a pooled output.",
            )
        pooled_BD = _pooled(output, features_BTD, self.config)
        if self.config.drop_cls:
            features_BTD, valid_BT, before = features_BTD[:, before:], valid_BT[:, before:], 0
        special_BT = (torch.arange(features_BTD.shape[1]) < before).expand_as(valid_BT)
        return EncodedBatch(
            features_BTD.contiguous(),
            valid_BT,
            special_BT,
            None,
            _shared(geometry),
            pooled_BD,
            geometry=geometry,
        )

    def _answer(self, pictures: list[PreparedPicture], hidden_states: bool) -> Any:
        """The model's output for pictures of one shape."""
        inputs: dict[str, Any] = {
            name: torch.cat([picture.inputs[name] for picture in pictures]).to(self._model.device)
            for name in pictures[0].inputs
        }
        sides = pictures[0].sides
        if self._sides and sides != self._sides and "interpolate_pos_encoding" in self._takes:
            inputs["interpolate_pos_encoding"] = True
        try:
            return self._model(**inputs, output_hidden_states=hidden_states)
        except ValueError as error:
            raise InputError(
                f"{self.config.source} can't take pictures of {sides[1]} x {sides[0]} pixels, as its own "
                f"image processor makes them: {' '.join(str(error).split())[:160]}",
                "Give its folder a preprocessor_config.json that scales every picture to the model's size.",
            ) from None

    def _patches(self, picture: PreparedPicture, features: torch.Tensor) -> tuple[int, int, float, float]:
        """Rows and columns of patches in a model's input, and their height and width in its pixels."""
        height, width = picture.sides
        if picture.grid:
            rows, cols = picture.grid
        elif features.ndim == 4:  # a convolutional network: [B, D, rows, columns]
            rows, cols = features.shape[2:]
        else:
            length = features.shape[1]
            if self._patch:
                down, across = self._patch
                rows, cols = height // down, width // across
                if 0 < rows * cols <= length:
                    return rows, cols, down, across  # pixels beyond the last whole patch are not seen
            rows = max(
                1, round(math.sqrt(length * height / width))
            )  # a hierarchical model has merged patches
            cols = length // rows
            if rows * cols != length or abs(rows * width - cols * height) > max(height, width):
                raise InputError(
                    f"{self.config.source}: {length} positions are no grid of patches",
                    "Take another encoder.",
                )
        return rows, cols, height / rows, width / cols

    def _check_order(self, picture: PreparedPicture) -> None:
        """Refuse a model whose last patch isn't the last position: changing one has to change the other.

        Looks at the embedding, where positions don't know of each other yet; a model without one is believed.
        """
        values = picture.inputs["pixel_values"]
        changed = values.clone()
        embedded = self._embedding(picture)
        if embedded is None:
            return
        rows, cols, *side = self._patches(picture, embedded)
        before = 0 if picture.grid else embedded.shape[1] - rows * cols
        if picture.grid:
            changed[:, rows * cols - 1] += 1
        else:
            down, across = (int(length) for length in side)
            changed[..., (rows - 1) * down : rows * down, (cols - 1) * across : cols * across] += 1
        other = self._embedding(replace(picture, inputs={**picture.inputs, "pixel_values": changed}))
        if other is None or other.shape != embedded.shape:
            return
        moved = (other - embedded).abs().amax((0, 2)).nonzero().ravel().tolist()
        if len(moved) == 1 and moved != [before + rows * cols - 1]:
            raise self._unusable(f"its last patch is position {moved[0]} of {embedded.shape[1]}")

    def _embedding(self, picture: PreparedPicture) -> torch.Tensor | None:
        """The first hidden state of one picture ``[1, T, D]``, if it is as long as the last."""
        output = self._answer([picture], hidden_states=True)
        states = getattr(output, "hidden_states", None)
        if not states or states[0].ndim != 3 or states[0].shape[:2] != output.last_hidden_state.shape[:2]:
            return None
        return states[0].float()

    def _unusable(self, reason: object) -> InputError:
        text = " ".join(str(reason).split())[:160]
        return InputError(
            f"{self.config.source}: it can't be told which part of a picture each position is: {text}",
            "Take an encoder whose image processor makes one upright RGB picture of a picture.",
        )


@cache
def bare_processor(source: str) -> ImageProcessor:
    """An encoder's image processor without its model: for stores that don't say what it showed.

    Raises:
        InputError: it is missing or damaged, or it can't be told what it shows.
    """
    folder = locate(source).folder
    patch = _pair(getattr(from_folder(AutoConfig, folder), "patch_size", None))
    try:
        return ImageProcessor(from_folder(AutoImageProcessor, folder, backend="pil"), frozenset(), patch)
    except ValueError as error:
        raise InputError(f"{source}: {error}", "Take another encoder.") from None


def _pair(value: Any) -> tuple[int, int] | None:
    """Height and width, as configurations write them: one number for both, or two."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(n, int) for n in value):
        return value[0], value[1]
    return None


def _shared(geometry: Iterable[Geometry]) -> tuple[int, int] | None:
    """The grid of all these pictures; None where they have different ones."""
    grids = {(found.rows, found.cols) for found in geometry}
    return grids.pop() if len(grids) == 1 else None


def _merged(found: list[tuple[list[int], EncodedBatch]], count: int) -> EncodedBatch:
    """One batch of several: each with the items it holds."""
    length = max(batch.features_BTD.shape[1] for _, batch in found)
    some = found[0][1]
    features_BTD = some.features_BTD.new_zeros(count, length, some.features_BTD.shape[2])
    valid_BT, special_BT = (torch.zeros(count, length, dtype=torch.bool) for _ in range(2))
    pooled_BD = None if some.pooled_BD is None else some.pooled_BD.new_zeros(count, some.pooled_BD.shape[1])
    geometry: dict[int, Geometry] = {}
    for items, batch in found:
        there = slice(0, batch.features_BTD.shape[1])
        features_BTD[items, there] = batch.features_BTD
        valid_BT[items, there], special_BT[items, there] = batch.valid_BT, batch.special_BT
        if pooled_BD is not None and batch.pooled_BD is not None:
            pooled_BD[items] = batch.pooled_BD
        geometry |= zip(items, batch.geometry or [], strict=True)
    in_order = [geometry[b] for b in range(count)]
    return EncodedBatch(
        features_BTD, valid_BT, special_BT, None, _shared(in_order), pooled_BD, geometry=in_order
    )


def _tried(encoder: TextEncoder | ImageEncoder, items: list[Any], remedy: str = "") -> EncodedBatch:
    """One item encoded: a model that does not take it, or takes something else, shows itself here."""
    try:
        return encoder.encode(items)
    except (ValueError, TypeError, RuntimeError, LookupError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"{encoder.config.source} does not work as an encoder of kind {encoder.kind}: {said}",
            remedy or "Take a model that maps one text or one picture to a sequence of hidden states.",
        ) from None


def _text_tower(folder: Path, config: EncoderConfig) -> nn.Module:
    """The text tower of a folder's model; of an encoder-decoder the encoder, which may be there alone."""
    described = from_folder(AutoConfig, folder)
    alone = any(name.endswith("EncoderModel") for name in described.architectures or ())
    if not (alone or getattr(described, "is_encoder_decoder", False)):
        return _load_model(folder, CLIPTextModel, "text_model", config)
    if type(described) in AutoModelForTextEncoding._model_mapping:
        return _loaded(AutoModelForTextEncoding, folder, config)
    encoder: nn.Module = _loaded(AutoModel, folder, config).get_encoder()
    return encoder


def _load_model(folder: Path, clip_tower: type, tower: str, config: EncoderConfig) -> nn.Module:
    described = from_folder(AutoConfig, folder)
    loader: Any = clip_tower if described.model_type == "clip" else AutoModel
    if type(described) not in AutoModel._model_mapping:  # a tower alone, such as SigLIP's of texts
        loader = getattr(transformers, next(iter(described.architectures or ()), ""), AutoModel)
    model = _loaded(loader, folder, config)
    # Of a model of both (SigLIP and the like) the tower of the kind asked for.
    both = hasattr(model, "text_model") and hasattr(model, "vision_model")
    return getattr(model, tower) if both else model


def _loaded(loader: Any, folder: Path, config: EncoderConfig) -> Any:
    """A model whose weights are all there, in single precision whatever they were saved in."""
    with _quiet():  # its report of weights that aren't used; what is missing is checked below
        model, report = from_folder(loader, folder, output_loading_info=True, dtype=torch.float32)
    missing = sorted(report["missing_keys"])
    if config.pooling != "model":
        missing = [k for k in missing if "pooler" not in k]  # nobody reads it
    if missing or report["mismatched_keys"]:
        raise InputError(
            f"the weights in {folder} don't fit config.json: {', '.join(missing[:3]) or 'shapes differ'}",
            "Take the folder of one model as it was saved"
            + ("; or pooling = mean, if only the pooler is missing." if config.pooling == "model" else "."),
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _positions(model: nn.Module) -> int:
    """How many positions a text model has codes for."""
    limit = getattr(model.config, "max_position_embeddings", None) or UNLIMITED
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and "position" in name.rpartition(".")[2]:
            # RoBERTa counts from after the padding index; BART's table is longer than what it takes.
            padding = 0 if module.padding_idx is None else module.padding_idx + 1
            return min(limit, module.num_embeddings - padding)
    return limit


def _pooled(output: Any, features_BTD: torch.Tensor, config: EncoderConfig) -> torch.Tensor | None:
    """The vector of each whole item as ``config.pooling`` says; None for the mean, which is taken later."""
    if config.pooling == "mean":
        return None
    if config.pooling == "cls":
        return features_BTD[:, 0]
    pooled = getattr(output, "pooler_output", None)
    if pooled is None or pooled.flatten(1).shape[1] != features_BTD.shape[2]:
        raise InputError(
            f"{config.source}: pooling = model, but the model has no pooled output of its own width",
            "Take pooling = mean or cls.",
        )
    return pooled.flatten(1).float()


def _run_layers(encoder: TextEncoder | ImageEncoder, prepared: Any) -> dict[int, EncodedBatch]:
    """The model runs once; each layer is then taken from what it said as if it were asked for."""
    asked = copy.copy(encoder)
    asked._model = replayed = Replayed(encoder._model)

    def taken(layer: int) -> EncodedBatch:
        asked.config = encoder.config.model_copy(update={"layer": layer, "pooling": "mean"})
        replayed.rewind()
        return asked.run(prepared)

    last = taken(-1)
    states = getattr(replayed.answers[0], "hidden_states", None) if replayed.answers else None
    found = {}
    for layer in range(len(states or ()) - 1):
        try:
            found[layer] = taken(layer)
        except (InputError, ValueError):
            continue
    return {**found, -1: last}


def _layer(output: Any, config: EncoderConfig) -> torch.Tensor:
    """The last hidden state as the model returns it, or the hidden state of a layer (0 is the embedding)."""
    if config.layer == -1:
        return output.last_hidden_state
    states = output.hidden_states
    if not -len(states) <= config.layer < len(states):
        raise InputError(
            f"{config.source} has no layer {config.layer}",
            f"Valid: {-len(states)}..{len(states) - 1}; 0 is the embedding, -1 the last.",
        )
    return states[config.layer]
