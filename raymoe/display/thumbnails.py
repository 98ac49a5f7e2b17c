"""Encoded pictures in, small WebP pictures out; a picture that can't be read is None, not an error."""

from __future__ import annotations

import base64
import io
import warnings

from PIL import Image

LARGEST_SIDE = 320  # pixels
LARGEST_BYTES = 90_000  # of all pictures of a sample


def thumbnail(encoded: bytes | None, largest: int = LARGEST_BYTES) -> bytes | None:
    """The picture as WebP, transparent parts on white, at most ``LARGEST_SIDE`` wide and high.

    It gets the best of a few qualities that stays under ``largest`` bytes. None for what can't be decoded.
    """
    if not encoded:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd palettes and metadata help nobody here
            file = Image.open(io.BytesIO(encoded))
            file.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
            picture = file.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("RGB")
    written = b""
    for quality in (82, 60, 35, 10):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=4)
        written = buffer.getvalue()
        if len(written) <= largest:
            break
    return written


def opened(webp: bytes) -> Image.Image:
    """What ``thumbnail`` wrote, in RGB."""
    return Image.open(io.BytesIO(webp)).convert("RGB")


def data_uri(webp: bytes) -> str:
    """What ``thumbnail`` wrote, to stand in a page."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()
