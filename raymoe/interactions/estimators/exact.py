"""Exact interactions by evaluating all 2^n coalitions: the oracle for small universes.

Shapes: n players, p pairs; tables of 2^n values, bit i of the index says whether player i is in.
"""

from __future__ import annotations

from math import comb

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.games.game import Game, evaluate
from raymoe.interactions.result import InteractionEstimate, checked_budget, too_small
from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.sums import certain_sums, corner_terms

MAX_PLAYERS = 20
AT_ONCE = 1 << 15


def exact(game: Game, pairs: np.ndarray, n: int, budget: int | None, law: SizeLaw) -> InteractionEstimate:
    """See ``estimate``; standard errors are 0.

    Raises:
        InputError: too many players, or a budget below 2^n.
    """
    check_players(n)
    if budget is not None and checked_budget(budget, "exact") < 1 << n:
        raise too_small(budget, "exact", pairs, 1 << n)
    values = all_values(game, n)
    sii, base, span = pair_scores(values, n, pairs, law)
    zero = np.zeros(len(pairs))
    return InteractionEstimate(
        pairs=pairs,
        sii=sii,
        sii_stderr=zero,
        redundancy_gap=base / (1 + span),
        redundancy_gap_stderr=zero,
        base_mean=base,
        span_mean=span,
        num_evaluations=1 << n,
        num_players=n,
        index=law.index,
        inclusion=law.inclusion,
        sums=certain_sums(sii, base, span, 1 << n),
        main_effects=derivative_means(values, n, np.arange(n)[:, None], law),
        empty_value=float(values[0]),
    )


def check_players(n: int) -> None:
    """Raise an InputError if n is too large for enumeration."""
    if n > MAX_PLAYERS:
        raise InputError(
            f"exact values of {n} players take 2^{n} evaluations",
            f"At most {MAX_PLAYERS} players; use method='surrogate' or 'shared'.",
        )


def all_values(game: Game, n: int) -> np.ndarray:
    """The game's value for every coalition, [2^n]."""
    values = np.empty(1 << n)
    for start in range(0, 1 << n, AT_ONCE):
        index = np.arange(start, min(start + AT_ONCE, 1 << n))
        values[start : start + AT_ONCE] = evaluate(game, (index[:, None] >> np.arange(n) & 1).astype(bool))
    return values


def pair_scores(values: np.ndarray, n: int, pairs: np.ndarray, law: SizeLaw) -> np.ndarray:
    """Means of delta, base and span over all contexts, [3, p]."""
    weight = _context_weights(n, 2, law)
    return np.array([[weight @ t for t in corner_terms(*_corners(values, n, row))] for row in pairs]).T


def derivative_means(values: np.ndarray, n: int, interactions: np.ndarray, law: SizeLaw) -> np.ndarray:
    """Mean discrete derivative of interactions of any one order, [p]."""
    order = interactions.shape[1]
    weight = _context_weights(n, order, law)
    signs = np.array([(-1) ** (order - b.bit_count()) for b in range(1 << order)])
    return np.array([weight @ (signs @ _corners(values, n, row)) for row in interactions])


def moebius(values: np.ndarray, n: int) -> np.ndarray:
    """Moebius transform m(T) = sum over S of (-1)^|T - S| f(S), [2^n], in n 2^n operations.

    f is the sum over T of m(T) [T is in S] (unanimity games), and the Shapley Interaction Index of an
    interaction I is the sum over T that hold it of m(T) / (|T| - |I| + 1).
    """
    found = values.astype(float).copy()
    for i in range(n):
        halves = found.reshape(-1, 2, 1 << i)
        halves[:, 1] -= halves[:, 0]
    return found


def _corners(values: np.ndarray, n: int, members: np.ndarray) -> np.ndarray:
    """f by which members are present (bit j: member j) for every context, [2^order, 2^(n - order)]."""
    members = [int(u) for u in members]
    table = values.reshape((2,) * n)  # axis a belongs to player n - 1 - a
    axes = [n - 1 - u for u in members]
    # views, no copies of the index: numpy copies once when the last axes are flattened
    moved = np.moveaxis(table, axes[::-1], range(len(axes)))
    return moved.reshape(1 << len(axes), -1)


def _context_weights(n: int, order: int, law: SizeLaw) -> np.ndarray:
    """P(context) of every set of the other players, in the order of ``_corners``."""
    left = n - order
    size = np.bitwise_count(np.arange(1 << left))
    return (law.sizes(left) / np.array([comb(left, s) for s in range(left + 1)], dtype=float))[size]
