"""What noise on a modality, or its absence, does to predictions, expert weights and interaction rankings.

The paper names it as future work. Noise is Gaussian, on the frozen features, in units of each feature's
standard deviation over the split; a modality that is missing has all its candidate features masked.

Shapes: N samples (B of a batch), V disturbances, T positions, D width of a modality, E experts, C classes, P
pairs of a sample, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from scipy.stats import spearmanr
from torch import Tensor

from raymoe.attribution.explained import explained_split
from raymoe.attribution.importance import importance
from raymoe.display.vocabulary import SCORES
from raymoe.experiments.bins import RHO
from raymoe.experiments.bootstrap import interval, resample_counts, resampled_metric
from raymoe.experiments.masked_logits import over_batches, threads
from raymoe.experiments.robustness import ROBUSTNESS, TABLE
from raymoe.experiments.trained_runs import WITH_TOKENS, TrainedRun, finished_runs, labels_of
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.interactions.candidates import Candidates, select_candidates
from raymoe.interactions.estimate import estimate, evaluations_per_coalition
from raymoe.interactions.games.expert import ExpertGame
from raymoe.models.base import FusionModel
from raymoe.models.target import target_weights
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES
from raymoe.runtime.device import resolve_device
from raymoe.runtime.ordered import in_order
from raymoe.runtime.progress import console, track
from raymoe.runtime.seeds import seed_of

LEVELS = (0.25, 0.5, 1.0, 2.0)  # standard deviations
RANKED_SAMPLES = 16  # whose pairs are ranked again under each disturbance
LEAST_PAIRS = 5  # of fewer a rank correlation says nothing
TOP = 0.1  # share of the pairs whose overlap is told
# Which scores of which expert are ranked.
RANKED = {
    "fl-i2moe": (("synergy", "sii"), ("redundancy", "redundancy"), ("redundancy", "redundancy_gap")),
    "dense": (("dense", "sii"), ("dense", "redundancy"), ("dense", "redundancy_gap")),
}


@dataclass(frozen=True)
class Disturbance:
    """One disturbance of one modality; ``level`` 0 is none, and of ``missing`` it is 1."""

    modality: str
    kind: str  # noise or missing
    level: float

    @property
    def key(self) -> dict[str, str | float]:
        """The columns that name it."""
        return {"modality": self.modality, "disturbance": self.kind, "level": self.level}


def measure(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Disturb every finished dense and FL-I2MoE run, one modality at a time.

    ``evaluation/robustness.parquet`` has a row per run, modality, disturbance, level and quantity: the
    metric, each expert's mean weight, and how well the ranking of pairs agrees with the undisturbed one (rank
    correlation, overlap of the top tenth; the same pairs and coalitions), with 95 % intervals of a bootstrap
    over samples. Rankings at level 0 compare two estimates of the undisturbed sample from different
    coalitions: what Monte Carlo alone leaves uncertain.

    Args:
        project: has features and finished runs.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        ParentError: no features or no finished run.
        InputError: the split has no samples, or none with a label.
    """
    workspace, config, probe = project.workspace, project.preset.attribute, project.preset.probe
    store = FeatureStore.open(FEATURES.of(project))
    runs = finished_runs(project, store, WITH_TOKENS)
    indices = explained_split(project, store)
    labels = labels_of(store, indices, config.split)
    settings = {
        **config.defining(),
        **probe.model_dump(include={"min_features", "coalitions", "seed"}),
        "rho": min(probe.rho, RHO),
        "levels": LEVELS,
        "ranked_samples": RANKED_SAMPLES,
    }
    parents = {"features": store.fingerprint, **{run.name: run.fingerprint for run in runs}}
    output = TABLE.of(project)
    made = output.made_from(settings, parents)
    ran = overwrite or not output.is_current(made)
    if ran:
        workspace.check_writable()
        device = resolve_device(device)
        deviation = deviations(store, indices)
        rows = []
        for run in runs:
            test = _Run(run, store, indices, labels, deviation, device)
            of_run = {"kind": run.kind, "variant": run.project.variant, "seed": run.seed}
            rows += [of_run | row for row in (*test.predictions(), *test.rankings())]
        output.write(pa.Table.from_pylist(rows, ROBUSTNESS.schema), made)
    return StageResult(output.path, made.fingerprint, ran)


