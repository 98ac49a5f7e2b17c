"""From the units' running sums to the interactions tables, in the order of the plan."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from raymoe.interactions.sums import RunningSums, summed
from raymoe.probe.commit import UnitFiles
from raymoe.probe.plan import Job, Unit, Units
from raymoe.project.interaction_tables import of_expert, remove_interactions
from raymoe.project.outputs import Output
from raymoe.project.provenance import Provenance, Skipped

ROWS = 1 << 16  # of a row group, at least


def write_tables(
    interactions: Output,
    units: Units,
    files: UnitFiles,
    failed: Collection[int],
    provenance: Provenance,
    notes: Mapping[str, object],
) -> None:
    """Write one table per expert, row group by row group.

    The tables that were there are removed first: those that are there are always of one probe.

    Args:
        interactions: the run's.
        units, files: what was planned, and the answers.
        failed: numbers of the units that have none.
        provenance, notes: for the tables' metadata (``Notes``); each table's own ``expert`` is added.

    Raises:
        ParentError: an answer is missing or damaged.
        WorkspaceError: the tables can't be written; the answers stay.
    """
    remove_interactions(interactions)
    experts, jobs = units.plan.config.experts, len(units.plan.kinds)
    without = {units.job_of(unit) for unit in failed}
    for e, expert in enumerate(experts):
        together = units.plan.together
        span = range(jobs) if together else range(jobs * e // len(experts), jobs * (e + 1) // len(experts))
        share = Share(expert, e, len(experts)) if together else Share(expert)
        left = [job for job in span if job not in without]
        batches = merged(units, files, left, share, interactions.contract.schema)
        of_expert(interactions, expert).write_batches(batches, provenance, {**notes, "expert": expert})


class Notes(TypedDict):
    """What the tables of a probe say of themselves.

    Attributes:
        skipped: samples left out, and why.
        failed: units given up, by their key, and why.
        experts: those that were probed.
        plan, unit_evaluations: the plan's hash, and the size of its units.
        devices: names of those that measured.
        versions: of the packages.
    """

    skipped: list[Skipped]
    failed: dict[str, str]
    experts: list[str]
    plan: str
    unit_evaluations: int
    devices: list[str]
    versions: dict[str, str]


class Share(NamedTuple):
    """The part of an answer's rows that is of one expert: the one of this number of so many equal ones."""

    expert: str
    number: int = 0
    of: int = 1


def merged(
    units: Units, files: UnitFiles, jobs: Collection[int], share: Share, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """One expert's interactions of some jobs, many jobs to a batch.

    The order of additions is that of the plan, never that of arrival, so that the table is the same byte for
    byte however the run went.
    """
    rows: list[pa.RecordBatch] = []
    for number in jobs:
        job = units.plan.jobs[number]
        sums = summed(_answer(unit, files, share) for unit in units.of(job))
        rows.append(_rows(job, sums, share.expert, schema))
        if sum(batch.num_rows for batch in rows) >= ROWS:
            yield pa.concat_batches(rows)
            rows = []
    if rows:
        yield pa.concat_batches(rows)


def _answer(unit: Unit, files: UnitFiles, share: Share) -> RunningSums:
    answer, rows = files.read(unit.number), len(unit.job.candidates.pairs)
    try:
        table = pa.ipc.open_stream(answer).read_all()
        if table.num_rows != rows * share.of:
            raise ValueError(f"{table.num_rows} rows, expected {rows * share.of}")
        table = table.slice(rows * share.number, rows)
        return RunningSums.of_columns({name: table[name].to_numpy() for name in table.column_names})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise files.damaged(unit.number, str(error)) from None


def _rows(job: Job, sums: RunningSums, expert: str, schema: pa.Schema) -> pa.RecordBatch:
    candidates = job.candidates
    size = len(candidates.pairs)
    first, second = candidates.pairs.T
    modality = np.array([name for name, _ in candidates.players], dtype=object)
    position = np.array([place for _, place in candidates.players], dtype=np.int32)
    columns = {
        "sample_id": [job.sample_id] * size,
        "expert": [expert] * size,
        "target": [job.target] * size,
        "bin": candidates.pair_bins.astype(np.int32),
        "u_modality": modality[first],
        "u": position[first],
        "v_modality": modality[second],
        "v": position[second],
        **sums.scores(),
        **sums.columns(),
    }
    if job.shown:
        for side, members in (("u", first), ("v", second)):
            columns[f"{side}_text"] = [job.shown[i].text for i in members]
            columns[f"{side}_place"] = [list(job.shown[i].place) for i in members]
    arrays = [pa.array(columns[field.name]).cast(field.type, safe=False) for field in schema]
    return pa.record_batch(arrays, schema=schema)
