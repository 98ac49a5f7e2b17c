"""The commands. Each parses, runs its stage with whatever the stage needs, and turns errors into messages.

Exit codes: 0 done; 1 an error the user can mend; 2 wrong usage; 3 done, but samples or units were left out
(``--allow-skipped`` makes that 0); 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from raymoe.errors import InputError, Interrupted, RaymoeError
from raymoe.experiments.registry import experiments, experiments_help
from raymoe.project import DEFAULT_WORKSPACE, Project
from raymoe.runtime.progress import console

app = typer.Typer(
    name="raymoe",
    help="Which words and which image patches does a multimodal model use together?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    epilog="Settings of any stage: --set section.field=value, for instance --set probe.coalitions=64.",
)

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="A preset (demo, planted; the benchmarks mmimdb, enrico, mmhs150k) or a .toml file of yours.",
        show_default=False,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="DIR", help="Where a benchmark's archive was extracted, or the raw table."
    ),
]
WorkspaceOption = Annotated[
    str,
    typer.Option(
        "--workspace", envvar="RAYMOE_WORKSPACE", help="Where everything is written: folder or URI."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a setting; repeatable."),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Which training seed's run (train.seed).")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Make it again although it is there.")]
OverwriteAllOption = Annotated[
    bool, typer.Option("--overwrite-all", help="Make it and every stage before it again.")
]
AllowOption = Annotated[
    bool, typer.Option("--allow-skipped", help="Exit with 0 although samples were left out.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="cpu|cuda", help="Default: cuda where there is a GPU.")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster; default RAY_ADDRESS, else this machine.")
]
ActorsOption = Annotated[
    int | None, typer.Option("--actors", min=1, help="At most so many; default one per GPU, else per core.")
]
ProbeActorsOption = Annotated[
    int | None,
    typer.Option(
        "--actors", envvar="RAYMOE_ACTORS", min=1, help="At most so many; default one per GPU, else per core."
    ),
]
GpuShareOption = Annotated[
    float,
    typer.Option("--gpu-share", min=0.01, max=1.0, help="Of a GPU, for one actor: .5 puts two on each."),
]


@app.command()
def prepare(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Raw data -> samples table. Every row is checked; bad ones are left out, counted and listed.

    Of the benchmarks MM-IMDb (mmimdb), ENRICO (enrico) and MMHS150K (mmhs150k) give the extracted archive as
    --source; without it the command says where the archive comes from and what it must hold.
    """
    _run(
        "prepare",
        dataset,
        workspace,
        settings,
        source=source,
        again=_again(overwrite),
        allow_skipped=allow_skipped,
    )


