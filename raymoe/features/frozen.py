"""A module that can't be trained: it answers in evaluation mode and without gradients, whatever others do."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_DRAWING = threading.Lock()  # torch has one generator per device, and a module one mode, for all threads


class Frozen:
    """Holds a module; calling it calls the module.

    Args:
        module: put into evaluation mode again before every call, as others may hold it too.
        precision: ``float32``, or ``float16`` or ``bfloat16`` for automatic mixed precision.
        dropout: let its dropout act, drawn from what it is called with: the same call has the same answer.
    """

    def __init__(self, module: nn.Module, precision: str = "float32", dropout: bool = False) -> None:
        self.module, self.dropout = module.requires_grad_(False), dropout
        self._mixed = None if precision == "float32" else getattr(torch, precision)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's answer."""
        mixed = torch.autocast(self.device.type, self._mixed, enabled=self._mixed is not None)
        drawing = self._drawing((*args, *kwargs.values())) if self.dropout else contextlib.nullcontext()
        with torch.no_grad(), mixed, drawing:
            if not self.dropout:
                self.module.eval()
            return self.module(*args, **kwargs)

    @contextlib.contextmanager
    def _drawing(self, arguments: tuple[Any, ...]) -> Iterator[None]:
        """Training mode for what draws at random, one call at a time; normalisation keeps its statistics."""
        digest = hashlib.sha256()
        for tensor in arguments:
            if isinstance(tensor, torch.Tensor):
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        devices = [] if self.device.type == "cpu" else [self.device]
        with _DRAWING, torch.random.fork_rng(devices=devices):
            for module in self.module.modules():
                module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)
            torch.manual_seed(int.from_bytes(digest.digest()[:8]) >> 1)
            try:
                yield
            finally:
                self.module.eval()

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.module.parameters()).device

    def to(self, device: str | torch.device) -> None:
        """Move it, in place."""
        self.module.to(device)


class Replayed(Frozen):
    """A frozen module whose answers can be had again: all hidden states of one run, for layer after layer.

    Args:
        model: asked for its hidden states whenever it is called for the first time.
    """

    def __init__(self, model: Frozen) -> None:
        self.module, self._model = model.module, model
        self.answers: list[Any] = []
        self._next = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the call of this number, whatever it is called with after ``rewind``."""
        if self._next == len(self.answers):
            self.answers.append(self._model(*args, **(kwargs | {"output_hidden_states": True})))
        self._next += 1
        return self.answers[self._next - 1]

    def rewind(self) -> None:
        """The next call is the first one again."""
        self._next = 0
