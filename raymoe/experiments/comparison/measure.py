"""The paper's Table 2: each model's test scores over the seeds, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymoe.display.vocabulary import MODELS, model_label
from raymoe.errors import InputError, ParentError
from raymoe.experiments.bootstrap import interval, resample_counts, resampled_metric
from raymoe.experiments.comparison import COMPARISON, TABLE
from raymoe.experiments.trained_runs import TrainedRun, finished_seeds
from raymoe.features.parts import read_marker
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES, METRICS, PREDICTIONS, SWEEP
from raymoe.project.chosen import of_kind
from raymoe.project.outputs import parents_in
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console
from raymoe.task import Task
from raymoe.training.seed_statistics import mean_and_std

OURS = "fl-i2moe"
# Table 2 of the paper, per cent, mean and standard deviation over three runs.
PAPER = {
    ("mmimdb", "i2moe", "micro_f1"): (60.33, 0.47),
    ("mmimdb", "fl-i2moe", "micro_f1"): (67.85, 0.45),
    ("mmimdb", "i2moe", "macro_f1"): (51.21, 0.57),
    ("mmimdb", "fl-i2moe", "macro_f1"): (56.35, 0.15),
    ("enrico", "i2moe", "accuracy"): (45.43, 1.13),
    ("enrico", "fl-i2moe", "accuracy"): (51.26, 2.17),
}


@dataclass(frozen=True)
class Scores:
    """Test scores of the finished runs of one kind of model.

    Attributes:
        variant: which configuration.
        seeds: of the runs.
        values: by metric, fractions, one per seed.
        fingerprint: of what they come from.
        resampled: by metric the mean over the seeds on every resample of the test samples [R], fractions;
            empty where the runs themselves are gone.
    """

    variant: str
    seeds: list[int]
    values: dict[str, list[float]]
    fingerprint: str
    resampled: dict[str, np.ndarray] = field(default_factory=dict)


def measure(project: Project) -> StageResult:
    """Compare the kinds of model that have finished runs; write ``evaluation/comparison.parquet``.

    A kind that was swept is represented by the configuration that its sweep chose on validation, the others
    by their runs with the preset's settings, for the seeds of ``sweep.seeds`` and ``train.seed``. The 95 %
    intervals are a bootstrap over the test samples of the mean over the seeds, paired between the kinds;
    ``differences`` in the table's metadata has by how much FL-I2MoE is better than each other kind.

    Raises:
        ParentError: no features, no finished run of any kind, or a sweep on other features.
        InputError: no test sample has a label.
    """
    workspace, task = project.workspace, Task.named(project.preset.data.task)
    marker = read_marker(FEATURES.of(project))
    if marker is None:
        raise ParentError(
            f"{FEATURES.of(project).path} holds no complete feature store",
            f"Begin with: {project.command('sweep')}",
        )
    found: dict[str, Scores] = {}
    for kind in MODELS:
        scores = _scores(of_kind(project, kind), marker.fingerprint)
        if scores:
            found[kind] = scores
    commands = {kind: project.with_kind(kind).command("sweep") for kind in MODELS}
    if not found:
        raise ParentError(
            f"{workspace.path(project.root)}/runs has no finished run with these settings",
            f"Make them with: {' or '.join(commands.values())}",
        )
    rows = [
        _row(project.dataset, kind, scores, metric)
        for kind, scores in found.items()
        for metric in task.metrics
    ]
    for kind in [kind for kind in MODELS if kind not in found]:
        console.print(f"no finished run of {model_label(kind)}; make them with: {commands[kind]}")
    output = TABLE.of(project)
    made = output.made_from(
        {"protocol": "comparison", "dataset": project.dataset, "task": task.name},
        {kind: scores.fingerprint for kind, scores in found.items()},
    )
    differences = list(_differences(found, task.metrics))
    output.write(pa.Table.from_pylist(rows, COMPARISON.schema), made, {"differences": differences})
    return StageResult(output.path, made.fingerprint, ran=True)


def _scores(project: Project, features: str) -> Scores | None:
    """Scores of the project's kind of model; None where no run is finished."""
    runs = list(finished_seeds(project, features))
    scores = _swept(project, features) if project.asked else _plain(runs)
    if scores is None:
        return None
    # Of the seeds that the mean is of, or none: an interval around another mean would mislead.
    runs = [run for run in runs if run.seed in scores.seeds]
    complete = len(runs) == len(scores.seeds)
    task = Task.named(project.preset.data.task)
    return replace(scores, resampled=_resampled(runs, task) if complete else {})


