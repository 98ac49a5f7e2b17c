"""What a budget must be: a number, and enough evaluations for an estimate that knows its own error."""

from __future__ import annotations

import numpy as np

from raymoe.errors import InputError


def checked_budget(budget: int | None, method: str) -> int:
    """A budget as an int.

    Raises:
        InputError: there is none, or it is no number.
    """
    if budget is None:
        raise InputError(f"{method!r} needs a budget", "Give budget=, the most evaluations of the game.")
    if isinstance(budget, bool) or not isinstance(budget, (int, float, np.number)) or budget != budget:
        raise InputError(f"budget is {budget!r}", "Give a number of evaluations.")
    return int(min(budget, 1 << 62))


def too_small(budget: int, method: str, asked: np.ndarray, least: int, buys: str = "") -> InputError:
    """The error of a budget too small to know its own error; ``buys`` says what it gets."""
    word = {2: "pairs", 3: "triples"}[asked.shape[1]]
    return InputError(
        f"budget {budget} is too small: {method!r} on {len(asked)} {word} takes at least {least} evaluations"
        + (f"; the budget buys {buys}" if buys else ""),
        f"Give a budget of at least {least}" + ("." if method == "exact" else f", or fewer {word}."),
    )
