"""Does masking what an attribution calls important hurt (paper §4.2, Fig. 3)? And ERASER's measures of it.

Per model, seed, expert and method the top K per cent of every modality's features, by that expert's
importance, are zeroed, and the whole model predicts again. Of a mixture that is done once more with one
importance that all its experts make up, as the authors' later code does it. Shapes: N samples (B of a batch),
C classes, E experts (and these together), K shares, D draws of a method's masks (random has several), T_m
positions of modality m.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from raymoe.attribution.explained import explained_split
from raymoe.attribution.importance import importance
from raymoe.config import AttributeConfig
from raymoe.display.vocabulary import ALL_EXPERTS, EXPERTS_TOGETHER
from raymoe.experiments.bootstrap import interval, resample_counts, resampled_metric
from raymoe.experiments.faithfulness import FAITHFULNESS, FAITHFULNESS_SUMMARY, SUMMARY_TABLE, TABLE
from raymoe.experiments.masked_logits import masked_logits, over_batches
from raymoe.experiments.trained_runs import WITH_TOKENS, TrainedRun, finished_runs, labels_of
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.base import FusionModel
from raymoe.models.target import target_matrix
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES
from raymoe.runtime.device import resolve_device
from raymoe.task import Task

SHARES = (5, 10, 15, 20, 25, 30)  # K, per cent
METHODS = ("random", "attnroll", "ig", "grad_attnroll")
DRAWS = 5  # of random masks; no expert has a say in them, so they are the same for all


def measure(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Measure every finished dense and FL-I2MoE run; write two tables.

    ``evaluation/faithfulness.parquet`` has a row per model, seed, expert, method and K;
    ``evaluation/faithfulness-summary.parquet`` means over K and seeds with paired bootstrap intervals over
    samples, and the difference to random masking.

    Args:
        project: has features and finished runs.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        ParentError: no features or no finished run.
        InputError: the split has no samples, or none with a label.
    """
    workspace, config = project.workspace, project.preset.attribute
    store = FeatureStore.open(FEATURES.of(project))
    runs = finished_runs(project, store, WITH_TOKENS)
    indices = explained_split(project, store)
    labels = labels_of(store, indices, config.split)
    settings = {"split": config.split, "target": config.target, "steps": config.steps, "seed": config.seed}
    settings["draws"] = DRAWS
    parents = {"features": store.fingerprint, **{run.name: run.fingerprint for run in runs}}
    output, summary = TABLE.of(project), SUMMARY_TABLE.of(project)
    made, made_summary = output.made_from(settings, parents), summary.made_from(settings, parents)
    ran = overwrite or not (output.is_current(made) and summary.is_current(made_summary))
    if ran:
        workspace.check_writable()
        device = resolve_device(device)
        measured = [_measure(run, store, indices, device) for run in runs]
        rows = [row for m in measured for row in m.rows(labels, store.task)]
        output.write(pa.Table.from_pylist(rows, FAITHFULNESS.schema), made)
        rows = [
            row
            for kind in WITH_TOKENS
            for row in _summary([m for m in measured if m.run.kind == kind], labels, store.task)
        ]
        summary.write(pa.Table.from_pylist(rows, FAITHFULNESS_SUMMARY.schema), made_summary)
    return StageResult(summary.path, made_summary.fingerprint, ran)


