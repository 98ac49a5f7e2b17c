"""WebDataset shards: tar files whose members of one name are one sample, a file per column."""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from raymoe.data.cells import Encoded
from raymoe.data.readers.reader import ROWS, Columns, Reader
from raymoe.errors import InputError
from raymoe.runtime.quoting import in_short, quoted

KEY = "__key__"
PICTURE = "image"  # the sample's one picture, whichever its extension
JSON = "json"
_BLOCK = 1 << 20


class TarReader(Reader):
    """One shard. Columns are the extensions, ``__key__``, ``image``, and the fields of ``.json`` members.

    A member's key is its path up to the first dot of its name; the rest, in small letters, is its column. An
    extension comes before a field of the same name. Members of a sample lie next to each other.
    """

    format: ClassVar[str] = "tar"
    may_lack_fields: ClassVar[bool] = True

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(path, shown)
        self._names: dict[str, None] = {}
        self._of_pictures: set[str] = set()
        self._is_read = self._has_several = False

    @property
    def names(self) -> list[str] | None:
        """See ``Reader``."""
        return list(self._names) if self._is_read else None

    @property
    def offered(self) -> list[str] | None:
        """See ``Reader``: ``image``, or the extensions of pictures where a sample has several of them."""
        unfit = {PICTURE} if self._has_several else self._of_pictures
        return [name for name in self._names if name not in unfit] if self._is_read else None

    def batches(
        self, columns: Sequence[str], pictures: Collection[str], *, peek: bool = False, size: int = ROWS
    ) -> Iterator[tuple[int, Columns]]:
        """See ``Reader``."""
        found: Columns = {name: [] for name in columns}
        rows = 0
        with self.explained():
            try:
                for row in self._samples(columns, pictures, peek):
                    for name, values in found.items():
                        values.append(row.get(name))
                    rows += 1
                    if rows == size:
                        yield rows, found
                        found, rows = {name: [] for name in columns}, 0
            except tarfile.TarError as error:
                raise self.unreadable(in_short(error)) from None
        self._is_read = True
        if rows:
            yield rows, found

    def _samples(
        self, columns: Sequence[str], pictures: Collection[str], peek: bool
    ) -> Iterator[dict[str, Any]]:
        last, sample = "", dict[str, Any]()
        before, there = set[str](), set[str]()
        with tarfile.open(self.path, "r:*") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # else it remembers every one
                folder, _, name = member.name.rpartition("/")
                stem, dot, extension = name.partition(".")
                if not member.isfile() or not stem or not dot:
                    continue  # a folder, a hidden file, one without an extension
                key, extension = f"{folder}/{stem}".lstrip("/").removeprefix("./"), extension.lower()
                if key != last:
                    if sample:
                        yield sample
                    if key in before:
                        raise InputError(
                            f"{self.shown}: members of {quoted(key)} do not lie next to each other",
                            "Write it sorted by name, for instance: tar --sort=name -cf ...",
                        )
                    before.add(key)
                    last, sample = key, {KEY: key}
                    there.clear()
                if extension in there:
                    raise InputError(
                        f"{self.shown}: {quoted(member.name)} is there twice", "Every file once in a shard."
                    )
                self._has_several |= _is_picture(extension) and any(map(_is_picture, there))
                there.add(extension)
                self._take(tar, member, sample, extension, columns, pictures, peek)
            if sample:
                yield sample
            self._refuse_rest(tar)

    def _take(
        self,
        tar: tarfile.TarFile,
        member: tarfile.TarInfo,
        sample: dict[str, Any],
        extension: str,
        columns: Sequence[str],
        pictures: Collection[str],
        peek: bool,
    ) -> None:
        """Add a member to its sample, if it is asked for."""
        is_picture = _is_picture(extension)
        places = [extension] + ([PICTURE] if is_picture else [])
        self._names.update(dict.fromkeys([KEY, *places]))
        if is_picture:
            self._of_pictures.add(extension)
        if extension == JSON:
            fields = self._json(_content(tar, member), member.name)
            self._names.update(dict.fromkeys(fields))
            for name, field in fields.items():
                sample.setdefault(name, field)
            return
        asked = [name for name in places if name in columns]
        if not asked:
            return
        if is_picture and PICTURE in asked and PICTURE in sample:
            raise InputError(
                f"{self.shown}: {quoted(sample[KEY])} has several pictures",
                "Name the column of the one that is meant by its extension.",
            )
        as_bytes = any(name in pictures for name in asked)
        value: Any = Encoded.UNREAD if peek and as_bytes else _content(tar, member)
        if not as_bytes:
            try:
                value = value.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise InputError(
                    f"{self.shown}: {quoted(member.name)} is no UTF-8 text",
                    f"Columns that are no pictures are text; is {extension} a picture?",
                ) from None
            value = value.strip() if extension in ("cls", "txt") else value
        sample.update(dict.fromkeys(asked, value))

    def _json(self, content: bytes, name: str) -> dict[str, Any]:
        try:
            row = json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{self.shown}: {quoted(name)} is no JSON: {in_short(error)}", "Write that sample again."
            ) from None
        if not isinstance(row, dict):
            raise InputError(f"{self.shown}: {quoted(name)} is not an object", "Its fields are columns.")
        return row

    def _refuse_rest(self, tar: tarfile.TarFile) -> None:
        """A damaged header looks like the end to tarfile: behind a true end there is nothing but zeros."""
        file = tar.fileobj
        if file is None:
            return
        file.seek(tar.offset)
        end = file.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE:
            raise self.unreadable("it has no end, as when writing was interrupted")
        for block in itertools.chain([end], iter(lambda: file.read(_BLOCK), b"")):
            if block.strip(b"\0"):
                raise self.unreadable(f"there is something else than a member at byte {tar.offset:,}")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _is_picture(extension: str) -> bool:
    """Whether a file of that extension, or of ``left.jpg``, is a picture that can be decoded."""
    return f".{extension.rpartition('.')[2]}" in Image.registered_extensions()
