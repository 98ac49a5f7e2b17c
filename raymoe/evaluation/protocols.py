"""The protocols of ``raymoe evaluate DATASET PROTOCOL``, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raymoe.errors import InputError
from raymoe.evaluation.alignment import alignment
from raymoe.evaluation.comparison import comparison
from raymoe.evaluation.faithfulness import faithfulness
from raymoe.progress import console
from raymoe.project import Project, StageResult


def _case_study(project: Project, **options) -> StageResult:
    from raymoe.report.case_study import case_study  # a figure: it comes after all the tables

    return case_study(project, **options)


PROTOCOLS: dict[str, Callable[..., StageResult]] = {
    "comparison": comparison,
    "faithfulness": faithfulness,
    "alignment": alignment,
    "case-study": _case_study,
}


def evaluate(
    project: Project,
    protocol: str,
    *,
    device: str | None = None,
    overwrite: bool = False,
    samples: Sequence[str] = (),
) -> StageResult:
    """Run one protocol, print its table and say where it lies.

    Args:
        project: what to evaluate.
        protocol: its name.
        device: where to compute, for those that do.
        overwrite: do it again even if its table is there.
        samples: ids, for the case study.

    Raises:
        InputError: there is no such protocol, or it takes no samples.
        ParentError: what it evaluates is missing.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}", f"There are: {', '.join(PROTOCOLS)}.")
    options = {"device": device, "overwrite": overwrite} if protocol == "faithfulness" else {}
    if protocol == "case-study":
        options = {"device": device, "samples": samples}
    elif samples:
        raise InputError(f"--sample is for the case study, not for {protocol}", "Leave it out.")
    result = PROTOCOLS[protocol](project, **options)
    console.print(f"  -> {result.path}", markup=False)
    return result
