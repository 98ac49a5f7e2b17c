"""What the demo's stages lose beside a busy process.

    python benchmarks/busy.py [--rounds 2] [--stages encode train probe] [--busy 1]

Runs each stage as its command, alone and beside so many processes that take a core each, in turns; with
``OMP_NUM_THREADS`` unset, as users have it. Prints seconds and what is left of the speed alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from machine import machine_line

BEFORE = ["prepare", "encode", "train", "attribute"]  # in this order, what the measured stages stand on
SPIN = "while True: pass"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stages", nargs="+", default=["encode", "train", "probe"])
    parser.add_argument("--busy", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{machine_line()}, {arguments.busy} busy process(es)\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for stage in BEFORE:
            run(stage, folder)
        print(f"{'stage':10} {'alone':>10} {'beside':>10}   what is left of the speed", flush=True)
        for stage in arguments.stages:
            alone, beside = [], []
            for _ in range(arguments.rounds):
                alone.append(run(stage, folder))
                with busy(arguments.busy):
                    beside.append(run(stage, folder))
            left = np.array(alone) / np.array(beside)
            print(
                f"{stage:10} {np.median(alone):8.1f} s {np.median(beside):8.1f} s   {np.median(left):.0%} "
                f"({left.min():.0%} to {left.max():.0%})",
                flush=True,
            )


def run(stage: str, folder: str) -> float:
    """Seconds of a command, done afresh."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [
        str(Path(sys.executable).parent / "raymoe"),
        stage,
        "demo",
        "--workspace",
        folder,
        "--overwrite",
    ]
    start = time.perf_counter()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command)}\n{ended.stdout}{ended.stderr}")
    return time.perf_counter() - start


@contextmanager
def busy(count: int):
    """So many processes that do nothing but take a core."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
