"""From the units' running sums to the interactions table, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pyarrow as pa

from raymoe.interactions.sums import RunningSums
from raymoe.probe.commit import UnitFiles
from raymoe.probe.plan import Job, Plan, Unit
from raymoe.tables import INTERACTIONS


def merged(plan: Plan, files: UnitFiles, failed: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """One batch of the interactions table per job; a job with a failed unit has none.

    The order of additions is that of the plan, never that of arrival, so that the table is the same byte for
    byte however the run went.
    """
    for job, units in groupby(plan.units(), key=lambda unit: unit.job):
        units = list(units)
        if any(unit.key in failed for unit in units):
            continue
        yield _rows(job, _sums(units, files))


def _sums(units: list[Unit], files: UnitFiles) -> RunningSums:
    """A job's sums: blocks of coalitions added, blocks of pairs put side by side."""
    blocks = []
    for _, parts in groupby(units, key=lambda unit: unit.pairs.start):
        total: RunningSums | None = None
        for unit in parts:
            table = files.read(unit.key, unit.pairs.stop - unit.pairs.start)
            sums = RunningSums(**{name: table[name].to_numpy() for name in table.column_names})
            total = sums if total is None else total + sums
        blocks.append(total.columns())
    return RunningSums(**{name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]})


def _rows(job: Job, sums: RunningSums) -> pa.RecordBatch:
    candidates = job.candidates
    size = len(candidates.pairs)
    first, second = candidates.pairs.T
    columns = {
        "sample_id": [job.sample_id] * size,
        "expert": [job.expert] * size,
        "target": [job.target] * size,
        "bin": candidates.pair_bins.astype(np.int32),
        "u_modality": [candidates.players[i][0] for i in first],
        "u": np.array([candidates.players[i][1] for i in first], dtype=np.int32),
        "v_modality": [candidates.players[i][0] for i in second],
        "v": np.array([candidates.players[i][1] for i in second], dtype=np.int32),
        **sums.scores(),
        **sums.columns(),
    }
    return pa.record_batch([columns[f.name] for f in INTERACTIONS.schema], schema=INTERACTIONS.schema)
