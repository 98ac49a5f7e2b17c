"""Do the scores find planted interactions? Three training seeds on two draws of the data, and what was tried.

    python benchmarks/planted.py [--workspace DIR] [--seeds 0,1,2] [--data-seeds 0,1]
        [--only experiment,places,masks,budget,settings]

``experiment``: trains and probes each seed with the preset, the mixture and ten scenes of each single target
beside it, then ``raymoe evaluate planted planted``; every seed's value of each figure of docs/planted.md, and
the ratio to the product of attributions. ``places``: what the strongest pairs are where they are not the true
ones. ``masks``: the same scenes with the mixture as the game,
and with a masked feature left out of the sequence or replaced by its modality's mean instead of zeroed.
``budget``: more and fewer coalitions. ``settings``: other temperatures and weights of the interaction
losses, each trained and probed in a folder of its own with one seed.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from machine import machine_line

from raymoe.config import load_preset
from raymoe.data.planted import CELLS, WITH_PAIRS
from raymoe.experiments.planted import EXPERTS_TABLE, PAIRS_TABLE
from raymoe.experiments.planted.measure import measure as planted
from raymoe.experiments.planted.pairs import measures
from raymoe.experiments.planted.truth import is_true, patches_of, read_truth, scenes_of, tokens_of
from raymoe.features.store import FeatureStore
from raymoe.interactions import ExpertGame, estimate
from raymoe.interactions.estimate import evaluations_per_coalition
from raymoe.interactions.games.sequence import MaskedSequence
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import load_checkpoint
from raymoe.models.target import target_weights
from raymoe.pipeline import run
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES, INTERACTIONS, METRICS
from raymoe.project.interaction_tables import read_interactions
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console

SECTIONS = ("experiment", "places", "masks", "budget", "settings")
METHODS = (
    "sii",
    "pair_specific",
    "-sii",
    "redundancy",
    "antagonism",
    "redundancy_gap",
    "product",
    "attention",
    "random",
)
NAMED = {"synergistic": ("synergy", "sii"), "redundant": ("redundancy", "redundancy")}
TRIED = (
    {"train.interaction_loss_weight": 0.0},
    {"train.interaction_loss_weight": 0.5},
    {"model.temperature_rw": 2.0},
    {"train.expert_task_weight": 0.0, "model.temperature_rw": 2.0, "train.interaction_loss_weight": 0.5},
    {"data.text.encoder.layer": -1},
)
SCENES = 10  # where games are played here
ASKED = ("data.alone=10", "probe.max_samples=80", "probe.experts=all,mixture")  # beside the preset
# The best average precision that a sum of a word's and a drawing's effect has on the antagonistic target, and
# what any function has: a model in between has learned something of the interaction.
BEST_SUM, BEST = 0.780, 0.921
FIGURES = (  # kind, method, experts; None for each
    ("redundant", "redundancy", ("redundancy", "mixture")),
    ("redundant", "product", ("redundancy", "mixture")),
    ("synergistic", "sii", ("synergy", "mixture")),
    ("synergistic", "pair_specific", ("synergy", "mixture")),
    ("synergistic", "product", ("synergy", "mixture")),
    *(("additive", score, ("redundancy", "mixture")) for score in ("sii", "redundancy", "antagonism")),
    *(("antagonistic", score, None) for score in ("antagonism", "redundancy")),
)


def main() -> None:
    """Print one block per section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", default=None, help="default: a new temporary folder")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument(
        "--data-seeds", default="0,1", help="comma-separated; the sections after the first take one"
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated sections")
    parser.add_argument("--set", action="append", default=[], help="a setting of the preset, repeatable")
    arguments = parser.parse_args()
    folder = arguments.workspace or tempfile.mkdtemp(prefix="raymoe-benchmark-")
    chosen = arguments.only.split(",")
    unknown = set(chosen) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    draws = [int(seed) for seed in arguments.data_seeds.split(",")]
    asked = [*ASKED, *arguments.set, f"data.seed={draws[0]}"]
    console.quiet = True  # the stages' own progress; only figures are printed here
    print(machine_line())
    print(f"workspace {folder}")
    for name in SECTIONS:
        if name in chosen:
            print(f"\n== {name}", flush=True)
            if name in ("experiment", "places"):
                globals()[f"measure_{name}"](folder, seeds, [*ASKED, *arguments.set], draws)
            else:
                globals()[f"measure_{name}"](folder, seeds, asked)


