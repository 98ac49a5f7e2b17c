"""What there is to do: for each expert and sample its pairs, cut into units of about equal cost.

A plan follows from the parents, the settings and the size of a unit alone. Of a job it keeps a number: what
else there is to know (candidates, pairs, units) is computed when it is asked for, so that ten million units
take tens of megabytes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymoe.attribution.importance import mean_over_experts
from raymoe.catalogue import MIXTURE
from raymoe.config import ProbeConfig
from raymoe.errors import InputError, ParentError
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.pieces import Piece, Work, pieces, work_of
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.project.provenance import Skipped
from raymoe.runtime.seeds import seed_of

JOBS_AT_ONCE = 1 << 14  # bounds the memory of counting


class InputPlayer(NamedTuple):
    """What a player is to a reader, where it is no position: a word or a region, and its place.

    ``place`` has a word's first character and the one after its last; a region's left, top, right and bottom
    as fractions of the upright picture.
    """

    text: str
    place: tuple[float, ...]


@dataclass(frozen=True)
class Job:
    """All that is to be measured of one sample and expert, or of one sample and all experts together.

    Attributes:
        shown: of each player, where it is taken out of the input.
    """

    number: int
    sample_id: str
    expert: str
    target: str
    candidates: Candidates
    seed: int
    shown: tuple[InputPlayer, ...] = ()

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"sample {self.sample_id}, expert {self.expert}"


@dataclass(frozen=True)
class Unit:
    """Some blocks of coalitions of one job: what an actor does in one call."""

    number: int
    job: Job
    start: int
    stop: int
    coalitions: int
    method: str
    law: SizeLaw
    evaluations: int  # about so many

    @property
    def key(self) -> str:
        """Its number, as it is written in the ledger."""
        return f"{self.number:010d}"


@dataclass(frozen=True)
class Plan:
    """Jobs in order, by expert, then sample; and the samples that have no pairs.

    Attributes:
        jobs: each computed when it is asked for.
        works: the different costs that jobs have, and ``kinds``, int32 [jobs], which of them each has.
        skipped: samples left out, and why.
        config: what to measure.
        together: whether a job is all experts of a sample, so that an answer holds their rows one after the
            other; else it is one expert.
    """

    jobs: Sequence[Job]
    works: list[Work]
    kinds: np.ndarray
    skipped: list[Skipped]
    config: ProbeConfig
    together: bool = False

    def typical_job(self) -> Job:
        """One whose cost is the median."""
        costs = np.array([work.evaluations for work in self.works])[self.kinds]
        return self.jobs[int(np.argsort(costs, kind="stable")[len(costs) // 2])]

    def cut(self, unit_evaluations: int) -> Units:
        """The plan in units of about so many evaluations."""
        return Units(self, unit_evaluations)


class Units:
    """The units of a plan, numbered from 0 in the order of merging.

    Attributes:
        plan: what they are units of.
        unit_evaluations: about so many each.
        first: number of each job's first unit, and at the end their count, int64 [jobs + 1].
    """

    def __init__(self, plan: Plan, unit_evaluations: int) -> None:
        self.plan, self.unit_evaluations = plan, unit_evaluations
        self._pieces: dict[int, list[Piece]] = {}  # by kind of job; the last one used
        counts, costs = [], []
        for work in plan.works:
            found = pieces(work, unit_evaluations)
            counts.append(len(found))
            costs.append(sum(piece.evaluations for piece in found))
        self.first = np.zeros(len(plan.kinds) + 1, dtype=np.int64)
        np.cumsum(np.array(counts, dtype=np.int64)[plan.kinds], out=self.first[1:])
        self._costs = np.array(costs, dtype=np.int64)

    def __len__(self) -> int:
        return int(self.first[-1])

    def of(self, job: Job) -> list[Unit]:
        """A job's units."""
        first, config = int(self.first[job.number]), self.plan.config
        law = law_of(config)
        return [
            Unit(
                first + i,
                job,
                piece.start,
                piece.stop,
                config.coalitions,
                config.estimator,
                law,
                piece.evaluations,
            )
            for i, piece in enumerate(self._pieces_of(job.number))
        ]

    def job_of(self, unit: int) -> int:
        """The number of the job that a unit belongs to."""
        return int(np.searchsorted(self.first, unit, side="right")) - 1

    def left(self, done: np.ndarray) -> Iterator[Unit]:
        """The units that are not done, in order.

        Args:
            done: bool [units]; asked when a unit's turn comes.
        """
        for number in range(len(self.plan.kinds)):
            first, last = int(self.first[number]), int(self.first[number + 1])
            if not done[first:last].all():
                yield from (unit for unit in self.of(self.plan.jobs[number]) if not done[unit.number])

    def evaluations(self, done: np.ndarray) -> int:
        """What the units that are not done cost together, about."""
        total = 0
        for begin in range(0, len(self.plan.kinds), JOBS_AT_ONCE):
            kinds = self.plan.kinds[begin : begin + JOBS_AT_ONCE]
            first = self.first[begin : begin + len(kinds) + 1]
            left = np.add.reduceat(~done[first[0] : first[-1]], first[:-1] - first[0], dtype=np.int64)
            whole = left == np.diff(first)
            total += int(self._costs[kinds[whole]].sum())
            for number in np.flatnonzero((left > 0) & ~whole).tolist():
                units = zip(self._pieces_of(begin + number), done[first[number] :], strict=False)
                total += sum(piece.evaluations for piece, is_done in units if not is_done)
        return total

    def _pieces_of(self, job: int) -> list[Piece]:
        kind = int(self.plan.kinds[job])
        if kind not in self._pieces:
            self._pieces = {kind: pieces(self.plan.works[kind], self.unit_evaluations)}
        return self._pieces[kind]


