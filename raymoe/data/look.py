"""What a table of a user's own seems to be: which column is the id, the labels, the split, a text, a picture.

Guesses, each with its reason; whoever is told them decides. ``suggest`` writes them down.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from raymoe.config import TaskName
from raymoe.data.meaning import is_null, split_of, written_list
from raymoe.data.pictures import decode
from raymoe.data.raw import RawTable, column_names, read_raw
from raymoe.errors import InputError
from raymoe.runtime.quoting import in_short, quoted

LOOKED_AT = 24  # cells of a column of pictures, from the first rows and spread over all
MOST_CLASSES = 1000
LONGEST_LABEL = 60  # characters
LONGEST_ID = 200
PICTURE_NAME = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|avif|heic)$", re.I)
WEB = re.compile(r"^\s*(https?|ftp)://\S+\s*$", re.I)
SEVERAL = re.compile(r"[|;]")

# Names that columns of that role have, the likeliest first.
ID_NAMES = ("sample_id", "id", "uid", "uuid", "key", "__key__", "image_id", "file_name", "filename", "name")
LABEL_NAMES = (
    "labels", "label", "class", "classes", "category", "categories", "genre", "genres", "target", "targets",
    "topic", "topics", "tags", "tag", "sentiment", "emotion", "kind", "type", "species", "style", "y",
)  # fmt: skip
TEXT_NAMES = (
    "text", "texts", "caption", "captions", "title", "description", "plot", "summary", "comment", "sentence",
    "body", "content", "question", "review", "story", "prompt",
)  # fmt: skip
SPLIT_NAMES = ("split", "splits", "subset", "fold", "partition", "set", "stage")


@dataclass(frozen=True)
class Guess:
    """A column for a role.

    Attributes:
        column: its name.
        why: in a few words.
        check: what the user has to decide, where the table leaves it open; "" where it does not.
    """

    column: str
    why: str
    check: str = ""


@dataclass(frozen=True)
class Column:
    """What one column holds.

    Attributes:
        name: as it is written.
        kind: ``picture``, ``text`` (of any length), ``number``, ``list``, ``empty`` or ``other``.
        distinct: how many different values.
        empty: how many cells hold nothing.
        words: of a text, the words of each cell.
        note: what was found, for comments.
        check: what the user has to decide about it.
    """

    name: str
    kind: str
    distinct: int = 0
    empty: int = 0
    words: tuple[int, ...] = ()
    note: str = ""
    check: str = ""

    @property
    def mean_words(self) -> float:
        """Words of a cell that is not empty."""
        there = [n for n in self.words if n]
        return sum(there) / len(there) if there else 0.0


@dataclass(frozen=True)
class Looked:
    """What a table seems to be.

    Attributes:
        source: the table.
        rows: how many.
        id, labels: the columns.
        split: the column; None where the splits are to be drawn.
        split_why: why.
        split_check: what is lost by drawing them.
        task: of the labels.
        classes: by name, how many samples have each; in the order in which they are to be listed.
        per_sample: the mean number of classes of a sample.
        separator: between several labels in one text, where it is neither ``|`` nor ``;``.
        texts, pictures: the columns, in the order in which they are to be named.
        unused: the other columns, and why each is left out.
    """

    source: str
    rows: int
    id: Guess
    labels: Guess
    split: Guess | None
    split_why: str
    split_check: str
    task: TaskName
    classes: dict[str, int]
    per_sample: float
    separator: str | None
    texts: tuple[Column, ...]
    pictures: tuple[Column, ...]
    unused: dict[str, str] = field(default_factory=dict)


def look(source: str) -> Looked:
    """Look at every column of a table.

    Raises:
        InputError: the table can't be read, has no column that can be labels, or has fewer than two that can
            be a modality; says what each column is.
    """
    found = Counter(column_names(source))
    names = [name for name, times in found.items() if times == 1 and _can_be_named(name)]
    if not names:
        raise InputError(f"{source} has no columns", "Give a table with an id, labels, texts and pictures.")
    of_files = {"split": "split_column"}  # the names of files can be a column of splits
    first = read_raw(source, names, names, settings=of_files)  # no picture inside the table stays in memory
    inside = {name: _encoded_column(first, name) for name in names if first.is_encoded(name)}
    # A list of small numbers may be bytes, or labels: what is no picture is read as what else it can be.
    held = [name for name in names if name not in inside]
    values = _readable(source, held, of_files)
    for name, column in inside.items():
        if column.kind != "picture":
            with suppress(InputError):  # bytes that are no text either
                values |= read_raw(source, [name]).columns
    rows = len(next(iter(values.values()))) if values else len(first)
    if not rows:
        raise InputError(f"{source} has no rows", "Give a table with some.")
    columns = inside | {name: _column(name, cells, first) for name, cells in values.items()}
    columns = {name: columns.get(name) or Column(name, "other", note="can't be read") for name in names}

    split, split_why, split_check = _split(columns, values)
    taken = {split.column} if split else _split_like(columns, values)
    labels = _labels(columns, values, taken)
    if labels is None:
        raise InputError(
            f"{source}: no column can be the labels{_what_they_are(columns)}",
            "A column of labels has at least two classes, each in several rows: names, numbers from 0, lists "
            "of them, or several in one text separated by |.",
        )
    taken |= {labels.column}
    sample_id = _id(columns, values, taken)
    pictures = [c for c in columns.values() if c.kind == "picture" and c.name not in taken]
    free = [c for c in columns.values() if c.kind == "text" and c.name not in {*taken, sample_id.column}]
    texts = [c for c in free if _reads_as_text(c, rows, values[c.name])]
    if len(pictures) + bool(texts) < 2 and len(texts) < 2:  # what is short or repeated will have to do
        texts = [c for c in free if not _is_web(values[c.name])]
    texts.sort(key=lambda c: c.empty > rows // 20)  # the first one must not be empty
    if len(pictures) + len(texts) < 2:
        raise InputError(
            f"{source} has one modality or none{_what_they_are(columns)}",
            "raymoe measures what features of two modalities do together: give a column of texts and one of "
            "pictures (paths relative to the table, or the pictures themselves), or two of a kind.",
        )
    separator = _separator(values[labels.column])
    task, classes, per_sample = _task(values[labels.column], separator)
    used = {*taken, sample_id.column, *(c.name for c in (*texts, *pictures))}
    unused = {c.name: c.note or c.kind for c in columns.values() if c.name not in used}
    unused |= {name: "there are several of this name" for name, times in found.items() if times > 1}
    return Looked(
        source,
        rows,
        sample_id,
        labels,
        split,
        split_why,
        split_check,
        task,
        classes,
        per_sample,
        separator,
        tuple(texts),
        tuple(pictures),
        unused,
    )


def _readable(source: str, names: list[str], settings: Mapping[str, str]) -> dict[str, list[Any]]:
    """The columns that can be read: one that can't be (bytes in lists, say) may be of no use anyway."""
    try:
        return read_raw(source, names, settings=settings).columns if names else {}
    except InputError:
        if len(names) <= 1:
            return {}
    half = len(names) // 2
    return _readable(source, names[:half], settings) | _readable(source, names[half:], settings)


