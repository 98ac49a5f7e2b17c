"""A small trained-looking project that needs no encoders: features, checkpoint and importance at random."""

import numpy as np
import pyarrow as pa
import torch

from raymoe.config import Preset
from raymoe.experiments.bins import bins_of
from raymoe.features.parts import ModalityInfo, Row, SequenceRow
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import CheckpointInfo, Shape, read_info, save_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES, INTERACTIONS
from raymoe.project.contracts import IMPORTANCE
from raymoe.project.interaction_tables import of_expert
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from support.stores import write_store

CLASSES = ("cat", "dog", "bird")
PROBED = ("synergy", "redundancy")


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
    provenance = Provenance("encode", FEATURES.contract.tag, {"seed": seed})
    write_store(project, rows, infos, provenance, classes=CLASSES, task="multilabel")
    return provenance.fingerprint


def write_tiny_run(project: Project, features: str, samples: int = 8, seed: int = 0) -> CheckpointInfo:
    """A checkpoint of random weights and random importance for samples 2 and up."""
    torch.manual_seed(seed)
    shapes = (Shape("text", 6, 10), Shape("image", 5, 9))
    info = CheckpointInfo(shapes, CLASSES, "multilabel", project.preset.model.model_dump(), features, {}, 0)
    info = save_checkpoint(CHECKPOINT.of(project), info.build(), info)
    write_tiny_importance(project, info, samples, seed)
    return info


def write_tiny_importance(project: Project, info: CheckpointInfo, samples: int = 8, seed: int = 0) -> None:
    """Random importance for samples 2 and up."""
    store = FeatureStore.open(FEATURES.of(project))
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
        "attribute",
        IMPORTANCE.tag,
        {"seed": seed},
        {"checkpoint": info.fingerprint, "features": info.features},
    )
    table = pa.Table.from_pylist(rows, schema=IMPORTANCE.schema)
    write_table(
        project.workspace, f"{project.run}/importance.arrow", table, IMPORTANCE, provenance, {"skipped": []}
    )


def write_tiny_interactions(project: Project, score=lambda row: row.u / 7 + row.v / 11, name="fits") -> None:
    """What a probe of the top 30 per cent of two experts would write for the test split; made-up scores.

    Args:
        project: has an importance table.
        score: the SII of a pair; the redundancy gap is its negative.
        name: tells two such probes apart.
    """
    store = FeatureStore.open(FEATURES.of(project))
    importance = read_table(project.workspace, f"{project.run}/importance.arrow", IMPORTANCE, "")
    found = bins_of(store, importance, list(PROBED))
    found = found[[store.splits[store.index_of(i)] == "test" for i in found["sample_id"]]]
    values = [float(score(row)) for row in found.itertuples()]
    columns = {name: np.zeros(len(found)) for name in INTERACTIONS.contract.schema.names}
    columns |= {name: found[name] for name in ("sample_id", "expert", "u_modality", "u", "v_modality", "v")}
    columns |= {"sii": values, "redundancy_gap": -np.array(values), "target": ["true"] * len(found)}
    table = pa.table({name: pa.array(columns[name]) for name in INTERACTIONS.contract.schema.names})
    checkpoint = read_info(CHECKPOINT.of(project)).fingerprint
    parents = {"checkpoint": checkpoint, "importance": metadata_of(importance.schema)["fingerprint"]}
    made = Provenance("probe", INTERACTIONS.contract.tag, {"rho": 0.3, "name": name}, parents)
    for expert in PROBED:
        rows = table.filter(pa.array(found["expert"] == expert)).cast(INTERACTIONS.contract.schema)
        extra = {"experts": PROBED, "plan": name, "skipped": [{"sample_id": "s3", "reason": "no words"}]}
        write_table(
            project.workspace,
            of_expert(INTERACTIONS.of(project), expert).name,
            rows,
            INTERACTIONS.contract,
            made,
            extra,
        )
