"""How to check pictures: a loop, threads, processes or Ray Data, on JPEGs of the size of film posters.

    python benchmarks/pictures.py [--count 100] [--rounds 25] [--ray] [--blocks 0]

The pictures are the embedded drawings at 700 x 1050 with noise, one in twenty of them cut short. Every way
must find the same ones bad. The ways take turns; pools are started before. Reported are the best and the
median round. ``--blocks 0`` lets Pillow give the memory of each picture back, as it does by default.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from machine import machine_line
from PIL import Image

from raymoe.data.pictures import KEPT_BLOCKS, decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--blocks", type=int, default=KEPT_BLOCKS)
    arguments = parser.parse_args()
    Image.core.set_blocks_max(arguments.blocks)
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor() as threads,
        ProcessPoolExecutor() as processes,
    ):
        ways: dict[str, Callable[[list[str]], list[bool]]] = {
            "loop": lambda paths: [is_good(p) for p in paths],
            "threads": lambda paths: list(threads.map(is_good, paths)),
            "processes": lambda paths: list(processes.map(is_good, paths, chunksize=8)),
        }
        if arguments.ray:
            ways["Ray Data"] = ray_data()
        with ProcessPoolExecutor(1) as once:  # writing them would change how this process allocates memory
            paths = once.submit(write_pictures, Path(folder), arguments.count).result()
        size = sum(os.path.getsize(p) for p in paths) / len(paths) / 1e6
        print(f"{machine_line()}\n{len(paths)} JPEGs of {size:.2f} MB on average", flush=True)
        wanted = [i % 20 != 0 for i in range(len(paths))]
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                found = way(paths)
                seconds[name].append(time.perf_counter() - start)
                assert found == wanted, name
    for name, times in seconds.items():
        print(f"{name}: best {min(times):.2f} s, median {statistics.median(times):.2f} s")


def write_pictures(folder: Path, count: int) -> list[str]:
    """Write the JPEGs and return their paths."""
    table = pq.read_table(
        str(files("raymoe.data") / "embedded" / "openclipart.parquet"), columns=["image"]
    ).slice(0, count)
    rng, paths = np.random.default_rng(0), []
    for i, data in enumerate(table["image"].to_pylist()):
        picture = Image.open(io.BytesIO(data)).convert("RGB").resize((700, 1050))
        noisy = np.asarray(picture) + rng.normal(0, 9, (1050, 700, 3))
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        path = folder / f"{i}.jpeg"
        path.write_bytes(buffer.getvalue()[: -5000 if i % 20 == 0 else None])
        paths.append(str(path))
    return paths


def is_good(path: str) -> bool:
    """Whether a picture can be decoded, as ``raymoe prepare`` checks it."""
    try:
        decode(Path(path).read_bytes())
    except ValueError:
        return False
    return True


def ray_data() -> Callable[[list[str]], list[bool]]:
    """Start Ray; the returned function checks pictures with it."""
    import ray
    import ray.data

    ray.init(address="local", log_to_driver=False, include_dashboard=False, object_store_memory=200 << 20)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True

    def check(paths: list[str]) -> list[bool]:
        rows = ray.data.from_items(paths).map(lambda row: {"good": is_good(row["item"])}).take_all()
        return [row["good"] for row in rows]

    return check


if __name__ == "__main__":
    main()
