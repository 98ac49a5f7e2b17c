"""A training step of FL-I2MoE against one Python call per expert and pass, and how fast features are read.

    python benchmarks/training.py [--device cuda] [--batch 32] [--quick]

Sizes of the paper's MM-IMDb recipe: 128 text and 196 image tokens 768 wide, d = 256, two layers, 23 classes.
The loop is the plain way: four Transformers of torch.nn modules, each called three times. Both have the same
weights and see the same noise; losses are compared without dropout, since each draws its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from functools import partial

import numpy as np
import torch
from evaluator import interleaved, wait
from machine import machine_line
from torch import Tensor, nn
from torch.nn import functional as F

from raymoe.config import ModelConfig, TrainConfig
from raymoe.features.parts import ModalityInfo, Row, SequenceRow, part_name, write_marker, write_part
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.base import ModelOutput, Passes
from raymoe.models.checkpoint import Shape
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.project import artifacts
from raymoe.project.contracts import FEATURES
from raymoe.project.provenance import Provenance
from raymoe.project.workspace import Workspace
from raymoe.task import MULTILABEL
from raymoe.training.epochs import accumulate
from raymoe.training.objective import objective

TEXT, IMAGE, WIDTH, CLASSES = 128, 196, 768, 23
SHAPES = (Shape("text", WIDTH, TEXT), Shape("image", WIDTH, IMAGE))
ROWS_PER_PART = 256
TOGETHER, LOOP = "all experts and passes at once", "one call per expert and pass"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.quick:
        arguments.batch, arguments.rounds = 2, 1
    print(f"{machine_line()}, {arguments.device}, {torch.get_num_threads()} thread(s)\n")
    step = steps(torch.device(arguments.device), arguments.batch, arguments.rounds)
    reading(torch.device(arguments.device), arguments.batch, step, 32 if arguments.quick else 512)


def steps(device: torch.device, size: int, rounds: int) -> float:
    """Seconds of a step, batched and looped, with the recipe's dropout and without; returns the first."""
    first = None
    for dropout in (0.5, 0.0):
        torch.manual_seed(0)
        model = FLI2MoE(SHAPES, CLASSES, ModelConfig(dropout=dropout, dropout_rw=dropout)).to(device)
        loop = Loop(model).to(device)
        batch = made_up_batch(size, device)
        config, scaler = TrainConfig(), torch.amp.GradScaler(device.type, enabled=False)
        ways = {
            TOGETHER: partial(accumulate, model, batch, MULTILABEL, config, scaler),
            LOOP: partial(looped_step, loop, batch),
        }
        seconds = interleaved(ways, rounds, device)
        print(f"one step, batch {size}, dropout {dropout}")
        for name, values in seconds.items():
            print(f"  {name:32} {np.median(values):8.3f} s  ({values.min():.3f} to {values.max():.3f})")
        ratio = seconds[LOOP] / seconds[TOGETHER]
        print(
            f"  ratio (wanted: 2){'':15} {np.median(ratio):8.2f}    ({ratio.min():.2f} to {ratio.max():.2f})"
        )
        first = first or float(np.median(seconds[TOGETHER]))
        if not dropout:
            print(f"  largest difference of a loss     {difference(model, loop, batch):.1e} (wanted: 1e-5)")
    return first


def looped_step(loop: Loop, batch: FeatureBatch) -> None:
    """Forward, losses, backward."""
    output, passes = loop.forward_passes(batch.features, batch.valid)
    objective(output, passes, batch.labels, MULTILABEL, TrainConfig())[0].backward()


@torch.no_grad()
def difference(model: FLI2MoE, loop: Loop, batch: FeatureBatch) -> float:
    """Of any loss, on the same noise."""
    losses = []
    for forward in (model.forward_passes, loop.forward_passes):
        torch.manual_seed(1)
        loss, parts = objective(
            *forward(batch.features, batch.valid), batch.labels, MULTILABEL, TrainConfig()
        )
        losses.append({"loss": loss, **parts})
    return max(float((losses[0][name] - losses[1][name]).abs().max()) for name in losses[0])


def made_up_batch(size: int, device: torch.device) -> FeatureBatch:
    """Features, validity and labels at random."""
    generator = torch.Generator().manual_seed(0)
    features = {s.name: torch.randn(size, s.max_length, WIDTH, generator=generator) for s in SHAPES}
    valid = {n: torch.ones(x.shape[:2], dtype=torch.bool, device=device) for n, x in features.items()}
    labels = (torch.rand(size, CLASSES, generator=generator) < 0.1).float()
    special = {n: torch.zeros_like(x) for n, x in valid.items()}
    ids = [str(i) for i in range(size)]
    return FeatureBatch(features, valid, special, labels, ids).to(device)


