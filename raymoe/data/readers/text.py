"""Text files: their encoding is told by the byte order mark, and gzip is seen by its first bytes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from raymoe.data.readers.reader import Reader, in_disguise
from raymoe.errors import InputError
from raymoe.runtime.encodings import encoding_of
from raymoe.runtime.quoting import quoted

GZIP = b"\x1f\x8b"


class TextReader(Reader):
    """A reader of text."""

    @contextmanager
    def opened(self, newline: str | None = None) -> Iterator[IO[str]]:
        """The text, decoded.

        Raises:
            InputError: it is no Unicode; names the first line that is not.
        """
        with self.explained():
            with _binary(self.path) as file:
                start = file.read(4)
            encoding = encoding_of(start)
            if encoding == "utf-8" and b"\0" in start:
                raise InputError(
                    f"{self.shown} has null characters: it is binary, or UTF-16 without a byte order mark",
                    "Save it as UTF-8.",
                )
            try:
                with self._text(encoding, newline) as text:
                    yield text
            except UnicodeDecodeError as error:
                if encoding in ("utf-8", "utf-8-sig"):
                    raise self._not_unicode() from None
                raise self.unreadable(f"it begins as {encoding.upper()} and goes on otherwise") from error

    def _text(self, encoding: str, newline: str | None) -> IO[str]:
        if _is_compressed(self.path):
            return gzip.open(self.path, "rt", encoding=encoding, newline=newline)
        return self.path.open(encoding=encoding, newline=newline)

    def _not_unicode(self) -> InputError:
        """Where it stops to be UTF-8."""
        with _binary(self.path) as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    around = line[max(0, error.start - 10) : error.start + 10].decode("latin-1")
                    if in_disguise(self.path, self.format):
                        break
                    return InputError(
                        f"{self.shown} is not UTF-8: line {number} has the byte {line[error.start]:#x}, in "
                        f"Latin-1 {quoted(around)}",
                        "Save it as UTF-8.",
                    )
        return self.unreadable("it is not UTF-8")


def _binary(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.GzipFile(path, "rb") if _is_compressed(path) else path.open("rb")


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP
