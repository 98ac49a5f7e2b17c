"""A preset from its TOML file, packaged or a user's own: paths, ``section.field=value``, and what is told.

Both kinds of file are read in the same way. Every path in one is relative to it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raymoe.config.overrides import apply_override
from raymoe.config.paths import absolute, encoder_source
from raymoe.config.preset import Preset
from raymoe.config.problems import problems
from raymoe.errors import InputError
from raymoe.runtime.encodings import encoding_of


def load_preset(dataset: str, overrides: Sequence[str] | None = None, source: str | None = None) -> Preset:
    """A preset by name, or from the user's own TOML file, with ``section.field=value`` overrides applied.

    Args:
        dataset: the name or the path of the file.
        overrides: of the data section only encoders and the format's ``settable`` options can be set.
        source: where the raw data lies, instead of what the preset says.

    Raises:
        InputError: an unknown name, an unreadable file, an unknown field or a value out of range.
    """
    if dataset in preset_names():
        path, where = _presets() / f"{dataset}.toml", f"preset {dataset!r}"
    elif dataset.endswith(".toml"):
        path, where = Path(dataset), dataset
    else:
        raise InputError(
            f"unknown dataset {dataset!r}",
            f"Presets: {', '.join(preset_names())}. For data of your own give the path of a .toml file "
            "(README, 'Your own data').",
        )
    raw = _read_toml(path)
    for override in overrides or []:
        apply_override(raw, override)
    if source is not None and isinstance(raw.get("data"), dict):
        raw["data"]["source"] = source
    try:
        return Preset.model_validate(raw)
    except ValidationError as error:
        raise InputError(
            f"{where} doesn't validate: {problems(error)}",
            "Correct those fields, or the --set that changed them.",
        ) from None


def preset_names() -> list[str]:
    """The presets of this package: the files beside this one, in ``presets``."""
    return sorted(path.stem for path in _presets().glob("*.toml"))


def _presets() -> Path:
    from importlib.resources import files  # slow to import, and a job's arguments need none of it

    return Path(str(files("raymoe.config") / "presets"))


def _read_toml(path: Path) -> dict[str, Any]:
    """What a file says, with its paths made absolute, and its name where it gives itself none."""
    try:
        content = path.read_bytes()
        raw = tomllib.loads(content.decode(encoding_of(content[:4])))
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}", f"Give a preset ({', '.join(preset_names())}) or a TOML file."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} can't be read as TOML: {error}", "Correct the file.") from None
    data = raw.get("data")
    if isinstance(data, dict):
        _make_absolute(data, path.parent)
    raw.setdefault("name", path.stem)
    return raw


def _make_absolute(data: dict[str, Any], folder: Path) -> None:
    """Make the paths of a data section absolute that are relative to a folder: of the source, of encoders."""
    source = data.get("source")
    if isinstance(source, str) and source and not source.startswith("embedded:"):
        data["source"] = absolute(source, folder)
    modalities = data.get("modalities")
    for modality in modalities if isinstance(modalities, list) else []:
        encoder = modality.get("encoder") if isinstance(modality, dict) else None
        if not isinstance(encoder, dict):
            continue
        source = encoder.get("source")
        if isinstance(source, str):
            encoder["source"] = encoder_source(source, folder)
