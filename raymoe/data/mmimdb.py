"""MM-IMDb as its authors publish it: a folder of one JSON and one JPEG per movie.

The text is the first plot. The contiguous split cuts the ids, sorted by file name, into 15,552 / 2,608 /
7,799, as FL-I2MoE's authors do; ``archive`` takes the authors' own ``split.json``. Labels are the 23
genres that the dataset keeps of the 27 that the movies have.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from raymoe.config import MMIMDbData
from raymoe.data.archive import (
    Archive,
    check_ids,
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
from raymoe.runtime.progress import track

MOVIES = 25_959
SPLIT_SIZES = {"train": 15_552, "val": 2_608, "test": 7_799}
ARCHIVE_SPLITS = {"train": "train", "dev": "val", "test": "test"}
# Genres that movies have and the dataset has not: the rarest four of IMDb's.
OTHER_GENRES = ("news", "adult", "talk-show", "reality-tv")


def read_mmimdb(source: Path, data: MMIMDbData) -> RawTable:
    """The movies of a folder, with columns sample_id, split, labels, plot and poster.

    Args:
        source: the extracted archive, its ``dataset`` folder, or the folder that holds the archive's.
        data: ``split`` and ``classes`` count.

    Raises:
        InputError: there are no movies, genres that are no genres of the dataset, or a split that overlaps.
    """
    folder = _find(source)
    ids = [name.removesuffix(".json") for name in names_in(folder, r"\d+\.json")]
    posters = set(names_in(folder, r"\d+\.jpeg"))
    if not posters:
        raise ARCHIVE.wrong_folder(
            source, f"there is none of the posters in it, such as {folder.name}/{ids[0]}.jpeg"
        )
    archive = _archive_split(folder, required=data.split == "archive")
    notes: list[str] = []
    absent: list[Skipped] = []
    if archive:
        listed = [f"{i}.json" for part in archive.values() for i in part]
        notes += missing_note("movies", str(folder), sorted(listed), {f"{i}.json" for i in ids})
    if data.split == "archive" and archive is not None:
        split_of = {i: ARCHIVE_SPLITS[name] for name, part in archive.items() for i in part}
        absent += [left_out(i, "there is no JSON file of it") for i in sorted(set(split_of) - set(ids))]
        absent += [left_out(i, "it is not in split.json") for i in ids if i not in split_of]
        ids = [i for i in ids if i in split_of]
    else:
        split_of = contiguous_split(ids)
        if len(ids) != MOVIES:
            counts = Counter(split_of.values())
            sizes = " / ".join(f"{counts[name]:,}" for name in SPLIT_SIZES)
            notes.append(
                f"{len(ids):,} movies, not {MOVIES:,}: the contiguous split keeps its proportions ({sizes}), "
                "but other movies are in it, so scores can't be compared with published ones"
            )
    notes += missing_note("posters", str(folder), [f"{i}.jpeg" for i in ids], posters)
    orphans = sorted(
        {name.removesuffix(".jpeg") for name in posters} - set(ids) - {a["sample_id"] for a in absent}
    )
    if orphans:
        notes.append(f"posters without a JSON file: {named(orphans)}")
    return _rows(folder, ids, split_of, data, notes, absent)


def contiguous_split(ids: list[str]) -> dict[str, str]:
    """The split of each id: the published limits for all movies, else limits in the same proportions."""
    limits = [len(ids) * end / MOVIES for end in (SPLIT_SIZES["train"], MOVIES - SPLIT_SIZES["test"])]
    train, val = (round(limit) for limit in limits)
    return {i: "train" if at < train else "val" if at < val else "test" for at, i in enumerate(ids)}


def _find(source: Path) -> Path:
    """The folder that holds the movies."""
    for folder in (source, source / "dataset", source / "mmimdb" / "dataset"):
        if names_in(folder, r"\d+\.json"):
            return folder
    if source.suffix in (".hdf5", ".h5") or names_in(source, r".*\.(hdf5|h5)"):
        raise ARCHIVE.wrong_folder(
            source,
            "it holds the HDF5 file, whose pooled features the original I2MoE reads; FL-I2MoE needs the "
            "plots and posters themselves",
            "Get mmimdb.tar.gz instead, extract it and give that folder as --source.",
        )
    if source.name.endswith((".tar.gz", ".tgz")) or names_in(source, r".*\.(tar\.gz|tgz)"):
        raise ARCHIVE.wrong_folder(
            source,
            "the archive isn't extracted",
            "Extract it (tar -xf mmimdb.tar.gz), then give that folder.",
        )
    if not source.exists():
        raise ARCHIVE.wrong_folder(source, "there is no such folder")
    raise ARCHIVE.wrong_folder(source, "there is no movie in it, such as dataset/0000005.json")


def _archive_split(folder: Path, *, required: bool) -> dict[str, list[str]] | None:
    """The ids in the authors' split.json, which lies beside the folder or in it."""
    paths = [p for p in (folder.parent / "split.json", folder / "split.json") if p.is_file()]
    if not paths:
        if required:
            raise ARCHIVE.wrong_folder(
                folder.parent,
                "data.split is archive, but there is no split.json",
                "Get split.json from the archive, or leave data.split at contiguous.",
            )
        return None
    try:
        found = read_json(paths[0])
        if not isinstance(found, dict) or not found.keys() >= ARCHIVE_SPLITS.keys():
            raise ValueError(f"split.json has no lists {', '.join(ARCHIVE_SPLITS)}")
    except ValueError as error:
        if not required:
            return None
        raise InputError(f"{paths[0]}: {error}", "Get split.json from the archive again.") from None
    splits = {name: check_ids(f"{paths[0]}, {name}", found[name]) for name in ARCHIVE_SPLITS}
    if required:
        check_splits(str(paths[0]), splits)
    return splits


