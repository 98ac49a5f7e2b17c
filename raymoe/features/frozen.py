"""A module that can't be trained: it answers in evaluation mode and without gradients, whatever others do."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Frozen:
    """Holds a module; calling it calls the module.

    Args:
        module: put into evaluation mode again before every call, as others may hold it too.
        precision: ``float32``, or ``float16`` or ``bfloat16`` for automatic mixed precision.
    """

    def __init__(self, module: nn.Module, precision: str = "float32") -> None:
        self.module = module.requires_grad_(False)
        self._mixed = None if precision == "float32" else getattr(torch, precision)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's answer."""
        self.module.eval()
        mixed = torch.autocast(self.device.type, self._mixed, enabled=self._mixed is not None)
        with torch.no_grad(), mixed:
            return self.module(*args, **kwargs)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.module.parameters()).device

    def to(self, device: str | torch.device) -> None:
        """Move it, in place."""
        self.module.to(device)
