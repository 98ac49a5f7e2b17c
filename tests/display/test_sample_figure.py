"""A picture is drawn whole; heat map and links lie over what the encoder saw of it, and the rest is grey."""

import io

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle
from PIL import Image

from raymoe.display.sample_figure import sample_figure
from raymoe.display.samples import End, Pair, Sample, Sequence
from raymoe.display.thumbnails import thumbnail
from raymoe.display.words import TextPiece
from raymoe.features.geometry import Geometry
from raymoe.report.page import _sequence

GEOMETRIES = {
    "all of it": Geometry(4, 4),
    "its middle": Geometry(4, 4, (3 / 8, 0, 5 / 8, 1)),
    "padded": Geometry(2, 4, (0, -0.5, 1, 1.5)),
    "inside on every side": Geometry(3, 5, (0.1, 0.2, 0.8, 0.7)),
}


def encoded(size, orientation=1):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = orientation
    Image.new("RGB", size, "red").save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def sample_with(geometry, size=(128, 32)):
    picture, whole = thumbnail(encoded(size))
    count = geometry.rows * geometry.cols
    sequences = {
        "text": Sequence("text", pieces=(TextPiece("dog", False, False),)),
        "image": Sequence(
            "image", cells=tuple(range(1, count + 1)), geometry=geometry, picture=picture, size=whole
        ),
    }
    pair = Pair(End("text", 0), End("image", count - 2), 0.5, 0.1, 8, 0.0, 0.0)
    importance = {"synergy": {"text": [0.5], "image": np.linspace(0, 1, count).tolist()}}
    pairs = {"synergy": {"sii": [pair], "redundancy_gap": []}}
    return Sample("s0", "asked", sequences, importance, pairs, {}, {}, [0], [], [], [], {})


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_figure_draws_over_what_was_seen(name):
    geometry = GEOMETRIES[name]
    (axes,) = sample_figure(sample_with(geometry), ["synergy"], ["a"], 3).axes
    left, right, bottom, top = axes.images[0].get_extent()
    (mesh,) = (c for c in axes.collections if isinstance(c, QuadMesh))
    corners = mesh.get_coordinates()
    np.testing.assert_allclose((corners[0, :, 0] - left) / (right - left), geometry.columns())
    np.testing.assert_allclose((corners[:, 0, 1] - top) / (bottom - top), geometry.lines())
    heat = np.asarray(mesh.get_array())[..., 3]
    np.testing.assert_allclose(heat.ravel(), 0.72 * np.linspace(0, 1, heat.size))
    grey = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_label() == "not seen"]
    area = sum(p.get_width() * p.get_height() for p in grey) / ((right - left) * (bottom - top))
    x0, y0, x1, y1 = geometry.seen
    assert area == pytest.approx(1 - (x1 - x0) * (y1 - y0))
    x0, y0, x1, y1 = geometry.patch(geometry.rows * geometry.cols - 2)
    badge = next(line for line in axes.lines if line.get_color() == "#d9730d")
    np.testing.assert_allclose(
        ((badge.get_xdata()[0] - left) / (right - left), (badge.get_ydata()[0] - top) / (bottom - top)),
        ((x0 + x1) / 2, (y0 + y1) / 2),
    )


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_page_is_told_the_same(name):
    geometry = GEOMETRIES[name]
    told = _sequence(sample_with(geometry).sequences["image"])
    np.testing.assert_allclose(told["x"], geometry.columns(), atol=1e-5)
    np.testing.assert_allclose(told["y"], geometry.lines(), atol=1e-5)
    assert (told["rows"], told["cols"], told["size"]) == (geometry.rows, geometry.cols, (128, 32))


def test_a_thumbnail_is_the_whole_picture_upright():
    webp, size = thumbnail(encoded((40, 30), orientation=6))
    assert size == Image.open(io.BytesIO(webp)).size == (30, 40)
    assert thumbnail(encoded((4000, 1000)))[1] == (4000, 1000)
    assert thumbnail(b"no picture") is None
    assert thumbnail(None) is None
