"""Are the pairs of important features those that interact (paper §4.3, Fig. 4)?

Features of each sample are cut into three bins by importance (top 10, 11 to 20, 21 to 30 per cent of each
modality); of all pairs within a bin the mean score of the top q per cent is taken over the whole split.
Shapes: P pairs, N samples, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.table import Table

from raymoe.chosen import with_chosen
from raymoe.errors import InputError, ParentError
from raymoe.evaluation.bootstrap import interval, resample_counts
from raymoe.evaluation.runs import is_current, print_left_out
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import select_candidates
from raymoe.interactions_table import read_interactions, read_interactions_metadata
from raymoe.models.checkpoint import read_info
from raymoe.progress import console, plain_table
from raymoe.project import Project, StageResult
from raymoe.tables import ALIGNMENT, IMPORTANCE, Provenance, metadata_of, read_table, write_table

BINS = ("top 10 %", "11-20 %", "21-30 %")
RHO = 0.3
TOP = (5, 10, 20)  # q, per cent of a bin's pairs
SCORES = {"sii": "SII", "redundancy_gap": "redundancy gap"}
OF_PAPER = {"sii": "synergy", "redundancy_gap": "redundancy"}  # the expert whose score Fig. 4 shows
KEYS = ["sample_id", "expert", "u_modality", "u", "v_modality", "v"]
WORK = 2_000_000_000  # pairs times resamples at most


def alignment(project: Project, *, overwrite: bool = False) -> StageResult:
    """Mean scores per expert, score, bin and q, from the tables of ``attribute`` and ``probe``.

    Prints what Fig. 4 shows and writes ``evaluation/alignment.parquet`` in the run's folder, with 95 %
    intervals of a bootstrap over samples. Its metadata has ``skipped``: samples without a pair, and why.

    Args:
        project: has tables of ``attribute`` and ``probe``.
        overwrite: compute it again even if it is there.

    Raises:
        ParentError: those tables are missing, or not of one checkpoint.
        InputError: the probe measured less than the paper's universe of the top 30 per cent.
    """
    project = with_chosen(project)
    workspace = project.workspace
    binned = binned_pairs(project)
    settings = {"protocol": "alignment", "bins": BINS, "top": TOP}
    made = Provenance("evaluate", ALIGNMENT.tag, settings, binned.parents)
    name = f"{project.run}/evaluation/alignment.parquet"
    ran = overwrite or not is_current(workspace, name, ALIGNMENT, made)
    if ran:
        table = pa.Table.from_pylist(list(_rows(binned.pairs)), ALIGNMENT.schema)
        left_out = binned.left_out.items()
        skipped = [{"sample_id": i, "row": None, "reason": reason} for i, reason in left_out]
        write_table(workspace, name, table, ALIGNMENT, made, {"skipped": skipped})
    table = read_table(workspace, name, ALIGNMENT, f"{project.command('evaluate')} alignment --overwrite")
    skipped = metadata_of(table.schema)["skipped"]
    console.print(_table(table.to_pylist()))
    print_left_out(skipped)
    return StageResult(workspace.path(name), made.fingerprint, ran, tuple(skipped))


@dataclass(frozen=True)
class BinnedPairs:
    """The measured pairs of a run by importance bin.

    Attributes:
        store: the features.
        pairs: a row per sample, expert and pair, with ``bin``, scores and their standard errors.
        experts: those that were probed, in order.
        parents: fingerprints of the tables that it comes from, by name.
        left_out: samples of those tables without any pair, and why.
    """

    store: FeatureStore
    pairs: pd.DataFrame
    experts: list[str]
    parents: dict[str, str]
    left_out: dict[str, str]


def binned_pairs(project: Project) -> BinnedPairs:
    """Join what ``attribute`` and ``probe`` wrote.

    Raises:
        ParentError: a table is missing, or was made from another checkpoint than the one that is there.
        InputError: the probe measured less than the top 30 per cent, or other pairs.
    """
    workspace, config = project.workspace, project.preset.probe
    if config.rho < RHO:
        raise InputError(
            f"probe.rho is {config.rho:g}: the bins need the top 30 per cent of the features",
            f"Measure them with: {project.command('probe')} --set probe.rho=0.3 --overwrite",
        )
    made_by = project.command("probe")
    metadata = read_interactions_metadata(workspace, project.run, made_by)
    table = read_interactions(workspace, project.run, made_by)
    name = f"{project.run}/importance.arrow"
    importance = read_table(workspace, name, IMPORTANCE, project.command("attribute"))
    of_importance = metadata_of(importance.schema)
    store = FeatureStore.open(workspace, project.features, project.command("encode"))
    _refuse_mixed(project, store, of_importance, metadata)
    binned = bins_of(store, importance, list(metadata["experts"]))
    found = table.select([*KEYS, *SCORES, *(f"{score}_stderr" for score in SCORES)]).to_pandas()
    joined = binned.merge(found, on=KEYS, how="left", indicator=True)
    samples = set(found["sample_id"])
    joined = joined[joined["sample_id"].isin(samples)]
    absent = int((joined["_merge"] == "left_only").sum())
    if absent:
        raise InputError(
            f"{absent} of {len(joined)} pairs within a bin were not measured",
            f"Measure them with: {made_by} --set probe.num_bins=1 --overwrite",
        )
    parents = {
        "importance": of_importance["fingerprint"],
        "probe": metadata["fingerprint"],
        "features": store.fingerprint,
    }
    skipped = [*of_importance["skipped"], *metadata["skipped"]]
    left_out = {entry["sample_id"]: entry["reason"] for entry in skipped}
    return BinnedPairs(store, joined, list(metadata["experts"]), parents, left_out)


def _refuse_mixed(
    project: Project, store: FeatureStore, importance: dict[str, Any], probe: dict[str, Any]
) -> None:
    """Raise unless the tables are of the checkpoint and the features there, and one of the other."""
    workspace, run = project.workspace, project.run
    info = read_info(workspace, f"{run}/checkpoint", project.command("train"))
    if info.features != store.fingerprint:
        raise ParentError(
            f"{workspace.path(run)}/checkpoint was trained on features {info.features}, those in "
            f"{workspace.path(project.features)} are {store.fingerprint}",
            f"Train again with: {project.command('train')} --overwrite; then attribute and probe again.",
        )
    found = Provenance.from_json(importance["made_by"]).parents.get("checkpoint")
    if found != info.fingerprint:
        raise ParentError(
            f"{workspace.path(run)}/importance.arrow was made from checkpoint {found}, the one there is "
            f"{info.fingerprint}",
            f"Make it again with: {project.command('attribute')} --overwrite; then probe again.",
        )
    parents = Provenance.from_json(probe["made_by"]).parents
    wanted = {"checkpoint": info.fingerprint, "importance": importance["fingerprint"]}
    for parent, fingerprint in wanted.items():
        if parents.get(parent) != fingerprint:
            raise ParentError(
                f"the interactions in {workspace.path(run)} were made from {parent} {parents.get(parent)}, "
                f"the one there is {fingerprint}",
                f"Measure them again with: {project.command('probe')} --overwrite",
            )


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


def _rows(joined: pd.DataFrame) -> Iterator[dict]:
    for expert, of_expert in joined.groupby("expert", sort=False):
        for score in SCORES:
            for number, label in enumerate(BINS):
                part = of_expert[of_expert["bin"] == number]
                if part.empty:
                    continue
                codes, names = pd.factorize(part["sample_id"])
                resamples = int(np.clip(WORK // len(part), 50, 1000))
                counts = resample_counts(len(names), resamples=resamples)
                for share in TOP:
                    means = mean_of_top(part[score].to_numpy(), codes, share, counts)
                    low, high = interval(means[~np.isnan(means)])
                    yield {
                        "expert": expert,
                        "score": score,
                        "bin": label,
                        "top": share,
                        "mean": float(means[0]),
                        "low": low,
                        "high": high,
                        "pairs": len(part),
                        "samples": len(names),
                        "stderr": float(part[f"{score}_stderr"].mean()),
                    }


def _table(rows: list[dict]) -> Table:
    """Fig. 4 as a table: the synergy expert's SII and the redundancy expert's gap."""
    table = plain_table("alignment (Fig. 4): mean score of the top pairs of each bin, 95 % over samples")
    table.add_column("pairs of features")
    for column in ("pairs", "top", "mean", "95 % interval"):
        table.add_column(column, justify="right")
    for score, label in SCORES.items():
        last = None
        for row in rows:
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
            )
    return table