def project_at(folder: str | Path, seed: int, settings: list[str]) -> Project:
    """The preset with a seed."""
    settings = [*settings, f"train.seed={seed}"]
    return Project(load_preset("planted", settings), Workspace(folder), "planted", tuple(settings))


def measure_experiment(folder: str | Path, seeds: list[int], settings: list[str], draws: list[int]) -> None:
    """The figures of the docs, from the tables of the experiment; each draw of the data has a workspace."""
    found = []
    for number, draw in enumerate(draws):
        print(f"-- data.seed={draw}", flush=True)
        found.append(measure_draw(folder_of(folder, number, draw), seeds, [*settings, f"data.seed={draw}"]))
    for scenes in ("all", "alone"):
        print(
            f"scenes: {scenes}; average precision in per cent, mean over draws and seeds (each, draw by draw)"
        )
        for kind, method, experts in FIGURES:
            for expert in experts or found[0][1]["expert"].unique():
                values = [each_seed(pairs, scenes, kind, expert, method) for pairs, _ in found]
                if any(len(v) for v in values):
                    each = "; ".join(", ".join(f"{100 * x:.0f}" for x in v) for v in values)
                    mean = 100 * np.mean(np.concatenate(values))
                    print(f"  {kind:12s} {method:14s} {expert:13s} {mean:5.1f} ({each})")
    print(f"the antagonistic target, average precision (a sum has at most {BEST_SUM}, anything {BEST})")
    for expert in found[0][1]["expert"].unique():
        values = [own_precision(experts, expert, "antagonistic") for _, experts in found]
        print(f"  {expert:13s} " + "; ".join(", ".join(f"{x:.3f}" for x in v) for v in values))


def folder_of(folder: str | Path, number: int, draw: int) -> str | Path:
    """The workspace of a draw of the data: the first has the folder itself, so that others find it there."""
    return Path(folder, f"data-{draw}") if number else folder


def measure_places(folder: str | Path, seeds: list[int], settings: list[str], draws: list[int]) -> None:
    """What the four strongest pairs of a scene are; and how well words and whole drawings are matched."""
    print("of as many strongest pairs as there are true ones, per cent; all targets on, mean over scenes")
    names = (
        "true",
        "its word, a patch beside",
        "its word, elsewhere",
        "its drawing, another word",
        "neither",
    )
    for number, draw in enumerate(draws):
        for seed in seeds:
            project = project_at(folder_of(folder, number, draw), seed, [*settings, f"data.seed={draw}"])
            store = FeatureStore.open(FEATURES.of(project))
            truth, _ = read_truth(project, store)
            table = read_interactions(INTERACTIONS.of(project)).to_pandas()
            for kind, score in (("synergistic", "sii"), ("redundant", "redundancy")):
                for expert in (NAMED[kind][0], "mixture"):
                    rows = []
                    for sample_id, pairs in table[table["expert"] == expert].groupby("sample_id"):
                        if scenes_of(truth[sample_id]) == "all":
                            rows.append(
                                places(store, sample_id, truth[sample_id].targets[kind], pairs, score)
                            )
                    if not rows:  # this expert was not probed
                        continue
                    *shares, whole = 100 * np.mean(rows, 0)
                    said = ", ".join(f"{name} {x:.0f}" for name, x in zip(names, shares, strict=True))
                    print(f"  data {draw} seed {seed} {kind:12s} {score} of {expert}: {said}; ", end="")
                    print(f"average precision of word and cell {whole:.1f}", flush=True)


