"""One coalition for every interaction: f on S, on S with one player flipped, on S with several flipped.

S without the players of an interaction is a context of it, so every interaction finds its corner values among
these evaluations: 1 + |players| + |pairs| of them serve |pairs| second differences.

Shapes: k coalitions, n players, p interactions of one order (2 or 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, pairwise
from typing import Generic, cast

import numpy as np
import torch
from torch import Tensor

from raymoe.interactions.arrays import Array, beside, by_column, library, on_host, rows_of, stacked
from raymoe.interactions.games.game import Game, evaluate
from raymoe.interactions.games.tensor_game import TensorGame, tensor_game


class FlipGrid:
    """Which players are flipped to measure given interactions.

    Args:
        interactions: int [p, order], players of each.
        n: players.
    """

    def __init__(self, interactions: np.ndarray, n: int) -> None:
        self.interactions, self.n = interactions, n
        members, order = np.sort(interactions, 1), interactions.shape[1]
        self.flips = np.zeros((1, n), dtype=bool)
        # columns[b, i]: the flips of the members of interaction i whose bit is set in b
        self._columns = np.zeros((1 << order, len(interactions)), dtype=np.int64)
        # where member j of each interaction stands among its sorted members
        place = np.argsort(np.argsort(interactions, 1, kind="stable"), 1, kind="stable")
        for size in range(1, order + 1):
            digits = n ** np.arange(size)[::-1]  # numbers in the order of the sorted members
            codes = {chosen: members[:, list(chosen)] @ digits for chosen in combinations(range(order), size)}
            faces = np.unique(np.concatenate(list(codes.values())))
            start = len(self.flips)
            flips = np.zeros((len(faces), n), dtype=bool)
            for digit in digits:
                flips[np.arange(len(faces)), faces // digit % n] = True
            self.flips = np.concatenate([self.flips, flips])
            for bits in range(1 << order):
                chosen = [j for j in range(order) if bits >> j & 1]
                if len(chosen) == size:
                    at = np.sort(place[:, chosen], 1)
                    code = np.take_along_axis(members, at, 1) @ digits
                    self._columns[bits] = start + np.searchsorted(faces, code)
        self.players = np.unique(interactions)
        self._placed: dict[tuple[str, torch.device | None], np.ndarray | Tensor] = {}

    @property
    def evaluations(self) -> int:
        """How many evaluations one coalition costs."""
        return len(self.flips)

    def measure(self, game: Game, bases_kn: np.ndarray) -> Corners[np.ndarray]:
        """Evaluate the grid around each coalition and sort the values.

        Where the game stays on its device (``TensorGame``), so do the arrays: tensors, to which the same
        formulas apply (``arrays``).
        """
        return self.corners(bases_kn, self.values(game, bases_kn))

    def values(self, game: Game, bases_kn: np.ndarray) -> np.ndarray:
        """The game's values of the grid around each coalition, [k, f], where it computes them."""
        on_device = tensor_game(game)
        if on_device is not None:
            return cast("np.ndarray", self._device_values(on_device, bases_kn))
        masks = (bases_kn[:, None] ^ self.flips).reshape(-1, self.n)
        return evaluate(game, masks).reshape(len(bases_kn), -1)

    def corners(self, bases_kn: np.ndarray, values_kf: Array) -> Corners[Array]:
        """Sort the grid's values by which members are present."""
        pairs, columns, players = (self._beside(name, values_kf) for name in ("pairs", "columns", "players"))
        bases = beside(bases_kn, values_kf)
        present = [bases[:, members] for members in pairs]
        first = values_kf[:, 1 : 1 + len(players)] - values_kf[:, :1]
        own_ks = bases[:, players]
        return Corners(
            corners=_by_presence([by_column(values_kf[:, at]) for at in columns], present),
            present=present,
            first_ks=library(first).where(own_ks, -first, first),
            own_ks=own_ks,
            size_k=bases_kn.sum(1),
        )

    def _beside(self, name: str, like: Array) -> Array:
        """One of the grid's constants, put where values lie once."""
        place = like.device if isinstance(like, Tensor) else None
        if (name, place) not in self._placed:
            constants = {
                "pairs": self.interactions.T,
                "columns": self._columns,
                "players": self.players,
                "flips": self.flips,
            }
            self._placed[name, place] = beside(constants[name], like)
        return cast("Array", self._placed[name, place])

    @cached_property
    def _flip_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """The flips in a precision that matrix products are fast in, and their sizes."""
        return self.flips.T.astype(np.float32), self.flips.sum(1)

    def _device_values(self, game: TensorGame, bases_kn: np.ndarray) -> Tensor:
        flips_nf, size_f = self._flip_sizes
        # The host knows how large every coalition is without looking at the device's.
        common_kf = (bases_kn.astype(np.float32) @ flips_nf).astype(np.int64)
        sizes = (bases_kn.sum(1)[:, None] + size_f - 2 * common_kf).reshape(-1)
        bases, flips = (
            torch.from_numpy(x).to(game.device, non_blocking=True) for x in (bases_kn, self.flips)
        )
        masks = (bases[:, None] ^ flips).view(-1, self.n)
        return game.checked_values(masks, sizes).view(len(bases_kn), -1)


