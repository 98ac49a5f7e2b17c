"""The estimator ``surrogate``: what a fitted surrogate explains is known exactly, only the rest is sampled.

A Gaussian process g is fitted to the evaluations; index(f) = index(g) + index(f - g), the first in closed
form, the second estimated without bias from evaluations that g has not seen (cross-fitting: every replicate
is corrected with a g fitted without its fold). A replicate has

* a spread sample of coalitions, each of which serves every pair with an importance weight, and
* a flip grid (``grid``), which gives every pair its corners: for every other term, which takes g as a control
  variate (its mean under g comes from contexts that cost no evaluation), and for the index.

A first part of the budget only fits: the kernel's parameters depend on nothing that is corrected with.
Every replicate is unbiased for every mean (not so for ratios of them, gap and substitutability), and their
spread gives the standard errors. Where features are many and the game smooth, ``shared`` does as well without
a fit.

Shapes: n players, p pairs, K replicates, m coalitions fitted.
"""

from __future__ import annotations

from itertools import count
from typing import ClassVar

import numpy as np
import torch
from scipy.special import gammaln

from raymoe.interactions.budget import checked_budget, too_small
from raymoe.interactions.estimators.base import Estimator, Question
from raymoe.interactions.estimators.exact import Exact, is_enumerable, or_enumerated
from raymoe.interactions.estimators.gaussian_process import GaussianProcess, ProductKernel
from raymoe.interactions.estimators.option_types import Options
from raymoe.interactions.games.game import evaluate
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import SizeLaw, drawn_coalitions, generator
from raymoe.interactions.sampling.grid import FlipGrid
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.sums import Terms, adding_up, corner_terms, independent_sums, whole_terms

FIT_ONLY = 512  # at most so many coalitions, and a quarter of the budget, only fit
MAX_FITTED = 4096  # a factorisation of more costs more time than it saves evaluations
MIN_SPREAD = 8
FOLDS = 8
CONTEXTS = 128  # per replicate, for the means of base and span under the surrogate
REDRAWS = 4  # what is drawn twice is evaluated once; so often is more drawn for what that saves


class Surrogate(Estimator):
    """What a Gaussian process explains is known exactly; only the rest is sampled."""

    name: ClassVar[str] = "surrogate"

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """See the module; where 2^n evaluations are within the budget and n is at most 20, they are made."""
        budget, n = checked_budget(budget, self.name), question.num_players
        if is_enumerable(budget, n):
            return Exact().estimate(question, None, options)
        each = FlipGrid(question.pairs, n).evaluations
        if _split(budget, each)[2] < MIN_SPREAD:
            least = next(b for b in count(budget) if _split(b, each)[2] >= MIN_SPREAD)
            raise too_small(budget, self.name, question.pairs, or_enumerated(least, n))
        return _estimate(question, budget)


