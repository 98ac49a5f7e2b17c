"""The estimator ``paper``: four evaluations per pair and coalition, contexts drawn per pair (paper §3.2.2).

The baseline; kept for comparison.
"""

from __future__ import annotations

import numpy as np

from raymoe.interactions.coalitions import SizeLaw, pair_contexts
from raymoe.interactions.games import Game, evaluate
from raymoe.interactions.sums import RunningSums, corner_terms, independent_sums

MIN_COALITIONS = 2


def paper_sums(
    game: Game, pairs: np.ndarray, n: int, start: int, stop: int, seed: int, law: SizeLaw
) -> RunningSums:
    """Sums over the contexts ``start..stop`` of every pair."""
    masks = []
    for u, v in pairs:
        contexts = pair_contexts(n, int(u), int(v), start, stop, seed, law)
        four = np.repeat(contexts[None], 4, 0)
        four[[1, 3], :, u] = True
        four[[2, 3], :, v] = True
        masks.append(four)
    masks_4kpn = np.stack(masks, 2)
    values = evaluate(game, masks_4kpn.reshape(-1, n)).reshape(masks_4kpn.shape[:3])
    return independent_sums(*corner_terms(*values))
