"""Does masking what an attribution calls important hurt (paper §4.2, Fig. 3)? And ERASER's measures of it.

Per model, seed, expert and method the top K per cent of every modality's features, by that expert's
importance, are zeroed, and the whole model predicts again. Shapes: N samples, C classes, E experts, M
methods, K shares, T_m positions of modality m.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from rich.table import Table
from torch import Tensor

from raymoe.attribution.attribute import explained_split
from raymoe.attribution.importance import importance
from raymoe.config import AttributeConfig
from raymoe.device import resolve_device
from raymoe.errors import ParentError
from raymoe.evaluation.bootstrap import interval, resample_counts, resampled_metric
from raymoe.evaluation.comparison import KINDS, METRICS_OF
from raymoe.evaluation.runs import TrainedRun, finished_runs
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import load_checkpoint
from raymoe.models.target import predicted_classes
from raymoe.progress import console, plain_table, track
from raymoe.project import Project, StageResult
from raymoe.tables import (
    FAITHFULNESS,
    FAITHFULNESS_SUMMARY,
    Contract,
    Provenance,
    is_complete,
    read_table,
    write_table,
)
from raymoe.workspace import Workspace

SHARES = (5, 10, 15, 20, 25, 30)  # K, per cent
METHODS = {
    "random": "Random",
    "attnroll": "AttnRoll",
    "ig": "IG",
    "grad_attnroll": "Grad x AttnRoll",
}
WITH_TOKENS = ("dense", "fl-i2moe")
ALL = "all experts"  # the mean of the experts' figures


def faithfulness(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Measure every finished dense and FL-I2MoE run; print a table and write two.

    ``evaluation/faithfulness.parquet`` has a row per model, seed, expert, method and K;
    ``evaluation/faithfulness-summary.parquet`` means over K and seeds with paired bootstrap intervals over
    samples, and the difference to random masking.

    Args:
        project: has features and finished runs.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        ParentError: no features or no finished run.
        InputError: the split has no samples.
    """
    workspace, config = project.workspace, project.preset.attribute
    store = FeatureStore.open(workspace, project.features, project.command("encode"))
    runs = finished_runs(project, store, WITH_TOKENS)
    indices = explained_split(project, store)
    command = f"raymoe evaluate {project.dataset} faithfulness"
    settings = {"split": config.split, "target": config.target, "steps": config.steps, "seed": config.seed}
    parents = {"features": store.fingerprint, **{_name(run): run.fingerprint for run in runs}}
    folder = f"{project.root}/evaluation"
    name, summary_name = f"{folder}/faithfulness.parquet", f"{folder}/faithfulness-summary.parquet"
    made = Provenance("evaluate", FAITHFULNESS.tag, settings, parents)
    made_summary = Provenance("evaluate", FAITHFULNESS_SUMMARY.tag, settings, parents)
    tables = ((name, FAITHFULNESS, made), (summary_name, FAITHFULNESS_SUMMARY, made_summary))
    ran = overwrite or not all(_is_there(workspace, *table) for table in tables)
    if ran:
        workspace.check_writable()
        device = resolve_device(device)
        measured = [_measure(run, store, indices, device) for run in runs]
        labels = [store.labels[i] for i in indices]
        rows = [row for m in measured for row in m.rows(labels, store.task)]
        write_table(workspace, name, pa.Table.from_pylist(rows, FAITHFULNESS.schema), FAITHFULNESS, made)
        rows = [
            row
            for kind in WITH_TOKENS
            for row in _summary([m for m in measured if m.run.kind == kind], labels, store.task)
        ]
        table = pa.Table.from_pylist(rows, FAITHFULNESS_SUMMARY.schema)
        write_table(workspace, summary_name, table, FAITHFULNESS_SUMMARY, made_summary)
    summary = read_table(workspace, summary_name, FAITHFULNESS_SUMMARY, f"{command} --overwrite")
    console.print(_table(summary.to_pylist(), METRICS_OF[store.task][0]))
    return StageResult(workspace.path(summary_name), made_summary.fingerprint, ran)


def _is_there(workspace: Workspace, name: str, contract: Contract, made: Provenance) -> bool:
    """A table of other runs, or a damaged one, is no error here: it is made from what is there now."""
    try:
        return is_complete(workspace, name, contract, made, "")
    except ParentError:
        return False


