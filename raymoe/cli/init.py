"""``raymoe init``: a look at a table of the user's own, and the file that describes it, to be edited."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from raymoe.config.paths import dataset_name
from raymoe.data.look import Looked, look
from raymoe.data.suggest import suggest
from raymoe.errors import InputError, WorkspaceError
from raymoe.runtime.progress import console


def write_description(table: str, output: str, *, overwrite: bool = False) -> None:
    """Write the file, and say what was guessed and what is to be checked.

    Raises:
        InputError: the file is there, the table can't be read, or can't be what raymoe is for.
        WorkspaceError: the file can't be written.
    """
    path = Path(output).expanduser()
    if path.suffix != ".toml":
        raise InputError(f"-o {output}: not the name of a .toml file", "For instance -o own.toml")
    if path.exists() and not overwrite:
        raise InputError(f"{output} is there already", "Give another name with -o, or --overwrite it.")
    _refuse_unwritable(path, output)
    source = table if table.startswith("embedded:") else str(Path(table).expanduser().resolve())
    try:
        looked = look(source)
    except InputError as error:  # here it is no setting, but what was typed
        raise InputError(error.message, error.remedy.replace("data.source", "TABLE")) from None
    named = _named_from(table, source, path.parent.resolve())
    suggestion = suggest(looked, named, dataset_name(path.stem))
    try:
        path.write_text(suggestion.text, encoding="utf-8")
    except (OSError, UnicodeEncodeError) as error:
        raise WorkspaceError(f"{output} can't be written: {error}", "Give another name with -o.") from None
    for line in _summary(looked):
        console.print(line)
    for check in suggestion.checks:
        console.print(f"  check this: {check}")
    console.print(f"  -> {output}")
    console.print(f"Edit it, then run: raymoe report {shlex.quote(output)}")


def _named_from(table: str, source: str, folder: Path) -> str:
    """How a file in that folder names the table: as a relative path, but where it was given otherwise."""
    if source == table and not Path(source).is_relative_to(folder):
        return source
    return os.path.relpath(source, folder)


def _refuse_unwritable(path: Path, output: str) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise WorkspaceError(
            f"-o {output}: there is no folder {folder}", "Make it, or give another name with -o."
        )
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise WorkspaceError(f"-o {output}: no permission to write", "Give another name with -o.")


def _summary(looked: Looked) -> list[str]:
    texts = ", ".join(column.name for column in looked.texts) or "none"
    pictures = ", ".join(column.name for column in looked.pictures) or "none"
    split = looked.split.column if looked.split else "drawn by the hash of the id"
    return [
        f"  {looked.rows:,} rows: {looked.task}, {len(looked.classes)} classes",
        f"  id: {looked.id.column}; labels: {looked.labels.column}; split: {split}",
        f"  texts: {texts}; pictures: {pictures}",
    ]
