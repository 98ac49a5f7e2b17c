"""Is the sign of SII a property of the class? Means and signs of the pairs, class by class.

A sample counts for each of its true classes, and its pairs make one figure: their mean, and the share of them
that is negative. So a sample with many pairs says no more about its class than another one.

Shapes: N samples, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from raymoe.experiments.bootstrap import resample_counts, spread_over_seeds

LEAST = 3  # samples of a class, for an interval


def by_class(
    samples: pd.DataFrame, labels: Mapping[str, Sequence[int]], classes: Sequence[str]
) -> Iterator[dict]:
    """Rows of ``CLASSES``: each seed's, then their mean, of every class with at least ``LEAST`` samples.

    Args:
        samples: rows of ``SAMPLES``.
        labels: class indices of each sample, by its id.
        classes: names.
    """
    for (expert, u, v), every in samples.groupby(["expert", "u_modality", "v_modality"], sort=False):
        seeds = sorted(every["seed"].unique())
        for number, name in enumerate(classes):
            of_class = every[[number in labels[sample_id] for sample_id in every["sample_id"]]]
            names = np.unique(of_class["sample_id"])
            if len(names) < LEAST:
                continue
            counts_RN = resample_counts(len(names))
            found: dict[str, list[np.ndarray]] = {"mean": [], "negative": []}
            measured = [seed for seed in seeds if (of_class["seed"] == seed).any()]
            for seed in measured:
                of_seed = of_class[of_class["seed"] == seed]
                own_RN = counts_RN[:, np.searchsorted(names, of_seed["sample_id"])]
                for quantity, values in found.items():
                    values.append(own_RN @ of_seed[quantity].to_numpy() / np.maximum(own_RN.sum(1), 1))
            key = {"expert": expert, "u_modality": u, "v_modality": v, "class": name, "samples": len(names)}
            for i, seed in enumerate(measured):
                yield key | {"seed": seed} | _figures({q: values[i][None] for q, values in found.items()})
            yield key | {"seed": None} | _figures({q: np.stack(values) for q, values in found.items()})


def _figures(found: dict[str, np.ndarray]) -> dict[str, float | None]:
    """Each quantity, [S, R], with its interval."""
    figures: dict[str, float | None] = {}
    for quantity, values_SR in found.items():
        spread = spread_over_seeds(values_SR)
        figures |= {quantity: spread.mean, f"{quantity}_low": spread.low, f"{quantity}_high": spread.high}
    return figures
