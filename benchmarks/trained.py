"""A trained checkpoint's experts as games, and their values for every coalition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tabulated import Tabulated, read_games

from raymoe.config import load_preset
from raymoe.features.store import FeatureStore
from raymoe.interactions import ExpertGame
from raymoe.interactions.estimators.exact import all_values
from raymoe.models.checkpoint import load_checkpoint
from raymoe.models.target import target_weights
from raymoe.pipeline import run
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE
from raymoe.project.workspace import Workspace

SIZES = (18, 18, 19, 19, 20, 20)  # features of the universes, one sample each
EXPERTS = ("synergy", "redundancy")


def project_at(folder: str, seed: int = 0) -> Project:
    return Project(load_preset("demo", [f"train.seed={seed}"]), Workspace(folder), "demo")


class Samples:
    """The trained checkpoint of seed 0, its features and its importance."""

    def __init__(self, folder: str) -> None:
        self.project = project_at(folder)
        importance = IMPORTANCE.of(self.project)
        if not importance.exists():
            run(self.project, "attribute")
        self.store = FeatureStore.open(FEATURES.of(self.project))
        self.model, self.info = load_checkpoint(CHECKPOINT.of(self.project))
        self.scores: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for row in importance.read().to_pylist():
            key = row["sample_id"], row["expert"]
            self.scores.setdefault(key, {})[row["modality"]] = np.array(row["scores"])
        self.sample_ids = list(dict.fromkeys(sample for sample, _ in self.scores))
        torch.set_num_threads(1)

    def game(self, sample_id: str, expert: str, players: list[tuple[str, int]], **options) -> ExpertGame:
        index = self.store.index_of(sample_id)
        parts = {m.name: self.store.sequence(index, m.name) for m in self.store.modalities}
        features, _, special = ({n: torch.tensor(p[i]) for n, p in parts.items()} for i in range(3))
        target = target_weights(self.store.labels[index], len(self.info.classes))
        position = self.info.experts.index(expert)
        return ExpertGame.of_sample(self.model, position, features, special, players, target, **options)

    def ranked(self, sample_id: str, expert: str, modality: str) -> list[tuple[str, int]]:
        """The modality's candidate features, most important first."""
        _, valid, special = self.store.sequence(self.store.index_of(sample_id), modality)
        allowed = np.flatnonzero(valid & ~special)
        scores = self.scores[sample_id, expert][modality]
        return [(modality, int(t)) for t in allowed[np.argsort(-scores[allowed], kind="stable")]]


def universe(data: Samples, sample_id: str, expert: str, players: int) -> tuple[list, int]:
    """The most important words and patches, half of each; and how many words."""
    words = data.ranked(sample_id, expert, "text")[: players // 2]
    patches = data.ranked(sample_id, expert, "image")[: players - len(words)]
    return [*words, *patches], len(words)


def chosen_samples(data: Samples) -> list[str]:
    """Six test samples with enough words, spread over the split."""
    enough = [s for s in data.sample_ids if len(data.ranked(s, "synergy", "text")) >= max(SIZES) // 2]
    return enough[:: max(1, len(enough) // len(SIZES))][: len(SIZES)]


def tabulated(folder: str) -> list[Tabulated]:
    """Both experts on six samples of the demo's checkpoint; kept in the workspace."""
    data = Samples(folder)
    store = Path(folder, "demo", f"tabulated-{data.info.fingerprint[:12]}")  # of this checkpoint
    if not store.exists() or len(list(store.glob("*.npz"))) < len(SIZES) * len(EXPERTS):
        store.mkdir(parents=True, exist_ok=True)
        for number, (size, sample_id) in enumerate(zip(SIZES, chosen_samples(data), strict=True)):
            for expert in EXPERTS:
                players, words = universe(data, sample_id, expert, size)
                values = all_values(data.game(sample_id, expert, players), size)
                np.savez(store / f"{number}-{expert}.npz", values=values.astype(np.float32), words=words)
    return read_games(store)
