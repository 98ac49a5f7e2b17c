"""The commands: one for each stage, and those that are no stage. Errors become messages.

An option's way to its use has four stops. It is declared in options.py. stage_command.py turns what was typed
into a ``Project`` (what is made: ``load_preset`` puts ``--set``, ``--seed`` and ``--source`` into its preset)
and ``Options`` (how: ``--device`` and its like). ``pipeline.run`` hands both on to each stage, and
``Stage.run`` to the stage's function, which takes of the ``Options`` those that its line in the table names.

Exit codes: 0 done; 1 an error the user can mend; 2 wrong usage; 3 done, but samples or units were left out
(``--allow-skipped`` makes that 0); 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import io
import os
import sys
from functools import partial
from typing import Annotated

import typer

from raymoe import pipeline
from raymoe.cli import options
from raymoe.cli.stage_command import project_of, run_stage, stage_command, stopped_kindly
from raymoe.errors import RaymoeError
from raymoe.experiments.registry import experiments, experiments_help
from raymoe.pipeline import STAGES, Options
from raymoe.project import DEFAULT_WORKSPACE
from raymoe.runtime.characters import HANDLER, visible
from raymoe.runtime.progress import console

app = typer.Typer(
    name="raymoe",
    help="Which words and which image patches does a multimodal model use together?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    epilog="Settings of any stage: --set section.field=value, for instance --set probe.coalitions=64. "
    "All of them: raymoe settings.",
)
for _stage in STAGES.values():
    app.command(_stage.name)(stage_command(_stage))


@app.command()
def scaling(
    dataset: options.Dataset,
    source: options.Source = None,
    workspace: options.Place = DEFAULT_WORKSPACE,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    address: options.Address = None,
    actors: Annotated[
        str | None,
        typer.Option(
            "--actors", metavar="1,2,4", help="Numbers of actors to try; default 1, 2, 4, ... and all."
        ),
    ] = None,
    gpu_share: options.GpuShare = 1.0,
    mode: Annotated[str, typer.Option("--mode", metavar="strong|weak|both", help="Which scaling.")] = "both",
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Of work for each actor.")] = 20.0,
) -> None:
    """The probe on 1, 2, 4, ... actors: throughput, efficiency, what is lost where; and a simulation."""
    from raymoe.probe.scaling import numbers_of_actors, scaling

    if mode not in ("strong", "weak", "both"):
        raise RaymoeError(f"--mode {mode}", "Give strong, weak or both.")
    counts = numbers_of_actors(actors)
    how = Options(device=device)
    done = run_stage(
        "attribute", dataset, workspace=workspace, settings=settings, source=source, seed=seed, how=how
    )
    with stopped_kindly(done.project):
        scaling(
            done.project,
            address=address,
            device=device,
            gpu_share=gpu_share,
            actors=counts,
            modes=("strong", "weak") if mode == "both" else (mode,),
            seconds=seconds,
        )


@app.command(epilog=experiments_help())
def evaluate(
    dataset: options.Dataset,
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help=f"{', '.join(experiments())}; default all that suit the data",
            show_default=False,
        ),
    ] = None,
    workspace: options.Place = DEFAULT_WORKSPACE,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    overwrite: options.Overwrite = False,
    sample: Annotated[
        list[str] | None,
        typer.Option("--sample", metavar="ID", help="Of the case study; repeatable. Default: the strongest."),
    ] = None,
) -> None:
    """The paper's experiments, and more, from what train, attribute and probe made."""
    project = project_of(dataset, workspace, settings, seed=seed)

    with stopped_kindly(project):
        found = pipeline.evaluate(
            project, experiment, device=device, overwrite=overwrite, samples=sample or ()
        )
    left_out = [name for name, result in found.items() if isinstance(result, RaymoeError)]
    if left_out:
        console.print(f"done, but {', '.join(left_out)} left out (see above)")
        raise typer.Exit(3)


@app.command()
def demo(
    workspace: options.Place = DEFAULT_WORKSPACE,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    address: options.Address = None,
    actors: options.Actors = None,
    overwrite: options.Overwrite = False,
) -> None:
    """All of it on the embedded drawings, on this machine: a few minutes, ends with the page to open."""
    from raymoe.cli.demo import mask_page_samples, summary

    how = Options(device, address, actors)
    done = run_stage(
        "report",
        "demo",
        workspace=workspace,
        settings=settings,
        seed=seed,
        how=how,
        overwrite=overwrite,
        after={"probe": partial(mask_page_samples, how=how, overwrite=overwrite)},
    )
    summary(done.project, done)


@app.command()
def doctor(workspace: options.Place = DEFAULT_WORKSPACE, address: options.Address = None) -> None:
    """What this machine has, and every node of a cluster; what is missing, and what to do about it."""
    from raymoe.cli.doctor import examine

    if not examine(workspace, address):
        raise typer.Exit(1)


@app.command()
def init(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A table as `prepare` reads them.", show_default=False)
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The .toml file to write.")
    ] = "own.toml",
    overwrite: options.Overwrite = False,
) -> None:
    """Looks at a table of yours and writes the .toml file that describes it, to be edited."""
    from raymoe.cli.init import write_description

    write_description(table, output, overwrite=overwrite)


@app.command()
def settings(
    section: Annotated[
        str | None,
        typer.Argument(metavar="[SECTION]", help="For instance probe, or data.table.", show_default=False),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the text of docs/settings.md.")] = False,
) -> None:
    """Every field that a .toml file or --set can set: type, default, meaning."""
    from raymoe.cli.settings import print_settings

    print_settings(section, as_markdown=markdown)


def main() -> None:
    """Entry point of the console script: errors as two lines on stderr, exit code 1."""
    for stream in (sys.stdout, sys.stderr):  # what a terminal can't print must not end the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
    try:
        app()
    except RaymoeError as error:
        sys.exit(_explain(error))


def _explain(error: RaymoeError) -> int:
    """Print an error and what to do about it; returns the exit code."""
    print(f"raymoe: {visible(error.message)}", file=sys.stderr)
    if error.remedy:
        print(f"        {visible(error.remedy)}", file=sys.stderr)
    return 1


def run_job(command: str) -> None:
    """Entry point of ``jobs/*.py``: the same command, on the cluster that the job was started on.

    Without a dataset on the command line RAYMOE_DATASET is taken, else the only one in the workspace.
    """
    from raymoe.cli.job_arguments import QUOTING, job_arguments

    os.environ.setdefault("RAY_ADDRESS", "auto")
    try:
        arguments = job_arguments(typer.main.get_group(app).commands[command], sys.argv[1:])
    except RaymoeError as error:
        sys.exit(_explain(error))
    sys.argv = [f"raymoe {command}", command, *arguments]
    try:
        main()
    except SystemExit as ended:
        if ended.code == 2:
            print(QUOTING, file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
