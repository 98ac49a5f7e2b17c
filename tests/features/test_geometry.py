"""What of a picture each patch shows: a coloured square lies in the patches that the geometry says it is in.

The oracle is the encoder's prepared input itself: where in it the square shows, by its colour.
"""

import io
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.hostile import few
from support.tiny_encoders import IMAGE_ENCODERS, SIDE, SIZES
from transformers import ViTImageProcessorPil, YolosConfig, YolosModel

from raymoe.config import EncoderConfig
from raymoe.data.pictures import decode
from raymoe.errors import InputError
from raymoe.features.files import EFFICIENTNET
from raymoe.features.geometry import Geometry, Measure
from raymoe.features.image_processor import _pixels
from raymoe.features.lookup import load_encoder, seen

# Wide, tall, odd and tiny pictures: width and height.
SHAPES = [(128, 32), (32, 128), (64, 64), (45, 30), (97, 61), (1, 1), (1, 5), (7, 1), (2, 3), (300, 100)]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    torch.manual_seed(0)
    root, found = tmp_path_factory.mktemp("encoders"), {}
    for i, (name, save) in enumerate(IMAGE_ENCODERS.items()):
        save(root / str(i))
        found[name] = load_encoder("image", EncoderConfig(source=f"hf:{root / str(i)}"))
    return found