@app.command()
def encode(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: ActorsOption = None,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Samples -> feature store: token and patch sequences of frozen encoders, computed once; resumes."""
    _run(
        "encode",
        dataset,
        workspace,
        settings,
        device=device,
        source=source,
        address=address,
        actors=actors,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command()
def baselines(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Linear probes on the pooled features: what FL-I2MoE is compared with."""
    _run(
        "baselines",
        dataset,
        workspace,
        settings,
        source=source,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command()
def train(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Features -> checkpoint of FL-I2MoE, one seed; the best epoch by validation is kept."""
    _run(
        "train",
        dataset,
        workspace,
        settings,
        seed,
        device,
        source=source,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command()
def sweep(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="SECTION.FIELD=A,B", help="Try these values too; repeatable."),
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", metavar="N", help="Only N configurations, drawn at random.")
    ] = None,
    asha: Annotated[bool, typer.Option("--asha", help="Stop trials early that fall behind.")] = False,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: ActorsOption = None,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Seeds x temperatures (and any other field), side by side; chosen on validation. Resumes."""
    from raymoe.config import grid_setting

    settings = [*(settings or []), *map(grid_setting, grid or [])]
    settings += [f"sweep.random={random}"] if random is not None else []
    settings += ["sweep.asha=true"] if asha else []
    _run(
        "sweep",
        dataset,
        workspace,
        settings,
        None,
        device,
        address,
        actors,
        source=source,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command()
def attribute(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: ActorsOption = None,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Checkpoint -> importance of every token and patch for every expert (attribute.method)."""
    _run(
        "attribute",
        dataset,
        workspace,
        settings,
        seed,
        device,
        address,
        actors,
        source=source,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command()
def probe(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: ProbeActorsOption = None,
    gpu_share: GpuShareOption = 1.0,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Importance -> synergy (SII) and redundancy gap of cross-modal pairs, on Ray actors; resumes."""
    _run(
        "probe",
        dataset,
        workspace,
        settings,
        seed,
        device,
        address,
        actors,
        gpu_share=gpu_share,
        source=source,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command()
def scaling(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: Annotated[
        str | None,
        typer.Option(
            "--actors", metavar="1,2,4", help="Numbers of actors to try; default 1, 2, 4, ... and all."
        ),
    ] = None,
    gpu_share: GpuShareOption = 1.0,
    mode: Annotated[str, typer.Option("--mode", metavar="strong|weak|both", help="Which scaling.")] = "both",
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Of work for each actor.")] = 20.0,
) -> None:
    """The probe on 1, 2, 4, ... actors: throughput, efficiency, what is lost where; and a simulation."""
    from raymoe.probe.scaling import numbers_of_actors, scaling

    if mode not in ("strong", "weak", "both"):
        raise RaymoeError(f"--mode {mode}", "Give strong, weak or both.")
    counts = numbers_of_actors(actors)
    project, _ = _run("attribute", dataset, workspace, settings, seed, device, source=source)
    with _stopped_kindly(project):
        scaling(
            project,
            address=address,
            device=device,
            gpu_share=gpu_share,
            actors=counts,
            modes=("strong", "weak") if mode == "both" else (mode,),
            seconds=seconds,
        )


@app.command()
def report(
    dataset: Dataset,
    source: SourceOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: ActorsOption = None,
    overwrite: OverwriteOption = False,
    overwrite_all: OverwriteAllOption = False,
    allow_skipped: AllowOption = False,
) -> None:
    """Everything -> one HTML page that works offline, and the figures as files."""
    _run(
        "report",
        dataset,
        workspace,
        settings,
        seed,
        device,
        address,
        actors,
        source=source,
        again=_again(overwrite, overwrite_all),
        allow_skipped=allow_skipped,
    )


@app.command(epilog=experiments_help())
def evaluate(
    dataset: Dataset,
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help=f"{', '.join(experiments())}; default all that suit the data",
            show_default=False,
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
    sample: Annotated[
        list[str] | None,
        typer.Option("--sample", metavar="ID", help="Of the case study; repeatable. Default: the strongest."),
    ] = None,
) -> None:
    """The paper's experiments, and more, from what train, attribute and probe made."""
    if device not in (None, "cpu", "cuda"):
        raise RaymoeError(f"--device {device}", "Give cpu or cuda, or leave it out.")
    project = _project(dataset, workspace, settings, seed=seed)

    from raymoe.experiments.running import evaluate, evaluate_all  # after what is quickly refused
    from raymoe.features.encode import refuse_other_features

    with _stopped_kindly(project):
        refuse_other_features(project)
        if experiment is not None:
            evaluate(project, experiment, device=device, overwrite=overwrite, samples=sample or ())
            return
        if sample:
            raise InputError("--sample is for the case study", f"raymoe evaluate {dataset} case-study ...")
        found = evaluate_all(project, device=device, overwrite=overwrite)
    left_out = [name for name, result in found.items() if isinstance(result, RaymoeError)]
    if left_out:
        console.print(f"done, but {', '.join(left_out)} left out (see above)")
        raise typer.Exit(3)


@app.command()
def demo(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    settings: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    actors: ActorsOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """All of it on the embedded drawings, on this machine: a few minutes, ends with the page to open."""
    from raymoe.cli.demo import summary

    project, done = _run(
        "report",
        "demo",
        workspace,
        settings,
        seed,
        device,
        address,
        actors,
        again=_again(False, overwrite),
    )
    summary(project, done)


@app.command()
def doctor(workspace: WorkspaceOption = DEFAULT_WORKSPACE, address: AddressOption = None) -> None:
    """What this machine has, and every node of a cluster; what is missing, and what to do about it."""
    from raymoe.cli.doctor import examine

    if not examine(workspace, address):
        raise typer.Exit(1)


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


def _again(overwrite: bool, overwrite_all: bool = False) -> str:
    """Which stages are made again although they are there."""
    return "all" if overwrite_all else "last" if overwrite else "none"


def _project(
    dataset: str,
    workspace: str,
    settings: list[str] | None,
    source: str | None = None,
    seed: int | None = None,
) -> Project:
    from raymoe.config import load_preset
    from raymoe.project.workspace import Workspace

    of_seed = [f"train.seed={seed}"] if seed is not None else []
    preset = load_preset(dataset, [*(settings or []), *of_seed], source)
    return Project(preset, Workspace(workspace), dataset, tuple(settings or ()), source, seed)


def _run(
    stage: str,
    dataset: str,
    workspace: str,
    settings: list[str] | None = None,
    seed: int | None = None,
    device: str | None = None,
    address: str | None = None,
    actors: int | None = None,
    *,
    gpu_share: float = 1.0,
    source: str | None = None,
    again: str = "none",
    allow_skipped: bool = False,
):
    from raymoe.pipeline import Options, run

    if device not in (None, "cpu", "cuda"):
        raise RaymoeError(f"--device {device}", "Give cpu or cuda, or leave it out.")
    project = _project(dataset, workspace, settings, source, seed)
    with _stopped_kindly(project):
        done = run(project, stage, options=Options(device, address, actors, gpu_share), overwrite=again)
    if done.newly_skipped and not allow_skipped:
        console.print(
            f"done, but {done.newly_skipped} left out (see above); --allow-skipped makes that a success"
        )
        raise typer.Exit(3)
    return done.project, done


@contextmanager
def _stopped_kindly(project: Project) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the command with a line that says what is kept, and their exit code."""
    try:
        yield
    except KeyboardInterrupt as error:
        what = f"stopped: {error.message}." if isinstance(error, Interrupted) else "interrupted."
        console.print(
            f"\n{what} Finished work is kept in {project.workspace.path(project.root)}; "
            "run the same command to go on.",
            markup=False,
        )
        raise typer.Exit(error.exit_code if isinstance(error, Interrupted) else 130) from None


def main() -> None:
    """Entry point of the console script: errors as two lines on stderr, exit code 1."""
    try:
        app()
    except RaymoeError as error:
        sys.exit(_explain(error))


def _explain(error: RaymoeError) -> int:
    """Print an error and what to do about it; returns the exit code."""
    print(f"raymoe: {error.message}", file=sys.stderr)
    if error.remedy:
        print(f"        {error.remedy}", file=sys.stderr)
    return 1


def run_job(command: str) -> None:
    """Entry point of ``jobs/*.py``: the same command, on the cluster that the job was started on.

    Without a dataset on the command line RAYMOE_DATASET is taken, else the only one in the workspace.
    """
    from raymoe.cli.job_arguments import QUOTING, job_arguments

    os.environ.setdefault("RAY_ADDRESS", "auto")
    try:
        arguments = job_arguments(typer.main.get_command(app).commands[command], sys.argv[1:])
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
