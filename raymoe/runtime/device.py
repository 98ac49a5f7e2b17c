"""Which device a stage computes on."""

from __future__ import annotations

import platform
from contextlib import suppress

from raymoe.errors import RaymoeError


def resolve_device(asked: str | None) -> str:
    """The device asked for, or a GPU where there is one, else the CPU.

    Raises:
        RaymoeError: it isn't there.
    """
    import torch

    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise RaymoeError(
            f"--device {asked}, but torch {torch.__version__} finds no GPU here",
            "Leave --device out to use the CPU; `raymoe doctor` says what this machine has.",
        )
    return asked


def device_name(device: str) -> str:
    """The model of the GPU or of the processor, as tables name what computed them."""
    import torch

    if device != "cpu":
        return torch.cuda.get_device_name(device)
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return f"cpu: {line.split(':', 1)[1].strip()}"
    return f"cpu: {platform.processor() or platform.machine()}"
