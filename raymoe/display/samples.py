"""What the sample explorer shows, as plain data: chosen samples, their pieces, heat maps and top pairs.

Knows nothing of HTML or matplotlib; the page and the sample figures are drawn from the same objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from raymoe.config import ReportConfig
from raymoe.display.inputs import Explained
from raymoe.display.pair_shares import MEMBERS, NEEDED, shares_of, verdict
from raymoe.display.thumbnails import LARGEST_BYTES, thumbnail
from raymoe.display.vocabulary import SCORES, SIGNED, default_score, score_columns
from raymoe.display.words import minor_positions
from raymoe.errors import ParentError
from raymoe.features.geometry import Geometry
from raymoe.features.text_pieces import TextPiece, words
from raymoe.task import Task

ENDS = [f"{side}{what}" for side in "uv" for what in ("", "_modality", "_text", "_place")]
REGIONS = ("region", "regions")
Means = dict[str, dict[str, float]]
CENTRED = "sii"  # the score that can be looked at without its sample's or its classes' mean
BLOCK = 256  # samples read at once, about a row group


@dataclass(frozen=True)
class Sequence:
    """One modality of a sample, as it is shown.

    Attributes:
        pieces: of a text, one per position; empty for a picture.
        minor: of a text, the positions of function words and punctuation.
        cells: of a picture, the sequence position of each grid cell, row by row; empty for a text.
        geometry: of a picture, what its cells show of it.
        picture: the whole of it, upright and small, as WebP; None where it is missing or can't be decoded.
        size: width and height of the picture that was encoded.
    """

    kind: str
    pieces: tuple[TextPiece, ...] = ()
    minor: frozenset[int] = frozenset()
    cells: tuple[int, ...] = ()
    geometry: Geometry | None = None
    picture: bytes | None = None
    size: tuple[int, int] = (1, 1)

    @property
    def rows(self) -> int:
        """Of a picture's grid."""
        return self.geometry.rows if self.geometry else 0

    @property
    def cols(self) -> int:
        """Of a picture's grid."""
        return self.geometry.cols if self.geometry else 0


@dataclass(frozen=True)
class End:
    """One side of a pair.

    Attributes:
        modality: which.
        index: the position of a text piece, or the cell of a patch.
        others: further ones, of a word of several pieces, or a region of several patches.
        name: what it is called, where it is such a word or region.
    """

    modality: str
    index: int
    others: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Pair:
    """A measured pair."""

    u: End
    v: End
    value: float
    stderr: float | None
    coalitions: int
    base: float
    span: float


@dataclass(frozen=True)
class Sample:
    """Everything the explorer shows of one sample.

    Attributes:
        chosen: ``strong`` (by its strongest pair), ``drawn`` (at random) or ``asked`` (by its id).
        importance: per expert and modality, one value in [0, 1] per piece or cell.
        pairs: per expert and score, the top pairs, strongest first; as many more as it takes to have the
            same number without function words and punctuation. Of ``CENTRED`` also as many of the largest
            and of the smallest, as one end has the strongest pairs once a mean is taken off.
        input_pairs: likewise, where words and regions were taken out of the input.
        verdicts: per expert, how much of what distinguishes the pairs is their own, in words.
        input_verdicts: likewise of ``input_pairs``.
        means: per expert, what its SII can be centred on (see ``_means``).
        input_means: likewise of ``input_pairs``.
        predicted: class indices.
        probabilities: per class; like ``weights`` empty for a split without predictions.
        weights: per expert, in the order of ``Inputs.experts``.
        strength: per probed expert the largest value - 2 standard errors of its score; None without any.
    """

    sample_id: str
    chosen: str
    sequences: dict[str, Sequence]
    importance: dict[str, dict[str, list[float]]]
    pairs: dict[str, dict[str, list[Pair]]]
    verdicts: dict[str, str]
    targets: dict[str, str]
    labels: list[int]
    predicted: list[int]
    probabilities: list[float]
    weights: list[float]
    strength: dict[str, float | None]
    input_pairs: dict[str, dict[str, list[Pair]]] = field(default_factory=dict)
    input_verdicts: dict[str, str] = field(default_factory=dict)
    means: Means = field(default_factory=dict)
    input_means: Means = field(default_factory=dict)


