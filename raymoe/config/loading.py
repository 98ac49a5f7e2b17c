"""A preset from its TOML file, packaged or a user's own: paths, ``section.field=value``, and what is told.

Both kinds of file are read in the same way. Every path in one is relative to it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raymoe.config.lines import line_of
from raymoe.config.overrides import apply_override
from raymoe.config.paths import absolute, dataset_name, encoder_source
from raymoe.config.preset import Preset
from raymoe.config.problems import faults, likely_first, problem, written
from raymoe.errors import InputError
from raymoe.runtime.encodings import encoding_of
from raymoe.runtime.quoting import quoted


def load_preset(
    dataset: str,
    overrides: Sequence[str] | None = None,
    source: str | None = None,
    typed: Mapping[str, str] | None = None,
) -> Preset:
    """A preset by name, or from the user's own TOML file, with ``section.field=value`` overrides applied.

    Args:
        dataset: the name or the path of the file.
        overrides: of the data section only encoders and the format's ``settable`` options can be set.
        source: where the raw data lies, instead of what the preset says.
        typed: what the user gave that an override stands for, where that was not ``--set``: ``--seed 1``.

    Raises:
        InputError: an unknown name, an unreadable file, an unknown field or a value out of range. What is at
            fault is named as what it is: the file with the line, or the option.
    """
    if dataset in preset_names():
        path, where = _presets() / f"{dataset}.toml", f"preset {dataset!r}"
    elif dataset.endswith(".toml"):
        path, where = Path(dataset), dataset
    else:
        raise InputError(
            f"unknown dataset {quoted(dataset)}",
            f"Presets: {', '.join(likely_first(dataset, preset_names()))}. For data of your own give the "
            "path of a .toml file; `raymoe init TABLE` writes one (docs/own-data.md).",
        )
    text, said = _read_toml(path)
    raw = deepcopy(said)
    options = []
    for override in overrides or []:
        named = (typed or {}).get(override, f"--set {quoted(override)}")
        options.append(GivenSetting(named, apply_override(raw, override, named)))
    for values in (said, raw) if source is not None else ():
        if isinstance(values.get("data"), dict):
            values["data"]["source"] = source
    try:
        return Preset.model_validate(raw)
    except ValidationError as error:
        raise _blamed(error, said, options, text, where) from None
    except InputError as error:  # of a sweep, whose message has no place
        if _refused(said) == error.message:
            raise InputError(f"{where}: {error.message}", error.remedy) from None
        of_sweep = [o for o in options if o.place[0] == "sweep"] or options
        named = ", ".join(option.named for option in of_sweep)
        raise InputError(f"{named}: {error.message}", error.remedy) from None


@dataclass(frozen=True)
class GivenSetting:
    """An option that changed a setting: as the user gave it, and where the setting is."""

    named: str
    place: tuple[int | str, ...]

    def touches(self, path: Sequence[int | str]) -> bool:
        """Whether it set that field, or one within it, or what is around it."""
        return all(a == b for a, b in zip(self.place, path, strict=False))


def _blamed(
    error: ValidationError, said: dict[str, Any], options: Sequence[GivenSetting], text: str, where: str
) -> InputError:
    """What is wrong, each thing named as what it was: the file's own, or an option's."""
    alone = _problems_of(said)
    of_file, of_options = [], []
    for found in faults(error):
        path, what = written(found["loc"]), problem(found, Preset)
        touching = [option for option in options if option.touches(path)] or options
        if touching and what not in alone:
            of_options.append(f"{', '.join(option.named for option in touching)}: {what}")
        else:
            line = line_of(text, path)
            of_file.append(f"line {line}, {what}" if line else what)
    parts = [*([f"{where} doesn't validate: {'; '.join(of_file)}"] if of_file else []), *of_options]
    if not of_options:
        remedy = "Correct those fields in the file."
    else:
        remedy = "Correct the fields in the file, and the options." if of_file else "Correct what was given."
    return InputError("; ".join(parts), f"{remedy} `raymoe settings` explains every field.")


def _problems_of(said: dict[str, Any]) -> set[str]:
    """What is wrong with a file by itself."""
    try:
        Preset.model_validate(said)
    except ValidationError as error:
        return {problem(found, Preset) for found in faults(error)}
    except InputError:
        pass
    return set()


def _refused(said: dict[str, Any]) -> str | None:
    """What the sweep that a file asks for is refused with; None where it is not."""
    try:
        Preset.model_validate(said)
    except InputError as error:
        return error.message
    except ValidationError:
        pass
    return None


def preset_names() -> list[str]:
    """The presets of this package: the files beside this one, in ``presets``."""
    return sorted(path.stem for path in _presets().glob("*.toml"))


def _presets() -> Path:
    from importlib.resources import files  # slow to import, and a job's arguments need none of it

    return Path(str(files("raymoe.config") / "presets"))


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text, and what it says: paths made absolute, and a name where it gives itself none."""
    try:
        content = path.read_bytes()
        text = content.decode(encoding_of(content[:4]))
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}", f"Give a preset ({', '.join(preset_names())}) or a TOML file."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} can't be read as TOML: {error}", "Correct the file.") from None
    data = raw.get("data")
    if isinstance(data, dict):
        _make_absolute(data, path.parent)
    raw.setdefault("name", dataset_name(path.stem))
    return text, raw


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
