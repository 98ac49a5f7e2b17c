"""The estimator ``paper``: four evaluations per pair and coalition, contexts drawn per pair (paper §3.2.2).

The baseline; kept for comparison.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np

from raymoe.interactions.games.game import Game, evaluate
from raymoe.interactions.sampling.coalitions import SizeLaw, pair_contexts
from raymoe.interactions.sums import RunningSums, corner_terms, independent_sums

MIN_COALITIONS = 2
MASKS_AT_ONCE = 1 << 16  # bounds the memory of masks and values


def paper_sums(
    game: Game, pairs: np.ndarray, n: int, start: int, stop: int, seed: int, law: SizeLaw
) -> RunningSums:
    """Sums over the contexts ``start..stop`` of every pair."""
    step = max(1, MASKS_AT_ONCE // (4 * len(pairs)))
    if stop - start > step:
        cuts = range(start, stop, step)
        blocks = (paper_sums(game, pairs, n, i, min(i + step, stop), seed, law) for i in cuts)
        return reduce(add, blocks)
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
