"""Games held as tables of all their values: what estimators are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Tabulated:
    """A game by its values for all 2^n coalitions; bit i of the index says whether player i is in."""

    def __init__(self, name: str, values: np.ndarray, words: int) -> None:
        self.name, self.values, self.words = name, values.astype(float), words
        self.num_players = int(np.log2(len(values)))
        self._bits = 1 << np.arange(self.num_players)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        return self.values[np.atleast_2d(coalitions) @ self._bits]

    @property
    def pairs(self) -> np.ndarray:
        """All pairs of a word and a patch."""
        return np.array([(u, v) for u in range(self.words) for v in range(self.words, self.num_players)])


def read_games(folder: Path) -> list[Tabulated]:
    """All games of a folder, in the order of their names."""
    games = []
    for path in sorted(folder.glob("*.npz")):
        held = np.load(path)
        games.append(Tabulated(path.stem, held["values"], int(held["words"])))
    if not games:
        raise SystemExit(f"{folder} holds no tabulated games (*.npz)")
    return games