def places(
    store: FeatureStore, sample_id: str, target: dict, pairs: pd.DataFrame, score: str
) -> tuple[float, ...]:
    """Shares of the strongest pairs by what they are; last the average precision by word and cell.

    A cell's score with a word is the sum over its patches.
    """
    index = store.index_of(sample_id)
    true_words = tokens_of(store, index, "text", target["words"])
    patches = patches_of(store, index, "image", target["boxes"])
    columns = store.geometry(index, "image").cols
    beside = {
        (row + down) * columns + column + right
        for row, column in (divmod(patch, columns) for patch in patches)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if 0 <= column + right < columns
    } - patches
    word, patch = pairs["u"].isin(true_words).to_numpy(), pairs["v"].isin(patches).to_numpy()
    near = pairs["v"].isin(beside).to_numpy()
    values = pairs[score].to_numpy()
    top = np.argsort(-values, kind="stable")[: int((word & patch).sum())]
    kinds = (word & patch, word & near, word & ~patch & ~near, ~word & patch, ~word & ~patch)
    row, column = np.divmod(pairs["v"].to_numpy(), columns)
    inside = (row < 2 * CELLS) & (column < 2 * CELLS)
    cell = row // 2 * CELLS + column // 2
    of_cells = pd.DataFrame({"u": pairs["u"], "cell": cell, "value": values, "true": word & patch})[inside]
    of_cells = of_cells.groupby(["u", "cell"]).agg({"value": "sum", "true": "max"})
    whole = measures(of_cells["value"].to_numpy(), of_cells["true"].to_numpy())[0]
    return (*(float(kind[top].mean()) for kind in kinds), float(whole))


def each_seed(pairs: pd.DataFrame, scenes: str, kind: str, expert: str, method: str) -> np.ndarray:
    """Average precision of every seed, in order."""
    wanted = {"scenes": scenes, "interaction": kind, "expert": expert, "method": method}
    rows = pairs[pairs["seed"].notna() & (pairs["measure"] == "average_precision")]
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("seed")["value"].to_numpy()


def own_precision(experts: pd.DataFrame, expert: str, kind: str) -> np.ndarray:
    """How well an expert tells a target, of every seed in order."""
    rows = experts[experts["seed"].notna() & (experts["quantity"] == "average_precision")]
    rows = rows[(rows["expert"] == expert) & (rows["interaction"] == kind)]
    return rows.sort_values("seed")["value"].to_numpy()


