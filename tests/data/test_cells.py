"""What a picture's cell can be, held against base64 and the file system."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import cells_of, png, rows, samples_of, with_files, write_csv, write_jsonl, write_parquet

from raymoe.data import prepare
from raymoe.data.cells import Unreadable, decoded, is_base64, picture_cell

from support.tables import project_of  # isort: skip

PNG = png()


@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.integers(0, 30))
def test_base64_comes_back(content, url_safe, as_uri, wrap):
    """With or without its padding, line ends and the letters of URLs."""
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(content).decode()
    text = text.rstrip("=") if wrap % 2 else text
    text = "\n".join(text[i : i + wrap] for i in range(0, len(text), wrap)) if wrap > 10 else text
    assert decoded(f"data:image/png;base64,{text}" if as_uri else text) == content


def test_what_is_no_base64_says_so_in_short():
    found = decoded("no base64! " * 1000)
    assert isinstance(found, Unreadable)
    assert len(found.reason) < 150


@given(st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.", max_size=60))
def test_a_path_is_no_base64(path):
    assert not is_base64(path) or base64.b64decode("".join(path.split())[:8], "-_")[:2] in (
        b"BM",
        b"RI",
        b"GI",
    )


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_every_picture_in_base64_is_known(form):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    assert is_base64(base64.b64encode(buffer.getvalue()).decode())


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (PNG, PNG),
        (bytearray(PNG), PNG),
        (list(PNG), PNG),
        ("a.png", "a.png"),
        (None, None),
        (float("nan"), None),
        ({"bytes": PNG, "path": "a.png"}, PNG),
        ({"bytes": None, "path": "a.png"}, "a.png"),
        ({"bytes": b"", "path": "a.png"}, "a.png"),
        ({"bytes": None, "path": None}, None),
        ({"bytes": PNG, "path": "a.png", "width": 6}, PNG),
        ({"path": "a.png"}, "a.png"),
        ([PNG], PNG),
        (["a.png"], "a.png"),
        ([{"bytes": PNG, "path": None}], PNG),
    ],
)
def test_cells_in_every_form(value, wanted):
    assert picture_cell(value) == wanted


@pytest.mark.parametrize(
    "value", [1, 1.5, [], [300], [True], {"url": "x"}, {}, [[1]], [None], ["a", "b"], [[PNG]]]
)
def test_other_types_are_refused(value):
    with pytest.raises(TypeError):
        picture_cell(value)


@pytest.mark.parametrize("how", ["plain", "uri"])
@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_a_column_of_base64(tmp_path, how, write):
    found = rows(7)
    start = "data:image/png;base64," if how == "uri" else ""
    texts = [{**row, "image": start + base64.b64encode(row["image"]).decode()} for row in found]
    path = write(tmp_path / f"t.{write.__name__[6:]}", texts)
    assert cells_of(path) == [row["image"] for row in found]
    assert samples_of(tmp_path, path)["image"].to_pylist() == [row["image"] for row in found]


def test_a_cell_that_is_otherwise_is_left_out_with_a_short_reason(tmp_path):
    found = rows(6)
    texts = [{**row, "image": base64.b64encode(row["image"]).decode()} for row in found]
    texts[3]["image"] = "pictures/3.png"
    (skipped,) = prepare(project_of(tmp_path, write_jsonl(tmp_path / "t.jsonl", texts))).skipped
    assert (skipped["row"], "holds base64" in skipped["reason"]) == (4, True)
    named = with_files(tmp_path, found)
    named[4]["image"] = base64.b64encode(os.urandom(9000)).decode()
    named[5]["image"] = "https://example.org/5.png"
    skipped = prepare(
        project_of(tmp_path, write_jsonl(tmp_path / "t.jsonl", named + rows_named("b", 3))), overwrite=True
    ).skipped
    assert [s["row"] for s in skipped] == [5, 6]
    assert "base64 in a column of paths" in skipped[0]["reason"]
    assert "is a URL" in skipped[1]["reason"]


def rows_named(start, count):
    return [
        {**row, "sample_id": f"{start}{i}", "image": f"pictures/{i}.png"} for i, row in enumerate(rows(count))
    ]


def test_paths_as_other_systems_write_them(tmp_path):
    """Backslashes, file: URIs, and names that are no Unicode; null characters can be no name."""
    named = with_files(tmp_path, rows(7))
    old = os.fsdecode(b"caf\xe9.png")
    (tmp_path / old).write_bytes(png(1))
    named[0]["image"] = "pictures\\0.png"
    named[1]["image"] = old
    named[2]["image"] = f"file://{tmp_path}/pictures/2.png"
    for row, path in zip(named[3:6], ("\ud83d.png", "a\0b.png", "x" * 5000), strict=True):
        row["image"] = path
    path = write_jsonl(tmp_path / "t.jsonl", named + rows_named("b", 3))
    skipped = prepare(project_of(tmp_path, path)).skipped
    assert [s["row"] for s in skipped] == [4, 5, 6]
    assert all(len(s["reason"]) < 150 and s["reason"].isprintable() for s in skipped)
