"""Pairs by the importance of their features: three bins of each sample's and expert's universe (paper §4.3).

The bins are the top 10, 11 to 20 and 21 to 30 per cent of each modality's features, by rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from raymoe.display.vocabulary import COMPARED, score_columns
from raymoe.errors import InputError
from raymoe.experiments.probed_runs import ProbedRun, reasons_of
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import select_candidates
from raymoe.project import Project

BINS = ("top 10 %", "11-20 %", "21-30 %")
RHO = 0.3  # the universe that the bins make up together
KEYS = ["sample_id", "expert", "u_modality", "u", "v_modality", "v"]


@dataclass(frozen=True)
class BinnedPairs:
    """The measured pairs of a run by importance bin.

    Attributes:
        pairs: a row per sample, expert and pair, with ``bin``, scores and their standard errors.
        left_out: samples of its tables without any pair, and why.
    """

    pairs: pd.DataFrame
    left_out: dict[str, str]


def refuse_smaller_universe(project: Project) -> None:
    """Raise InputError where the probe measures less than the top 30 per cent of the features."""
    if project.preset.probe.rho < RHO:
        raise InputError(
            f"probe.rho is {project.preset.probe.rho:g}: the bins need the top 30 per cent of the features",
            f"Measure them with: {project.command('probe')} --set probe.rho=0.3 --overwrite",
        )


def binned_pairs(run: ProbedRun, store: FeatureStore) -> BinnedPairs:
    """Join what ``attribute`` and ``probe`` wrote for a run.

    Raises:
        ParentError: a table is damaged.
        InputError: the probe measured other pairs than those within the bins.
    """
    table = run.pairs()
    binned = bins_of(store, run.importance(), run.experts)
    found = table.select(
        [*KEYS, *(column for score in COMPARED for column in score_columns(score))]
    ).to_pandas()
    joined = binned.merge(found, on=KEYS, how="left", indicator=True)
    samples = set(found["sample_id"])
    joined = joined[joined["sample_id"].isin(samples)]
    absent = int((joined["_merge"] == "left_only").sum())
    if absent:
        raise InputError(
            f"{absent} of {len(joined)} pairs within a bin were not measured",
            f"Measure them with: {run.command('probe')} --set probe.num_bins=1 --overwrite",
        )
    skipped = [*run.importance_metadata["skipped"], *run.probe_metadata["skipped"]]
    return BinnedPairs(joined, reasons_of(skipped))


def bins_of(store: FeatureStore, importance: pa.Table, experts: list[str]) -> pd.DataFrame:
    """Every cross-modal pair within a bin: a row per sample, expert and pair, with its ``bin``."""
    frame = importance.to_pandas()
    scores = {
        key: dict(zip(group["modality"], group["scores"], strict=True))
        for key, group in frame[frame["expert"].isin(experts)].groupby(["sample_id", "expert"], sort=False)
    }
    parts = []
    for (sample_id, expert), of_modality in scores.items():
        allowed = store.candidates(store.index_of(sample_id))
        ordered = {name: of_modality[name] for name in allowed}
        candidates = select_candidates(ordered, allowed, rho=RHO, num_bins=len(BINS))
        if not len(candidates.pairs):
            continue
        modalities, positions = zip(*candidates.players, strict=True)
        modality_n, position_n = np.array(modalities), np.array(positions, dtype=np.int32)
        first, second = candidates.pairs.T
        parts.append(
            pd.DataFrame(
                {
                    "sample_id": sample_id,
                    "expert": expert,
                    "u_modality": modality_n[first],
                    "u": position_n[first],
                    "v_modality": modality_n[second],
                    "v": position_n[second],
                    "bin": candidates.pair_bins,
                }
            )
        )
    if not parts:
        raise InputError("no sample has a pair within a bin", "Look at the samples' texts.")
    return pd.concat(parts, ignore_index=True)
