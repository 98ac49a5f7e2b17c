"""Games of many players whose interactions are known in closed form: sums of unanimity games."""

from __future__ import annotations

import numpy as np


class UnanimitySum:
    """f(S) = sum over terms of c [the term's players are all in S]; a pair's SII is a sum of c / (size - 1).

    Args:
        n: players, half in each modality.
        largest: terms have 1 to so many players, uniformly.
        terms: how many; coefficients are uniform on -1..1.
        seed: of the terms.
    """

    def __init__(self, n: int, largest: int, seed: int, terms: int = 100) -> None:
        rng = np.random.default_rng(seed)
        self.name, self.num_players = f"SOUM n={n}, terms of 1-{largest}", n
        self.members = np.zeros((terms, n), dtype=np.float32)
        for row in self.members:
            row[rng.choice(n, rng.integers(1, largest + 1), replace=False)] = 1
        self.coefficients = rng.uniform(-1, 1, terms)
        self.size = self.members.sum(1)
        self.pairs = np.array([(u, v) for u in range(n // 2) for v in range(n // 2, n)])
        both = self.members[:, self.pairs[:, 0]] * self.members[:, self.pairs[:, 1]]
        self.sii = (self.coefficients / np.maximum(self.size - 1, 1)) @ both

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        inside = np.atleast_2d(coalitions).astype(np.float32) @ self.members.T
        return (inside > self.size - 0.5) @ self.coefficients