@dataclass(frozen=True)
class Measured:
    """What one run answers under every mask.

    Attributes:
        run: which.
        experts: names; of several the last is ``EXPERTS_TOGETHER``.
        base_NC: logits without a mask.
        masked: per method [E, D, K, N, C]: with each expert's top features zeroed; E is 1 where the experts
            share them.
        comprehensiveness, sufficiency: per method [E, D, K, N]; ERASER: the fall of the probability of the
            classes that were predicted, with the top features zeroed, and with all features zeroed but the
            top ones.
        delta_NE, rise_NE: of integrated gradients, what its attributions miss of the logit's rise, and that.
    """

    run: TrainedRun
    experts: list[str]
    base_NC: np.ndarray
    masked: dict[str, np.ndarray]
    comprehensiveness: dict[str, np.ndarray]
    sufficiency: dict[str, np.ndarray]
    delta_NE: np.ndarray
    rise_NE: np.ndarray

    def convergence(self, chosen: list[int]) -> float:
        """Mean convergence delta of some experts over their mean rise, both without sign."""
        rise = np.abs(self.rise_NE[:, chosen]).mean()
        return float(np.abs(self.delta_NE[:, chosen]).mean() / rise) if rise else 0.0

    def drops(
        self, method: str, labels: Sequence[Sequence[int]], task: Task, counts_RN: np.ndarray
    ) -> np.ndarray:
        """By how much the metric falls on every resample, mean over draws, [E, K, R]."""
        masked = self.masked[method]
        base_R = resampled_metric(self.base_NC[None], labels, task, counts_RN)[0]
        found = resampled_metric(masked.reshape(-1, *masked.shape[-2:]), labels, task, counts_RN)
        drop_EKR = (base_R - found.reshape(*masked.shape[:3], -1)).mean(1)
        return np.broadcast_to(drop_EKR, (len(self.experts), *drop_EKR.shape[1:]))

    def falls(self, measure: dict[str, np.ndarray], method: str) -> np.ndarray:
        """One of ERASER's measures, mean over draws, [E, K, N]."""
        found = measure[method].mean(1)
        return np.broadcast_to(found, (len(self.experts), *found.shape[1:]))

    def rows(self, labels: Sequence[Sequence[int]], task: Task) -> Iterator[dict]:
        """Rows of the table: one per expert, method and K."""
        counts = np.ones((1, len(labels)), np.int64)
        base = float(resampled_metric(self.base_NC[None], labels, task, counts)[0, 0])
        drop = {method: self.drops(method, labels, task, counts)[..., 0] for method in METHODS}
        for e, expert in enumerate(self.experts):
            for method in METHODS:
                fewer = self.falls(self.comprehensiveness, method)[e].mean(1)
                alone = self.falls(self.sufficiency, method)[e].mean(1)
                for k, share in enumerate(SHARES):
                    yield {
                        "kind": self.run.kind,
                        "variant": self.run.project.variant,
                        "seed": self.run.seed,
                        "expert": expert,
                        "method": method,
                        "share": share,
                        "metric": task.main_metric,
                        "base": base,
                        "masked": base - float(drop[method][e, k]),
                        "drop": float(drop[method][e, k]),
                        "comprehensiveness": float(fewer[k]),
                        "sufficiency": float(alone[k]),
                    }


