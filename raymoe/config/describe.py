"""What can be set, section by section, in the words of the fields themselves: for people, not for code.

``raymoe settings`` prints it, and docs/settings.md is ``raymoe settings --markdown``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from raymoe.config.data import FORMATS, DataConfig, EncoderConfig, ModalityConfig
from raymoe.config.preset import PLAIN_SECTIONS
from raymoe.config.section import Section
from raymoe.errors import InputError


@dataclass(frozen=True)
class Setting:
    """One field: ``kind`` is its type, range or choices, ``default`` as it would be written in a file."""

    name: str
    kind: str
    default: str
    description: str


@dataclass(frozen=True)
class SectionSettings:
    """The fields of one section.

    Attributes:
        name: ``probe``, ``data``, ``data.table``, ...
        about: what the section is of.
        settings: its fields, in order; of a format only those that the others have not.
    """

    name: str
    about: str
    settings: tuple[Setting, ...]


def describe(section: str | None = None) -> list[SectionSettings]:
    """One section, or all of them in the order of the stages.

    Raises:
        InputError: there is no such section.
    """
    found = {
        "data": _described("data", DataConfig),
        **{f"data.{name}": _described(f"data.{name}", kind) for name, kind in FORMATS.items()},
        "modality": _described("modality", ModalityConfig),
        "encoder": _described("encoder", EncoderConfig),
        **{name: _described(name, kind) for name, kind in PLAIN_SECTIONS.items()},
    }
    if section is None:
        return list(found.values())
    if section not in found:
        raise InputError(f"no section {section!r}", f"Sections: {', '.join(found)}.")
    return [found[section]]


def markdown(sections: list[SectionSettings]) -> str:
    """The page docs/settings.md, of these sections."""
    lines = [PREAMBLE]
    for section in sections:
        lines += [f"## {section.name}", "", section.about, ""]
        lines += [*_table(section), ""] if section.settings else []
    return "\n".join(lines)


PREAMBLE = """\
# Settings

A dataset is described by a TOML file: a packaged one ([raymoe/config/presets](../raymoe/config/presets)) or
your own ([own-data.md](own-data.md)). Its tables are the sections below. `[data]` and
`[[data.modalities]]` say what the data is; all other fields have defaults, the recipe of the paper's MM-IMDb.
Paths are relative to the file.

`--set SECTION.FIELD=VALUE` changes a field for one command. The value is JSON or a plain word, and `null` is
"not set". Of `data` only `empty_text`, the options of `data.mmimdb`, `data.mmhs150k` and `data.planted`, and
the encoders (`--set data.MODALITY.encoder.FIELD=VALUE`) can be set so.

`raymoe settings [SECTION]` prints this in a terminal. This page is written by
`raymoe settings --markdown > docs/settings.md` from the fields in [raymoe/config](../raymoe/config).
"""


def _table(section: SectionSettings) -> list[str]:
    rows = [f"| `{s.name}` | {s.kind} | {_code(s.default)} | {s.description} |" for s in section.settings]
    return ["| field | type | default | meaning |", "|---|---|---|---|", *rows]


def _code(default: str) -> str:
    return default if default in ("required", "not set") else f"`{default}`"


def _described(name: str, kind: type[Section]) -> SectionSettings:
    properties = kind.model_json_schema()["properties"]
    if issubclass(kind, DataConfig) and kind is not DataConfig:
        properties = {n: p for n, p in properties.items() if n not in DataConfig.model_fields}
    if kind is DataConfig:
        properties["format"] |= {"enum": list(FORMATS), "default": "table"}
    settings = tuple(_setting(n, p) for n, p in properties.items())
    return SectionSettings(name, " ".join((kind.__doc__ or "").split()), settings)


def _setting(name: str, schema: dict[str, Any]) -> Setting:
    default = "required"
    if "default" in schema:
        default = "not set" if schema["default"] is None else json.dumps(schema["default"])
    return Setting(name, _kind(schema), default, " ".join(schema.get("description", "").split()))


def _kind(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        return f"table, see {schema['$ref'].rpartition('/')[2].removesuffix('Config').lower()}"
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        return _several("list", schema.get("items", {}))
    if schema.get("type") == "object":
        return _several("table", schema.get("additionalProperties", {}))
    kind = {"boolean": "true or false"}.get(schema.get("type", ""), schema.get("type", "value"))
    return ", ".join([kind, *(f"{words} {schema[key]:g}" for key, words in RANGES.items() if key in schema)])


RANGES = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def _several(what: str, item: Any) -> str:
    """A list or table of things of a kind."""
    kind = _kind(item) if isinstance(item, dict) and item else "value"
    if kind.startswith("list of"):
        return f"{what} of lists"
    first, comma, rest = kind.partition(",")
    return f"{what} of {first}s{comma}{rest}"
