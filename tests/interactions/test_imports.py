"""``raymoe.interactions`` is a library of its own: numpy, scipy, torch; pandas where a table is asked for."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCKED = (
    "ray transformers matplotlib pydantic pydantic_core pyarrow typer rich jinja2 sklearn joblib safetensors "
    "psutil PIL shapiq"
)
BLOCK = f"""
import sys
from importlib.machinery import PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in {BLOCKED.split()!r}:
            return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
try:
    import pydantic
except ImportError:
    pass
else:
    raise SystemExit("nothing is blocked")
"""
USE = """
import numpy as np
import torch

from raymoe.interactions import ModuleGame, estimate, estimate_triples, select_candidates
from raymoe.errors import RaymoeError

def game(coalitions):
    return np.tanh(coalitions @ np.arange(9) / 9) + (coalitions[:, 2] & coalitions[:, 7])

pairs = np.array([(2, 7), (1, 6), (0, 5)])
truth = estimate(game, pairs, method="exact", num_players=9)
for method in ("shared", "surrogate", "adaptive", "paper"):
    found = estimate(game, pairs, budget=400, method=method, num_players=9, seed=1)
    assert np.abs(found.sii - truth.sii).max() < 0.3, method
    low, high = found.interval(0.95)
    assert (low <= high).all()
estimate(game, pairs, budget=400, num_players=9, index="banzhaf", inclusion=0.3)
estimate_triples(game, np.array([(0, 2, 7)]), budget=400, num_players=9)
assert list(found.to_pandas()["u"]) == [2, 1, 0]
try:
    found.to_arrow()
except RaymoeError as error:
    assert "pyarrow is not installed" in str(error)

module = torch.nn.Sequential(torch.nn.Linear(9, 4), torch.nn.GELU(), torch.nn.Linear(4, 3))
of_module = ModuleGame(module, lambda active: active.float(), num_players=9, target=1)
assert np.isfinite(estimate(of_module, pairs, budget=200).sii).all()
scores = {"text": np.arange(3.0), "image": np.arange(4.0)}
assert len(select_candidates(scores, {name: s >= 0 for name, s in scores.items()}, rho=1.0).pairs) == 12
print("fine")
"""
TIMES = """
import sys, time
start = time.process_time()
import torch
with_torch = time.process_time()
import raymoe.interactions
done = time.process_time()
print(with_torch - start, done - with_torch, "scipy" in sys.modules)
"""


def run(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_runs_where_nothing_else_of_ours_is_installed():
    assert run(BLOCK + USE) == ["fine"]


def test_its_import_takes_next_to_nothing_beside_torchs():
    """Processor time, so that other work on the machine does not count."""
    for_torch, rest, scipy = run(TIMES)
    assert float(rest) < max(0.15 * float(for_torch), 0.3)
    assert scipy == "False"
