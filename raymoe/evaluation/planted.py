"""Do the scores find the interactions that are there? On data where they are known (data/planted.py).

The true pairs of a sample are the token of the target's word with each patch of its drawing. Every method
ranks all measured pairs of the sample; how high the true ones come is compared with chance and with what
needs no interaction at all: the product of the two attributions, and attention between the two.

Shapes: N samples, P pairs of a sample, Q measures, S seeds, R resamples, E experts, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from raymoe.data.planted import KINDS, WITH_PAIRS
from raymoe.device import resolve_device
from raymoe.errors import InputError, ParentError
from raymoe.evaluation.bootstrap import interval, resample_counts
from raymoe.evaluation.runs import TrainedRun, finished_runs
from raymoe.features.store import FeatureStore
from raymoe.interactions_table import read_interactions
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import load_checkpoint
from raymoe.progress import console, plain_table
from raymoe.project import Project, StageResult
from raymoe.seeds import seed_of
from raymoe.tables import (
    IMPORTANCE,
    PLANTED,
    PLANTED_EXPERTS,
    SAMPLES,
    Contract,
    Provenance,
    is_complete,
    metadata_of,
    open_parquet,
    read_table,
    write_table,
)
from raymoe.workspace import Workspace

METHODS = {
    "sii": "SII",
    "-sii": "-SII",
    "redundancy_gap": "gap",
    "product": "product",
    "attention": "attention",
    "random": "random",
}
MEASURES = ("average_precision", "auroc", "precision_at_k")  # k: as many as there are true pairs
MIXTURE = "mixture"
BATCH = 64


@dataclass(frozen=True)
class Truth:
    """What is planted in a sample.

    Attributes:
        targets: per kind ``on``, ``words`` and ``boxes`` (left, top, right, bottom as shares of the picture).
        explained: whether the sample was made to be explained; the others are drawn freely.
    """

    targets: dict[str, dict[str, Any]]
    explained: bool


def planted(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Measure every FL-I2MoE seed that was probed; print two tables and write them.

    ``evaluation/planted.parquet``: per seed (null: mean over seeds), expert, kind of interaction, method and
    measure. ``evaluation/planted-experts.parquet``: what each expert alone knows of each target, on the
    scenes of the split that are drawn as those of training.

    Args:
        project: has features, and runs with the tables of ``attribute`` and ``probe``.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        InputError: nothing is planted in these data, or what was explained is not the true classes.
        ParentError: no run was probed; names the commands. The samples are not those that were encoded.
    """
    workspace = project.workspace
    store = FeatureStore.open(workspace, project.features, project.command("encode"))
    truth, made_from = read_truth(project, store)
    runs = list(_probed(project, finished_runs(project, store, ("fl-i2moe",))))
    parents = {"features": store.fingerprint, "samples": made_from}
    for run, _, pairs in runs:
        parents |= {f"seed {run.seed}": run.fingerprint}
        parents |= {f"probe of seed {run.seed}": metadata_of(pairs.schema)["fingerprint"]}
    split = project.preset.attribute.split
    names = [f"{project.root}/evaluation/{name}.parquet" for name in ("planted", "planted-experts")]
    contracts = (PLANTED, PLANTED_EXPERTS)
    made = [Provenance("evaluate", contract.tag, {"split": split}, parents) for contract in contracts]
    command = f"raymoe evaluate {project.dataset} planted"
    ran = overwrite or not all(
        _is_there(workspace, *table) for table in zip(names, contracts, made, strict=True)
    )
    if ran:
        workspace.check_writable()
        device = resolve_device(device)
        rankings, knowledge = [], []
        for run, importance, pairs in runs:
            folder, train = f"{run.project.run}/checkpoint", project.command("train")
            model, _ = load_checkpoint(workspace, folder, train, features=store.fingerprint)
            model = model.to(device).requires_grad_(False).eval()
            rankings.append(rank_pairs(model, store, truth, importance, pairs))
            knowledge.append(_knowledge(model, store, truth, split))
        seeds = [run.seed for run, _, _ in runs]
        tables = (_pair_rows(rankings, seeds), _expert_rows(knowledge, seeds))
        for name, contract, rows, provenance in zip(names, contracts, tables, made, strict=True):
            table = pa.Table.from_pylist(list(rows), contract.schema)
            write_table(workspace, name, table, contract, provenance)
    again = f"{command} --overwrite"
    found = [read_table(workspace, n, c, again).to_pylist() for n, c in zip(names, contracts, strict=True)]
    console.print(_pair_table(found[0]))
    console.print(_expert_table(found[1]))
    return StageResult(workspace.path(names[0]), made[0].fingerprint, ran)