def _name(run: TrainedRun) -> str:
    return run.project.run.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Measured:
    """What one run answers under every mask.

    Attributes:
        run: which.
        experts: names.
        base_NC: logits without a mask.
        masked_EMKNC: with each expert's top features by each method zeroed.
        comprehensiveness_EMKN, sufficiency_EMKN: ERASER: the fall of the probability of the classes that were
            predicted, with the top features zeroed, and with all features zeroed but the top ones.
    """

    run: TrainedRun
    experts: list[str]
    base_NC: np.ndarray
    masked_EMKNC: np.ndarray
    comprehensiveness_EMKN: np.ndarray
    sufficiency_EMKN: np.ndarray

    def rows(self, labels: Sequence[Sequence[int]], task: str) -> Iterator[dict]:
        """Of the table: one per expert, method and K."""
        counts = np.ones((1, len(labels)), np.int64)
        base = float(resampled_metric(self.base_NC[None], labels, task, counts)[0, 0])
        for e, expert in enumerate(self.experts):
            for m, method in enumerate(METHODS):
                masked_K = resampled_metric(self.masked_EMKNC[e, m], labels, task, counts)[:, 0]
                for k, share in enumerate(SHARES):
                    yield {
                        "kind": self.run.kind,
                        "variant": self.run.project.variant,
                        "seed": self.run.seed,
                        "expert": expert,
                        "method": method,
                        "share": share,
                        "metric": METRICS_OF[task][0],
                        "base": base,
                        "masked": float(masked_K[k]),
                        "drop": base - float(masked_K[k]),
                        "comprehensiveness": float(self.comprehensiveness_EMKN[e, m, k].mean()),
                        "sufficiency": float(self.sufficiency_EMKN[e, m, k].mean()),
                    }


def _measure(run: TrainedRun, store: FeatureStore, indices: np.ndarray, device: str) -> Measured:
    project, config = run.project, run.project.preset.attribute
    folder = f"{project.run}/checkpoint"
    model, _ = load_checkpoint(
        project.workspace, folder, project.command("train"), features=store.fingerprint
    )
    model = model.to(device).requires_grad_(False).eval()
    parts = []
    with track(f"faithfulness of {_name(run)}", len(indices)) as progress:
        for batch in store.batches(indices, config.batch_size, device, **model.reads):
            parts.append(_measure_batch(model, batch, store, config))
            progress.advance(len(batch.sample_ids))
    base, masked, comprehensiveness, sufficiency = (list(part) for part in zip(*parts, strict=True))
    return Measured(
        run,
        model.expert_names,
        np.concatenate(base),
        np.concatenate(masked, 3),
        np.concatenate(comprehensiveness, 3),
        np.concatenate(sufficiency, 3),
    )


@torch.no_grad()
def _measure_batch(
    model: FusionModel, batch: FeatureBatch, store: FeatureStore, config: AttributeConfig
) -> tuple[np.ndarray, ...]:
    base_NC = model(batch.features, batch.valid).logits_BC
    predicted = predicted_classes(base_NC, store.task)
    own = [store.labels[store.index_of(sample_id)] for sample_id in batch.sample_ids]
    # A sample without a label is explained by what the model says of it.
    targets = [a if config.target == "true" and len(a) else b for a, b in zip(own, predicted, strict=True)]
    candidates = {name: batch.valid[name] & ~batch.special[name] for name in model.names}
    sure_N = _probability(base_NC, predicted, store.task)
    masked, comprehensiveness, sufficiency = [], [], []
    for method in METHODS:
        found = importance(model, batch, store.task, targets, config.model_copy(update={"method": method}))
        for e in range(len(model.expert_names)):
            for share in SHARES:
                top = {
                    name: top_share(torch.from_numpy(found.scores[name][e]), candidates[name].cpu(), share)
                    for name in model.names
                }
                top = {name: mask.to(base_NC.device) for name, mask in top.items()}
                rest = {name: candidates[name] & ~top[name] for name in model.names}
                without = model(batch.features, batch.valid, top).logits_BC
                alone = model(batch.features, batch.valid, rest).logits_BC
                masked.append(without.cpu().numpy())
                comprehensiveness.append(
                    (sure_N - _probability(without, predicted, store.task)).cpu().numpy()
                )
                sufficiency.append((sure_N - _probability(alone, predicted, store.task)).cpu().numpy())
    shape = len(METHODS), len(model.expert_names), len(SHARES)

    def stacked(values: list[np.ndarray]) -> np.ndarray:
        return np.stack(values).reshape(*shape, *values[0].shape).swapaxes(0, 1)

    return base_NC.cpu().numpy(), stacked(masked), stacked(comprehensiveness), stacked(sufficiency)


