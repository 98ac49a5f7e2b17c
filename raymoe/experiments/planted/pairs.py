"""How high each method ranks the true pairs, beside chance and what needs no interaction at all.

Shapes: N samples, P pairs of a sample, Q measures, S seeds, R resamples, E experts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from raymoe.catalogue import MIXTURE
from raymoe.errors import InputError
from raymoe.experiments.bootstrap import interval, resample_counts
from raymoe.experiments.planted.truth import Truth, is_true, of_pairs, scenes_of, shown_kinds
from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel
from raymoe.runtime.seeds import seed_of

# Scores of the pairs, and what needs none.
OF_PAIRS = ("sii", "pair_specific", "synergy", "redundancy", "antagonism", "redundancy_gap")
METHODS = (*OF_PAIRS, "-sii", "product", "attention", "random")
MEASURES = ("average_precision", "auroc", "precision_at_k")  # k: as many as there are true pairs
BATCH = 64


@dataclass(frozen=True)
class Places:
    """Where the true pairs of a kind are in one sample: their modalities and positions, and their ranks."""

    u_modality: str
    u: list[int]
    v_modality: str
    v: list[int]
    rank: list[int]


@dataclass(frozen=True)
class Ranking:
    """How well one method finds the true pairs of one kind in one kind of scenes, by one expert's scores.

    Attributes:
        sample_ids: N samples.
        values_NQ, chance_NQ: ``MEASURES`` of each, and what a random order has on average; NaN where none
            of the sample's measured pairs is a true one, or all are.
        positives_N, pairs_N: how many of each sample's measured pairs are true ones, and how many there are.
        places: of each sample, where its true pairs are.
    """

    sample_ids: list[str]
    values_NQ: np.ndarray
    chance_NQ: np.ndarray
    positives_N: np.ndarray
    pairs_N: np.ndarray
    places: tuple[Places, ...] = ()


# By kind of scenes, expert, kind of interaction and method.
Key = tuple[str, str, str, str]
Rankings = dict[Key, Ranking]


def rank_pairs(
    model: FusionModel,
    store: FeatureStore,
    truth: dict[str, Truth],
    importance: pa.Table,
    pairs: pa.Table,
) -> Rankings:
    """Measures of every target with pairs that is on, in the samples that show both its word and drawing.

    Args:
        model: whose attention is asked.
        store: its features.
        truth: of every sample.
        importance, pairs: tables of ``attribute`` and ``probe``.

    Raises:
        InputError: a true word is not one token of the text's encoder; no sample can be measured.
    """
    frame = pairs.select(["sample_id", "expert", "u_modality", "u", "v_modality", "v", *OF_PAIRS]).to_pandas()
    chosen = {i: kinds for i in frame["sample_id"].unique() if (kinds := shown_kinds(truth[i]))}
    if not chosen:
        raise InputError(
            "no measured sample has a true pair",
            "The first samples of the planted test split do: leave probe.max_samples as it is.",
        )
    frame = frame[frame["sample_id"].isin(chosen)]
    scores = importance.to_pandas()
    scores = scores[scores["sample_id"].isin(chosen)]
    of_feature = scores.set_index(["sample_id", "expert", "modality"])["scores"].to_dict()
    attention = pair_attention(model, store, list(chosen))
    found: dict[Key, list[tuple[str, np.ndarray, np.ndarray, int, int, Places]]] = {}
    for (expert, sample_id), group in frame.groupby(["expert", "sample_id"], sort=False):
        u, v = (
            of_pairs(group, side, lambda m, at: of_feature[sample_id, expert, m][at])  # noqa: B023
            for side in "uv"
        )
        seen = attention[sample_id][expert]
        at = [of_pairs(group, side, lambda m, at: seen.start[m] + at).astype(int) for side in "uv"]  # noqa: B023
        methods = {
            **{score: group[score].to_numpy() for score in OF_PAIRS},
            "-sii": -group["sii"].to_numpy(),
            "product": u * v,
            "attention": (seen.weights_TT[at[0], at[1]] + seen.weights_TT[at[1], at[0]]) / 2,
            "random": np.random.default_rng(seed_of("planted", sample_id, expert)).random(len(group)),
        }
        for kind in chosen[sample_id]:
            true = is_true(store, sample_id, truth[sample_id].targets[kind], group)
            chance = chance_of(int(true.sum()), len(true))
            for method, values in methods.items():
                places = places_of(group, true, values)
                row = (sample_id, measures(values, true), chance, int(true.sum()), len(true), places)
                found.setdefault((scenes_of(truth[sample_id]), expert, kind, method), []).append(row)
    return {
        key: Ranking(
            [row[0] for row in rows],
            np.stack([row[1] for row in rows]),
            np.stack([row[2] for row in rows]),
            np.array([row[3] for row in rows]),
            np.array([row[4] for row in rows]),
            tuple(row[5] for row in rows),
        )
        for key, rows in found.items()
    }


def places_of(pairs: pd.DataFrame, true_P: np.ndarray, scores_P: np.ndarray) -> Places:
    """The true pairs with their ranks, which count the pairs that score higher.

    Args:
        pairs: with columns u_modality, u, v_modality and v.
        true_P, scores_P: of these pairs.
    """
    at = np.flatnonzero(true_P)
    falling = np.sort(-scores_P)
    own = pairs.iloc[at]
    u_modality, v_modality = (own[name].iloc[0] if len(at) else "" for name in ("u_modality", "v_modality"))
    rank = 1 + np.searchsorted(falling, -scores_P[at], "left")
    return Places(u_modality, own["u"].tolist(), v_modality, own["v"].tolist(), rank.tolist())


def rank_rows(rankings: Sequence[Rankings], seeds: Sequence[int]) -> Iterator[dict]:
    """Rows of the table of ranks."""
    for seed, found in zip(seeds, rankings, strict=True):
        for (scenes, expert, kind, method), ranking in found.items():
            key = {"seed": seed, "scenes": scenes, "expert": expert, "interaction": kind, "method": method}
            for sample_id, places, pairs in zip(
                ranking.sample_ids, ranking.places, ranking.pairs_N, strict=True
            ):
                yield key | {"sample_id": sample_id, "pairs": int(pairs)} | asdict(places)


@dataclass(frozen=True)
class Attention:
    """One expert's attention on a sample: mean over layers and heads, [T, T], and where modalities start."""

    weights_TT: np.ndarray
    start: dict[str, int]


