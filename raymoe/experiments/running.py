"""Experiments are run: measured, then what came out is printed, from the same description as the page's."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from raymoe.display.terminal import print_shown
from raymoe.errors import InputError, ParentError, RaymoeError
from raymoe.experiments.registry import experiments, named
from raymoe.experiments.trained_runs import print_left_out
from raymoe.project import Project, StageResult
from raymoe.runtime.progress import console


def evaluate(
    project: Project,
    name: str,
    *,
    device: str | None = None,
    overwrite: bool = False,
    samples: Sequence[str] = (),
) -> StageResult:
    """Run one experiment, print its tables and say where they lie.

    Args:
        project: what to evaluate.
        name: of the experiment.
        device: where to compute, for those that do.
        overwrite: do it again even if its tables are there.
        samples: ids, for the case study.

    Raises:
        InputError: there is no such experiment, or it takes no samples.
        ParentError: what it evaluates is missing.
    """
    experiment = named(name)
    if samples and "samples" not in experiment.options:
        raise InputError(f"--sample is for the case study, not for {name}", "Leave it out.")
    options = {"device": device, "overwrite": overwrite, "samples": samples}
    result = experiment.measure(project, **{option: options[option] for option in experiment.options})
    if experiment.tables:
        print_shown(experiment.heading, experiment.show(project, experiment.read(project)))
    print_left_out(result.skipped)
    console.print(f"  -> {result.path}")
    return result


def evaluate_all(
    project: Project, *, device: str | None = None, overwrite: bool = False
) -> dict[str, StageResult | RaymoeError]:
    """Run every experiment that suits the data, one after the other; what each gave, or why it was left out.

    An experiment whose stages have not been run, or whose settings do not suit it, is left out, with the
    command that runs them.
    """
    found: dict[str, StageResult | RaymoeError] = {}
    for name, experiment in experiments().items():
        if not experiment.suits(project):
            continue
        console.print(Text.assemble((name, "bold"), f" {project.dataset}"))
        try:
            found[name] = evaluate(project, name, device=device, overwrite=overwrite)
        except (ParentError, InputError) as error:
            found[name] = error
            console.print(f"  left out: {error.message}\n  {error.remedy}")
    return found
