"""A sum of a few products over players, found one after the other.

A product is 1 where all of some players are there and all of some others are gone. Many games are few of them
(words that count only together), and then a few hundred evaluations tell the game; what one product adds to
the index is one number. Products grow out of those found already: each round takes the candidates, one player
longer than a product or alone, that go along with what is left, and fits all anew. It ends where coalitions
that were held back are no longer predicted better.

Shapes: m coalitions, n players, s products.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln

from raymoe.interactions.sampling.coalitions import SizeLaw

MOST = 800  # products
EACH = 8  # taken in a round, or
SHARE = 20  # one for so many that there are
ROWS = 5120  # coalitions that products are looked for with; all are used to weigh them
PARENTS = 64  # products that are tried with one more player, those that weigh most
FEWEST = 6  # coalitions on either side of a product
HELD = 5  # one of so many coalitions is held back
PATIENCE = 5  # rounds without a gain
RIDGE = 1.0


class Products:
    """A fitted sum.

    Attributes:
        constant: of the value.
        there, gone: players that must be there, and that must not, bool [s, n].
        weight: of each product, [s].
    """

    def __init__(self, constant: float, there: np.ndarray, gone: np.ndarray, weight: np.ndarray) -> None:
        self.constant, self.there, self.gone, self.weight = constant, there, gone, weight

    @classmethod
    def fitted(
        cls, coalitions: np.ndarray, values: np.ndarray, kind: str = "mixed", most: int = MOST
    ) -> Products:
        """Fitted to values of coalitions, in the order given: the last of every few are held back.

        Args:
            coalitions: bool [m, n].
            values: [m].
            kind: of what products: ``there`` and ``gone`` ask one thing of all their players; ``mixed``.
            most: products.
        """
        some, some_values = coalitions[:ROWS], values[:ROWS]
        held = np.arange(len(some)) % HELD == HELD - 1
        search = _Search(some, some_values, held, kind)
        best, least, since = 0, search.missed(), 0
        while since < PATIENCE and len(search.weight) < most and search.grow():
            error = search.missed()
            since += 1
            if error < 0.999 * least:
                best, least, since = len(search.weight), error, 0
        there, gone = (rows[:best] for rows in search.found())
        columns = _columns(coalitions, there, gone)
        constant, weight = _ridge(columns, values)
        return cls(constant, there, gone, weight)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Values, [m]."""
        found: np.ndarray = self.constant + _columns(coalitions, self.there, self.gone) @ self.weight
        return found

    def interactions(self, law: SizeLaw, key: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]."""
        return products_index(self.there.astype(float), self.gone.astype(float), self.weight, law)


def products_index(
    there: np.ndarray, gone: np.ndarray, value: np.ndarray, law: SizeLaw
) -> tuple[np.ndarray, np.ndarray]:
    """The index of a sum of products, of every player and of every pair."""
    p, q = there.sum(1), gone.sum(1)

    def weighted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product: np.ndarray = value * _chance(law, a, b)
        return product

    first = there.T @ weighted(p - 1, q) - gone.T @ weighted(p, q - 1)
    mixed = there.T @ (weighted(p - 1, q - 1)[:, None] * gone)
    second = there.T @ (weighted(p - 2, q)[:, None] * there)
    second += gone.T @ (weighted(p, q - 2)[:, None] * gone)
    return first, second - mixed - mixed.T


def _chance(law: SizeLaw, there: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """How likely a context has all of so many players and none of so many others; 0 for a negative number."""
    known = (there >= 0) & (gone >= 0)
    a, b = np.maximum(there, 0), np.maximum(gone, 0)
    if law.index == "sii":  # each player is in with probability t, and t is uniform
        chance = np.exp(betaln(a + 1, b + 1))
    else:
        chance = law.inclusion**a * (1 - law.inclusion) ** b
    found: np.ndarray = np.where(known, chance, 0.0)
    return found


def _columns(coalitions: np.ndarray, there: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Each product of each coalition, 0 or 1, [m, s]."""
    x = coalitions.astype(np.float32)
    short = there.sum(1) - x @ there.T.astype(np.float32) + x @ gone.T.astype(np.float32)
    found: np.ndarray = (short < 0.5).astype(np.float32)
    return found


