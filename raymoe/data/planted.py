"""Scenes whose interactions are known: the embedded drawings on a grid, beside sentences of known words.

A scene has one slot per planted target (``KINDS``) for a word, a drawing or both, and fillers that mean
nothing, words and pictures independent of each other. The slots are drawn independently, so that a target
depends on its own word and drawing alone:

* ``unique_text``: on where its word is there. ``unique_image``: on where its drawing is there.
* ``redundant``: on where its word or its drawing is there; most often both are.
* ``synergistic``: one of two words and one of two drawings is there, each at even odds; on where the word
  names the drawing. Word and drawing alone say nothing of it.
* ``additive``: word and drawing each add the same to the log odds (5, 50, 95 per cent).
* ``antagonistic``: either raises the odds to 95 per cent, both together only to 50.

Of the test split the first scenes have exactly one target on, with all of its evidence shown; the others are
drawn as those of training. Where each word and drawing of a target is goes into the column ``planted``.
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

from raymoe.config import DataConfig
from raymoe.data.pictures import decode
from raymoe.data.raw import RawTable, read_raw
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
# The words and drawings of each target; with two, one of them is in every scene.
WORDS = {
    "unique_text": ("piano",),
    "unique_image": (),
    "redundant": ("tiger",),
    "synergistic": ("hammer", "strawberry"),
    "additive": ("house",),
    "antagonistic": ("pumpkin",),
}
PICTURES = {**WORDS, "unique_text": (), "unique_image": ("butterfly",)}
KINDS = tuple(WORDS)
WITH_PAIRS = tuple(kind for kind in KINDS if WORDS[kind] and PICTURES[kind])
_OWN = {word for words in (*WORDS.values(), *PICTURES.values()) for word in words}
FILLERS = tuple(word for word in DRAWINGS if word not in _OWN)

SIDE, CELLS = (
    224,
    3,
)  # pixels; cells a side, each of 2 x 2 of the 7 x 7 patches, the last row and column empty
CELL, MARGIN = 64, 2  # pixels
SENTENCE = "{} {} {} and {} {} {}"
SHOWN_DRAWINGS = 6  # of a scene, fillers included
UNIQUE = 0.3  # how often the only evidence of a unique target is there
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
        explains: the only target that is on, in a scene made for that.
    """

    slots: dict[str, Slot]
    words: tuple[str, ...]
    cells: tuple[str | None, ...]
    explains: str | None

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
        return {"explains": self.explains, "targets": found}


def box(cell: int) -> list[float]:
    """A cell's left, top, right and bottom, as shares of the picture."""
    row, column = divmod(cell, CELLS)
    left, top = column * CELL, row * CELL
    return [x / SIDE for x in (left, top, left + CELL, top + CELL)]


