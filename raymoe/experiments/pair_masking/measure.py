"""Does masking the pairs that interact hurt more than masking others (paper §4.4, Table 1)?

Of each sample the candidates are the cross-modal pairs among the top 10 per cent of each modality by an
expert's importance; K per cent of them are chosen, their features zeroed, and the whole model predicts again.
Ranked pairs share features, so they zero fewer than as many random pairs do: beside the paper's baseline
there is one that zeroes as many features of each modality.

Shapes: P pairs and n features of a sample's candidates, V masks, N samples (B of a batch), C classes, S
seeds, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from raymoe.attribution.explained import explained_split
from raymoe.display.vocabulary import COMPARED, OF_PAPER
from raymoe.errors import InputError
from raymoe.experiments.bins import binned_pairs, refuse_smaller_universe
from raymoe.experiments.bootstrap import resample_counts, resampled_metric, spread_over_seeds
from raymoe.experiments.masked_logits import masked_logits, over_batches
from raymoe.experiments.pair_masking import MATCHED, ORIGINAL, PAIR_MASKING, RANDOM, RANKED, TABLE
from raymoe.experiments.probed_runs import ProbedRun, left_out_of, parents_of, probed_seeds
from raymoe.experiments.trained_runs import labels_of
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES
from raymoe.runtime.device import resolve_device
from raymoe.runtime.seeds import seed_of
from raymoe.task import Task

SHARES = (5, 10, 20, 50)  # K, per cent of a sample's candidate pairs
DRAWS = 5  # of each random choice
# Table 1 of the paper, at 5 per cent: original, random pairs, ranked pairs, per dataset and expert.
PAPER = {
    ("mmimdb", "synergy"): (0.6789, 0.5703, 0.5600),
    ("mmimdb", "redundancy"): (0.6789, 0.6136, 0.5932),
    ("enrico", "synergy"): (0.5479, 0.5137, 0.4795),
    ("enrico", "redundancy"): (0.5479, 0.5240, 0.5171),
    ("mmhs150k", "synergy"): (0.7004, 0.6796, 0.6708),
    ("mmhs150k", "redundancy"): (0.7004, 0.6839, 0.6745),
}


def measure(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Mask random and ranked pairs of every run that was probed: Table 1, with more budgets and baselines.

    ``evaluation/pair-masking.parquet`` has a row per seed (null: mean over seeds), expert, score, K and
    masking, with 95 % intervals of a paired bootstrap over samples. Its metadata has ``differences``: by how
    much more ranked pairs hurt than each random baseline, mean over seeds, on the same resamples; and
    ``skipped``: samples without candidates.

    Args:
        project: has tables of ``attribute`` and ``probe``, of one seed or several.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        ParentError: a stage is missing, or its tables are not of the checkpoint that is there.
        InputError: the probe left out candidates, the split has no labels, or no sample has a pair.
    """
    workspace, config = project.workspace, project.preset.attribute
    refuse_smaller_universe(project)
    store = FeatureStore.open(FEATURES.of(project))
    runs = probed_seeds(project, store)
    parents = parents_of(store, runs)
    settings = {"split": config.split, "shares": SHARES, "draws": DRAWS, "seed": config.seed}
    settings |= {"dataset": project.dataset}  # decides on the paper's values
    output = TABLE.of(project)
    made = output.made_from(settings, parents)
    ran = overwrite or not output.is_current(made)
    if ran:
        workspace.check_writable()
        device = resolve_device(device)
        pools = [_pool(run, store) for run in runs]
        measured = [_measure(pool, store, device) for pool in pools]
        rows, differences = _results(project, measured, store)
        skipped = left_out_of([(pool.run.seed, pool.left_out) for pool in pools])
        table = pa.Table.from_pylist(rows, PAIR_MASKING.schema)
        output.write(table, made, {"differences": differences, "skipped": skipped})
    return StageResult(output.path, made.fingerprint, ran, tuple(output.metadata()["skipped"]))


@dataclass(frozen=True)
class Pool:
    """What of a run can be masked.

    Attributes:
        run: whose.
        candidates: by sample and expert.
        indices: the samples that have them for every expert, rows of the store.
        left_out: why the others of the split don't.
    """

    run: ProbedRun
    candidates: dict[str, dict[str, CandidatePairs]]
    indices: np.ndarray
    left_out: dict[str, str]