def explore(inputs: Explained, config: ReportConfig) -> list[Sample]:
    """The samples of the explorer, strongest first, then the ones drawn at random in table order.

    Those that were masked at the input come before the others: of them more is known.
    """
    count = len(inputs.samples) if config.samples == "all" else config.samples
    masked = inputs.input_interactions
    chosen = [] if masked is None else choose(masked, count, config.seed)
    known = {sample_id for sample_id, _ in chosen}
    others = choose(inputs.interactions, count, config.seed)
    others = [(sample_id, why) for sample_id, why in others if sample_id not in known]
    return describe(inputs, chosen + others[: count - len(chosen)], config.listed)


def describe(inputs: Explained, chosen: list[tuple[str, str]], listed: int) -> list[Sample]:
    """Samples as the explorer shows them.

    Args:
        inputs: the tables.
        chosen: which, and why each.
        listed: how many pairs of each expert and score.

    Returns:
        In the order of ``chosen``. A sample that was not probed has no pairs, and one that was not attributed
        no importance.
    """
    ids = [sample_id for sample_id, _ in chosen]
    wanted = pa.array(ids, pa.string())

    def of_samples(table: pa.Table) -> dict[str, pa.Table]:
        """The rows of each sample, found in one pass."""
        rows = table.filter(pc.is_in(table["sample_id"], wanted)).combine_chunks()
        names = np.array(rows["sample_id"].to_pylist(), dtype=object)
        places: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            places.setdefault(name, []).append(i)
        return {name: rows.take(found) for name, found in places.items()}

    interactions, importance = of_samples(inputs.interactions), of_samples(inputs.importance)
    masked = {} if inputs.input_interactions is None else of_samples(inputs.input_interactions)
    predictions = of_samples(inputs.predictions)
    labels_of = dict(
        zip(inputs.samples["sample_id"].to_pylist(), inputs.samples["labels"].to_pylist(), strict=True)
    )
    means = _means(inputs.interactions, labels_of)
    input_means = {} if inputs.input_interactions is None else _means(inputs.input_interactions, labels_of)
    sequences = {sample_id: (labels, found) for sample_id, labels, found in _sequences(inputs, ids)}
    found = []
    for sample_id, why in chosen:
        labels, shown = sequences[sample_id]
        # None for a split without predictions: importance can be asked for the training split too
        rows = predictions.get(sample_id)
        prediction = rows.to_pylist()[0] if rows else None
        predicted, probabilities = _answer(prediction["logits"], inputs.task) if prediction else ([], [])
        measured = interactions.get(sample_id, inputs.interactions.slice(0, 0))
        pairs, targets, verdicts = _pairs(measured, shown, listed)
        at_input, more, input_verdicts = _pairs(
            masked.get(sample_id, inputs.interactions.slice(0, 0)), shown, listed
        )
        found.append(
            Sample(
                sample_id=sample_id,
                chosen=why,
                sequences=shown,
                importance=_importance(importance.get(sample_id, inputs.importance.slice(0, 0)), shown),
                pairs=pairs,
                verdicts=verdicts,
                targets=more | targets,
                input_pairs=at_input,
                input_verdicts=input_verdicts,
                means=means.get(sample_id, {}),
                input_means=input_means.get(sample_id, {}),
                labels=labels,
                predicted=predicted,
                probabilities=probabilities,
                weights=prediction["expert_weights"] if prediction else [],
                strength={expert: _strength(measured, expert) for expert in pairs},
            )
        )
    return found


