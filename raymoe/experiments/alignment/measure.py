"""Are the pairs of important features those that interact (paper §4.3, Fig. 4)?

Features of each sample are cut into three bins by importance (top 10, 11 to 20, 21 to 30 per cent of each
modality); of all pairs within a bin the mean score of the top q per cent is taken over the whole split.
Shapes: P pairs, N samples, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.table import Table

from raymoe.errors import InputError
from raymoe.experiments.bootstrap import interval, resample_counts
from raymoe.experiments.probed import ProbedRun, left_out_of, probed_seeds
from raymoe.experiments.runs import is_current, over_seeds, print_left_out, seeds_of, seeds_said
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import select_candidates
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES
from raymoe.project.chosen import with_chosen
from raymoe.project.contracts import ALIGNMENT
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from raymoe.runtime.progress import console, plain_table

BINS = ("top 10 %", "11-20 %", "21-30 %")
RHO = 0.3
TOP = (5, 10, 20)  # q, per cent of a bin's pairs
SCORES = {"sii": "SII", "redundancy_gap": "redundancy gap"}
OF_PAPER = {"sii": "synergy", "redundancy_gap": "redundancy"}  # the expert whose score Fig. 4 shows
KEYS = ["sample_id", "expert", "u_modality", "u", "v_modality", "v"]
WORK = 2_000_000_000  # pairs times resamples at most


def alignment(project: Project, *, overwrite: bool = False) -> StageResult:
    """Mean scores per expert, score, bin and q, from the tables of ``attribute`` and ``probe``.

    Prints what Fig. 4 shows and writes ``evaluation/alignment.parquet``: of every seed that was probed and
    their mean, with 95 % intervals of a bootstrap over samples. Its metadata has ``skipped``: samples without
    a pair, and why.

    Args:
        project: has tables of ``attribute`` and ``probe``, of one seed or several.
        overwrite: compute it again even if it is there.

    Raises:
        ParentError: those tables are missing, or not of one checkpoint.
        InputError: the probe measured less than the paper's universe of the top 30 per cent.
    """
    project = with_chosen(project)
    workspace = project.workspace
    refuse_smaller_universe(project)
    store = FeatureStore.open(FEATURES.of(project))
    runs = probed_seeds(project, store)
    parents = {"features": store.fingerprint}
    for run in runs:
        parents |= run.parents
    settings = {"protocol": "alignment", "bins": BINS, "top": TOP}
    made = Provenance("evaluate", ALIGNMENT.tag, settings, parents)
    name = f"{project.root}/evaluation/alignment.parquet"
    ran = overwrite or not is_current(workspace, name, ALIGNMENT, made)
    if ran:
        found: dict[Key, list[Part]] = {}
        skipped = []
        for run in runs:
            binned = binned_pairs(run, store)
            skipped.append((run.seed, binned.left_out))
            for key, part in _parts(run.seed, binned.pairs, store):
                found.setdefault(key, []).append(part)
        table = pa.Table.from_pylist(list(_rows(found)), ALIGNMENT.schema)
        write_table(workspace, name, table, ALIGNMENT, made, {"skipped": left_out_of(skipped)})
    table = read_table(workspace, name, ALIGNMENT, f"{project.command('evaluate')} alignment --overwrite")
    left_out = metadata_of(table.schema)["skipped"]
    console.print(_table(table.to_pylist()))
    print_left_out(left_out)
    return StageResult(workspace.path(name), made.fingerprint, ran, tuple(left_out))


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
    found = table.select([*KEYS, *SCORES, *(f"{score}_stderr" for score in SCORES)]).to_pandas()
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
    return BinnedPairs(joined, {entry["sample_id"]: entry["reason"] for entry in skipped})


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


Key = tuple[str, str, int]  # expert, score, bin


@dataclass(frozen=True)
class Part:
    """The scores of one seed, expert, score and bin.

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


def _parts(seed: int, joined: pd.DataFrame, store: FeatureStore) -> Iterator[tuple[Key, Part]]:
    """Of one seed, in the order of the table's rows."""
    for expert, of_expert in joined.groupby("expert", sort=False):
        for score in SCORES:
            for number in range(len(BINS)):
                part = of_expert[of_expert["bin"] == number]
                if len(part):
                    codes, names = pd.factorize(part["sample_id"])
                    rows = np.array([store.index_of(name) for name in names], np.int32)
                    stderr = float(part[f"{score}_stderr"].mean())
                    yield (expert, score, number), Part(seed, part[score].to_numpy(), rows[codes], stderr)


def _rows(found: dict[Key, list[Part]]) -> Iterator[dict]:
    """Of the table: each seed's, then their mean; all of one key on the same resamples of the samples."""
    for (expert, score, number), parts in found.items():
        samples = np.unique(np.concatenate([part.sample_P for part in parts]))
        pairs = max(len(part.values_P) for part in parts)
        counts_RN = resample_counts(len(samples), resamples=int(np.clip(WORK // pairs, 50, 1000)))
        columns = [np.searchsorted(samples, part.sample_P) for part in parts]
        for share in TOP:
            means_SR = np.array(
                [
                    mean_of_top(part.values_P, column, share, counts_RN)
                    for part, column in zip(parts, columns, strict=True)
                ]
            )
            means_SR = means_SR[:, ~np.isnan(means_SR).any(0)]
            key = {"expert": expert, "score": score, "bin": BINS[number], "top": share}
            for s, part in enumerate(parts):
                yield {"seed": part.seed} | key | _measured(means_SR[[s]], [part])
            yield {"seed": None} | key | _measured(means_SR, parts)


def _measured(means_SR: np.ndarray, parts: list[Part]) -> dict[str, Any]:
    low, high = interval(means_SR.mean(0))
    return {
        "mean": float(means_SR[:, 0].mean()),
        "low": low,
        "high": high,
        "std": float(means_SR[:, 0].std(ddof=1)) if len(parts) > 1 else None,
        "pairs": sum(len(part.values_P) for part in parts),
        "samples": len(np.unique(np.concatenate([part.sample_P for part in parts]))),
        "stderr": float(np.mean([part.stderr for part in parts])),
    }


def _table(rows: list[dict]) -> Table:
    """Fig. 4 as a table: the synergy expert's SII and the redundancy expert's gap."""
    seeds = seeds_of(rows)
    table = plain_table(
        "alignment (Fig. 4): mean score of the top pairs of each bin, 95 % over samples,\n"
        + seeds_said(seeds)
    )
    table.add_column("pairs of features")
    for column in ("pairs", "top", "mean", "95 % interval", *(["over seeds"] if len(seeds) > 1 else [])):
        table.add_column(column, justify="right")
    for score, label in SCORES.items():
        last = None
        for row in over_seeds(rows):
            if (row["score"], row["expert"]) != (score, OF_PAPER[score]):
                continue
            if last is None:
                table.add_row(f"[bold]{label}, {OF_PAPER[score]} expert[/]")
            first = row["bin"] != last
            last = row["bin"]
            table.add_row(
                f"  {row['bin']}" if first else "",
                f"{row['pairs']:,}" if first else "",
                f"{row['top']} %",
                f"{row['mean']:.3g}",
                f"{row['low']:.3g} to {row['high']:.3g}",
                *([] if row["std"] is None else [f"± {row['std']:.2g}"]),
            )
    return table
