"""Everything that waits for a GPU, in one run: the probe's evaluator, a training step, the encoders.

    python benchmarks/gpu.py [--device cuda] [--quick]

Runs on a CPU too (to see that it works). Synthetic weights and inputs of the paper's sizes; no Ray, no data.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from evaluator import report, show, wait
from machine import machine_line

from raymoe.config import ModelConfig
from raymoe.models.checkpoint import Shape
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.models.losses import interaction_losses, task_loss

TEXT, IMAGE, WIDTH, CLASSES = 128, 196, 768, 23


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


def build(device: torch.device, dim: int = 256) -> FLI2MoE:
    shapes = (Shape("text", WIDTH, TEXT), Shape("image", WIDTH, IMAGE))
    return FLI2MoE(shapes, CLASSES, ModelConfig(hidden_dim=dim)).eval().to(device)


def evaluator(device: torch.device, quick: bool):
    """The evaluator's own table, and the memory it took."""
    yield from report(device, quick)
    if device.type == "cuda":
        yield "  peak GPU memory", f"{torch.cuda.max_memory_allocated() / (1 << 30):.2f} GiB"
    yield "training and encoders", ""


def training_step(device: torch.device, quick: bool):
    """Forward, losses and backward of one batch of 32."""
    model = build(device).train()
    size = 4 if quick else 32
    features = {"text": torch.randn(size, TEXT, WIDTH), "image": torch.randn(size, IMAGE, WIDTH)}
    features = {n: x.to(device) for n, x in features.items()}
    valid = {n: torch.ones(x.shape[:2], dtype=torch.bool, device=device) for n, x in features.items()}
    labels = (torch.rand(size, CLASSES, device=device) < 0.1).float()

    def step() -> None:
        output, passes = model.forward_passes(features, valid)
        loss = (
            task_loss(output.logits_BC, labels, "multilabel")
            + 0.5 * interaction_losses(passes.logits_EPBC).mean()
        )
        loss.backward()

    took = seconds(step, device, 1 if quick else 3)
    yield f"  training step, batch {size}, d = 256", f"{took * 1e3:.0f} ms, {size / took:.0f} samples/s"


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
