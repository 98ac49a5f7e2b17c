"""Paths as they are from anywhere: of a file's they are relative to it, of what is typed to where one is."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # what a dataset's folder in a workspace may be called


def absolute(path: str, folder: Path) -> str:
    """A path that is relative to a folder."""
    return str((folder / expanded(path)).resolve())


def dataset_name(stem: str) -> str:
    """What a dataset is called by the name of its file: that name, of plain letters and without spaces.

    Where letters of other scripts are lost, a hash keeps two such names apart.
    """
    if DATASET.fullmatch(stem):
        return stem
    plain = "".join(c for c in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(c))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")
    if name and not any(c.isalnum() and not c.isascii() for c in plain):
        return name
    told = hashlib.sha256(stem.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{name or 'own'}-{told}"


def expanded(path: str) -> Path:
    """A path with its ``~``; of somebody whom this machine does not know it stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def encoder_source(source: str, folder: Path) -> str:
    """An encoder's source with its folder made absolute.

    A name of the hub looks like a relative path. It is one where it is written as one (``./``, ``../``,
    ``~``), or where the folder has what it begins with: ``models/clip`` is not of the hub where there is a
    folder ``models``, whether or not ``clip`` is in it.
    """
    name = source.removeprefix("hf:")
    if name == source or not name:
        return source
    is_path = name.startswith((".", "~", "/")) or Path(absolute(name.split("/")[0], folder)).is_dir()
    return f"hf:{absolute(name, folder)}" if is_path else source
