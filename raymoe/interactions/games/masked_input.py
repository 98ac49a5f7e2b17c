"""A game whose players are taken out of the inputs themselves, before anything is encoded.

Each modality is encoded on its own, so a coalition is a combination of one variant of each: a text without
some words, a picture without some regions. A flip grid around one context has (1 + |U|)(1 + |V|) coalitions,
but only 1 + |U| texts and 1 + |V| pictures. So every distinct variant is encoded once, every distinct
combination is put together once, and several values of it (of each expert, of the mixture) are had for one
price. What encoding and putting together mean is the caller's: nothing here knows an encoder.

Shapes: m coalitions, n players, k new ones, K values of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from raymoe.errors import InputError
from raymoe.interactions.games.masked_game import MaskedGame

Variant = TypeVar("Variant")
Encode = Callable[[np.ndarray], Sequence[Variant]]  # bool [k, players of the modality] -> k variants
Fuse = Callable[[Sequence[tuple[Variant, ...]]], np.ndarray]  # k combinations -> float [k, K]


class MaskedInputs(Generic[Variant]):
    """The values of coalitions, kept: asking again costs nothing.

    Args:
        encode: of each modality, what makes variants of its masks; True where the player is there.
        fuse: from combinations, one variant of each modality, to their values.
        player_modality: [n], which modality each player is of; those of one modality in the order in which
            ``encode`` takes them.
        batch_size: combinations that are put together at once.

    Attributes:
        encoded: how many variants of each modality were made so far.
        fused: how many combinations were put together so far.

    Raises:
        InputError: a player of a modality that nothing encodes.
    """

    def __init__(
        self,
        encode: Sequence[Encode[Variant]],
        fuse: Fuse[Variant],
        player_modality: Sequence[int] | np.ndarray,
        batch_size: int = 64,
    ) -> None:
        self.player_modality = np.asarray(player_modality, dtype=np.int64)
        if len(
            self.player_modality
        ) and not 0 <= self.player_modality.min() <= self.player_modality.max() < len(encode):
            raise InputError(
                f"players are of modalities {sorted(set(self.player_modality.tolist()))}, "
                f"{len(encode)} are encoded",
                "Give one function for each modality.",
            )
        self._encode, self._fuse, self._batch_size = encode, fuse, batch_size
        self._own = [np.flatnonzero(self.player_modality == m) for m in range(len(encode))]
        self._variants: list[list[Variant]] = [[] for _ in encode]
        self._number: list[dict[bytes, int]] = [{} for _ in encode]  # of the variant of each mask
        self._values: dict[tuple[int, ...], np.ndarray] = {}

    @property
    def encoded(self) -> list[int]:
        """Of each modality."""
        return [len(variants) for variants in self._variants]

    @property
    def fused(self) -> int:
        """Of all combinations."""
        return len(self._values)

    def values(self, coalitions: np.ndarray) -> np.ndarray:
        """All values of coalitions, bool [m, n] -> float64 [m, K]."""
        numbers = np.stack([self._numbers(m, coalitions) for m in range(len(self._own))], 1)
        distinct, place = np.unique(numbers, axis=0, return_inverse=True)
        keys = [tuple(row) for row in distinct.tolist()]
        new = [key for key in keys if key not in self._values]
        for start in range(0, len(new), self._batch_size):
            part = new[start : start + self._batch_size]
            found = self._fuse([tuple(self._variants[m][i] for m, i in enumerate(key)) for key in part])
            self._values |= zip(part, np.asarray(found, dtype=np.float64), strict=True)
        each = np.stack([self._values[key] for key in keys])
        return each[place.reshape(-1)]

    def _numbers(self, modality: int, coalitions: np.ndarray) -> np.ndarray:
        """The variant of each coalition, [m]; those that are new are encoded, each once."""
        known, own = self._number[modality], coalitions[:, self._own[modality]]
        if not own.shape[1]:  # a modality without players: it is always whole
            own = np.ones((len(coalitions), 1), dtype=bool)
        distinct, place = np.unique(own, axis=0, return_inverse=True)
        names = [row.tobytes() for row in distinct]
        new = [i for i, name in enumerate(names) if name not in known]
        if new:
            masks = distinct[new][:, : len(self._own[modality])]
            made = self._encode[modality](masks)
            for i, variant in zip(new, made, strict=True):
                known[names[i]] = len(self._variants[modality])
                self._variants[modality].append(variant)
        return np.array([known[name] for name in names], dtype=np.int64)[place.reshape(-1)]


class MaskedInputGame(MaskedGame):
    """One of the values as a game: ``bool[m, n] -> float64[m]``.

    Args:
        inputs: shared by the games of all values.
        column: which value.
        name: what is explained, for messages.
    """

    def __init__(self, inputs: MaskedInputs[Variant], column: int, name: str = "") -> None:
        self.inputs, self.column, self.name = inputs, column, name
        self.player_modality = inputs.player_modality
        self.num_players = len(inputs.player_modality)

    def _values(self, coalitions: np.ndarray) -> np.ndarray:
        values: np.ndarray = self.inputs.values(coalitions)[:, self.column]
        return values
