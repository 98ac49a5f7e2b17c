"""What there is to do: for each sample and expert its pairs, cut into units of about equal cost.

A plan follows from the parents and the settings alone; units have names that sort in the order of merging.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from raymoe.config import ProbeConfig
from raymoe.errors import InputError
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.coalitions import GROUP, seed_of
from raymoe.interactions.estimators import evaluations_per_coalition


@dataclass(frozen=True)
class Job:
    """All that is to be measured of one sample and expert."""

    number: int
    sample_id: str
    expert: str
    expert_index: int
    target: str
    candidates: Candidates
    seed: int


@dataclass(frozen=True)
class Unit:
    """A block of pairs and coalitions of one job: what an actor does in one call."""

    job: Job
    pairs: slice
    start: int
    stop: int
    total: int
    method: str
    evaluations: int

    @property
    def key(self) -> str:
        """Names the unit's file; sorts by job, pairs, coalitions."""
        return f"{self.job.number:08d}-{self.pairs.start:06d}-{self.start:06d}"


@dataclass(frozen=True)
class Plan:
    """Jobs in order, and the samples that have no pairs."""

    jobs: list[Job]
    skipped: list[dict[str, str]]
    config: ProbeConfig

    def units(self) -> Iterator[Unit]:
        """Every unit, in the order of merging."""
        for job in self.jobs:
            yield from cut(job, self.config)


def make_plan(
    store: FeatureStore, importance: pa.Table, expert_names: list[str], config: ProbeConfig
) -> Plan:
    """Select candidates for every sample of the importance table and expert of the configuration.

    Args:
        store: the features the importance was computed on.
        importance: rows per sample, expert and modality.
        expert_names: the model's, in its order.
        config: universe, estimator, effort.

    Raises:
        InputError: an expert the model doesn't have.
    """
    unknown = [e for e in config.experts if e not in expert_names]
    if unknown:
        raise InputError(
            f"probe.experts names {', '.join(unknown)}", f"The model's experts: {', '.join(expert_names)}."
        )
    scores: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    targets: dict[str, str] = {}
    columns = (importance[c].to_pylist() for c in ("sample_id", "expert", "modality", "target"))
    for sample_id, expert, modality, target, values in zip(*columns, importance["scores"], strict=True):
        if expert in config.experts:
            scores.setdefault((sample_id, expert), {})[modality] = values.values.to_numpy()
            targets[sample_id] = target
    jobs, skipped = [], []
    for sample_id in list(targets)[: config.max_samples]:  # in the table's order
        index = store.index_of(sample_id)
        allowed = {}
        for modality in store.modalities:
            _, valid, special = store.sequence(index, modality.name)
            allowed[modality.name] = valid & ~special
        candidates = {
            expert: select_candidates(
                {m.name: scores[sample_id, expert][m.name] for m in store.modalities},
                allowed,
                rho=config.rho,
                min_features=config.min_features,
                num_bins=config.num_bins,
            )
            for expert in config.experts
        }
        if not all(len(c.pairs) for c in candidates.values()):
            empty = [m for m, mask in allowed.items() if not mask.any()]
            why = f"no features in {', '.join(empty)}" if empty else "no cross-modal pair within a bin"
            skipped.append({"sample_id": sample_id, "reason": why})
            continue
        for expert in config.experts:
            seed = seed_of(config.seed, sample_id, expert)
            position = expert_names.index(expert)
            jobs.append(
                Job(len(jobs), sample_id, expert, position, targets[sample_id], candidates[expert], seed)
            )
    return Plan(jobs, skipped, config)


def cut(job: Job, config: ProbeConfig) -> Iterator[Unit]:
    """A job's units: first fewer coalitions, then, if one group still costs too much, fewer pairs."""
    step = GROUP if config.estimator == "shared" else 1
    pairs = job.candidates.pairs
    # Flips of single features are done again in every block of pairs, so pairs are split only where one group
    # of coalitions for all of them would cost several units.
    block = max(1, min(len(pairs), config.unit_evaluations // step))
    for first in range(0, len(pairs), block):
        part = slice(first, min(first + block, len(pairs)))
        each = evaluations_per_coalition(pairs[part], config.estimator)
        per_unit = max(step, config.unit_evaluations // each // step * step)
        for start in range(0, config.coalitions, per_unit):
            stop = min(start + per_unit, config.coalitions)
            yield Unit(job, part, start, stop, config.coalitions, config.estimator, each * (stop - start))
