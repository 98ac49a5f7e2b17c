"""What a source is: a file, several (a pattern, a folder of shards), or a folder that some tool wrote."""

from __future__ import annotations

import glob
import hashlib
import importlib.resources
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from raymoe.data.meaning import SPLITS
from raymoe.data.readers.arrow import ArrowReader, IpcReader, ParquetReader
from raymoe.data.readers.delimited import DelimitedReader
from raymoe.data.readers.jsonlines import JsonReader
from raymoe.data.readers.reader import Reader, in_disguise
from raymoe.data.readers.tar import TarReader
from raymoe.errors import InputError
from raymoe.runtime.quoting import listed, quoted

FORMATS = {
    "Parquet": (".parquet", ".pq"),
    "Arrow": (".arrow", ".ipc", ".feather"),
    "CSV": (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz"),
    "JSON Lines": (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz"),
    "tar": (".tar", ".tar.gz", ".tgz"),
}
FORMS = (
    ".parquet, .arrow, .feather, .csv, .tsv, .jsonl, .json (text also .gz), .tar shards of WebDataset, a "
    "folder of them or a pattern such as data/*.parquet; every form is in docs/own-tables.md"
)
BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
METADATA = "metadata"  # the name that Hugging Face gives to an image folder's table
FILE_NAME = "file_name"
MOST_FILES = 100_000


@dataclass(frozen=True)
class Shard:
    """One file of a source.

    Attributes:
        path: the file.
        place: its folder, from the source's; "" at the top.
        split: what its name or folder says about the split of its rows.
        features: of its columns, where a Hugging Face dataset keeps them elsewhere.
    """

    path: Path
    place: str = ""
    split: str | None = None
    features: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Source:
    """Where a raw table is.

    Attributes:
        name: as it was given, for messages.
        folder: what relative picture paths start from, with a shard's place between.
        shards: its files, in the order of their rows.
        is_image_folder: whether ``file_name`` is the path of a picture.
    """

    name: str
    folder: Path
    shards: tuple[Shard, ...]
    is_image_folder: bool = False

    def readers(
        self, columns: Sequence[str], as_numbers: Collection[str], telling: Sequence[str]
    ) -> Iterator[tuple[Shard, Reader]]:
        """A reader for each file; see ``DelimitedReader`` and ``ArrowReader`` for what they are told."""
        for shard in self.shards:
            shown = self.name if len(self.shards) == 1 and shard.path.name in self.name else str(shard.path)
            kind = format_of(shard.path)
            if kind == "CSV":
                yield shard, DelimitedReader(shard.path, shown, columns, telling)
            elif kind == "JSON Lines":
                yield shard, JsonReader(shard.path, shown)
            elif kind == "tar":
                yield shard, TarReader(shard.path, shown)
            else:
                arrow: type[ArrowReader] = ParquetReader if kind == "Parquet" else IpcReader
                yield shard, arrow(shard.path, shown, as_numbers, shard.features)

    def sha256(self) -> str:
        """Of the content: of a file its own, of several that of a list of them."""
        each = [_sha256(shard.path) for shard in self.shards]
        if len(each) == 1 and not self.shards[0].place:
            return each[0]
        named = zip(self.shards, each, strict=True)
        return hashlib.sha256(
            "".join(f"{s.place}/{s.path.name}\0{h}\n" for s, h in named).encode(errors="surrogateescape")
        ).hexdigest()


def locate(source: str) -> Path:
    """Where a source is, or one of this package's own (``embedded:NAME``)."""
    if source.startswith("embedded:"):
        return Path(str(importlib.resources.files("raymoe.data") / "embedded" / source[len("embedded:") :]))
    return Path(source).expanduser()


def is_there(source: str) -> bool:
    """Whether there is such a file or folder, or a file that a pattern fits."""
    path = locate(source)
    try:
        return path.exists() or any(True for name in _expanded(str(path)) for _ in glob.iglob(name))
    except (OSError, ValueError):
        return False


def find(source: str) -> Source:
    """What a source is.

    Raises:
        InputError: there is nothing there, or nothing that can be read.
    """
    path = locate(source)
    try:
        os.fsencode(source)
        if "\0" in source:
            raise ValueError
        if path.is_file():
            if format_of(path) is None:
                what, remedy = in_disguise(path, "") or (
                    "of no known format",
                    f"data.source can be: {FORMS}.",
                )
                raise InputError(f"{source} is {what}", remedy)
            return Source(source, path.parent, (Shard(path),))
        if path.is_dir():
            return _folder(source, path)
        return _pattern(source, path)
    except OSError as error:
        raise InputError(f"{source} can't be read: {error.strerror}", "Make it readable.") from None
    except ValueError:  # a null character
        raise InputError(f"{quoted(source)} can't be the name of a file", "Correct data.source.") from None


def format_of(path: Path) -> str | None:
    """The format that a file's name says."""
    name = path.name.lower()
    return next((kind for kind, ends in FORMATS.items() if name.endswith(ends)), None)


def split_in(place: str) -> str | None:
    """The split that a path names: a folder called so, or a file such as ``train-00000-of-00002.parquet``."""
    *folders, name = place.split("/")
    for folder in reversed(folders):
        if folder.lower() in SPLITS:
            return folder
    first = re.split(r"[-_.\d]", name, maxsplit=1)[0]
    return first if first.lower() in SPLITS else None


def _expanded(text: str) -> list[str]:
    """Patterns without braces: ``{000..012}`` counts, ``{a,b}`` lists."""
    found = BRACES.search(text)
    if not found:
        return [text]
    body = found[1]
    counted = re.fullmatch(r"(\d+)\.\.(\d+)", body)
    if counted:
        first, last = int(counted[1]), int(counted[2])
        if not 0 <= last - first < MOST_FILES:
            raise InputError(
                f"{quoted(text)} counts from {counted[1]} to {counted[2]}", "Write the smaller number first."
            )
        each = [str(n).zfill(len(counted[1])) for n in range(first, last + 1)]
    else:
        each = body.split(",")
    return [name for part in each for name in _expanded(text[: found.start()] + part + text[found.end() :])]


def _pattern(source: str, path: Path) -> Source:
    """Files that a pattern fits."""
    patterns = _expanded(str(path))
    files: list[Path] = []
    missing = []
    for pattern in patterns:
        if Path(pattern).is_file():
            files.append(Path(pattern))
            continue
        fit = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
        files += [Path(name) for name in fit if Path(name).is_file()]
        if not fit:
            missing.append(pattern)
    if missing and len(patterns) == 1:
        what = "no file fits" if glob.has_magic(missing[0]) else "no such file:"
        raise InputError(f"{what} {source}", f"Correct data.source. It can be: {FORMS}.")
    if missing:
        names = listed([Path(name).name for name in missing])
        raise InputError(
            f"{source}: {len(missing):,} of {len(patterns):,} files are not there ({names})",
            "Get them, or correct data.source.",
        )
    files = list(dict.fromkeys(files))
    folder = Path(os.path.commonpath([file.parent for file in files]))
    _one_format(source, files)
    return Source(source, folder, tuple(_shard(file, folder) for file in files))


def _shard(path: Path, folder: Path, **more: Any) -> Shard:
    place = path.parent.relative_to(folder).as_posix()
    within = path.relative_to(folder).as_posix()
    return Shard(path, "" if place == "." else place, split_in(within), **more)


def _one_format(source: str, files: Sequence[Path]) -> None:
    kinds: dict[str, str] = {}
    for file in files:
        kind = format_of(file)
        if kind is None:
            raise InputError(f"{file} is of no known format", f"data.source can be: {FORMS}.")
        kinds.setdefault(kind, file.name)
    if len(kinds) > 1:
        raise InputError(
            f"{source} has tables of several formats: {listed(list(kinds.values()))}",
            "Name one of them, or a pattern such as *.parquet, as data.source.",
        )


def _folder(source: str, folder: Path) -> Source:
    """What a folder is, by what is in it."""
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
            raise InputError(f"{source}: dataset_dict.json lists no splits", "Save the dataset again.")
        shards = [s for name in splits for s in _saved(folder / name, name, name)]
        return Source(source, folder, tuple(shards))
    if (folder / "state.json").is_file():
        return Source(source, folder, tuple(_saved(folder, "", None)))
    files = [p for p in _files(folder, depth=2) if p.name not in _NO_TABLES]
    tables = [p for p in files if format_of(p)]
    tables = [p for p in tables if p.suffix != ".json"] or tables  # else most often a description
    described = [p for p in tables if p.name.split(".")[0] == METADATA]
    if described:
        _one_format(source, described)
        return Source(source, folder, tuple(_shard(p, folder) for p in described), is_image_folder=True)
    if tables:
        _one_format(source, tables)
        return Source(source, folder, tuple(_shard(p, folder) for p in tables))
    raise _no_table(source, folder, files)


# Of a dataset's description, in the folders of the Hugging Face hub.
_NO_TABLES = {"dataset_infos.json", "dataset_info.json", "config.json", "state.json"}


def _files(folder: Path, depth: int) -> list[Path]:
    """Files of a folder and those in it, sorted; hidden ones, and those that begin with _, left out."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_file():
            found.append(path)
        elif path.is_dir() and depth and not _is_result(path):
            found += _files(path, depth - 1)
    return found


def _is_result(folder: Path) -> bool:
    """Whether a folder is a dataset's in a workspace: what was made of a table is no part of it."""
    try:
        metadata = pq.read_schema(folder / "samples.parquet").metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return b"raymoe.made_by" in metadata


def _saved(folder: Path, place: str, split: str | None) -> list[Shard]:
    """The files of a dataset that ``save_to_disk`` of Hugging Face ``datasets`` wrote."""
    state = _json(folder / "state.json")
    indices = state.get("_indices_data_files") or state.get("_indices_files")
    if indices:
        raise InputError(
            f"{folder}: its rows are chosen by another file, of indices",
            "Save it after dataset.flatten_indices().",
        )
    listed_files = state.get("_data_files")
    names = [str(f.get("filename", "")) for f in listed_files or [] if isinstance(f, dict)]
    if not all(names) or not names:
        raise InputError(f"{folder / 'state.json'} lists no data files", "Save the dataset again.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of its {len(names)} files ({listed(missing)})",
            "Copy the whole folder, or save the dataset again.",
        )
    about = folder / "dataset_info.json"
    features = _json(about).get("features") if about.is_file() else None
    features = features if isinstance(features, dict) else None
    return [Shard(folder / name, place, split, features) for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}", "Copy the whole folder, or save the dataset again."
        ) from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no JSON, or cut short", "Save the dataset again.") from None
    return found if isinstance(found, dict) else {}


def _no_table(source: str, folder: Path, files: Sequence[Path]) -> InputError:
    """What is said of a folder without a table."""
    pictures = [p for p in files if p.suffix.lower() in Image.registered_extensions()]
    classes = sorted({p.parent.name for p in pictures if p.parent != folder})
    if pictures:
        where = f" in the folders {listed(classes)}" if classes else ""
        return InputError(
            f"{source} has pictures{where}, but no table: their texts are missing",
            "Put a metadata.csv there with the file_name, a text and the class of each picture.",
        )
    return InputError(f"{source} is a folder without a table", f"data.source can be: {FORMS}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