def _pool(run: ProbedRun, store: FeatureStore) -> Pool:
    project, binned = run.run.project, binned_pairs(run, store)
    split = explained_split(project, store)
    top = binned.pairs[binned.pairs["bin"] == 0]
    candidates: dict[str, dict[str, CandidatePairs]] = {}
    for (of_sample, expert), pairs in top.groupby(["sample_id", "expert"], sort=False):
        candidates.setdefault(str(of_sample), {})[str(expert)] = CandidatePairs.of(pairs)
    chosen, left_out = [], {}
    for i in split:
        sample_id = store.sample_ids[i]
        if len(candidates.get(sample_id, ())) == len(run.experts):
            chosen.append(i)
            continue
        why = "not measured for every expert" if sample_id in candidates else "not measured"
        left_out[sample_id] = binned.left_out.get(sample_id, why)
    if not chosen:
        raise InputError(
            f"none of the {len(split)} samples of the split {project.preset.attribute.split!r} has measured "
            "pairs",
            f"Measure them with: {run.command('probe')} --overwrite, or choose the split with "
            "--set attribute.split=NAME.",
        )
    indices = np.array(chosen)
    labels_of(store, indices, project.preset.attribute.split)
    return Pool(run, candidates, indices, left_out)


@dataclass(frozen=True)
class Masked:
    """What a run's model says with pairs masked.

    Attributes:
        pool: whose, and of which samples.
        logits_VNC: the first of the V has no mask, the others are by expert as ``variants_of`` has them.
        features_V: how many features are zeroed, mean over samples; without the first.
    """

    pool: Pool
    logits_VNC: np.ndarray
    features_V: np.ndarray


def _measure(pool: Pool, store: FeatureStore, device: str) -> Masked:
    run, candidates = pool.run, pool.candidates
    model, seed = run.run.model(store, device), run.run.project.preset.attribute.seed

    def work(batch: FeatureBatch) -> tuple[np.ndarray, ...]:
        masks: dict[str, list[np.ndarray]] = {name: [] for name in model.names}
        counts = []
        for sample_id in batch.sample_ids:
            found = [(c := candidates[sample_id][e], c.masks((seed, sample_id, e))) for e in run.experts]
            counts.append(np.concatenate([mask_Vn.sum(1) for _, mask_Vn in found]))
            for name in model.names:
                T = batch.valid[name].shape[1]
                masks[name].append(np.concatenate([c.placed(mask_Vn, name, T) for c, mask_Vn in found]))
        stacked = {name: torch.from_numpy(np.stack(rows, 1)).to(device) for name, rows in masks.items()}
        # The first mask is none at all.
        stacked = {name: torch.cat([torch.zeros_like(x[:1]), x]) for name, x in stacked.items()}
        logits_BVC = masked_logits(model, batch, stacked).transpose(0, 1)
        return logits_BVC.cpu().numpy(), np.array(counts)

    title = f"pair masking of {run.run.name}"
    logits_NVC, features_NV = over_batches(work, model, store, pool.indices, device, title=title)
    return Masked(pool, logits_NVC.swapaxes(0, 1), features_NV.mean(0))


def _results(project: Project, measured: list[Masked], store: FeatureStore) -> tuple[list[dict], list[dict]]:
    """Rows of the table and the differences; all on the same resamples of the samples."""
    samples = np.unique(np.concatenate([found.pool.indices for found in measured]))
    counts_RN = resample_counts(len(samples))
    metrics, features, sizes = [], [], []
    # Seeds may have been probed for other experts: their mean is over those that all of them have.
    experts = [
        e for e in measured[0].pool.run.experts if all(e in found.pool.run.experts for found in measured)
    ]
    for found in measured:
        pool = found.pool
        labels = labels_of(store, pool.indices, project.preset.attribute.split)
        own_RN = counts_RN[:, np.searchsorted(samples, pool.indices)]
        metric_VR = resampled_metric(found.logits_VNC, labels, store.task, own_RN)
        of_expert = np.arange(1, len(metric_VR)).reshape(len(pool.run.experts), -1)
        rows = np.concatenate([of_expert[pool.run.experts.index(e)] for e in experts])
        metrics.append(metric_VR[[0, *rows]])
        features.append(found.features_V[rows - 1])
        sizes.append(
            {
                e: [len(pool.candidates[store.sample_ids[i]][e].pairs_P2) for i in pool.indices]
                for e in experts
            }
        )
    variants = pd.DataFrame(
        [(e, *variant) for e in experts for variant in variants_of()],
        columns=["expert", "masking", "score", "share"],
    )
    metric_SVR, features_SV = np.array(metrics), np.array(features)
    results: list[dict] = []
    for s, found in enumerate(measured):
        of_seed = (metric_SVR[[s]], features_SV[[s]], sizes[s : s + 1], len(found.pool.indices))
        results += [
            {"seed": found.pool.run.seed} | row for row in _rows(project, variants, *of_seed, store.task)
        ]
    of_all = _rows(project, variants, metric_SVR, features_SV, sizes, len(samples), store.task)
    results += [{"seed": None} | row for row in of_all]
    return results, list(_differences(variants, metric_SVR))


