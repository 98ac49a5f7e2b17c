"""``raymoe encode`` against a plain loop over the same frozen encoders, on the demo's data, one process.

The loop is what one writes first: load the encoders, then for each batch decode, encode, keep float16. It
gets its best batch size per modality, found first, and pays neither for sorting, metadata nor writing. Both
use as many threads as torch would take (OMP_NUM_THREADS, or all cores) and load their encoders within the
time. They run by turns in one process, so that whatever else the machine does meets both; processor time is
what counts where it does much else.

    python benchmarks/encode.py [--samples 384] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from machine import machine_line

from raymoe.config import Preset, load_preset
from raymoe.data import prepare
from raymoe.data.pictures import decode
from raymoe.features.batches import keep_freed_memory
from raymoe.features.encode import encode
from raymoe.features.lookup import load_encoder
from raymoe.features.store import FeatureStore
from raymoe.project import Project, artifacts
from raymoe.project.artifacts import FEATURES
from raymoe.project.workspace import Workspace

SIZES = (2, 4, 8, 16, 32)
TRIED = 96  # samples on which the loop's batch size is chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = subset(Path(folder), arguments.samples)
        prepare(project)
        table = artifacts.SAMPLES.of(project).read()
        compare(project, table, arguments.rounds)


def subset(folder: Path, samples: int) -> Project:
    """The demo with its first samples of each split only."""
    preset = load_preset("demo")
    source = Path(__file__).parents[1] / "raymoe" / "data" / "embedded" / "openclipart.parquet"
    table = pq.read_table(source)
    step = max(1, len(table) // samples)
    pq.write_table(table.take(list(range(0, len(table), step))[:samples]), folder / "raw.parquet")
    data = preset.data.model_copy(update={"source": str(folder / "raw.parquet")})
    return Project(preset.model_copy(update={"data": data}), Workspace(folder / "runs"), "demo")


def compare(project: Project, table: pa.Table, rounds: int) -> None:
    keep_freed_memory()  # the loop profits too
    names = [m.name for m in project.preset.data.modalities]
    best = {name: best_size(project.preset, table.slice(0, TRIED), name) for name in names}
    turns = {
        "encode": lambda: encode(project, device="cpu", overwrite=True),
        "loop": lambda: [loop(project.preset, table, name, size) for name, size in best.items()],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for round_ in range(rounds):
        for name in list(turns)[:: 1 if round_ % 2 else -1]:
            found[name].append(seconds(turns[name]))
    check(project, table, best)
    print(f"encode against a plain loop, {len(table)} samples, {torch.get_num_threads()} threads")
    print(f"  {machine_line()}")
    print(f"  the loop's best batch sizes: {', '.join(f'{name} {size}' for name, size in best.items())}")
    for i, what in enumerate(("time", "processor time")):
        taken = {name: np.array([pair[i] for pair in pairs]) for name, pairs in found.items()}
        for name, values in taken.items():
            print(
                f"  {what}, {name:6s} {np.median(values):6.2f} s  ({values.min():.2f} to {values.max():.2f})"
            )
        ratios = taken["loop"] / taken["encode"]
        spread = f"{ratios.min():.2f} to {ratios.max():.2f}, {rounds} rounds"
        print(f"  {what}, loop over encode: {np.median(ratios):.2f} ({spread})")


def best_size(preset: Preset, table: pa.Table, name: str) -> int:
    loop(preset, table, name, SIZES[-1])  # to be warm
    taken = dict.fromkeys(SIZES, np.inf)
    for _ in range(4):  # the least of several, as whatever else the machine does only adds
        for size in SIZES:
            taken[size] = min(taken[size], seconds(lambda s=size: loop(preset, table, name, s))[0])
    return min(taken, key=taken.get)


def loop(preset: Preset, table: pa.Table, name: str, size: int) -> list[np.ndarray]:
    """One modality, batch by batch in the table's order: per sample ``[T, D]`` float16."""
    modality = next(m for m in preset.data.modalities if m.name == name)
    encoder, items, kept = load_encoder(modality.kind, modality.encoder), table[name].to_pylist(), []
    for start in range(0, len(items), size):
        chosen = items[start : start + size]
        batch = encoder.encode(chosen if modality.kind == "text" else [decode(data) for data in chosen])
        features_BTD, valid_BT = batch.features_BTD.half().numpy(), batch.valid_BT.numpy()
        kept += [features_TD[valid_T] for features_TD, valid_T in zip(features_BTD, valid_BT, strict=True)]
    return kept


def check(project: Project, table: pa.Table, best: dict[str, int]) -> None:
    """Both say the same, but for roundings."""
    store = FeatureStore.open(FEATURES.of(project))
    for name, size in best.items():
        for i, wanted_TD in enumerate(loop(project.preset, table.slice(0, TRIED), name, size)):
            np.testing.assert_allclose(store.sequence(i, name)[0], wanted_TD, atol=2e-2, rtol=2e-2)


def seconds(work) -> tuple[float, float]:
    """How long it took, and how long the processors worked for it."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
