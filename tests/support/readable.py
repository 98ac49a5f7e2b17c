"""A small project that can be learned: what a training is tried on."""

import numpy as np

from raymoe.features.parts import ModalityInfo, Row, SequenceRow
from raymoe.project import Project
from raymoe.project.contracts import FEATURES
from raymoe.project.provenance import Provenance
from raymoe.project.workspace import Workspace
from support.stores import write_store
from support.tiny import CLASSES, tiny_preset

SETTINGS = {"epochs": 4, "lr": 3e-3, "batch_size": 16, "selection": "micro_f1"}


def make_project(folder, task: str = "multilabel", split_of=None, **settings) -> Project:
    """A project whose labels can be read off the features: a class shows in a text token or a patch."""
    preset = tiny_preset(train={**SETTINGS, **settings}, data={"task": task})
    project = Project(preset, Workspace(folder), "tiny")
    split_of = split_of or (lambda i: "train" if i % 2 else ("val" if i % 4 else "test"))
    rng = np.random.default_rng(0)
    infos = [ModalityInfo("text", "text", 6, 8, None), ModalityInfo("image", "image", 5, 4, (2, 2))]
    rows = []
    for i in range(128):
        label = int(rng.integers(3))
        text = rng.normal(size=(int(rng.integers(2, 9)), 6))
        image = rng.normal(size=(4, 5))
        text[rng.integers(1, len(text)), label] += 4
        image[rng.integers(4), label] += 4
        special = np.arange(len(text)) == 0
        sequences = {
            "text": SequenceRow(
                text.astype(np.float16), np.ones(len(text), bool), special, ["x"] * len(text)
            ),
            "image": SequenceRow(image.astype(np.float16), np.ones(4, bool), np.zeros(4, bool)),
        }
        rows.append(Row(f"s{i}", split_of(i), [label], sequences))
    made = Provenance("encode", FEATURES.tag, {"task": task})
    write_store(project, rows, infos, made, classes=CLASSES, task=task)
    return project
