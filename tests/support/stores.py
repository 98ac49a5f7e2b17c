"""A feature store of one part, from rows made by hand."""

from collections.abc import Sequence

from raymoe.features.parts import ModalityInfo, Row, part_name, write_marker, write_part
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES
from raymoe.project.provenance import Provenance


def write_store(
    project: Project,
    rows: list[Row],
    infos: list[ModalityInfo],
    made: Provenance,
    *,
    classes: Sequence[str],
    task: str,
) -> None:
    """Write the part and the marker that makes it a store."""
    where, folder = project.workspace, FEATURES.of(project).name
    write_part(where, part_name(folder, 0), rows, infos, made, {"rows": [0, len(rows)]})
    write_marker(where, folder, made, infos, [len(rows)], classes=classes, task=task)
