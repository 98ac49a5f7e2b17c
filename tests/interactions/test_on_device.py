"""An estimate that stays on the game's device is the host's: here both are the CPU, in float64."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interactions.games.test_expert import make_model, make_sample

from raymoe.errors import RaymoeError
from raymoe.interactions import estimate, estimate_triples
from raymoe.interactions.games import collapse
from raymoe.interactions.games.collapse import CollapsedExpert
from raymoe.interactions.games.expert import ExpertGame
from raymoe.interactions.games.module import ModuleGame
from raymoe.interactions.games.sequence_game import SequenceGame
from raymoe.interactions.sampling.grid import Corners, FlipGrid, grid_evaluations

WIDTHS, LENGTHS = (6, 4), (8, 9)
PLAYERS = [("m0", t) for t in range(1, 8)] + [("m1", t) for t in range(9)]
PAIRS = np.array(list(product(range(7), range(7, 16))))


def make_game(expert="synergy"):
    features, special = make_sample(WIDTHS, LENGTHS, [(0,), ()])
    arguments = (make_model(WIDTHS), expert, features, special, PLAYERS, torch.eye(5)[1])
    return ExpertGame.of_sample(*arguments, dtype=torch.float64)


@pytest.fixture
def on_device(monkeypatch):
    """Games ask to stay on their device, and evaluate as they would on a GPU; what they were asked."""
    asked = []
    targets = ExpertGame._targets

    def refused(tensor, *_):
        raise AssertionError("a GPU's tensor is no array: it must be fetched by name")

    def recorded(game, active_mn, sizes_m):
        assert (active_mn.sum(1).numpy() == sizes_m).all()
        asked.append(active_mn.clone().numpy())
        return targets(game, active_mn, sizes_m)

    def answer(wanted: bool):
        monkeypatch.setattr(torch.Tensor, "__array__", refused)
        monkeypatch.setattr(SequenceGame, "on_device", property(lambda game: wanted))
        monkeypatch.setattr(Corners, "launches_are_dear", property(lambda corners: wanted))
        monkeypatch.setattr(ExpertGame, "_targets", recorded)
        plain = CollapsedExpert.__call__

        def padded(evaluator, *arguments):
            evaluator._batch_price = 100 if wanted else 0
            return plain(evaluator, *arguments)

        monkeypatch.setattr(CollapsedExpert, "__call__", padded)
        asked.clear()
        return asked

    return answer


@pytest.mark.parametrize("coalitions", [4, 12, 40])
@pytest.mark.parametrize("index", ["sii", "banzhaf"])
def test_the_same_coalitions_and_the_same_sums(on_device, coalitions, index):
    budget = coalitions * grid_evaluations(PAIRS) + 1
    found, asked = {}, {}
    for where in (False, True):
        record = on_device(where)
        found[where] = estimate(make_game(), PAIRS, budget=budget, index=index, inclusion=0.3)
        asked[where] = np.concatenate(record)
    np.testing.assert_array_equal(asked[True], asked[False])
    for name, column in found[False].sums.columns().items():
        scale = np.nanmax(np.abs(column), initial=1e-3)
        np.testing.assert_allclose(found[True].sums.columns()[name], column, atol=1e-11 * scale, rtol=1e-7)
    np.testing.assert_allclose(found[True].main_effects, found[False].main_effects, atol=1e-12)
    assert found[True].empty_value == pytest.approx(found[False].empty_value, abs=1e-12)


def test_the_mixture_too_and_triples(on_device):
    triples = np.array([[0, 1, 9], [2, 8, 10], [3, 4, 5]])
    found = {}
    for where in (False, True):
        on_device(where)
        game = make_game("mixture")
        found[where] = [
            estimate(game, PAIRS, budget=20 * grid_evaluations(PAIRS)).sii,
            estimate_triples(game, triples, budget=2000, within_modality=True).sii,
        ]
    for host, device in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(device, host, atol=1e-12)


def test_a_module_of_the_users_own_too(monkeypatch):
    """Whose mask function writes into what it is given."""
    weights = torch.randn(8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    class Module(torch.nn.Module):
        def forward(self, x):
            return torch.tanh((x @ weights * x).sum(-1))

    def mask(active):
        x = active.double()
        active[:] = False
        return x

    pairs, found = np.array(list(product(range(4), range(4, 8)))), []
    for where in (False, True):
        monkeypatch.setattr(ModuleGame, "on_device", property(lambda game, where=where: where))
        game = ModuleGame(Module(), mask, 8, batch_size=7, device="cpu")
        found.append(estimate(game, pairs, budget=30 * grid_evaluations(pairs)))
    np.testing.assert_allclose(found[1].sii, found[0].sii, atol=1e-12)
    np.testing.assert_allclose(found[1].sii_stderr, found[0].sii_stderr, atol=1e-9)


def test_a_value_that_is_not_finite_is_named(on_device):
    on_device(True)
    features, special = make_sample(WIDTHS, LENGTHS, [(0,), ()])
    features["m1"][4, 0] = torch.nan
    arguments = (make_model(WIDTHS), 2, features, special, PLAYERS, torch.eye(5)[1])
    game = ExpertGame.of_sample(*arguments, name="cat")
    with pytest.raises(RaymoeError, match=r"cat: the model's output is not finite for the coalition of"):
        estimate(game, PAIRS, budget=5000)


@given(
    lengths=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    specials=st.integers(0, 2),
    everything=st.booleans(),
    limit=st.sampled_from([0.0, 100.0]),
    price=st.sampled_from([1, 60, 10**6]),
    memory=st.sampled_from([1, 40, 10**6]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_padded_batches_are_the_dense_pass(lengths, specials, everything, limit, price, memory, seed):
    """Whatever sizes share a batch: empty and full coalitions, no special position, all features players."""
    widths = [4] * len(lengths)
    model = make_model(widths, seed=seed)
    features, special = make_sample(widths, lengths, [range(min(specials, n)) for n in lengths], seed)
    players = [(f"m{i}", t) for i, n in enumerate(lengths) for t in range(min(specials, n), n)]
    if not everything:
        players = players[::2]
    coalitions = np.random.default_rng(seed).random((40, len(players))) < np.linspace(-0.1, 1.1, 40)[:, None]
    arguments = (model, 0, features, special, players, torch.eye(5)[:, :2])
    before, collapse.TABLE_LIMIT = collapse.TABLE_LIMIT, limit
    try:
        padded = ExpertGame.of_sample(*arguments, dtype=torch.float64, tokens_per_batch=memory)
    finally:
        collapse.TABLE_LIMIT = before
    padded.evaluator._batch_price = price
    found = padded(coalitions)
    dense = ExpertGame.of_sample(*arguments, dtype=torch.float64, collapse=False)
    np.testing.assert_allclose(found, dense(coalitions), atol=1e-12)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=7),
    st.integers(1, 200),
)
def test_the_cheapest_grouping_of_all(sizes, price):
    tokens = np.cumsum([step for step, _ in sizes])
    counts = np.array([count for _, count in sizes])

    def cost(groups):
        return sum(price + tokens[stop - 1] * counts[start:stop].sum() for start, stop in groups)

    found = collapse._groups(tokens, counts, price)
    n = len(sizes)
    every = [
        list(zip([0, *cuts], [*cuts, n], strict=True))
        for size in range(n)
        for cuts in combinations(range(1, n), size)
    ]
    assert found in every
    assert cost(found) == min(map(cost, every))


@given(st.integers(3, 9), st.sampled_from([2, 3]), st.data())
def test_a_grid_finds_every_corner(n, order, data):
    """Members in any order; contexts of single players too."""
    rows = st.lists(st.integers(0, n - 1), min_size=order, max_size=order, unique=True)
    interactions = np.array(data.draw(st.lists(rows, min_size=1, max_size=12)))
    value = np.random.default_rng(n).random(1 << n)

    def game(coalitions):
        return value[coalitions @ (1 << np.arange(n))]

    bases = np.random.default_rng(0).random((5, n)) < 0.5
    grid = FlipGrid(interactions, n)
    assert len(np.unique(grid.flips, axis=0)) == len(grid.flips) == grid_evaluations(interactions)
    found = grid.measure(game, bases)
    sizes = np.arange(n + 1.0)
    context_sizes = found.by_context_size(sizes[:, None])
    for k, base in enumerate(bases):
        for p, members in enumerate(interactions):
            context = base.copy()
            context[members] = False
            assert context_sizes[k, p] == context.sum() == found.context_size_kp()[k, p]
            for b in range(1 << order):
                there = context.copy()
                there[[u for j, u in enumerate(members) if b >> j & 1]] = True
                assert found.corners[b, k, p] == game(there[None])[0]
        for s, u in enumerate(grid.players):
            without = base.copy()
            without[u] = False
            there = without.copy()
            there[u] = True
            assert found.by_first_size(sizes)[k, s] == without.sum()
            assert found.first_ks[k, s] == pytest.approx(game(there[None])[0] - game(without[None])[0])
