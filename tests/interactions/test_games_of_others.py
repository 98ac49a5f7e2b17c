"""A game is somebody else's function: what it does with what it is lent, and what it may answer."""

from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.games import cross_pairs, table_game

from raymoe.catalogue import ESTIMATORS
from raymoe.errors import InputError, RaymoeError
from raymoe.interactions import ModuleGame, estimate, estimate_triples

N, PAIRS, TRIPLES = 6, cross_pairs(6, 3), np.array([[0, 1, 4], [2, 3, 5]])
METHODS = [*ESTIMATORS, "triples, shared", "triples, exact"]


def asked(game, method, seed=0):
    """An estimate by any method, all of its numbers."""
    kind, _, how = method.partition(", ")
    budget = None if method.endswith("exact") else 1500 if how or kind != "surrogate" else 60
    if how:
        return vars(estimate_triples(game, TRIPLES, method=how, budget=budget, seed=seed))
    # below 2^n, so that the surrogate is one
    budget = 1500 if kind == "paper" else budget
    pairs = PAIRS[:2] if kind == "surrogate" else PAIRS
    return vars(estimate(game, pairs, method=kind, budget=budget, seed=seed))


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if is_dataclass(value):
            same(vars(value), vars(other[name]))
        else:
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def vandal(game, ruin):
    """The same game, which afterwards writes into what it was asked."""

    def ruined(coalitions):
        values = np.array(game(coalitions))
        ruin(coalitions)
        return values

    ruined.num_players = N
    return ruined


RUINS = {
    "none": lambda c: c.fill(False),
    "all": lambda c: c.fill(True),
    "flipped": lambda c: np.logical_not(c, out=c),
    "sorted": lambda c: c.sort(1),
    "one": lambda c: c.__setitem__((slice(None), 0), True),
}


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 50), ruin=st.sampled_from(sorted(RUINS)))
@settings(max_examples=20, deadline=None)
def test_a_game_that_writes_into_its_argument_changes_nothing(method, seed, ruin):
    game = table_game(N, seed)
    same(asked(game, method, seed), asked(vandal(game, RUINS[ruin]), method, seed))


def with_gradient(values):
    return torch.tensor(values, requires_grad=True)


ANSWERS = {
    "list": lambda v: v.tolist(),
    "list of numpy's": list,
    "tensor with gradient": with_gradient,
    "read-only": lambda v: np.broadcast_to(v, v.shape),
    "longdouble": lambda v: v.astype(np.longdouble),
    "pandas": lambda v: pytest.importorskip("pandas").Series(v),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ANSWERS)
def test_every_form_of_real_numbers_is_the_same_answer(method, form):
    game = table_game(N, 3)

    def formed(coalitions):
        return ANSWERS[form](game(coalitions))

    formed.num_players = N
    same(asked(game, method), asked(formed, method))


@pytest.mark.parametrize("kind", [np.float16, np.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_low_precision_is_taken_for_what_it_is(method, kind):
    game = table_game(N, 3)

    def low(coalitions):
        values = torch.tensor(game(coalitions))
        return values.to(kind) if isinstance(kind, torch.dtype) else values.numpy().astype(kind)

    def rounded(coalitions):  # the same numbers in float64
        values = low(coalitions)
        return values.double().numpy() if isinstance(kind, torch.dtype) else values.astype(np.float64)

    low.num_players = rounded.num_players = N
    same(asked(rounded, method), asked(low, method))


def test_an_answer_that_the_game_goes_on_writing_into_is_copied():
    game, buffer = table_game(N, 3), np.empty(1 << 16)

    def reusing(coalitions):
        buffer[: len(coalitions)] = game(coalitions)
        return buffer[: len(coalitions)]

    reusing.num_players = N
    for method in METHODS:
        same(asked(game, method), asked(reusing, method))


REFUSED = {
    "column": (lambda v: v[:, None], "answered float64"),
    "one too few": (lambda v: v[1:], "answered float64"),
    "scalar": (lambda v: v.sum(), "answered float64"),
    "none": (lambda v: None, "answered object"),
    "text": (lambda v: v.astype(str), "answered <U"),
    "complex": (lambda v: v + 1j, "answered complex128"),
    "complex tensor": (lambda v: torch.tensor(v + 1j), "answered complex128"),
    "ragged": (lambda v: [[x] * (1 + i % 2) for i, x in enumerate(v)], "no array"),
    "tensors in a list": (lambda v: [with_gradient(float(x)) for x in v], "no array"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_number_per_coalition_is_refused(method, form):
    game = table_game(N, 3)
    make, message = REFUSED[form]

    def wrong(coalitions):
        return make(game(coalitions))

    wrong.num_players, wrong.name = N, "mine"
    with pytest.raises(RaymoeError, match=message) as caught:
        asked(wrong, method)
    assert caught.value.message.startswith("mine: ")
    assert "one real number for each row" in caught.value.remedy


@pytest.mark.parametrize("method", METHODS)
@given(bad=st.sampled_from([np.nan, np.inf, -np.inf, "masked"]), seed=st.integers(0, 5))
def test_a_value_that_is_not_finite_names_row_and_players(method, bad, seed):
    game = table_game(N, seed)
    asked_of = []

    def holed(coalitions):
        values = game(coalitions)
        hole = coalitions[:, 0] & coalitions[:, 5]
        asked_of.append(coalitions.copy())
        coalitions[:] = False  # which the message must not show
        if bad == "masked":
            return np.ma.array(values, mask=hole)
        values[hole] = bad
        return values

    holed.num_players = N
    with pytest.raises(RaymoeError) as caught:
        asked(holed, method, seed)
    last = asked_of[-1]
    row = int(np.flatnonzero(last[:, 0] & last[:, 5])[0])
    assert f"row {row} of the {len(last)}" in caught.value.message
    assert f"players {np.flatnonzero(last[row]).tolist()}" in caught.value.message


def test_a_large_coalition_is_named_by_its_first_players():
    def nothing(coalitions):
        return np.full(len(coalitions), np.nan) * coalitions[:, 0]

    with pytest.raises(RaymoeError) as caught:
        estimate(nothing, np.array([[0, 1]]), budget=400, num_players=3000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("players", ["six", np.nan, None, 2.5, 1])
def test_a_game_that_misstates_its_players_is_refused(players):
    game = table_game(N, 0)
    game.num_players = players
    with pytest.raises(InputError, match="num_players"):
        estimate(game, PAIRS, budget=400)


def test_a_mask_function_gets_a_copy_too():
    """Of a module's game, also where it is called by hand and fails."""
    module = torch.nn.Linear(N, 1)

    def mask(active):
        inputs = active.float().clone()
        active.fill_(True)
        return inputs

    game = ModuleGame(module, mask, N, forward=lambda x: module(x)[:, 0])
    coalitions = np.random.default_rng(0).random((9, N)) < 0.5
    before = coalitions.copy()
    expected = module(torch.tensor(before).float())[:, 0].detach().numpy()
    np.testing.assert_allclose(game(coalitions), expected, rtol=1e-6)
    np.testing.assert_array_equal(coalitions, before)
