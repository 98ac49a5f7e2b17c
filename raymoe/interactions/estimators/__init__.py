"""The estimators, one file each: what a budget buys, and running sums that merge.

All of them are reached by name through ``find_estimator``; the names are in ``raymoe.catalogue``. To add one,
write a subclass of ``Estimator`` (or of ``CoalitionEstimator``) in a file of its own and add its line there.
"""

from __future__ import annotations

from importlib import import_module

from raymoe.catalogue import ESTIMATORS
from raymoe.errors import InputError
from raymoe.interactions.estimators.base import CoalitionEstimator, Estimator, Question, Work

__all__ = ["CoalitionEstimator", "Estimator", "Question", "Work", "find_estimator"]


def find_estimator(name: str) -> Estimator:
    """The estimator of that name; its file is imported when it is first asked for.

    Raises:
        InputError: there is none; lists the names.
    """
    if name not in ESTIMATORS:
        raise InputError(f"unknown method {name!r}", f"Methods: {', '.join(ESTIMATORS)}.")
    module, _, kind = ESTIMATORS[name].place.partition(":")
    estimator: Estimator = getattr(import_module(module), kind)()
    return estimator
