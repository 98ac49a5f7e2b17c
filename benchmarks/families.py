"""Games of many kinds with known interactions: what an estimator is judged on, and what it may be tuned on.

    python benchmarks/families.py FOLDER [--set open|closed]
    python benchmarks/families.py FOLDER --set demo --workspace DIR

Two sets. The *open* one may be looked at while an estimator is made; the *closed* one has other seeds, sizes
and makers and is run once, at the end. A third, *demo*, is of a workspace's trained experts. Up to 20 players
every value is in a table; beyond, the interactions are a closed form: a sum of unanimity games, or a small
tabulated game among idle players (an idle player changes no Shapley interaction of the others). Everything
but the demo's experts is trained here, in seconds.

``write`` puts a set into a folder; ``read`` needs NumPy alone, so that another environment can compare.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import comb
from pathlib import Path

import numpy as np

AT_ONCE = 1 << 14
SETS = ("open", "closed", "demo")
Values = Callable[[np.ndarray], np.ndarray]


@dataclass
class Known:
    """A game and the exact SII of its cross-modal pairs.

    Attributes:
        name: of the game.
        family: what it stands for.
        num_players: n; the first half is one modality, the others the other.
        pairs: all cross-modal pairs, [p, 2].
        sii: theirs, [p].
        play: ``bool[m, n] -> float[m]``.
        table: all 2^n values where there are few enough players.
    """

    name: str
    family: str
    num_players: int
    pairs: np.ndarray
    sii: np.ndarray
    play: Values
    table: np.ndarray | None = None

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        return self.play(np.atleast_2d(coalitions))


def cross(n: int, words: int | None = None) -> np.ndarray:
    """All pairs of a player of the first modality, half of all if nothing is said, and one of the second."""
    first = n // 2 if words is None else words
    return np.array([(u, v) for u in range(first) for v in range(first, n)])


def enumerated(n: int) -> Iterator[np.ndarray]:
    """All coalitions, bit i of the row's number says whether player i is in."""
    for start in range(0, 1 << n, AT_ONCE):
        index = np.arange(start, min(start + AT_ONCE, 1 << n))
        yield (index[:, None] >> np.arange(n) & 1).astype(bool)


def table_of(game: Values, n: int) -> np.ndarray:
    return np.concatenate([np.asarray(game(rows), dtype=float) for rows in enumerated(n)])