def deviations(store: FeatureStore, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Standard deviation of each feature over the samples' valid positions, [D] float32 per modality."""
    found = {}
    for modality in store.modalities:
        count, total_D, square_D = 0, 0.0, 0.0
        for i in indices:
            features_TD, valid_T, _ = store.sequence(int(i), modality.name)
            values_TD = features_TD[valid_T].astype(np.float64)
            count += len(values_TD)
            total_D, square_D = total_D + values_TD.sum(0), square_D + (values_TD**2).sum(0)
        mean_D = total_D / max(count, 1)
        variance_D = np.maximum(square_D / max(count, 1) - mean_D**2, 0)
        found[modality.name] = np.broadcast_to(np.sqrt(variance_D), (modality.width,)).astype(np.float32)
    return found


def noise_of(sample_id: str, modality: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Standard normal noise [T, D] float32 of a sample's modality; the same at each level, for each model."""
    rng = np.random.default_rng(seed_of("noise", seed, sample_id, modality))
    return rng.standard_normal(shape, dtype=np.float32)


class _Run:
    """One run under every disturbance.

    Args:
        run: whose model is asked.
        store, indices, labels: the samples that it is asked about.
        deviation: of each feature, see ``deviations``.
        device: as torch names it.
    """

    def __init__(
        self,
        run: TrainedRun,
        store: FeatureStore,
        indices: np.ndarray,
        labels: list[list[int]],
        deviation: dict[str, np.ndarray],
        device: str,
    ) -> None:
        self.run, self.store, self.indices, self.labels = run, store, indices, labels
        self.deviation, self.device = deviation, device
        self.model: FusionModel = run.model(store, device)
        self.attribute, self.probe = run.project.preset.attribute, run.project.preset.probe
        self.disturbances = [
            Disturbance(name, kind, level)
            for name in self.model.names
            for kind, level in (*(("noise", level) for level in (0.0, *LEVELS)), ("missing", 1.0))
        ]

    def predictions(self) -> Iterator[dict]:
        """Rows of the metric and of the experts' weights."""
        logits_NVC, weights_NVE = over_batches(
            self._disturbed,
            self.model,
            self.store,
            self.indices,
            self.device,
            title=f"robustness of {self.run.name}",
        )
        counts_RN = resample_counts(len(self.indices))
        task = self.store.task
        metric_VR = resampled_metric(logits_NVC.swapaxes(0, 1), self.labels, task, counts_RN)
        for v, disturbance in enumerate(self.disturbances):
            quantities: list[tuple[str, str | None, np.ndarray]] = [(task.main_metric, None, metric_VR[v])]
            if len(self.model.expert_names) > 1:
                weights_RE = counts_RN @ weights_NVE[:, v] / counts_RN.sum(1, keepdims=True)
                names = self.model.expert_names
                quantities += [("expert_weight", name, weights_RE[:, e]) for e, name in enumerate(names)]
            for quantity, expert, values_R in quantities:
                yield _row(disturbance, quantity, expert, None, values_R, len(self.indices))

    @torch.no_grad()
    def _disturbed(self, batch: FeatureBatch) -> tuple[np.ndarray, ...]:
        """Logits [B, V, C] and weights [B, V, E] under every disturbance."""
        found = []
        for name in self.model.names:
            scaled_BTD = torch.zeros_like(batch.features[name])
            for b, sample_id in enumerate(batch.sample_ids):
                i = self.store.index_of(sample_id)
                noise = self._noise(i, name)
                scaled_BTD[b, : len(noise)] = noise
            for disturbance in (d for d in self.disturbances if d.modality == name):
                if disturbance.kind == "missing":
                    masked = {n: torch.zeros_like(valid) for n, valid in batch.valid.items()}
                    masked[name] = batch.valid[name] & ~batch.special[name]
                    found.append(self.model(batch.features, batch.valid, masked))
                else:
                    noisy = batch.features[name] + disturbance.level * scaled_BTD
                    found.append(self.model({**batch.features, name: noisy}, batch.valid))
        logits_BVC = torch.stack([output.logits_BC for output in found], 1)
        weights_BVE = torch.stack([output.expert_weights_BE for output in found], 1)
        return logits_BVC.cpu().numpy(), weights_BVE.cpu().numpy()

    def _noise(self, index: int, modality: str) -> Tensor:
        """Noise [T, D] of one standard deviation on a sample's valid positions."""
        features_TD, valid_T, _ = self.store.sequence(index, modality)
        seed = self.probe.seed
        noise_TD = noise_of(self.store.sample_ids[index], modality, features_TD.shape, seed)
        return torch.from_numpy(noise_TD * self.deviation[modality] * valid_T[:, None]).to(self.device)

    def rankings(self) -> Iterator[dict]:
        """Rows of how well rankings of pairs agree with the undisturbed ones, over some samples."""
        chosen = self._rankable()
        parts = []
        title = f"robustness of {self.run.name}, rankings"
        with track(title, len(chosen)) as progress, threads(self.device) as (pool, count):
            for found in in_order(pool, self._agreements, chosen, count + 1):
                parts.append(found)
                progress.advance()
        if not parts:
            console.print(f"  no sample of the split has {LEAST_PAIRS} pairs to rank")
        for (v, expert, score), quantity in (
            (key, quantity)
            for key in dict.fromkeys(key for part in parts for key in part)
            for quantity in ("rank_correlation", "top_overlap")
        ):
            each = [part[v, expert, score][quantity] for part in parts if (v, expert, score) in part]
            values = np.array([value for value in each if not math.isnan(value)])
            if len(values):
                counts_RN = resample_counts(len(values))
                values_R = counts_RN @ values / len(values)
                yield _row(self.disturbances[v], quantity, expert, score, values_R, len(values))

    def _rankable(self) -> list[int]:
        """The samples that are ranked: drawn from those of the split that have pairs enough."""
        rng = np.random.default_rng(seed_of("robustness", self.probe.seed))
        found = []
        for i in rng.permutation(self.indices).tolist():
            allowed = self.store.candidates(i)
            anything = {name: np.zeros(len(mask)) for name, mask in allowed.items()}
            if len(self._candidates(anything, allowed).pairs) >= LEAST_PAIRS:
                found.append(i)
            if len(found) == RANKED_SAMPLES:
                break
        return found

    def _candidates(self, scores: dict[str, np.ndarray], allowed: dict[str, np.ndarray]) -> Candidates:
        """At most the paper's universe: what is compared are rankings, and larger ones cost much more."""
        rho = min(self.probe.rho, RHO)
        return select_candidates(scores, allowed, rho=rho, min_features=self.probe.min_features)

    def _agreements(self, index: int) -> dict[tuple[int, str, str], dict[str, float]]:
        """How the ranking of one sample's pairs agrees, by disturbance, expert and score."""
        store, model = self.store, self.model
        batch = store.batch([index], self.device, **model.reads)
        targets = [store.labels[index]]
        if self.attribute.target == "predicted" or not len(targets[0]):
            with torch.no_grad():
                logits_BC = model(batch.features, batch.valid).logits_BC
            targets = store.task.explained_classes(logits_BC)
        found = importance(model, batch, store.task, targets, self.attribute).scores
        allowed = store.candidates(index)
        agreements = {}
        for expert in dict.fromkeys(expert for expert, _ in RANKED[self.run.kind]):
            e = model.expert_names.index(expert)
            of_expert = {name: found[name][e, 0, : len(mask)] for name, mask in allowed.items()}
            candidates = self._candidates(of_expert, allowed)
            ranked = _Ranked(self, batch, expert, candidates, targets[0])
            whole, seed = ranked.scores(None), self.probe.seed
            again = ranked.scores(None, seed=seed_of("again", seed))
            for v, disturbance in enumerate(self.disturbances):
                kept_P = ranked.kept(disturbance)
                values = ranked.scores(disturbance) if disturbance.level else again
                if kept_P.sum() >= LEAST_PAIRS:
                    for of_expert_name, score in RANKED[self.run.kind]:
                        if of_expert_name == expert:
                            pair = whole[score][kept_P], values[score][kept_P]
                            agreements[v, expert, score] = agreement(*pair)
        return agreements


class _Ranked:
    """The pairs of one sample and expert, to be scored under disturbances.

    Args:
        test: the run that the sample is asked of.
        batch: that sample alone.
        expert: its name.
        candidates: the pairs.
        target: the classes that are explained.
    """

    def __init__(
        self, test: _Run, batch: FeatureBatch, expert: str, candidates: Candidates, target: list[int]
    ) -> None:
        self.test, self.expert, self.candidates = test, expert, candidates
        self.features = {name: x[0] for name, x in batch.features.items()}
        self.special = {name: x[0] for name, x in batch.special.items()}
        self.valid = {name: x[0] for name, x in batch.valid.items()}
        self.index = test.store.index_of(batch.sample_ids[0])
        self.target = target_weights(target, test.model.num_classes).to(test.device)
        self.modality_n = np.array([name for name, _ in candidates.players])

    def kept(self, disturbance: Disturbance) -> np.ndarray:
        """The pairs that are still there, bool [P]: not those with a feature of a missing modality."""
        if disturbance.kind != "missing":
            return np.ones(len(self.candidates.pairs), bool)
        return (self.modality_n[self.candidates.pairs] != disturbance.modality).all(1)

    def scores(self, disturbance: Disturbance | None, seed: int | None = None) -> dict[str, np.ndarray]:
        """Every score of every pair, [P]; NaN for those that are not there.

        Under noise: of the disturbed features, the same coalitions as without it. With a modality missing its
        features are absent from every coalition.
        """
        test, candidates = self.test, self.candidates
        seed = test.probe.seed if seed is None else seed
        found = {score: np.full(len(candidates.pairs), np.nan) for score in SCORES}
        kept_P = np.ones(len(candidates.pairs), bool) if disturbance is None else self.kept(disturbance)
        if not kept_P.any():
            return found
        features, players, pairs = self.features, candidates.players, candidates.pairs
        if disturbance is not None and disturbance.kind == "noise":
            name = disturbance.modality
            noise = disturbance.level * test._noise(self.index, name)
            features = {**features, name: features[name] + noise}
        elif disturbance is not None:
            left_n = self.modality_n != disturbance.modality
            players = [player for player, left in zip(players, left_n, strict=True) if left]
            pairs = (np.cumsum(left_n) - 1)[pairs[kept_P]]
        game = ExpertGame.of_sample(
            test.model,
            self.expert,
            features,
            self.special,
            players,
            self.target,
            valid=self.valid,
            name=f"sample {test.store.sample_ids[self.index]}, expert {self.expert}",
        )
        budget = 1 + test.probe.coalitions * evaluations_per_coalition(pairs, "shared")
        values = estimate(game, pairs, budget=budget, method="shared", seed=seed, nondeterministic="trust")
        for score, column in found.items():
            column[kept_P] = getattr(values, score)
        return found


def agreement(before_P: np.ndarray, after_P: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlation, NaN where one side is constant; and the shared part of the top tenths."""
    constant = np.ptp(before_P) == 0 or np.ptp(after_P) == 0
    size = math.ceil(TOP * len(before_P) - 1e-9)
    first, second = (set(np.argsort(-x, kind="stable")[:size].tolist()) for x in (before_P, after_P))
    return {
        "rank_correlation": math.nan if constant else float(spearmanr(before_P, after_P).statistic),
        "top_overlap": math.nan if constant else len(first & second) / size,
    }


def _row(
    disturbance: Disturbance,
    quantity: str,
    expert: str | None,
    score: str | None,
    values_R: np.ndarray,
    samples: int,
) -> dict:
    low, high = interval(values_R)
    return disturbance.key | {
        "quantity": quantity,
        "expert": expert,
        "score": score,
        "value": float(values_R[0]),
        "low": low,
        "high": high,
        "samples": samples,
    }
