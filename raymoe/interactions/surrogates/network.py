"""A small network over coalitions.

What people explain are networks, and a network learns them from few evaluations: on trained experts and dual
encoders it left a half to a tenth of what boosted trees did. Its index has no closed form, but a value of it
costs microseconds: all 2^n are taken where that is a million, else many times more than the game was asked,
of what another model leaves of it whose index is known.

Shapes: m coalitions, n players.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from raymoe.interactions.sampling.coalitions import SizeLaw, drawn_coalitions
from raymoe.interactions.surrogates.products import Products
from raymoe.interactions.weighted_values import index_of_values, log_choose, value_sizes

WIDTH = 64
LAYERS = 3
BATCH = 256
RATE = 1e-2
MOST_ENUMERATED = 20  # players
AT_ONCE = 1 << 14
CONTROL = 1 << 14  # values of the network that its control is fitted to
VALUES = 1 << 16  # of the network, for one estimate of its index


class Model(Protocol):
    """What can be fitted to a game."""

    def __call__(self, coalitions: np.ndarray, /) -> np.ndarray:
        """Values, [m]."""

    def interactions(self, law: SizeLaw, key: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n].

        Args:
            law: of contexts.
            key: of what is drawn where the index has no closed form; what is drawn makes it no less true on
                average.
        """


class Network:
    """A fitted network.

    Args:
        layers: of it.
        n: players.
        centre, scale: of the values it was fitted to.
        control: fits the model that most of the index comes from, where not all 2^n values are taken.
    """

    def __init__(
        self,
        layers: nn.Sequential,
        n: int,
        centre: float,
        scale: float,
        control: Callable[[np.ndarray, np.ndarray], Model] = Products.fitted,
    ) -> None:
        self.layers, self.n, self.centre, self.scale = layers, n, centre, scale
        self._fit_control = control
        self._control: Model | None = None
        self._known: dict[SizeLaw, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def fitted(
        cls,
        coalitions: np.ndarray,
        values: np.ndarray,
        *,
        steps: int,
        seed: int,
        control: Callable[[np.ndarray, np.ndarray], Model] = Products.fitted,
    ) -> Network:
        """Fitted by ``steps`` steps of Adam.

        Args:
            coalitions: bool [m, n].
            values: [m].
            steps: of so many coalitions each.
            seed: of the first weights and of the batches.
            control: see above.
        """
        centre, scale = float(values.mean()), float(values.std()) or 1.0
        rng = torch.Generator().manual_seed(seed)
        x = torch.from_numpy(coalitions).float()
        y = torch.from_numpy((values - centre) / scale).float()
        n = x.shape[1]
        layers = _layers(n, rng)
        optimiser = torch.optim.AdamW(
            layers.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.2)
        with torch.enable_grad():
            for _ in range(steps):
                rows = torch.randint(len(x), (BATCH,), generator=rng)
                loss = (layers(x[rows])[:, 0] - y[rows]).square().mean()
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
        return cls(layers, n, centre, scale, control)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Values, [m]."""
        with torch.no_grad():
            starts = range(0, len(coalitions), AT_ONCE)
            batches = (torch.from_numpy(coalitions[start : start + AT_ONCE]) for start in starts)
            parts = [self.layers(batch.float())[:, 0] for batch in batches]
        found: np.ndarray = self.centre + self.scale * torch.cat(parts).double().numpy()
        return found

    @property
    def is_exact(self) -> bool:
        """Whether its index is known rather than sampled."""
        return self.n <= MOST_ENUMERATED

    def interactions(self, law: SizeLaw, key: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]; see ``Model``."""
        if not self.is_exact:
            return self._sampled(law, key)
        if law not in self._known:
            rows = enumerated_coalitions(self.n)
            self._known[law] = index_of_values(rows, self(rows), law)
        return self._known[law]

    def control(self, law: SizeLaw, key: tuple[int, ...]) -> Model:
        """The model that most of the index comes from, fitted once."""
        if self._control is None:
            rows = drawn_coalitions(value_sizes(self.n, law), CONTROL, key)
            rows = rows[np.random.default_rng(0).permutation(len(rows))]  # of all sizes wherever it is cut
            self._control = self._fit_control(rows, self(rows))
        return self._control

    def _sampled(self, law: SizeLaw, key: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        n, control = self.n, self.control(law, (*key, 1))
        sizes = value_sizes(n, law)
        rows = drawn_coalitions(sizes, VALUES, (*key, 0))
        with np.errstate(divide="ignore"):
            each = np.exp(log_choose(n, np.arange(n + 1)) - np.log(VALUES * sizes))
        rest = (self(rows) - control(rows)) * each[rows.sum(1)]
        (first, second), (known_first, known_second) = (
            index_of_values(rows, rest, law),
            control.interactions(law),
        )
        return known_first + first, known_second + second


class Among:
    """A model of some players, as one of all n: the others change nothing.

    Args:
        model: of the players alone.
        players: which they are, [k].
        n: of all.
    """

    def __init__(self, model: Network, players: np.ndarray, n: int) -> None:
        self.model, self.players, self.n = model, players, n

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Values, [m]."""
        return self.model(coalitions[:, self.players])

    def interactions(self, law: SizeLaw, key: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The index of every player, [n], and of every pair, [n, n]; see ``Model``."""
        # who changes nothing changes no interaction of the others, for both laws of contexts
        first, second = np.zeros(self.n), np.zeros((self.n, self.n))
        first[self.players], second[np.ix_(self.players, self.players)] = self.model.interactions(law, key)
        return first, second


def enumerated_coalitions(n: int) -> np.ndarray:
    """All 2^n."""
    rows: np.ndarray = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    return rows


def _layers(n: int, rng: torch.Generator) -> nn.Sequential:
    parts: list[nn.Module] = []
    width = n
    for _ in range(LAYERS):
        parts += [_linear(width, WIDTH, rng), nn.GELU()]
        width = WIDTH
    return nn.Sequential(*parts, _linear(width, 1, rng))


def _linear(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """With torch's usual first weights, from a generator of its own."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    bound = inputs**-0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            drawn: Tensor = torch.rand(parameter.shape, generator=rng)
            parameter.copy_((2 * drawn - 1) * bound)
    return layer
