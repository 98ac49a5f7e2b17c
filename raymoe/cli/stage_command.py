"""The command of a stage: put together from its line in the pipeline's table, and what it then does."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from raymoe.cli.options import HOW, SHORTHANDS, WORKSPACE_VARIABLE, stage_parameters
from raymoe.errors import Interrupted
from raymoe.pipeline import Options, Run, Stage, run
from raymoe.project import DEFAULT_WORKSPACE, Project
from raymoe.runtime.progress import console

if TYPE_CHECKING:
    from raymoe.project.workspace import Workspace


def stage_command(stage: Stage) -> Callable[..., None]:
    """A function of the stage's options, which Typer makes a command of by its signature and docstring."""

    def command(**given: Any) -> None:
        how = Options(**{name: given.pop(name) for name in HOW if name in given})
        settings = list(given.pop("settings") or [])
        typed: dict[str, str] = {}
        for name, shorthand in SHORTHANDS.get(stage.name, {}).items():
            value = given.pop(name)
            words = [""] if value is True else [f" {each}" for each in _listed(value)]
            stand_for = shorthand.settings(value)
            typed |= {setting: f"--{name}{word}" for setting, word in zip(stand_for, words, strict=False)}
            settings += stand_for
        run_stage(stage.name, how=how, settings=settings, typed=typed, **given)

    command.__name__ = stage.name
    command.__doc__ = stage.help
    command.__signature__ = inspect.Signature(stage_parameters(stage))  # type: ignore[attr-defined]
    return command


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def run_stage(
    name: str,
    dataset: str,
    *,
    workspace: str = DEFAULT_WORKSPACE,
    settings: list[str] | None = None,
    source: str | None = None,
    seed: int | None = None,
    typed: Mapping[str, str] | None = None,
    how: Options | None = None,
    overwrite: bool = False,
    overwrite_all: bool = False,
    allow_skipped: bool = False,
    after: Mapping[str, Callable[[Project], None]] | None = None,
) -> Run:
    """Run a stage and those before it, with what was typed; ``after`` is that of ``pipeline.run``.

    Raises:
        Exit: with 3, after samples or units were left out and ``allow_skipped`` is off; or stopped.
        RaymoeError: see the stages.
    """
    project = project_of(dataset, workspace, settings, source, seed, typed)
    again = "all" if overwrite_all else "last" if overwrite else "none"
    with stopped_kindly(project):
        done = run(project, name, options=how, overwrite=again, after=after)
    if done.newly_skipped and not allow_skipped:
        console.print(
            f"done, but {done.newly_skipped} left out (see above); --allow-skipped makes that a success"
        )
        raise typer.Exit(3)
    return done


def project_of(
    dataset: str,
    workspace: str,
    settings: list[str] | None,
    source: str | None = None,
    seed: int | None = None,
    typed: Mapping[str, str] | None = None,
) -> Project:
    """The project that was typed; it knows the words, for the commands that messages suggest.

    Args:
        dataset, workspace, settings, source, seed: the options.
        typed: what was given for those settings that stand for another option than ``--set``.

    Raises:
        RaymoeError: the dataset, a setting or the workspace is not one.
    """
    # Not for --help: pydantic builds its validators, and Arrow its file systems.
    from raymoe.config import load_preset

    of_seed = {f"train.seed={seed}": f"--seed {seed}"} if seed is not None else {}
    preset = load_preset(dataset, [*(settings or []), *of_seed], source, {**(typed or {}), **of_seed})
    return Project(preset, workspace_of(workspace), dataset, tuple(settings or ()), source, seed)


def workspace_of(place: str) -> Workspace:
    """The workspace of that option, which knows whether it was given by the environment instead.

    Raises:
        WorkspaceError: there can be none of that name.
    """
    from raymoe.project.workspace import Workspace

    of_environment = os.environ.get(WORKSPACE_VARIABLE) == place
    return Workspace(place, WORKSPACE_VARIABLE if of_environment else "--workspace")


@contextmanager
def stopped_kindly(project: Project) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the command with a line that says what is kept, and their exit code."""
    try:
        yield
    except KeyboardInterrupt as error:
        what = f"stopped: {error.message}." if isinstance(error, Interrupted) else "interrupted."
        console.print(
            f"\n{what} Finished work is kept in {project.workspace.path(project.root)}; "
            "run the same command to go on.",
        )
        raise typer.Exit(error.exit_code if isinstance(error, Interrupted) else 130) from None
