"""Everything that waits for a GPU, in one run: the probe's evaluator, a training step, the encoders.

    python benchmarks/gpu.py [--device cuda] [--quick]

Runs on a CPU too (to see that it works). Synthetic weights and inputs of the paper's sizes; no Ray, no data.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
import torch
from evaluator import report, show, wait
from machine import machine_line
from training import CLASSES, SHAPES, made_up_batch

from raymoe.config import ModelConfig, TrainConfig
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.task import MULTILABEL
from raymoe.training.epochs import accumulate


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    print(machine_line())
    show(
        [
            *evaluator(device, arguments.quick),
            *training_step(device, arguments.quick),
            *encoders(device, arguments.quick),
        ]
    )


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


def evaluator(device: torch.device, quick: bool):
    """The evaluator's own table, and the memory it took."""
    yield from report(device, quick)
    if device.type == "cuda":
        yield "  peak GPU memory", f"{torch.cuda.max_memory_allocated() / (1 << 30):.2f} GiB"
    yield "training and encoders", ""


def training_step(device: torch.device, quick: bool):
    """Forward, losses and backward of one batch, as training does them, per precision."""
    size = 2 if quick else 32
    model = FLI2MoE(SHAPES, CLASSES, ModelConfig()).to(device).train()
    batch = made_up_batch(size, device)
    for precision in ("float32", "bfloat16"):
        config, scaler = TrainConfig(precision=precision), torch.amp.GradScaler(device.type, enabled=False)
        step = partial(accumulate, model, batch, MULTILABEL, config, scaler)
        took = seconds(step, device, 1 if quick else 3)
        yield (
            f"  training step, batch {size}, {precision}",
            f"{took * 1e3:.0f} ms, {size / took:.0f} samples/s",
        )


def encoders(device: torch.device, quick: bool):
    """Items per second of the demo's encoders, where they are installed."""
    from PIL import Image

    from raymoe.config import EncoderConfig
    from raymoe.errors import RaymoeError
    from raymoe.features.encoder import load_encoder

    pictures = [
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (224, 224, 3), np.uint8)) for i in range(64)
    ]
    texts = [f"a drawing of thing number {i} in many colours" for i in range(256)]
    for kind, source, items in (
        ("text", "package:all-MiniLM-L6-v2", texts),
        ("image", "package:efficientnet-lite0", pictures),
    ):
        items = items[:8] if quick else items
        try:
            encoder = load_encoder(kind, EncoderConfig(source=source), device)
        except RaymoeError as error:
            yield f"  encode {kind}", f"not measured: {error.message}"
            continue
        took = seconds(lambda encoder=encoder, items=items: encoder.encode(items), device, 1 if quick else 3)
        yield f"  encode {kind}", f"{len(items) / took:,.0f} items/s"


if __name__ == "__main__":
    main()