def with_square(size, box):
    """A black picture with a white square, ``box`` in pixels."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels)


def brightness(encoder, picture):
    """Of every valid patch, how much the square shows in the prepared input, 0..1."""
    found, dark = (encoder.prepare([p])[0] for p in (picture, Image.new("RGB", picture.size)))
    batch = encoder.run([found])
    patches = batch.valid_BT[0] & ~batch.special_BT[0]
    before = int(batch.special_BT[0].sum())
    # what shows, whatever the normalisation: relative to all white
    white = encoder.prepare([Image.new("RGB", picture.size, "white")])[0]
    values = [_pixels({**p.inputs, **({"spatial_shapes": torch.tensor([p.grid])} if p.grid else {})})
              for p in (found, dark, white)]  # fmt: skip
    share = np.abs(values[0] - values[1]).mean(0) / np.maximum(np.abs(values[2] - values[1]).mean(0), 1e-6)
    rows, cols = share.shape[0] // 8, share.shape[1] // 8
    per_patch = share[: rows * 8, : cols * 8].reshape(rows, 8, cols, 8).max((1, 3)).ravel()
    return per_patch[np.flatnonzero(patches.numpy()) - before], batch.geometry[0]


def check(encoder, size, box):
    shows, geometry = brightness(encoder, with_square(size, box))
    assert len(shows) == geometry.rows * geometry.cols
    left, top, right, bottom = box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]
    x, y = geometry.columns(), geometry.lines()
    # one patch more on every side than the square itself; a pixel for what resampling spreads
    wide, high = np.diff(x).max() + 1 / size[0], np.diff(y).max() + 1 / size[1]
    for cell, shown in enumerate(shows):
        x0, y0, x1, y1 = geometry.patch(cell)
        across, down = min(x1, right) - max(x0, left), min(y1, bottom) - max(y0, top)
        overlaps = across > 0.5 * (x1 - x0) and down > 0.5 * (y1 - y0)
        near = (x0 < right + wide and x1 > left - wide) and (y0 < bottom + high and y1 > top - high)
        if shown > 0.5:
            assert near, f"patch {cell} shows the square, but is said to be elsewhere"
        if overlaps and (x1 - x0) * size[0] > 0.5 and (y1 - y0) * size[1] > 0.5:
            assert shown > 0.1, f"patch {cell} is said to show the square, but is dark"


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
@pytest.mark.parametrize("size", SHAPES)
def test_a_square_is_in_the_patches_that_are_said_to_show_it(encoders, name, size):
    encoder = encoders[name]
    places = ((0, 0), (1, 1), (0.5, 0.5), (0.4, 0.1), (0.9, 0.6), (0.25, 0.25))
    for (across, down), share in itertools.product(places, (3, 1)):
        side = max(1, min(size) // share)
        left, top = round(across * (size[0] - side)), round(down * (size[1] - side))
        check(encoder, size, (left, top, left + side, top + side))


@pytest.mark.hostile
@few(30)
@given(st.data())
def test_any_square_in_any_picture(encoders, data):
    encoder = encoders[data.draw(st.sampled_from(list(encoders)))]
    size = data.draw(st.integers(8, 150)), data.draw(st.integers(8, 150))
    side = data.draw(st.integers(min(max(size) // 10 + 1, min(size)), min(size)))
    left, top = (data.draw(st.integers(0, length - side)) for length in size)
    check(encoder, size, (left, top, left + side, top + side))


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("CLIP: scaled, then its middle", (128, 32), Geometry(4, 4, (3 / 8, 0, 5 / 8, 1))),
        ("CLIP: scaled, then its middle", (32, 128), Geometry(4, 4, (0, 3 / 8, 1, 5 / 8))),
        ("SigLIP: squashed", (128, 32), Geometry(4, 4)),
        ("BiT: the middle of it all", (100, 100), Geometry(4, 4, (0.1, 0.1, 0.9, 0.9))),
        ("padded to a square", (128, 32), Geometry(2, 4, (0, -0.5, 1, 1.5))),
        ("padded beyond its picture", (64, 64), Geometry(2, 2)),
        ("any shape", (128, 32), Geometry(4, 16)),
        ("any shape", (45, 30), Geometry(4, 6)),
        ("NaFlex: any shape, as patches", (128, 32), Geometry(2, 8)),
        ("Pixtral: any shape, one at a time", (128, 32), Geometry(2, 8)),
        ("Pixtral: any shape, one at a time", (1, 1), Geometry(1, 1)),
    ],
)
def test_what_each_kind_shows_of_a_picture(encoders, name, size, wanted):
    (found,) = encoders[name].encode([Image.new("RGB", size)]).geometry
    assert (found.rows, found.cols) == (wanted.rows, wanted.cols)
    np.testing.assert_allclose(found.box, wanted.box, atol=0.02)


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_features_do_not_depend_on_the_other_shapes_of_a_batch(encoders, name):
    generator = np.random.default_rng(0)
    pictures = [
        Image.fromarray(generator.integers(0, 255, (high, wide, 3), dtype=np.uint8))
        for wide, high in ((64, 64), (128, 32), (30, 45), (64, 64))
    ]
    together = encoders[name].encode(pictures)
    for b, picture in enumerate(pictures):
        alone = encoders[name].encode([picture])
        length = alone.features_BTD.shape[1]
        torch.testing.assert_close(
            together.features_BTD[b, :length], alone.features_BTD[0], atol=1e-4, rtol=1e-4
        )
        assert torch.equal(together.valid_BT[b, :length], alone.valid_BT[0])
        assert not together.valid_BT[b, length:].any()
        assert together.geometry[b] == alone.geometry[0]
        patches = (together.valid_BT[b] & ~together.special_BT[b]).sum()
        assert patches == alone.geometry[0].rows * alone.geometry[0].cols


def test_the_packaged_encoder_shows_the_whole_picture():
    encoder = load_encoder("image", EncoderConfig(source=EFFICIENTNET))
    batch = encoder.encode([Image.new("RGB", (128, 32))])
    assert batch.geometry is None
    for size in SHAPES:
        side = max(1, min(size) // 3)
        box = (size[0] - side, 0, size[0], side)
        dark, lit = (
            encoder.prepare([p])[0].numpy() for p in (Image.new("RGB", size), with_square(size, box))
        )
        shows = (lit.astype(int) - dark).mean(2).reshape(7, 32, 7, 32).max((1, 3)).ravel() > 128
        for cell in range(49):
            x0, y0, x1, y1 = Geometry(*batch.grid).patch(cell)
            inside = x1 > box[0] / size[0] - 1 / 7 and y0 < box[3] / size[1] + 1 / 7
            centred = x0 > box[0] / size[0] and y1 < box[3] / size[1]
            assert centred <= shows[cell] <= inside


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_is_upright_for_the_encoder(encoders, orientation):
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, 32:] = 255  # above right
    turned = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1),
    }[orientation](upright)  # fmt: skip
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x112] = orientation
    Image.fromarray(np.ascontiguousarray(turned)).save(buffer, "PNG", exif=exif)
    picture = decode(buffer.getvalue())
    np.testing.assert_array_equal(np.asarray(picture), upright)
    for encoder in encoders.values():
        shows, geometry = brightness(encoder, picture)
        for cell, shown in enumerate(shows):
            x0, y0, x1, y1 = geometry.patch(cell)
            if x0 > 0.55 and y1 < 0.45:
                assert shown > 0.9
            if x1 < 0.45 or y0 > 0.55:
                assert shown < 0.3


def test_a_store_without_geometry_is_measured_again_from_the_encoder(encoders):
    for name in ("CLIP: scaled, then its middle", "SigLIP: squashed", "BiT: the middle of it all"):
        encoder = encoders[name]
        (stored,) = encoder.encode([Image.new("RGB", (90, 40))]).geometry
        assert seen(encoder.config, (90, 40), encoder.grid) == stored
    packaged = EncoderConfig(source=EFFICIENTNET)
    assert seen(packaged, (90, 40), (7, 7)) == Geometry(7, 7)


def test_a_model_whose_patches_are_not_last_is_refused(tmp_path):
    config = YolosConfig(image_size=[32, 32], patch_size=8, num_detection_tokens=5, **SIZES)
    YolosModel(config).save_pretrained(tmp_path)
    ViTImageProcessorPil(size=SIDE).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="its last patch is position 16 of 22"):
        load_encoder("image", EncoderConfig(source=f"hf:{tmp_path}"))


def test_a_picture_that_a_processor_can_not_take_is_named_in_one_line(encoders):
    with pytest.raises(ValueError, match=r"can't take 1 x 900 pixels: ") as caught:
        encoders["Pixtral: any shape, one at a time"].prepare([Image.new("RGB", (1, 900))])
    assert "too long for its other side" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (lambda a: np.rot90(a, axes=(1, 2)), "turns"),
        (lambda a: a[:, :, ::-1], "evenly"),
        (lambda a: a * 0, "black and white are the same"),
        (lambda a: a[:, :, ((a.shape[2] - 1) * np.linspace(0, 1, 60) ** 2).astype(int)], "evenly"),
        (lambda a: a[:1], "not 3 x H x W"),
    ],
)
def test_what_is_no_upright_rectangle_is_refused(pixels, message):
    def process(picture):
        return pixels(np.asarray(picture, np.float64).transpose(2, 0, 1) / 255)

    with pytest.raises(ValueError, match=message):
        Measure(process).view(80, 70)


@pytest.mark.hostile
@few(60)
@given(
    st.tuples(st.integers(20, 400), st.integers(20, 400)),
    st.tuples(*[st.floats(0, 0.4)] * 2, *[st.floats(0.6, 1)] * 2),
    st.tuples(*[st.integers(0, 9)] * 4),
    st.tuples(st.integers(24, 120), st.integers(24, 120)),
    st.sampled_from([Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]),
    st.tuples(*[st.floats(0.2, 3)] * 3, *[st.floats(-2, 2)] * 3),
)
def test_any_crop_scale_pad_and_normalisation_is_measured(size, crop, pads, scaled, resample, normal):
    box = [round(c * s) for c, s in zip(crop, (*size, *size), strict=True)]
    slope, shift = (np.array(n)[:, None, None] for n in (normal[:3], normal[3:]))

    def process(picture):
        part = picture.crop([round(c * s) for c, s in zip(crop, picture.size * 2, strict=True)])
        part = np.asarray(part.resize(scaled, resample), np.float64).transpose(2, 0, 1) / 255
        top, bottom, left, right = pads
        return np.pad(slope * part + shift, ((0, 0), (top, bottom), (left, right)), constant_values=0.1)

    view = Measure(process).view(*size)
    for axis, length, pad, end, start, stop in (
        (view.x, scaled[0], pads[2:], size[0], box[0], box[2]),
        (view.y, scaled[1], pads[:2], size[1], box[1], box[3]),
    ):
        assert (axis.size, axis.first, axis.last) == (length + sum(pad), pad[0], pad[0] + length)
        # where there is padding the picture's edge is taken to be, as no processor crops and then pads
        tolerance = (1.5 * (stop - start) / length + 1) / end
        if not pad[0]:
            assert math.isclose(axis.start, start / end, abs_tol=tolerance)
        if not pad[1]:
            assert math.isclose(axis.stop, stop / end, abs_tol=tolerance)


def test_cells_are_cut_to_the_picture():
    padded = Geometry(2, 4, (0, -0.5, 1, 1.5))
    assert padded.patch(0) == (0, 0, 0.25, 0.5)
    assert padded.patch(7) == (0.75, 0.5, 1, 1)
    assert padded.seen == (0, 0, 1, 1)
