"""Encoded pictures in, small WebP pictures out; a picture that can't be read is None, not an error."""

from __future__ import annotations

import base64
import io

from PIL import Image

from raymoe.data.pictures import decode

LARGEST_SIDE = 320  # pixels
LARGEST_BYTES = 90_000  # of all pictures of a sample


def thumbnail(encoded: bytes | None, largest: int = LARGEST_BYTES) -> tuple[bytes, tuple[int, int]] | None:
    """The whole picture as encoders get it (upright, on white), as WebP of at most ``LARGEST_SIDE``.

    It gets the best of a few qualities that stays under ``largest`` bytes.

    Returns:
        The thumbnail, and width and height of the picture itself; None for what can't be decoded.
    """
    if not encoded:
        return None
    try:
        picture = decode(encoded)
    except ValueError:
        return None
    size = picture.size
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    written = b""
    for quality in (82, 60, 35, 10):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=4)
        written = buffer.getvalue()
        if len(written) <= largest:
            break
    return written, size


def opened(webp: bytes) -> Image.Image:
    """What ``thumbnail`` wrote, in RGB."""
    return Image.open(io.BytesIO(webp)).convert("RGB")


def data_uri(webp: bytes) -> str:
    """What ``thumbnail`` wrote, to stand in a page."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()
