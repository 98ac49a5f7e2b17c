"""Are the pairs of important features those that interact (paper §4.3, Fig. 4)?

Features of each sample are cut into three bins by importance (top 10, 11 to 20, 21 to 30 per cent of each
modality); of all pairs within a bin the mean score of the top q per cent is taken over the whole split. A
sample with few words has pairs in the first bin alone, so the bins are of different samples: beside that
figure there is one of the samples that have pairs in every bin, and one that takes the top q per cent within
each of these.

Shapes: P pairs, N samples, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from raymoe.display.vocabulary import COMPARED, score_columns
from raymoe.experiments.alignment import ALIGNMENT, POOLED, SAME, TABLE, WITHIN
from raymoe.experiments.bins import BINS, binned_pairs, refuse_smaller_universe
from raymoe.experiments.bootstrap import resample_counts, spread_over_seeds
from raymoe.experiments.probed_runs import left_out_of, parents_of, probed_seeds
from raymoe.features.store import FeatureStore
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES

TOP = (5, 10, 20)  # q, per cent of a bin's pairs
WORK = 2_000_000_000  # pairs times resamples at most


def measure(project: Project, *, overwrite: bool = False) -> StageResult:
    """Mean scores per expert, score, bin and q, from the tables of ``attribute`` and ``probe``.

    Writes ``evaluation/alignment.parquet``: of every seed that was probed and their mean, with 95 % intervals
    of a bootstrap over samples. Its metadata has ``skipped``: samples without a pair, and why.

    Args:
        project: has tables of ``attribute`` and ``probe``, of one seed or several.
        overwrite: compute it again even if it is there.

    Raises:
        ParentError: those tables are missing, or not of one checkpoint.
        InputError: the probe measured less than the paper's universe of the top 30 per cent.
    """
    refuse_smaller_universe(project)
    store = FeatureStore.open(FEATURES.of(project))
    runs = probed_seeds(project, store)
    parents = parents_of(store, runs)
    output = TABLE.of(project)
    made = output.made_from({"protocol": "alignment", "bins": BINS, "top": TOP}, parents)
    ran = overwrite or not output.is_current(made)
    if ran:
        found: dict[Key, list[SeedScores]] = {}
        skipped = []
        for run in runs:
            binned = binned_pairs(run, store)
            skipped.append((run.seed, binned.left_out))
            for key, part in _parts(run.seed, binned.pairs, store):
                found.setdefault(key, []).append(part)
        table = pa.Table.from_pylist(list(_rows(found)), ALIGNMENT.schema)
        output.write(table, made, {"skipped": left_out_of(skipped)})
    left_out = output.metadata()["skipped"]
    return StageResult(output.path, made.fingerprint, ran, tuple(left_out))


def mean_of_top(
    values_P: np.ndarray, sample_P: np.ndarray, share: float, counts_RN: np.ndarray
) -> np.ndarray:
    """Mean of the top ``share`` per cent of pairs in each resample of the samples, [R].

    A pair counts as often as its sample was drawn; at least one is taken, and of the last one a part.

    Args:
        values_P: scores.
        sample_P: each pair's sample, an index into the columns of ``counts_RN``.
        share: q, per cent.
        counts_RN: how often each sample is in each resample.
    """
    order = np.argsort(-values_P, kind="stable")
    values_P, sample_P = values_P[order], sample_P[order]
    found = np.empty(len(counts_RN))
    for r, counts_N in enumerate(counts_RN):
        weight_P = counts_N[sample_P].astype(np.float64)
        total = weight_P.sum()
        wanted = max(total * share / 100, 1.0)
        before_P = np.cumsum(weight_P) - weight_P
        taken_P = np.clip(wanted - before_P, 0, weight_P)
        found[r] = (taken_P @ values_P) / taken_P.sum() if total else np.nan
    return found


def means_within(
    values_P: np.ndarray, sample_P: np.ndarray, share: float, counts_RN: np.ndarray
) -> np.ndarray:
    """Mean over samples of the mean of each one's top ``share`` per cent, in each resample, [R].

    For the arguments see ``mean_of_top``.
    """
    one = np.ones((1, 1), dtype=np.int64)
    names = np.unique(sample_P)
    own = [values_P[sample_P == n] for n in names]
    tops_n = np.array([mean_of_top(v, np.zeros(len(v), dtype=int), share, one)[0] for v in own])
    counts_Rn = counts_RN[:, names]
    size_R = counts_Rn.sum(1)
    return np.divide(counts_Rn @ tops_n, size_R, out=np.full(len(size_R), np.nan), where=size_R > 0)


Key = tuple[str, str, str, int]  # expert, score, choice, bin


@dataclass(frozen=True)
class SeedScores:
    """The scores of one seed, expert, score, choice and bin.

    Attributes:
        seed: of the training.
        values_P: scores.
        sample_P: each pair's sample, a row of the store.
        stderr: mean standard error of the scores.
    """

    seed: int
    values_P: np.ndarray
    sample_P: np.ndarray
    stderr: float


def _parts(seed: int, joined: pd.DataFrame, store: FeatureStore) -> Iterator[tuple[Key, SeedScores]]:
    """The scores of one seed by expert, score, choice and bin, in the order of the table's rows."""
    for expert, of_expert in joined.groupby("expert", sort=False):
        bins_of_sample = of_expert.groupby("sample_id")["bin"].transform("nunique")
        pooled = _by_bin(of_expert, store)
        same = _by_bin(of_expert[bins_of_sample == len(BINS)], store)
        for score, (choice, bins) in product(COMPARED, ((POOLED, pooled), (SAME, same), (WITHIN, same))):
            for number, part, sample_P in bins:
                stderr = float(part[score_columns(score)[1]].mean())
                found = SeedScores(seed, part[score].to_numpy(), sample_P, stderr)
                yield (str(expert), score, choice, number), found


