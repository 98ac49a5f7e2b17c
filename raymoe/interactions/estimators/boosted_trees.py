"""Boosted trees on coalitions, with their interactions in closed form.

A leaf is a product over players: it holds where those of its path's right turns are there and those of its
left turns are not. What a pair's second difference of such a product averages to over contexts is one number,
so the index of a sum of trees is exact.

Shapes: m coalitions, n players, L leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import betaln
from torch import Tensor

from raymoe.interactions.sampling.coalitions import SizeLaw

MOST = 3000  # coalitions that one tree is fitted to; others stand for them in the next


@dataclass
class BoostedTrees:
    """A sum of complete trees.

    Attributes:
        constant: what comes before the trees.
        splits: the player that each node asks for, a list of trees, each a list of levels [2^l].
        leaves: the value of each leaf, one array [2^depth] a tree.
    """

    constant: float
    splits: list[list[np.ndarray]]
    leaves: list[np.ndarray]

    @classmethod
    def fitted(
        cls,
        coalitions: np.ndarray,
        values: np.ndarray,
        *,
        trees: int,
        depth: int,
        rate: float,
        rng: np.random.Generator,
        ridge: float = 1.0,
    ) -> BoostedTrees:
        """Trees added one after the other, each fitted to what the others leave.

        Args:
            coalitions: bool [m, n].
            values: [m].
            trees: how many.
            depth: of each.
            rate: how much of each tree is taken.
            rng: chooses the coalitions of each tree where there are more than it needs.
            ridge: coalitions of value 0 that each leaf is thought to have besides its own.
        """
        x = torch.from_numpy(coalitions.astype(np.float32))
        constant = float(values.mean())
        rest = torch.from_numpy((values - constant).astype(np.float32))
        found = cls(constant, [], [])
        with torch.no_grad():
            for _ in range(trees):
                if len(x) > MOST:
                    some = torch.from_numpy(rng.integers(len(x), size=MOST))
                    levels, leaf = _tree(x[some], rest[some], depth, ridge)
                else:
                    levels, leaf = _tree(x, rest, depth, ridge)
                leaf = rate * leaf
                rest -= leaf[_leaf_of(x, levels)]
                found.splits.append([level.numpy() for level in levels])
                found.leaves.append(leaf.double().numpy())
        return found

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """The sum of the trees, [m]."""
        total = np.full(len(coalitions), self.constant)
        rows = np.arange(len(coalitions))
        for levels, leaf in zip(self.splits, self.leaves, strict=True):
            node = coalitions[:, levels[0][0]].astype(np.int64)
            for split in levels[1:]:
                node = 2 * node + coalitions[rows, split[node]]
            total += leaf[node]
        return total

    def interactions(self, law: SizeLaw, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]."""
        there, gone, value = self._products(n)
        p, q = there.sum(1), gone.sum(1)

        def weighted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            product: np.ndarray = value * _chance(law, a, b)
            return product

        first = there.T @ weighted(p - 1, q) - gone.T @ weighted(p, q - 1)
        mixed = there.T @ (weighted(p - 1, q - 1)[:, None] * gone)
        second = there.T @ (weighted(p - 2, q)[:, None] * there)
        second += gone.T @ (weighted(p, q - 2)[:, None] * gone)
        both: np.ndarray = second - mixed - mixed.T
        return first, both

    def _products(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Players that must be there and that must not, [L, n] each, and the leaves' values."""
        theres, gones, values = [], [], []
        for levels, leaf in zip(self.splits, self.leaves, strict=True):
            depth, number = len(levels), np.arange(len(leaf))
            there, gone = np.zeros((len(leaf), n)), np.zeros((len(leaf), n))
            for level, split in enumerate(levels):
                player = split[number >> (depth - level)]
                right = number >> (depth - level - 1) & 1
                there[number[right == 1], player[right == 1]] = 1
                gone[number[right == 0], player[right == 0]] = 1
            possible = ~(there * gone).any(1) & (leaf != 0)
            theres.append(there[possible])
            gones.append(gone[possible])
            values.append(leaf[possible])
        if not values:
            return np.zeros((0, n)), np.zeros((0, n)), np.zeros(0)
        return np.concatenate(theres), np.concatenate(gones), np.concatenate(values)


def _chance(law: SizeLaw, there: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """How likely a context has all of so many players and none of so many others; 0 for a negative number."""
    known = (there >= 0) & (gone >= 0)
    a, b = np.maximum(there, 0), np.maximum(gone, 0)
    if law.index == "sii":  # each player is in with probability t, and t is uniform
        chance = np.exp(betaln(a + 1, b + 1))
    else:
        chance = law.inclusion**a * (1 - law.inclusion) ** b
    found: np.ndarray = np.where(known, chance, 0.0)
    return found


def _tree(x: Tensor, rest: Tensor, depth: int, ridge: float) -> tuple[list[Tensor], Tensor]:
    """One tree: its splits, and the leaves' values."""
    m, n = x.shape
    node = torch.zeros(m, dtype=torch.long)
    rows = torch.arange(m)
    both = torch.cat([rest[:, None] * x, x, rest[:, None], torch.ones(m, 1)], 1)
    levels = []
    for level in range(depth):
        sums = torch.zeros(1 << level, 2 * n + 2).index_add_(0, node, both)
        g1, c1, g, c = sums[:, :n], sums[:, n : 2 * n], sums[:, -2:-1], sums[:, -1:]
        gain = g1**2 / (c1 + ridge) + (g - g1) ** 2 / (c - c1 + ridge)
        split = gain.argmax(1)
        levels.append(split)
        node = 2 * node + x[rows, split[node]].long()
    sums = torch.zeros(1 << depth, 2).index_add_(0, node, both[:, -2:])
    return levels, sums[:, 0] / (sums[:, 1] + ridge)


def _leaf_of(x: Tensor, levels: list[Tensor]) -> Tensor:
    """The leaf of each coalition."""
    node = torch.zeros(len(x), dtype=torch.long)
    rows = torch.arange(len(x))
    for split in levels:
        node = 2 * node + x[rows, split[node]].long()
    return node