def _measure(run: TrainedRun, store: FeatureStore, indices: np.ndarray, device: str) -> Measured:
    model, config = run.model(store, device), run.project.preset.attribute
    base_NC, delta_NE, rise_NE, *found = over_batches(
        lambda batch: _measure_batch(model, batch, store, config),
        model,
        store,
        indices,
        device,
        title=f"faithfulness of {run.name}",
        least=config.batch_size,
    )
    experts = _explained(model)
    E = len(experts)
    shapes = {method: (1, DRAWS) if method == "random" else (E, 1) for method in METHODS}
    ends = np.cumsum([len(SHARES) * e * d for e, d in shapes.values()])[:-1]

    def by_method(values_NV: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(np.moveaxis(values_NV, 0, 1), ends)
        return {
            method: part.reshape(*shape, len(SHARES), *part.shape[1:])
            for (method, shape), part in zip(shapes.items(), parts, strict=True)
        }

    masked, comprehensiveness, sufficiency = map(by_method, found)
    return Measured(run, experts, base_NC, masked, comprehensiveness, sufficiency, delta_NE, rise_NE)


def _explained(model: FusionModel) -> list[str]:
    """Whose importance is used: each expert's, and of several that of all together."""
    names = model.expert_names
    return [*names, EXPERTS_TOGETHER] if len(names) > 1 else names


@torch.no_grad()
def _measure_batch(
    model: FusionModel, batch: FeatureBatch, store: FeatureStore, config: AttributeConfig
) -> tuple[np.ndarray, ...]:
    """Logits without a mask [B, C], convergence delta and rise of integrated gradients [B, E]; then logits
    under each mask [B, V, C], and both measures of ERASER [B, V].

    The V masks are by method, then expert or draw, then K.
    """
    base_BC = model(batch.features, batch.valid).logits_BC
    predicted = store.task.explained_classes(base_BC)
    own = [store.labels[store.index_of(sample_id)] for sample_id in batch.sample_ids]
    # A sample without a label is explained by what the model says of it.
    targets = [a if config.target == "true" and len(a) else b for a, b in zip(own, predicted, strict=True)]
    candidates = {name: (batch.valid[name] & ~batch.special[name]).cpu() for name in model.names}
    top: dict[str, list[Tensor]] = {name: [] for name in model.names}
    notes: dict[str, np.ndarray] = {}
    experts = _explained(model)
    for method in METHODS:
        draws = range(DRAWS) if method == "random" else range(1)
        for draw in draws:
            own_config = config.model_copy(update={"method": method, "seed": config.seed + draw})
            together = method != "random" and EXPERTS_TOGETHER in experts
            found = importance(model, batch, store.task, targets, own_config, together=together)
            notes |= found.notes
            for e in range(1 if method == "random" else len(experts)):
                for name in model.names:
                    scores_BT = torch.from_numpy(found.scores[name][e])
                    top[name] += [top_share(scores_BT, candidates[name], share) for share in SHARES]
    device = base_BC.device
    without = {name: torch.stack(masks).to(device) for name, masks in top.items()}
    all_but = {name: candidates[name].to(device) & ~mask for name, mask in without.items()}
    # The experts' choices coincide often, above all in short texts: each distinct mask is computed once.
    both = {name: torch.cat([without[name], all_but[name]]) for name in model.names}
    without_VBC, alone_VBC = masked_logits(model, batch, both).chunk(2)
    chosen_BC = target_matrix(predicted, model.num_classes).to(base_BC)

    def probability(logits: Tensor) -> Tensor:
        return (store.task.probabilities(logits) * chosen_BC).sum(-1)

    falls = [probability(base_BC) - probability(x) for x in (without_VBC, alone_VBC)]
    base, *masked = (
        part.cpu().numpy()
        for part in (base_BC, without_VBC.transpose(0, 1), *(fall_VB.T for fall_VB in falls))
    )
    return base, notes["delta"].T, notes["rise"].T, *masked


def top_share(scores_BT: Tensor, candidates_BT: Tensor, share: float) -> Tensor:
    """The top ``share`` per cent of each row's candidates, [B, T] bool: at least one where there is any.

    Rounded up; of equal scores the earlier positions come first.
    """
    wanted_B = torch.ceil(candidates_BT.sum(1) * share / 100 - 1e-9).long()
    ranked = scores_BT.double().masked_fill(~candidates_BT, -torch.inf)
    rank_BT = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank_BT < wanted_B[:, None]) & candidates_BT


def _summary(measured: list[Measured], labels: Sequence[Sequence[int]], task: Task) -> Iterator[dict]:
    """Means over K and seeds of one kind of model, per method: of each expert, of all and of all together."""
    if not measured:
        return
    counts_RN = resample_counts(len(labels))
    seeds = [found.run.seed for found in measured]
    drop_SEMR = np.array(
        [[m.drops(method, labels, task, counts_RN).mean(1) for method in METHODS] for m in measured]
    ).swapaxes(1, 2)
    drop_EMR, spread_SEM = drop_SEMR.mean(0), drop_SEMR[..., 0]
    comprehensiveness_EM, sufficiency_EM = (
        np.mean([[m.falls(x, method).mean((1, 2)) for method in METHODS] for m, x in each], 0).T
        for each in ([(m, m.comprehensiveness) for m in measured], [(m, m.sufficiency) for m in measured])
    )
    experts = measured[0].experts
    single = [(name, [e]) for e, name in enumerate(experts)]
    named = [(name, chosen) for name, chosen in single if name != EXPERTS_TOGETHER]
    every = (ALL_EXPERTS, list(range(len(named))))
    for expert, chosen in [*named, every, *single[len(named) :]] if len(experts) > 1 else [every]:
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
                "metric": task.main_metric,
                "drop": float(drop_R[0]),
                "drop_low": interval(drop_R)[0],
                "drop_high": interval(drop_R)[1],
                "drop_std": float(over_seeds.std(ddof=1)) if len(seeds) > 1 else None,
                "over_random": float(more_R[0]),
                "over_random_low": interval(more_R)[0],
                "over_random_high": interval(more_R)[1],
                "comprehensiveness": float(comprehensiveness_EM[chosen, m].mean()),
                "sufficiency": float(sufficiency_EM[chosen, m].mean()),
                "convergence_delta": float(np.mean([x.convergence(chosen) for x in measured]))
                if method == "ig"
                else None,
            }
