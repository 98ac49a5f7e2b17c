"""Which machine the figures of a benchmark are from."""

from __future__ import annotations

import datetime
import os
import platform

import psutil
import torch


def machine_line() -> str:
    """One line: date, processor, cores, memory, GPU, versions."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory = psutil.virtual_memory().total / (1 << 30)
    today = datetime.date.today().isoformat()
    return f"{today}, {name}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpu}, torch {torch.__version__}"
