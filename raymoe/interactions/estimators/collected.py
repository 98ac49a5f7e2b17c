"""What the estimator ``auto`` evaluates: where the budget goes, decided by what the first part of it shows.

Shapes: n players, G grids of f evaluations, R replicates, m different coalitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from raymoe.interactions.estimators.base import Question
from raymoe.interactions.games.game import evaluate
from raymoe.interactions.sampling.coalitions import drawn_coalitions, generator
from raymoe.interactions.sampling.grid import flip_grid
from raymoe.interactions.sampling.sized import Drawn, SizePlan, coalitions_of, size_plan
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.surrogates.network import Model
from raymoe.interactions.surrogates.polynomial import Polynomial
from raymoe.interactions.surrogates.products import Products
from raymoe.interactions.weighted_values import size_weights

GRIDS = 0.15  # of the budget for flip grids,
FOUR = 0.2  # or so much, where that is what four of them take,
TWO = 0.3  # or so much for two; where two of them take more there are none
REPLICATES = 8  # at least
MOST_REPLICATES = 32
PILOT = 8  # one part of so many
MIN_PILOT = 64  # coalitions; fewer tell nothing about sizes
MIN_SPREAD = 4  # coalitions of a replicate
SMOOTH = 0.5  # sizes on either side, about, that tell what is left at a size
PRIOR = 4.0  # draws that what is left on average counts for


@dataclass(frozen=True)
class Spending:
    """How a budget is spent.

    Attributes:
        grids: flip grids; 0 where two of them would be most of the budget.
        spread: coalitions that inform every pair.
        replicates: parts of these, each an estimate.
    """

    grids: int
    spread: int
    replicates: int

    @property
    def possible(self) -> bool:
        """Whether enough coalitions are left to tell an error."""
        return self.spread >= 2 + MIN_SPREAD * self.replicates


def planned(budget: int, each: int) -> Spending:
    """How a budget is spent where a flip grid takes ``each`` evaluations."""
    few = 4 if 4 * each <= FOUR * budget else 2 if 2 * each <= TWO * budget else 0
    grids = min(max(int(GRIDS * budget / each), few), MOST_REPLICATES)
    return Spending(grids, budget - grids * each, max(REPLICATES, grids))


@dataclass(frozen=True)
class Collected:
    """What was evaluated.

    Attributes:
        coalitions: all different, bool [m, n].
        values: theirs, [m].
        whole: sizes of which all were, bool [n + 1].
        replicate: which replicate a sampled coalition is of, [m]; -1 for all others.
        expected: how many of a size a replicate has on average, [n + 1].
        bases: the coalitions that grids are around, bool [G, n].
        grid_at: where each value of a grid stands, [G, f].
        only_in_grids: coalitions that were evaluated for grids and nothing else, bool [m].
        seconds: that the game took.
    """

    coalitions: np.ndarray
    values: np.ndarray
    whole: np.ndarray
    replicate: np.ndarray
    expected: np.ndarray
    bases: np.ndarray
    grid_at: np.ndarray
    only_in_grids: np.ndarray
    seconds: float


def collected(question: Question, budget: int) -> Collected:
    """Evaluate the pilot, the grids, and what the pilot shows to be worth it."""
    n, law, seed = question.num_players, question.law, question.seed
    grid = flip_grid(question.pairs, n)
    spending = planned(budget, grid.evaluations)
    weight, drawn = size_weights(n, law), Drawn(n)
    start = time.perf_counter()

    first, whole = _pilot(weight, spending.spread, drawn, generator(seed, Stream.AUTO_PILOT))
    first_values = evaluate(question.game, first)
    varies = _left_by_size(first, first_values, weight, whole, seed)

    # stratified sizes over all grids, in random order over the replicates
    bases = drawn_coalitions(law.sizes(n), max(spending.grids, 1), (seed, Stream.AUTO_GRIDS))
    bases = generator(seed, Stream.AUTO_GRIDS, 1).permutation(bases)[: spending.grids]
    in_grids = (bases[:, None] ^ grid.flips).reshape(-1, n)
    for_grids = in_grids[drawn.add(in_grids)]

    left = budget - len(first) - len(for_grids)
    known = np.concatenate([first, for_grids]).sum(1)
    plan = size_plan(weight * varies, left, np.bincount(known, minlength=n + 1))
    rest = _rest_of(plan, n, drawn)
    each = (left - len(rest)) // spending.replicates
    samples, replicate, expected = _samples(plan.share, each, spending.replicates, drawn, seed)
    values = evaluate(question.game, np.concatenate([for_grids, rest, samples]))
    seconds = time.perf_counter() - start

    coalitions = np.concatenate([first, for_grids, rest, samples])
    replicates = np.full(len(coalitions), -1)
    replicates[len(coalitions) - len(samples) :] = replicate
    place = {row.tobytes(): number for number, row in enumerate(np.packbits(coalitions, axis=1))}
    grid_at = np.array([place[row.tobytes()] for row in np.packbits(in_grids, axis=1)], dtype=np.int64)
    grid_at = grid_at.reshape(spending.grids, grid.evaluations)
    return Collected(
        coalitions=coalitions,
        values=np.concatenate([first_values, values]),
        whole=plan.whole,
        replicate=replicates,
        expected=expected,
        bases=bases,
        grid_at=grid_at,
        only_in_grids=np.isin(np.arange(len(coalitions)) - len(first), np.arange(len(for_grids))),
        seconds=seconds,
    )


def _pilot(
    weight: np.ndarray, spread: int, drawn: Drawn, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The first coalitions, the empty and the full one among them, and the sizes that are whole with them."""
    n = len(weight) - 1
    least = np.zeros((2, n), dtype=bool)
    least[1] = True
    drawn.add(least)
    size = spread // PILOT
    if size < MIN_PILOT:
        return least, np.isin(np.arange(n + 1), (0, n))
    taken = np.bincount([0, n], minlength=n + 1)
    plan = size_plan(weight, size, taken)
    rest = _rest_of(plan, n, drawn)
    rows, _ = drawn.draw(_sizes(plan.share, size - len(rest), rng), rng)
    return np.concatenate([least, rest, rows]), plan.whole


