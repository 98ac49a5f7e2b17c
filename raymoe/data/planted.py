"""Scenes whose interactions are known: the embedded drawings on a grid, beside sentences of known words.

A sentence has six nouns, a picture six drawings in nine cells: evidence of the targets (``KINDS``), and
fillers that mean nothing, drawn independently of everything:

* ``synergistic``: one of two words and one of two drawings is there, each at even odds; on where the word
  names the drawing. Word and drawing alone say nothing of it.
* ``unique_text`` and ``unique_image``: on where that word, and where that drawing, is the first of the two.
  (Without them no gradient leads to the two words and drawings, and the synergistic target isn't learned.)
* ``redundant``: on where its word or its drawing is there; most often both are.
* ``additive``: word and drawing each add the same to the log odds (5, 50, 95 per cent).
* ``antagonistic``: either raises the odds to 95 per cent, both together only to 50.

Of the test split the first scenes are made to be explained: every target with pairs of a word and a drawing
is on, with all of its evidence shown, so that several words and drawings matter, each with one of the
other side. After them, where they are asked for (``data.alone``), come scenes in which a single target with
pairs is on: the easier question, since knowing which word and which drawing matter is knowing the pair. The
other scenes are drawn as those of training. Where each word and drawing of a target is goes into the column
``planted``.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from raymoe.config import PlantedData
from raymoe.data.pictures import decode
from raymoe.data.raw import RawTable, read_raw
from raymoe.data.readers.reader import ROWS
from raymoe.errors import InputError

# The drawing of each word. Every word is one token of BERT's vocabulary.
DRAWINGS = {
    "piano": "recreation/music/piano_geraint_luff_01",
    "butterfly": "animals/bugs/butterfly_jonathan_dietr_01",
    "tiger": "animals/mammals/big_cats/tiger_graig_ryan_smith_-_01",
    "hammer": "tools/hammer_nicu_buculei_01",
    "strawberry": "food/fruit/strawberry_01",
    "house": "buildings/homes/house_christoph_brill_01",
    "pumpkin": "food/pumpkin_erik_postma_01",
    "leaf": "plants/leaf_01",
    "sword": "tools/weapons/sword_01",
    "key": "tools/key_jordan_wiens_01",
    "bread": "food/breads_and_carbs/bread_01",
    "bottle": "tools/bottle_jean_victor_balin_",
    "heart": "recreation/holiday/valentines/heart_jon_phillips_01",
    "pencil": "education/pencil_benji_park_01",
    "cake": "food/desserts/cake_etienne_bersac_r",
    "car": "transportation/car_jamin_ellis_",
    "tree": "plants/trees/evergreen/tree_02",
    "robot": "recreation/toys/robot_ganson",
    "mushroom": "plants/mushroom_benji_park_",
    "bear": "animals/mammals/bears/bear_peterm_01",
}
# The words and drawings that tell of each target; of two, one is in every scene.
MATCHED = ("hammer", "strawberry")
WORDS = {
    "unique_text": MATCHED,
    "unique_image": (),
    "redundant": ("tiger",),
    "synergistic": MATCHED,
    "additive": ("house",),
    "antagonistic": ("pumpkin",),
}
PICTURES = {**WORDS, "unique_text": (), "unique_image": MATCHED}
KINDS = tuple(WORDS)
WITH_PAIRS = tuple(kind for kind in KINDS if WORDS[kind] and PICTURES[kind])
_OWN = {word for words in (*WORDS.values(), *PICTURES.values()) for word in words}
FILLERS = tuple(word for word in DRAWINGS if word not in _OWN)

# Pixels; cells a side, each of 2 x 2 of the 7 x 7 patches, the last row and column empty.
SIDE, CELLS = 224, 3
CELL, MARGIN = 64, 2  # pixels
SENTENCE = "{} {} {} and {} {} {}"
SHOWN_DRAWINGS = 6  # of a scene, fillers included
EVIDENCE = 0.4  # how often the word, and how often the drawing, of a control is there
EITHER = (0.2, 0.1, 0.1)  # redundant: both, the word alone, the drawing alone
ADDITIVE = (0.05, 0.5, 0.95)  # probability by how many of the two are there: log odds in equal steps
ANTAGONISTIC = (0.05, 0.95, 0.5)
VERSION = 1  # of what is drawn for a seed

# The word and the drawing of a slot that are there, or None, and whether the target is on.
Slot = tuple[str | None, str | None, bool]


@dataclass(frozen=True)
class Scene:
    """What a sample shows.

    Attributes:
        slots: of each target.
        words: six nouns, in the order of the sentence.
        cells: nine drawings, row by row; None where a cell is empty.
        explained: whether the scene was made to be explained.
    """

    slots: dict[str, Slot]
    words: tuple[str, ...]
    cells: tuple[str | None, ...]
    explained: bool

    @property
    def text(self) -> str:
        """The sentence."""
        return SENTENCE.format(*self.words)

    @property
    def labels(self) -> list[str]:
        """The targets that are on."""
        return [kind for kind, (_, _, on) in self.slots.items() if on]

    def truth(self) -> dict[str, Any]:
        """What is where: the column ``planted``, as ``read_truth`` of the evaluation reads it.

        Boxes are left, top, right and bottom as shares of the picture's width and height.
        """
        found = {}
        for kind, (word, drawing, on) in self.slots.items():
            boxes = [] if drawing is None else [box(self.cells.index(drawing))]
            found[kind] = {"on": on, "words": [] if word is None else [word], "boxes": boxes}
        return {"explained": self.explained, "targets": found}


def box(cell: int) -> list[float]:
    """A cell's left, top, right and bottom, as shares of the picture."""
    row, column = divmod(cell, CELLS)
    left, top = column * CELL, row * CELL
    return [x / SIDE for x in (left, top, left + CELL, top + CELL)]


