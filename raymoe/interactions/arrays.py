"""The same formulas on NumPy's arrays and on torch's tensors, wherever these lie.

An estimate whose game answers on a GPU is reduced to its sums there: values don't wait for the host, nor the
host for them. The formulas stand once; these are the few names in which the two libraries differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


def library(array: np.ndarray | Tensor) -> ModuleType:
    """NumPy or torch: ``where``, ``minimum``, ``maximum`` and ``stack`` are the same in both."""
    found: ModuleType = torch if isinstance(array, Tensor) else np
    return found


def positive(array: Array) -> Array:
    """max(0, x)."""
    if isinstance(array, Tensor):
        return array.clamp(min=0)
    found: np.ndarray = np.maximum(0.0, array)
    return found


def beside(array: np.ndarray, other: Array) -> Array:
    """A host's array where another one lies."""
    if not isinstance(other, Tensor):
        return array
    return torch.from_numpy(np.ascontiguousarray(array)).to(other.device)


def by_column(array: Array) -> Array:
    """A matrix whose columns are one after the other in memory: NumPy's sums over rows are fastest so."""
    return array if isinstance(array, Tensor) else np.asfortranarray(array)


def rows_of(table: Array, at: Array) -> Array:
    """Some rows of a table [..., s, p] (or of several), in memory as ``by_column`` has them."""
    if isinstance(table, Tensor):
        return table.index_select(-2, at)
    found: np.ndarray = np.take(np.swapaxes(table, -1, -2), at, -1)
    return np.swapaxes(found, -1, -2)


def on_host(array: np.ndarray | Tensor) -> np.ndarray:
    """As NumPy's."""
    return array.cpu().numpy() if isinstance(array, Tensor) else array


def stacked(arrays: Sequence[Array]) -> Array:
    """One above the other."""
    found: Array = library(arrays[0]).stack(list(arrays))
    return found
