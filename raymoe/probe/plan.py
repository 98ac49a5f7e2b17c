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
from raymoe.interactions.blocks import block_evaluations, count_blocks, divisible
from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.coalitions import seed_of
from raymoe.interactions.exact import check_players


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
    """Some pairs and some blocks of coalitions of one job: what an actor does in one call."""

    job: Job
    pairs: slice
    start: int
    stop: int
    coalitions: int
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
            if config.estimator == "exact":
                _check_exact(sample_id, expert, candidates[expert])
            seed = seed_of(config.seed, sample_id, expert)
            position = expert_names.index(expert)
            jobs.append(
                Job(len(jobs), sample_id, expert, position, targets[sample_id], candidates[expert], seed)
            )
    return Plan(jobs, skipped, config)


def _check_exact(sample_id: str, expert: str, candidates: Candidates) -> None:
    try:
        check_players(len(candidates.players))
    except InputError as error:
        raise InputError(
            f"sample {sample_id}, expert {expert}: {error.message}",
            "Lower probe.rho, or choose another probe.estimator.",
        ) from None


def cut(job: Job, config: ProbeConfig) -> Iterator[Unit]:
    """A job's units: first fewer coalitions, then, if one block still costs too much, fewer pairs."""
    method, coalitions = config.estimator, config.coalitions
    pairs, n = job.candidates.pairs, len(job.candidates.players)
    blocks = count_blocks(pairs, n, method, coalitions)
    at_once = len(pairs)
    if divisible(method):
        # Flips of single features are done again for every block of pairs, so pairs are split only where one
        # block of coalitions for all of them would cost several units.
        one = block_evaluations(pairs, n, method, coalitions, 0, 1)
        at_once = max(1, len(pairs) * config.unit_evaluations // max(one, config.unit_evaluations))
    for first in range(0, len(pairs), at_once):
        part = slice(first, min(first + at_once, len(pairs)))
        every = block_evaluations(pairs[part], n, method, coalitions, all_pairs=pairs)
        per_unit = max(1, blocks * config.unit_evaluations // every)
        for start in range(0, blocks, per_unit):
            stop = min(start + per_unit, blocks)
            cost = block_evaluations(pairs[part], n, method, coalitions, start, stop, pairs)
            yield Unit(job, part, start, stop, coalitions, method, cost)