def read_truth(project: Project, store: FeatureStore) -> tuple[dict[str, Truth], str]:
    """What is planted in each sample, by its id, and the fingerprint of the samples table.

    Raises:
        InputError: the samples table says nothing of planted interactions.
        ParentError: it is missing, or not the one that was encoded.
    """
    made_by = project.command("prepare")
    file = open_parquet(project.workspace, project.samples, SAMPLES, made_by)
    where = project.workspace.path(project.samples)
    if "planted" not in file.schema_arrow.names:
        raise InputError(
            f"{where} has no column planted: of these data the true interactions are not known",
            "They are known for the preset planted: raymoe evaluate planted planted",
        )
    metadata = metadata_of(file.schema_arrow)
    table = pq.read_table(project.workspace.local(project.samples), columns=["sample_id", "planted"])
    found = {}
    for row in table.to_pylist():
        read = json.loads(row["planted"])
        found[row["sample_id"]] = Truth(read["targets"], read["explained"])
    for sample_id, labels in zip(store.sample_ids, store.labels, strict=True):
        on = [store.classes[label] for label in labels]
        if sample_id not in found or on != [k for k in store.classes if found[sample_id].targets[k]["on"]]:
            raise ParentError(
                f"sample {sample_id} of {project.workspace.path(project.features)} is not that of {where}",
                f"Encode the samples that are there with: {project.command('encode')} --overwrite",
            )
    return found, metadata["fingerprint"]


def _is_there(workspace: Workspace, name: str, contract: Contract, made: Provenance) -> bool:
    """A table of other runs, or a damaged one, is no error here: it is made from what is there now."""
    try:
        return is_complete(workspace, name, contract, made, "")
    except ParentError:
        return False


def _probed(project: Project, runs: list[TrainedRun]) -> Iterator[tuple[TrainedRun, pa.Table, pa.Table]]:
    """The runs with importance and interactions of their checkpoint; says which are left out, and why.

    Raises:
        ParentError: none is left.
    """
    missing = []
    for run in runs:
        own, seed = run.project, f" --seed {run.seed}"
        commands = {stage: project.command(stage) + seed for stage in ("attribute", "probe")}
        try:
            name = f"{own.run}/importance.arrow"
            importance = read_table(own.workspace, name, IMPORTANCE, commands["attribute"])
            pairs = read_interactions(own.workspace, own.run, commands["probe"])
            made = Provenance.from_json(metadata_of(pairs.schema)["made_by"]).parents
            of_importance = metadata_of(importance.schema)["fingerprint"]
            wanted = {"checkpoint": run.fingerprint, "importance": of_importance}
            other = [parent for parent, value in wanted.items() if made.get(parent) != value]
            if other:
                raise ParentError(
                    f"{own.workspace.path(own.run)}: the interactions are of another {' and '.join(other)}",
                    f"Make them again with: {commands['probe']} --overwrite",
                )
        except ParentError as error:
            missing.append(error)
            continue
        targets = set(pairs["target"].unique().to_pylist())
        if targets != {"true"}:
            raise InputError(
                f"{own.workspace.path(own.run)}: the interactions explain the {', '.join(targets)} classes",
                f"Explain the true ones: {commands['attribute']} --set attribute.target=true --overwrite",
            )
        yield run, importance, pairs
    if len(missing) == len(runs):
        raise missing[0]
    for error in missing:
        console.print(f"left out: {error.message}. {error.remedy}", markup=False)


@dataclass(frozen=True)
class Ranking:
    """How well one method finds the true pairs of one kind, by one expert's scores.

    Attributes:
        sample_ids: N samples.
        values_NQ, chance_NQ: ``MEASURES`` of each, and what a random order has on average; NaN where none
            of the sample's measured pairs is a true one, or all are.
        positives, pairs: of all samples together.
    """

    sample_ids: list[str]
    values_NQ: np.ndarray
    chance_NQ: np.ndarray
    positives: int
    pairs: int


