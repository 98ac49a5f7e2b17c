"""What is planted in the samples of the explorer, and how high each method ranks it.

Read from the table of ``raymoe evaluate DATASET planted``; nothing is marked where that was not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from raymoe.display.samples import Sample
from raymoe.experiments.planted import RANKS_TABLE
from raymoe.report.experiments import Found

# By kind of interaction: its true pairs, and their ranks by expert and method.
Marks = dict[str, dict[str, Any]]


def planted_marks(found: Sequence[Found], samples: Sequence[Sample], seed: int) -> dict[str, Marks]:
    """Of each sample in which something is planted, by its id.

    Args:
        found: the experiments.
        samples: of the explorer.
        seed: whose ranks are shown.
    """
    table = next((each.tables[RANKS_TABLE.name] for each in found if RANKS_TABLE.name in each.tables), None)
    if table is None:
        return {}
    shown = {sample.sample_id: sample for sample in samples}
    marks: dict[str, Marks] = {}
    for row in table.filter(pc.equal(table["seed"], seed)).to_pylist():
        sample = shown.get(row["sample_id"])
        if sample and row["rank"]:
            of_kind = marks.setdefault(sample.sample_id, {}).setdefault(
                row["interaction"], {"pairs": _ends(row, sample), "ranks": {}, "of": row["pairs"]}
            )
            of_kind["ranks"].setdefault(row["expert"], {})[row["method"]] = sorted(row["rank"])
    return marks


def _ends(row: dict[str, Any], sample: Sample) -> list[list[list[Any]]]:
    """The true pairs, each as two of modality and place: the position of a word, the cell of a patch."""
    found = []
    for u, v in zip(row["u"], row["v"], strict=True):
        pair = []
        for modality, position in ((row["u_modality"], u), (row["v_modality"], v)):
            cells = sample.sequences[modality].cells
            pair.append([modality, cells.index(position) if cells else position])
        found.append(pair)
    return found