def _ridge(columns: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Constant and weights of least squares, drawn a little towards 0."""
    if not columns.shape[1]:
        return float(values.mean()), np.zeros(0)
    mean, centre = columns.mean(0, dtype=np.float64), float(values.mean())
    gram = (columns.T @ columns).astype(np.float64) - len(columns) * np.outer(mean, mean)
    slope = columns.T.astype(np.float64) @ (values - centre)
    gram[np.diag_indices_from(gram)] += RIDGE
    weight: np.ndarray = np.linalg.solve(gram, slope)
    return centre - float(mean @ weight), weight


class _Search:
    """Products found so far, and their fit."""

    def __init__(self, coalitions: np.ndarray, values: np.ndarray, held: np.ndarray, kind: str) -> None:
        self.n = coalitions.shape[1]
        self.allowed = np.repeat([kind != "gone", kind != "there"], self.n)
        x = coalitions.astype(np.float32)
        both = np.concatenate([x, 1 - x], 1)
        self.sides, self.held_sides = both[~held], both[held]
        self.values, self.held_values = values[~held], values[held]
        self.m, self.centre = len(self.values), float(self.values.mean())
        self.constant, self.weight = self.centre, np.zeros(0)
        self.members: list[tuple[int, ...]] = []  # i is player i there, n + i player i gone
        self.columns = np.zeros((self.m, 0), dtype=np.float32)
        self.held_columns = np.zeros((len(self.held_values), 0), dtype=np.float32)
        self.gram = np.zeros((0, 0))
        self.slope = np.zeros(0)
        self._scale = np.zeros(0)
        self._known: set[tuple[int, ...]] = set()

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """Players there and gone, bool [s, n] each."""
        rows = np.zeros((len(self.members), 2 * self.n), dtype=bool)
        for row, players in zip(rows, self.members, strict=True):
            row[list(players)] = True
        return rows[:, : self.n], rows[:, self.n :]

    def missed(self) -> float:
        """Sum of squares of what is missed of the coalitions held back."""
        rest = self.held_values - self.constant - self.held_columns @ self.weight
        return float(rest @ rest)

    def grow(self) -> bool:
        """Add the products that go along best with what is left; whether there were any."""
        rest = (self.values - self.constant - self.columns @ self.weight).astype(np.float32)
        rest -= rest.mean()
        parents = np.argsort(-np.abs(self.weight) * self._scale, kind="stable")[:PARENTS].tolist()
        base = np.concatenate([np.ones((self.m, 1), dtype=np.float32), self.columns[:, parents]], 1)
        count = (base.T @ self.sides).astype(np.float64)
        along = ((base * rest[:, None]).T @ self.sides).astype(np.float64)
        spread = count - count**2 / self.m
        many = self.allowed & (count >= FEWEST) & (self.m - count >= FEWEST)
        each = max(EACH, len(self.members) // SHARE)
        gain = np.where(many, along**2 / np.maximum(spread, 1.0), 0.0)
        new: list[tuple[int, ...]] = []
        for at in np.argsort(-gain, axis=None, kind="stable")[: 8 * each].tolist():
            parent, side = divmod(at, 2 * self.n)
            own = () if parent == 0 else self.members[parents[parent - 1]]
            players = tuple(sorted({*own, side}))
            if not own and self.allowed.all():  # alone, to be gone says the same as to be there
                players = (side % self.n,)
            if gain.flat[at] > 0 and players not in self._known:
                self._known.add(players)
                new.append(players)
            if len(new) == each:
                break
        if new:
            self._add(new)
        return bool(new)

    def _add(self, new: list[tuple[int, ...]]) -> None:
        columns, held_columns = (
            np.stack([sides[:, list(players)].min(1) for players in new], 1)
            for sides in (self.sides, self.held_sides)
        )
        self.members += new
        self.held_columns = np.concatenate([self.held_columns, held_columns], 1)
        cross = (self.columns.T @ columns).astype(np.float64)
        inner = (columns.T @ columns).astype(np.float64)
        self.gram = np.block([[self.gram, cross], [cross.T, inner]])
        self.slope = np.concatenate([self.slope, columns.T.astype(np.float64) @ (self.values - self.centre)])
        self.columns = np.concatenate([self.columns, columns], 1)
        mean = self.columns.mean(0, dtype=np.float64)
        gram = self.gram - self.m * np.outer(mean, mean)
        self._scale = np.sqrt(np.maximum(np.diag(gram), 0))
        gram[np.diag_indices_from(gram)] += RIDGE
        self.weight = np.linalg.solve(gram, self.slope)
        self.constant = self.centre - float(mean @ self.weight)
