"""What pydantic found wrong, on one line each, in the words of whoever wrote the settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import ValidationError

from raymoe.config.data import FORMATS, DataConfig
from raymoe.config.section import Section
from raymoe.runtime.quoting import quoted


def problems(error: ValidationError, root: type[Section] | None = None) -> str:
    """Every wrong field and what is wrong with it.

    Args:
        error: what was raised.
        root: the section that was validated; with it a field that there is not is told which there are.
    """
    return "; ".join(problem(found, root) for found in faults(error))


def faults(error: ValidationError) -> list[Any]:
    """Pydantic's errors, without those that follow from others: a list is short of what is wrong in it."""
    found = error.errors()
    within = {each["loc"][:n] for each in found for n in range(len(each["loc"]))}
    return [each for each in found if each["type"] != "too_short" or each["loc"] not in within]


def problem(found: Any, root: type[Section] | None = None) -> str:
    """One of pydantic's errors: where, and what is wrong."""
    path = written(found["loc"])
    message = found["msg"].removeprefix("Value error, ")
    if found["type"] == "union_tag_invalid":
        return f"{_joined(path)}.format: Input should be {', '.join(map(repr, FORMATS))}"
    if found["type"] == "extra_forbidden":
        return _no_field(found["loc"], root)
    if found["type"] not in ("missing", "value_error") and isinstance(found["input"], (str, int, float)):
        message += f", not {quoted(found['input'])}"
    return f"{_joined(path)}: {message}"


def written(loc: Iterable[int | str]) -> list[int | str]:
    """Where a field is in the file: pydantic names the data section's class too, which nobody wrote."""
    path = list(loc)
    return [path[0], *path[2:]] if path[:1] == ["data"] and len(path) > 1 and path[1] in FORMATS else path


def likely(name: str, known: Iterable[str]) -> list[str]:
    """Those of the known names that were probably meant."""
    names = list(known)
    parts = [n for n in names if len(name) > 1 and (name in n.split("_") or n in name.split("_"))]
    return list(dict.fromkeys([*difflib.get_close_matches(name, names, n=3, cutoff=0.6), *parts]))


def likely_first(name: str, known: Iterable[str]) -> list[str]:
    """The known names, those first that were probably meant."""
    names = list(known)
    return list(dict.fromkeys([*likely(name, names), *names]))


def there_are(name: str, known: Iterable[str]) -> str:
    """What is said after a name that there is not: those that there are, the likeliest first."""
    return f"there are {', '.join(likely_first(name, known))}"


def no_option(name: str, kind: str) -> str:
    """What is said of an option that another format has."""
    return f"{name} is no option of format {kind}"


def _no_field(loc: tuple[int | str, ...], root: type[Section] | None) -> str:
    path, name = written(loc), str(loc[-1])
    if len(loc) == 3 and len(path) == 2 and any(name in f.model_fields for f in FORMATS.values()):
        return f"data: {no_option(name, str(loc[1]))}"
    section = _section_at(root, loc[:-1])
    what = "section" if len(path) == 1 else "field"
    known = there_are(name, section.model_fields) if section else "leave it out"
    return f"{_joined(path)}: there is no such {what}; {known}"


def _section_at(root: type[Section] | None, loc: Iterable[int | str]) -> type[Section] | None:
    """The class of the section that a path leads to."""
    kind = root
    for part in loc:
        if isinstance(part, int) or kind is None:
            continue
        if part in FORMATS and issubclass(kind, DataConfig):
            kind = FORMATS[part]
        else:
            field = kind.model_fields.get(part)
            kind = next(_sections_in(field.annotation), None) if field else None
    return kind


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def _joined(path: Iterable[int | str]) -> str:
    return ".".join(map(str, path))
