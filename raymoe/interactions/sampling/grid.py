"""One coalition for every interaction: f on S, on S with one player flipped, on S with several flipped.

S without the players of an interaction is a context of it, so every interaction finds its corner values among
these evaluations: 1 + |players| + |pairs| of them serve |pairs| second differences.

Shapes: k coalitions, n players, p interactions of one order (2 or 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from raymoe.interactions.games.game import Game, evaluate


class FlipGrid:
    """Which players are flipped to measure given interactions.

    Args:
        interactions: int [p, order], players of each.
        n: players.
    """

    def __init__(self, interactions: np.ndarray, n: int) -> None:
        self.interactions, self.n = interactions, n
        order = interactions.shape[1]
        flips: list[tuple[int, ...]] = [()]
        for size in range(1, order + 1):
            faces = {
                tuple(sorted(int(row[i]) for i in chosen))
                for row in interactions
                for chosen in combinations(range(order), size)
            }
            flips += sorted(faces)
        self._column = {flip: i for i, flip in enumerate(flips)}
        self.players = np.array([flip[0] for flip in flips if len(flip) == 1], dtype=np.int64)
        self.flips = np.zeros((len(flips), n), dtype=bool)
        for row, flip in enumerate(flips):
            self.flips[row, list(flip)] = True
        # columns[b, i]: the flips of the members of interaction i whose bit is set in b
        self._columns = np.array(
            [
                [
                    self._column[tuple(sorted(int(u) for j, u in enumerate(row) if b >> j & 1))]
                    for row in interactions
                ]
                for b in range(1 << order)
            ]
        )

    @property
    def evaluations(self) -> int:
        """How many evaluations one coalition costs."""
        return len(self.flips)

    def measure(self, game: Game, bases_kn: np.ndarray) -> Corners:
        """Evaluate the grid around each coalition."""
        masks = (bases_kn[:, None] ^ self.flips).reshape(-1, self.n)
        return self.corners(bases_kn, evaluate(game, masks).reshape(len(bases_kn), -1))

    def corners(self, bases_kn: np.ndarray, values_kf: np.ndarray) -> Corners:
        """Sort the grid's values by which members are present."""
        order = self.interactions.shape[1]
        present_kp = sum(bases_kn[:, self.interactions[:, j]].astype(np.int64) << j for j in range(order))
        row = np.arange(len(bases_kn))[:, None]
        each = np.arange(len(self.interactions))
        corners = np.stack(
            [values_kf[row, self._columns[present_kp ^ wanted, each]] for wanted in range(1 << order)]
        )
        inside_kp = sum(present_kp >> j & 1 for j in range(order))
        members_k1 = bases_kn.sum(1)[:, None]
        own = bases_kn[:, self.players]
        first = values_kf[:, 1 : 1 + len(self.players)] - values_kf[:, :1]
        return Corners(
            corners=corners,
            context_size_kp=members_k1 - inside_kp,
            first_ks=np.where(own, -first, first),
            first_size_ks=members_k1 - own,
        )


def grid_evaluations(interactions: np.ndarray) -> int:
    """What ``FlipGrid(interactions, n).evaluations`` will be, without building it."""
    ordered, order = np.sort(interactions, 1), interactions.shape[1]
    n = int(ordered.max()) + 1
    count = 1
    for size in range(1, order + 1):
        digits = n ** np.arange(size)  # a face as one number: much faster to sort than rows
        faces = [ordered[:, list(chosen)] @ digits for chosen in combinations(range(order), size)]
        count += len(np.unique(np.concatenate(faces)))
    return count


@dataclass(frozen=True)
class Corners:
    """Corner values around k coalitions.

    Attributes:
        corners: f by which members are present (bit j: member j), [2^order, k, p].
        context_size_kp: players of the context.
        first_ks: f(S + u) - f(S) of every player that is flipped, S without u.
        first_size_ks: players of that context.
    """

    corners: np.ndarray
    context_size_kp: np.ndarray
    first_ks: np.ndarray
    first_size_ks: np.ndarray

    def difference(self) -> np.ndarray:
        """The discrete derivative of the interactions' order, [k, p]."""
        order = int(np.log2(len(self.corners)))
        signs = np.array([(-1) ** (order - b.bit_count()) for b in range(len(self.corners))])
        return np.tensordot(signs, self.corners, 1)
