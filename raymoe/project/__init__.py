"""A dataset in a workspace: its settings, where each stage's output lies, and what its tables are."""

from typing import TYPE_CHECKING

from raymoe.project.project import DEFAULT_WORKSPACE, Project, StageResult

if TYPE_CHECKING:
    from raymoe.project.workspace import Workspace

__all__ = ["DEFAULT_WORKSPACE", "Project", "StageResult", "Workspace"]


def __getattr__(name: str) -> type["Workspace"]:
    """``Workspace`` when it is asked for: it needs Arrow, and the command line's help does not."""
    if name == "Workspace":
        from raymoe.project.workspace import Workspace

        return Workspace
    raise AttributeError(name)
