"""A small trained-looking project that needs no encoders: features, checkpoint and importance at random."""

import numpy as np
import pyarrow as pa
import torch

from raymoe.config import Preset
from raymoe.features.parts import ModalityInfo, Row, SequenceRow, part_name, write_marker, write_part
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import CheckpointInfo, Shape, save_checkpoint
from raymoe.project import Project
from raymoe.tables import FEATURES, IMPORTANCE, Provenance, write_table

CLASSES = ("cat", "dog", "bird")


def tiny_preset(**sections) -> Preset:
    """A preset of two modalities; ``sections`` replace or add fields, for instance probe={"rho": 0.5}."""
    encoder = {"source": "hf:none"}
    values = {
        "name": "tiny",
        "data": {
            "source": "nowhere.parquet",
            "task": "multilabel",
            "classes": CLASSES,
            "modalities": [
                {"name": "text", "kind": "text", "columns": ["t"], "encoder": encoder},
                {"name": "image", "kind": "image", "columns": ["i"], "encoder": encoder},
            ],
        },
        "model": {"hidden_dim": 16, "num_heads": 2, "hidden_dim_rw": 8},
        "probe": {"rho": 0.5, "coalitions": 8, "unit_evaluations": 200},
    }
    for name, fields in sections.items():
        values[name] = {**values.get(name, {}), **fields}
    return Preset.model_validate(values)


def write_tiny_features(project: Project, samples: int = 8, seed: int = 0) -> str:
    """A feature store of random sequences; sample 3 has no words. Returns its fingerprint."""
    rng = np.random.default_rng(seed)
    infos = [ModalityInfo("text", "text", 6, 10, None), ModalityInfo("image", "image", 5, 9, (3, 3))]
    rows = []
    for i in range(samples):
        words = 0 if i == 3 else int(rng.integers(2, 8))
        special = np.array([True, *[False] * words, True])
        text = rng.normal(size=(words + 2, 6)).astype(np.float16)
        image = rng.normal(size=(9, 5)).astype(np.float16)
        tokens = ["[CLS]", *(f"word{j}" for j in range(words)), "[SEP]"]
        sequences = {
            "text": SequenceRow(text, np.ones(len(text), bool), special, tokens),
            "image": SequenceRow(image, np.ones(9, bool), np.zeros(9, bool)),
        }
        rows.append(Row(f"s{i}", ("train", "val", "test", "test")[i % 4], [i % 3], sequences))
    provenance = Provenance("encode", FEATURES.tag, {"seed": seed})
    write_part(
        project.workspace, part_name(project.features, 0), rows, infos, provenance, {"rows": [0, samples]}
    )
    write_marker(
        project.workspace, project.features, provenance, infos, [samples], classes=CLASSES, task="multilabel"
    )
    return provenance.fingerprint


def write_tiny_run(project: Project, features: str, samples: int = 8, seed: int = 0) -> CheckpointInfo:
    """A checkpoint of random weights and random importance for samples 2 and up."""
    torch.manual_seed(seed)
    shapes = (Shape("text", 6, 10), Shape("image", 5, 9))
    info = CheckpointInfo(shapes, CLASSES, "multilabel", project.preset.model.model_dump(), features, {}, 0)
    info = save_checkpoint(project.workspace, f"{project.run}/checkpoint", info.build(), info)
    store = FeatureStore.open(project.workspace, project.features, "raymoe encode tiny")
    rng = np.random.default_rng(seed)
    rows = [
        {
            "sample_id": f"s{i}",
            "expert": expert,
            "modality": modality,
            "method": "grad_attnroll",
            "target": "true",
            "scores": rng.random(len(store.sequence(i, modality)[0])).astype(np.float32),
        }
        for i in range(2, samples)
        for expert in info.experts
        for modality in ("text", "image")
    ]
    provenance = Provenance(
        "attribute", IMPORTANCE.tag, {"seed": seed}, {"checkpoint": info.fingerprint, "features": features}
    )
    table = pa.Table.from_pylist(rows, schema=IMPORTANCE.schema)
    write_table(
        project.workspace, f"{project.run}/importance.arrow", table, IMPORTANCE, provenance, {"skipped": []}
    )
    return info
