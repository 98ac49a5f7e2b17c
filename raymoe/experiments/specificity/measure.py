"""Is it a pair at all? The two-way decomposition of SII within each sample (``interactions.two_way``).

Within a sample the variance of SII between pairs is cut into what the words explain, what the patches explain
and what is left for the pairs, with the part of that which is noise of the estimate. Over a split the parts
are added up before their shares are taken, so that samples where nothing happens do not count.

Shapes: N samples, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from raymoe.display.pair_shares import NEEDED, shares_of
from raymoe.experiments.bootstrap import resample_counts, spread_over_seeds
from raymoe.experiments.probed_runs import left_out_of, parents_of, probed_seeds, reasons_of
from raymoe.experiments.specificity import (
    CLASSES,
    CLASSES_TABLE,
    SAMPLES,
    SAMPLES_TABLE,
    SPECIFICITY,
    TABLE,
)
from raymoe.experiments.specificity.classes import by_class
from raymoe.features.store import FeatureStore
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES

KEYS = ("expert", "sample_id", "u_modality", "v_modality")


def measure(project: Project, *, overwrite: bool = False) -> StageResult:
    """Decompose the SII of every probed sample and expert.

    Writes ``evaluation/specificity.parquet``, of every seed that was probed and their mean,
    ``evaluation/specificity-samples.parquet`` and ``evaluation/specificity-classes.parquet``.

    Args:
        project: has tables of ``probe``, of one seed or several.
        overwrite: compute it again even if it is there.

    Raises:
        ParentError: those tables are missing, or not of one checkpoint.
    """
    store = FeatureStore.open(FEATURES.of(project))
    runs = probed_seeds(project, store)
    parents = parents_of(store, runs)
    output, of_samples, of_classes = (t.of(project) for t in (TABLE, SAMPLES_TABLE, CLASSES_TABLE))
    settings = {"protocol": "specificity"}
    made, made_samples, made_classes = (
        table.made_from(settings, parents) for table in (output, of_samples, of_classes)
    )
    ran = overwrite or not (
        output.is_current(made)
        and of_samples.is_current(made_samples)
        and of_classes.is_current(made_classes)
    )
    if ran:
        frames, skipped = [], []
        for run in runs:
            frames.append(decomposed(run.pairs().select([*KEYS, *NEEDED]).to_pandas()).assign(seed=run.seed))
            skipped.append((run.seed, reasons_of(run.probe_metadata["skipped"])))
        samples = pd.concat(frames, ignore_index=True)
        notes = {"skipped": left_out_of(skipped)}
        rows = samples.astype(object).where(samples.notna(), None).to_dict("records")
        of_samples.write(pa.Table.from_pylist(rows, SAMPLES.schema), made_samples, notes)
        labels = {sample_id: store.labels[store.index_of(sample_id)] for sample_id in samples["sample_id"]}
        classes = list(by_class(samples, labels, store.classes))
        of_classes.write(pa.Table.from_pylist(classes, CLASSES.schema), made_classes, notes)
        output.write(pa.Table.from_pylist(list(_rows(samples)), SPECIFICITY.schema), made, notes)
    return StageResult(output.path, made.fingerprint, ran, tuple(output.metadata()["skipped"]))


def decomposed(pairs: pd.DataFrame) -> pd.DataFrame:
    """The decomposition of each sample, expert and pair of modalities: rows of ``SAMPLES`` without the seed.

    Args:
        pairs: rows of the interactions table.
    """
    rows = []
    for key, of_sample in pairs.groupby(list(KEYS), sort=False):
        found = shares_of({name: of_sample[name].to_numpy() for name in NEEDED})
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {"pairs": len(of_sample), "mean": of_sample["sii"].mean()}
            | {"negative": (of_sample["sii"] < 0).mean()}
            | (found._asdict() if found else {})
        )
    names = [name for name in SAMPLES.schema.names if name != "seed"]
    return pd.DataFrame(rows).reindex(columns=names)


QUANTITIES = ("between", "first", "second", "own", "noise", "own_of_signal", "noise_of_own", "above_noise")


def quantities(samples: pd.DataFrame, counts_RN: np.ndarray) -> dict[str, np.ndarray]:
    """Each of ``QUANTITIES`` in every resample, [R]; NaN where there is nothing to take a share of.

    ``between`` is the share of the samples' means in the variance of all pairs; ``first``, ``second``,
    ``own`` (without its noise) and ``noise`` are shares of what lies within samples, and ``own_of_signal`` is
    that of ``own`` without any noise; ``noise_of_own`` is the noise over ``own`` in the median sample, and
    ``above_noise`` the share of the samples where the pairs' own part is above its noise.

    Args:
        samples: rows of ``SAMPLES``, one per column of ``counts_RN``.
        counts_RN: how often each sample is in each resample.
    """
    numbers = ("mean", "total", "first", "second", "own", "noise", "above_noise")
    column = {name: samples[name].to_numpy(dtype=np.float64) for name in numbers}
    size_R = counts_RN.sum(1)
    total_R, noise_R = (counts_RN @ column[name] for name in ("total", "noise"))
    own_R = counts_RN @ column["own"] - noise_R
    mean_R, square_R = (counts_RN @ column["mean"] ** power / size_R for power in (1, 2))
    between_R = np.maximum(square_R - mean_R**2, 0)
    own_N = np.maximum(column["own"] - column["noise"], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise_of_own_N = np.nan_to_num(column["noise"] / own_N, nan=np.inf, posinf=np.inf)
    return {
        "between": _share(between_R, between_R + total_R / size_R),
        "first": _share(counts_RN @ column["first"], total_R),
        "second": _share(counts_RN @ column["second"], total_R),
        "own": _share(own_R, total_R),
        "noise": _share(noise_R, total_R),
        "own_of_signal": _share(own_R, total_R - noise_R),
        "noise_of_own": _median(noise_of_own_N, counts_RN),
        "above_noise": counts_RN @ column["above_noise"] / size_R,
    }


def _share(part_R: np.ndarray, whole_R: np.ndarray) -> np.ndarray:
    return np.divide(part_R, whole_R, out=np.full(len(whole_R), np.nan), where=whole_R > 0)


def _median(values_N: np.ndarray, counts_RN: np.ndarray) -> np.ndarray:
    """The lower median of each resample; NaN where that is infinite."""
    order = np.argsort(values_N, kind="stable")
    weight_RN = np.cumsum(counts_RN[:, order], 1)
    found: np.ndarray = values_N[order][(2 * weight_RN >= weight_RN[:, -1:]).argmax(1)]
    return np.where(np.isfinite(found), found, np.nan)


def _rows(samples: pd.DataFrame) -> Iterator[dict]:
    """Rows of the table: each seed's, then their mean; all of one expert on the same resamples."""
    for (expert, u, v), every in samples.groupby(["expert", "u_modality", "v_modality"], sort=False):
        known = every[every["own"].notna()]
        names = np.unique(known["sample_id"])
        if not len(names):
            continue
        counts_RN = resample_counts(len(names))
        seeds = sorted(known["seed"].unique())
        found = []
        for seed in seeds:
            of_seed = known[known["seed"] == seed]
            found.append(quantities(of_seed, counts_RN[:, np.searchsorted(names, of_seed["sample_id"])]))
        key = {"expert": expert, "u_modality": u, "v_modality": v}
        count = {"samples": len(names), "left_out": every["sample_id"].nunique() - len(names)}
        for quantity in QUANTITIES:
            values_SR = np.array([of_seed[quantity] for of_seed in found])
            for seed, values_R in zip(seeds, values_SR, strict=True):
                yield key | {"seed": seed, "quantity": quantity} | _measured(values_R[None]) | count
            yield key | {"seed": None, "quantity": quantity} | _measured(values_SR) | count


def _measured(values_SR: np.ndarray) -> dict[str, float | None]:
    found = spread_over_seeds(values_SR)
    if np.isnan(found.mean):  # a share of nothing, in one of the seeds
        return {"value": None, "low": found.low, "high": found.high, "std": None}
    return {"value": found.mean, "low": found.low, "high": found.high, "std": found.std}
