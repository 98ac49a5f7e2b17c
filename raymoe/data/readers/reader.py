"""What every reader of tables can do, and what is said where it can't."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from raymoe.errors import InputError
from raymoe.runtime.quoting import in_short, listed, quoted

Columns = dict[str, list[Any]]
ROWS = 256  # at a time: with pictures, these are many megabytes


class Reader:
    """A table in one file.

    Args:
        path: the file.
        shown: its name in messages.

    Attributes:
        format: what it is called in messages.
        may_lack_fields: whether a column may be in some rows or files alone: it is null in others.
        metadata: what the file says about itself.
        named: columns whose values are class names for certain, as the file says so.
    """

    format: ClassVar[str]
    may_lack_fields: ClassVar[bool] = False

    def __init__(self, path: Path, shown: str) -> None:
        self.path, self.shown = path, shown
        self.metadata: Mapping[str, str] = {}
        self.named: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str] | None:
        """Names of all columns as they are written; None while only reading all of it would tell."""
        raise NotImplementedError

    @property
    def offered(self) -> list[str] | None:
        """The names of which each is a column of its own, where some are two names of the same values."""
        return self.names

    def batches(
        self, columns: Sequence[str], pictures: Collection[str], *, peek: bool = False, size: int = ROWS
    ) -> Iterator[tuple[int, Columns]]:
        """Number of rows, and the named columns that are there, some rows at a time.

        Args:
            columns: to be read.
            pictures: those of them that keep bytes; in others bytes are text.
            size: how many rows at most.
            peek: bytes of pictures need not be read: ``Encoded.UNREAD`` stands for them.

        Raises:
            InputError: the file is damaged, or a column is there twice.
        """
        raise NotImplementedError

    def refuse_repeated(self, names: Sequence[str], columns: Sequence[str]) -> None:
        """Refuse a column that is asked for and there several times.

        Raises:
            InputError: names it and its places.
        """
        for name in columns:
            places = [i for i, other in enumerate(names, 1) if other == name]
            if len(places) > 1:
                raise InputError(
                    f"{self.shown} has the column {quoted(name)} {len(places)} times: "
                    f"columns {listed([str(i) for i in places])} of {len(names)}",
                    "Rename or remove the others, so that it is clear which one is meant.",
                )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Other libraries' errors as what they mean to the file."""
        try:
            yield
        except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise self.unreadable(in_short(_plain(error))) from None

    def unreadable(self, why: str) -> InputError:
        """The error of a damaged file, or of one that is something else than it is called."""
        what = in_disguise(self.path, self.format)
        if what:
            return InputError(f"{self.shown} can't be read as {self.format}: it is {what[0]}", what[1])
        return InputError(
            f"{self.shown} can't be read as {self.format}: {why}",
            "It is damaged, cut short or of another format: get it again or correct it.",
        )


def _plain(error: Exception) -> str:
    """What an error says, without numbers and paths that mean nothing here."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


_DISGUISES = (
    (b"version https://git-lfs", "a pointer of Git LFS", "Get the file itself: git lfs pull"),
    (b"PAR1", "Parquet", "Give it a name that ends in .parquet."),
    (b"ARROW1", "Arrow", "Give it a name that ends in .arrow."),
    (b"FEA1", "Feather of version 1", "Write it again as Feather of version 2, or as Parquet."),
    (b"PK\x03\x04", "a ZIP archive or a workbook", "Extract it, or save the sheet as CSV (UTF-8)."),
    (b"\x1f\x8b", "compressed by gzip", "Give it a name that ends in .gz, or extract it."),
    (b"<!doctype html", "an HTML page, as a failed download leaves it", "Get the file again."),
    (b"<html", "an HTML page, as a failed download leaves it", "Get the file again."),
)


def in_disguise(path: Path, kind: str) -> tuple[str, str] | None:
    """What a file is that can't be read as what it is called, and the remedy."""
    try:
        with path.open("rb") as file:
            start = file.read(100).lstrip()
    except OSError:
        return None
    if not start:
        return "empty", "Get it again or write it again."
    start = start.lower() if start[:1] == b"<" else start
    return next(((w, r) for s, w, r in _DISGUISES if start.startswith(s) and w != kind), None)