def _rest_of(plan: SizePlan, n: int, drawn: Drawn) -> np.ndarray:
    """What is not evaluated yet of the whole sizes."""
    parts = [coalitions_of(n, int(size)) for size in np.flatnonzero(plan.whole)]
    rows = np.concatenate([np.zeros((0, n), dtype=bool), *parts])
    new: np.ndarray = rows[drawn.add(rows)]
    return new


def _samples(
    share: np.ndarray, each: int, replicates: int, drawn: Drawn, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coalitions of all replicates, which each is of, and how many of a size one has on average."""
    if not share.any() or each < 1:
        n = len(share) - 1
        return np.zeros((0, n), dtype=bool), np.zeros(0, dtype=np.int64), np.zeros(n + 1)
    rngs = [generator(seed, Stream.AUTO_SPREAD, r) for r in range(replicates)]
    sizes = np.concatenate([_sizes(share, each, rng) for rng in rngs])
    rows, at = drawn.draw(sizes, generator(seed, Stream.AUTO_SPREAD))
    return rows, np.repeat(np.arange(replicates), each)[at], each * share


def _sizes(share: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Stratified sizes, [count]."""
    t = (np.arange(count) + rng.random(count)) / max(count, 1)
    largest = int(np.flatnonzero(share)[-1]) if share.any() else 0
    found: np.ndarray = np.minimum(np.searchsorted(np.cumsum(share), t, side="right"), largest)
    return found if share.any() else found[:0]


def _left_by_size(
    coalitions: np.ndarray, values: np.ndarray, weight: np.ndarray, whole: np.ndarray, seed: int
) -> np.ndarray:
    """How far values of each size are from what a model foretells that has not seen them, [n + 1]."""
    n = len(weight) - 1
    sizes, size = np.arange(n + 1), coalitions.sum(1)
    inside = np.flatnonzero(~whole[size])
    if len(inside) < 16 or values.std() == 0:
        return np.ones(n + 1)
    half = generator(seed, Stream.AUTO_FIT).permutation(len(inside)) % 2
    best: np.ndarray | None = None
    kinds = (partial(Products.fitted, kind="gone"), partial(Products.fitted, kind="there"))
    fits: list[Callable[[np.ndarray, np.ndarray], Model]] = [Polynomial.fitted, *kinds]
    for fit in fits:
        rest = np.zeros(len(coalitions))
        for fold in (0, 1):
            out = inside[half == fold]
            seen = np.setdiff1d(np.arange(len(coalitions)), out)
            seen = generator(seed, Stream.AUTO_FIT, 1 + fold).permutation(seen)
            rest[out] = values[out] - fit(coalitions[seen], values[seen])(coalitions[out])
        if best is None or (rest**2).sum() < (best**2).sum():
            best = rest
    assert best is not None
    square = best[inside] ** 2
    near = np.exp(-np.abs(sizes[:, None] - size[inside]) / SMOOTH)
    usual = square.mean()
    found = (near @ square + PRIOR * usual) / (near.sum(1) + PRIOR)
    return np.sqrt(found / usual) if usual > 0 else np.ones(n + 1)