class Loop(nn.Module):
    """The same model as four separate Transformers, called pass by pass."""

    def __init__(self, model: FLI2MoE) -> None:
        super().__init__()
        self.model = [model]  # in a list: its parameters are not this module's
        self.experts = nn.ModuleList(PlainExpert(model, e) for e in range(len(model.expert_names)))

    def forward_passes(self, features, valid) -> tuple[ModelOutput, Passes]:
        model = self.model[0]
        embeddings = model.project(features, valid)
        noise = model.noise(embeddings, None)
        variants = [embeddings, *({**embeddings, name: noise[name]} for name in model.names)]
        inputs = [model.fusion_input(variant, valid).tokens_BTD for variant in variants]
        answers = [[expert(tokens_BTD) for tokens_BTD in inputs] for expert in self.experts]
        logits_EPBC = torch.stack([torch.stack([logits for logits, _ in row]) for row in answers])
        latents_EPBI = torch.stack([torch.stack([latents for _, latents in row]) for row in answers])
        weights_BE = model.gate_weights(embeddings, valid)
        return model.mix(logits_EPBC[:, 0], weights_BE), Passes(logits_EPBC, latents_EPBI)


class PlainExpert(nn.Module):
    """One expert of torch.nn modules, with the weights that it has in the stack."""

    def __init__(self, model: FLI2MoE, e: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(block, e) for block in model.experts.blocks)
        self.head = linear(model.experts.head, e)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.blocks:
            x_BTD = block(x_BTD)
        latents_BI = torch.cat([x_BTD[:, :TEXT].mean(1), x_BTD[:, TEXT:].mean(1)], -1)
        return self.head(latents_BI), latents_BI


class PlainBlock(nn.Module):
    """One layer of one expert."""

    def __init__(self, block, e: int) -> None:
        super().__init__()
        self.heads = block.heads
        self.drop, self.drop_attention = nn.Dropout(block.dropout), block.dropout_attention
        self.norm1, self.norm2 = norm(block.norm1, e), norm(block.norm2, e)
        self.qkv, self.out = linear(block.qkv, e), linear(block.out, e)
        self.up, self.down = linear(block.up, e), linear(block.down, e)

    def forward(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        qkv = self.qkv(self.norm1(x_BTD)).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.drop_attention)
        x_BTD = x_BTD + self.drop(self.out(mixed.transpose(1, 2).reshape(B, T, D)))
        return x_BTD + self.drop(self.down(self.drop(F.gelu(self.up(self.norm2(x_BTD))))))


def linear(stacked, e: int) -> nn.Linear:
    inputs, outputs = stacked.weight_EIO.shape[1:]
    found = nn.Linear(inputs, outputs, bias=stacked.bias_E1O is not None)
    with torch.no_grad():
        found.weight.copy_(stacked.weight_EIO[e].T)
        if stacked.bias_E1O is not None:
            found.bias.copy_(stacked.bias_E1O[e, 0])
    return found


def norm(stacked, e: int) -> nn.LayerNorm:
    found = nn.LayerNorm(stacked.scale_ED.shape[1])
    with torch.no_grad():
        found.weight.copy_(stacked.scale_ED[e])
        found.bias.copy_(stacked.shift_ED[e])
    return found


def reading(device: torch.device, size: int, step: float, samples: int) -> None:
    """How fast random batches come out of a store on disk, and what that does to the process's memory."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"reading batches of {size} in random order")
        for count in (samples, 4 * samples):
            store = made_up_store(Workspace(folder), count)
            order = np.random.default_rng(0).permutation(count)
            starts = range(0, count - size + 1, size)
            for start in starts:  # once to have the pages in memory, as after the first epoch
                store.batch(order[start : start + size], device, pooled=False)
            wait(device)
            begin = time.perf_counter()
            for start in starts:
                store.batch(order[start : start + size], device, pooled=False)
            wait(device)
            each = (time.perf_counter() - begin) / len(starts)
            print(
                f"  {count:6} samples: {each * 1e3:.1f} ms a batch, a step takes {step / each:.0f} times "
                f"that (wanted: 3); private memory {private_memory():.0f} MiB"
            )


def made_up_store(workspace: Workspace, count: int) -> FeatureStore:
    """Features at random in the store's own format."""
    folder, rng = f"store{count}", np.random.default_rng(0)
    infos = [
        ModalityInfo("text", "text", WIDTH, TEXT, None),
        ModalityInfo("image", "image", WIDTH, IMAGE, (14, 14)),
    ]
    made, sizes = Provenance("encode", FEATURES.tag, {"made": "up"}), []
    for number, start in enumerate(range(0, count, ROWS_PER_PART)):
        rows = []
        for i in range(start, min(start + ROWS_PER_PART, count)):
            sequences = {}
            for info in infos:
                features = rng.integers(-1000, 1000, (info.max_length, WIDTH)).astype(np.float16) / 512
                there, special = np.ones(info.max_length, bool), np.zeros(info.max_length, bool)
                tokens = ["x"] * info.max_length if info.kind == "text" else None
                sequences[info.name] = SequenceRow(features, there, special, tokens)
            rows.append(Row(f"s{i}", "train", [i % CLASSES], sequences))
        sizes.append(len(rows))
        write_part(
            workspace, part_name(folder, number), rows, infos, made, {"rows": [start, start + len(rows)]}
        )
    classes = [str(c) for c in range(CLASSES)]
    write_marker(workspace, folder, made, infos, sizes, classes=classes, task="multilabel")
    return FeatureStore.open(artifacts.FEATURES.at(workspace, folder, "this benchmark"))


def private_memory() -> float:
    """MiB of the process that are not pages of files; its peak where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            resident, shared = (int(x) for x in file.read().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
