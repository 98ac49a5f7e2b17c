"""Boosted trees over coalitions, with their interactions in closed form.

A leaf is a product over players: it holds where those of its path's right turns are there and those of its
left turns are not. What a pair's second difference of such a product averages to over contexts is one number,
so the index of a sum of trees is exact.

Shapes: m coalitions, n players, L leaves.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from raymoe.interactions.sampling.coalitions import SizeLaw
from raymoe.interactions.surrogates.products import products_index

TREES = 100
LEAVES = 31
RATE = 0.1
FEWEST = 5  # coalitions in a leaf


class Trees:
    """A sum of trees, as scikit-learn fits them.

    Args:
        coalitions: bool [m, n].
        values: [m].
        trees, leaves: how many, and in each at most.
        seed: of what the fit draws.
    """

    def __init__(
        self,
        coalitions: np.ndarray,
        values: np.ndarray,
        *,
        trees: int = TREES,
        leaves: int = LEAVES,
        seed: int = 0,
    ) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor  # takes as long to import as torch
        from threadpoolctl import threadpool_limits

        self._model = HistGradientBoostingRegressor(
            learning_rate=RATE,
            max_iter=trees,
            max_leaf_nodes=leaves,
            min_samples_leaf=FEWEST,
            l2_regularization=1.0,
            max_bins=2,
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(1, user_api="openmp"):
            self._model.fit(coalitions.astype(np.float32), values)
        self.n = coalitions.shape[1]
        self._known: dict[SizeLaw, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """The sum of the trees, [m]."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="openmp"):
            found: np.ndarray = self._model.predict(coalitions.astype(np.float32))
        return found

    def interactions(self, law: SizeLaw, key: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]."""
        if law not in self._known:
            self._known[law] = products_index(*self.products(), law)
        return self._known[law]

    def products(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Players that must be there and that must not, [L, n] each, and the leaves' values, [L]."""
        theres, gones, values = [], [], []
        for (predictor,) in self._model._predictors:
            there, gone, value = _leaves(predictor.nodes, self.n)
            theres.append(there)
            gones.append(gone)
            values.append(value)
        return np.concatenate(theres), np.concatenate(gones), np.concatenate(values)


def has_trees() -> bool:
    """Whether scikit-learn is there: interactions alone do without it."""
    return find_spec("sklearn") is not None


def _leaves(nodes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tree's leaves as products: who must be there, who must not, and the value.

    Args:
        nodes: scikit-learn's, the root first and parents before their children.
        n: players.
    """
    there, gone = np.zeros((len(nodes), n)), np.zeros((len(nodes), n))
    for number, (is_leaf, player, left, right) in enumerate(
        zip(*(nodes[name].tolist() for name in ("is_leaf", "feature_idx", "left", "right")), strict=True)
    ):
        if is_leaf:
            continue
        for child, turned in ((left, gone), (right, there)):
            there[child], gone[child] = there[number], gone[number]
            turned[child, player] = 1
    leaf = nodes["is_leaf"].astype(bool)
    return there[leaf], gone[leaf], nodes["value"][leaf]
