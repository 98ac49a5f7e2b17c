"""Pictures of every mode come out as an independent calculation says, or are refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from support.hostile import few

from raymoe.data.pictures import decode

SMALL = st.tuples(st.integers(1, 9), st.integers(1, 9))
FAST = few(40)
pytestmark = pytest.mark.hostile


def saved(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def values(data):
    picture = decode(data)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def refused(data):
    with pytest.raises(ValueError, match=r"^picture can't be (used|decoded): ") as caught:
        decode(data)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 260
    return message


def grey(array_HW):
    return np.repeat(np.asarray(array_HW)[..., None], 3, 2)


def chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(size, bits, kind, lines, *chunks):
    """A PNG of lines of bytes, written by hand."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body


def png16(array_HW, *chunks):
    """A 16-bit grey PNG."""
    return png(array_HW.shape[::-1], 16, 0, [line.astype(">u2").tobytes() for line in array_HW], *chunks)


@FAST
@given(arrays(np.uint16, SMALL), st.sampled_from(["PNG", "TIFF", "TIFF, big-endian", "PGM"]))
def test_sixteen_bits_are_scaled_by_their_whole_range(array, form):
    if form == "PNG":
        data = png16(array)
    elif form == "PGM":
        data = f"P5 {array.shape[1]} {array.shape[0]} 65535\n".encode() + array.astype(">u2").tobytes()
    else:
        mode = "I;16B" if "big" in form else "I;16"
        bytes_of = array.astype(">u2" if "big" in form else "<u2").tobytes()
        data = saved(Image.frombytes(mode, array.shape[::-1], bytes_of), "TIFF")
    np.testing.assert_array_equal(values(data), grey(np.rint(array / 257).astype(int)))


def tiff(width, height, bits, photometric, content, numbers=1):
    """A grey TIFF of one strip, written by hand."""
    tags = [
        *((256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)),
        *((273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(content)), (339, 3, numbers)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    content += b"\0" * (len(content) % 2)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(content))
    return start + content + struct.pack("<H", len(tags)) + entries + bytes(4)


@FAST
@given(arrays(np.uint16, st.tuples(st.integers(1, 5), st.just(4)), elements=st.integers(0, 4095)))
def test_twelve_bits_are_scaled_by_their_whole_range(array):
    pairs = array.reshape(-1, 2).astype(int)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1
    ).astype(np.uint8)
    data = tiff(array.shape[1], array.shape[0], 12, 1, packed.tobytes())
    np.testing.assert_array_equal(values(data), grey(np.rint(array.astype(int) * 255 / 4095).astype(int)))


@FAST
@given(arrays(np.uint16, SMALL))
def test_sixteen_bits_whose_white_is_nought(array):
    data = tiff(array.shape[1], array.shape[0], 16, 0, array.astype("<u2").tobytes())
    np.testing.assert_array_equal(values(data), 255 - grey(np.rint(array / 257).astype(int)))


@FAST
@given(arrays(np.uint16, SMALL), st.data())
def test_a_transparent_grey_of_sixteen_bits_is_white(array, data):
    transparent = int(data.draw(st.sampled_from(array.ravel().tolist())))
    found = values(png16(array, chunk(b"tRNS", struct.pack(">H", transparent))))
    wanted = np.where(array == transparent, 255, np.rint(array / 257)).astype(int)
    np.testing.assert_array_equal(found, grey(wanted))


@FAST
@given(st.sampled_from([1, 2, 4, 8]), st.data())
def test_a_transparent_grey_of_few_bits_is_white(bits, data):
    """The chunk counts in greys of the file, Pillow's pixels in 255ths."""
    array = data.draw(arrays(np.uint8, SMALL, elements=st.integers(0, 2**bits - 1)))
    transparent = data.draw(st.integers(0, 2**bits - 1))
    each = np.unpackbits(array[..., None], axis=2)[..., 8 - bits :].reshape(len(array), -1)
    lines = [line.tobytes() for line in np.packbits(each, axis=1)]
    found = values(png(array.shape[::-1], bits, 0, lines, chunk(b"tRNS", struct.pack(">H", transparent))))
    wanted = np.where(array == transparent, 255, array.astype(int) * 255 // (2**bits - 1))
    np.testing.assert_array_equal(found, grey(wanted))


@FAST
@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3))), st.data())
def test_a_transparent_colour_is_white_or_refused(array, data):
    transparent = data.draw(st.sampled_from(array.reshape(-1, 3).tolist()))
    size, mark = array.shape[1::-1], chunk(b"tRNS", struct.pack(">3H", *transparent))
    found = values(png(size, 8, 2, [line.tobytes() for line in array], mark))
    np.testing.assert_array_equal(
        found, np.where((array == transparent).all(2, keepdims=True), 255, array.astype(int))
    )
    deep = png(size, 16, 2, [line.astype(">u2").tobytes() for line in array], mark)
    assert "transparent colour of 16 bits" in refused(deep)


