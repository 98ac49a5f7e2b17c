"""The baselines: logistic regression on pooled features, of each modality alone and of all together.

What they reach is what the frozen encoders give away without any fusion.
"""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from raymoe.errors import InputError
from raymoe.features.store import FeatureStore
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import BASELINES, FEATURES
from raymoe.runtime.progress import console, track
from raymoe.task import Task, multi_hot

# Inverse strength of the penalty, and weight of a class that is there. On pooled features of this kind
# validation scores peak inside; weaker penalties take long and overfit.
GRID = tuple((c, weight) for weight in (1, 2) for c in (3e-3, 1e-2, 3e-2, 1e-1))
ITERATIONS = 1000
SPLITS = ("train", "val", "test")


def linear_probes(project: Project, *, overwrite: bool = False) -> StageResult:
    """Fit one probe per modality and one on all, each with the settings of the grid that validate best.

    Features are means over each modality's positions, standardised on the training split. Beside others a
    modality is scaled so that each weighs the same however wide it is: without that the widest one drowns
    the rest. One classifier per class, the intercept penalised like the weights: with rare classes that
    predicts more of them, and makes a stronger baseline in F1 than a free intercept.

    Args:
        project: has features.
        overwrite: fit again even if the table is there.

    Raises:
        ParentError: no features, or a table made from others.
        InputError: a split has no samples.
    """
    baselines, selection = BASELINES.of(project), project.preset.train.selection
    store = FeatureStore.open(FEATURES.of(project))
    settings = {"selection": selection, "grid": [list(choice) for choice in GRID], "iterations": ITERATIONS}
    made = baselines.made_from(settings, {"features": store.fingerprint})
    if baselines.is_complete(made, overwrite=overwrite):
        return StageResult(baselines.path, made.fingerprint, ran=False)

    for split in SPLITS:
        if split not in store.splits:
            raise InputError(
                f"{store.path} has no sample in the split {split!r}",
                f"The linear probes need {', '.join(SPLITS)}, as training does.",
            )
    project.workspace.check_writable()
    names = [m.name for m in store.modalities]
    pooled = {m: {s: store.pooled(store.indices(s), m) for s in SPLITS} for m in names}
    blocks = {m: _standardise(features) for m, features in pooled.items()}
    labels = {s: [store.labels[i] for i in store.indices(s)] for s in SPLITS}
    targets_NC = multi_hot(labels["train"], len(store.classes))
    rows, chosen, unfinished = [], {}, {}
    with track("linear probes", (len(names) + 1) * len(GRID)) as progress:
        for used in [*([m] for m in names), names]:
            model = f"linear probe: {'+'.join(used)}"
            inputs = _side_by_side([blocks[m] for m in used])
            best: dict[str, dict[str, float]] = {}
            for choice in GRID:
                logits, converged = _one_vs_rest(inputs, targets_NC, *choice)
                found = {s: store.task.scores(logits[s], labels[s]) for s in ("val", "test")}
                if not best or found["val"][selection] > best["val"][selection]:
                    best, chosen[model], unfinished[model] = found, choice, not converged
                progress.advance(1, model)
            for split, values in best.items():
                rows += [{"model": model, "split": split, "metric": k, "value": v} for k, v in values.items()]
    stopped = [model for model in chosen if unfinished[model]]
    if stopped:
        console.print(f"  stopped after {ITERATIONS} iterations, not fully converged: {', '.join(stopped)}")
    extra = {
        "chosen_c": {model: c for model, (c, _) in chosen.items()},
        "chosen_positive_weight": {model: weight for model, (_, weight) in chosen.items()},
        "not_converged": stopped,
    }
    table = pa.Table.from_pylist(rows, baselines.contract.schema)
    baselines.write(table, made, extra)
    return StageResult(baselines.path, made.fingerprint, ran=True)


def validation_logits(
    features: dict[str, np.ndarray],
    labels: dict[str, list[list[int]]],
    num_classes: int,
    task: Task,
    selection: str,
) -> np.ndarray:
    """What a linear probe says of a validation split, [N, C], with those settings that suit it best.

    Args:
        features: one vector per sample, of ``train`` and ``val``.
        labels: class indices of the same samples.
        num_classes: C.
        task: what they mean.
        selection: the metric that decides.
    """
    inputs = _standardise(features)
    inputs["test"] = inputs["val"]  # nobody asks for it
    targets_NC = multi_hot(labels["train"], num_classes)
    found = [_one_vs_rest(inputs, targets_NC, *choice)[0]["val"] for choice in GRID]
    return max(found, key=lambda logits_NC: task.scores(logits_NC, labels["val"])[selection])


def _standardise(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean 0 and deviation 1 over the training split; what is constant there becomes 0 there."""
    mean, deviation = features["train"].mean(0), features["train"].std(0)
    deviation[deviation < 1e-6] = 1
    return {split: (x - mean) / deviation for split, x in features.items()}


def _side_by_side(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Blocks of equal total variance, together that of as many standardised features."""
    width = sum(block["train"].shape[1] for block in blocks)
    scaled = [
        {s: x * np.sqrt(width / (len(blocks) * x.shape[1]), dtype=x.dtype) for s, x in block.items()}
        for block in blocks
    ]
    return {s: np.concatenate([block[s] for block in scaled], 1) for s in SPLITS}


def _one_vs_rest(
    inputs: dict[str, np.ndarray], targets_NC: np.ndarray, c: float, weight: float = 1
) -> tuple[dict[str, np.ndarray], bool]:
    """Logits [N, C] per evaluated split, and whether every class converged."""
    # The intercept as one more feature, so that it is penalised like the others.
    inputs = {s: np.concatenate([x, np.ones((len(x), 1), x.dtype)], 1) for s, x in inputs.items()}

    def fit(truth_N: np.ndarray) -> tuple[list[np.ndarray], bool]:
        if truth_N.min() == truth_N.max():  # nothing to tell apart: always or never this class
            constant = np.float64(20 if truth_N[0] else -20)
            return [np.full(len(inputs[s]), constant) for s in ("val", "test")], True
        probe = LogisticRegression(
            C=c, class_weight={0: 1, 1: weight}, fit_intercept=False, max_iter=ITERATIONS
        ).fit(inputs["train"], truth_N)
        decisions = [probe.decision_function(inputs[s]) for s in ("val", "test")]
        return decisions, bool(probe.n_iter_.max() < ITERATIONS)

    # One thread per fit: the fits already run side by side, and more threads than cores wait for each other.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by n_iter_, and reported by the caller
        fitted = Parallel(n_jobs=-1, backend="threading")(delayed(fit)(t) for t in targets_NC.T)
    logits = {s: np.stack([d[i] for d, _ in fitted], 1) for i, s in enumerate(("val", "test"))}
    return logits, all(converged for _, converged in fitted)
