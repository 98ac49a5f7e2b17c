"""The GPU's benchmark runs; its first part is the evaluator's, whose plain path agrees with the package's."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_quick_benchmark_prints_every_figure():
    command = [sys.executable, "benchmarks/gpu.py", "--quick", "--device", "cpu"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    ratios = [line for line in lines if "their ratio (wanted" in line]
    assert [re.search(r"wanted: (\d+)", line)[1] for line in ratios] == ["100", "35"]
    shares = [float(re.search(r"(\d+)%  \(", line)[1]) for line in lines if "its own products" in line]
    assert len(shares) == 4
    assert all(0 < share < 200 for share in shares)
    differences = [line for line in lines if "against dense" in line or "noise floor" in line]
    assert len(differences) == 8
    assert all(float(line.split()[-1]) < 1e-4 for line in differences)
    rates = [line for line in lines if line.endswith(("samples/s", "items/s"))]
    assert [line.split("  ")[1] for line in rates] == [
        "training step, batch 2, float32",
        "training step, batch 2, bfloat16",
        "encode text",
        "encode image",
    ]