# By expert, kind of interaction and method.
Rankings = dict[tuple[str, str, str], Ranking]


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
    frame = pairs.select(
        ["sample_id", "expert", "u_modality", "u", "v_modality", "v", "sii", "redundancy_gap"]
    ).to_pandas()
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
    found: dict[tuple[str, str, str], list[tuple[str, np.ndarray, np.ndarray, int, int]]] = {}
    for (expert, sample_id), group in frame.groupby(["expert", "sample_id"], sort=False):
        u, v = (
            _of_pairs(group, side, lambda m, at: of_feature[sample_id, expert, m][at])  # noqa: B023
            for side in "uv"
        )
        seen = attention[sample_id][model.expert_names.index(expert)]
        at = [_of_pairs(group, side, lambda m, at: seen.start[m] + at).astype(int) for side in "uv"]  # noqa: B023
        methods = {
            "sii": group["sii"].to_numpy(),
            "-sii": -group["sii"].to_numpy(),
            "redundancy_gap": group["redundancy_gap"].to_numpy(),
            "product": u * v,
            "attention": (seen.weights_TT[at[0], at[1]] + seen.weights_TT[at[1], at[0]]) / 2,
            "random": np.random.default_rng(seed_of("planted", sample_id, expert)).random(len(group)),
        }
        for kind in chosen[sample_id]:
            true = is_true(store, sample_id, truth[sample_id].targets[kind], group)
            chance = chance_of(int(true.sum()), len(true))
            for method, values in methods.items():
                row = (sample_id, measures(values, true), chance, int(true.sum()), len(true))
                found.setdefault((expert, kind, method), []).append(row)
    return {
        key: Ranking(
            [row[0] for row in rows],
            np.stack([row[1] for row in rows]),
            np.stack([row[2] for row in rows]),
            sum(row[3] for row in rows),
            sum(row[4] for row in rows),
        )
        for key, rows in found.items()
    }


def shown_kinds(truth: Truth) -> list[str]:
    """The kinds with pairs that are on where both word and drawing are there."""
    targets = truth.targets
    return [k for k in WITH_PAIRS if targets[k]["on"] and targets[k]["words"] and targets[k]["boxes"]]


def is_true(store: FeatureStore, sample_id: str, target: dict[str, Any], pairs: pd.DataFrame) -> np.ndarray:
    """Which pairs join a true token and a true patch, bool [P].

    Args:
        store: the features the pairs are of.
        sample_id: of the pairs.
        target: its words and boxes.
        pairs: with columns u_modality, u, v_modality and v.
    """
    index = store.index_of(sample_id)
    true = {}
    for modality in store.modalities:
        if modality.kind == "text":
            true[modality.name] = tokens_of(store, index, modality.name, target["words"])
        else:
            true[modality.name] = patches_in(modality.grid, target["boxes"])
    kinds = {m.name: m.kind for m in store.modalities}
    u, v = (_of_pairs(pairs, side, lambda m, at: np.isin(at, list(true[m]))) for side in "uv")
    across = pairs["u_modality"].map(kinds).to_numpy() != pairs["v_modality"].map(kinds).to_numpy()
    return u.astype(bool) & v.astype(bool) & across


def _of_pairs(pairs: pd.DataFrame, side: str, value: Callable[[str, np.ndarray], np.ndarray]) -> np.ndarray:
    """``value(modality, positions)`` of one side of every pair, [P]."""
    modality, at = pairs[f"{side}_modality"].to_numpy(), pairs[side].to_numpy()
    found = np.empty(len(pairs))
    for name in np.unique(modality.astype(str)):
        found[modality == name] = value(name, at[modality == name])
    return found


def tokens_of(store: FeatureStore, index: int, modality: str, words: Sequence[str]) -> set[int]:
    """Positions of the words in a sample's text.

    Raises:
        InputError: a word is not one of its tokens.
    """
    tokens = [token.strip(" Ġ▁").lower() for token in store.tokens(index, modality) or []]
    missing = [word for word in words if word not in tokens]
    if missing:
        raise InputError(
            f"sample {store.sample_ids[index]}: {missing[0]!r} is no token of its {modality}",
            "Take an encoder whose tokens are whole words, and max_length long enough for the sentences.",
        )
    return {tokens.index(word) for word in words}


def patches_in(grid: tuple[int, int], boxes: Sequence[Sequence[float]]) -> set[int]:
    """Positions of the patches whose centre is in one of the boxes; patches go row by row.

    Args:
        grid: rows and columns.
        boxes: left, top, right, bottom, as shares of the picture.
    """
    rows, columns = grid
    return {
        row * columns + column
        for left, top, right, bottom in boxes
        for row in range(rows)
        for column in range(columns)
        if left < (column + 0.5) / columns < right and top < (row + 0.5) / rows < bottom
    }


@dataclass(frozen=True)
class Attention:
    """One expert's attention on a sample: mean over layers and heads, [T, T], and where modalities start."""

    weights_TT: np.ndarray
    start: dict[str, int]


