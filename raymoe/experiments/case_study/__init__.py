"""The paper's case study (§4.5, Fig. 5) for any sample: the dense Transformer, the experts, the top pairs."""

from __future__ import annotations

from raymoe.experiments.experiment import Experiment
from raymoe.project import Project

EXPERIMENT = Experiment(
    name="case-study",
    title="Case study",
    place="Fig. 5, §4.5",
    question="One sample as the dense Transformer and as each expert sees it, and its strongest pairs.",
    help="case-study (Fig. 5)",
    folder=__name__,
    tables=(),
    options=("device", "samples"),
    not_yet="Not drawn yet; without an id it is the sample with the strongest pair.",
    usage=("--sample", "ID"),
)


def pictures_of(project: Project) -> str:
    """The folder of what was drawn for a run."""
    return f"{project.run}/evaluation/case-study"
