"""Encoded pictures in, small WebP data URIs out; a picture that can't be read is None, not an error."""

from __future__ import annotations

import base64
import io
import warnings

from PIL import Image

LARGEST_SIDE = 320  # pixels
LARGEST_BYTES = 120_000


def decode(encoded: bytes | None) -> Image.Image | None:
    """The picture in RGB, transparent parts on white, at most ``LARGEST_SIDE`` wide and high."""
    if not encoded:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd palettes and metadata help nobody here
            picture = Image.open(io.BytesIO(encoded))
            picture.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
            picture = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def data_uri(picture: Image.Image) -> str:
    """The picture as a WebP data URI, in the best of a few qualities that stays under ``LARGEST_BYTES``."""
    encoded = b""
    for quality in (82, 60, 35):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=4)
        encoded = buffer.getvalue()
        if len(encoded) <= LARGEST_BYTES:
            break
    return "data:image/webp;base64," + base64.b64encode(encoded).decode()