@FAST
@given(arrays(np.int16, SMALL))
def test_sixteen_bits_that_may_be_signed_are_refused(array):
    """FITS counts from -32768, which Pillow does not heed."""
    cards = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": array.shape[1], "NAXIS2": array.shape[0]}
    header = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END"
    data = header.ljust(2880).encode() + array.astype(">i2").tobytes().ljust(2880, b"\0")
    assert "no agreed white" in refused(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.4", "PDF"),
        (b"<!DOCTYPE html><p>404", "HTML"),
        (b"", "empty"),
        (b"dog", "no known format"),
    ],
)
def test_what_is_no_picture_is_said(data, reason):
    assert reason in refused(data)


def test_a_damaged_picture_is_not_called_unknown():
    data = saved(Image.new("P", (3, 3)))
    at = data.index(b"PLTE") + 6
    assert "is a PNG" in refused(data[:at] + b"\x77" + data[at + 1 :])


@FAST
@given(arrays(np.int8, SMALL), st.sampled_from([8, 16]))
def test_signed_integers_are_refused(array, bits):
    """Pillow reads those of 8 bits as if they were not signed: -1 would be white."""
    content = array.astype(f"<i{bits // 8}").tobytes()
    assert "no agreed white" in refused(tiff(array.shape[1], array.shape[0], bits, 1, content, numbers=2))


def test_a_tiff_that_pillow_does_not_know_is_called_one():
    assert "a TIFF of channels or numbers" in refused(tiff(1, 1, 64, 1, struct.pack("<d", 0.5), numbers=3))


@FAST
@given(arrays(np.float32, SMALL, elements=st.floats(0, 1, width=32)))
def test_floats_between_nought_and_one_are_scaled(array):
    data = saved(Image.fromarray(array), "TIFF")
    np.testing.assert_array_equal(values(data), grey(np.rint(255 * array.astype(np.float64)).astype(int)))


@FAST
@given(arrays(np.float32, SMALL, elements=st.floats(width=32)))
def test_other_floats_are_refused(array):
    if ((array >= 0) & (array <= 1)).all():
        array = array - np.float32(2)
    assert "outside 0..1; scale it to 0..1" in refused(saved(Image.fromarray(array), "TIFF"))


@FAST
@given(arrays(np.int32, SMALL))
def test_integers_of_an_unknown_range_are_refused(array):
    assert "no agreed white" in refused(saved(Image.fromarray(array), "TIFF"))


@FAST
@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(4))), st.booleans())
def test_transparency_is_painted_over_white(array, of_grey):
    if of_grey:
        array = array[..., [0, 0, 0, 3]]
        data = saved(Image.fromarray(array).convert("LA"))
    else:
        data = saved(Image.fromarray(array))
    colour, alpha = array[..., :3].astype(float), array[..., 3:] / 255
    if of_grey:
        colour = np.asarray(Image.fromarray(array).convert("LA"))[..., :1].astype(float).repeat(3, 2)
    np.testing.assert_allclose(values(data), colour * alpha + 255 * (1 - alpha), atol=1.01)


@FAST
@given(arrays(np.uint8, SMALL, elements=st.integers(0, 15)), arrays(np.uint8, (16, 3)), st.integers(0, 15))
def test_palettes_with_and_without_a_transparent_colour(array, palette, transparent):
    picture = Image.fromarray(array).convert("P")
    picture.frombytes(array.tobytes())
    picture.putpalette(palette.ravel().tolist())
    np.testing.assert_array_equal(values(saved(picture)), palette[array])
    wanted = np.where((array == transparent)[..., None], 255, palette[array])
    np.testing.assert_array_equal(values(saved(picture, transparency=transparent)), wanted)


@FAST
@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(4))))
def test_cmyk_is_ink_on_white(array):
    ink, black = array[..., :3] / 255, array[..., 3:] / 255
    wanted = 255 * (1 - np.minimum(1, ink * (1 - black) + black))
    found = values(saved(Image.frombytes("CMYK", array.shape[1::-1], array.tobytes()), "TIFF"))
    np.testing.assert_allclose(found, wanted, atol=2)


