"""What pydantic found wrong, on one line, in the words of whoever wrote the settings."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from raymoe.config.data import FORMATS


def problems(error: ValidationError) -> str:
    """Every wrong field and what is wrong with it."""
    return "; ".join(_problem(found) for found in error.errors())


def _problem(found: Any) -> str:
    path, message = [str(part) for part in found["loc"]], found["msg"]
    if found["type"] == "union_tag_invalid":
        return f"{'.'.join(path)}.format: Input should be {', '.join(map(repr, FORMATS))}"
    if path[:1] == ["data"] and len(path) > 1 and path[1] in FORMATS:
        kind = path.pop(1)  # pydantic names the class here, which nobody wrote
        if found["type"] == "extra_forbidden" and any(path[1] in f.model_fields for f in FORMATS.values()):
            return f"data: {no_option(path[1], kind)}"
    return f"{'.'.join(path)}: {message}"


def no_option(name: str, kind: str) -> str:
    """What is said of an option that another format has."""
    return f"{name} is no option of format {kind}"
