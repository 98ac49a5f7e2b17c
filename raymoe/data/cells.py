"""What a picture's cell can be: bytes, a path, base64, or Hugging Face's struct of bytes and path."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from raymoe.runtime.quoting import quoted

URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|/(?=[^/]))")  # two letters at least: C:/ is a drive
DATA_URI = re.compile(r"\s*data:([^,]{0,200}),", re.I)
BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]+={0,2}\s*")
SIGNATURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0", b"\0\0\0\x0cjP",
)  # fmt: skip
BOXED = b"ftyp"  # AVIF and HEIC: behind the size of their first box
LONGEST_PATH = 4096
SHORTEST_BASE64 = 40  # of a picture; no format does with less
JUDGED = 64  # cells that tell what a column is


class Encoded(Enum):
    """The one value stands for bytes that were not read."""

    UNREAD = "unread"


@dataclass(frozen=True)
class Unreadable:
    """A cell that holds no picture, and why."""

    reason: str


PictureCell = bytes | str | None | Unreadable


def picture_cell(value: Any) -> Any:
    """Bytes, a path or base64 text, or None of what a format has as a value.

    A list of one picture is that picture, as tables of conversations about pictures have it.

    Raises:
        TypeError: it is of no such type; the message names the type.
    """
    if value is None or isinstance(value, (str, bytes, Encoded)) or value != value:  # the last: NaN
        return None if value != value else value
    if isinstance(value, dict) and value.keys() & {"bytes", "path"}:
        content, path = picture_cell(value.get("bytes")), picture_cell(value.get("path"))
        return content if content else path
    if isinstance(value, (list, tuple)) and value and all(type(x) is int and 0 <= x < 256 for x in value):
        return bytes(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(x, (str, bytes, dict)) for x in value):
        if len(value) == 1:
            return picture_cell(value[0])
        raise TypeError(f"list of {len(value)}")
    raise TypeError("dict" if isinstance(value, dict) else type(value).__name__)


class PictureColumn:
    """What the cells of a column are: judged once, by the first that are not empty.

    Attributes:
        paths: of each row, where its cell is a path.
        wrong: rows, from 1, by the name of a type that no picture has.
        is_base64: whether the texts are encoded pictures, not paths.
        has_bytes: whether some cells hold the picture's bytes.
    """

    def __init__(self) -> None:
        self.paths: list[str | None] = []
        self.wrong: dict[str, list[int]] = {}
        self.is_base64 = self.has_bytes = False
        self._judged = False
        self._first: list[str] = []

    def add(self, values: Sequence[Any], place: str) -> None:
        """Some rows more; ``place`` is the folder that their paths start from."""
        for value in values:
            try:
                cell = picture_cell(value)
            except TypeError as error:
                self.wrong.setdefault(str(error), []).append(len(self.paths) + 1)
                cell = None
            text = cell if isinstance(cell, str) else None
            self.has_bytes |= cell is Encoded.UNREAD or isinstance(cell, bytes)
            if text and not self._judged:
                self._first.append(text)
                if len(self._first) == JUDGED:
                    self.judge()
            self.paths.append(None if text is None or self.is_base64 else joined(place, text))

    def judge(self) -> None:
        """Decide; called when all rows are there, if not before."""
        if self._judged:
            return
        self.is_base64 = 2 * sum(map(is_base64, self._first)) > len(self._first)
        self._judged, self._first = True, []
        if self.is_base64:
            self.paths = [None] * len(self.paths)

    @property
    def is_encoded(self) -> bool:
        """Whether pictures are in the table, and have to be read from it."""
        return self.is_base64 or self.has_bytes


def joined(place: str, path: str) -> str:
    """A path from the table's folder, of one from a folder inside it."""
    return path if not place or not path or os.path.isabs(path) or URI.match(path) else f"{place}/{path}"


def is_base64(text: str) -> bool:
    """Whether a text is an encoded picture: a ``data:`` URI, or base64 that begins as pictures do.

    What is longer than any path and of no other letters is base64 as well, whatever it encodes.
    """
    if DATA_URI.match(text):
        return True
    if len(text) < SHORTEST_BASE64 or not BASE64.fullmatch(text):
        return False
    return len(text) > LONGEST_PATH or _starts_as_picture(text)


def _starts_as_picture(text: str) -> bool:
    start = "".join(text[:200].split())[:32].translate(_URL_SAFE)
    try:
        content = base64.b64decode(start[: len(start) // 4 * 4])
    except binascii.Error:
        return False
    return content.startswith(SIGNATURES) or content[4:8] == BOXED


_URL_SAFE = str.maketrans("-_", "+/")


def decoded(text: str) -> bytes | Unreadable:
    """The bytes that a ``data:`` URI or base64 stands for."""
    uri = DATA_URI.match(text)
    if uri and not uri[1].lower().rstrip().endswith("base64"):
        return unquote_to_bytes(text[uri.end() :])
    body = text[uri.end() :] if uri else text
    body = unquote(body) if uri else body
    letters = "".join(body.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        return Unreadable(f"the column holds base64, and {quoted(text, 40)} is none")


def path_of(folder: Path, value: str) -> Path:
    """The file that a cell names. Backslashes are slashes where there is no file of the name as it stands."""
    if value[:7].lower() == "file://":
        rest = unquote(value[7:])
        value = rest if rest.startswith("/") else f"/{rest.partition('/')[2]}"
    path = folder / value
    if "\\" in value:
        other = folder / value.replace("\\", "/")
        if not _is_there(path) and _is_there(other):
            return other
    return path


def read_file(folder: Path, value: str) -> bytes:
    """The content of the file that a cell names.

    Raises:
        ValueError: it can't be read; says why.
    """
    if URI.match(value) and value[:7].lower() != "file://":
        raise ValueError(f"{quoted(value)} is a URL: save the picture and name its file")
    try:
        return path_of(folder, value).read_bytes()
    except OSError as error:
        if is_base64(value):
            raise ValueError("base64 in a column of paths: use one of them in all rows") from None
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise ValueError(f"there is no picture {quoted(value)}") from None
        raise ValueError(f"picture {quoted(value)} can't be read: {error.strerror or error}") from None
    except ValueError:  # a null character, or half of a surrogate pair
        raise ValueError(f"{quoted(value)} can't be the name of a file") from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