def _rows(
    folder: Path,
    ids: list[str],
    split_of: dict[str, str],
    data: MMIMDbData,
    notes: list[str],
    absent: list[Skipped],
) -> RawTable:
    """Read the JSON files; the one of a movie that can't be used leaves that movie out."""
    columns: dict[str, list[Any]] = {n: [] for n in ("sample_id", "split", "labels", "plot", "poster")}
    unknown: dict[str, list[str]] = {}
    ignored: Counter[str] = Counter()
    unlabelled = empty = 0
    with track("read movies", len(ids)) as task, ThreadPoolExecutor() as pool:
        for sample_id, found in zip(ids, pool.map(lambda i: _movie(folder / f"{i}.json"), ids), strict=True):
            task.advance()
            if isinstance(found, str):
                absent.append(left_out(sample_id, found))
                continue
            plot, genres = found
            ignored.update(g for g in genres if g in OTHER_GENRES and g not in data.classes)
            for genre in genres:
                if genre not in data.classes and genre not in OTHER_GENRES:
                    unknown.setdefault(genre, []).append(f"{sample_id}.json")
            labels = [g for g in genres if g in data.classes]
            unlabelled += not labels
            empty += not plot.strip()
            row = (sample_id, split_of[sample_id], labels, plot, f"{sample_id}.jpeg")
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    if unknown:
        problems = [f"\n    {g!r} in {named(f)}" for g, f in sorted(unknown.items())]
        raise InputError(
            f"{folder} has genres that the dataset has not:{''.join(problems[:10])}",
            "Get the archive again; for movies of your own list their genres as classes in a .toml file.",
        )
    if ignored:
        which = ", ".join(f"{g} {n:,}" for g, n in sorted(ignored.items()))
        notes.append(f"genres that the dataset leaves out: {which}")
    if unlabelled:
        notes.append(f"movies with none of the {len(data.classes)} genres: {unlabelled:,}; they are kept")
    if empty:
        fate = "kept, with only the special tokens" if data.empty_text == "keep" else "left out"
        notes.append(f"empty plots: {empty:,}; those movies are {fate}")
    return raw_table(folder, columns, notes, absent)


def _movie(path: Path) -> tuple[str, list[str]] | str:
    """First plot and genres in lower case, or the reason why the file can't be used."""
    try:
        found = read_json(path)
    except ValueError as error:
        return str(error)
    if not isinstance(found, dict):
        return f"{path.name} is not an object"
    plots, genres = found.get("plot") or [], found.get("genres")
    plots = [plots] if isinstance(plots, str) else plots
    if not isinstance(plots, list) or not all(isinstance(p, str) for p in plots):
        return f"{path.name}: plot is not a list of texts"
    if not isinstance(genres, list) or not all(isinstance(g, str) for g in genres):
        return f"{path.name}: genres is not a list of names"
    return (plots[0] if plots else ""), [g.lower() for g in genres]


ARCHIVE = Archive(
    title="MM-IMDb: 25,959 movies with plot, poster and 23 genres (Arevalo et al. 2017, arXiv 1702.01992)",
    origin="http://lisi1.unal.edu.co/mmimdb/ (mmimdb.tar.gz, 8 GB); the authors' repository "
    "github.com/johnarevalo/gmu-mmimdb names a mirror",
    layout=(
        "dataset/0000005.json, ...   fields plot and genres",
        "dataset/0000005.jpeg, ...   the posters",
        "split.json                  only for --set data.split=archive",
    ),
    read=read_mmimdb,
)
