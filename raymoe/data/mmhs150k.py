"""MMHS150K as its authors publish it: tweets with three annotators' labels, pictures, and files of ids.

A tweet counts as hate where at least two of its three annotators gave it any of the five kinds of hate. The
text is the tweet as published; text that OCR found in the picture is added on request (``ocr_text``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raymoe.config import MMHS150KData
from raymoe.data.archive import (
    Archive,
    check_splits,
    left_out,
    missing_note,
    named,
    names_in,
    raw_table,
    read_json,
)
from raymoe.data.raw import RawTable
from raymoe.errors import InputError
from raymoe.project.provenance import Skipped

SPLIT_SIZES = {"train": 134_823, "val": 5_000, "test": 10_000}
LABELS = 6  # 0 NotHate, 1 Racist, 2 Sexist, 3 Homophobe, 4 Religion, 5 OtherHate
ANNOTATORS = 3


def read_mmhs150k(source: Path, data: MMHS150KData) -> RawTable:
    """The tweets of a folder, with columns sample_id, split, labels, tweet_text, ocr_text and picture.

    Args:
        source: the folder that holds ``MMHS150K_GT.json``, or one whose ``MMHS150K`` folder does.
        data: ``ocr_text`` counts: without it that column is empty.

    Raises:
        InputError: a file is missing or damaged, or an id is in two splits.
    """
    folder = next((f for f in (source, source / "MMHS150K") if (f / "MMHS150K_GT.json").is_file()), None)
    if folder is None:
        problem = "there is no MMHS150K_GT.json in it" if source.is_dir() else "there is no such folder"
        raise ARCHIVE.wrong_folder(source, problem)
    splits = {name: _ids(folder / "splits" / f"{name}_ids.txt") for name in SPLIT_SIZES}
    check_splits(
        str(folder / "splits"),
        splits,
        "A copy of MMHS150K in circulation has this fault, with the test ids in train_ids.txt: get the "
        "splits from the authors' archive.",
    )
    try:
        tweets = read_json(folder / "MMHS150K_GT.json")
    except ValueError as error:
        raise InputError(f"{folder}: {error}", "Get MMHS150K_GT.json again.") from None
    if not isinstance(tweets, dict):
        raise InputError(f"{folder}/MMHS150K_GT.json is not an object of tweets", "Get it again.")

    notes = [
        f"splits/{name}_ids.txt has {len(splits[name]):,} ids, not {size:,}: scores can't be compared with "
        "published ones"
        for name, size in SPLIT_SIZES.items()
        if len(splits[name]) != size
    ]
    columns: dict[str, list[Any]] = {n: [] for n in ("sample_id", "split", "labels", "tweet_text", "picture")}
    absent: list[Skipped] = []
    for split, ids in splits.items():
        for sample_id in ids:
            found = _tweet(tweets.get(sample_id))
            if isinstance(found, str):
                absent.append(left_out(sample_id, found))
                continue
            text, hate = found
            row = (sample_id, split, [data.classes[hate]], text, f"img_resized/{sample_id}.jpg")
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    listed = {i for ids in splits.values() for i in ids}
    unlisted = [i for i in tweets if i not in listed]
    if unlisted:
        notes.append(f"tweets in no split: {named(unlisted)}")
    columns["ocr_text"] = (
        _ocr(folder, columns["sample_id"], notes) if data.ocr_text else [""] * len(columns["split"])
    )
    there = set(names_in(folder / "img_resized"))
    wanted = [f"{i}.jpg" for i in columns["sample_id"]]
    if wanted and not there.intersection(wanted):
        raise ARCHIVE.wrong_folder(
            folder, f"there is none of the pictures in it, such as img_resized/{wanted[0]}"
        )
    notes += missing_note("pictures", str(folder / "img_resized"), wanted, there)
    return raw_table(folder, columns, notes, absent)


def _ids(path: Path) -> list[str]:
    """The ids of a split, one a line."""
    try:
        ids = path.read_text(encoding="utf-8-sig").split()
    except FileNotFoundError:
        raise ARCHIVE.wrong_folder(path.parent.parent, f"there is no splits/{path.name} in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}", "Get it again.") from None
    wrong = [i for i in ids if not i.isdecimal()]
    if wrong:
        raise InputError(
            f"{path} has lines that are no tweet ids: {named(wrong)}",
            "Get it again (an HTML page is what a failed download leaves).",
        )
    return ids


def _tweet(entry: Any) -> tuple[str, int] | str:
    """Text and whether most annotators found hate (0 or 1), or the reason why it can't be used."""
    if entry is None:
        return "it is not in MMHS150K_GT.json"
    if not isinstance(entry, dict) or not isinstance(entry.get("tweet_text"), str):
        return "its entry in MMHS150K_GT.json has no tweet_text"
    labels = entry.get("labels")
    if not isinstance(labels, list) or len(labels) != ANNOTATORS:
        return f"labels {labels!r} in MMHS150K_GT.json aren't those of three annotators"
    if not all(type(label) is int and 0 <= label < LABELS for label in labels):
        return f"labels {labels!r} in MMHS150K_GT.json aren't of 0..{LABELS - 1}"
    return entry["tweet_text"], int(2 * sum(label != 0 for label in labels) > ANNOTATORS)


def _ocr(folder: Path, ids: list[str], notes: list[str]) -> list[str]:
    """What OCR found in each picture; most have no text."""
    there = set(names_in(folder / "img_txt"))
    if not there:
        raise ARCHIVE.wrong_folder(
            folder,
            "data.ocr_text is on, but there is no img_txt/ID.json in it",
            "Extract img_txt too, or leave data.ocr_text off.",
        )
    texts, unreadable = [], []
    for sample_id in ids:
        text = ""
        if f"{sample_id}.json" in there:
            try:
                text = read_json(folder / "img_txt" / f"{sample_id}.json")["img_text"]
                if not isinstance(text, str):
                    raise ValueError("img_text is no text")
            except (ValueError, KeyError, TypeError):
                text = ""
                unreadable.append(sample_id)
        texts.append(text)
    notes.append(f"{sum(map(bool, texts)):,} of {len(ids):,} pictures have text by OCR")
    if unreadable:
        notes.append(
            f"files in img_txt that can't be used, so that those pictures have no text: {named(unreadable)}"
        )
    return texts


ARCHIVE = Archive(
    title="MMHS150K: 150,000 tweets with text and picture, hate or not (Gomez et al. 2020, arXiv 1910.03814)",
    origin="https://gombru.github.io/2019/10/09/MMHS/",
    layout=(
        "MMHS150K_GT.json                          tweet_text and three labels per tweet",
        "splits/train_ids.txt, val_ids.txt, test_ids.txt",
        "img_resized/1114679353714016256.jpg, ...",
        "img_txt/1114679353714016256.json, ...     only for --set data.ocr_text=true",
    ),
    read=read_mmhs150k,
)
