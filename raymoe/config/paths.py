"""Paths as they are from anywhere: of a file's they are relative to it, of what is typed to where one is."""

from __future__ import annotations

from pathlib import Path


def absolute(path: str, folder: Path) -> str:
    """A path that is relative to a folder."""
    return str((folder / expanded(path)).resolve())


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
