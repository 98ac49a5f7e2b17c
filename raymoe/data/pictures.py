"""How a picture is read, the same way wherever one is looked at: checked, upright, 8-bit RGB on white.

Encoders, thumbnails and figures all take what ``decode`` gives. Numbers are scaled by the range that a mode
has by definition; where it has none (32-bit integers, floats outside [0, 1]) the picture is refused, as any
guess would clip or stretch it without a word. docs/encoders.md has the whole list.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

# Memory of pictures is kept for the next, at most so many blocks of 16 MB: mapping it anew for each picture
# takes most of the time of decoding them (docs/datasets.md).
KEPT_BLOCKS = 16
Image.core.set_blocks_max(KEPT_BLOCKS)
# Its remarks on odd metadata and palettes help nobody: what matters is an error or a reason below.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

LONGEST_REASON = 160  # characters of a library's own message that are passed on
# What turns a picture upright, by its EXIF orientation; 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # of TIFF
SIGNED = 2
UNSIGNED = ("PNG", "TIFF", "PPM", "JPEG2000")  # formats whose 16-bit greys are unsigned, or read as 32 bits
GREY, COLOUR = 0, 2  # of PNG
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"))
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # of PNG: what pixels are made of


def decode(data: bytes) -> Image.Image:
    """The whole picture (of an animation the first), upright, as RGB.

    Raises:
        ValueError: it can't be decoded, or its numbers have no agreed range; with the reason, in one line.
    """
    try:
        return _on_white(_upright(_loaded(data)))
    except RangeError as refused:
        raise ValueError(f"picture can't be used: {refused}") from None
    except UnidentifiedImageError:  # its own message names an address in memory
        raise ValueError(f"picture can't be decoded: {_what_else(data)}") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise ValueError(f"picture can't be decoded: {type(error).__name__}: {reason}") from None


class RangeError(ValueError):
    """A picture that could be decoded, but not without guessing."""


def _loaded(data: bytes) -> Image.Image:
    """All pixels, checksums checked. Metadata that Pillow stumbles over are left out and it is read again."""
    try:
        return _read(data)
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception:
        bare = _without_metadata(data)
        if bare is None:
            raise
        try:
            return _read(bare)
        except Exception:  # the pixels themselves
            pass
        raise


def _read(data: bytes) -> Image.Image:
    Image.open(io.BytesIO(data)).verify()  # leaves the object unusable
    picture = Image.open(io.BytesIO(data))
    # Pillow refuses at twice this size and only warns below; its warnings aren't safe between threads.
    if Image.MAX_IMAGE_PIXELS and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels")
    picture.load()
    if picture.format == "PNG" and "transparency" in picture.info:
        picture.info["transparency"] = _as_read(picture.info["transparency"], *data[24:26])
    return picture


def _as_read(transparent: Any, bits: int, kind: int) -> Any:
    """The transparent grey or colour of a PNG among the numbers that Pillow makes of its pixels.

    Raises:
        RangeError: pixels that have it can't be told from others any more.
    """
    white = 2**bits - 1
    if kind == COLOUR and bits == 16:
        raise RangeError("a transparent colour of 16 bits is not read; save it with an alpha channel")
    if kind == COLOUR:
        return tuple(value & white for value in transparent)
    if kind == GREY:
        grey = transparent & white
        return grey * (255 // white) if bits < 8 else grey
    return transparent


def _without_metadata(data: bytes) -> bytes | None:
    """A PNG or JPEG of its pixels and orientation alone; None for anything else."""
    if data.startswith(_PNG):
        kept = [_PNG]
        for kind, content, whole, is_sound in _png_chunks(data):
            if kind in _PIXEL_CHUNKS or (kind == b"eXIf" and is_sound and len(content) < 1 << 16):
                kept.append(whole)
        return b"".join(kept)
    if data.startswith(_JPEG):
        kept, rest = [_JPEG], len(_JPEG)
        for marker, content, whole in _jpeg_segments(data):
            rest += len(whole)
            # Adobe's says how colours are stored
            is_needed = (marker == 0xE1 and content.startswith(b"Exif")) or (
                marker == 0xEE and len(content) >= 12
            )
            if is_needed or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                kept.append(whole)
        return b"".join([*kept, data[rest:]])
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes, bool]]:
    """Kind, content, all bytes and whether the checksum is right, of every chunk that is whole."""
    at = len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        kind, content = data[at + 4 : at + 8], data[at + 8 : end - 4]
        yield kind, content, data[at:end], zlib.crc32(kind + content) == int.from_bytes(data[end - 4 : end])
        at = end


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, content and all bytes of every segment before the pixels."""
    at = len(_JPEG)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + max(length, 2)
        if end > len(data):
            return
        yield data[at + 1], data[at + 4 : end], data[at:end]
        at = end


