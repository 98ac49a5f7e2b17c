"""A Hugging Face image processor: what it makes of a picture, and which part of the picture that shows.

Shape suffixes: C channels, H and W pixels of the model's input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from raymoe.features.geometry import Geometry, Measure, View

LONGEST_REASON = 100  # characters of a library's own message that are passed on


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as a model takes it.

    Attributes:
        inputs: the model's arguments, each a batch of one.
        view: what of the picture they show.
        grid: rows and columns of patches, where the processor itself cuts the picture into patches.
    """

    inputs: dict[str, torch.Tensor]
    view: View
    grid: tuple[int, int] | None

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""
        return self.view.y.size, self.view.x.size

    @property
    def shapes(self) -> tuple[tuple[str, torch.Size], ...]:
        """What has to be the same of pictures that go through the model together."""
        return tuple((name, tensor.shape) for name, tensor in self.inputs.items())


class ImageProcessor:
    """Prepares pictures one by one; can be used by several threads.

    Args:
        processor: as ``transformers`` loads it.
        taken: what the model takes; nothing else is kept of what the processor makes.
        patch: height and width of the model's patches in pixels, where it has fixed ones.

    Raises:
        ValueError: which part of a picture it shows can't be told.
    """

    def __init__(self, processor: Any, taken: frozenset[str], patch: tuple[int, int] | None) -> None:
        self._processor, self._taken, self._patch = processor, taken, patch
        self._measure = Measure(lambda picture: _pixels(self._inputs(picture)))

    def __call__(self, picture: Image.Image) -> PreparedPicture:
        """An RGB picture cropped, scaled and normalised as the model wants it.

        Raises:
            ValueError: it can't do that with a picture of this size, in one line.
        """
        size = f"{picture.width} x {picture.height} pixels"
        try:
            inputs = self._inputs(picture)
            grid = inputs.get("spatial_shapes")
            return PreparedPicture(
                {name: tensor for name, tensor in inputs.items() if name in self._taken},
                self._measure.view(*picture.size),
                None if grid is None else (int(grid[0, 0]), int(grid[0, 1])),
            )
        except Exception as error:  # each processor has its own ways to fail
            reason = " ".join(str(error).split())[:LONGEST_REASON]
            if self._takes_a_square(picture):  # what it says of a side of no pixel is about its own settings
                reason = f"too long for its other side ({reason})"
            raise ValueError(f"the encoder's image processor can't take {size}: {reason}") from None

    def geometry(self, size: tuple[int, int], grid: tuple[int, int]) -> Geometry:
        """What ``grid`` rows and columns of patches show of an upright picture of this width and height.

        Raises:
            ValueError: it can't take such a picture.
        """
        view = self._measure.view(*size)
        height, width = view.y.size, view.x.size
        sides = (height / grid[0], width / grid[1])
        if self._patch and grid == (height // self._patch[0], width // self._patch[1]):
            sides = self._patch
        return view.geometry(*grid, *sides)[0]

    def _takes_a_square(self, picture: Image.Image) -> bool:
        try:
            self._inputs(Image.new("RGB", (min(picture.size), min(picture.size))))
        except Exception:
            return False
        return picture.width != picture.height

    def _inputs(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        found = self._processor(images=[picture], return_tensors="pt")
        return {name: tensor for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}


def _pixels(inputs: dict[str, torch.Tensor]) -> np.ndarray:
    """The model's input as a picture ``[C, H, W]``, also where it is a sequence of patches."""
    values, grid = inputs["pixel_values"], inputs.get("spatial_shapes")
    if grid is not None and values.ndim == 3:
        rows, cols = map(int, grid[0])
        side = math.isqrt(values.shape[2] // 3)
        patches = values[0, : rows * cols].reshape(rows, cols, side, side, 3)
        return patches.permute(4, 0, 2, 1, 3).reshape(3, rows * side, cols * side).numpy()
    if values.ndim != 4 or len(values) != 1:
        raise ValueError(f"it makes {' x '.join(map(str, values.shape))} numbers of one picture")
    return values[0].numpy()