def label_texts(value: Any, separator: str | None = None) -> list[str] | None:
    """The labels in a cell as class names; None where it holds nothing or something else.

    Args:
        value: the cell.
        separator: between several in one text; None: ``|`` or ``;``.
    """
    if isinstance(value, str) and value.strip():
        several = value.split(separator) if separator else SEVERAL.split(value)
        written = written_list(value)
        value = written if written is not None else several if len(several) > 1 else value
    if isinstance(value, (list, tuple)):
        found = [_label_text(item) for item in value]
        return None if None in found else [text for text in found if text is not None]
    text = _label_text(value)
    return None if text is None else [text]


def _label_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, str) and value.strip() and _can_be_named(value):
        return value.strip()
    return None


def _can_be_named(name: str) -> bool:
    """Whether a TOML file can hold it: not half of a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_nothing(value: Any) -> bool:
    return is_null(value) or (isinstance(value, str) and not value.strip())


def _spread(count: int) -> list[int]:
    """Some rows: the first ones, and others spread over all."""
    step = max(1, count // LOOKED_AT)
    return sorted({*range(min(4, count)), *range(0, count, step)})[: LOOKED_AT + 4]


def _encoded_column(raw: RawTable, name: str) -> Column:
    """A column of bytes: pictures if its first ones can be decoded."""
    empty, tried, why = 0, 0, ""
    decoded = 0
    for (value,) in next(raw.batches([name], LOOKED_AT), []):
        if value is None or value in (b"", ""):
            empty += 1
            continue
        tried += 1
        problem = _picture_problem(raw, value)
        decoded, why = (decoded + 1, why) if problem is None else (decoded, why or problem)
    if not tried:
        return Column(name, "empty", note="the first rows are empty")
    if decoded == 0:
        return Column(name, "other", note=f"bytes that are no pictures ({why})")
    check = f"{tried - decoded} of the first {tried} can't be read ({why})" if decoded < tried else ""
    return Column(name, "picture", empty=empty, note="pictures in the table", check=check)


def _column(name: str, cells: list[Any], raw: RawTable) -> Column:
    there = [value for value in cells if not _is_nothing(value)]
    empty = len(cells) - len(there)
    if not there:
        return Column(name, "empty", empty=empty, note="empty")
    distinct = len({_key(value) for value in there})
    same = ", the same in every row" if distinct == 1 and len(there) > 1 else ""
    if all(isinstance(value, (list, tuple)) for value in there):
        return Column(name, "list", distinct, empty, note=f"lists{same}")
    if all(isinstance(value, (int, float)) for value in there):
        return Column(name, "number", distinct, empty, note=f"numbers{same}")
    if not all(isinstance(value, str) for value in there):
        kinds = sorted({type(value).__name__ for value in there})
        return Column(name, "other", distinct, empty, note=f"{' and '.join(kinds)}")
    return _paths(name, there, distinct, empty, raw) or Column(
        name,
        "text",
        distinct,
        empty,
        tuple(len(value.split()) if isinstance(value, str) else 0 for value in cells),
        "links, which are no pictures: save those and name the files" if _is_web(there) else f"text{same}",
    )


def _key(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) else repr(value)


def _paths(name: str, there: list[str], distinct: int, empty: int, raw: RawTable) -> Column | None:
    """A column of pictures' paths, told by the files and not by the names alone; None where it is none."""
    chosen = [there[i] for i in _spread(len(there))]
    if any(len(value) > 1000 or "\n" in value for value in chosen):
        return None
    problems = [_picture_problem(raw, value) for value in chosen]
    found = problems.count(None)
    named = sum(bool(PICTURE_NAME.search(value.strip())) for value in chosen)
    if 2 * found >= len(chosen):
        bad = next((i for i, problem in enumerate(problems) if problem), None)
        check = ""
        if bad is not None:
            check = f"{len(chosen) - found} of {len(chosen)} looked at can't be read: {problems[bad]}"
        return Column(name, "picture", distinct, empty, note="paths of pictures", check=check)
    if 2 * named >= len(chosen) and not WEB.match(chosen[0]):
        first = next(problem for problem in problems if problem)
        what = f"{found} of {len(chosen)}" if found else "none"
        return Column(
            name,
            "picture",
            distinct,
            empty,
            note="names of pictures",
            check=f"they look like names of pictures, but {what} looked at is there: {first}; paths start "
            "from the table's folder",
        )
    return None