def srgb_of_lab(lab):
    """sRGB of CIE L*a*b* (D50), by the textbook."""
    level, a, b = lab[..., 0] * 100 / 255, lab[..., 1] - 128.0, lab[..., 2] - 128.0
    y = (level + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    matrix = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
              [0.0719453, -0.2289914, 1.4052427]]  # fmt: skip
    linear = xyz @ np.transpose(matrix)
    curved = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.clip(linear, 1e-9, None) ** (1 / 2.4) - 0.055
    )
    return 255 * curved


@FAST
@given(st.integers(80, 200), st.integers(118, 138), st.integers(118, 138))
def test_lab_is_converted_and_not_taken_for_rgb(level, a, b):
    lab = np.array([[[level, a, b]]], np.uint8)
    signed = lab ^ np.array([0, 128, 128], np.uint8)  # as TIFF has it
    found = values(saved(Image.frombytes("LAB", (1, 1), signed.tobytes()), "TIFF"))
    np.testing.assert_allclose(
        found[0, 0], srgb_of_lab(lab.astype(float))[0, 0], atol=6
    )  # by a table of 8 bits


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(form):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    found = values(saved(first, form, save_all=True, append_images=[second]))
    assert found[..., 0].min() > 250
    assert found[..., 1:].max() < 5


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8))
EXIF = Image.Exif()
EXIF[0x112] = 6
BROKEN_CHUNKS = {
    "EXIF": chunk(b"eXIf", b"\x99" * 40),
    "EXIF of a wrong checksum": chunk(b"eXIf", EXIF.tobytes()[6:], 5),
    "ICC": chunk(b"iCCP", b"x"),
    "XMP cut short": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta tiff:Orient"),
    "text of a wrong checksum": chunk(b"tEXt", b"a\0b", 1),
    "text that swells": chunk(b"zTXt", b"a\0\0" + zlib.compress(b"0" * (70 << 20))),
    "resolution": chunk(b"pHYs", b"\0"),
    "gamma": chunk(b"gAMA", b""),
    "animation": chunk(b"acTL", b"1"),
}
BROKEN_SEGMENTS = {
    "EXIF": (0xE1, b"Exif\0\0" + b"\x99" * 40),
    "EXIF cut short": (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"),
    "ICC": (0xE2, b"ICC_PROFILE\0\x01"),
    "XMP cut short": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orient"),
    "Photoshop": (0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
    "Adobe": (0xEE, b"Adobe"),
    "several pictures": (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", BROKEN_CHUNKS)
def test_metadata_of_a_png_that_are_broken_spoil_no_pixel(name, behind):
    data = saved(NOISE)
    at = len(data) - 12 if behind else 33
    found = values(data[:at] + BROKEN_CHUNKS[name] + data[at:])
    np.testing.assert_array_equal(found, np.asarray(NOISE))


@pytest.mark.parametrize("name", BROKEN_SEGMENTS)
def test_metadata_of_a_jpeg_that_are_broken_spoil_no_pixel(name):
    data, (marker, content) = saved(NOISE, "JPEG"), BROKEN_SEGMENTS[name]
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    np.testing.assert_array_equal(values(data[:2] + segment + data[2:]), values(data))


def test_the_orientation_survives_other_broken_metadata():
    data = saved(NOISE, exif=EXIF)
    broken = data[:33] + BROKEN_CHUNKS["text of a wrong checksum"] + data[33:]
    np.testing.assert_array_equal(values(broken), np.rot90(np.asarray(NOISE), -1))


@few(60)
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "GIF"]), st.floats(0.05, 0.9))
def test_pixels_that_are_cut_short_are_an_error(form, share):
    data = saved(NOISE.resize((70, 90)), form)
    refused(data[: int(share * len(data))])


@few(60)
@given(st.integers(41, 200), st.integers(1, 255))
def test_a_png_with_other_pixels_than_were_written_is_an_error(at, change):
    data = bytearray(saved(NOISE))
    data[at] ^= change
    try:
        found = values(bytes(data))
    except ValueError:
        return
    np.testing.assert_array_equal(found, np.asarray(NOISE))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["16 bits", "palette", "RGBA"])
def test_every_mode_is_turned_upright(mode, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
        6: np.rot90(stored, -1), 7: stored[::-1, ::-1].T, 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    picture = Image.fromarray(stored)
    if mode == "16 bits":
        picture = Image.fromarray(stored.astype(np.uint16) * 257)
    elif mode == "palette":
        picture = picture.convert("P")
    else:
        picture = picture.convert("RGBA")
    np.testing.assert_array_equal(values(saved(picture, exif=exif)), grey(upright))
