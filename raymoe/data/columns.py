"""Which setting names a column of the raw table, so that a message can say what to correct."""

from __future__ import annotations

from raymoe.config import DataConfig, TableData
from raymoe.config.problems import bounded, likely, likely_first
from raymoe.data.raw import MissingColumnsError
from raymoe.errors import InputError

MOST = 30  # columns of the table that are listed


def keys_of_columns(data: DataConfig) -> dict[str, list[str]]:
    """The columns that are read, in order, and the settings that name each."""
    found: dict[str, list[str]] = {}
    ruled = isinstance(data, TableData) and data.split_rule is not None
    named = ("id_column", "labels_column", *(() if ruled else ("split_column",)))
    for key in named:
        found.setdefault(getattr(data, key), []).append(f"data.{key}")
    for modality in data.modalities:
        for column in modality.columns:
            found.setdefault(column, []).append(f"columns of the modality {modality.name!r}")
    return found


def naming_their_keys(error: MissingColumnsError, data: DataConfig) -> InputError:
    """The same, with the setting to correct for every column that is missing, and what was probably meant."""
    keys = keys_of_columns(data)
    missing = [f"{bounded(name)} ({' and '.join(keys.get(name, ['?']))})" for name in error.missing]
    names = list(dict.fromkeys(name for lost in error.missing for name in likely_first(lost, error.names)))
    shown = ", ".join(
        name if name.isprintable() and len(name) <= 60 else bounded(name) for name in names[:MOST]
    )
    more = f", ... ({len(names)} in all)" if len(names) > MOST else ""
    corrected = [
        _line(key, next(iter(likely(lost, error.names)), "NAME"))
        for lost in error.missing
        for key in keys.get(lost, [])
    ]
    remedy = f"Its columns are {shown}{more}. Name the right one in the preset: {', '.join(corrected)}"
    if "data.split_column" in {key for lost in error.missing for key in keys.get(lost, [])}:
        remedy += "; without a column of splits: split_rule = {train = 0.7, val = 0.1, test = 0.2}"
    return InputError(f"{error.source} has no column {', '.join(missing)}", f"{remedy}.")


def _line(key: str, name: str) -> str:
    """What to write."""
    return f'{key} = "{name}"' if key.startswith("data.") else f'columns = ["{name}"]'