def plan_hash(fingerprint: str, units: Units) -> str:
    """Names a plan: what it was made from, how it is cut."""
    text = f"{fingerprint} {units.unit_evaluations} {len(units)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(
    store: FeatureStore,
    importance: pa.Table,
    expert_names: list[str],
    config: ProbeConfig,
    *,
    made_by: str,
) -> Plan:
    """Look at the candidates of every sample of the importance table and expert of the configuration.

    Args:
        store: the features the importance was computed on.
        importance: rows per sample, expert and modality.
        expert_names: the model's, in its order.
        config: universe, estimator, effort.
        made_by: the command that makes the importance table, for the error messages.

    Raises:
        InputError: a universe too large for the estimator ``exact``.
        ParentError: a row of the importance table is missing.
    """
    table = _Scores(store, importance, expert_names, config, made_by)
    works: dict[Work, int] = {}
    kinds: list[array[int]] = [array("i") for _ in config.experts]
    kept, skipped = array("q"), []
    for sample in range(table.samples):
        allowed = table.allowed(sample)
        candidates = [table.candidates(sample, e, allowed) for e in range(len(config.experts))]
        if not all(len(c.pairs) for c in candidates):
            empty = [m for m, mask in allowed.items() if not mask.any()]
            why = f"no features in {', '.join(empty)}" if empty else "no cross-modal pair within a bin"
            skipped.append(Skipped(sample_id=table.sample_id(sample), reason=why))
            continue
        kept.append(sample)
        for e, found in enumerate(candidates):
            name = f"sample {table.sample_id(sample)}, expert {config.experts[e]}"
            kinds[e].append(works.setdefault(_work(found, config, name), len(works)))
    jobs = SampleJobs(table, np.array(kept, dtype=np.int64), config)
    each = [np.array(column, dtype=np.int32) for column in kinds]
    return Plan(jobs, list(works), np.concatenate(each), skipped, config)


def _work(candidates: Candidates, config: ProbeConfig, name: str) -> Work:
    try:
        players = len(candidates.players)
        return work_of(candidates.pairs, players, config.estimator, config.coalitions, law_of(config))
    except InputError as error:
        raise InputError(
            f"{name}: {error.message}",
            "Lower probe.rho, or choose another probe.estimator.",
        ) from None


def law_of(config: ProbeConfig) -> SizeLaw:
    """The law of contexts that a probe is asked for."""
    return SizeLaw(config.index, config.inclusion)


