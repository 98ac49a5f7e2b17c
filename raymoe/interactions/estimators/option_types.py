"""What an estimator can be told besides its budget: options with a default and a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raymoe.errors import InputError

Value = float | str
"""What an option may be."""

Options = Mapping[str, Value]
"""A value for each of an estimator's options, by name."""


class Option(Protocol):
    """One option of an estimator."""

    @property
    def default(self) -> Value:
        """What it is where nothing is said."""

    def check(self, name: str, value: Value) -> None:
        """Raise an InputError unless the value fits; ``name`` is the option's, for the message."""


@dataclass(frozen=True)
class Fraction:
    """A number between 0 and 1, both left out; ``meaning`` ends the sentence 'It is ...'."""

    default: float
    meaning: str

    def check(self, name: str, value: Value) -> None:
        """See ``Option``."""
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not (number and 0 < float(value) < 1):
            raise InputError(f"{name} is {value}", f"It is {self.meaning}.")


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    default: str
    choices: tuple[str, ...]

    def check(self, name: str, value: Value) -> None:
        """See ``Option``."""
        if value not in self.choices:
            raise InputError(f"unknown {name} {value!r}", f"{name.capitalize()}s: {', '.join(self.choices)}.")