def _estimate(question: Question, budget: int) -> InteractionEstimate:
    game, pairs, n = question.game, question.pairs, question.num_players
    seed, law = question.seed, question.law
    grid = FlipGrid(pairs, n)
    fit_only, replicates, spread = _split(budget, grid.evaluations)

    sizes = spread_sizes(n, law)
    first = drawn_coalitions(sizes, fit_only - 2, (seed, Stream.FIT))
    first = np.concatenate([np.zeros((1, n), bool), np.ones((1, n), bool), first])
    # Independent bases: each must stand for all sizes, since each has a surrogate of its own.
    bases = np.concatenate([_contexts(law, n, 1, (seed, Stream.GRIDS, r)) for r in range(replicates)])
    grids = bases[:, None] ^ grid.flips
    samples, unique, which = _draw(first, grids, sizes, replicates, spread, seed)
    for _ in range(REDRAWS):
        extra = (budget - len(unique)) // replicates // 2 * 2
        if extra < 2:
            break
        more = _draw(first, grids, sizes, replicates, spread + extra, seed)
        if len(more[1]) > budget:
            break
        spread += extra
        samples, unique, which = more
    values = evaluate(game, unique)

    fold_of = np.arange(replicates) % min(FOLDS, replicates)
    owner = np.concatenate(
        [np.full(len(first), -1), np.repeat(fold_of, spread), np.repeat(fold_of, grid.evaluations)]
    )
    chosen = _fitted(which, len(first), len(unique), seed)
    column = np.searchsorted(grid.players, pairs)
    with torch.no_grad():
        kernel = ProductKernel(unique[which[: len(first)]], values[which[: len(first)]])
        process = GaussianProcess(kernel, unique[chosen], values[chosen])
        by_spread, by_grid, by_term, effects = [], [], [], []
        for fold in np.unique(fold_of):
            alone = _only_in_fold(which, owner, fold, len(unique))
            alpha = process.without(np.flatnonzero(alone[chosen]))
            model_first, model_second = process.interactions(alpha, law, grid.players)
            for r in np.flatnonzero(fold_of == fold):
                at = len(first) + r * spread + np.arange(spread)
                weights = spread_weights(samples[r], pairs, sizes, law)
                predicted = process.predict(samples[r], alpha)
                rest = (weights * (values[which[at]] - predicted)[:, None]).mean(0)
                by_spread.append(model_second[column[:, 0], column[:, 1]] + rest)
                at = len(first) + replicates * spread + r * grid.evaluations + np.arange(grid.evaluations)
                found = grid.corners(bases[r][None], values[which[at]][None])
                guessed = grid.corners(bases[r][None], process.predict(grids[r], alpha)[None])
                truth = [term[0] for term in corner_terms(*found.corners)]
                model = [term[0] for term in corner_terms(*guessed.corners)]
                contexts = _contexts(law, n, CONTEXTS, (seed, Stream.CONTEXTS, int(r)))
                means = [term.mean(0) for term in corner_terms(*process.corners(contexts, pairs, alpha))]
                by_grid.append(model_second[column[:, 0], column[:, 1]] + truth[0] - model[0])
                # every term: the mean under the surrogate, and what it misses here
                by_term.append(np.stack(means) + np.stack(truth) - np.stack(model))
                effects.append(model_first + found.first_ks[0] - guessed.first_ks[0])
    delta = _combined(np.stack(by_spread), np.stack(by_grid))
    terms = _adding_up(delta, Terms(*np.stack(by_term, 1)))
    sums = independent_sums(*whole_terms(terms, question.two_way))
    main_effects = np.full(n, np.nan)
    main_effects[grid.players] = np.mean(effects, 0)
    return InteractionEstimate.of_sums(
        pairs,
        sums,
        law,
        num_evaluations=len(unique),
        num_players=n,
        main_effects=main_effects,
        empty_value=float(values[which[0]]),
    )


