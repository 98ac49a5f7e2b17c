"""What was prepared, in figures: samples per split and class, as a table or, outside a terminal, as lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from raymoe.runtime.characters import one_line
from raymoe.runtime.progress import console

SPLITS = ("train", "val", "test")


def print_summary(splits: Sequence[str], labels: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Print counts per split and class.

    Args:
        splits: of each sample.
        labels: class indices of each sample.
        classes: names by index.
    """
    totals = Counter(splits)
    counts = Counter((k, split) for split, found in zip(splits, labels, strict=True) for k in found)
    rows = [("samples", [totals[split] for split in SPLITS])]
    rows += [(one_line(name), [counts[k, split] for split in SPLITS]) for k, name in enumerate(classes)]
    if console.is_terminal:
        table = Table("", *SPLITS)
        for column in table.columns[1:]:
            column.justify = "right"
        for i, (name, numbers) in enumerate(rows):
            table.add_row(name, *(f"{n:,}" for n in numbers), end_section=i == 0)
        console.print(table)
        return
    for name, numbers in rows:
        found = ", ".join(f"{split} {n:,}" for split, n in zip(SPLITS, numbers, strict=True))
        console.print(f"  {name}: {found}")
