"""Monte Carlo estimators of pairwise interactions, behind one door.

A game is any callable ``bool[m, n] -> float[m]``. Two estimators so far: ``shared`` (one coalition serves
every pair) and ``paper`` (four evaluations per pair and coalition, contexts drawn per pair). Each is a
function of a block of coalitions; blocks add up to the whole estimate whatever the cut.

Shapes: k coalitions, n players, p pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raymoe.errors import InputError, RaymoeError
from raymoe.interactions.coalitions import GROUP, pair_contexts, shared_coalitions
from raymoe.interactions.sums import RunningSums, corner_sums

Game = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class InteractionEstimate:
    """Scores aligned to ``pairs``; arrays [p] in the units of the game's value (a logit)."""

    pairs: np.ndarray
    sii: np.ndarray
    sii_stderr: np.ndarray
    redundancy_gap: np.ndarray
    redundancy_gap_stderr: np.ndarray
    base_mean: np.ndarray
    span_mean: np.ndarray
    num_evaluations: int
    sums: RunningSums | None = None


def estimate(
    game: Game,
    pairs: np.ndarray,
    *,
    budget: int,
    method: str = "shared",
    seed: int = 0,
    num_players: int | None = None,
) -> InteractionEstimate:
    """Shapley Interaction Index and redundancy gap of chosen pairs.

    Args:
        game: ``bool[m, n] -> float[m]``.
        pairs: int [p, 2], two different players each.
        budget: the most evaluations of the game.
        method: ``shared`` or ``paper``.
        seed: what is drawn depends on it alone.
        num_players: n, when the game has no attribute of that name.

    Raises:
        InputError: unknown method, pairs out of range or of a player with itself, or a budget too small for
        one
            group of coalitions on these pairs.
    """
    n = num_players if num_players is not None else getattr(game, "num_players", None)
    if n is None:
        raise InputError("the game has no num_players", "Pass num_players=.")
    pairs = check_pairs(pairs, n)
    each = evaluations_per_coalition(pairs, method)
    step = GROUP if method == "shared" else 1
    coalitions = budget // each // step * step
    if coalitions < max(step, 2):
        raise InputError(
            f"budget {budget} is too small: {method!r} on {len(pairs)} pairs takes {each} evaluations per "
            f"coalition and at least {max(step, 2)} coalitions",
            f"Give a budget of at least {each * max(step, 2)}, or fewer pairs.",
        )
    sums = block_sums(game, pairs, n, method=method, total=coalitions, start=0, stop=coalitions, seed=seed)
    return InteractionEstimate(pairs=pairs, num_evaluations=coalitions * each, sums=sums, **sums.scores())


def block_sums(
    game: Game, pairs: np.ndarray, n: int, *, method: str, total: int, start: int, stop: int, seed: int
) -> RunningSums:
    """Running sums over coalitions ``start..stop`` of ``total``: the unit that work is cut into.

    Args:
        game, pairs, seed: as in ``estimate``.
        n: players.
        method: ``shared`` or ``paper``.
        total: coalitions of the whole estimate.
        start, stop: multiples of 4 for ``shared``.
    """
    return METHODS[method](game, pairs, n, total, start, stop, seed)


def evaluations_per_coalition(pairs: np.ndarray, method: str) -> int:
    """Evaluations of the game that one coalition costs for all pairs together.

    Raises:
        InputError: unknown method.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}", f"Methods: {', '.join(METHODS)}.")
    return 4 * len(pairs) if method == "paper" else 1 + len(np.unique(pairs)) + len(pairs)


def check_pairs(pairs: np.ndarray, n: int) -> np.ndarray:
    """Pairs as int64 [p, 2], or an InputError that names the first bad one."""
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or not np.issubdtype(pairs.dtype, np.integer):
        raise InputError(f"pairs must be integers [p, 2] with p > 0, got {pairs.dtype} {pairs.shape}")
    bad = (pairs[:, 0] == pairs[:, 1]) | (pairs < 0).any(1) | (pairs >= n).any(1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"pair {row} is {pairs[row].tolist()}", f"A pair is two different players among 0..{n - 1}."
        )
    return pairs.astype(np.int64)


def _shared(
    game: Game, pairs: np.ndarray, n: int, total: int, start: int, stop: int, seed: int
) -> RunningSums:
    """One coalition for every pair: f on S, on S with one player flipped, on S with both flipped."""
    if start % GROUP or stop % GROUP:
        raise ValueError(f"blocks of the shared estimator are multiples of {GROUP}, got {start}..{stop}")
    base_kn = shared_coalitions(n, total, start, stop, seed)
    singles = np.unique(pairs)
    flips = np.zeros((1 + len(singles) + len(pairs), n), dtype=bool)
    flips[1 + np.arange(len(singles)), singles] = True
    at = 1 + len(singles) + np.arange(len(pairs))
    flips[at, pairs[:, 0]] = flips[at, pairs[:, 1]] = True
    values = evaluate(game, (base_kn[:, None] ^ flips).reshape(-1, n)).reshape(len(base_kn), len(flips))

    # values by which of u and v were flipped; whether a flip adds or removes depends on S
    column = np.searchsorted(singles, pairs)
    by_flip = np.stack(
        [
            np.broadcast_to(values[:, :1], (len(base_kn), len(pairs))),
            values[:, 1 + column[:, 0]],
            values[:, 1 + column[:, 1]],
            values[:, 1 + len(singles) :],
        ]
    )
    has_u, has_v = base_kn[:, pairs[:, 0]], base_kn[:, pairs[:, 1]]
    corners = []
    for want_u, want_v in ((0, 0), (1, 0), (0, 1), (1, 1)):
        flipped = (has_u ^ bool(want_u)) + 2 * (has_v ^ bool(want_v))
        corners.append(np.take_along_axis(by_flip, flipped[None], 0)[0])
    return corner_sums(*corners, contrasts=True)


def _paper(
    game: Game, pairs: np.ndarray, n: int, total: int, start: int, stop: int, seed: int
) -> RunningSums:
    """Four evaluations per pair and coalition, contexts drawn per pair (paper §3.2.2)."""
    masks = []
    for u, v in pairs:
        contexts = pair_contexts(n, int(u), int(v), start, stop, seed)
        four = np.repeat(contexts[None], 4, 0)
        four[[1, 3], :, u] = True
        four[[2, 3], :, v] = True
        masks.append(four)
    masks_4kpn = np.stack(masks, 2)
    values = evaluate(game, masks_4kpn.reshape(-1, n)).reshape(masks_4kpn.shape[:3])
    return corner_sums(*values, contrasts=False)


METHODS = {"shared": _shared, "paper": _paper}


def evaluate(game: Game, coalitions: np.ndarray) -> np.ndarray:
    """The game's values as float64 [m], checked.

    Raises:
        RaymoeError: the game answers with another shape or with values that are not finite.
    """
    values = np.asarray(game(coalitions), dtype=np.float64)
    if values.shape != (len(coalitions),):
        raise RaymoeError(
            f"the game answered {values.shape} for {len(coalitions)} coalitions",
            "It must return one value each.",
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        members = np.flatnonzero(coalitions[row]).tolist()
        raise RaymoeError(f"the game's value is {values[row]} for the coalition of players {members}")
    return values
