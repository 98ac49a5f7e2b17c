"""How case studies are shown: links to those that were drawn."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from raymoe.display.shown import Shown
from raymoe.experiments.case_study import pictures_of
from raymoe.project import Project


def show(project: Project, tables: Mapping[str, pa.Table]) -> Shown:
    """The pictures of the project's run; there are no tables."""
    names = project.workspace.names(pictures_of(project))
    return Shown(pictures=tuple(f"evaluation/case-study/{name}" for name in names if name.endswith(".svg")))