@torch.no_grad()
def pair_attention(
    model: FusionModel, store: FeatureStore, sample_ids: Sequence[str]
) -> dict[str, list[Attention]]:
    """Of every sample and expert."""
    found = {}
    indices = np.array([store.index_of(i) for i in sample_ids])
    for batch in store.batches(indices, BATCH, model.position_TD.device, **model.reads):
        inputs = model.fusion_input(model.project(batch.features, batch.valid), batch.valid)
        _, layers = model.experts(
            inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT, return_attention=True
        )
        mean_ENTT = torch.stack([layer.mean(2) for layer in layers]).mean(0).cpu().numpy()
        sizes = [batch.valid[name].shape[1] for name in model.names]
        start = dict(zip(model.names, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        for n, sample_id in enumerate(batch.sample_ids):
            found[sample_id] = [Attention(of_expert[n], start) for of_expert in mean_ENTT]
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


def _pair_rows(rankings: Sequence[Rankings], seeds: Sequence[int]) -> Iterator[dict]:
    """Of the table: each seed, then their mean over the samples that all of them measured."""
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
    return Ranking(common, values, chance, rankings[0].positives, rankings[0].pairs)


def _measured(seed: int | None, key: tuple[str, str, str], ranking: Ranking) -> Iterator[dict]:
    there_N = ~np.isnan(ranking.values_NQ[:, 0])
    if not there_N.any():
        return
    values_NQ = ranking.values_NQ[there_N]
    counts_RN = resample_counts(len(values_NQ))
    means_RQ = counts_RN @ values_NQ / counts_RN.sum(1, keepdims=True)
    expert, kind, method = key
    for q, measure in enumerate(MEASURES):
        low, high = interval(means_RQ[:, q])
        yield {
            "seed": seed,
            "expert": expert,
            "interaction": kind,
            "method": method,
            "measure": measure,
            "value": float(means_RQ[0, q]),
            "low": low,
            "high": high,
            "chance": float(ranking.chance_NQ[there_N, q].mean()),
            "positives": ranking.positives,
            "pairs": ranking.pairs,
            "samples": len(values_NQ),
        }


@dataclass(frozen=True)
class Knowledge:
    """What each expert, and last the mixture, says of every class on the freely drawn scenes.

    Attributes:
        experts: names.
        truth_NC: which targets are on.
        logits: per name of what is masked ("" for nothing, else a modality), [E + 1, N, C].
        weights_NE: the gate's.
    """

    experts: list[str]
    truth_NC: np.ndarray
    logits: dict[str, np.ndarray]
    weights_NE: np.ndarray


@torch.no_grad()
def _knowledge(model: FusionModel, store: FeatureStore, truth: dict[str, Truth], split: str) -> Knowledge:
    indices = [i for i in store.indices(split) if not truth[store.sample_ids[i]].explained]
    if not indices:
        raise InputError(f"the split {split!r} has no freely drawn scene", "Take the split test.")
    logits: dict[str, list[np.ndarray]] = {name: [] for name in ("", *model.names)}
    weights = []
    for batch in store.batches(indices, BATCH, model.position_TD.device, **model.reads):
        for masked, parts in logits.items():
            hidden = {
                name: batch.valid[name] & ~batch.special[name] & (name == masked) for name in model.names
            }
            output = model(batch.features, batch.valid, hidden)
            both = torch.cat([output.expert_logits_EBC, output.logits_BC[None]])
            parts.append(both.float().cpu().numpy())
            if not masked:
                weights.append(output.expert_weights_BE.float().cpu().numpy())
    truth_NC = np.zeros((len(indices), len(store.classes)), bool)
    for n, i in enumerate(indices):
        truth_NC[n, store.labels[i]] = True
    found = {name: np.concatenate(parts, 1) for name, parts in logits.items()}
    return Knowledge([*model.expert_names, MIXTURE], truth_NC, found, np.concatenate(weights))


def resampled_class_scores(
    logits_N: np.ndarray, truth_N: np.ndarray, counts_RN: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and AUROC of a class in every resample, two arrays [R]; as scikit-learn defines them.

    NaN where a resample has no positive, or no negative.

    Args:
        logits_N: scores.
        truth_N: whether the class is on.
        counts_RN: how often each sample is in each resample.
    """
    order = np.argsort(-logits_N, kind="stable")
    falling = -logits_N[order]
    first, last = np.searchsorted(falling, falling, "left"), np.searchsorted(falling, falling, "right") - 1
    count_RN = counts_RN[:, order].astype(np.float64)
    on_RN = count_RN * truth_N[order]
    off_RN = count_RN - on_RN
    above_on, above_off = on_RN.cumsum(1), off_RN.cumsum(1)
    before_off = (above_off - off_RN)[:, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(above_on[:, last] / (above_on + above_off)[:, last])
        precision_R = (on_RN * share).sum(1) / on_RN.sum(1)
        wrong_R = (on_RN * (before_off + above_off[:, last]) / 2).sum(1)
        auroc_R = 1 - wrong_R / (on_RN.sum(1) * off_RN.sum(1))
    return precision_R, auroc_R


def _quantities(found: Knowledge, counts_RN: np.ndarray) -> dict[tuple[str, str, str], np.ndarray]:
    """By expert, kind and quantity: its value in every resample, [R]."""
    values = {}
    for c, kind in enumerate(KINDS):
        truth_N = found.truth_NC[:, c]
        for e, expert in enumerate(found.experts):
            precision, auroc = resampled_class_scores(found.logits[""][e, :, c], truth_N, counts_RN)
            values[expert, kind, "average_precision"] = precision
            values[expert, kind, "auroc"] = auroc
            for masked, logits in found.logits.items():
                if masked:
                    without, _ = resampled_class_scores(logits[e, :, c], truth_N, counts_RN)
                    values[expert, kind, f"drop:{masked}"] = precision - without
            on_RN = counts_RN * truth_N
            with np.errstate(invalid="ignore", divide="ignore"):
                if expert == MIXTURE:
                    values[expert, kind, "chance"] = on_RN.sum(1) / counts_RN.sum(1)
                else:
                    values[expert, kind, "weight"] = on_RN @ found.weights_NE[:, e] / on_RN.sum(1)
    return values


def _expert_rows(knowledge: Sequence[Knowledge], seeds: Sequence[int]) -> Iterator[dict]:
    samples = len(knowledge[0].truth_NC)
    counts_RN = resample_counts(samples)
    each = [_quantities(found, counts_RN) for found in knowledge]
    mean = {key: np.mean([found[key] for found in each], 0) for key in each[0]}
    for seed, found in zip([*seeds, None], [*each, mean], strict=True):
        for (expert, kind, quantity), values_R in found.items():
            there = not np.isnan(values_R[0])
            low, high = interval(values_R[~np.isnan(values_R)]) if there else (None, None)
            yield {
                "seed": seed,
                "expert": expert,
                "interaction": kind,
                "quantity": quantity,
                "value": float(values_R[0]) if there else None,
                "low": low,
                "high": high,
                "samples": samples,
            }


def _pair_table(rows: list[dict]) -> Table:
    """Average precision: a block per kind, a row per expert, a column per method."""
    table = plain_table(
        "planted pairs: average precision in per cent, mean over samples and seeds\n"
        "(product of attributions, attention between the two, random order; intervals in the table)"
    )
    table.add_column("pairs of")
    for label in METHODS.values():
        table.add_column(label, justify="right")
    table.add_column("chance", justify="right")
    found = {
        (row["interaction"], row["expert"], row["method"]): row
        for row in rows
        if row["seed"] is None and row["measure"] == "average_precision"
    }
    for kind in WITH_PAIRS:
        experts = list(dict.fromkeys(expert for k, expert, _ in found if k == kind))
        if experts:
            some = found[kind, experts[0], "sii"]
            table.add_row(f"[bold]{kind}[/], {some['samples']} samples")
        for expert in experts:
            values = [f"{100 * found[kind, expert, method]['value']:.1f}" for method in METHODS]
            table.add_row(f"  {expert}", *values, f"{100 * found[kind, expert, 'sii']['chance']:.1f}")
    return table


def _expert_table(rows: list[dict]) -> Table:
    """What each expert alone knows: a row per kind, a column per expert."""
    found = {
        (row["interaction"], row["expert"], row["quantity"]): row["value"]
        for row in rows
        if row["seed"] is None and row["value"] is not None
    }
    experts = list(dict.fromkeys(row["expert"] for row in rows))
    masked = list(dict.fromkeys(q.removeprefix("drop:") for _, _, q in found if q.startswith("drop:")))
    table = plain_table(
        "planted targets: average precision of each expert's own logits in per cent, and in\n"
        f"parentheses its fall without {', without '.join(masked)}"
    )
    for column in ("target", "on", *experts):
        table.add_column(column, justify="left" if column == "target" else "right")
    for kind in KINDS:
        if (kind, MIXTURE, "average_precision") not in found:
            table.add_row(kind, "never")
            continue
        cells = []
        for expert in experts:
            falls = " ".join(f"{100 * found[kind, expert, f'drop:{m}']:.0f}" for m in masked)
            cells.append(f"{100 * found[kind, expert, 'average_precision']:.0f} ({falls})")
        table.add_row(kind, f"{100 * found[kind, MIXTURE, 'chance']:.0f}", *cells)
    return table
