"""Decoding pictures, the same way wherever one is looked at: checked, upright, RGB on white."""

from __future__ import annotations

import io

from PIL import Image, ImageOps


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
    except Exception as error:
        raise ValueError(f"picture can't be decoded: {type(error).__name__}: {error}") from None


def _on_white(picture: Image.Image) -> Image.Image:
    """Transparent pixels have an arbitrary colour, so they're painted over white."""
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "LA", "PA"):
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    paper.alpha_composite(layer)
    return paper.convert("RGB")
