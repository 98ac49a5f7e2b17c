"""The protocols of ``raymoe evaluate DATASET PROTOCOL``, by name."""

from __future__ import annotations

from collections.abc import Callable

from raymoe.errors import InputError
from raymoe.evaluation.comparison import comparison
from raymoe.progress import console
from raymoe.project import Project, StageResult

PROTOCOLS: dict[str, Callable[[Project], StageResult]] = {"comparison": comparison}


def evaluate(project: Project, protocol: str) -> StageResult:
    """Run one protocol, print its table and say where it lies.

    Raises:
        InputError: there is no such protocol.
        ParentError: what it evaluates is missing.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}", f"There are: {', '.join(PROTOCOLS)}.")
    result = PROTOCOLS[protocol](project)
    console.print(f"  -> {result.path}", markup=False)
    return result