def draw_scenes(scenes: int, seed: int, alone: int = 0) -> Iterator[tuple[str, Scene]]:
    """Split and scene: ``scenes`` for training, an eighth as many for validation, a fifth for test.

    Before those the test split has a twenty-fifth as many that are made to be explained, and those of a
    single target, one of each in turn.

    Args:
        scenes: of the training split.
        seed: each split has draws of its own.
        alone: scenes of each single target; they have draws of their own, so that no other scene changes.
    """
    sizes = {"train": scenes, "val": max(1, scenes // 8), "test": max(1, scenes // 5)}
    for number, (split, size) in enumerate(sizes.items()):
        rng = np.random.default_rng([VERSION, seed, number])
        if split == "test":
            for _ in range(max(1, scenes // 25)):
                yield split, _explained(rng)
            own = np.random.default_rng([VERSION, seed, len(sizes)])
            for turn in range(alone * len(WITH_PAIRS)):
                yield split, _alone(WITH_PAIRS[turn % len(WITH_PAIRS)], own)
        for _ in range(size):
            yield split, _scene({k: slot for rule in _RULES for k, slot in rule(rng).items()}, rng)


def _explained(rng: np.random.Generator) -> Scene:
    """All targets with pairs are on with all their evidence: the same law, under that condition."""
    slots: dict[str, Slot] = {}
    for rule in _RULES:
        found = rule(rng)
        while not all(all(slot) for kind, slot in found.items() if kind in WITH_PAIRS):
            found = rule(rng)
        slots |= found
    return _scene(slots, rng, explained=True)


def _alone(kind: str, rng: np.random.Generator) -> Scene:
    """Of the targets with pairs one is on, with all its evidence: the same law, under that condition."""

    def suits(name: str, slot: Slot) -> bool:
        return all(slot) if name == kind else not slot[2]

    slots: dict[str, Slot] = {}
    for rule in _RULES:
        found = rule(rng)
        while not all(suits(name, slot) for name, slot in found.items() if name in WITH_PAIRS):
            found = rule(rng)
        slots |= found
    return _scene(slots, rng, explained=True)


def _scene(slots: dict[str, Slot], rng: np.random.Generator, *, explained: bool = False) -> Scene:
    slots = {kind: slots[kind] for kind in KINDS}
    own_words = list(dict.fromkeys(word for word, _, _ in slots.values() if word))
    own_drawings = list(dict.fromkeys(drawing for _, drawing, _ in slots.values() if drawing))
    size = SENTENCE.count("{}")
    words = own_words + [str(w) for w in rng.permutation(FILLERS)[: size - len(own_words)]]
    fillers = rng.permutation(FILLERS)[: SHOWN_DRAWINGS - len(own_drawings)]
    cells: list[str | None] = [*own_drawings, *(str(f) for f in fillers)]
    cells += [None] * (CELLS**2 - len(cells))
    return Scene(
        slots,
        tuple(words[i] for i in rng.permutation(size)),
        tuple(cells[i] for i in rng.permutation(CELLS**2)),
        explained,
    )


def _match(rng: np.random.Generator) -> dict[str, Slot]:
    word, drawing = (MATCHED[i] for i in rng.integers(2, size=2))
    return {
        "unique_text": (word, None, word == MATCHED[0]),
        "unique_image": (None, drawing, drawing == MATCHED[0]),
        "synergistic": (word, drawing, word == drawing),
    }


def _redundant(rng: np.random.Generator) -> dict[str, Slot]:
    both, word, drawing = np.cumsum(EITHER)
    place = rng.random()
    has_word = place < word
    has_drawing = place < both or word <= place < drawing
    (name,) = WORDS["redundant"]
    slot = (name if has_word else None), (name if has_drawing else None), bool(place < drawing)
    return {"redundant": slot}


def _control(kind: str, probability: Sequence[float]) -> Callable[[np.random.Generator], dict[str, Slot]]:
    (name,) = WORDS[kind]

    def draw(rng: np.random.Generator) -> dict[str, Slot]:
        has_word, has_drawing = rng.random(2) < EVIDENCE
        on = rng.random() < probability[int(has_word) + int(has_drawing)]
        return {kind: ((name if has_word else None), (name if has_drawing else None), bool(on))}

    return draw


# Each draws the slots of the targets whose evidence is drawn together.
_RULES: tuple[Callable[[np.random.Generator], dict[str, Slot]], ...] = (
    _match,
    _redundant,
    _control("additive", ADDITIVE),
    _control("antagonistic", ANTAGONISTIC),
)


@dataclass(frozen=True)
class SceneTable(RawTable):
    """The raw table of planted scenes; pictures are painted as they are asked for.

    Attributes:
        scenes: one per row.
        drawings: of each word, cut out and scaled to a cell.
    """

    scenes: tuple[Scene, ...] = ()
    drawings: dict[str, Image.Image] = field(default_factory=dict)

    def is_encoded(self, name: str) -> bool:
        """The picture is, and nothing else."""
        return name == "image"

    def batches(self, names: Sequence[str], size: int) -> Iterator[list[tuple[Any, ...]]]:
        """See ``RawTable``; pictures are JPEG."""
        for start in range(0, len(self), size):
            yield [
                tuple(self._value(name, row) for name in names)
                for row in range(start, min(start + size, len(self)))
            ]

    def _value(self, name: str, row: int) -> Any:
        return paint(self.scenes[row], self.drawings) if self.is_encoded(name) else self.columns[name][row]


def read_planted(data: PlantedData) -> SceneTable:
    """The scenes that ``data`` asks for, with drawings from ``data.source``.

    Raises:
        InputError: the source lacks a drawing, or the classes are not the planted targets.
    """
    if data.classes != KINDS:
        raise InputError(
            f"data.format planted has the classes {', '.join(KINDS)}, not {', '.join(data.classes)}",
            "Leave data.classes as the preset planted has it.",
        )
    source = read_raw(data.source, ["sample_id", "image"], ["image"])
    rows = (row for batch in source.batches(["sample_id", "image"], ROWS) for row in batch)
    drawings = {name: source.picture(cell) for name, cell in rows if name in DRAWINGS.values()}
    missing = [name for name in DRAWINGS.values() if name not in drawings]
    if missing:
        raise InputError(
            f"{data.source} has no drawing {', '.join(missing[:3])}",
            "data.format planted draws its scenes from embedded:openclipart.parquet.",
        )
    splits, scenes = zip(*draw_scenes(data.scenes, data.seed, data.alone), strict=True)
    ids = [f"{split}-{number:05d}" for number, split in enumerate(splits)]
    columns = {
        "sample_id": ids,
        "split": list(splits),
        "labels": [[KINDS.index(kind) for kind in scene.labels] for scene in scenes],
        "text": [scene.text for scene in scenes],
    }
    truth = [json.dumps(scene.truth(), separators=(",", ":")) for scene in scenes]
    content = json.dumps([source.sha256, columns, truth]).encode()
    return SceneTable(
        name=data.source,
        folder=source.folder,
        columns=columns,
        sha256=hashlib.sha256(content).hexdigest(),
        provenance=source.provenance,
        numbered=False,
        carried={"planted": truth},
        scenes=tuple(scenes),
        drawings={word: cut_out(decode(drawings[name])) for word, name in DRAWINGS.items()},
    )


def cut_out(picture: Image.Image) -> Image.Image:
    """A drawing without the white around it, scaled to fit a cell."""
    around = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    side = CELL - 2 * MARGIN
    drawing = picture.crop(around)
    scale = side / max(drawing.size)
    return drawing.resize([max(1, round(x * scale)) for x in drawing.size], Image.Resampling.LANCZOS)


def paint(scene: Scene, drawings: dict[str, Image.Image]) -> bytes:
    """The scene's picture, JPEG."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    for cell, name in enumerate(scene.cells):
        if name is not None:
            row, column = divmod(cell, CELLS)
            width, height = drawings[name].size
            left, top = column * CELL + (CELL - width) // 2, row * CELL + (CELL - height) // 2
            picture.paste(drawings[name], (left, top))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
