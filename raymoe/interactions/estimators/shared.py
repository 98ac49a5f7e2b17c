"""The estimator ``shared``: every coalition serves every pair.

Three things make its coalitions worth more than independent ones:

* tiles: sizes are stratified and members balanced (``coalitions.tiled_coalitions``);
* edges: the empty context and that of all other players are one each and weigh as much as all the contexts of
  another size together; the grids around the empty and the full coalition give both exactly;
* allocation: a pilot of four coalitions, on some of the pairs, measures how large the differences are at each
  size, and the others go to the sizes in proportion (Neyman).

Edges and pilot have to be paid for: below ``MIN_FOR_PILOT`` coalitions there are only tiles.

Whatever the allocation, a term in a context of size s weighs (probability of s under the index) / (expected
number of contexts of size s), which keeps the estimate unbiased (Horvitz-Thompson). How many contexts of a
size a pair really gets is chance; a guess of each term by size, made from the edges and the pilot alone, is
taken off first and its mean added back, so that this chance costs nothing where the guess is right (as where
the pair's interaction does not depend on the others).

Shapes: k coalitions, n players, p pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raymoe.interactions.arrays import beside, on_host
from raymoe.interactions.estimators.base import CoalitionEstimator, Question, Work
from raymoe.interactions.estimators.option_types import Options
from raymoe.interactions.games.game import evaluate
from raymoe.interactions.result import InteractionEstimate
from raymoe.interactions.sampling.coalitions import SHAPLEY, SizeLaw, context_probability, tiled_coalitions
from raymoe.interactions.sampling.grid import Corners, FlipGrid, flip_grid, grid_evaluations
from raymoe.interactions.sampling.streams import Stream
from raymoe.interactions.sums import (
    CORNER_TERMS,
    RunningSums,
    Terms,
    adding_up,
    corner_terms,
    summed,
    tiled_sums,
    whole_terms,
)

MIN_COALITIONS = 4
MIN_FOR_PILOT = 18
PILOT = (2, 2)  # replicates, coalitions in each
PILOT_PAIRS = 48  # of a table at most, enough to see how differences depend on the size
MAX_LENGTH = 12  # of a replicate: longer ones gained nothing and leave fewer to tell the error from
MASKS_AT_ONCE = 1 << 15  # bounds the memory of masks and corner values
SPIKE = 4  # times what the pilot saw next to it: the most that an edge counts for
FLOOR = 1.0  # of the mean size of differences: a size where the pilot saw nothing is still visited


class Shared(CoalitionEstimator):
    """One coalition for every pair: f on it, and with one and with two of the pairs' players flipped."""

    name: ClassVar[str] = "shared"
    min_coalitions: ClassVar[int] = MIN_COALITIONS
    extra_evaluations: ClassVar[int] = 1  # the empty coalition, where no edge gives it

    def evaluations_per_coalition(self, pairs: np.ndarray) -> int:
        """1 + |players in a pair| + |pairs|."""
        return grid_evaluations(pairs)

    def work(self, pairs: np.ndarray, n: int, coalitions: int, law: SizeLaw = SHAPLEY) -> Work:
        """Blocks are pairs of replicates; a pilot, with the edges, is paid for by every piece."""
        plan = pilot_layout(coalitions, pairs, n, law)
        fixed = pilot_evaluations(pairs) if plan.pilot else 0
        return Work(plan.blocks, grid_evaluations(pairs) * 2 * plan.length, fixed)

    def block_sums(self, question: Question, coalitions: int, start: int, stop: int) -> RunningSums:
        """Sums over blocks ``start..stop``: any cut gives the same sums but for rounding."""
        return SharedSampling(question, coalitions).sums(start, stop)

    def block_sums_of(
        self, questions: Sequence[Question], coalitions: int, start: int, stop: int
    ) -> list[RunningSums]:
        """Sums of several games on the same coalitions: these go where the games need them on average.

        Terms are weighted by the allocation that was used, so each estimate stays unbiased.
        """
        samplings = [SharedSampling(question, coalitions) for question in questions]
        together = np.mean([sampling.allocation for sampling in samplings], axis=0)
        for sampling in samplings:
            sampling.allocation = together
        return [sampling.sums(start, stop) for sampling in samplings]

    def estimate(self, question: Question, budget: int | None, options: Options) -> InteractionEstimate:
        """The whole estimate; what the last coalition leaves of the budget is not spent."""
        sampling = SharedSampling(question, self.coalitions(budget, question.pairs))
        sums, empty = sampling.sums(), sampling.empty_value()
        effects = np.full(question.num_players, np.nan)
        effects[sampling.grid.players] = sampling.main_effects()
        return InteractionEstimate.of_sums(
            question.pairs,
            sums,
            question.law,
            num_evaluations=sampling.num_evaluations,
            num_players=question.num_players,
            main_effects=effects,
            empty_value=empty,
        )


