"""An estimator of a few lines, as somebody would add one: contexts from random orders of the players."""

from typing import ClassVar

import numpy as np

from raymoe.interactions.estimators import CoalitionEstimator, Question
from raymoe.interactions.games.game import evaluate
from raymoe.interactions.sampling.coalitions import generator
from raymoe.interactions.sums import RunningSums, corner_terms, independent_sums, whole_terms

TOY = 1000  # the number of its random stream


class Toy(CoalitionEstimator):
    """Permutation sampling: the pair stands somewhere in a random order; who comes before is its context."""

    name: ClassVar[str] = "toy"

    def evaluations_per_coalition(self, pairs: np.ndarray) -> int:
        return 4 * len(pairs)

    def block_sums(self, question: Question, coalitions: int, start: int, stop: int) -> RunningSums:
        n, pairs = question.num_players, question.pairs
        contexts_kpn = np.zeros((stop - start, len(pairs), n), dtype=bool)
        for number in range(start, stop):
            order, cut = self._draw(question.seed, number, n)
            for i, pair in enumerate(pairs):
                others = order[~np.isin(order, pair)]
                contexts_kpn[number - start, i, others[: int(cut * (n - 1))]] = True
        corners_4kpn = np.repeat(contexts_kpn[None], 4, 0)
        for i, (u, v) in enumerate(pairs):
            corners_4kpn[[1, 3], :, i, u] = True
            corners_4kpn[[2, 3], :, i, v] = True
        values = evaluate(question.game, corners_4kpn.reshape(-1, n))
        terms = corner_terms(*values.reshape(4, stop - start, len(pairs)))
        return independent_sums(*whole_terms(terms, question.two_way))

    @staticmethod
    def _draw(seed: int, number: int, n: int) -> tuple[np.ndarray, float]:
        """An order of the players, and where in it a pair stands, 0 to 1."""
        rng = generator(seed, TOY, number)
        return rng.permutation(n), rng.random()
