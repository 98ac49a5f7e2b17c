"""How fast a fusion expert is evaluated as a game, how close to the machine's matrix products, how exactly.

    python benchmarks/evaluator.py [--device cuda] [--quick]

Synthetic weights and inputs of the paper's sizes: d = 256, two layers, 128 text and 196 image tokens; 13 x 20
candidate pairs (the top 10 % of each modality), and the bins of the experiment alignment (a universe of
39 + 59 features, three bins of 13 + 20, pairs within a bin). One thread on a CPU. Timings are medians of
interleaved rounds, with the spread of the middle half; ratios are taken between figures of the same rounds.

The paper's estimator spends four evaluations on a second difference, so its rate is a quarter of the dense
path's evaluations per second.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from machine import machine_line

from raymoe.config import ModelConfig
from raymoe.interactions import ExpertGame, estimate
from raymoe.interactions.games import collapse
from raymoe.interactions.games.precision import noise_floor
from raymoe.interactions.sampling.grid import grid_evaluations
from raymoe.models.checkpoint import Shape
from raymoe.models.fl_i2moe import FLI2MoE

TEXT, IMAGE, WIDTH, CLASSES = 128, 196, 768, 23
EXPERT = 2
# Of the shared estimator, per estimate: the probe's default, and on a GPU more, too.
COALITIONS = {"cpu": [32], "cuda": [32, 128]}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    print(f"{machine_line()}, {device}, {torch.get_num_threads()} thread(s)\n")
    show(chain.from_iterable(parts(device, arguments.quick)))


Rows = Iterator[tuple[str, str]]


def show(table: Iterable[tuple[str, str]], width: int = 0) -> None:
    """Print rows of name and value, names at least ``width`` wide; a heading has no value."""
    table = list(table)
    width = max([width, *(len(name) for name, _ in table)])
    for name, value in table:
        print(f"{name:{width}}  {value}" if value else f"\n{name}", flush=True)


def parts(device: torch.device, quick: bool) -> list[Rows]:
    """The table in parts that do not need each other."""
    rounds = 1 if quick else 5
    sample = Sample(device)
    top, wide = universe(13, 20), universe(39, 59)
    top_pairs = [grid(range(13), range(13, 33))]
    bins = [grid(range(13 * i, 13 * i + 13), range(39 + 20 * i, 39 + min(20 * i + 20, 59))) for i in range(3)]
    if quick:
        top_pairs, bins = [top_pairs[0][::50]], [pairs[::50] for pairs in bins]
    return [
        speed(sample, "33 players, 13 x 20 pairs", top, top_pairs, 100, rounds, device, quick),
        speed(sample, "98 players, three bins of 13 x 20 pairs", wide, bins, 35, rounds, device, quick),
        batch_sizes(sample, top, top_pairs, rounds, device, quick),
        batch_sizes(sample, wide, bins, rounds, device, quick),
        exactness(sample, {"33 players": top, "98 players": wide}, quick),
        host_cost(device, quick),
    ]


class Sample:
    """A model of random weights and one random sample."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        shapes = (Shape("text", WIDTH, TEXT), Shape("image", WIDTH, IMAGE))
        self.model = FLI2MoE(shapes, CLASSES, ModelConfig()).eval().to(device)
        self.features = {"text": torch.randn(TEXT, WIDTH), "image": torch.randn(IMAGE, WIDTH)}
        self.special = {n: torch.zeros(len(x), dtype=torch.bool) for n, x in self.features.items()}
        self.special["text"][0] = True
        self.target = torch.eye(CLASSES)[0].to(device)

    def game(self, players: list[tuple[str, int]], **options) -> ExpertGame:
        return ExpertGame.of_sample(
            self.model, EXPERT, self.features, self.special, players, self.target, **options
        )


