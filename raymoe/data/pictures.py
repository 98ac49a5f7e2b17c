"""Decoding pictures, the same way wherever one is looked at: checked, upright, RGB on white."""

from __future__ import annotations

import io

from PIL import Image, ImageOps, UnidentifiedImageError

# Memory of pictures is kept for the next, at most so many blocks of 16 MB: mapping it anew for each picture
# takes most of the time of decoding them (docs/datasets.md).
KEPT_BLOCKS = 16
Image.core.set_blocks_max(KEPT_BLOCKS)


def decode(data: bytes) -> Image.Image:
    """The whole picture, as RGB.

    Raises:
        ValueError: it can't be decoded, with the reason. Pillow raises a dozen kinds of exception for that.
    """
    try:
        Image.open(io.BytesIO(data)).verify()  # checksums; leaves the object unusable
        picture = Image.open(io.BytesIO(data))
        # Pillow refuses at twice this size and only warns below; its warnings aren't safe between threads.
        if Image.MAX_IMAGE_PIXELS and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels")
        picture.load()
        return _on_white(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:  # its own message names an address in memory
        raise ValueError(f"picture can't be decoded: {_what_else(data)}") from None
    except Exception as error:
        raise ValueError(f"picture can't be decoded: {type(error).__name__}: {error}") from None


def _what_else(data: bytes) -> str:
    """What it is when it is no picture: most often the error page of a failed download."""
    start = data[:1000].lstrip().lower()
    if not data:
        return "the file is empty"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "it is an HTML page, as a failed download leaves it"
    return "of no known format"


def _on_white(picture: Image.Image) -> Image.Image:
    """Transparent pixels have an arbitrary colour, so they're painted over white."""
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "LA", "PA"):
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    paper.alpha_composite(layer)
    return paper.convert("RGB")
