"""Rows of evaluation tables, as what is shown of them needs them: picked, averaged, with their spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from raymoe.display.plots import Interval
from raymoe.display.sheets import Amount, Cell
from raymoe.display.vocabulary import OF_PAPER
from raymoe.project.tables import metadata_of

Row = dict[str, Any]
Rows = list[Row]


def over_seeds(rows: Rows) -> Rows:
    """The rows that are means over seeds, which name no seed; every row of a table that has no such rows."""
    return [row for row in rows if row["seed"] is None] or rows


def seeds_of(rows: Rows) -> list[int]:
    """The seeds of such a table, in order."""
    return sorted({row["seed"] for row in rows} - {None})


def seeds_said(seeds: Sequence[int]) -> str:
    """Which seeds some figures are of, in words."""
    shown = ", ".join(map(str, seeds))
    return f"mean over seeds {shown}" if len(seeds) > 1 else f"seed {shown}" if seeds else "one run"


def seed_head(several: bool) -> list[str]:
    """The head of a column for how far seeds lie apart, where there are several."""
    return ["s.d. over seeds"] if several else []


def seed_spread(scale: float, deviation: float | None, several: bool, digits: int) -> list[Cell]:
    """A cell of that column."""
    return [Amount(None if deviation is None else scale * deviation, digits=digits)] if several else []


def percent(row: Row, name: str, digits: int = 1, signed: bool = False) -> Amount:
    """A fraction with its interval, if it has one, in per cent."""
    return Amount.scaled(100, row[name], row.get(f"{name}_low"), row.get(f"{name}_high"), digits, signed)


def of_paper(rows: Rows) -> Rows:
    """The rows of each score for the expert whose score the paper shows."""
    return [row for row in rows if row["expert"] == OF_PAPER.get(row["score"])]


def differences_of(table: pa.Table) -> Rows:
    """What a table says of two of its rows at once: paired over samples, which two intervals are not."""
    return metadata_of(table.schema).get("differences", [])


def values_by(
    rows: Rows,
    key: str,
    order: Iterable[Any],
    columns: tuple[str, str, str] = ("value", "low", "high"),
    scale: float = 1,
) -> list[Interval]:
    """A value with its interval for each member of ``order``; several rows of a member are averaged."""
    found = []
    for member in order:
        own = [row for row in rows if row[key] == member]
        value, low, high = (scale * _mean(row[column] for row in own) for column in columns)
        found.append((value, low, high))
    return found


def with_bounds(name: str) -> tuple[str, str, str]:
    """The columns of a quantity and of its interval."""
    return name, f"{name}_low", f"{name}_high"


def unique(rows: Rows, key: str) -> list[Any]:
    """The values of a column, in the order in which they come."""
    return list(dict.fromkeys(row[key] for row in rows))


def first_known(rows: Rows, key: str) -> Any:
    """The first value of a column that is not null."""
    return next((row[key] for row in rows if row[key] is not None), None)


def rows_of(tables: Mapping[str, pa.Table], name: str) -> Rows:
    """A table's rows."""
    return tables[name].to_pylist()


def _mean(values: Iterable[float | None]) -> float:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(known) / len(known) if known else math.nan
