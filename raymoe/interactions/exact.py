"""Exact interactions by evaluating all 2^n coalitions: the oracle for small universes."""

from __future__ import annotations

from math import comb

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.estimators import Game, InteractionEstimate, check_pairs, evaluate
from raymoe.interactions.sums import corner_terms

MAX_PLAYERS = 20
BATCH = 1 << 14


def exact(game: Game, pairs: np.ndarray, *, num_players: int | None = None) -> InteractionEstimate:
    """Shapley Interaction Index and redundancy gap without sampling error; standard errors are 0.

    Args:
        game: ``bool[m, n] -> float[m]``.
        pairs: int [p, 2].
        num_players: n, when the game has no attribute of that name; at most 20.

    Raises:
        InputError: too many players, or bad pairs.
    """
    n = num_players if num_players is not None else game.num_players
    if n > MAX_PLAYERS:
        raise InputError(
            f"exact values of {n} players take 2^{n} evaluations", f"At most {MAX_PLAYERS}; sample instead."
        )
    pairs = check_pairs(pairs, n)
    values = all_values(game, n)
    # P(S) of a context of size s: uniform size on 0..n-2, then a uniform set of that size
    contexts = np.arange(1 << (n - 2))
    size = np.bitwise_count(contexts)
    weight = 1 / ((n - 1) * np.array([comb(n - 2, s) for s in range(n - 1)], dtype=float)[size])
    rows = []
    for u, v in pairs:
        low, high = sorted((int(u), int(v)))
        s = _insert_zero(_insert_zero(contexts, low), high)
        with_u, with_v = s | 1 << int(u), s | 1 << int(v)
        terms = corner_terms(values[s], values[with_u], values[with_v], values[with_u | with_v])
        rows.append([weight @ term for term in terms])
    sii, base, span = np.array(rows).T
    zero = np.zeros(len(pairs))
    return InteractionEstimate(pairs, sii, zero, base / (1 + span), zero, base, span, 1 << n)


def all_values(game: Game, n: int) -> np.ndarray:
    """The game's value for every coalition, [2^n]; bit i of the index says whether player i is in it."""
    values = np.empty(1 << n)
    for start in range(0, 1 << n, BATCH):
        index = np.arange(start, min(start + BATCH, 1 << n))
        values[start : start + BATCH] = evaluate(game, (index[:, None] >> np.arange(n) & 1).astype(bool))
    return values


def _insert_zero(index: np.ndarray, bit: int) -> np.ndarray:
    """Shift the bits from ``bit`` on up by one, leaving a zero there."""
    low = index & ((1 << bit) - 1)
    return (index >> bit << (bit + 1)) | low
