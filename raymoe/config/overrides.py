"""``--set section.field=value`` and ``--grid section.field=value,value``, applied to what a file says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from raymoe.config.data import FORMATS, EncoderConfig
from raymoe.config.paths import encoder_source
from raymoe.config.preset import PLAIN_SECTIONS, SECTIONS
from raymoe.config.problems import likely_first, no_option
from raymoe.errors import InputError
from raymoe.runtime.quoting import quoted


def apply_override(raw: dict[str, Any], override: str, typed: str | None = None) -> tuple[int | str, ...]:
    """Set one field; the value is read as JSON where it is JSON, else as a string.

    Args:
        raw: a preset as its file says it; changed in place.
        override: ``section.field=value``.
        typed: what the user gave that it stands for; by default the option ``--set``.

    Returns:
        Where the field is in ``raw``.

    Raises:
        InputError: it is not of that form, or there is no such field to set.
    """
    typed = typed or f"--set {quoted(override)}"
    key, separator, text = override.partition("=")
    section, dot, field = key.strip().partition(".")
    value = _value(text)
    if not separator or not dot:
        raise InputError(
            f"{typed} is not of the form section.field=value", f"Sections: {', '.join(SECTIONS)}."
        )
    if section not in SECTIONS:
        known_sections = ", ".join(likely_first(section, SECTIONS))
        raise InputError(f"{typed}: no section {section!r}", f"Sections: {known_sections}.")
    fields = raw.setdefault(section, {})
    if not isinstance(fields, dict):
        raise InputError(
            f"{section} is not a table of fields", f"Write [{section}] and its fields in the file."
        )
    if section == "data" and ".encoder." in field:
        return _set_of_encoder(fields, field, typed, value)
    if section == "sweep" and field.startswith("grid."):
        field, value = "grid", {**fields.get("grid", {}), field.removeprefix("grid."): value}
    known = _settable(fields, field, typed) if section == "data" else PLAIN_SECTIONS[section].model_fields
    if field not in known:
        raise InputError(
            f"{typed}: {section} has no field {field!r} to set",
            f"Fields: {', '.join(likely_first(field, known))}.",
        )
    fields[field] = value
    return section, field


def grid_setting(option: str) -> str:
    """The setting that ``--grid FIELD=A,B`` stands for: ``sweep.grid.FIELD=[A,B]``.

    Raises:
        InputError: it is not of that form.
    """
    key, separator, values = option.partition("=")
    if not separator or "." not in key:
        raise InputError(
            f"--grid {option!r} is not of the form section.field=value,value",
            "For instance --grid model.dropout=0.3,0.5",
        )
    parsed = [_value(value.strip()) for value in values.split(",") if value.strip()]
    return f"sweep.grid.{key.strip()}={json.dumps(parsed)}"


def _settable(data: dict[str, Any], field: str, typed: str) -> Iterable[str]:
    """What can be set of a data section; an option of another format is refused as such."""
    kind = data.get("format", "table")
    everyones = {name: None for f in FORMATS.values() for name in f.settable}
    if kind not in FORMATS:
        return everyones  # the format is refused when all is validated
    known = FORMATS[kind].settable
    if field in everyones and field not in known:
        raise InputError(f"{typed}: {no_option(field, kind)}", f"Fields: {', '.join(known)}.")
    return known


def _set_of_encoder(data: dict[str, Any], field: str, typed: str, value: Any) -> tuple[int | str, ...]:
    """``data.MODALITY.encoder.FIELD=value``."""
    name, _, option = field.partition(".encoder.")
    modalities = data.get("modalities")
    listed = modalities if isinstance(modalities, list) else []
    numbered = [(i, m) for i, m in enumerate(listed) if isinstance(m, dict)]
    found = [(i, m) for i, m in numbered if m.get("name") == name and isinstance(m.get("encoder"), dict)]
    if not found:
        raise InputError(
            f"{typed}: no modality {name!r} with an encoder",
            f"Modalities: {', '.join(likely_first(name, [str(m.get('name')) for _, m in numbered]))}.",
        )
    if option not in EncoderConfig.model_fields:
        raise InputError(
            f"{typed}: an encoder has no field {option!r}",
            f"Fields: {', '.join(likely_first(option, EncoderConfig.model_fields))}.",
        )
    if option == "source" and isinstance(value, str):
        value = encoder_source(value, Path())
    number, modality = found[0]
    modality["encoder"][option] = value
    return "data", "modalities", number, "encoder", option


def _value(text: str) -> Any:
    """A setting's value: JSON where it is JSON, else a string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
