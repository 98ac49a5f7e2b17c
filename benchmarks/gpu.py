"""Everything that waits for a GPU, in one run: the probe's evaluator, a training step, the encoders.

    python benchmarks/gpu.py [--device cuda] [--quick]

Runs on a CPU too (to see that it works). Synthetic weights and inputs of the paper's sizes; no Ray, no data.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from evaluator import Rows, Sample, ask, grid, parts, show, spread, universe, wait
from machine import machine_line
from training import CLASSES, SHAPES, made_up_batch

from raymoe.config import ModelConfig, TrainConfig
from raymoe.interactions.games.precision import full_precision
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.task import MULTILABEL
from raymoe.training.epochs import accumulate


def main() -> None:
    """Print the table part by part; a part that fails says so, and the next ones follow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device, quick = torch.device(arguments.device), arguments.quick
    print(machine_line(), flush=True)
    failed = []
    for part in (
        *parts(device, quick),
        peak_memory(device),
        sharing(device),
        training_step(device, quick),
        repeated_training(device, quick),
        text_encoder(device, quick),
        image_encoder(device, quick),
    ):
        show(as_far_as_it_goes(part, failed), width=76)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    sys.exit(1 if failed else 0)


def as_far_as_it_goes(part: Rows, failed: list[str]) -> Rows:
    """A part's rows; where it fails, those before, and why."""
    try:
        yield from part
    except Exception as error:
        traceback.print_exc()
        failed.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
        yield "  stopped here", failed[-1]


def seconds(work, device: torch.device, repeats: int = 3) -> float:
    """Median seconds of a call, after one to warm up."""
    work()
    found = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def peak_memory(device: torch.device) -> Rows:
    """Of all parts before."""
    if device.type == "cuda":
        yield "  peak GPU memory so far", f"{torch.cuda.max_memory_allocated() / (1 << 30):.2f} GiB"


def sharing(device: torch.device, processes: tuple[int, ...] = (1, 2, 4, 8, 16)) -> Rows:
    """How several processes share a GPU, as the probe's actors do with ``--gpu-share``."""
    if device.type == "cpu":
        return
    yield "processes sharing the GPU, 33 players, 32 coalitions: second differences/s of all together", ""
    context = multiprocessing.get_context("spawn")
    for count in processes:
        start = context.Barrier(count, timeout=60)
        with ProcessPoolExecutor(count, context, wait_for_others, (start,)) as pool:
            rates = sum(pool.map(probe_rates, [str(device)] * count))
        yield f"  {count}", spread(rates)


def wait_for_others(start) -> None:
    """Keep the barrier of a process."""
    global START
    START = start


def probe_rates(device: str, windows: int = 5) -> np.ndarray:
    """Second differences per second of one process in each of so many seconds, from when all are ready."""
    torch.set_num_threads(1)
    pairs = grid(range(13), range(13, 33))
    game = Sample(torch.device(device)).game(universe(13, 20))
    ask(game, [pairs], 32)
    START.wait()
    begin = time.perf_counter()
    ends, done = [begin], []
    while len(done) < windows:
        differences = 0
        while time.perf_counter() < begin + len(ends):
            (found,) = ask(game, [pairs], 32)
            differences += len(pairs) * (int(found.sums.n_coalitions[0]) + 2)
        ends.append(time.perf_counter())
        done.append(differences)
    return np.array(done) / np.diff(ends)


def training_step(device: torch.device, quick: bool) -> Rows:
    """Forward, losses and backward of one batch, as training does them, per precision."""
    yield "training and encoders", ""
    size = 2 if quick else 32
    model = FLI2MoE(SHAPES, CLASSES, ModelConfig()).to(device).train()
    batch = made_up_batch(size, device)
    for precision in ("float32", "bfloat16"):
        step = partial(accumulate, model, batch, MULTILABEL, TrainConfig(precision=precision), scaler(device))
        took = seconds(step, device, 1 if quick else 3)
        yield (
            f"  training step, batch {size}, {precision}",
            f"{took * 1e3:.0f} ms, {size / took:.0f} samples/s",
        )


def repeated_training(device: torch.device, quick: bool) -> Rows:
    """Whether the same training twice ends with the same weights."""
    size, steps = (2, 1) if quick else (32, 10)
    fresh, batch = FLI2MoE(SHAPES, CLASSES, ModelConfig()).to(device).train(), made_up_batch(size, device)
    ends = []
    for _ in range(2):
        torch.manual_seed(1)
        model = copy.deepcopy(fresh)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            accumulate(model, batch, MULTILABEL, TrainConfig(), scaler(device))
            optimizer.step()
        ends.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
    difference = float((ends[0] - ends[1]).abs().max())
    yield f"  the same training twice, steps: {steps}, largest difference of a weight", f"{difference:.1e}"


def scaler(device: torch.device) -> torch.amp.GradScaler:
    """None of float16's is needed."""
    return torch.amp.GradScaler(device.type, enabled=False)


def text_encoder(device: torch.device, quick: bool) -> Rows:
    """Items per second of the demo's text encoder, where it is installed."""
    texts = [f"a drawing of thing number {i} in many colours" for i in range(8 if quick else 256)]
    return encoding("text", "package:all-MiniLM-L6-v2", texts, device, quick)


def image_encoder(device: torch.device, quick: bool) -> Rows:
    """Items per second of the demo's image encoder, where it is installed."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 255, (224, 224, 3), np.uint8)) for _ in range(8 if quick else 64)
    ]
    return encoding("image", "package:efficientnet-lite0", pictures, device, quick)


def encoding(kind: str, source: str, items: list, device: torch.device, quick: bool) -> Rows:
    """Items per second, preparation on the CPU included."""
    from raymoe.config import EncoderConfig
    from raymoe.errors import RaymoeError
    from raymoe.features.lookup import load_encoder

    try:
        encoder = load_encoder(kind, EncoderConfig(source=source), device)
    except RaymoeError as error:
        yield f"  encode {kind}", f"not measured: {error.message}"
        return
    with full_precision():  # as in `raymoe encode`
        took = seconds(partial(encoder.encode, items), device, 1 if quick else 3)
    yield f"  encode {kind}", f"{len(items) / took:,.0f} items/s"


if __name__ == "__main__":
    main()
