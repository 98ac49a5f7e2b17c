"""Random streams by name: draws for different purposes never share their random numbers.

A stream's number is part of the key that its draws come from (see ``coalitions.generator``), so a number
never changes once it has been used: the same seed would give another answer. (The estimator ``paper`` is
older and keys the contexts of a pair by its two players alone.)
"""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """What is drawn."""

    PILOT = 0  # shared: the coalitions that show how differences depend on the size
    TILES = 1  # shared: the coalitions themselves, one draw per replicate
    TRIPLES = 3  # the coalitions of third-order estimates, one draw per replicate
    FIT = 10  # surrogate: coalitions that only fit
    SPREAD = 11  # surrogate: the spread sample, one draw per replicate
    GRIDS = 12  # surrogate: the coalition each replicate's flip grid is around
    CONTEXTS = 13  # surrogate: contexts for means under the fitted process, one draw per replicate
    FITTED = 14  # surrogate: which coalitions the process is fitted to, where there are too many
    ROUNDS = 20  # adaptive: the seed of each round
    AUTO_GRIDS = 40  # auto: the coalition each flip grid is around
    AUTO_SPREAD = 41  # auto: the sampled coalitions, one draw per replicate
    AUTO_CONTEXTS = 42  # auto: contexts for means under the fitted model, one draw per replicate
    AUTO_FIT = 43  # auto: which coalitions a model is fitted to
    AUTO_PILOT = 44  # auto: the coalitions that show where the others should go
    AUTO_NETWORK = 45  # auto: coalitions whose index under a network is averaged, one draw per replicate