def _picture_problem(raw: RawTable, value: Any) -> str | None:
    """Why a cell is no picture; None where it is one."""
    try:
        decode(raw.picture(value))
    except (OSError, ValueError) as error:
        return in_short(error) or type(error).__name__
    return None


def _is_web(values: Iterable[Any]) -> bool:
    there = [value for value in values if isinstance(value, str) and value.strip()]
    return bool(there) and 2 * sum(bool(WEB.match(value)) for value in there) > len(there)


def _reads_as_text(column: Column, rows: int, values: Sequence[Any]) -> bool:
    """Not a category that rows share, nor codes."""
    if _is_web(values) or column.empty > rows // 2:
        return False
    return column.mean_words >= 2 or (column.mean_words > 1.2 and 2 * column.distinct > rows - column.empty)


def _name_score(name: str, names: Sequence[str]) -> float:
    """How much a column's name says that it has the role: 3 exactly, 1.5 in part, 0."""
    small = name.strip().lower()
    if small in names:
        return 3 - names.index(small) / 100
    return 1.5 if set(re.split(r"[^a-z0-9]+", small)) & set(names) else 0


def _split(columns: dict[str, Column], values: dict[str, list[Any]]) -> tuple[Guess | None, str, str]:
    """The column of splits, if there is one that can be used; why; what is lost otherwise."""
    found = sorted(_split_like(columns, values), key=lambda name: -_name_score(name, SPLIT_NAMES))
    if not found:
        return None, "the table has no column of splits", ""
    name = found[0]
    counts = Counter(split_of(value) for value in values[name])
    shown = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    absent = [split for split in ("train", "val", "test") if split not in counts]
    if absent:
        check = (
            f"the column {quoted(name)} has {shown} but no {' and no '.join(absent)}; all splits are drawn "
            "anew. To keep its own, write the missing ones into the table and name the column: split_column"
        )
        return None, f"the column {quoted(name)} lacks {' and '.join(absent)}", check
    return Guess(name, shown), "", ""


