"""ENRICO as its authors publish it: a CSV of topics, a folder of screenshots and one of wireframes.

The split is that of MultiBench and I2MoE: two screens whose wireframes are broken are ignored, the row
indices of the rest are shuffled by ``random.Random(42)`` and cut at 65 and 80 %.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raymoe.config import EnricoData
from raymoe.data.archive import Archive, missing_note, names_in, raw_table
from raymoe.data.raw import RawTable
from raymoe.errors import InputError

SCREENS = 1_460
IGNORED = ("50105", "50109")  # issues.csv of the authors: wireframe not available
SEED, TRAIN, VAL = 42, 0.65, 0.15
PICTURES = {"screenshot": ("screenshots", ".jpg"), "wireframe": ("wireframes", ".png")}


def read_enrico(source: Path, data: EnricoData) -> RawTable:
    """The screens of a folder, with columns sample_id, split, labels, screenshot and wireframe.

    Args:
        source: the folder that holds ``design_topics.csv``, or one whose ``enrico`` folder does.
        data: ``classes`` counts.

    Raises:
        InputError: a file or folder is missing, the CSV is damaged, repeats an id or has an unknown topic.
    """
    folder = next((f for f in (source, source / "enrico") if (f / "design_topics.csv").is_file()), None)
    if folder is None:
        problem = "there is no design_topics.csv in it" if source.is_dir() else "there is no such folder"
        raise ARCHIVE.wrong_folder(source, problem)
    rows = _topics(folder / "design_topics.csv", data.classes)
    notes = []
    if len(rows) != SCREENS:
        notes.append(
            f"design_topics.csv has {len(rows):,} screens, not {SCREENS:,}: the split depends on all of "
            "them, so scores can't be compared with published ones"
        )
    rows = [row for row in rows if row[0] not in IGNORED]
    ids = [sample_id for sample_id, _ in rows]
    columns: dict[str, list[Any]] = {
        "sample_id": ids,
        "split": shuffled_split(len(rows)),
        "labels": [[topic] for _, topic in rows],
    }
    for column, (subfolder, ending) in PICTURES.items():
        names, there = [f"{i}{ending}" for i in ids], set(names_in(folder / subfolder))
        if ids and not there.intersection(names):
            raise ARCHIVE.wrong_folder(folder, *_no_pictures(folder, subfolder, names[0]))
        notes += missing_note(subfolder, str(folder / subfolder), names, there)
        columns[column] = [f"{subfolder}/{name}" for name in names]
    return raw_table(folder, columns, notes, [])


def shuffled_split(count: int) -> list[str]:
    """The split of each of ``count`` rows."""
    order = list(range(count))
    random.Random(SEED).shuffle(order)
    splits = [""] * count
    for place, row in enumerate(order):
        train, val = int(count * TRAIN), int(count * (TRAIN + VAL))
        splits[row] = "train" if place < train else "val" if place < val else "test"
    return splits


def _topics(path: Path, classes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Ids and topics, in the order of the file, on which the split depends."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"screen_id", "topic"} <= set(reader.fieldnames or ()):
                found = ", ".join(reader.fieldnames or ())[:80]
                raise InputError(
                    f"{path} has no columns screen_id and topic, but: {found or 'nothing'}",
                    "Get design_topics.csv again (an HTML page is what a failed download leaves).",
                )
            rows = [(reader.line_num, row["screen_id"] or "", row["topic"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read: {error}", "Get it again.") from None
    problems = list(_problems(rows, classes))
    if problems:
        more = f"\n    and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise InputError(
            f"{path} can't be used:{''.join(f'{chr(10)}    {p}' for p in problems[:10])}{more}",
            f"It is damaged or another version: get it again. Topics: {', '.join(classes)}.",
        )
    return [(sample_id, topic) for _, sample_id, topic in rows]


def _problems(rows: list[tuple[int, str, str]], classes: tuple[str, ...]) -> Iterator[str]:
    first: dict[str, int] = {}
    for line, sample_id, topic in rows:
        if not sample_id:
            yield f"line {line}: no screen_id"
        elif sample_id in first:
            yield f"line {line}: {sample_id} is in line {first[sample_id]} too"
        if topic not in classes:
            yield f"line {line}: unknown topic {topic!r}"
        first.setdefault(sample_id, line)


def _no_pictures(folder: Path, subfolder: str, example: str) -> tuple[str, str]:
    """What is wrong where a folder of pictures has none of those wanted, and what to do."""
    if (folder / f"{subfolder}.zip").is_file():
        return f"{subfolder}.zip isn't extracted", f"Extract it: unzip {subfolder}.zip"
    return f"there is none of the {subfolder} in it, such as {subfolder}/{example}", ""


ARCHIVE = Archive(
    title="ENRICO: 1,460 mobile screens with screenshot, wireframe and one of 20 topics (Leiva et al. 2020)",
    origin="https://github.com/luileito/enrico (design_topics.csv is there; its README links screenshots.zip "
    "and wireframes.zip)",
    layout=(
        "design_topics.csv           columns screen_id and topic",
        "screenshots/10594.jpg, ...",
        "wireframes/10594.png, ...",
    ),
    read=read_enrico,
)
