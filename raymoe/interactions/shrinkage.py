"""Drawing noisy corrections of many pairs towards what is known without them.

A model's index and a correction that is unbiased but noisy: taking a share of the correction is a bias for
every pair, and less wrong for all of them together (James and Stein, 1961). How large a share is right shows
in the corrections: their mean square over pairs is noise and signal, and replicates tell the noise.

Shapes: R replicates, p pairs.
"""

from __future__ import annotations

import numpy as np

FEWEST = 3  # pairs: fewer don't tell the signal
DOUBTS = 1.5  # standard errors of the signal that its bias is allowed for


def shrunk(whole_rp: np.ndarray, start_rp: np.ndarray, fold_r: np.ndarray) -> tuple[np.ndarray, float]:
    """Replicates whose mean is the better estimate, and whose spread tells its root mean square error.

    Args:
        whole_rp: unbiased estimates.
        start_rp: what each of them has from a model.
        fold_r: which model; replicates of one fold have the same but for its own noise.

    Returns:
        The replicates, [R, p], and the share of the correction that was taken.
    """
    replicates, p = whole_rp.shape
    correction_rp = whole_rp - start_rp
    noise = _within(correction_rp, fold_r)
    spread_p = whole_rp.var(0, ddof=1) / replicates
    if p < FEWEST or not noise > 0 or not spread_p.mean() > 0:
        return whole_rp, 1.0
    signal = _signal(correction_rp)
    left_out = np.array([_signal(np.delete(correction_rp, r, 0)) for r in range(replicates)])
    doubt = np.sqrt((replicates - 1) / replicates * ((left_out - left_out.mean()) ** 2).sum())
    doubt = max(float(doubt), np.sqrt(2 / p) * noise)
    share = max(signal, 0.0) / (max(signal, 0.0) + noise)
    # the noise of the share, the bias of the rest, and what the model's own index may be off
    most = max(signal, 0.0) + DOUBTS * doubt
    noise_p = spread_p * (noise / spread_p.mean())
    square_p = share**2 * noise_p + (1 - share) ** 2 * most + _within(start_rp, fold_r)
    mean_p = start_rp.mean(0) + share * correction_rp.mean(0)
    scale_p = np.sqrt(np.divide(square_p, spread_p, out=np.ones(p), where=spread_p > 0))
    return mean_p + scale_p * (whole_rp - whole_rp.mean(0)), share


def _within(values_rp: np.ndarray, fold_r: np.ndarray) -> float:
    """Variance of the mean over replicates, of a pair on average, from their spread within folds."""
    square, free = 0.0, 0
    for fold in np.unique(fold_r):
        own = values_rp[fold_r == fold]
        square += float(((own - own.mean(0)) ** 2).mean(1).sum())
        free += len(own) - 1
    return square / max(free, 1) / len(values_rp)


def _signal(correction_rp: np.ndarray) -> float:
    """Mean square over pairs of what the corrections are of, less that of their noise."""
    noise = correction_rp.var(0, ddof=1).mean() / len(correction_rp)
    return float((correction_rp.mean(0) ** 2).mean() - noise)