def draw_scenes(scenes: int, seed: int) -> Iterator[tuple[str, Scene]]:
    """Split and scene: ``scenes`` for training, an eighth as many for validation and for test.

    Before those the test split has a hundredth as many for each target, which is on alone.

    Args:
        scenes: of the training split.
        seed: each split has draws of its own.
    """
    sizes = {"train": scenes, "val": max(1, scenes // 8), "test": max(1, scenes // 8)}
    for number, (split, size) in enumerate(sizes.items()):
        rng = np.random.default_rng([VERSION, seed, number])
        if split == "test":
            for _ in range(max(1, scenes // 100)):
                for kind in KINDS:  # in turn, so that the first samples of the split are of every kind
                    yield split, _one_target(kind, rng)
        for _ in range(size):
            yield split, _scene({kind: _RULES[kind](rng) for kind in KINDS}, rng)


def _one_target(kind: str, rng: np.random.Generator) -> Scene:
    """The target is on with all its evidence, the others are off: the same law, under that condition."""
    slots = {}
    for other in KINDS:
        while True:
            slot = word, drawing, on = _RULES[other](rng)
            whole = bool(word or not WORDS[kind]) and bool(drawing or not PICTURES[kind])
            if on == (other == kind) and (other != kind or whole):
                break
        slots[other] = slot
    return _scene(slots, rng, kind)


def _scene(slots: dict[str, Slot], rng: np.random.Generator, explains: str | None = None) -> Scene:
    own_words = [word for word, _, _ in slots.values() if word]
    own_drawings = [drawing for _, drawing, _ in slots.values() if drawing]
    size = SENTENCE.count("{}")
    words = own_words + [str(w) for w in rng.permutation(FILLERS)[: size - len(own_words)]]
    fillers = rng.permutation(FILLERS)[: SHOWN_DRAWINGS - len(own_drawings)]
    cells: list[str | None] = [*own_drawings, *(str(f) for f in fillers)]
    cells += [None] * (CELLS**2 - len(cells))
    return Scene(
        slots,
        tuple(words[i] for i in rng.permutation(size)),
        tuple(cells[i] for i in rng.permutation(CELLS**2)),
        explains,
    )


def _unique_text(rng: np.random.Generator) -> Slot:
    there = bool(rng.random() < UNIQUE)
    return ("piano" if there else None), None, there


def _unique_image(rng: np.random.Generator) -> Slot:
    there = bool(rng.random() < UNIQUE)
    return None, ("butterfly" if there else None), there


def _redundant(rng: np.random.Generator) -> Slot:
    both, word, drawing = np.cumsum(EITHER)
    place = rng.random()
    has_word = place < word
    has_drawing = place < both or word <= place < drawing
    return ("tiger" if has_word else None), ("tiger" if has_drawing else None), bool(place < drawing)


def _synergistic(rng: np.random.Generator) -> Slot:
    word, drawing = (WORDS["synergistic"][i] for i in rng.integers(2, size=2))
    return word, drawing, word == drawing


def _control(name: str, probability: Sequence[float]) -> Callable[[np.random.Generator], Slot]:
    def draw(rng: np.random.Generator) -> Slot:
        has_word, has_drawing = rng.random(2) < EVIDENCE
        on = rng.random() < probability[int(has_word) + int(has_drawing)]
        return (name if has_word else None), (name if has_drawing else None), bool(on)

    return draw


_RULES: dict[str, Callable[[np.random.Generator], Slot]] = {
    "unique_text": _unique_text,
    "unique_image": _unique_image,
    "redundant": _redundant,
    "synergistic": _synergistic,
    "additive": _control("house", ADDITIVE),
    "antagonistic": _control("pumpkin", ANTAGONISTIC),
}


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
        """Of the columns the picture alone."""
        return name == "image"

    def batches(self, names: Sequence[str], size: int) -> Iterator[list[tuple[Any, ...]]]:
        """As of ``RawTable``; pictures as JPEG."""
        for start in range(0, len(self), size):
            yield [
                tuple(self._value(name, row) for name in names)
                for row in range(start, min(start + size, len(self)))
            ]

    def _value(self, name: str, row: int) -> Any:
        return paint(self.scenes[row], self.drawings) if self.is_encoded(name) else self.columns[name][row]


def read_planted(data: DataConfig) -> SceneTable:
    """The scenes that ``data.scenes`` and ``data.seed`` ask for, with drawings from ``data.source``.

    Raises:
        InputError: the source lacks a drawing, or the classes are not the planted targets.
    """
    if data.classes != KINDS:
        raise InputError(
            f"data.format planted has the classes {', '.join(KINDS)}, not {', '.join(data.classes)}",
            "Leave data.classes as the preset planted has it.",
        )
    source = read_raw(data.source, ["sample_id", "image"])
    drawings = dict(zip(source.columns["sample_id"], source.columns["image"], strict=True))
    missing = [name for name in DRAWINGS.values() if name not in drawings]
    if missing:
        raise InputError(
            f"{data.source} has no drawing {', '.join(missing[:3])}",
            "data.format planted draws its scenes from embedded:openclipart.parquet.",
        )
    splits, scenes = zip(*draw_scenes(data.scenes, data.seed), strict=True)
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
    return drawing.resize([max(1, round(x * scale)) for x in drawing.size], Image.LANCZOS)


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