def _by_presence(flipped: list[Array], present: list[Array]) -> Array:
    """From values by which members are flipped, [k, p] each, to those by which are there, [2^order, k, p]."""
    where = library(flipped[0]).where
    for j, present_kp in enumerate(present):
        for b in range(len(flipped)):
            if not b >> j & 1:
                without, with_it = flipped[b], flipped[b | 1 << j]
                flipped[b] = where(present_kp, with_it, without)
                flipped[b | 1 << j] = where(present_kp, without, with_it)
    return stacked(flipped)


@lru_cache(maxsize=64)  # samples with as many features of each modality often have the very same pairs
def _flip_grid(interactions: bytes, order: int, n: int) -> FlipGrid:
    return FlipGrid(np.frombuffer(interactions, dtype=np.int64).reshape(-1, order), n)


def flip_grid(interactions: np.ndarray, n: int) -> FlipGrid:
    """The grid of given interactions, made once."""
    interactions = np.ascontiguousarray(interactions, dtype=np.int64)
    return _flip_grid(interactions.tobytes(), interactions.shape[1], n)


def grid_evaluations(interactions: np.ndarray) -> int:
    """What ``FlipGrid(interactions, n).evaluations`` will be, without building it."""
    interactions = np.ascontiguousarray(interactions, dtype=np.int64)
    return _grid_evaluations(interactions.tobytes(), interactions.shape[1])


@lru_cache(maxsize=256)
def _grid_evaluations(interactions: bytes, order: int) -> int:
    ordered = np.sort(np.frombuffer(interactions, dtype=np.int64).reshape(-1, order), 1)
    n = int(ordered.max()) + 1
    count = 1
    for size in range(1, order + 1):
        digits = n ** np.arange(size)  # a face as one number: much faster to sort than rows
        faces = [ordered[:, list(chosen)] @ digits for chosen in combinations(range(order), size)]
        count += len(np.unique(np.concatenate(faces)))
    return count


@dataclass(frozen=True)
class Corners(Generic[Array]):
    """Corner values around k coalitions.

    Attributes:
        corners: f by which members are present (bit j: member j), [2^order, k, p].
        present: which coalitions each member is in, [k, p] for each of the ``order`` members.
        first_ks: f(S + u) - f(S) of every player that is flipped, S without u.
        own_ks: which coalitions that player is in.
        size_k: players of each coalition; the host's.
    """

    corners: Array
    present: list[Array]
    first_ks: Array
    own_ks: Array
    size_k: np.ndarray

    def difference(self) -> Array:
        """The discrete derivative of the interactions' order, [k, p]."""
        order = len(self.present)
        signs = np.array([(-1) ** (order - b.bit_count()) for b in range(1 << order)])
        difference: Array = library(self.corners).tensordot(
            beside(signs.astype(np.float64), self.corners), self.corners, 1
        )
        return difference

    def context_size_kp(self) -> np.ndarray:
        """Players of each context."""
        return self.size_k[:, None] - sum(on_host(p).astype(np.int64) for p in self.present)

    @property
    def launches_are_dear(self) -> bool:
        """Whether one large operation is better than several that fit into a processor's caches."""
        return isinstance(self.corners, Tensor) and self.corners.device.type != "cpu"

    def in_parts(self, terms: Sequence[Array]) -> list[tuple[slice, Array]]:
        """Terms [k, p] one by one or all at once, as the device likes it: which they are, and [t, k, p]."""
        if self.launches_are_dear:
            return [(slice(None), stacked(terms))]
        return [(slice(t, t + 1), term_kp[None]) for t, term_kp in enumerate(terms)]

    def by_context_size(self, table_sp: np.ndarray) -> Array:
        """What a table holds for the size of each context, [..., k, p].

        Args:
            table_sp: [..., s, p], or [..., s, 1] where all interactions have the same; the host's.
        """
        return _by_size(table_sp, self.size_k, self.present, self.corners)

    def by_first_size(self, table_s: np.ndarray) -> Array:
        """Likewise for the contexts of single players, [k, s]."""
        return _by_size(table_s[:, None], self.size_k, [self.own_ks], self.corners)


def _by_size(table_sp: np.ndarray, size_k: np.ndarray, present: list[Array], like: Array) -> Array:
    """Rows of a table by the size of what is left without the members that are present."""
    # A context has as many players as its coalition, less 0, 1, ... : whole rows are taken, and chosen among.
    at = [np.clip(size_k - inside, 0, table_sp.shape[-2] - 1) for inside in range(len(present) + 1)]
    rows = [rows_of(beside(table_sp, like), beside(each, like)) for each in at]
    where = library(like).where
    for present_kp in present:
        rows = [where(present_kp, with_it, without) for without, with_it in pairwise(rows)]
    return rows[0]
