"""Which features and pairs are measured: universe, importance bins, cross-modal pairs (paper §3.2.2, §4.3).

Defined for every case: ties go to the earlier position; special and invalid positions are never candidates; a
modality without candidates takes part in no pair; a sample without any cross-modal pair has none (``pairs``
is empty) and is for the caller to list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidates:
    """The universe of one sample and expert, and the pairs to measure.

    Attributes:
        players: (modality, position) of each of the n features, by modality, then position.
        bins: importance bin of each player, [n]; 0 holds the most important ones.
        pairs: int64 [p, 2], indices into ``players``; the first of a pair is of the earlier modality.
        pair_bins: int64 [p].
    """

    players: list[tuple[str, int]]
    bins: np.ndarray
    pairs: np.ndarray
    pair_bins: np.ndarray


def select_candidates(
    scores: dict[str, np.ndarray],
    allowed: dict[str, np.ndarray],
    *,
    rho: float,
    min_features: int = 1,
    num_bins: int = 1,
) -> Candidates:
    """The top-rho share of each modality, cut into bins, and all cross-modal pairs within a bin.

    The alignment experiment (paper §4.3) takes rho = 0.3 and three bins; the pool for pair masking (§4.4) is
    rho = 0.1.

    Args:
        scores: importance per modality, [T_m].
        allowed: per modality [T_m]; True where the position is valid and not special.
        rho: share of each modality's allowed positions, rounded up.
        min_features: at least so many of each modality, where it has them.
        num_bins: bins of equal share by rank; with rho = 0.3 and 3 bins top-10 %, 11-20 % and 21-30 %.
    """
    players: list[tuple[str, int]] = []
    bins: list[np.ndarray] = []
    owner: list[int] = []
    for index, (name, values) in enumerate(scores.items()):
        positions = np.flatnonzero(allowed[name])
        ranked = positions[np.argsort(-np.asarray(values)[positions], kind="stable")]
        size = max(_ceil(rho * len(positions)), min(min_features, len(positions)))
        edges = [min(_ceil(size * (b + 1) / num_bins), size) for b in range(num_bins)]
        ranks = np.argsort(ranked[:size])  # of the chosen positions, in the order of the sequence
        players += [(name, position) for position in ranked[ranks].tolist()]
        bins.append(np.searchsorted(edges, ranks, side="right"))
        owner += [index] * size
    owner_n, bins_n = np.array(owner, dtype=np.int64), np.concatenate(bins).astype(np.int64)
    first, second = np.triu_indices(len(players), 1)
    chosen = (owner_n[first] != owner_n[second]) & (bins_n[first] == bins_n[second])
    pairs = np.stack([first[chosen], second[chosen]], axis=1).astype(np.int64)
    return Candidates(players, bins_n, pairs, bins_n[pairs[:, 0]])


def _ceil(x: float) -> int:
    """Ceiling that forgives the last digits of a product such as 0.07 * 100."""
    return math.ceil(round(x, 9))
