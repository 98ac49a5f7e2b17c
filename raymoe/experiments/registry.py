"""The experiments of ``raymoe evaluate DATASET [EXPERIMENT]``: those of the paper, then those beyond it.

A new one is a folder (see experiment.py) and a line here.
"""

from __future__ import annotations

from importlib import import_module

from raymoe.errors import InputError
from raymoe.experiments.experiment import Experiment

FOLDERS = (
    "raymoe.experiments.comparison",
    "raymoe.experiments.faithfulness",
    "raymoe.experiments.alignment",
    "raymoe.experiments.specificity",
    "raymoe.experiments.locality",
    "raymoe.experiments.pair_masking",
    "raymoe.experiments.robustness",
    "raymoe.experiments.planted",
    "raymoe.experiments.case_study",
)


def experiments() -> dict[str, Experiment]:
    """All of them by name, in order. Nothing slow is imported."""
    found: list[Experiment] = [import_module(folder).EXPERIMENT for folder in FOLDERS]
    return {experiment.name: experiment for experiment in found}


def experiments_help() -> str:
    """What there is, for the command line."""
    return "; ".join(experiment.help for experiment in experiments().values())


def named(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        InputError: there is none; says which there are.
    """
    found = experiments()
    if name not in found:
        raise InputError(f"unknown experiment {name!r}", f"There are: {', '.join(found)}.")
    return found[name]
