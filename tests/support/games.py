"""Games whose values are known, shared by the tests of the estimators."""

from itertools import combinations
from math import factorial

import numpy as np


def table_game(n, seed):
    """A game with 2^n random values; bit i of the index is player i."""
    values = np.random.default_rng(seed).normal(size=1 << n)

    def game(coalitions):
        return values[coalitions @ (1 << np.arange(n))]

    game.num_players = n
    return game


def smooth_game(n, seed):
    """A random quadratic form through a squashing function: interactions of every order, moderate noise."""
    rng = np.random.default_rng(seed)
    linear, quadratic = rng.normal(size=n), rng.normal(size=(n, n)) / n

    def game(coalitions):
        x = coalitions.astype(float)
        return np.tanh(x @ linear / 2 + np.einsum("mi,ij,mj->m", x, quadratic, x))

    game.num_players = n
    return game


def helpful_game(n, seed):
    """Players that all help, each the less the more are there: redundancy, and hardly anything against."""
    rng = np.random.default_rng(seed)
    linear, quadratic = rng.exponential(size=n), rng.normal(size=(n, n)) / n

    def game(coalitions):
        x = coalitions.astype(float)
        return np.tanh((x @ linear + np.einsum("mi,ij,mj->m", x, quadratic, x)) / n * 2)

    game.num_players = n
    return game


def unanimity_game(n, terms):
    """A sum of unanimity games; ``terms`` maps players to coefficients. Returns game and SII by set."""

    def game(coalitions):
        return sum(c * coalitions[:, list(members)].all(1) for members, c in terms.items())

    def sii(*players):
        return sum(
            c / (len(members) - len(players) + 1)
            for members, c in terms.items()
            if set(players) <= set(members)
        )

    game.num_players = n
    return game, sii


def cross_pairs(n, left):
    return np.array([(u, v) for u in range(left) for v in range(left, n)])


def brute_force(game, n, members, weight=None):
    """The definition, term by term: sum over S of P(S) times the derivative; by default Shapley's P."""
    others = [i for i in range(n) if i not in members]
    order, total = len(members), 0.0
    if weight is None:

        def weight(size):
            return factorial(size) * factorial(n - size - order) / factorial(n - order + 1)

    for size in range(n - order + 1):
        for context in combinations(others, size):
            for chosen in range(1 << order):
                row = np.zeros((1, n), dtype=bool)
                row[:, list(context)] = True
                row[:, [m for j, m in enumerate(members) if chosen >> j & 1]] = True
                total += weight(size) * (-1) ** (order - chosen.bit_count()) * game(row)[0]
    return total
