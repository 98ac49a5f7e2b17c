"""The arguments of a job: what a cluster's entry point adds to those of the command.

A job may be started without a dataset, and `ray submit` hands its arguments on joined by spaces, so that one
with a space in it arrives as two. Knows nothing of what the commands do.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

from raymoe.cli.stage_command import workspace_of
from raymoe.config import preset_names
from raymoe.errors import InputError

QUOTING = (
    "`ray submit` joins what follows -- by spaces, and the cluster's shell splits it again: "
    "quote an argument with spaces or shell characters twice, as in --workspace \"'/shared/my runs'\". "
    "`ray job submit` hands arguments on as they are."
)


def job_arguments(command: Any, arguments: list[str]) -> list[str]:
    """The arguments with which a job's command is run.

    Args:
        command: the command as Typer built it.
        arguments: as the job got them; a leading ``--`` is dropped.

    Returns:
        The same, after the default dataset where none is named: RAYMOE_DATASET, else the only one in the
        workspace.

    Raises:
        InputError: words after the options, which is what an argument with spaces leaves behind when its
            quotes are lost; or there is no dataset to take, or more than one.
    """
    arguments = arguments[1:] if arguments[:1] == ["--"] else arguments
    if "--help" in arguments:
        return arguments
    first = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    context = command.make_context(command.name, list(arguments), resilient_parsing=True)
    wanted = [p.name for p in command.params if p.param_type_name == "argument"]
    given = [context.params[name] for name in wanted if context.params.get(name) is not None]
    given += context.args
    if len(given) > len(first):
        stray = given[len(first)]
        raise InputError(
            f"{stray!r} comes after the options; a job takes {' '.join(wanted).upper()} first, then options",
            QUOTING,
        )
    if len(first) > len(wanted):
        raise InputError(f"{first[len(wanted)]!r} is one argument too many", QUOTING)
    if len(first) < len(wanted):
        return [default_dataset(context.params["workspace"]), *arguments]
    return arguments


def default_dataset(workspace: str) -> str:
    """RAYMOE_DATASET, else the only dataset that the workspace holds.

    Raises:
        InputError: there is none or more than one, or it has no preset.
        WorkspaceError: the workspace can't be read.
    """
    named = os.environ.get("RAYMOE_DATASET")
    if named:
        return named
    place = workspace_of(workspace)
    found = [name for name in place.folders("") if place.exists(f"{name}/samples.parquet")]
    remedy = (
        "Name it after --, for instance: jobs/probe.py -- mmimdb; or set RAYMOE_DATASET where the job runs."
    )
    if len(found) != 1:
        holds = f"holds several: {', '.join(found)}" if found else "holds none"
        raise InputError(
            f"which dataset? None is given, RAYMOE_DATASET is not set, the workspace {place.root} {holds}",
            remedy,
        )
    if found[0] not in preset_names():
        raise InputError(
            f"which dataset? The workspace {place.root} holds {found[0]!r} alone, which is no preset",
            "Give the .toml file that describes it, as a path that the cluster's head can read: "
            f"-- /shared/{found[0]}.toml; or set RAYMOE_DATASET to it.",
        )
    return found[0]
