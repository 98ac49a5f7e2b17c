"""Shapes of a function's arguments and of its answer, said with jaxtyping and checked at each call."""

import inspect
from functools import wraps

from jaxtyping import jaxtyped


def shaped(function, answers, **arguments):
    """The function, with a check of each call.

    Args:
        function: anything that can be called.
        answers: annotation of what it returns, or a tuple of them, one for each part of the answer.
        arguments: annotations by name. A letter stands for one length throughout a call.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checked(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        with jaxtyped("context"):
            for name, annotation in arguments.items():
                assert isinstance(given[name], annotation), f"{name}: {described(given[name], annotation)}"
            found = function(*args, **kwargs)
            parts = zip(found, answers, strict=True) if isinstance(answers, tuple) else [(found, answers)]
            for part, annotation in parts:
                assert isinstance(part, annotation), f"answer: {described(part, annotation)}"
        return found

    return checked


def described(value, annotation):
    """What there is and what should be."""
    return f"{getattr(value, 'dtype', type(value))} {getattr(value, 'shape', '')} is no {annotation}"
