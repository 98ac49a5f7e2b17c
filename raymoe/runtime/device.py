"""Which device a stage computes on."""

from __future__ import annotations

import platform
from contextlib import suppress

from raymoe.errors import RaymoeError
from raymoe.runtime.threads import use_granted_cores


def resolve_device(asked: str | None) -> str:
    """The device asked for, or a GPU where there is one, else the CPU, with the cores that are granted.

    Raises:
        RaymoeError: it isn't there.
    """
    import torch

    use_granted_cores()
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise no_gpu(asked, "this machine", f"torch {torch.__version__} finds none")
    return asked


def no_gpu(asked: str, where: str, found: str) -> RaymoeError:
    """What to raise where a GPU is asked for and there is none.

    Args:
        asked: the device.
        where: ``this machine`` or ``the cluster``.
        found: what there is instead.
    """
    remedy = "Leave --device out to use the CPU; `raymoe doctor` says what there is."
    if where == "the cluster":
        remedy += (
            " Or add a machine with GPUs; where they are added when they are asked for, say how many with "
            "--actors."
        )
    return RaymoeError(f"--device {asked}, but {where} has no GPU ({found})", remedy)


def several_gpus(asked: str | None) -> bool:
    """Whether this machine has GPUs that one process would leave idle."""
    if asked == "cpu":
        return False
    import torch

    return torch.cuda.device_count() > 1


def device_name(device: str) -> str:
    """The model of the GPU or of the processor, as tables name what computed them."""
    import torch

    if device != "cpu":
        return torch.cuda.get_device_name(device)
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return f"cpu: {line.split(':', 1)[1].strip()}"
    return f"cpu: {platform.processor() or platform.machine()}"
