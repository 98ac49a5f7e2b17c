"""Whether there is anything to learn from: said as soon as samples are there, not after hours of encoding."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from raymoe.errors import InputError
from raymoe.project import Project
from raymoe.project.artifacts import SAMPLES

# What a split without a single label leaves undone.
NEEDS = {"train": "there is nothing to learn", "val": "no epoch is better than another"}


def refuse_unlabelled(project: Project) -> None:
    """Raise where no sample of a split that training needs has a label, which data of any labels may be.

    Raises:
        InputError: names the split, and what it is for.
        ParentError: the samples table is missing or damaged.
    """
    samples = SAMPLES.of(project).read(["split", "labels"])
    for split, why in NEEDS.items():
        count, labelled = labels_in(samples, split)
        if count and not labelled:
            raise InputError(
                f"none of the {count} samples of the split {split!r} has a label: {why}",
                f"Give some of them labels in the column {project.preset.data.labels_column!r}, then: "
                f"{project.command('prepare')} --overwrite",
            )


def labels_in(samples: pa.Table, split: str) -> tuple[int, int]:
    """How many samples a split has, and how many of them have labels."""
    labels = samples["labels"].filter(pc.equal(samples["split"], split))
    lengths = pc.list_value_length(labels)
    return len(labels), int(pc.sum(pc.greater(lengths, 0)).as_py() or 0)