@torch.no_grad()
def pair_attention(
    model: FusionModel, store: FeatureStore, sample_ids: Sequence[str]
) -> dict[str, dict[str, Attention]]:
    """The attention of every expert on every sample, and their mean as the mixture's."""
    found = {}
    indices = np.array([store.index_of(i) for i in sample_ids])
    for batch in store.batches(indices, BATCH, next(model.parameters()).device, **model.reads):
        inputs = model.fusion_input(model.project(batch.features, batch.valid), batch.valid)
        _, layers = model.experts.forward_with_attention(
            inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT
        )
        mean_ENTT = torch.stack([layer.mean(2) for layer in layers]).mean(0).cpu().numpy()
        sizes = [batch.valid[name].shape[1] for name in model.names]
        start = dict(zip(model.names, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        for n, sample_id in enumerate(batch.sample_ids):
            maps = {name: mean_ENTT[e, n] for e, name in enumerate(model.expert_names)}
            maps[MIXTURE] = mean_ENTT[:, n].mean(0)
            found[sample_id] = {name: Attention(of_expert, start) for name, of_expert in maps.items()}
    return found


def measures(scores_P: np.ndarray, true_P: np.ndarray, seed: int = 0) -> np.ndarray:
    """``MEASURES`` of one ranking, [Q]; ties are broken by chance for precision at k.

    NaN where no pair is a true one, or all are.
    """
    positives = int(true_P.sum())
    if positives in (0, len(true_P)):
        return np.full(len(MEASURES), np.nan)
    tie = np.random.default_rng(seed).permutation(len(scores_P))
    top = np.lexsort((tie, -scores_P))[:positives]
    return np.array(
        [average_precision_score(true_P, scores_P), roc_auc_score(true_P, scores_P), true_P[top].mean()]
    )


def chance_of(positives: int, pairs: int) -> np.ndarray:
    """What a random order has of each measure on average, [Q].

    The true pair at rank r has (r - 1)(positives - 1) / (pairs - 1) others before it on average, and every
    rank is as likely: that is the average precision.
    """
    if positives in (0, pairs):
        return np.full(len(MEASURES), np.nan)
    others = (positives - 1) / (pairs - 1)
    rank = np.arange(1, pairs + 1)
    return np.array([((1 + (rank - 1) * others) / rank).mean(), 0.5, positives / pairs])


def pair_rows(rankings: Sequence[Rankings], seeds: Sequence[int]) -> Iterator[dict]:
    """Rows of the table: each seed, then their mean over the samples that all of them measured."""
    for seed, found in zip(seeds, rankings, strict=True):
        for key, ranking in found.items():
            yield from _measured(seed, key, ranking)
    for key in rankings[0]:
        if all(key in found for found in rankings):
            yield from _measured(None, key, mean_ranking([found[key] for found in rankings]))


def mean_ranking(rankings: Sequence[Ranking]) -> Ranking:
    """Mean over seeds for each sample that all of them have."""
    common = [i for i in rankings[0].sample_ids if all(i in r.sample_ids for r in rankings)]
    rows = [[r.sample_ids.index(i) for i in common] for r in rankings]
    values, chance = (
        np.mean([getattr(r, name)[at] for r, at in zip(rankings, rows, strict=True)], 0)
        for name in ("values_NQ", "chance_NQ")
    )
    first = rankings[0]
    return Ranking(common, values, chance, first.positives_N[rows[0]], first.pairs_N[rows[0]])


def _measured(seed: int | None, key: Key, ranking: Ranking) -> Iterator[dict]:
    there_N = ~np.isnan(ranking.values_NQ[:, 0])
    if not there_N.any():
        return
    values_NQ = ranking.values_NQ[there_N]
    counts_RN = resample_counts(len(values_NQ))
    means_RQ = counts_RN @ values_NQ / counts_RN.sum(1, keepdims=True)
    scenes, expert, kind, method = key
    for q, measure in enumerate(MEASURES):
        low, high = interval(means_RQ[:, q])
        yield {
            "seed": seed,
            "scenes": scenes,
            "expert": expert,
            "interaction": kind,
            "method": method,
            "measure": measure,
            "value": float(means_RQ[0, q]),
            "low": low,
            "high": high,
            "chance": float(ranking.chance_NQ[there_N, q].mean()),
            "positives": int(ranking.positives_N[there_N].sum()),
            "pairs": int(ranking.pairs_N[there_N].sum()),
            "samples": len(values_NQ),
        }
