"""Which part of a picture an encoder's patches cover, and how that is found out.

What a model's image processor does to a picture (crop, scale, pad, in whichever order) is not read off its
settings, of which every family has its own: it is measured. A ramp from left to right in one channel and from
top to bottom in another goes through the processor as a picture would; what comes out says of each pixel
where in the picture it is from, to about half a pixel of the encoder's input.

Everything here is about upright pictures, as ``raymoe.data.pictures`` decodes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the upright picture
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
PROBED_SIDE = 64  # pixels: on a smaller side a ramp has too few steps
LONGEST_PROBED = 4096  # pixels, of a picture that is enlarged to measure it
EDGE = 3  # pixels beside an edge that resampling bends
TURNED = 0.1  # of the picture: so much may a row of pixels rise
LEAST_SHARE = 0.02  # of a pixel: less of the picture isn't told from none


@dataclass(frozen=True)
class Geometry:
    """The patches of one picture: ``rows`` times ``cols`` equal rectangles that fill ``box``, row by row.

    Attributes:
        rows, cols: of the patches that see some of the picture.
        box: what they cover together, as fractions of the upright picture; beyond 0..1 where patches at the
            edge see some padding, too.
    """

    rows: int
    cols: int
    box: Box = WHOLE

    def columns(self) -> np.ndarray:
        """Where the columns of patches begin and end inside the picture, fractions [cols + 1]."""
        return _inside(self.box[0], self.box[2], self.cols)

    def lines(self) -> np.ndarray:
        """Where the rows of patches begin and end inside the picture, fractions [rows + 1]."""
        return _inside(self.box[1], self.box[3], self.rows)

    def patch(self, cell: int) -> Box:
        """What a patch covers of the picture."""
        (row, col), x, y = divmod(cell, self.cols), self.columns(), self.lines()
        return float(x[col]), float(y[row]), float(x[col + 1]), float(y[row + 1])

    @property
    def seen(self) -> Box:
        """What all patches together cover of the picture."""
        x, y = self.columns(), self.lines()
        return float(x[0]), float(y[0]), float(x[-1]), float(y[-1])


def _inside(start: float, stop: float, count: int) -> np.ndarray:
    return np.clip(start + (stop - start) * np.arange(count + 1) / count, 0.0, 1.0)


@dataclass(frozen=True)
class Axis:
    """One axis of an encoder's input.

    Attributes:
        size: its pixels.
        first, last: those that show the picture, ``first`` to before ``last``; the rest is padding.
        start, stop: where in the picture these two begin and end, as fractions.
    """

    size: int
    first: int
    last: int
    start: float
    stop: float

    def at(self, pixel: float) -> float:
        """Where in the picture an edge between pixels is; beyond 0..1 in the padding."""
        step = (self.stop - self.start) / (self.last - self.first)
        return self.start + (pixel - self.first) * step

    def patches(self, count: int, side: float) -> tuple[slice, float, float]:
        """Of ``count`` patches of ``side`` pixels those that see some of the picture, and where these begin
        and end."""
        kept = slice(int(self.first // side), min(count, math.ceil(self.last / side)))
        return kept, self.at(kept.start * side), self.at(kept.stop * side)


@dataclass(frozen=True)
class View:
    """What an encoder's input shows of a picture."""

    x: Axis
    y: Axis

    def geometry(self, rows: int, cols: int, height: float, width: float) -> tuple[Geometry, np.ndarray]:
        """The patches that see some of the picture.

        Args:
            rows, cols: of all patches in the encoder's input, from its upper left corner.
            height, width: of a patch, in pixels of that input.

        Returns:
            Their geometry, and which of all patches they are, bool [rows * cols].

        Raises:
            ValueError: none sees any.
        """
        y, top, bottom = self.y.patches(rows, height)
        x, left, right = self.x.patches(cols, width)
        kept = np.zeros((rows, cols), bool)
        kept[y, x] = True
        if not kept.any():
            raise ValueError("none of its patches sees any of the picture")
        return Geometry(y.stop - y.start, x.stop - x.start, (left, top, right, bottom)), kept.ravel()


