"""Which model is fitted to a game: the one that leaves least of coalitions it has not seen.

Shapes: m coalitions, n players.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from raymoe.interactions.surrogates.network import CONTROL, MOST_ENUMERATED, Among, Model, Network
from raymoe.interactions.surrogates.polynomial import Polynomial
from raymoe.interactions.surrogates.products import Products
from raymoe.interactions.surrogates.trees import Trees, has_trees

NEAR = 0.9  # a model is preferred to a simpler one where it leaves so much of it or less
ROWS = 3072  # coalitions that models are compared with
SHOWN = 256  # coalitions that tell how much a player changes
MATTERS = 0.95  # of all that players change: where some few hold so much, a network of them alone is tried


class Effort(NamedTuple):
    """What fitting networks may take."""

    steps: int
    folds: int  # with a network of its own each


LIGHT, PATIENT = Effort(1000, 2), Effort(3000, 4)

Fit = Callable[[np.ndarray, np.ndarray, int], Model]
"""Coalitions, values, a seed."""


def _mean(coalitions: np.ndarray, values: np.ndarray, seed: int) -> Model:
    n = coalitions.shape[1]
    return Polynomial(float(values.mean()), np.zeros(n), np.zeros((n, n)))


def _polynomial(coalitions: np.ndarray, values: np.ndarray, seed: int) -> Model:
    return Polynomial.fitted(coalitions, values)


def _products(kind: str) -> Fit:
    return lambda coalitions, values, seed: Products.fitted(coalitions, values, kind)


def _trees(coalitions: np.ndarray, values: np.ndarray, seed: int) -> Model:
    return Trees(coalitions, values, seed=seed)


TREES = "trees"
QUICK: dict[str, Fit] = {
    "the mean": _mean,
    "a polynomial of order 2": _polynomial,
    "products of players there": _products("there"),
    "products of players gone": _products("gone"),
    "products of players there and gone": _products("mixed"),
    TREES: _trees,
}
NETWORK = "a network"
FEW = "a network of the players that matter"


class ChosenModel(NamedTuple):
    """A kind of model.

    Attributes:
        name: in words.
        fit: makes one.
        left: what it left of coalitions it had not seen, as a share of what their mean leaves.
        model: fitted to all that it was shown; None where it was shown only some.
        is_network: whether it takes its time.
    """

    name: str
    fit: Fit
    left: float
    model: Model | None
    is_network: bool


def chosen_model(
    seen: tuple[np.ndarray, np.ndarray],
    unseen: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray,
    effort: Effort,
    seed: int,
    sampled: float,
) -> ChosenModel:
    """The model that leaves least of what weighs.

    Args:
        seen: coalitions, bool [m, n], in random order, and their values.
        unseen: likewise.
        weight: of the square of what is left of each of ``unseen``.
        effort: what networks may take.
        seed: of what is drawn.
        sampled: how many values of a network tell of its index for one of ``unseen``, where it is sampled.
    """
    rows, values = unseen
    whole = float(weight @ (values - seen[1].mean()) ** 2)
    best, least = None, np.inf
    quick, quick_left = QUICK["the mean"], np.inf
    for name, fit in QUICK.items():
        if name == TREES and not has_trees():
            continue
        is_all = len(seen[1]) <= ROWS
        model = fit(seen[0][:ROWS], seen[1][:ROWS], seed)
        left = float(weight @ (values - model(rows)) ** 2)
        if best is None or left < NEAR * least:
            best, least = ChosenModel(name, fit, left, model if is_all else None, False), left
        if left < quick_left:
            quick, quick_left, quick_model = fit, left, model
    assert best is not None
    for name, fit in _networks(quick, quick_model, seen[0], effort):
        model = fit(*seen, seed)
        rest = values - model(rows)
        left = float(weight @ rest**2)
        if isinstance(model, Network) and not model.is_exact:
            control = quick(seen[0][:CONTROL], model(seen[0][:CONTROL]), seed)
            left += float(weight @ (model(rows) - control(rows)) ** 2) / sampled
        if left < NEAR * least:
            best, least = ChosenModel(name, fit, left, model, True), left
    return best._replace(left=least / whole if whole > 0 else 0.0)


def _networks(quick: Fit, model: Model, coalitions: np.ndarray, effort: Effort) -> Iterator[tuple[str, Fit]]:
    """The networks worth a try; ``quick`` fits a model whose index is known."""

    def network(coalitions: np.ndarray, values: np.ndarray, seed: int) -> Network:
        return Network.fitted(
            coalitions, values, steps=effort.steps, seed=seed, control=lambda x, y: quick(x, y, seed)
        )

    yield NETWORK, network
    n = coalitions.shape[1]
    if n <= MOST_ENUMERATED:
        return
    if _players_that_matter(model, coalitions)[1] < MATTERS:
        return

    def few(coalitions: np.ndarray, values: np.ndarray, seed: int) -> Among:
        # who matters is told by these coalitions alone
        players, _ = _players_that_matter(quick(coalitions[:ROWS], values[:ROWS], seed), coalitions)
        return Among(network(coalitions[:, players], values, seed), players, n)

    yield FEW, few


def _players_that_matter(model: Model, coalitions: np.ndarray) -> tuple[np.ndarray, float]:
    """The few that change a model's values most, and their share of what all change."""
    shown, n = coalitions[:SHOWN], coalitions.shape[1]
    flipped = (shown[:, None] ^ np.eye(n, dtype=bool)).reshape(-1, n)
    change = ((model(flipped).reshape(-1, n) - model(shown)[:, None]) ** 2).mean(0)
    first = np.sort(np.argsort(-change, kind="stable")[:MOST_ENUMERATED])
    whole = float(change.sum())
    return first, float(change[first].sum()) / whole if whole > 0 else 0.0