def _split_like(columns: dict[str, Column], values: dict[str, list[Any]]) -> set[str]:
    """Columns that hold names of splits in every row, and more than one of them or by a telling name."""
    return {
        name
        for name, column in columns.items()
        if column.kind in ("text", "picture") and name in values
        if all(_is_split(value) for value in values[name])
        if column.distinct > 1 or _name_score(name, SPLIT_NAMES)
    }


def _is_split(value: Any) -> bool:
    try:
        return bool(split_of(value))
    except ValueError:
        return False


def _labels(columns: dict[str, Column], values: dict[str, list[Any]], taken: set[str]) -> Guess | None:
    scores: dict[str, tuple[float, str]] = {}
    for name, cells in values.items():
        if name not in taken and columns[name].kind in ("text", "number", "list"):
            score, why = _label_score(columns[name], cells)
            if score > 0:
                named = _name_score(name, LABEL_NAMES) - _name_score(name, TEXT_NAMES)
                sentences = columns[name].mean_words > 3
                scores[name] = score + named - sentences, why
    if not scores:
        return None
    first, *others = sorted(scores, key=lambda name: -scores[name][0])
    check = ""
    near = [name for name in others if scores[name][0] > scores[first][0] - 1]
    if near:
        check = f"{', '.join(map(quoted, near[:3]))} could be the labels as well"
    elif not _name_score(first, LABEL_NAMES):
        check = "chosen by its values alone, its name does not say it"
    return Guess(first, scores[first][1], check)


