"""What a sweep chose, so that whatever comes after it uses it without being told.

``pipeline`` applies it once for all callers; an experiment that looks at other kinds of model too, whose
sweeps chose for themselves, asks for those with ``of_kind``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TypedDict

from raymoe.errors import ParentError
from raymoe.project.artifacts import CHOSEN
from raymoe.project.project import Project
from raymoe.runtime.progress import console


def with_chosen(project: Project) -> Project:
    """The project with the settings that its sweep chose, and the variant that names their run.

    Applied again it changes nothing. The project is left as it is where there is no sweep of its kind of
    model, and where the user set one of the swept fields. Says so in one line.

    Raises:
        ParentError: the file that says what was chosen is damaged.
    """
    chosen = None if project.asked else read_chosen(project)
    if chosen is None:
        return project
    path = CHOSEN.of(project).path
    own = sorted({setting.partition("=")[0].strip() for setting in project.settings} & set(chosen["chosen"]))
    if own:
        console.print(f"{', '.join(own)} as you set it, not as chosen in {path}")
        return project
    from pydantic import ValidationError  # `raymoe --help` need not wait for it

    try:
        preset = project.preset.with_fields(chosen["chosen"])
    except (ValidationError, AttributeError) as error:
        raise _damaged(project, error) from None
    what = (
        ", ".join(f"{key}={value}" for key, value in chosen["chosen"].items()) or "nothing but the defaults"
    )
    console.print(f"chosen by the sweep: {what} ({path})")
    return replace(project, preset=preset, variant=chosen["variant"], asked=project)


class Chosen(TypedDict):
    """What the file of a finished sweep says.

    Attributes:
        chosen: field to value.
        variant: what that is called in the names of its runs.
        seeds: those that finished.
    """

    chosen: dict[str, object]
    variant: str
    seeds: list[int]


def of_kind(project: Project, kind: str) -> Project:
    """The project with another kind of model, and what the sweep of that kind chose.

    Raises:
        ParentError: see ``with_chosen``.
    """
    return with_chosen(project.with_kind(kind))


def read_chosen(project: Project) -> Chosen | None:
    """What the sweep of the project's kind of model wrote when it ended; None where there was none.

    ``chosen`` (field to value), ``variant`` and ``seeds`` (those that finished) are always there.

    Raises:
        ParentError: it is damaged.
    """
    choice = CHOSEN.of(project)
    if not choice.exists():
        return None
    try:
        found: Chosen = json.loads(choice.workspace.read(choice.name))
        if not (
            isinstance(found["chosen"], dict)
            and isinstance(found["variant"], str)
            and isinstance(found["seeds"], list)
        ):
            raise ValueError("chosen, variant or seeds are not what they should be")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(project, error) from None
    return found


def _damaged(project: Project, error: Exception) -> ParentError:
    return ParentError(
        f"{CHOSEN.of(project).path} is not what a sweep writes ({error!r})",
        f"Write it again with: {CHOSEN.of(project).command} (finished trials are kept)",
    )