def universe(words: int, patches: int) -> list[tuple[str, int]]:
    """So many words and patches, spread over the sequences."""
    return [("text", 1 + i * (TEXT - 1) // words) for i in range(words)] + [
        ("image", i * IMAGE // patches) for i in range(patches)
    ]


def grid(us: range, vs: range) -> np.ndarray:
    """All pairs, [p, 2]."""
    return np.array([(u, v) for u in us for v in vs])


def speed(
    sample: Sample,
    title: str,
    players: list[tuple[str, int]],
    bins: list[np.ndarray],
    wanted: float,
    rounds: int,
    device: torch.device,
    quick: bool,
) -> Rows:
    """Second differences and evaluations per second: collapsed, its ingredients taken away, and dense."""
    games = {
        "collapsed": sample.game(players),
        "collapsed, layer 1 from the table": with_limit(sample, players, math.inf),
        "collapsed, layer 1 gathered": with_limit(sample, players, 0.0),
        "collapsed, no further algebra": PlainCollapse(sample, players),
        "dense, batches of 32": sample.game(players, collapse=False, tokens_per_batch=32 * (TEXT + IMAGE)),
    }
    differences = {}
    for budget in COALITIONS[device.type]:
        record = Recorder(len(players))
        # what the estimates rest on: the coalitions drawn and the two edges, not the pilot
        asked = ask(record, bins, budget)
        differences[budget] = sum(len(each.pairs) * (int(each.sums.n_coalitions[0]) + 2) for each in asked)
    coalitions = np.concatenate(record.asked)
    if device.type == "cpu" and not quick:
        coalitions = coalitions[:: max(1, len(coalitions) // 1176)]
    few = coalitions[:: max(1, len(coalitions) // dense_evaluations(device, quick))]
    work = {name: (lambda game=game: game(coalitions)) for name, game in games.items()}
    work["dense, batches of 32"] = lambda: games["dense, batches of 32"](few)
    for budget in differences:
        work[budget] = lambda budget=budget: ask(games["collapsed"], bins, budget)
    work["product"] = product(device)
    took = interleaved(work, rounds, device)
    rate = {name: len(coalitions) / took[name] for name in games}
    rate["dense, batches of 32"] = len(few) / took["dense, batches of 32"]
    paper = rate["dense, batches of 32"] / 4
    peak = PRODUCT / took["product"]

    yield title, ""
    for name in games:
        yield f"  evaluations/s, {name}", spread(rate[name])
    yield "  collapsed / dense", spread(rate["collapsed"] / rate["dense, batches of 32"])
    yield (
        "  collapsed / no further algebra",
        spread(rate["collapsed"] / rate["collapsed, no further algebra"]),
    )
    yield "  second differences/s, paper, dense", spread(paper)
    for budget, count in differences.items():
        found = count / took[budget]
        yield f"  second differences/s, shared, {budget} coalitions", spread(found)
        yield f"  their ratio (wanted: {wanted:.0f})", spread(found / paper)
    yield "  4096 x 256 x 768 product, Gflop/s", spread(peak / 1e9)
    sizes = coalitions.sum(1)
    actual = games["collapsed"].evaluator.matmul_flops(sizes) / took["collapsed"]
    yield "  share of that rate, collapsed, its own products (wanted: 75 %)", percent(actual / peak)
    plain = plain_flops(sample, players, sizes)
    yield (
        "  share of that rate, no further algebra, its own products",
        percent(plain / took["collapsed, no further algebra"] / peak),
    )
    plain_values, dense_values = (
        games[name](few) for name in ("collapsed, no further algebra", "dense, batches of 32")
    )
    difference = np.abs(plain_values - dense_values).max()
    yield "  largest difference of a logit, no further algebra against dense", f"{difference:.1e}"
    yield (
        "  the same work's products per second of the collapsed path (equivalent share)",
        percent(plain / took["collapsed"] / peak),
    )


class Weightless:
    """A game of next to no arithmetic: what is left of an estimate's time is what the estimator takes."""

    player_modality = np.repeat([0, 1], [13, 20])
    num_players = 33

    def __init__(self, device: torch.device, on_device: bool) -> None:
        self.device, self.on_device, self.asked = device, on_device, 0

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        self.asked += len(coalitions)
        return coalitions[:, 0].astype(np.float64)

    def checked_values(self, active_mn: torch.Tensor, sizes_m: np.ndarray) -> torch.Tensor:
        self.asked += len(active_mn)
        return active_mn[:, 0].double()


def host_cost(device: torch.device, quick: bool) -> Rows:
    """Evaluations per second through everything but the model: with NumPy, and with tensors on the device."""
    pairs = grid(range(13), range(13, 33))
    yield "everything but the model, 13 x 20 pairs: million evaluations/s", ""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1 if quick else 2)
    for path in ("NumPy", f"tensors, {device.type}"):
        for coalitions in (4,) if quick else (32, 128, 512):
            rates = []
            for _ in range(1 if quick else 15):
                game = Weightless(device, path != "NumPy")
                start = time.perf_counter()
                estimate(game, pairs, budget=1 + coalitions * grid_evaluations(pairs))
                rates.append(game.asked / (time.perf_counter() - start) / 1e6)
            yield f"  {path}, {coalitions} coalitions", spread(np.array(rates))
    torch.set_num_threads(threads)


def batch_sizes(sample, players, bins, rounds: int, device: torch.device, quick: bool) -> Rows:
    """The best number of tokens per batch for the collapsed path, of sequences for the dense one."""
    record = Recorder(len(players))
    ask(record, bins, COALITIONS[device.type][-1])
    coalitions = np.concatenate(record.asked)
    coalitions = coalitions[:: 1 if quick else 2]
    few = coalitions[:: max(1, len(coalitions) // dense_evaluations(device, quick))]
    tokens = [1 << k for k in (range(9, 16) if device.type == "cpu" else range(13, 21))]
    sequences = [1, 4, 8, 16, 32, 64] if device.type == "cpu" else [32, 128, 512]
    if quick:
        tokens, sequences = tokens[:1], sequences[:1]
    work = {}
    for count in tokens:
        game = sample.game(players, tokens_per_batch=count)
        work["collapsed", count] = lambda game=game: game(coalitions)
    for count in sequences:
        game = sample.game(players, collapse=False, tokens_per_batch=count * (TEXT + IMAGE))
        work["dense", count] = lambda game=game: game(few)
    took = interleaved(work, min(rounds, 3), device)
    yield f"batch sizes, {len(players)} players: evaluations/s", ""
    for (name, count), seconds in took.items():
        number = len(coalitions) if name == "collapsed" else len(few)
        unit = "tokens" if name == "collapsed" else "sequences"
        yield f"  {name}, {count} {unit}", spread(number / seconds)


def exactness(sample: Sample, universes: dict[str, list[tuple[str, int]]], quick: bool) -> Rows:
    """Largest differences on logits: collapsed against dense, and each against float64."""
    yield "exactness: largest difference of a logit", ""
    for name, players in universes.items():
        rng = np.random.default_rng(0)
        count = 2 if quick else 64
        coalitions = rng.random((count, len(players))) < np.linspace(0, 1, count)[:, None]
        collapsed, dense = sample.game(players), sample.game(players, collapse=False)
        values = collapsed(coalitions)
        yield f"  {name}, values' range", f"{values.min():.3f} to {values.max():.3f}"
        yield f"  {name}, collapsed against dense", f"{np.abs(values - dense(coalitions)).max():.1e}"
        for path, game in (("collapsed", collapsed), ("dense", dense)):
            yield f"  {name}, noise floor of {path}", f"{noise_floor(game, coalitions):.1e}"


class Recorder:
    """A game that is 0 and remembers what it was asked."""

    def __init__(self, num_players: int) -> None:
        self.num_players, self.asked = num_players, []

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        self.asked.append(coalitions.copy())
        return np.zeros(len(coalitions))


def ask(game, bins: list[np.ndarray], coalitions: int) -> list:
    """One estimate per bin with the budget of so many coalitions."""
    return [estimate(game, pairs, budget=1 + coalitions * grid_evaluations(pairs), seed=0) for pairs in bins]


def dense_evaluations(device: torch.device, quick: bool) -> int:
    """How many coalitions the dense path is timed on."""
    return 4 if quick else 64 if device.type == "cpu" else 2048


class PlainCollapse:
    """The zero-token collapse alone, through the expert's own forward pass."""

    def __init__(self, sample: Sample, players: list[tuple[str, int]]) -> None:
        game = sample.game(players, collapse=False)
        self.sequence, self.expert, self.target = game.sequence, game.evaluator.expert, sample.target
        tokens_TD = self.sequence.tokens_TD
        self.tokens_per_batch = 1 << (11 if tokens_TD.device.type == "cpu" else 17)
        self.bank = torch.cat([tokens_TD, torch.zeros_like(tokens_TD[:1])])
        of_TM = np.eye(2)[np.append(self.sequence.modality_T, 0)]
        of_TM[-1] = 0
        self.share = torch.as_tensor(of_TM / self.sequence.count_M).to(tokens_TD)

    @torch.no_grad()
    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        values, sizes, T = np.empty(len(coalitions)), coalitions.sum(1), self.sequence.length
        for size in np.unique(sizes):
            step = max(1, self.tokens_per_batch // (int(size) + 2))
            rows = np.flatnonzero(sizes == size)
            for chunk in np.split(rows, range(step, len(rows), step)):
                members = self.sequence.players[np.nonzero(coalitions[chunk])[1]].reshape(len(chunk), -1)
                ends = np.full((len(chunk), 1), self.sequence.special[0]), np.full((len(chunk), 1), T)
                index = torch.from_numpy(np.concatenate([ends[0], members, ends[1]], 1)).to(self.bank.device)
                pool = self.share[index].transpose(1, 2).clone()
                pool[:, :, -1] = 1 - pool.sum(-1)
                bias = self.bank.new_zeros(index.shape)
                bias[:, -1] = math.log(T - 1 - size)
                logits = self.expert(self.bank[index], bias, pool)[0]
                values[chunk] = (logits @ self.target).double().cpu().numpy()
        return values


def plain_flops(sample: Sample, players: list[tuple[str, int]], sizes: np.ndarray) -> float:
    """Operations of ``PlainCollapse``: per token and layer 6DD + 4tD + 2DD + 4DF, and 4D to pool."""
    block = sample.model.experts.blocks[0]
    D, hidden = block.up.weight_EIO.shape[1:]
    t = sizes + 2.0
    layers = len(sample.model.experts.blocks)
    return float((t * (layers * (8 * D * D + 4 * t * D + 4 * D * hidden) + 4 * D)).sum())


def with_limit(sample: Sample, players: list[tuple[str, int]], limit: float) -> ExpertGame:
    """The game with layer 1 from the table at any size, or at none."""
    before, collapse.TABLE_LIMIT = collapse.TABLE_LIMIT, limit
    try:
        return sample.game(players)
    finally:
        collapse.TABLE_LIMIT = before


PRODUCT = 2 * 4096 * 256 * 768


def product(device: torch.device) -> Callable[[], None]:
    """The yardstick: one float32 product, a few times."""
    a, b = torch.randn(4096, 256, device=device), torch.randn(256, 768, device=device)
    out = torch.empty(4096, 768, device=device)

    def work() -> None:
        for _ in range(REPEATS):
            torch.mm(a, b, out=out)

    return work


REPEATS = 10


def interleaved(work: dict, rounds: int, device: torch.device) -> dict:
    """Seconds of each piece of work in each round, after one to warm up."""
    found = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, piece in work.items():
            wait(device)
            start = time.perf_counter()
            piece()
            wait(device)
            if turn:
                found[name].append(time.perf_counter() - start)
    return {n: np.array(s) / (REPEATS if n == "product" else 1) for n, s in found.items()}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def spread(values: np.ndarray) -> str:
    """Median and the middle half."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    digits = 0 if middle >= 100 else 1
    return f"{middle:,.{digits}f}  ({low:,.{digits}f} to {high:,.{digits}f})"


def percent(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.0%}  ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