def variants_of() -> list[tuple[str, str, int]]:
    """Masking, score and K of every mask of a sample and expert, in the order of ``CandidatePairs.masks``."""
    drawn = [(RANDOM, "", share) for _ in range(DRAWS) for share in SHARES]
    ranked = [(RANKED, score, share) for score in COMPARED for share in SHARES]
    matched = [(MATCHED, score, share) for score in COMPARED for share in SHARES for _ in range(DRAWS)]
    return drawn + ranked + matched


@dataclass(frozen=True)
class CandidatePairs:
    """The candidate pairs of one sample and expert.

    Attributes:
        modality_n, position_n: the features that occur in them.
        pairs_P2: indices into these.
        scores: per score [P].
    """

    modality_n: np.ndarray
    position_n: np.ndarray
    pairs_P2: np.ndarray
    scores: dict[str, np.ndarray]

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> CandidatePairs:
        """From rows of the joined table."""
        u, v = (list(zip(pairs[f"{x}_modality"], pairs[x], strict=True)) for x in "uv")
        features = list(dict.fromkeys([*u, *v]))
        index = {feature: i for i, feature in enumerate(features)}
        pairs_P2 = np.array([[index[a], index[b]] for a, b in zip(u, v, strict=True)])
        modalities, positions = zip(*features, strict=True)
        scores = {score: pairs[score].to_numpy() for score in COMPARED}
        return cls(np.array(modalities), np.array(positions), pairs_P2, scores)

    def masks(self, key: tuple) -> np.ndarray:
        """Which features each masking zeroes, bool [V, n], in the order of ``variants_of``.

        Args:
            key: what the random choices follow from.
        """
        numbers = [pairs_within(share, len(self.pairs_P2)) for share in SHARES]
        orders = [_generator("pairs", *key, draw).permutation(len(self.pairs_P2)) for draw in range(DRAWS)]
        drawn = [self._features(order[:number]) for order in orders for number in numbers]
        best = [np.argsort(-values, kind="stable") for values in self.scores.values()]
        ranked = [self._features(order[:number]) for order in best for number in numbers]
        features = [_generator("features", *key, d).permutation(len(self.modality_n)) for d in range(DRAWS)]
        matched = [self.matched(mask_n, order) for mask_n in ranked for order in features]
        return np.array(drawn + ranked + matched)

    def placed(self, mask_Vn: np.ndarray, modality: str, length: int) -> np.ndarray:
        """Masks over a modality's positions, bool [V, length]."""
        own_n = self.modality_n == modality
        found = np.zeros((len(mask_Vn), length), bool)
        found[:, self.position_n[own_n]] = mask_Vn[:, own_n]
        return found

    def matched(self, mask_n: np.ndarray, order: np.ndarray) -> np.ndarray:
        """As many features of each modality as a mask has, those that come first in ``order``, bool [n]."""
        found_n = np.zeros_like(mask_n)
        for modality in np.unique(self.modality_n):
            own = order[self.modality_n[order] == modality]
            found_n[own[: int(mask_n[self.modality_n == modality].sum())]] = True
        return found_n

    def _features(self, chosen: np.ndarray) -> np.ndarray:
        """The features of some pairs, bool [n]."""
        mask_n = np.zeros(len(self.modality_n), bool)
        mask_n[self.pairs_P2[chosen]] = True
        return mask_n