def _what_else(data: bytes) -> str:
    """What it is when Pillow finds no picture in it: most often the error page of a failed download."""
    start = data[:1000].lstrip().lower()
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "a TIFF of channels or numbers that are not read; save it as RGB or grey of 8 or 16 bits"
    if not data:
        return "the file is empty"
    if data.startswith((_PNG, _JPEG)):
        return f"its beginning is damaged, though it is a {'PNG' if data.startswith(_PNG) else 'JPEG'}"
    if data[4:12] in _HEIF:
        return "it is a HEIF (HEIC), which is not read; save it as JPEG or PNG"
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return "it is an SVG, a drawing without pixels; save it as PNG"
    if start.startswith(b"%pdf-"):
        return "it is a PDF; save its page as PNG"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "it is an HTML page, as a failed download leaves it"
    return "of no known format"


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF (or XMP) says; what can't be read there says nothing."""
    try:
        orientation = picture.getexif().get(ORIENTATION)
    except Exception:  # whatever its parsers meet: struct.error, SyntaxError, KeyError, UnicodeError
        return picture
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return picture
    known: dict[str | tuple[int, int], Any] = {
        key: picture.info[key] for key in ("transparency",) if key in picture.info
    }
    turned = _eight_bits(picture).transpose(turn)
    turned.info = known
    return turned


def _on_white(picture: Image.Image) -> Image.Image:
    """RGB; transparent pixels have an arbitrary colour, so they're painted over white."""
    picture = _eight_bits(picture)
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "RGBa", "LA", "La", "PA"):
        return picture.convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    layer = picture.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    paper.alpha_composite(layer)
    return paper.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A mode whose conversion to RGB is defined and clips nothing.

    Raises:
        RangeError: the range of its numbers is not known.
    """
    mode = picture.mode
    numbers = getattr(picture, "tag_v2", {}).get(SAMPLE_FORMAT, ())
    if SIGNED in (numbers if isinstance(numbers, tuple) else (numbers,)):  # Pillow reads -1 as 255
        raise RangeError("signed integers have no agreed white; save it with 8 or 16 bits unsigned")
    if picture.format in UNSIGNED and (mode.startswith("I;16") or (mode == "I" and picture.format == "PPM")):
        return _from_integers(picture)
    if mode == "I" or mode.startswith("I;16"):
        raise RangeError("signed or 32-bit integers have no agreed white; save it with 8 or 16 bits unsigned")
    if mode == "F":
        return _from_floats(picture)
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        found = ImageCms.applyTransform(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
        assert found is not None  # as it isn't done in place
        return found
    return picture


def _from_integers(picture: Image.Image) -> Image.Image:
    """Grey of up to 16 bits, its whole range scaled to 0..255; a transparent grey stays transparent."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))
    white = 2 ** int(bits[0] if isinstance(bits, tuple) else bits) - 1
    grey_HW = np.asarray(picture).astype(np.int64)
    if grey_HW.min(initial=0) < 0 or grey_HW.max(initial=0) > white:
        raise RangeError(
            f"grey values {grey_HW.min()}..{grey_HW.max()} are outside 0..{white}; "
            "save it with 8 or 16 bits unsigned"
        )
    scaled_HW = (2 * 255 * grey_HW + white) // (2 * white)  # to the nearest
    if tags.get(PHOTOMETRIC) == 0:  # white is 0; Pillow heeds that for 8 bits alone
        scaled_HW = 255 - scaled_HW
    found = Image.fromarray(scaled_HW.astype(np.uint8))
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        found.putalpha(Image.fromarray(np.where(grey_HW == transparent, 0, 255).astype(np.uint8)))
    return found


def _from_floats(picture: Image.Image) -> Image.Image:
    """Floats of [0, 1], scaled to 0..255."""
    grey_HW = np.asarray(picture, dtype=np.float64)
    if not ((grey_HW >= 0) & (grey_HW <= 1)).all():  # also where one is no number
        finite = grey_HW[np.isfinite(grey_HW)]
        what = (
            f"{finite.min():.6g} to {finite.max():.6g}" if len(finite) == grey_HW.size else "not all finite"
        )
        raise RangeError(
            f"float values ({what}) are outside 0..1; scale it to 0..1, or save it with 8 or 16 bits"
        )
    if getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == 0:
        grey_HW = 1 - grey_HW
    return Image.fromarray(np.rint(255 * grey_HW).astype(np.uint8))