def _split(budget: int, each: int) -> tuple[int, int, int]:
    """How a budget is spent: coalitions that only fit, replicates, spread coalitions in each."""
    fit_only = min(FIT_ONLY, budget // 4)
    replicates = max(2, (budget - fit_only) // (2 * max(each, MIN_SPREAD)))
    return fit_only, replicates, (budget - fit_only - replicates * each) // replicates // 2 * 2


def _combined(by_spread: np.ndarray, by_grid: np.ndarray) -> np.ndarray:
    """Two unbiased estimates by replicate, [K, p] each, weighted by how much they vary.

    One weight for all pairs and replicates: it says next to nothing about any one of them.
    """
    spread, grid = by_spread.var(0).mean(), by_grid.var(0).mean()
    share = float(grid / (spread + grid)) if spread + grid > 0 else 0.5
    return share * by_spread + (1 - share) * by_grid


def _adding_up(delta: np.ndarray, terms: Terms[np.ndarray]) -> Terms[np.ndarray]:
    """The terms by replicate, [K, p] each, corrected by what is known better: that they add up to ``delta``.

    What is missing goes to the three by how much each varies, one share for all pairs and replicates, which
    leaves each unbiased (the least-squares answer where their errors are independent).
    """
    spread = [float(term.var(0).mean()) for term in (terms.synergy, terms.redundancy, terms.antagonism)]
    whole = sum(spread)
    shares = [np.asarray(x / whole if whole > 0 else 1 / 3) for x in spread]
    return adding_up(delta, terms, (shares[0], shares[1], shares[2]))


def _draw(
    first: np.ndarray, grids: np.ndarray, sizes: np.ndarray, replicates: int, spread: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread samples [K, spread, n], and all points: the different ones, and which of them each point is."""
    n = first.shape[1]
    samples = np.stack([_spread(sizes, spread, (seed, Stream.SPREAD, r)) for r in range(replicates)])
    points = np.concatenate([first, samples.reshape(-1, n), grids.reshape(-1, n)])
    return samples, *_unique(points)


def spread_sizes(n: int, law: SizeLaw) -> np.ndarray:
    """Probability of each size of a spread sample, [n + 1]: what makes the weights' mean square smallest."""
    size = np.arange(n + 1)
    square = np.zeros(n + 1)
    for inside, ways in enumerate((1, 2, 1)):
        context = size - inside
        known = (context >= 0) & (context <= n - 2)
        log = 2 * _log_probability(n, law)[context[known]] + _log_choose(n, size[known])
        log += _log_choose(n - 2, context[known])
        square[known] += ways * np.exp(log)
    root = np.sqrt(square)
    share: np.ndarray = root / root.sum()
    return share


def spread_weights(coalitions: np.ndarray, pairs: np.ndarray, sizes: np.ndarray, law: SizeLaw) -> np.ndarray:
    """Weights [k, p] with which f of a spread sample averages to each pair's index.

    The index is a sum over coalitions T of f(T) times plus or minus the probability of T without u and v as a
    context; the weight is that over the probability of drawing T (as SHAP-IQ does, Fumagalli et al., 2023).
    """
    n = coalitions.shape[1]
    size = coalitions.sum(1)
    inside = coalitions[:, pairs[:, 0]].astype(int) + coalitions[:, pairs[:, 1]]
    log_drawn = np.log(sizes[size]) - _log_choose(n, size)
    log_wanted = _log_probability(n, law)[size[:, None] - inside]
    weights: np.ndarray = np.where(inside == 1, -1.0, 1.0) * np.exp(log_wanted - log_drawn[:, None])
    return weights


def _log_probability(n: int, law: SizeLaw) -> np.ndarray:
    """Log probability of one context of each size 0..n-2."""
    size = np.arange(n - 1)
    log_size = np.log(np.maximum(law.sizes(n - 2), np.finfo(float).tiny))
    log_each: np.ndarray = log_size - _log_choose(n - 2, size)
    return log_each


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    log: np.ndarray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return log


def _spread(sizes: np.ndarray, count: int, key: tuple[int, ...]) -> np.ndarray:
    """Coalitions with their complements where those are as likely: what is odd in f cancels in the index."""
    if not np.allclose(sizes, sizes[::-1]):
        return drawn_coalitions(sizes, count, key)
    half = drawn_coalitions(sizes, count // 2, key)
    return np.concatenate([half, ~half])


def _contexts(law: SizeLaw, n: int, count: int, key: tuple[int, ...]) -> np.ndarray:
    return drawn_coalitions(law.sizes(n), count, key)


def _unique(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different coalitions in a fixed order, and where each point is among them."""
    packed = np.packbits(points, axis=1)
    as_bytes = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, index, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
    return points[index], inverse.ravel()


def _fitted(which: np.ndarray, first: int, count: int, seed: int) -> np.ndarray:
    """Which of the different coalitions the process is fitted to: the first part, then others at random."""
    always = np.unique(which[:first])
    others = np.setdiff1d(np.arange(count), always)
    order = generator(seed, Stream.FITTED).permutation(len(others))
    return np.concatenate([always, np.sort(others[order[: max(0, MAX_FITTED - len(always))]])])


def _only_in_fold(which: np.ndarray, owner: np.ndarray, fold: int, count: int) -> np.ndarray:
    """Which of the different coalitions were drawn in this fold and nowhere else, bool [count]."""
    inside, outside = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    inside[which[owner == fold]] = True
    outside[which[owner != fold]] = True
    return inside & ~outside