def top_share(scores_BT: Tensor, candidates_BT: Tensor, share: float) -> Tensor:
    """The top ``share`` per cent of each row's candidates, [B, T] bool: at least one where there is any.

    Rounded up; of equal scores the earlier positions come first.
    """
    wanted_B = torch.ceil(candidates_BT.sum(1) * share / 100 - 1e-9).long()
    ranked = scores_BT.double().masked_fill(~candidates_BT, -torch.inf)
    rank_BT = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank_BT < wanted_B[:, None]) & candidates_BT


def _probability(logits_BC: Tensor, classes: list[list[int]], task: str) -> Tensor:
    """Mean probability of the classes of each sample, [B]."""
    each = logits_BC.sigmoid() if task == "multilabel" else logits_BC.softmax(-1)
    return torch.stack([row[of_sample].mean() for row, of_sample in zip(each, classes, strict=True)])


def _summary(measured: list[Measured], labels: Sequence[Sequence[int]], task: str) -> Iterator[dict]:
    """Means over K and seeds of one kind of model, per method: of each expert, and of all."""
    if not measured:
        return
    counts_RN = resample_counts(len(labels))
    weights_NR = counts_RN.T / counts_RN.sum(1)
    drops, falls = [], []
    for found in measured:
        base_R = resampled_metric(found.base_NC[None], labels, task, counts_RN)[0]
        E, M, K = found.masked_EMKNC.shape[:3]
        masked = resampled_metric(
            found.masked_EMKNC.reshape(E * M * K, *found.base_NC.shape), labels, task, counts_RN
        )
        drops.append((base_R - masked.reshape(E, M, K, -1)).mean(2))
        falls.append(
            [(x.mean(2) @ weights_NR) for x in (found.comprehensiveness_EMKN, found.sufficiency_EMKN)]
        )
    seeds = [found.run.seed for found in measured]
    drop_EMR = np.mean(drops, 0)
    comprehensiveness_EMR, sufficiency_EMR = np.mean(falls, 0)
    spread_SEM = np.stack(drops)[..., 0]
    experts = measured[0].experts
    selections = [(name, [e]) for e, name in enumerate(experts)] if len(experts) > 1 else []
    for expert, chosen in [*selections, (ALL, list(range(len(experts))))]:
        for m, method in enumerate(METHODS):
            drop_R = drop_EMR[chosen, m].mean(0)
            more_R = drop_R - drop_EMR[chosen, 0].mean(0)
            over_seeds = spread_SEM[:, chosen, m].mean(1)
            yield {
                "kind": measured[0].run.kind,
                "variant": measured[0].run.project.variant,
                "seeds": seeds,
                "expert": expert,
                "method": method,
                "metric": METRICS_OF[task][0],
                "drop": float(drop_R[0]),
                "drop_low": interval(drop_R)[0],
                "drop_high": interval(drop_R)[1],
                "drop_std": float(over_seeds.std(ddof=1)) if len(seeds) > 1 else None,
                "over_random": float(more_R[0]),
                "over_random_low": interval(more_R)[0],
                "over_random_high": interval(more_R)[1],
                "comprehensiveness": float(comprehensiveness_EMR[chosen, m].mean(0)[0]),
                "sufficiency": float(sufficiency_EMR[chosen, m].mean(0)[0]),
            }


def _table(rows: list[dict], metric: str) -> Table:
    """Fig. 3 as a table, per cent: a block per model and expert, a row per method; 80 columns are enough."""
    table = plain_table(
        f"faithfulness (Fig. 3): drop of {metric.replace('_f1', '-F1')} in per cent,\n"
        "mean over K = 5 to 30 %, 95 % intervals over samples; AOPC: falls of the\n"
        "predicted classes' probability with those features masked, and them alone left"
    )
    table.add_column("importance")
    for column in ("drop", "more than random", "masked", "alone"):
        table.add_column(column, justify="right")
    for row in rows:
        if row["method"] == next(iter(METHODS)):
            of_expert = "" if row["kind"] == "dense" else f", {row['expert']}"
            table.add_row(f"[bold]{KINDS[row['kind']]}{of_expert}[/]")
        table.add_row(
            f"  {METHODS[row['method']]}",
            _spread(row, "drop", ""),
            "–" if row["method"] == "random" else _spread(row, "over_random", "+"),
            f"{100 * row['comprehensiveness']:.1f}",
            f"{100 * row['sufficiency']:.1f}",
        )
    return table


def _spread(row: dict, name: str, sign: str) -> str:
    value, low, high = (format(100 * row[key], f"{sign}.1f") for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low}, {high})"
