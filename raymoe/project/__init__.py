"""A dataset in a workspace: its settings, where each stage's output lies, and what its tables are."""

from raymoe.project.project import DEFAULT_WORKSPACE, Project, StageResult
from raymoe.project.workspace import Workspace

__all__ = ["DEFAULT_WORKSPACE", "Project", "StageResult", "Workspace"]