def _label_score(column: Column, cells: Sequence[Any]) -> tuple[float, str]:
    """How much a column's values are like labels, 0 where they can't be; and why."""
    separator = _separator(cells)
    found = [label_texts(value, separator) for value in cells]
    there = [labels for labels in found if labels is not None]
    missing = sum(labels is None and not _is_nothing(v) for v, labels in zip(cells, found, strict=True))
    if missing or 10 * len(there) < 9 * len(cells):
        return 0, ""
    counts = Counter(label for labels in there for label in labels)
    total = counts.total()
    if not 2 <= len(counts) <= MOST_CLASSES or max(map(len, counts)) > LONGEST_LABEL or "" in counts:
        return 0, ""
    if 2 * len(counts) > total:
        return 0, ""
    what = f"{len(counts)} values, {total / len(counts):.0f} samples each on average"
    if column.kind == "list":
        return 1.5, f"lists of {what}"
    if any(len(labels) > 1 for labels in there):
        whole = len({str(value) for value in cells})
        return (1.2 if len(counts) < whole else 0.2), f"several in one text, {what}"
    return (1.0 if column.kind == "text" else 0.5), what


def _id(columns: dict[str, Column], values: dict[str, list[Any]], taken: set[str]) -> Guess:
    """The column that tells samples apart, or the one that comes nearest."""
    scores: dict[str, float] = {}
    for name, cells in values.items():
        column = columns[name]
        if name in taken or column.kind not in ("text", "number", "picture") or column.empty:
            continue
        if any(isinstance(value, (float, bool)) for value in cells):
            continue
        longest = max(len(str(value)) for value in cells)
        unique = len({str(value) for value in cells}) == len(cells)
        score = _name_score(name, ID_NAMES) + (name.strip().lower().endswith("id") and 1)
        score += {"number": 0.4, "picture": 0.7, "text": 0.6 if column.mean_words <= 1.2 else 0.0}[
            column.kind
        ]
        scores[name] = score + 10 * (unique and longest <= LONGEST_ID)
    best = max(scores, key=lambda name: scores[name], default=None)
    if best is not None and scores[best] >= 10:
        named = bool(_name_score(best, ID_NAMES)) or best.strip().lower().endswith("id")
        return Guess(best, "its value is another in every row" + ("" if named else ", and no name says id"))
    if best is None:
        best = next((name for name in values if name not in taken), next(iter(values)))
    cells = [str(value) for value in values[best]]
    value, times = Counter(cells).most_common(1)[0]
    what = f"{quoted(value)} is in {times} rows" if times > 1 else "values are too long or missing"
    return Guess(
        best,
        "the nearest to an id",
        f"no column has another value in every row ({what}): add one to the table and name it here",
    )


def _separator(cells: Sequence[Any]) -> str | None:
    """A comma, where it makes fewer different parts of texts, each of them in several; else None."""
    there = [value for value in cells if not _is_nothing(value)]
    if not all(isinstance(value, str) and not SEVERAL.search(value) for value in there):
        return None
    if not any("," in value and written_list(value) is None for value in there):
        return None
    parts = Counter(part.strip() for value in there for part in value.split(","))
    return "," if 2 <= len(parts) < len(set(there)) and "" not in parts else None


def _task(cells: Sequence[Any], separator: str | None) -> tuple[TaskName, dict[str, int], float]:
    """The task, the samples of each class, and how many classes a sample has on average."""
    found = [label_texts(value, separator) for value in cells]
    counts = Counter(label for labels in found for label in set(labels or []))
    per_sample = counts.total() / max(1, sum(labels is not None for labels in found))
    numbers = all(re.fullmatch(r"\d{1,9}", name) for name in counts)
    order = sorted(counts, key=(lambda name: (int(name), name)) if numbers else (lambda name: name))
    classes = {name: counts[name] for name in order}
    if any(labels is not None and len(labels) != 1 for labels in found):
        return "multilabel", classes, per_sample
    return ("binary" if len(classes) == 2 else "multiclass"), classes, per_sample


def _what_they_are(columns: dict[str, Column]) -> str:
    return "".join(f"\n    {line}" for line in _lines(columns))


def _lines(columns: dict[str, Column], most: int = 20) -> Iterator[str]:
    for column in list(columns.values())[:most]:
        distinct = f", {column.distinct:,} different" if column.distinct else ""
        yield f"{quoted(column.name)}: {column.note}{distinct}"
    if len(columns) > most:
        yield f"and {len(columns) - most} more"