@dataclass(frozen=True)
class Layout:
    """How a number of coalitions is spent; ``pilot`` brings the edges with it."""

    pilot: bool
    replicates: int
    length: int

    @property
    def blocks(self) -> int:
        """Pairs of replicates, the smallest piece of work."""
        return self.replicates // 2


def layout(coalitions: int, pilot: bool = False) -> Layout:
    """The most whole pairs of replicates among so many coalitions."""
    used = [(coalitions // (2 * length) * 2 * length, length) for length in range(2, MAX_LENGTH + 1)]
    total, length = max(used)
    return Layout(pilot, total // length, length)


def pilot_layout(coalitions: int, pairs: np.ndarray, n: int, law: SizeLaw) -> Layout:
    """The best use of what ``coalitions`` of them cost for a table of pairs."""
    if not knows_edges(n, law) or coalitions < MIN_FOR_PILOT:
        return layout(coalitions)
    each = grid_evaluations(pairs)
    return layout((coalitions * each - pilot_evaluations(pairs)) // each, pilot=True)


def knows_edges(n: int, law: SizeLaw) -> bool:
    """Whether edges and a pilot pay, given enough coalitions."""
    return law.index == "sii" and n >= 5


def pilot_evaluations(pairs: np.ndarray) -> int:
    """What the pilot costs for a table of pairs, with the edges."""
    return 2 * grid_evaluations(pairs) + grid_evaluations(pilot_sample(pairs)) * PILOT[0] * PILOT[1]


class SharedSampling:
    """One run of the estimator: what its edges and its pilot found, and sums of blocks of coalitions.

    The edges and the pilot are evaluated as it is made, the blocks when ``sums`` is asked for them.

    Args:
        question: what is asked.
        coalitions: to be spent, at least ``MIN_COALITIONS``.

    Attributes:
        layout: how the coalitions are spent.
        grid: the flips around each coalition.
        allocation: how likely a coalition of each size is drawn, [n + 1].
        num_evaluations: of the game, so far.
    """

    def __init__(self, question: Question, coalitions: int) -> None:
        self.question = question
        self._n, self._law = question.num_players, question.law
        self.layout = pilot_layout(coalitions, question.pairs, self._n, self._law)
        self.grid = flip_grid(question.pairs, self._n)
        self.num_evaluations = 0
        self._first_sum = np.zeros(len(self.grid.players))
        self._first_count = 0
        self._empty_value: float | None = None
        self._edges: _Edges | None = None
        self.allocation = self._law.sizes(self._n)
        self._guess_tsp = np.zeros((len(CORNER_TERMS), self._n - 1, len(question.pairs)))
        if self.layout.pilot:
            # without the edges, which are exact
            self.allocation = np.where(np.isin(np.arange(self._n + 1), (0, self._n)), 0.0, self.allocation)
            self._edges = self._measured_edges()
            self._empty_value = self._edges.empty_value
            self.allocation, self._guess_tsp = self._piloted(self._edges)

    def sums(self, start: int = 0, stop: int | None = None) -> RunningSums:
        """Sums over blocks ``start..stop``, by default all of them."""
        stop = self.layout.blocks if stop is None else stop
        if not 0 <= start < stop <= self.layout.blocks:
            raise ValueError(f"blocks {start}..{stop} are not among 0..{self.layout.blocks}")
        # A model's batches are the fuller the more coalitions it is given at once.
        step = 2 * max(1, MASKS_AT_ONCE // (2 * self.layout.length * self.grid.evaluations))
        cuts = range(2 * start, 2 * stop, step)
        return summed(self._replicate_sums(first, min(first + step, 2 * stop)) for first in cuts)

    def main_effects(self) -> np.ndarray:
        """Shapley (or Banzhaf) value of each player of ``grid.players``, from the blocks summed so far."""
        return self._first_sum / self._first_count

    def empty_value(self) -> float:
        """The game's value of the empty coalition; one more evaluation where no edge gave it."""
        if self._empty_value is None:
            none = np.zeros((1, self._n), dtype=bool)
            self._empty_value = float(evaluate(self.question.game, none)[0])
            self.num_evaluations += 1
        return self._empty_value

    def _measured(self, bases_kn: np.ndarray) -> Corners[np.ndarray]:
        self.num_evaluations += len(bases_kn) * self.grid.evaluations
        return self.grid.measure(self.question.game, bases_kn)

    def _seen(self, bases_kn: np.ndarray, grid: FlipGrid) -> Corners[np.ndarray]:
        """The same of a few coalitions, on the host, which has to look at them before it can go on."""
        self.num_evaluations += len(bases_kn) * grid.evaluations
        return grid.corners(bases_kn, on_host(grid.values(self.question.game, bases_kn)))

    def _measured_edges(self) -> _Edges:
        corners = self._seen(_edge_coalitions(self._n), self.grid)
        return _Edges(
            terms_t2p=np.stack(corner_terms(*corners.corners)),
            first_s=self._law.sizes(self._n - 1)[[0, -1]] @ corners.first_ks,
            # the corners of the first pair around the empty coalition start with its value
            empty_value=float(corners.corners[0, 0, 0]),
        )

    def _piloted(self, edges: _Edges) -> tuple[np.ndarray, np.ndarray]:
        """Where the coalitions go, and a guess of every term, from the pilot and the edges.

        Returns:
            The allocation, [n + 1], and each term by the context's size, [t, n - 1, p]: the usual course
            through the pair's own edges.
        """
        n, inner, question = self._n, self.allocation, self.question
        key = (question.seed, Stream.PILOT)
        bases = tiled_coalitions(inner, *PILOT, 0, PILOT[0], key).reshape(-1, n)
        grid = flip_grid(pilot_sample(question.pairs), n)
        seen = self._seen(bases, grid)
        edge_terms = edges.terms_t2p[..., pilot_sample(np.arange(len(question.pairs)))]
        inner_terms = np.stack(corner_terms(*seen.corners))
        context_size_kp = seen.context_size_kp()
        inside = (context_size_kp > 0) & (context_size_kp < n - 2)
        sizes = bases.sum(1)
        guess = []
        for inner_kp, edge_2p, own_2p in zip(inner_terms, edge_terms, edges.terms_t2p, strict=True):
            # by the size of the coalition, which is close to that of the contexts
            course, usual = _by_size(sizes * (n - 2) / n, inner_kp, inside, edge_2p, n - 2)
            guess.append(_through_edges(course, usual, own_2p))
        typical = _by_size(sizes, inner_terms[0], inside, edge_terms[0], n)[0]
        mean = inner @ typical / inner.sum()
        share = inner * (typical + FLOOR * mean) if mean > 0 else inner
        return share / share.sum(), np.stack(_adding_up(Terms(*guess)))

    def _replicate_sums(self, start: int, stop: int) -> RunningSums:
        """Sums over whole replicates ``start..stop``; terms are weighted: their mean is the estimate."""
        shape, p, law = (self.layout.replicates, self.layout.length), len(self.question.pairs), self._law
        key = (self.question.seed, Stream.TILES)
        bases_kn = tiled_coalitions(self.allocation, *shape, start, stop, key).reshape(-1, self._n)
        corners, coalitions = self._measured(bases_kn), shape[0] * shape[1]
        wanted, weight = self._weights(2, coalitions)
        first = corners.by_first_size(self._weights(1, coalitions)[1]) * corners.first_ks * coalitions
        if self._edges is not None:
            first = first + beside(self._edges.first_s, first)
        self._first_sum = self._first_sum + on_host(first.sum(0))
        self._first_count += len(bases_kn)
        known_tp = wanted @ self._guess_tsp
        if self._edges is not None:
            known_tp = known_tp + law.sizes(self._n - 2)[[0, -1]] @ self._edges.terms_t2p
        weight_kp, terms = corners.by_context_size(weight[:, None]), []
        for at, term_tkp in corners.in_parts(corner_terms(*corners.corners)):
            guess_tkp = corners.by_context_size(self._guess_tsp[at])
            sampled_tkp = weight_kp * (term_tkp - guess_tkp) * coalitions
            whole_tkp = beside(known_tp[at, None], sampled_tkp) + sampled_tkp
            terms += [term_kp.reshape(-1, shape[1], p) for term_kp in whole_tkp]
        return tiled_sums(*whole_terms(Terms(*terms), self.question.two_way))

    def _weights(self, order: int, coalitions: int) -> tuple[np.ndarray, np.ndarray]:
        """Probability and weight of a context of each size, [n - order + 1]; 0 where the edges are exact."""
        wanted = self._law.sizes(self._n - order)
        if self.layout.pilot:
            wanted[[0, -1]] = 0
        drawn = self.allocation / self.allocation.sum()
        expected = coalitions * drawn @ context_probability(self._n, order)
        return wanted, np.divide(wanted, expected, out=np.zeros_like(wanted), where=wanted > 0)


@dataclass(frozen=True)
class _Edges:
    """What the grids around the empty and the full coalition give exactly.

    Attributes:
        terms_t2p: each term in the contexts of size 0 and n - 2.
        first_s: what the contexts of size 0 and n - 1 contribute to the value of each player of the grid.
        empty_value: the game's value of the empty coalition.
    """

    terms_t2p: np.ndarray
    first_s: np.ndarray
    empty_value: float


def pilot_sample(pairs: np.ndarray) -> np.ndarray:
    """Which pairs of a table tell the pilot how differences depend on the size."""
    return pairs[:: -(-len(pairs) // PILOT_PAIRS)]


def _by_size(
    sizes: np.ndarray, inner: np.ndarray, inside: np.ndarray, edge: np.ndarray, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square over pairs at every size 0..last, log-linear between the sizes seen.

    Args:
        sizes: those of the pilot, [k].
        inner, inside: its terms, and which of them count, [k, p].
        edge: terms at sizes 0 and ``last``, [2, p]; a spike there says little about what is beside it.
        last: the largest size.

    Returns:
        The course, [last + 1], and which edges are no spikes, bool [2].
    """
    order = np.argsort(sizes, kind="stable")
    order = order[inside[order].any(1)]
    found = np.sqrt((inner[order] ** 2).mean(1, where=inside[order]))
    if not len(order):
        return np.ones(last + 1), np.zeros(2, dtype=bool)
    ends, most = np.sqrt((edge**2).mean(1)), SPIKE * found[[0, -1]]
    found = np.concatenate([np.minimum(ends, most)[:1], found, np.minimum(ends, most)[1:]])
    at = np.concatenate([[0], sizes[order], [last]])
    floor = found.max() * 1e-6 or 1.0
    course = np.exp(np.interp(np.arange(last + 1), at, np.log(np.maximum(found, floor))))
    return course, ends <= most


def _through_edges(course: np.ndarray, usual: np.ndarray, edge_2p: np.ndarray) -> np.ndarray:
    """A course by size, scaled for each pair to what its edges show where they are no spikes, [s, p]."""
    ends, seen_ep = course[[0, -1]][usual], edge_2p[usual]
    scale_p = ends @ seen_ep / (ends @ ends) if usual.any() else np.zeros(edge_2p.shape[1])
    most_p = np.abs(edge_2p).max(0)  # no more than was seen
    return np.clip(course[:, None] * scale_p, -most_p, most_p)


def _adding_up(guess: Terms[np.ndarray]) -> Terms[np.ndarray]:
    """The guesses of a pair's synergy, redundancy and antagonism made to add up to that of its difference.

    Each was guessed for itself. What is missing goes to the three by their size, so that a term that was not
    seen is not guessed either.
    """
    sizes = [np.abs(term) for term in (guess.synergy, guess.redundancy, guess.antagonism)]
    whole = sum(sizes)
    synergy, redundancy, antagonism = (
        np.divide(size, whole, out=np.full_like(size, 1 / 3), where=whole > 0) for size in sizes
    )
    return adding_up(guess.delta, guess, (synergy, redundancy, antagonism))


def _edge_coalitions(n: int) -> np.ndarray:
    """The empty coalition, and the full one."""
    return np.stack([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)])