class Measure:
    """Finds out what an image processor does to pictures of a size.

    Args:
        pixels: the processor: an RGB picture to ``[3, H, W]``, channels scaled and shifted in any way.

    Raises:
        ValueError: it does not scale channels by fixed factors, or reads no picture at all.
    """

    def __init__(self, pixels: Callable[[Image.Image], np.ndarray]) -> None:
        self._pixels = pixels
        self._views: dict[tuple[int, int], View] = {}
        dark, light = (
            self._read(Image.new("RGB", (PROBED_SIDE, PROBED_SIDE), tone)) for tone in ("black", "white")
        )
        self._span_C = np.abs(light - dark).max((1, 2))  # between black and white, of each channel
        if not (np.isfinite(self._span_C).all() and (self._span_C > 0).all()):
            raise ValueError("black and white are the same to it")

    def view(self, width: int, height: int) -> View:
        """What the encoder's input shows of a picture of this size.

        Raises:
            ValueError: that is no upright rectangle of it.
        """
        size = width, height
        if size not in self._views:
            self._views[size] = self._measured(*size)
        return self._views[size]

    def _measured(self, width: int, height: int) -> View:
        size, own = (width, height), self._probed(width, height)
        times = min(math.ceil(PROBED_SIDE / min(size)), LONGEST_PROBED // max(size))
        if times > 1:
            # A ramp of few pixels says little. Most processors treat a picture as they treat its enlargement.
            large = self._probed(width * times, height * times)
            if all(
                (a.size, a.first, a.last) == (b.size, b.first, b.last)
                for a, b in ((own.x, large.x), (own.y, large.y))
            ):
                return large
        return own

    def _probed(self, width: int, height: int) -> View:
        """By the ramp and by its negative: where the two are the same there is padding."""
        x_W, y_H = (
            np.rint(255 * (np.arange(length) + 0.5) / length).astype(np.uint8) for length in (width, height)
        )
        ramp = np.empty((height, width, 3), np.uint8)
        ramp[..., 0], ramp[..., 1], ramp[..., 2] = x_W, y_H[:, None], 255
        positive = self._read(Image.fromarray(ramp))
        negative = self._read(Image.fromarray(255 - ramp))
        if positive.shape != negative.shape:
            raise ValueError("what it shows of a picture depends on the colours")
        difference = (positive - negative) / self._span_C[:, None, None]  # [3, H, W]
        share = difference[
            2
        ]  # of the picture in a pixel: between 0 and 1 where it is scaled with its padding
        shown = share > 0.5 * min(1.0, float(share.max()))
        if share.max() < LEAST_SHARE:
            raise ValueError("it shows nothing of the picture, or exchanges colours")
        rows, cols = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        there = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        if not shown[there].all():
            raise ValueError("what it shows of a picture is no rectangle")
        places = (1 + difference[:2, *there] / share[there]) / 2
        # By medians: beside padding resampling overshoots, and what overshoots is clipped.
        across, down = np.median(places[0], axis=0), np.median(places[1], axis=1)
        if max(np.ptp(np.median(places[0], axis=1)), np.ptp(np.median(places[1], axis=0))) > TURNED:
            raise ValueError("it turns pictures")
        return View(
            _axis(across, width, shown.shape[1], int(cols[0])),
            _axis(down, height, shown.shape[0], int(rows[0])),
        )

    def _read(self, picture: Image.Image) -> np.ndarray:
        found = self._pixels(picture).astype(np.float32)
        if found.ndim != 3 or found.shape[0] != 3:
            raise ValueError(
                f"it makes {' x '.join(map(str, found.shape))} numbers of a picture, not 3 x H x W"
            )
        return found


def _axis(places: np.ndarray, pixels: int, size: int, first: int) -> Axis:
    """One axis of a view.

    Args:
        places: of each input pixel that shows the picture, where in the picture it is from.
        pixels: of the picture.
        size: of the input.
        first: the first input pixel that shows the picture.

    Raises:
        ValueError: places don't grow evenly.
    """
    count = len(places)
    last, half = first + count, 0.5 / pixels
    start = 0.0 if first > 0 else None  # padding before it: here is the picture's edge
    stop = 1.0 if last < size else None
    outermost = max(half, 0.5 / count) + 0.01
    is_whole = places[0] <= outermost and places[-1] >= 1 - outermost
    trim = max(EDGE, count // 16)
    if (start is None or stop is None) and (pixels < PROBED_SIDE or count < 4 * EDGE) and is_whole:
        start, stop = 0.0, 1.0  # the outermost pixels of the picture are there
    if start is None or stop is None:
        inner = slice(trim, count - trim) if count > 4 * trim else slice(0, count)
        at = np.arange(count)[inner] + 0.5
        step, offset = np.polyfit(at, places[inner], 1) if len(at) > 1 else (0.0, float(places[0]))
        if step < 0 or np.abs(offset + step * at - places[inner]).max() > 1.5 * abs(step) + 0.01 + half:
            raise ValueError("it does not scale pictures evenly")
        start = float(offset) if start is None else start
        stop = float(offset + count * step) if stop is None else stop
        near = max(0.5 / count, 0.003)  # what is cut off is less than measuring can tell
        start, stop = (0.0 if abs(start) < near else start), (1.0 if abs(stop - 1) < near else stop)
    if not start < stop:
        raise ValueError("of the picture's pixels it shows less than one")
    return Axis(size, first, last, start, stop)