def measure_draw(
    folder: str | Path, seeds: list[int], settings: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train, probe and evaluate every seed on one draw of the data; the tables of pairs and of experts."""
    settings = [*settings, f"sweep.seeds={seeds}"]
    for seed in seeds:
        project = project_at(folder, seed, settings)
        done = run(project, "probe")
        took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in done.seconds.items())
        rows = METRICS.of(project).read().to_pylist()
        found = {r["metric"]: r["value"] for r in rows if (r["model"], r["split"]) == ("fl-i2moe", "test")}
        f1 = ", ".join(f"{k.removeprefix('f1:')} {v:.2f}" for k, v in found.items() if k.startswith("f1:"))
        print(f"seed {seed}: macro-F1 {found['macro_f1']:.3f} ({f1}); {took}", flush=True)
    planted(project_at(folder, seeds[0], settings))
    every, experts = (table.of(project).read().to_pandas() for table in (PAIRS_TABLE, EXPERTS_TABLE))
    pairs = every[every["scenes"] == "all"]
    keys = ["measure", "interaction", "expert"]
    for measure in ("average_precision", "auroc", "precision_at_k"):
        print(f"{measure}, per cent: mean over scenes and seeds (deviation over seeds)")
        print(f"  {'':28s}" + "".join(f"{m:>15s}" for m in METHODS) + f"{'chance':>9s}")
        for (_, kind, expert), part in pairs[pairs["measure"] == measure].groupby(keys, sort=False):
            print(f"  {kind:13s} {expert:14s}" + "".join(f"{cell(part, m):>15s}" for m in METHODS), end="")
            print(f"{100 * part['chance'].iloc[0]:9.1f}")
    for kind, (expert, method) in NAMED.items():
        own = pairs[(pairs["interaction"] == kind) & (pairs["expert"] == expert)]
        own = own[(own["measure"] == "average_precision") & own["seed"].notna()]
        value, product = (own[own["method"] == m]["value"].to_numpy() for m in (method, "product"))
        print(
            f"{kind}: {method} of the {expert} expert has {np.mean(value) / np.mean(product):.2f} times the "
            f"average precision of the product (seeds {', '.join(f'{r:.2f}' for r in value / product)})"
        )
    mean = experts[experts["seed"].isna()]
    shown = mean.pivot_table(index=["quantity", "interaction"], columns="expert", values="value", sort=False)
    print("what each expert alone knows of each target, per cent, mean over seeds")
    print((100 * shown).round(1).to_string(na_rep=""))
    return every, experts


def cell(part: pd.DataFrame, method: str) -> str:
    """Mean and deviation over seeds."""
    each = part[(part["method"] == method) & part["seed"].notna()]["value"]
    mean = part[(part["method"] == method) & part["seed"].isna()]["value"].iloc[0]
    return f"{100 * mean:.1f} ({100 * each.std(ddof=1) if len(each) > 1 else 0:.1f})"


def measure_masks(folder: str | Path, seeds: list[int], settings: list[str]) -> None:
    """Average precision with other games: who answers, and what a masked feature is."""
    scenes = Scenes(folder, seeds[0], settings)
    for kind in ("synergistic", "redundant"):
        expert = NAMED[kind][0]
        mean = {"zeroed": None, "left out": leave_out, "modality mean": put_mean}
        for name, rule in mean.items():
            scenes.report(kind, f"{expert}, masked: {name}", scenes.values(kind, expert, rule))
        scenes.report(kind, "mixture, masked: zeroed", scenes.values(kind, "mixture"))


def measure_budget(folder: str | Path, seeds: list[int], settings: list[str]) -> None:
    """Average precision by coalitions, and of Banzhaf contexts that are nearly full or nearly empty."""
    scenes = Scenes(folder, seeds[0], settings)
    for kind in ("synergistic", "redundant"):
        expert = NAMED[kind][0]
        for coalitions in (4, 16, 64):
            found = scenes.values(kind, expert, coalitions=coalitions)
            scenes.report(kind, f"{expert}, {coalitions} coalitions", found)
        for inclusion in (0.1, 0.9):
            found = scenes.values(kind, expert, index="banzhaf", inclusion=inclusion)
            scenes.report(kind, f"{expert}, contexts of {inclusion:.0%} of the features", found)


class Scenes:
    """The first scenes of each kind, and the model of one seed."""

    def __init__(self, folder: str | Path, seed: int, settings: list[str]) -> None:
        project = project_at(folder, seed, settings)
        run(project, "train")
        self.store = FeatureStore.open(FEATURES.of(project))
        self.truth, _ = read_truth(project, self.store)
        self.model, self.info = load_checkpoint(CHECKPOINT.of(project))
        torch.set_num_threads(1)

    def values(
        self, kind: str, expert: str, rule: Callable | None = None, *, coalitions: int = 16, **options
    ) -> Iterator[list[float]]:
        """Average precision of SII, -SII and the redundancy gap, a scene at a time."""
        ids = [i for i in self.store.sample_ids if self.truth[i].explained][:SCENES]
        for sample_id in ids:
            index = self.store.index_of(sample_id)
            parts = {m.name: self.store.sequence(index, m.name) for m in self.store.modalities}
            features, valid, special = ({n: torch.tensor(p[i]) for n, p in parts.items()} for i in range(3))
            allowed = self.store.candidates(index)
            players = [(name, int(at)) for name, mask in allowed.items() for at in np.flatnonzero(mask)]
            words = sum(name == players[0][0] for name, _ in players)
            pairs = np.array([(u, v) for u in range(words) for v in range(words, len(players))])
            target = target_weights(self.store.labels[index], len(self.info.classes))
            if rule is None:
                game = ExpertGame.of_sample(
                    self.model, expert, features, special, players, target, valid=valid
                )
            else:
                sequence = MaskedSequence.of_sample(self.model, features, special, players, valid)
                game = MaskedGame(self.model, self.model.expert_names.index(expert), sequence, target, rule)
            budget = 1 + coalitions * evaluations_per_coalition(pairs, "shared")
            found = estimate(game, pairs, budget=budget, num_players=len(players), **options)
            sides = [[players[i] for i in column] for column in pairs.T]
            frame = pd.DataFrame(
                {
                    f"{side}{suffix}": [player[i] for player in players_of]
                    for side, players_of in zip("uv", sides, strict=True)
                    for i, suffix in enumerate(("_modality", ""))
                }
            )
            true = is_true(self.store, sample_id, self.truth[sample_id].targets[kind], frame)
            scores = (found.sii, -found.sii, found.redundancy, found.redundancy_gap)
            yield [measures(score, true)[0] for score in scores]

    def report(self, kind: str, name: str, values: Iterator) -> None:
        """A line of means."""
        found = 100 * np.array(list(values))
        error = found.std(0, ddof=1) / np.sqrt(len(found))
        each = zip(("sii", "-sii", "redundancy", "redundancy_gap"), found.mean(0), error, strict=True)
        cells = [f"{label} {mean:.1f} ± {spread:.1f}" for label, mean, spread in each]
        print(f"  {kind:12s} {name:40s} {', '.join(cells)}", flush=True)


class MaskedGame:
    """An expert whose masked features are not zeroed but treated by another rule; every pass is whole."""

    def __init__(
        self, model: FusionModel, expert: int, sequence: MaskedSequence, target: torch.Tensor, rule: Callable
    ) -> None:
        self.expert, self.rule = model.experts.select(expert), rule
        self.sequence, self.target = sequence, target
        self.num_players = len(sequence.players)

    @torch.no_grad()
    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        values = []
        for start in range(0, len(coalitions), 256):
            kept_mT = torch.ones(len(coalitions[start : start + 256]), self.sequence.length, dtype=torch.bool)
            kept_mT[:, self.sequence.players] = torch.from_numpy(coalitions[start : start + 256])
            logits_mC = self.expert(*self.rule(self.sequence, kept_mT))[0]
            values.append((logits_mC @ self.target).double().numpy())
        return np.concatenate(values)


def leave_out(sequence: MaskedSequence, kept_mT: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A masked feature is not in the sequence: no key of attention, no part of the mean."""
    tokens_mTD = sequence.tokens_TD.expand(len(kept_mT), -1, -1)
    bias_mT = torch.zeros(kept_mT.shape).masked_fill(~kept_mT, -torch.inf)
    bias_mT[~kept_mT.any(1)] = 0.0  # nothing to attend to; its pool is empty
    return tokens_mTD, bias_mT, pool_of(sequence, kept_mT)


def put_mean(sequence: MaskedSequence, kept_mT: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A masked feature is the mean of its modality's features of this sample, at its own position."""
    code_TD = sequence.tokens_TD - sequence.embeddings_TD
    modality_T = torch.from_numpy(sequence.modality_T)
    mean_TD = torch.empty_like(code_TD)
    for m in range(sequence.num_modalities):
        mean_TD[modality_T == m] = sequence.embeddings_TD[modality_T == m].mean(0)
    tokens_mTD = torch.where(kept_mT[..., None], sequence.tokens_TD, mean_TD + code_TD)
    everything = torch.ones_like(kept_mT)
    return tokens_mTD, torch.zeros(kept_mT.shape), pool_of(sequence, everything)


def pool_of(sequence: MaskedSequence, kept_mT: torch.Tensor) -> torch.Tensor:
    """Weights of the mean over what is kept of each modality, [m, M, T]."""
    modality_T = torch.from_numpy(sequence.modality_T)
    own_MT = torch.stack([modality_T == m for m in range(sequence.num_modalities)])
    kept_mMT = (own_MT & kept_mT[:, None]).float()
    return kept_mMT / kept_mMT.sum(-1, keepdim=True).clamp(min=1)


def measure_settings(folder: str | Path, seeds: list[int], settings: list[str]) -> None:
    """One seed of each setting, trained and probed anew; figures of the two named experts, and the best."""
    for tried in TRIED:
        changed = [f"{key}={value}" for key, value in tried.items()]
        own = Path(folder, "tried-" + "-".join(changed).replace(".", "_"))
        if not any(key.startswith("data.") for key in tried) and not own.exists():
            for name in ("samples.parquet", "features"):
                source, place = Path(folder, "planted", name), own / "planted" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
        project = project_at(own, seeds[0], [*settings, *changed, f"sweep.seeds={seeds[:1]}"])
        run(project, "probe")
        planted(project)
        pairs = PAIRS_TABLE.of(project).read().to_pandas()
        pairs = pairs[pairs["scenes"] == "all"]
        pairs = pairs[pairs["seed"].isna() & (pairs["measure"] == "average_precision")]
        value = pairs.set_index(["interaction", "expert", "method"])["value"] * 100
        rows = METRICS.of(project).read().to_pylist()
        f1 = {(r["model"], r["metric"]): r["value"] for r in rows if r["split"] == "test"}
        print(f"  {', '.join(changed)}: macro-F1 {f1['fl-i2moe', 'macro_f1']:.3f}")
        for kind in WITH_PAIRS:
            for expert, part in value[kind].groupby(level=0, sort=False):
                shown = ", ".join(f"{method} {part[expert, method]:.1f}" for method in METHODS[:-1])
                print(f"    {kind:13s} {expert:14s} {shown}", flush=True)


if __name__ == "__main__":
    main()
