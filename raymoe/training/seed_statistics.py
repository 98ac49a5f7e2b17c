"""Scores over seeds, as the paper reports them: mean ± standard deviation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (divided by n - 1); None for the deviation of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of fractions as text in per cent; a dash where there are none."""
    if not values:
        return "–"
    mean, deviation = mean_and_std(values)
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")
