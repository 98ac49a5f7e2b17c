"""The protocols of ``raymoe evaluate DATASET [PROTOCOL]``, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from raymoe.errors import InputError, ParentError, RaymoeError
from raymoe.experiments.alignment.measure import alignment
from raymoe.experiments.comparison.measure import comparison
from raymoe.experiments.faithfulness.measure import faithfulness
from raymoe.experiments.pair_masking.measure import pair_masking
from raymoe.experiments.planted.measure import planted
from raymoe.experiments.robustness.measure import robustness
from raymoe.project import Project, StageResult
from raymoe.runtime.progress import console


def _case_study(project: Project, **options: Any) -> StageResult:
    from raymoe.experiments.case_study.measure import case_study  # a figure: it comes after all the tables

    return case_study(project, **options)


@dataclass(frozen=True)
class Protocol:
    """A function of a project, and which of ``device``, ``overwrite`` and ``samples`` it takes."""

    run: Callable[..., StageResult]
    options: tuple[str, ...] = ()


PROTOCOLS = {
    "comparison": Protocol(comparison),
    "faithfulness": Protocol(faithfulness, ("device", "overwrite")),
    "alignment": Protocol(alignment, ("overwrite",)),
    "pair-masking": Protocol(pair_masking, ("device", "overwrite")),
    "robustness": Protocol(robustness, ("device", "overwrite")),
    "planted": Protocol(planted, ("device", "overwrite")),
    "case-study": Protocol(_case_study, ("device", "samples")),
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
    chosen = PROTOCOLS[protocol]
    if samples and "samples" not in chosen.options:
        raise InputError(f"--sample is for the case study, not for {protocol}", "Leave it out.")
    options = {"device": device, "overwrite": overwrite, "samples": samples}
    result = chosen.run(project, **{name: options[name] for name in chosen.options})
    console.print(f"  -> {result.path}", markup=False)
    return result


def evaluate_all(
    project: Project, *, device: str | None = None, overwrite: bool = False
) -> dict[str, StageResult | RaymoeError]:
    """Run every protocol that fits the data, one after the other; what each gave, or why it was left out.

    A protocol whose stages have not been run, or do not suit it, is left out, with the command that runs
    them; ``planted`` belongs to data whose interactions are known.
    """
    found: dict[str, StageResult | RaymoeError] = {}
    for name in PROTOCOLS:
        if name == "planted" and project.preset.data.format != "planted":
            continue
        console.print(f"[bold]{name}[/bold] {project.dataset}")
        try:
            found[name] = evaluate(project, name, device=device, overwrite=overwrite)
        except (ParentError, InputError) as error:
            found[name] = error
            console.print(f"  left out: {error.message}\n  {error.remedy}", markup=False)
    return found
