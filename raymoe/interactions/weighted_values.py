"""The index as a weighted sum of values: what each coalition's value adds to every player's and every pair's.

The index of a pair is the mean over contexts S of f(S+u+v) - f(S+u) - f(S+v) + f(S), so it is a sum over all
coalitions T of f(T) times the probability of T without u and v as a context, with a minus where one of the
two is there (Fumagalli et al., 2023, write SHAP-IQ so). One evaluation informs every pair, and all pairs
together are one product of matrices.

Shapes: m coalitions, n players.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from raymoe.interactions.sampling.coalitions import SizeLaw

AT_ONCE = 1 << 16


def index_of_values(
    coalitions: np.ndarray, values: np.ndarray, law: SizeLaw
) -> tuple[np.ndarray, np.ndarray]:
    """What some coalitions add to the index of every player, [n], and of every pair, [n, n].

    Args:
        coalitions: bool [m, n].
        values: [m]; times how many coalitions each stands for, where they are a sample.
        law: of contexts; says which index it is.
    """
    n = coalitions.shape[1]
    of_none, of_one, of_both, single_none, single_one = _weights(n, law)
    first, second = np.zeros(n), np.zeros((n, n))
    for start in range(0, len(coalitions), AT_ONCE):
        there = coalitions[start : start + AT_ONCE].astype(np.float64)
        value = values[start : start + AT_ONCE]
        size = coalitions[start : start + AT_ONCE].sum(1)
        first += (value @ single_none[size]) + (value * single_one[size]) @ there
        one = (value * of_one[size]) @ there
        second += value @ of_none[size] + one[:, None] + one[None]
        second += there.T @ ((value * of_both[size])[:, None] * there)
    return first, second


def size_weights(n: int, law: SizeLaw) -> np.ndarray:
    """Root mean square of a coalition's weights in the pairs' indices, by its size, [n + 1]."""
    log_each, size = _log_context(n, 2, law), np.arange(n + 1)
    square = np.zeros(n + 1)
    for inside, ways in enumerate((1, 2, 1)):
        context = size - inside
        known = (context >= 0) & (context <= n - 2)
        # how often a coalition of the size has so many of a pair's two players
        log = 2 * log_each[context[known]] + log_choose(n - 2, context[known]) - log_choose(n, size[known])
        square[known] += ways * np.exp(log)
    root: np.ndarray = np.sqrt(square)
    return root


def value_sizes(n: int, law: SizeLaw) -> np.ndarray:
    """Probability of each size, [n + 1], with which a sample tells most about pairs' indices."""
    weight = np.exp(log_choose(n, np.arange(n + 1))) * size_weights(n, law)
    share: np.ndarray = weight / weight.sum()
    return share


def log_choose(n: int, k: np.ndarray) -> np.ndarray:
    """Logarithm of the number of coalitions of k among n players."""
    log: np.ndarray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return log


def _log_context(n: int, order: int, law: SizeLaw) -> np.ndarray:
    """Log probability of one context of each size 0..n - order."""
    size = np.arange(n - order + 1)
    log_size = np.log(np.maximum(law.sizes(n - order), np.finfo(float).tiny))
    log_each: np.ndarray = log_size - log_choose(n - order, size)
    return log_each


@lru_cache(maxsize=16)
def _weights(n: int, law: SizeLaw) -> tuple[np.ndarray, ...]:
    """By a coalition's size, [n + 1] each: what makes up its weight.

    For a pair: the first, the second for each of its players that is there, the third if both are. For a
    player: the fourth, and the fifth if it is there. Not to be written to: they are kept.
    """

    def context(order: int, inside: int) -> np.ndarray:
        at = np.arange(n + 1) - inside
        known = (at >= 0) & (at <= n - order)
        each = np.exp(_log_context(n, order, law))
        found: np.ndarray = np.where(known, each[np.clip(at, 0, n - order)], 0.0)
        return found

    none, one, both = (context(2, inside) for inside in range(3))
    without, with_it = context(1, 0), context(1, 1)
    return none, -one - none, both + 2 * one + none, -without, with_it + without
