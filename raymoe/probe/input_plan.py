"""What there is to do when words and regions are taken out of the inputs: a job per sample, for all experts.

Pictures are encoded anew for every coalition, which costs more than all the rest. So the experts and the
mixture share their coalitions, and a job is cut only where ``probe.unit_evaluations`` asks for it: each piece
would encode the edges and the pilot again. Which words can be taken out is decided by their importance, the
mean over all experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from raymoe.attribution.importance import mean_over_experts
from raymoe.config import ModalityConfig, ProbeConfig
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import InputError, ParentError, RaymoeError
from raymoe.features.geometry import WHOLE
from raymoe.features.masked_picture import region_boxes
from raymoe.features.masked_words import Word, WordFinder
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import Candidates
from raymoe.interactions.pieces import Work, work_of
from raymoe.probe.plan import InputPlayer, Job, Plan, law_of
from raymoe.project.outputs import Output
from raymoe.project.provenance import Skipped
from raymoe.runtime.seeds import seed_of

Row = dict[str, Any]  # of the importance table
BLOCK = 256  # rows of the samples table read at once


def make_input_plan(
    store: FeatureStore,
    importance: pa.Table,
    samples: Output,
    modalities: Sequence[ModalityConfig],
    config: ProbeConfig,
    *,
    made_by: str,
) -> Plan:
    """Look at the texts of the samples that were attributed.

    Args:
        store: the features the importance was computed on.
        importance: rows per sample, expert and modality.
        samples: the samples table.
        modalities: of the data section, in the order of the store.
        config: the rule, the samples, the effort.
        made_by: the command that makes the importance table, for the error messages.

    Raises:
        InputError: a sample is asked for that was not attributed; where words stand in a text is not known;
            too many players for the estimator ``exact``.
        ParentError: the samples table is missing or does not have the texts and pictures.
    """
    scores = _scores(importance, config, made_by)
    texts = _raw_texts(samples, modalities, set(scores))
    finders = {m.name: WordFinder(m.encoder) for m in modalities if m.kind == "text"}
    jobs: list[Job] = []
    works: dict[Work, int] = {}
    kinds: list[int] = []
    skipped: list[Skipped] = []
    target = next((row["target"] for rows in scores.values() for row in rows), "true")
    for sample_id, rows in scores.items():
        index = store.index_of(sample_id)
        players: list[tuple[str, int]] = []
        shown: list[InputPlayer] = []
        for m in modalities:
            if m.kind == "text":
                length = len(store.sequence(index, m.name)[0])
                words = finders[m.name].words(texts[sample_id][m.name], length)
                mean = mean_over_experts([np.array(r["scores"]) for r in rows if r["modality"] == m.name])
                for number in chosen_words(words, mean, config.words):
                    word = words[number]
                    players.append((m.name, number))
                    shown.append(InputPlayer(word.text, (float(word.start), float(word.stop))))
            else:
                found = store.geometry(index, m.name)
                boxes = region_boxes(found.seen if found else WHOLE, *config.region_grid)
                for number, box in enumerate(boxes):
                    row, column = divmod(number, config.region_grid[1])
                    players.append((m.name, number))
                    shown.append(InputPlayer(f"region {row + 1},{column + 1}", box))
        candidates = _all_pairs(players)
        if not len(candidates.pairs):
            without = [m.name for m in modalities if not any(name == m.name for name, _ in players)]
            skipped.append(Skipped(sample_id=sample_id, reason=f"no words in {', '.join(without)}"))
            continue
        name = ", ".join(config.experts)
        seed = seed_of(config.seed, sample_id, "input")
        kinds.append(works.setdefault(_work(candidates, config, sample_id), len(works)))
        jobs.append(Job(len(jobs), sample_id, name, target, candidates, seed, tuple(shown)))
    whole = max((work.evaluations for work in works), default=1)
    if config.unit_evaluations is None:
        config = config.model_copy(update={"unit_evaluations": whole})
    return Plan(jobs, list(works), np.array(kinds, dtype=np.int32), skipped, config, together=True)


def chosen_words(words: Sequence[Word], importance: np.ndarray, most: int) -> list[int]:
    """Numbers of the most important words, in the order of the text: a word has the sum of its pieces'."""
    sums = np.array([importance[slice(*word.positions)].sum() for word in words])
    order: list[int] = np.argsort(-sums, kind="stable")[:most].tolist()
    return sorted(order)


def _all_pairs(players: list[tuple[str, int]]) -> Candidates:
    """Every pair of players of different modalities."""
    names = [name for name, _ in players]
    n = len(players)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if names[i] != names[j]]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Candidates(players, np.zeros(n, dtype=np.int64), found, np.zeros(len(found), dtype=np.int64))


def _work(candidates: Candidates, config: ProbeConfig, sample_id: str) -> Work:
    try:
        players = len(candidates.players)
        return work_of(candidates.pairs, players, config.estimator, config.coalitions, law_of(config))
    except InputError as error:
        raise InputError(
            f"sample {sample_id}: {error.message}",
            "Lower probe.words, take fewer probe.regions, or choose another probe.estimator.",
        ) from None


def _scores(importance: pa.Table, config: ProbeConfig, made_by: str) -> dict[str, list[Row]]:
    """The rows of the importance table by sample, those that are asked for."""
    found: dict[str, list[Row]] = {}
    for row in importance.to_pylist():
        found.setdefault(row["sample_id"], []).append(row)
    unknown = [sample_id for sample_id in config.samples if sample_id not in found]
    if unknown:
        raise InputError(
            f"probe.samples names {unknown[0]!r}, which has no importance",
            f"Name samples of the split that was attributed, or attribute theirs with: {made_by} "
            "--set attribute.split=NAME",
        )
    wanted = config.samples or tuple(found)
    return {sample_id: found[sample_id] for sample_id in wanted[: config.max_samples]}


def _raw_texts(
    samples: Output, modalities: Sequence[ModalityConfig], wanted: set[str]
) -> dict[str, Mapping[str, str]]:
    """The texts of some samples, by sample and modality; reads no picture into Python."""
    try:
        source = SamplesFile(samples)
    except RaymoeError as error:
        raise ParentError(
            f"masking at the input needs the texts and pictures themselves: {error.message}", error.remedy
        ) from None
    missing = [m.name for m in modalities if m.name not in source.columns]
    if missing:
        raise ParentError(
            f"masking at the input needs the texts and pictures themselves, and {samples.path} has no "
            f"{' and no '.join(missing)}",
            "Mask with zero vectors: --set probe.mask=zero.",
        )
    names = [m.name for m in modalities if m.kind == "text"]
    found: dict[str, Mapping[str, str]] = {}
    for start in range(0, len(source), BLOCK):
        rows = source.rows(start, min(start + BLOCK, len(source)), ["sample_id", *names]).to_pylist()
        found |= {
            row["sample_id"]: {name: row[name] or "" for name in names}
            for row in rows
            if row["sample_id"] in wanted
        }
    return found