def _sequences(inputs: Explained, ids: list[str]) -> Iterator[tuple[str, list[int], dict[str, Sequence]]]:
    """Labels and sequences of samples; each block of the samples table is read once, pictures stay small."""
    wanted = set(ids)
    places = [i for i, name in enumerate(inputs.samples["sample_id"].to_pylist()) if name in wanted]
    share = LARGEST_BYTES // max(1, sum(kind == "image" for kind in inputs.modalities.values()))
    blocks: dict[int, list[int]] = {}
    for place in places:
        blocks.setdefault(place // BLOCK, []).append(place)
    for block in blocks.values():
        rows = inputs.source.rows(block[0], block[-1] + 1).take([place - block[0] for place in block])
        for i in range(len(rows)):
            sample = rows.slice(i, 1).to_pylist()[0]
            yield (
                sample["sample_id"],
                sample["labels"],
                {
                    name: _sequence(inputs, sample["sample_id"], name, kind, sample.get(name), share)
                    for name, kind in inputs.modalities.items()
                },
            )


def _strength(measured: pa.Table, expert: str) -> float | None:
    value, stderr = (
        measured.filter(pc.equal(measured["expert"], expert))[c].to_numpy()
        for c in score_columns(default_score(expert))
    )
    bound = (value - 2 * stderr)[np.isfinite(value) & np.isfinite(stderr)]
    return float(bound.max()) if len(bound) else None


def choose(interactions: pa.Table, count: int, seed: int) -> list[tuple[str, str]]:
    """Which samples to show, and why each: half for their strongest pair, half drawn at random.

    A sample's strength is the largest |value| - 2 standard errors among its pairs; the experts take turns,
    each by its own score, because their scores have different scales.
    """
    order = {sample_id: i for i, sample_id in enumerate(interactions["sample_id"].unique().to_pylist())}
    rankings = []
    for expert in interactions["expert"].unique().to_pylist():
        value, stderr = score_columns(default_score(expert))
        rows = interactions.filter(pc.equal(interactions["expert"], expert))
        bound = pc.subtract(pc.abs(rows[value]), pc.multiply(rows[stderr], 2.0))
        strengths = (
            pa.table({"sample_id": rows["sample_id"], "bound": pc.if_else(pc.is_nan(bound), None, bound)})
            .group_by("sample_id", use_threads=False)
            .aggregate([("bound", "max")])
            .to_pylist()
        )
        strengths.sort(key=lambda row: (-(row["bound_max"] or 0.0), order[row["sample_id"]]))
        rankings.append([row["sample_id"] for row in strengths])
    strong: list[str] = []
    for turn in zip(*rankings, strict=False):
        strong += [sample_id for sample_id in dict.fromkeys(turn) if sample_id not in strong]
    strong = strong[: math.ceil(count / 2)]
    rest = [sample_id for sample_id in order if sample_id not in strong]
    size = min(count - len(strong), len(rest))
    drawn = (
        sorted(np.random.default_rng(seed).choice(len(rest), size=size, replace=False)) if size > 0 else []
    )
    return [(sample_id, "strong") for sample_id in strong] + [(rest[i], "drawn") for i in drawn]


def _answer(logits: list[float], task: Task) -> tuple[list[int], list[float]]:
    """The classes that were predicted, and the probability of every class."""
    predicted_C = task.predicted(np.asarray(logits))
    probability_C = task.probabilities(torch.tensor(logits, dtype=torch.float64))
    return np.flatnonzero(predicted_C).tolist(), probability_C.tolist()


def _sequence(inputs: Explained, sample_id: str, name: str, kind: str, raw: Any, largest: int) -> Sequence:
    store = inputs.store
    i = store.index_of(sample_id)
    _, valid, special = store.sequence(i, name)
    special = np.asarray(special, dtype=bool)
    if kind == "text":
        length = int(np.flatnonzero(valid).max(initial=-1)) + 1  # without padding
        pieces = tuple((store.pieces(i, name) or [])[:length])
        return Sequence("text", pieces=pieces, minor=frozenset(minor_positions(pieces)))
    found = thumbnail(raw, largest)
    picture, size = found or (None, (1, 1))
    geometry = store.geometry(i, name) or inputs.measured(name, size if found else None)
    cells = tuple(np.flatnonzero(np.asarray(valid, dtype=bool) & ~special).tolist())
    if len(cells) != geometry.rows * geometry.cols:
        raise ParentError(
            f"sample {sample_id}, {name}: {len(cells)} patches are no {geometry.rows} x {geometry.cols} grid",
            "Its features are damaged, or its encoder is another one; encode again with --overwrite.",
        )
    return Sequence("image", cells=cells, geometry=geometry, picture=picture, size=size)


def _importance(scored: pa.Table, sequences: dict[str, Sequence]) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for row in scored.to_pylist():
        sequence, scores = sequences[row["modality"]], row["scores"]
        positions = sequence.cells if sequence.kind == "image" else range(len(sequence.pieces))
        values = [round(float(scores[p]), 4) for p in positions]
        # a second attribution method or target would be a second row: the first one is shown
        found.setdefault(row["expert"], {}).setdefault(row["modality"], values)
    return found


def _pairs(
    measured: pa.Table, sequences: dict[str, Sequence], count: int
) -> tuple[dict[str, dict[str, list[Pair]]], dict[str, str], dict[str, str]]:
    """By expert: its top pairs of each score, their target, and what is to be known before they are read."""
    found: dict[str, dict[str, list[Pair]]] = {}
    targets: dict[str, str] = {}
    verdicts: dict[str, str] = {}
    for expert in measured["expert"].unique().to_pylist():
        rows = measured.filter(pc.equal(measured["expert"], expert))
        targets[expert] = rows["target"][0].as_py()
        rows = rows.filter(pc.equal(rows["target"], targets[expert]))  # of several targets, the first
        found[expert] = {score: _top(rows, score, sequences, count) for score in SCORES}
        verdicts[expert] = _verdict(rows, sequences)
    return found, targets, verdicts


def _top(rows: pa.Table, score: str, sequences: dict[str, Sequence], count: int) -> list[Pair]:
    """The pairs of largest |value|, ties in table order; not those that have none of it."""
    value, stderr = score_columns(score)
    strength = np.nan_to_num(np.abs(rows[value].to_numpy()), nan=-1.0)
    order = np.argsort(-strength, kind="stable")
    order = order[strength[order] > (-1.0 if score in SIGNED else 0.0)]
    minor = _is_minor(rows, sequences)
    kept = _first(order, minor, count)
    if score == CENTRED:
        known = np.argsort(rows[value].to_numpy(), kind="stable")
        known = known[strength[known] >= 0]  # NaN is none
        kept = np.concatenate([kept, _first(known, minor, count), _first(known[::-1], minor, count)])
    order = order[np.isin(order, kept)]
    return [
        Pair(
            u=_end(sequences, row, "u"),
            v=_end(sequences, row, "v"),
            value=row[value],
            stderr=None if math.isnan(row[stderr]) else row[stderr],
            coalitions=row["n_coalitions"],
            base=row["base_mean"],
            span=row["span_mean"],
        )
        for row in rows.take(order).to_pylist()
    ]


def _first(order: np.ndarray, minor: np.ndarray, count: int) -> np.ndarray:
    """The first of an order, until ``count`` of them have no function word and no punctuation."""
    told = np.cumsum(~minor[order])
    return order[: max(count, int(np.searchsorted(told, count)) + 1)]


def _means(measured: pa.Table, labels: dict[str, list[int]]) -> dict[str, Means]:
    """What SII can be centred on, by sample and expert: ``sample``, the mean of the sample's own pairs, and
    ``class``, the mean of that over the measured samples of its class.

    Of a sample of several classes that is the mean over them; of none there is no ``class``.
    """
    rows = measured.filter(pc.is_finite(measured[CENTRED]))
    found = rows.group_by(["expert", "sample_id"], use_threads=False).aggregate([(CENTRED, "mean")])
    of_class: dict[tuple[str, int], list[float]] = {}
    for row in found.to_pylist():
        for label in labels[row["sample_id"]]:
            of_class.setdefault((row["expert"], label), []).append(row[f"{CENTRED}_mean"])
    means: dict[str, Means] = {}
    for row in found.to_pylist():
        expert, sample_id = row["expert"], row["sample_id"]
        centres = {"sample": row[f"{CENTRED}_mean"]}
        if classes := labels[sample_id]:
            centres["class"] = float(np.mean([np.mean(of_class[expert, label]) for label in classes]))
        means.setdefault(sample_id, {})[expert] = centres
    return means


def _is_minor(rows: pa.Table, sequences: dict[str, Sequence]) -> np.ndarray:
    """Which pairs have a function word or a mark of punctuation, bool [p]."""
    sides = [name for name in rows.column_names if name in ENDS]
    ends = [[_end(sequences, row, side) for side in "uv"] for row in rows.select(sides).to_pylist()]
    minor = [any(end.index in sequences[end.modality].minor for end in pair) for pair in ends]
    return np.array(minor, dtype=bool)


def _verdict(rows: pa.Table, sequences: dict[str, Sequence]) -> str:
    """Whose the differences between one expert's pairs are: a sentence for each two modalities."""
    said = []
    u_modality, v_modality = (rows[name].to_numpy() for name in ("u_modality", "v_modality"))
    for u, v in dict.fromkeys(zip(u_modality, v_modality, strict=True)):
        of_two = (u_modality == u) & (v_modality == v)
        columns = {name: rows[name].to_numpy()[of_two] for name in NEEDED}
        members = (_members(name, sequences, "u_text" in rows.column_names) for name in (u, v))
        said.append(verdict(shares_of(columns), *members))
    return " ".join(said)


def _members(modality: str, sequences: dict[str, Sequence], at_input: bool) -> tuple[str, str]:
    """What features of a modality are called: words, or title words where there are other texts."""
    kind = sequences[modality].kind
    one, many = REGIONS if at_input and kind == "image" else MEMBERS[kind]
    alone = [sequence.kind for sequence in sequences.values()].count(kind) == 1
    return (one, many) if alone else (f"{modality} {one}", f"{modality} {many}")


def _end(sequences: dict[str, Sequence], row: dict[str, Any], side: str) -> End:
    """One side of a row of either rule's table."""
    modality, number = row[f"{side}_modality"], row[side]
    sequence = sequences[modality]
    if f"{side}_text" not in row:
        return End(modality, sequence.cells.index(number) if sequence.cells else number)
    name = row[f"{side}_text"]
    if sequence.kind == "text":
        first, *others = words(sequence.pieces)[number]
        return End(modality, first, tuple(others), name)
    first, *others = _cells_of(sequence, row[f"{side}_place"])
    return End(modality, first, tuple(others), name)


def _cells_of(sequence: Sequence, box: list[float]) -> list[int]:
    """The cells whose middle is in a region of the picture, the one in its middle first."""
    geometry = sequence.geometry or Geometry(1, 1)
    edges = geometry.columns(), geometry.lines()
    x, y = ([(low + high) / 2 for low, high in pairwise(of_axis)] for of_axis in edges)
    left, top, right, bottom = box
    away = {
        r * geometry.cols + c: abs(x[c] - (left + right) / 2) + abs(y[r] - (top + bottom) / 2)
        for r in range(geometry.rows)
        for c in range(geometry.cols)
    }
    middle = min(away, key=lambda cell: away[cell])
    inside = [
        r * geometry.cols + c
        for r in range(geometry.rows)
        for c in range(geometry.cols)
        if left <= x[c] < right and top <= y[r] < bottom
    ]
    return [middle, *(cell for cell in inside if cell != middle)]