def _by_bin(pairs: pd.DataFrame, store: FeatureStore) -> list[tuple[int, pd.DataFrame, np.ndarray]]:
    """Each bin that has pairs, with them and their samples, rows of the store."""
    found = []
    for number in range(len(BINS)):
        part = pairs[pairs["bin"] == number]
        if len(part):
            codes, names = pd.factorize(part["sample_id"])
            rows = np.array([store.index_of(name) for name in names], np.int32)
            found.append((number, part, rows[codes]))
    return found


def _rows(found: dict[Key, list[SeedScores]]) -> Iterator[dict]:
    """Rows of the table: each seed's, then their mean; all of one key on the same resamples."""
    for (expert, score, choice, number), parts in found.items():
        statistic = means_within if choice == WITHIN else mean_of_top
        samples = np.unique(np.concatenate([part.sample_P for part in parts]))
        pairs = max(len(part.values_P) for part in parts)
        counts_RN = resample_counts(len(samples), resamples=int(np.clip(WORK // pairs, 50, 1000)))
        columns = [np.searchsorted(samples, part.sample_P) for part in parts]
        for share in TOP:
            means_SR = np.array(
                [
                    statistic(part.values_P, column, share, counts_RN)
                    for part, column in zip(parts, columns, strict=True)
                ]
            )
            means_SR = means_SR[:, ~np.isnan(means_SR).any(0)]
            key = {"expert": expert, "score": score, "choice": choice, "bin": BINS[number], "top": share}
            for s, part in enumerate(parts):
                yield {"seed": part.seed} | key | _measured(means_SR[[s]], [part])
            yield {"seed": None} | key | _measured(means_SR, parts)


def _measured(means_SR: np.ndarray, parts: list[SeedScores]) -> dict[str, Any]:
    return {
        **spread_over_seeds(means_SR)._asdict(),
        "pairs": sum(len(part.values_P) for part in parts),
        "samples": len(np.unique(np.concatenate([part.sample_P for part in parts]))),
        "stderr": float(np.mean([part.stderr for part in parts])),
    }
