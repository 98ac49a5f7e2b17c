"""The regions of a picture, and the picture without some of them: what masking at the input takes out.

Regions divide what the encoder sees of the upright picture into equal rectangles; what it crops off is of
none.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from raymoe.features.geometry import Box

Pixels = tuple[int, int, int, int]  # left, top, right, bottom; the last two are outside


def region_boxes(seen: Box, rows: int, cols: int) -> list[Box]:
    """The regions as fractions of the upright picture, row by row."""
    left, top, right, bottom = seen
    x = [left + (right - left) * i / cols for i in range(cols + 1)]
    y = [top + (bottom - top) * i / rows for i in range(rows + 1)]
    return [(x[c], y[r], x[c + 1], y[r + 1]) for r in range(rows) for c in range(cols)]


class MaskedPicture:
    """A picture of which regions can be taken out.

    Args:
        picture: upright, RGB.
        boxes: its regions, as fractions.
        fill: what is put in their place: ``white``; ``mean``, the picture's mean colour; ``blur``, the same
            region so blurred that nothing smaller than half of it is left.

    Attributes:
        pixels: of each region.

    Raises:
        ValueError: a region has no pixel.
    """

    def __init__(self, picture: Image.Image, boxes: list[Box], fill: str) -> None:
        width, height = picture.size
        self.picture = picture
        self.pixels: list[Pixels] = [
            (round(left * width), round(top * height), round(right * width), round(bottom * height))
            for left, top, right, bottom in boxes
        ]
        sides = [(right - left, bottom - top) for left, top, right, bottom in self.pixels]
        if any(min(side) < 1 for side in sides):
            raise ValueError(f"a picture of {width} x {height} pixels has not that many regions")
        if fill == "white":
            self._filling = Image.new("RGB", picture.size, "white")
        elif fill == "mean":
            mean = np.asarray(picture, dtype=np.float64).reshape(-1, 3).mean(0)
            self._filling = Image.new("RGB", picture.size, tuple(np.rint(mean).astype(int).tolist()))
        else:
            radius = max(max(side) for side in sides) / 2
            self._filling = picture.filter(ImageFilter.GaussianBlur(radius))

    def without(self, kept: np.ndarray) -> Image.Image:
        """The picture with those regions filled that are not kept, bool [regions]."""
        made = self.picture.copy()
        for box, stays in zip(self.pixels, kept.tolist(), strict=True):
            if not stays:
                made.paste(self._filling.crop(box), box)
        return made
