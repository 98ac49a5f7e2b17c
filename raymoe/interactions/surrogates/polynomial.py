"""A polynomial of order 2 over coalitions: a number for every player and every pair.

Its index is its coefficients. Fitted by conjugate gradients on the least-squares problem, stopped where
coalitions that were held back are predicted best: early stopping is what a ridge penalty would do, without
searching for one, and no matrix of n^2 columns is ever built.

Shapes: m coalitions, n players.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from raymoe.interactions.sampling.coalitions import SizeLaw

STEPS = 60
HELD = 5  # one of so many coalitions is held back to tell when to stop
PATIENCE = 6  # steps without a gain
MOST = 16384  # coalitions fitted to


class Polynomial:
    """constant + sum of a_i z_i + sum of b_ij z_i z_j, with z = 1 for who is there and -1 for who is not.

    Attributes:
        constant: of the value.
        single: a, [n].
        double: b, symmetric with an empty diagonal, [n, n]; each pair counts once.
    """

    def __init__(self, constant: float, single: np.ndarray, double: np.ndarray) -> None:
        self.constant, self.single, self.double = constant, single, double

    @classmethod
    def fitted(cls, coalitions: np.ndarray, values: np.ndarray, order: int = 2) -> Polynomial:
        """Fitted to values of coalitions, in the order given: the last of every few are held back.

        Args:
            coalitions: bool [m, n].
            values: [m].
            order: 1 or 2.
        """
        coalitions, values = coalitions[:MOST], values[:MOST]
        n, centre, scale = coalitions.shape[1], float(values.mean()), float(values.std())
        if scale == 0 or len(values) < 2 * HELD:
            return cls(centre, np.zeros(n), np.zeros((n, n)))
        z = torch.from_numpy(coalitions).float() * 2 - 1
        y = torch.from_numpy((values - centre) / scale).float()
        held = torch.arange(len(y)) % HELD == HELD - 1
        with torch.no_grad():
            design, other = _Design(z[~held], order), _Design(z[held], order)
            steps = _best_stop(design, y[~held], other, y[held])
            best = _descent(_Design(z, order), y, steps)
        constant, single, double = best
        return cls(
            centre + scale * float(constant), scale * single.double().numpy(), scale * double.double().numpy()
        )

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Values, [m]."""
        z = coalitions.astype(np.float64) * 2 - 1
        found: np.ndarray = self.constant + z @ self.single + 0.5 * ((z @ self.double) * z).sum(1)
        return found

    def interactions(self, law: SizeLaw, key: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]."""
        # a player turns z from -1 to 1, beside others whose mean is what the law of contexts makes it
        mean = 0.0 if law.index == "sii" else 2 * law.inclusion - 1
        return 2 * self.single + 2 * mean * self.double.sum(1), 4 * self.double


Coefficients = tuple[Tensor, Tensor, Tensor]


class _Design:
    """The products of a least-squares problem, without its matrix: [1, z_i, z_i z_j]."""

    def __init__(self, z_mn: Tensor, order: int) -> None:
        self.z_mn, self.order = z_mn, order

    def times(self, coefficients: Coefficients) -> Tensor:
        """Values, [m]."""
        constant, single, double = coefficients
        value = constant + self.z_mn @ single
        return value + 0.5 * ((self.z_mn @ double) * self.z_mn).sum(1) if self.order > 1 else value

    def transposed(self, value_m: Tensor) -> Coefficients:
        """The products of each column with some values."""
        n = self.z_mn.shape[1]
        double = torch.zeros(n, n)
        if self.order > 1:
            double = self.z_mn.T @ (value_m[:, None] * self.z_mn)
            double.fill_diagonal_(0)
        return value_m.sum(), self.z_mn.T @ value_m, double


def _dot(a: Coefficients, b: Coefficients) -> Tensor:
    return a[0] * b[0] + a[1] @ b[1] + 0.5 * (a[2] * b[2]).sum()


def _plus(a: Coefficients, share: Tensor, b: Coefficients) -> Coefficients:
    return a[0] + share * b[0], a[1] + share * b[1], a[2] + share * b[2]


def _walk(design: _Design, y_m: Tensor) -> Iterator[Coefficients]:
    """The coefficients after each step of conjugate gradients (CGLS)."""
    n = design.z_mn.shape[1]
    at: Coefficients = (torch.zeros(()), torch.zeros(n), torch.zeros(n, n))
    rest = y_m.clone()
    slope = design.transposed(rest)
    way, square = slope, _dot(slope, slope)
    while True:
        yield at
        image = design.times(way)
        length = image @ image
        if float(length) <= 0 or float(square) <= 0:
            return
        share = square / length
        at = _plus(at, share, way)
        rest = rest - share * image
        slope = design.transposed(rest)
        before, square = square, _dot(slope, slope)
        way = _plus(slope, square / before, way)


def _best_stop(design: _Design, y_m: Tensor, other: _Design, other_y: Tensor) -> int:
    """After how many steps the coalitions held back are predicted best."""
    best, least = 0, float("inf")
    for step, at in enumerate(_walk(design, y_m)):
        rest = other_y - other.times(at)
        error = float(rest @ rest)
        if error < least:
            best, least = step, error
        if step >= STEPS or step - best > PATIENCE:
            break
    return best


def _descent(design: _Design, y_m: Tensor, steps: int) -> Coefficients:
    found: Coefficients | None = None
    for step, at in enumerate(_walk(design, y_m)):
        found = at
        if step >= steps:
            break
    assert found is not None
    return found
