"""The GPU's benchmark runs; its first part is the evaluator's, whose plain path agrees with the package's."""

import re
from pathlib import Path

from support.forks import run_file, run_forked

ROOT = Path(__file__).parents[2]


def test_the_quick_benchmark_prints_every_figure():
    ended = run_forked(run_file, ROOT / "benchmarks" / "gpu.py", "--quick", "--device", "cpu")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    ratios = [line for line in lines if "their ratio (wanted" in line]
    assert [re.search(r"wanted: (\d+)", line)[1] for line in ratios] == ["100", "35"]
    shares = [float(re.search(r"(\d+)%  \(", line)[1]) for line in lines if "its own products" in line]
    assert len(shares) == 4
    assert all(share > 0 for share in shares)  # how large is the machine's affair
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
