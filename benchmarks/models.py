"""The three models on the demo data over seeds, and what keeps the experts alive.

    python benchmarks/models.py [--workspace DIR] [--seeds 0,1,2] [--set train.epochs=3]

Same features, same settings but for the model; test split, mean and standard deviation over seeds. For the
mixtures the mean weight of each expert and how often it has the largest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace

import numpy as np
from machine import machine_line

from raymoe.config import load_preset
from raymoe.pipeline import run
from raymoe.project import Project
from raymoe.project.artifacts import METRICS, PREDICTIONS
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console

ROWS = {
    "FL-I2MoE": [],
    "dense Transformer": ["model.kind=dense"],
    "I2MoE, pooled": ["model.kind=i2moe"],
    "FL-I2MoE, gate and losses as in the paper": [
        "model.temperature_rw=2",
        "train.interaction_loss_weight=0.5",
        "train.expert_task_weight=0",
    ],
    "the same, with the experts' own task loss": [
        "model.temperature_rw=2",
        "train.interaction_loss_weight=0.5",
    ],
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default=None, help="default: a new temporary folder")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="as of the commands")
    arguments = parser.parse_args()
    folder = arguments.workspace or tempfile.mkdtemp(prefix="raymoe-benchmark-")
    console.quiet = True
    print(machine_line())
    print(f"workspace {folder}\n")
    print(f"{'test split':44}{'micro-F1':>16}{'macro-F1':>16}{'seconds':>9}   mean weight (largest for)")
    for number, (label, settings) in enumerate(ROWS.items()):
        found, seconds, weights = {"micro_f1": [], "macro_f1": []}, [], []
        for seed in arguments.seeds.split(","):
            preset = load_preset("demo", [*arguments.settings, *settings, f"train.seed={seed}"])
            project = Project(preset, Workspace(folder), "demo")
            if number > 2:  # beside the other runs of its kind
                project = replace(project, variant=f"-row{number}")
            start = time.monotonic()
            done = run(project, "train")
            if done.results["train"].ran:
                seconds.append(time.monotonic() - start)
            for row in METRICS.of(done.project).read().to_pylist():
                if (row["model"], row["split"]) == (preset.model.kind, "test") and row["metric"] in found:
                    found[row["metric"]].append(row["value"])
            predictions = PREDICTIONS.of(done.project).read()
            test = predictions.to_pandas().query("split == 'test'")
            weights.append(np.stack(test["expert_weights"]))
            experts = metadata_of(predictions.schema)["experts"]
        cells = [f"{np.mean(v):.3f} ± {np.std(v, ddof=min(1, len(v) - 1)):.3f}" for v in found.values()]
        took = f"{np.median(seconds):.0f}" if seconds else "-"
        all_NE = np.concatenate(weights)
        largest = np.bincount(all_NE.argmax(1), minlength=len(experts)) / len(all_NE)
        gate = ", ".join(
            f"{name} {mean:.2f} ({share:.2f})"
            for name, mean, share in zip(experts, all_NE.mean(0), largest, strict=True)
        )
        print(
            f"{label:44}{cells[0]:>16}{cells[1]:>16}{took:>9}   {gate if len(experts) > 1 else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
