"""The estimator ``paper``: four evaluations per pair and coalition, contexts drawn per pair (paper §3.2.2).

The baseline; kept for comparison.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from raymoe.interactions.estimators.base import CoalitionEstimator, Question
from raymoe.interactions.games.game import evaluate
from raymoe.interactions.sampling.coalitions import pair_contexts
from raymoe.interactions.sums import RunningSums, corner_terms, independent_sums, summed, whole_terms

MASKS_AT_ONCE = 1 << 16  # bounds the memory of masks and values


class Paper(CoalitionEstimator):
    """The paper's procedure: each pair has contexts and evaluations of its own."""

    name: ClassVar[str] = "paper"

    def evaluations_per_coalition(self, pairs: np.ndarray) -> int:
        """Four for each pair."""
        return 4 * len(pairs)

    def block_sums(self, question: Question, coalitions: int, start: int, stop: int) -> RunningSums:
        """Sums over the contexts ``start..stop`` of every pair."""
        step = max(1, MASKS_AT_ONCE // (4 * len(question.pairs)))
        cuts = range(start, stop, step)
        return summed(_context_sums(question, first, min(first + step, stop)) for first in cuts)


def _context_sums(question: Question, start: int, stop: int) -> RunningSums:
    n, masks = question.num_players, []
    for u, v in question.pairs:
        contexts = pair_contexts(n, int(u), int(v), start, stop, question.seed, question.law)
        four = np.repeat(contexts[None], 4, 0)
        four[[1, 3], :, u] = True
        four[[2, 3], :, v] = True
        masks.append(four)
    masks_4kpn = np.stack(masks, 2)
    values_4kp = evaluate(question.game, masks_4kpn.reshape(-1, n)).reshape(masks_4kpn.shape[:3])
    return independent_sums(*whole_terms(corner_terms(*values_4kp), question.two_way))
