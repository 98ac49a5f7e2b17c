"""The protocols of ``raymoe evaluate DATASET PROTOCOL``, by name."""

from __future__ import annotations

from collections.abc import Callable

from raymoe.errors import InputError
from raymoe.evaluation.alignment import alignment
from raymoe.evaluation.comparison import comparison
from raymoe.evaluation.faithfulness import faithfulness
from raymoe.evaluation.pair_masking import pair_masking
from raymoe.evaluation.robustness import robustness
from raymoe.progress import console
from raymoe.project import Project, StageResult

PROTOCOLS: dict[str, Callable[..., StageResult]] = {
    "comparison": comparison,
    "faithfulness": faithfulness,
    "alignment": alignment,
    "pair-masking": pair_masking,
    "robustness": robustness,
}
COMPUTE = ("faithfulness", "pair-masking", "robustness")  # on a device; the others only read tables


def evaluate(
    project: Project, protocol: str, *, device: str | None = None, overwrite: bool = False
) -> StageResult:
    """Run one protocol, print its table and say where it lies.

    Args:
        project: what to evaluate.
        protocol: its name.
        device: where to compute, for those that do.
        overwrite: do it again even if its table is there.

    Raises:
        InputError: there is no such protocol.
        ParentError: what it evaluates is missing.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}", f"There are: {', '.join(PROTOCOLS)}.")
    options = {"device": device, "overwrite": overwrite} if protocol in COMPUTE else {}
    result = PROTOCOLS[protocol](project, **options)
    console.print(f"  -> {result.path}", markup=False)
    return result