def pairs_within(share: float, pairs: int) -> int:
    """How many pairs a budget of ``share`` per cent is: rounded up, at least one."""
    return max(1, math.ceil(pairs * share / 100 - 1e-9))


def is_short(share: float, pairs: int) -> bool:
    """Whether ``share`` per cent is less than one pair: one is masked all the same, which is more."""
    return pairs * share / 100 < 1 - 1e-9


def _generator(*key: object) -> np.random.Generator:
    return np.random.default_rng(seed_of("pair masking", *key))


def _chosen(variants: pd.DataFrame, expert: str, score: str, share: int, masking: str) -> np.ndarray:
    """The rows of a masking's draws, bool [V]."""
    score = "" if masking == RANDOM else score
    wanted = {"expert": expert, "masking": masking, "score": score, "share": share}
    return np.logical_and.reduce([variants[column] == value for column, value in wanted.items()])


def _rows(
    project: Project,
    variants: pd.DataFrame,
    metric_SVR: np.ndarray,
    features_SV: np.ndarray,
    sizes: list[dict[str, list[int]]],
    samples: int,
    task: Task,
) -> Iterator[dict]:
    """Rows of the table: means over the seeds given.

    Args:
        project: decides on the paper's figures.
        variants: what the V masks are.
        metric_SVR: begins with what the model says without a mask.
        features_SV: how many features each mask zeroes.
        sizes: per seed, how many candidate pairs each sample has, by expert.
        samples: how many there are.
        task: of the data.
    """
    base_SR, masked_SVR = metric_SVR[:, 0], metric_SVR[:, 1:]
    for expert in sizes[0]:
        for score in COMPARED:
            for share in SHARES:
                paper: tuple[float | None, float | None, float | None] = (None, None, None)
                # the paper's figures are of the test split
                of_test = project.preset.attribute.split == "test"
                if of_test and share == SHARES[0] and OF_PAPER.get(score) == expert:
                    paper = PAPER.get((project.dataset, expert), paper)
                of_paper = dict(zip((ORIGINAL, RANDOM, RANKED), paper, strict=True))
                pairs = np.mean([np.mean([pairs_within(share, p) for p in of[expert]]) for of in sizes])
                short = np.mean([np.sum([is_short(share, p) for p in of[expert]]) for of in sizes])
                for masking in (ORIGINAL, RANDOM, MATCHED, RANKED):
                    value_SR, features = base_SR, 0.0
                    if masking != ORIGINAL:
                        rows = _chosen(variants, expert, score, share, masking)
                        value_SR, features = masked_SVR[:, rows].mean(1), features_SV[:, rows].mean()
                    yield {
                        "expert": expert,
                        "score": score,
                        "share": share,
                        "masking": masking,
                        "metric": task.main_metric,
                        **_spread("value", value_SR),
                        **_spread("drop", base_SR - value_SR),
                        "pairs": 0.0 if masking == ORIGINAL else float(pairs),
                        "features": float(features),
                        "samples": samples,
                        "short": 0.0 if masking == ORIGINAL else float(short),
                        "paper": of_paper.get(masking),
                    }


def _differences(variants: pd.DataFrame, metric_SVR: np.ndarray) -> Iterator[dict]:
    """By how much more ranked pairs hurt than random ones, with paired intervals, mean over seeds."""
    for expert in dict.fromkeys(variants["expert"]):
        for score in COMPARED:
            for share in SHARES:
                value_SR = {
                    masking: metric_SVR[:, 1:][:, _chosen(variants, expert, score, share, masking)].mean(1)
                    for masking in (RANDOM, MATCHED, RANKED)
                }
                for against in (RANDOM, MATCHED):
                    key = {"expert": expert, "score": score, "share": share, "against": against}
                    yield key | _spread("more", value_SR[against] - value_SR[RANKED])


def _spread(name: str, values_SR: np.ndarray) -> dict[str, float | None]:
    """Mean over seeds, its interval over samples, and the deviation over seeds."""
    # Accuracy is undefined (NaN) on a resample without any of a seed's samples.
    found = spread_over_seeds(values_SR)
    return {
        name: found.mean,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_std": found.std,
    }