def table_sii(table: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """SII of pairs by the definition."""
    n = int(np.log2(len(table)))
    size = np.bitwise_count(np.arange(1 << (n - 2)))
    weight = (1 / np.array([(n - 1) * comb(n - 2, s) for s in range(n - 1)]))[size]
    cube, found = table.reshape((2,) * n), []
    for u, v in pairs:
        part = np.moveaxis(cube, [n - 1 - u, n - 1 - v], [0, 1]).reshape(2, 2, -1)
        found.append(weight @ (part[1, 1] - part[1, 0] - part[0, 1] + part[0, 0]))
    return np.array(found)


def tabulated(name: str, family: str, table: np.ndarray, words: int | None = None) -> Known:
    """A game by its values."""
    table = table.astype(np.float32).astype(float)
    n = int(np.log2(len(table)))
    bits = 1 << np.arange(n)
    pairs = cross(n, words)
    return Known(name, family, n, pairs, table_sii(table, pairs), lambda rows: table[rows @ bits], table)


def among_idle(name: str, family: str, table: np.ndarray, n: int, where: np.ndarray) -> Known:
    """A tabulated game of the players ``where`` among n, of whom the others do nothing."""
    table, small = table.astype(np.float32).astype(float), len(where)
    bits, pairs = 1 << np.arange(small), cross(n)
    square = np.zeros((n, n))
    inner = np.array([(i, j) for i in range(small) for j in range(small) if i < j])
    values = table_sii(table, inner)
    square[where[inner[:, 0]], where[inner[:, 1]]] = values
    square += square.T
    sii = square[pairs[:, 0], pairs[:, 1]]
    return Known(name, family, n, pairs, sii, lambda rows: table[rows[:, where] @ bits])


def unanimity(name: str, family: str, n: int, members: np.ndarray, coefficients: np.ndarray) -> Known:
    """Sum over terms of c [all of the term's players are there]; SII adds c / (size - 1)."""
    members = members.astype(np.float32)
    size, pairs = members.sum(1), cross(n)
    both = members[:, pairs[:, 0]] * members[:, pairs[:, 1]]
    sii = (coefficients / np.maximum(size - 1, 1)) @ both

    def play(rows: np.ndarray) -> np.ndarray:
        return (rows.astype(np.float32) @ members.T > size - 0.5) @ coefficients

    return Known(name, family, n, pairs, sii, play)


def terms(n: int, largest: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random terms of 1 to ``largest`` players, and their coefficients."""
    rng = np.random.default_rng(seed)
    members = np.zeros((count, n))
    for row in members:
        row[rng.choice(n, rng.integers(1, largest + 1), replace=False)] = 1
    return members, rng.uniform(-1, 1, count)


def saturated(n: int, seed: int, gain: float) -> Values:
    """A sigmoid of a sum with pairs: flat where many are there."""
    rng = np.random.default_rng(seed)
    single, double = rng.normal(0.4, 1, n) * gain / np.sqrt(n), rng.normal(0, 1, (n, n)) * gain / n
    return lambda rows: 1 / (1 + np.exp(-(rows @ single + ((rows @ double) * rows).sum(1) - gain / 2)))


def strong(n: int, seed: int, few: int) -> Values:
    """A few strong players in products and ratios, all others next to nothing."""
    rng = np.random.default_rng(seed)
    size = np.full(n, 0.01)
    size[rng.choice(n, few, replace=False)] = rng.uniform(0.5, 2, few)
    mix = rng.normal(0, 1, (n, 6)) * size[:, None]
    return lambda rows: np.tanh(rows @ mix) @ np.array([1, -1, 1, -1, 1, -1]) + np.abs(rows @ mix[:, 0])


def dual(n: int, seed: int, width: int = 16, scale: float = 10.0) -> Values:
    """Like CLIP: the scaled cosine of the mean of what is there, each side through a layer."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.7, width)
    tokens = rng.normal(0, 1, (n, width)) + common
    layers = rng.normal(0, 1 / np.sqrt(width), (2, width, width))
    half, bias = n // 2, rng.normal(0, 0.3, (2, width))

    def side(rows: np.ndarray, own: slice, i: int) -> np.ndarray:
        there = rows[:, own]
        mean = there @ tokens[own] / np.maximum(there.sum(1, keepdims=True), 1)
        out = mean + np.maximum(mean @ layers[i] + bias[i], 0) + bias[i]
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    return lambda rows: scale * (side(rows, slice(half), 0) * side(rows, slice(half, n), 1)).sum(1)


def expert(
    n: int, seed: int, dropout: float, empty_spike: float = 0.0, width: int = 24, steps: int = 300
) -> Values:
    """A small fusion Transformer trained here on masked tokens; a missing token is a zero vector.

    Args:
        n: tokens, half in each modality.
        seed: of data and parameters.
        dropout: share of tokens that training hides; 0 makes f steep near the full input.
        empty_spike: added to the value of the empty coalition.
        width: of the tokens.
        steps: of training.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    prototypes = torch.randn(4, n, width, generator=generator)

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        first = torch.randint(0, 2, (size,), generator=generator)
        second = torch.randint(0, 2, (size,), generator=generator)
        x = torch.randn(size, n, width, generator=generator)
        half = n // 2
        x[:, :half] += 0.5 * prototypes[first][:, :half]
        x[:, half:] += 0.5 * prototypes[2 + second][:, half:]
        return x, first ^ second

    class Fusion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(0.1 * torch.randn(n, width))
            self.layers = nn.ModuleList(
                nn.ModuleDict(
                    {
                        "qkv": nn.Linear(width, 3 * width),
                        "up": nn.Linear(width, 2 * width),
                        "down": nn.Linear(2 * width, width),
                    }
                )
                for _ in range(2)
            )
            self.head = nn.Linear(width, 2)

        def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
            h = (x + self.place) * there[..., None]
            for layer in self.layers:
                q, k, v = layer["qkv"](nn.functional.layer_norm(h, (width,))).chunk(3, -1)
                h = h + torch.softmax(q @ k.transpose(1, 2) / width**0.5, -1) @ v
                h = h + layer["down"](nn.functional.gelu(layer["up"](nn.functional.layer_norm(h, (width,)))))
            return self.head(h.mean(1))

    model = Fusion()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        x, y = batch(128)
        there = torch.ones(128, n)
        if dropout:
            keep = 1 - 2 * dropout * torch.rand(128, 1, generator=generator)
            there = (torch.rand(128, n, generator=generator) < keep).float()
        loss = nn.functional.cross_entropy(model(x, there), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    sample, label = batch(1)

    def play(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            there = torch.from_numpy(np.ascontiguousarray(rows)).float()
            parts = [model(sample.expand(len(t), -1, -1), t)[:, label[0]] for t in there.split(2048)]
        return torch.cat(parts).double().numpy() + empty_spike * ~rows.any(1)

    return play


def recipes(which: str) -> Iterator[tuple[str, str, int, Callable[[], Values]]]:
    """The tabulated games of a set: name, family, players, and what makes the game. New ones come last."""
    shift = 0 if which == "open" else 1000
    is_open = which == "open"
    n = 18 if is_open else 17  # odd, and other widths, where it is closed
    width = 24 if is_open else 32
    cosine = 20 if is_open else 19
    yield "dropout", "expert", n, lambda: expert(n, 1 + shift, 0.45, width=width)
    yield "no dropout", "expert", n, lambda: expert(n, 2 + shift, 0.0, width=width)
    yield "dropout, spike", "expert", n, lambda: expert(n, 3 + shift, 0.45, 5.0, width)
    yield "no dropout, spike", "expert", n, lambda: expert(n, 4 + shift, 0.0, 5.0, width)
    yield "dual encoder", "dual", cosine, lambda: dual(cosine, 5 + shift)
    gains = (2.0, 8.0) if is_open else (3.0, 12.0)
    for gain in gains:
        yield f"sigmoid, gain {gain:g}", "saturated", 20, partial(saturated, 20, 6 + shift, gain)
    yield "few strong", "strong", 20, lambda: strong(20, 7 + shift, 4 if is_open else 5)
    yield "few strong", "strong", 10, lambda: strong(10, 8 + shift, 3)
    yield "dropout", "expert", 10, lambda: expert(10, 12 + shift, 0.45, width=width)
    yield "no dropout", "expert", 10, lambda: expert(10, 13 + shift, 0.0, width=width)
    yield "dual encoder", "dual", 10, lambda: dual(10, 14 + shift)
    for gain in gains:
        yield f"sigmoid, gain {gain:g}", "saturated", 10, partial(saturated, 10, 15 + shift, gain)


def write(folder: Path, which: str) -> None:
    """Make the tables of a set and keep them; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, family, n, make) in enumerate(recipes(which)):
        path, name = folder / f"{which}-{number:02d}.npz", f"{name}, n={n}"
        if not (path.exists() and str(np.load(path)["name"]) == name):
            keep(path, name, family, table_of(make(), n))
        print(f"{which} {number:02d}  {name}", flush=True)


def keep(path: Path, name: str, family: str, table: np.ndarray, words: int | None = None) -> None:
    """One table. ``words`` are the players of the first modality, half of all if nothing is said.

    Raises:
        SystemExit: a value is not finite.
    """
    if not np.isfinite(table).all():
        raise SystemExit(f"{name} has values that are not finite")
    n = int(np.log2(len(table)))
    words = n // 2 if words is None else words
    np.savez(path, name=name, family=family, table=table.astype(np.float32), words=words)


def write_trained(folder: Path, workspace: str) -> None:
    """The experts of the demo's checkpoint, the set ``demo``: the most important features of six samples."""
    from trained import tabulated as experts

    folder.mkdir(parents=True, exist_ok=True)
    for number, game in enumerate(experts(workspace)):
        name = f"demo {game.name}, n={game.num_players}"
        keep(folder / f"demo-{number:02d}.npz", name, "demo's experts", game.values, game.words)
        print(f"demo {number:02d}  {name}", flush=True)


def read(folder: Path, which: str) -> list[Known]:
    """The games of a set: tables from the folder, closed forms made again (they take no time).

    Raises:
        SystemExit: the folder holds no games of the set.
    """
    games = []
    for path in sorted(folder.glob(f"{which}-*.npz")):
        held = np.load(path)
        words = int(held["words"]) if "words" in held else None
        games.append(tabulated(str(held["name"]), str(held["family"]), held["table"], words))
    if not games:
        raise SystemExit(
            f"{folder} holds no {which} games; python benchmarks/families.py {folder} --set {which}"
        )
    return games + list(closed_forms(which)) if which in ("open", "closed") else games


def closed_forms(which: str) -> Iterator[Known]:
    """The games of a set that have a closed form."""
    is_open = which == "open"
    shift = 0 if is_open else 1000
    for size in (10, 20, 40, 60, 200):
        for largest in (4, size):
            parts = terms(size, largest, 100 if is_open else 150, 9 + shift)
            family = "unanimity, short" if largest == 4 else "unanimity, long"
            yield unanimity(f"unanimity 1-{largest}, n={size}", family, size, *parts)
    for size, seed in ((40, 10), (200, 11)):
        small = 12 if is_open else 13
        where = np.sort(np.random.default_rng(seed + shift).choice(size, small, replace=False))
        values = table_of(saturated(small, seed + shift, 6.0), small)
        yield among_idle(f"idle players, n={size}", "idle", values, size, where)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", dest="which", choices=SETS, default="open")
    parser.add_argument("--workspace", default="runs", help="of the set demo")
    arguments = parser.parse_args()
    if arguments.which == "demo":
        write_trained(arguments.folder, arguments.workspace)
    else:
        write(arguments.folder, arguments.which)


if __name__ == "__main__":
    main()
