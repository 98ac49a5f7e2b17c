"""The paper's Table 2: each model's test scores over the seeds, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from raymoe.errors import ParentError
from raymoe.experiments.bootstrap import interval, resample_counts, resampled_metric
from raymoe.experiments.runs import TrainedRun, finished_seeds, of_kind
from raymoe.features.parts import read_marker
from raymoe.project import Project, StageResult, artifacts
from raymoe.project.artifacts import FEATURES
from raymoe.project.chosen import with_chosen
from raymoe.project.contracts import COMPARISON, METRICS, PREDICTIONS, SWEEP
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from raymoe.runtime.progress import console, plain_table
from raymoe.task import Task
from raymoe.training.seed_statistics import mean_and_std

KINDS = {"i2moe": "I2MoE", "dense": "Dense", "fl-i2moe": "FL-I2MoE"}  # the rows, in this order
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


def comparison(project: Project) -> StageResult:
    """Compare the kinds of model that have finished runs; print and write ``evaluation/comparison.parquet``.

    A kind that was swept is represented by the configuration that its sweep chose on validation, the others
    by their runs with the preset's settings, for the seeds of ``sweep.seeds`` and ``train.seed``. The 95 %
    intervals are a bootstrap over the test samples of the mean over the seeds, paired between the kinds;
    ``differences`` in the table's metadata has by how much FL-I2MoE is better than each other kind.

    Raises:
        ParentError: no features, no finished run of any kind, or a sweep on other features.
    """
    workspace, task = project.workspace, Task.named(project.preset.data.task)
    marker = read_marker(FEATURES.of(project))
    if marker is None:
        raise ParentError(
            f"{artifacts.FEATURES.of(project).path} holds no complete feature store",
            f"Begin with: {project.command('sweep')}",
        )
    found: dict[str, Scores] = {}
    for kind in KINDS:
        scores = _scores(of_kind(project, kind), marker["fingerprint"])
        if scores:
            found[kind] = scores
    commands = {kind: f"{project.command('sweep')} --set model.kind={kind}" for kind in KINDS}
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
    made = Provenance(
        "evaluate",
        COMPARISON.tag,
        {"protocol": "comparison", "dataset": project.dataset, "task": task.name},
        {kind: scores.fingerprint for kind, scores in found.items()},
    )
    name = f"{project.root}/evaluation/comparison.parquet"
    differences = list(_differences(found, task.metrics))
    table = pa.Table.from_pylist(rows, COMPARISON.schema)
    write_table(workspace, name, table, COMPARISON, made, {"differences": differences})
    console.print(_table(rows, task.metrics))
    for d in differences:
        console.print(
            f"{KINDS[d['kind']]} over {KINDS[d['against']]}, {d['metric'].replace('_f1', '-F1')}: "
            f"{d['more']:+.2f} ({d['more_low']:+.2f} to {d['more_high']:+.2f}), 95 % over samples",
            markup=False,
        )
    for kind in [kind for kind in KINDS if kind not in found]:
        console.print(f"no finished run of {KINDS[kind]}; make them with: {commands[kind]}", markup=False)
    return StageResult(workspace.path(name), made.fingerprint, ran=True)


def _scores(project: Project, features: str) -> Scores | None:
    """Scores of the project's kind of model; None where no run is finished."""
    chosen = with_chosen(project)
    runs = list(finished_seeds(chosen, features))
    scores = _plain(chosen, runs) if chosen is project else _swept(chosen, features)
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
        name, command = f"{run.project.run}/predictions.parquet", run.project.command("train")
        table = read_table(run.project.workspace, name, PREDICTIONS, f"{command} --overwrite")
        table = table.filter(pc.equal(table["split"], "test")).sort_by("sample_id")
        logits_NC, labels = np.array(table["logits"].to_pylist()), table["labels"].to_pylist()
        counts_RN = resample_counts(len(labels))
        for metric, values in found.items():
            values.append(resampled_metric(logits_NC[None], labels, task, counts_RN, metric)[0])
    return {metric: np.mean(values, 0) for metric, values in found.items()}


def _swept(project: Project, features: str) -> Scores | None:
    """Scores of the chosen configuration, from the sweep's table."""
    name, command = f"{project.sweep}.parquet", project.command("sweep")
    table = read_table(project.workspace, name, SWEEP, command)
    found = metadata_of(table.schema)
    if Provenance.from_json(found["made_by"]).parents["features"] != features:
        raise ParentError(
            f"{project.workspace.path(name)} was made from other features than those that are there",
            f"Sweep again with: {command} --overwrite",
        )
    rows = [
        row
        for row in table.to_pylist()
        if (row["state"], row["variant"], row["split"]) == ("finished", project.variant, "test")
    ]
    return _gathered(rows, project.variant, found["fingerprint"])


def _plain(project: Project, runs: list[TrainedRun]) -> Scores | None:
    """Scores of the runs with the preset's settings."""
    rows, fingerprints = [], []
    for run in runs:
        name, command = f"{run.project.run}/metrics.parquet", run.project.command("train")
        fingerprints.append(run.fingerprint)
        rows += [
            {**row, "seed": run.seed}
            for row in read_table(project.workspace, name, METRICS, command).to_pylist()
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


def _table(rows: list[dict[str, Any]], metrics: tuple[str, ...]) -> Table:
    """Table 2's layout: a row per model; per metric ours, the paper's and the difference."""
    table = plain_table(
        "comparison (Table 2): test split, per cent, mean ± standard deviation over seeds (95 % over samples)"
    )
    table.add_column("model", min_width=8)
    table.add_column("seeds", justify="right")
    in_paper = any(row["paper_mean"] is not None for row in rows)
    for metric in metrics:
        table.add_column(metric.replace("_f1", "-F1"), min_width=12)
        if in_paper:
            table.add_column("paper", min_width=12)
            table.add_column("difference", justify="right", min_width=10)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        cells = [KINDS[kind], str(len(of_kind[0]["seeds"]))]
        for row in of_kind:
            within = "" if row["low"] is None else f" ({row['low']:.1f} to {row['high']:.1f})"
            cells.append(_cell(row["mean"], row["std"]) + within)
            if in_paper:
                difference = row["difference"]
                cells += [
                    _cell(row["paper_mean"], row["paper_std"]),
                    "–" if difference is None else f"{difference:+.2f}",
                ]
        table.add_row(*cells)
    variants = {KINDS[row["kind"]]: row["variant"] for row in rows if row["variant"]}
    table.caption = "; ".join(f"{name}: {variant[1:]}" for name, variant in variants.items()) or None
    return table


def _cell(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"
