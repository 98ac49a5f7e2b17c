"""What the readers of the published datasets share: archives, and what is said when files are missing.

A reader turns the folder that a dataset's authors publish into a raw table, which then goes through the
same checks as any other. What it finds is compared with what the dataset holds: less than that is a
warning with figures, anything that would make scores mean something else stops it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raymoe.data.raw import RawTable
from raymoe.errors import InputError
from raymoe.project.provenance import Skipped

NAMED = 5  # how many files or ids are named where there are many


@dataclass(frozen=True)
class Archive:
    """A dataset as its authors publish it.

    Attributes:
        title: its name, what it holds and whose it is, in a line.
        origin: where its authors publish it.
        layout: the files that are expected in the folder, one a line.
        read: from the folder and the format's data section to a raw table; raises InputError.
    """

    title: str
    origin: str
    layout: tuple[str, ...]
    read: Callable[[Path, Any], RawTable]

    def instructions(self) -> str:
        """Where it comes from and what is expected, as indented lines."""
        lines = [f"Published: {self.origin}", "Expected in the folder:", *(f"  {f}" for f in self.layout)]
        return "".join(f"\n    {line}" for line in lines)

    def unprepared(self, path: str, command: str, *, exists: bool) -> InputError:
        """The error when the samples table at ``path`` is to be made, but no source is given."""
        state = "is to be made again" if exists else "isn't there"
        return InputError(
            f"{self.title}\n    {path} {state}, and no --source says where the archive is."
            f"{self.instructions()}",
            f"Get and extract it, then: {command} --source DIR",
        )

    def wrong_folder(self, folder: Path, problem: str, remedy: str = "") -> InputError:
        """The error when the folder isn't laid out as expected."""
        remedy = remedy or "Extract the archive as it was published and give that folder as --source."
        return InputError(f"{folder}: {problem}.{self.instructions()}", remedy)


def raw_table(
    folder: Path, columns: dict[str, list[Any]], notes: list[str], left_out: list[Skipped]
) -> RawTable:
    """The raw table of a published dataset; its content, not its files, is what is hashed."""
    content = json.dumps([columns, left_out], sort_keys=True).encode()
    return RawTable(
        name=str(folder),
        folder=folder,
        columns=columns,
        sha256=hashlib.sha256(content).hexdigest(),
        provenance={},
        notes=tuple(notes),
        left_out=tuple(left_out),
        numbered=False,
    )


def left_out(sample_id: str, reason: str) -> Skipped:
    """A sample that has no row, as it is listed."""
    return {"sample_id": sample_id, "row": None, "reason": reason}


def names_in(folder: Path, pattern: str = ".*") -> list[str]:
    """Names of a folder's files that match the whole pattern, sorted; none where there is no such folder.

    Raises:
        InputError: the folder can't be read.
    """
    matches = re.compile(pattern).fullmatch
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if matches(e.name) and not e.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder} can't be read: {error}", "Make it readable.") from None


def named(items: Sequence[str]) -> str:
    """How many there are and the first few, for a message."""
    return f"{len(items):,} ({_first(items)})"


def _first(items: Sequence[str]) -> str:
    return ", ".join(items[:NAMED]) + (", ..." if len(items) > NAMED else "")


def missing_note(what: str, folder: str, wanted: Sequence[str], there: Collection[str]) -> list[str]:
    """A warning that files are missing, in a list; empty where none is."""
    missing = [name for name in wanted if name not in there]
    if not missing:
        return []
    return [
        f"{what} missing in {folder}: {len(missing):,} of {len(wanted):,} ({_first(missing)}); "
        "if the archive was only half extracted, extract it again"
    ]


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it can't be read or is no JSON, with the reason.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"there is no {path.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} can't be read: {error}") from None
    try:
        return json.loads(text)
    except ValueError as error:
        what = (
            "an HTML page, as a failed download leaves it" if "<html" in text[:1000].lower() else str(error)
        )
        raise ValueError(f"{path.name} is not JSON, or cut short: {what}") from None


def check_splits(source: str, splits: dict[str, list[str]], hint: str = "") -> None:
    """Every id is in one split, once.

    Raises:
        InputError: some aren't; says how many, in which splits, and names the first.
    """
    first: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for split, ids in splits.items():
        for sample_id in ids:
            if sample_id in first:
                earlier = first[sample_id]
                where = f"twice in {split}" if earlier == split else f"in both {earlier} and {split}"
                repeated.setdefault(where, []).append(sample_id)
            else:
                first[sample_id] = split
    if repeated:
        problems = [f"\n    ids {where}: {named(ids)}" for where, ids in repeated.items()]
        raise InputError(
            f"the splits in {source} overlap:{''.join(problems)}",
            hint or "Get the files again from where the dataset's authors publish them.",
        )


def check_ids(source: str, ids: Any) -> list[str]:
    """A split's ids as a list of non-empty strings.

    Raises:
        InputError: they are something else.
    """
    if not isinstance(ids, list) or not all(isinstance(i, str) and i for i in ids):
        raise InputError(f"{source} is not a list of ids", "Get the file again.")
    return ids
