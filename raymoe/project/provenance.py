"""What made a table, and the hash of that: two tables with the same fingerprint hold the same thing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from raymoe.errors import ParentError


class Skipped(TypedDict, total=False):
    """A sample that a stage left out, and why; ``row`` where it has no id yet."""

    sample_id: str | None
    row: int | None
    reason: str


class Metadata(TypedDict, total=False):
    """What a table says of itself. The first three are in every table, the others where its stage knows them.

    Attributes:
        schema, fingerprint, made_by: its contract, and its ``Provenance``.
        skipped: samples that were left out.
        failed: work units that were given up, by their key, and why.
        classes, task: what its labels mean.
        modalities: the kind of each, by name.
        experts: in the model's order, or those that were probed.
        checkpoint: fingerprint of the one that predicted.
        plan, unit_evaluations: what a probe measured, and how large its units were.
        best_epoch: of metrics: the epoch that was kept.
        differences: of an experiment: what its table says of two of its rows at once.
    """

    schema: str
    fingerprint: str
    made_by: str
    skipped: list[Skipped]
    failed: dict[str, str]
    classes: list[str]
    task: str
    modalities: dict[str, str]
    experts: list[str]
    checkpoint: str
    plan: str
    unit_evaluations: int | None
    best_epoch: int
    differences: list[dict[str, object]]


@dataclass(frozen=True)
class Provenance:
    """What made a table: two tables with the same fingerprint hold the same thing.

    Attributes:
        stage: the command that makes it.
        contract: the table's contract.
        config: every setting that the content depends on.
        parents: fingerprints of what it was made from, by name.
    """

    stage: str
    contract: str
    config: dict[str, object]
    parents: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of all of it, 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space."""
        return json.dumps(vars(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """The inverse of ``to_json``."""
        return cls(**json.loads(text))

    def differences(self, other: Provenance) -> str:
        """What differs between two, in words, for error messages."""
        lines = [
            f"{name}: {_short(a)} there, {_short(b)} now"
            for name, a, b in _compare({**self.config, **_parents(self)}, {**other.config, **_parents(other)})
        ]
        return "; ".join(lines) or "made by another version of raymoe"

    def metadata(self, extra: Mapping[str, object] | None = None) -> dict[str, str]:
        """The table metadata that says all this; ``extra`` goes in as JSON under ``raymoe.<key>``."""
        own = {
            "raymoe.schema": self.contract,
            "raymoe.made_by": self.to_json(),
            "raymoe.fingerprint": self.fingerprint,
        }
        return own | {f"raymoe.{k}": json.dumps(v) for k, v in (extra or {}).items()}


def _parents(provenance: Provenance) -> dict[str, str]:
    return {f"the {name} it was made from": value for name, value in provenance.parents.items()}


def _compare(a: object, b: object, prefix: str = "") -> list[tuple[str, object, object]]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(a.keys() | b.keys()):
            found += _compare(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if a == b else [(prefix, a, b)]


def _short(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:57] + "..."


def refuse_other_inputs(path: str, metadata: Metadata, made: Provenance, command: str) -> None:
    """Raise if what is there was made from other inputs than those asked for, saying which.

    Args:
        path: where it is, for the message.
        metadata: what it says of itself: ``fingerprint`` and ``made_by``.
        made: what it would be made from now.
        command: what makes it.

    Raises:
        ParentError: they differ.
    """
    if metadata["fingerprint"] != made.fingerprint:
        differences = Provenance.from_json(metadata["made_by"]).differences(made)
        raise ParentError(
            f"{path} was made from other inputs ({differences})",
            f"Replace it with: {command} --overwrite; or give the settings it was made with, or another "
            "--workspace to have both.",
        )