class SampleJobs(Sequence[Job]):
    """The jobs of some samples, each computed when it is asked for."""

    def __init__(self, table: _Scores, samples: np.ndarray, config: ProbeConfig) -> None:
        self.table, self.samples, self.config = table, samples, config

    def __len__(self) -> int:
        return len(self.samples) * len(self.config.experts)

    @overload
    def __getitem__(self, number: int) -> Job: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Job]: ...

    def __getitem__(self, number: int | slice) -> Job | Sequence[Job]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(f"job {number} of {len(self)}")
        e, row = divmod(int(number), len(self.samples))
        sample, expert = int(self.samples[row]), self.config.experts[e]
        sample_id = self.table.sample_id(sample)
        return Job(
            int(number),
            sample_id,
            expert,
            self.table.target,
            self.table.candidates(sample, e, self.table.allowed(sample)),
            seed_of(self.config.seed, sample_id, expert),
        )


class _Scores:
    """The importance table by sample and expert, in the table's order; the scores stay in the file.

    ``rows``, int64 [samples, experts, modalities], says which row of the table each is, and ``indices``,
    int64 [samples], which row of the feature store each sample is. ``of`` says which of those experts each
    one of the configuration takes: the mixture takes all of the model's.
    """

    def __init__(
        self,
        store: FeatureStore,
        importance: pa.Table,
        expert_names: list[str],
        config: ProbeConfig,
        made_by: str,
    ) -> None:
        self.store, self.config, self.scores = store, config, importance["scores"]
        needed = expert_names if MIXTURE in config.experts else list(config.experts)
        everyone = list(range(len(needed)))
        self.of = [everyone if name == MIXTURE else [needed.index(name)] for name in config.experts]
        modalities = [m.name for m in store.modalities]
        ids = importance["sample_id"].combine_chunks().dictionary_encode()
        experts = _places(importance["expert"], needed)
        places = _places(importance["modality"], modalities)
        wanted = np.flatnonzero((experts >= 0) & (places >= 0))
        samples = ids.indices.to_numpy()
        # samples in the order of their first row that counts
        order, position = np.unique(samples[wanted], return_index=True)
        order = order[np.argsort(position)][: config.max_samples]
        row_of = np.full(len(ids.dictionary), -1, dtype=np.int64)
        row_of[order] = np.arange(len(order))
        self.rows = np.full((len(order), len(needed), len(modalities)), -1, dtype=np.int64)
        chosen = wanted[row_of[samples[wanted]] >= 0]
        self.rows[row_of[samples[chosen]], experts[chosen], places[chosen]] = chosen
        names = ids.dictionary.take(pa.array(order)).to_pylist()
        if (self.rows < 0).any():
            sample, e, m = np.argwhere(self.rows < 0)[0]
            raise ParentError(
                f"importance.arrow has no row for sample {names[sample]}, expert {needed[e]}, "
                f"modality {modalities[m]}",
                f"Compute it again with: {made_by} --overwrite",
            )
        self.indices = np.array([store.index_of(name) for name in names], dtype=np.int64)
        targets = importance["target"].unique().to_pylist()
        if len(targets) > 1:
            raise ParentError(
                f"importance.arrow holds several targets ({', '.join(targets)})",
                f"Compute it again with: {made_by} --overwrite",
            )
        self.target = targets[0] if targets else "true"

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.indices)

    def sample_id(self, sample: int) -> str:
        """The name of the sample of a row."""
        return str(self.store.sample_ids[self.indices[sample]])

    def allowed(self, sample: int) -> dict[str, np.ndarray]:
        """Which positions may be candidates, bool [T_m] per modality."""
        return self.store.candidates(int(self.indices[sample]))

    def candidates(self, sample: int, expert: int, allowed: dict[str, np.ndarray]) -> Candidates:
        """The universe and pairs of a sample and of the configuration's expert of that number."""
        scores = {}
        for name, rows in zip(allowed, self.rows[sample, self.of[expert]].T, strict=True):
            each = [self.scores[int(row)].values.to_numpy() for row in rows]
            scores[name] = each[0] if len(each) == 1 else mean_over_experts(each)
        return select_candidates(
            scores,
            allowed,
            rho=self.config.rho,
            min_features=self.config.min_features,
            num_bins=self.config.num_bins,
        )


def _places(column: pa.ChunkedArray, names: list[str]) -> np.ndarray:
    """Where in ``names`` each value is, int64 [rows]; -1 where it isn't."""
    found = pc.index_in(column, pa.array(names, pa.string()))
    places: np.ndarray = found.combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False)
    return places.astype(np.int64)