def _resampled(runs: list[TrainedRun], task: Task) -> dict[str, np.ndarray]:
    """By metric the mean over the runs on every resample of the test samples, [R].

    The same for every kind of model, so that differences are paired.
    """
    found: dict[str, list[np.ndarray]] = {metric: [] for metric in task.metrics}
    for run in runs:
        predictions = PREDICTIONS.of(run.project)
        table = predictions.made_with(predictions.again).read()
        table = table.filter(pc.equal(table["split"], "test")).sort_by("sample_id")
        logits_NC, labels = np.array(table["logits"].to_pylist()), table["labels"].to_pylist()
        if not any(labels):
            raise InputError(
                f"none of the {len(labels)} test samples has a label: nothing says what the right answer is",
                "Give some of them labels, then prepare, encode and train again with --overwrite-all.",
            )
        counts_RN = resample_counts(len(labels))
        for metric, values in found.items():
            values.append(resampled_metric(logits_NC[None], labels, task, counts_RN, metric)[0])
    return {metric: np.mean(values, 0) for metric, values in found.items()}


def _swept(project: Project, features: str) -> Scores | None:
    """Scores of the chosen configuration, from the sweep's table."""
    sweep = SWEEP.of(project)
    table = sweep.read()
    found = metadata_of(table.schema)
    sweep.refuse_other_parents(parents_in(found), {"features": features})
    rows = [
        row
        for row in table.to_pylist()
        if (row["state"], row["variant"], row["split"]) == ("finished", project.variant, "test")
    ]
    return _gathered(rows, project.variant, found["fingerprint"])


def _plain(runs: list[TrainedRun]) -> Scores | None:
    """Scores of the runs with the preset's settings."""
    rows, fingerprints = [], []
    for run in runs:
        fingerprints.append(run.fingerprint)
        rows += [
            {**row, "seed": run.seed}
            for row in METRICS.of(run.project).read().to_pylist()
            if row["split"] == "test" and not row["model"].startswith("expert:")
        ]
    return _gathered(rows, "", " ".join(fingerprints))


def _gathered(rows: list[dict[str, Any]], variant: str, fingerprint: str) -> Scores | None:
    """Rows of one kind and configuration with ``seed``, ``metric`` and ``value``, seed by seed."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["metric"], []).append(row["value"])
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    return Scores(variant, seeds, values, fingerprint) if seeds else None


def _row(dataset: str, kind: str, scores: Scores, metric: str) -> dict[str, Any]:
    """One row of the table, in per cent."""
    mean, deviation = mean_and_std([100 * value for value in scores.values[metric]])
    paper_mean, paper_std = PAPER.get((dataset, kind, metric), (None, None))
    low, high = (None, None)
    if metric in scores.resampled:
        low, high = interval(100 * scores.resampled[metric])
    return {
        "kind": kind,
        "variant": scores.variant,
        "metric": metric,
        "seeds": scores.seeds,
        "mean": mean,
        "std": deviation,
        "low": low,
        "high": high,
        "paper_mean": paper_mean,
        "paper_std": paper_std,
        "difference": None if paper_mean is None else mean - paper_mean,
    }


def _differences(found: dict[str, Scores], metrics: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """By how much FL-I2MoE is better than the other kinds, per cent, with paired intervals over samples."""
    ours = found.get(OURS)
    for against, scores in found.items():
        for metric in metrics:
            if ours is None or against == OURS or not (ours.resampled and scores.resampled):
                continue
            more_R = 100 * (ours.resampled[metric] - scores.resampled[metric])
            low, high = interval(more_R)
            more = {"more": float(more_R[0]), "more_low": low, "more_high": high}
            yield {"kind": OURS, "against": against, "metric": metric, **more}
