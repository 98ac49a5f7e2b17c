"""A small finished workspace, invented but shaped like a real one: for the tests of the report."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from raymoe.config import Preset, load_preset
from raymoe.features.geometry import Geometry
from raymoe.features.text_pieces import TextPiece, pieces_by_marks, words
from raymoe.interactions.two_way import TwoWay
from raymoe.project import Project, artifacts
from raymoe.project.artifacts import INTERACTIONS
from raymoe.project.contracts import EPOCHS, IMPORTANCE, INPUT_INTERACTIONS, METRICS, PREDICTIONS, SAMPLES
from raymoe.project.interaction_tables import of_expert, read_interactions_metadata
from raymoe.project.outputs import parents_in
from raymoe.project.provenance import Provenance
from raymoe.project.tables import write_table
from raymoe.project.workspace import Workspace
from support.interaction_rows import interaction_row

CLASSES = ["music", "animal", "<b>food</b>", "building"]
EXPERTS = ["unique:text", "unique:image", "synergy", "redundancy"]
ROWS, COLS = 4, 5
TEXTS = {
    "s0": ["[CLS]", "piano", "play", "##ing", "in", "a", "concert", "hall", "[SEP]"],
    "s1": ["[CLS]", "<script>", "alert", "(", "1", ")", "</script>", "&", "[SEP]"],
    "s2": ["[CLS]", "שלום", "עולם", "כלב", "[SEP]"],
    "s3": ["[CLS]", "a", "red", "barn", "[SEP]"],
    "s4": ["[CLS]", "no", "picture", "here", "[SEP]"],
    "s5": ["[CLS]", *[f"word{i}" for i in range(120)], "[SEP]"],
}
BROKEN = "s4"


@dataclass(frozen=True)
class Info:
    """Stands in for the store's description of a modality."""

    name: str
    kind: str
    width: int
    max_length: int
    grid: tuple[int, int] | None


class FakeStore:
    """The part of a feature store that the report uses; a picture's position 0 is a CLS token."""

    modalities = (
        Info("text", "text", 4, 128, None),
        Info("image", "image", 4, 1 + ROWS * COLS, (ROWS, COLS)),
    )
    fingerprint = "0" * 16

    def __init__(self, texts: dict[str, list[str]]) -> None:
        self.texts, self.ids = texts, list(texts)

    def index_of(self, sample_id: str) -> int:
        return self.ids.index(sample_id)

    def pieces(self, i: int, modality: str) -> list[TextPiece]:
        tokens = self.texts[self.ids[i]]
        return pieces_by_marks(tokens, [t.startswith("[") for t in tokens])

    def geometry(self, i: int, modality: str) -> Geometry | None:
        return Geometry(ROWS, COLS) if modality == "image" else None

    def sequence(self, i: int, modality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tokens = self.texts[self.ids[i]]
        special = (
            [t.startswith("[") for t in tokens] if modality == "text" else [True] + [False] * ROWS * COLS
        )
        return np.zeros((len(special), 4), np.float16), np.ones(len(special), bool), np.array(special)


def picture(seed: int, side: int = 500) -> bytes:
    """A few coloured shapes as PNG."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (500, 400), tuple(random.integers(150, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = random.integers(0, 380, 2).tolist()
        draw.ellipse((x, y, x + 110, y + 90), fill=tuple(random.integers(0, 256, 3).tolist()))
    buffer = io.BytesIO()
    image.resize((side, side * 4 // 5)).save(buffer, "PNG")
    return buffer.getvalue()


def preset(**report) -> Preset:
    """The demo's preset with other classes."""
    demo = load_preset("demo", [f"report.{name}={value}" for name, value in report.items()])
    return demo.model_copy(update={"data": demo.data.model_copy(update={"classes": tuple(CLASSES)})})


CHECKPOINT = "c" * 16


def many(count: int) -> dict[str, list[str]]:
    """So many samples of twenty words, by id."""
    random = np.random.default_rng(count)
    words = [f"word{i}" for i in range(400)]
    return {
        f"m{i}": ["[CLS]", f"number{i}", *random.choice(words, 20).tolist(), "[SEP]"] for i in range(count)
    }


def build(
    folder, *, seed: int = 0, texts: dict[str, list[str]] = TEXTS, side: int = 500, **report
) -> Project:
    """Write every table that a report needs; pictures are ``side`` pixels wide."""
    project = Project(preset(**report), Workspace(folder), "demo")
    workspace, random = project.workspace, np.random.default_rng(seed)

    def write(name, table, contract, stage, parents=None, **extra):
        config = {"seed": seed, "rho": 0.3, "coalitions": 32, "estimator": "shared"}
        provenance = Provenance(stage, contract.tag, config, parents or {"samples": "abc"})
        write_table(
            workspace, name, pa.table(table).cast(_schema(table, contract)), contract, provenance, extra
        )
        return provenance.fingerprint

    ids = list(texts)
    labels = [random.choice(len(CLASSES), size=1 + i % 2, replace=False).tolist() for i in range(len(ids))]
    write(
        artifacts.SAMPLES.of(project).name,
        {
            "sample_id": ids,
            "split": ["test"] * len(ids),
            "labels": labels,
            "text": [" ".join(tokens[1:-1]) for tokens in texts.values()],
            "image": [
                b"not a picture" if sample == BROKEN else picture(i, side) for i, sample in enumerate(ids)
            ],
        },
        SAMPLES,
        "prepare",
        classes=CLASSES,
        task="multilabel",
        modalities={"text": "text", "image": "image"},
        skipped=[{"sample_id": "bad<1>", "row": 7, "reason": "the picture can't be decoded"}],
        source="invented",
    )
    epochs = np.arange(1, 9)
    write(
        f"{project.run}/epochs.parquet",
        {
            "epoch": epochs,
            "train_loss": 2 / epochs,
            "loss_task": 1.2 / epochs,
            **{f"loss_{e}": (0.5 + 0.2 * k) / epochs for k, e in enumerate(EXPERTS)},
            "val_micro_f1": 0.7 - 0.5 / epochs,
            "val_macro_f1": 0.6 - 0.5 / epochs,
        },
        EPOCHS,
        "train",
    )
    n = len(ids)
    write(
        f"{project.run}/predictions.parquet",
        {
            "sample_id": ids,
            "split": ["test"] * n,
            "labels": labels,
            "logits": random.normal(0, 2, (n, len(CLASSES))).tolist(),
            "expert_weights": random.dirichlet([3] * len(EXPERTS), n).tolist(),
            "expert_logits": random.normal(0, 2, (n, len(CLASSES) * len(EXPERTS))).tolist(),
        },
        PREDICTIONS,
        "train",
        experts=EXPERTS,
        checkpoint=CHECKPOINT,
    )
    _write_metrics(write, project)
    parents = {"features": FakeStore.fingerprint, "checkpoint": CHECKPOINT}
    importance = _write_importance(write, project, random, texts, parents)
    _write_interactions(write, project, random, texts, parents | {"importance": importance})
    return project


def _schema(table, contract) -> pa.Schema:
    known = {f.name: f for f in contract.schema}
    return pa.schema([known.get(name, pa.table({name: column}).schema[0]) for name, column in table.items()])


def _write_metrics(write, project) -> None:
    def table(models):
        rows = [
            {"model": model, "split": "test", "metric": metric, "value": value - 0.1 * k}
            for model, value in models.items()
            for k, metric in enumerate(("micro_f1", "macro_f1", "f1:music"))
        ]
        return pa.Table.from_pylist(rows).to_pydict()

    ours = {"fl-i2moe": 0.73, **{f"expert:{e}": 0.5 + 0.05 * k for k, e in enumerate(EXPERTS)}}
    probes = {"linear probe: text": 0.61, "linear probe: image": 0.52, "linear probe: text+image": 0.68}
    write(f"{project.run}/metrics.parquet", table(ours), METRICS, "train")
    write(artifacts.BASELINES.of(project).name, table(probes), METRICS, "train")


def _write_importance(write, project, random, texts, parents) -> str:
    rows = []
    for sample_id, tokens in texts.items():
        lengths = {"text": len(tokens), "image": 1 + ROWS * COLS}
        for expert in EXPERTS:
            for modality, length in lengths.items():
                scores = random.random(length) ** 2
                scores[0] = 0
                if modality == "text":
                    scores[-1] = 0
                rows.append(
                    dict(
                        sample_id=sample_id,
                        expert=expert,
                        modality=modality,
                        method="grad_attnroll",
                        target="true",
                        scores=scores.tolist(),
                    )
                )
    table = pa.Table.from_pylist(rows).to_pydict()
    return write(f"{project.run}/importance.arrow", table, IMPORTANCE, "attribute", parents)


def _write_interactions(write, project, random, texts, parents) -> None:
    rows = []
    for sample_id, tokens in texts.items():
        words = random.choice(np.arange(1, len(tokens) - 1), size=min(3, len(tokens) - 2), replace=False)
        cells = 1 + random.choice(ROWS * COLS, size=5, replace=False)
        for expert in ("synergy", "redundancy"):
            for u in words:
                for v in cells:
                    base, span = random.random() * 0.3, random.random() * 0.2
                    rows.append(
                        interaction_row(
                            sample_id=sample_id,
                            expert=expert,
                            u=int(u),
                            v=int(v),
                            n_coalitions=32,
                            sii=random.normal(0, 0.2),
                            sii_stderr=0.01 + 0.1 * random.random(),
                            base_mean=base,
                            span_mean=span,
                            redundancy_gap=base / (1 + span),
                            redundancy_gap_stderr=0.01 + 0.05 * random.random(),
                            redundancy=base,
                            redundancy_stderr=0.01 + span / 4,
                        )
                    )
            sii = [row["sii"] for row in rows[-len(words) * len(cells) :]]
            pairs = np.array([(u, 100 + v) for u in words for v in cells])
            for row, own in zip(rows[-len(pairs) :], TwoWay(pairs).rest(np.array(sii)), strict=True):
                row["pair_specific"] = float(own)
                row["pair_specific_stderr"] = row["sii_stderr"] if np.isfinite(own) else np.nan
    experts = ("synergy", "redundancy")
    for expert in experts:
        write(
            of_expert(INTERACTIONS.of(project), expert).name,
            pa.Table.from_pylist([row for row in rows if row["expert"] == expert]).to_pydict(),
            INTERACTIONS.contract,
            "probe",
            parents,
            skipped=[{"sample_id": "short", "reason": "fewer than two features"}],
            experts=experts,
            plan="abc",
        )


def write_input_interactions(project: Project, sample_id: str = "s0", expert: str = "synergy") -> list[dict]:
    """Pairs of one sample's words with the four quarters of its picture, masked at the input; the rows."""
    found = read_interactions_metadata(artifacts.INTERACTIONS.of(project))
    parents = {name: parents_in(found)[name] for name in ("checkpoint", "importance")}
    shown = words(pieces_by_marks(TEXTS[sample_id], [t.startswith("[") for t in TEXTS[sample_id]]))
    text = [TEXTS[sample_id][i].removeprefix("##") for i in range(len(TEXTS[sample_id]))]
    boxes = [(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)]
    random, rows = np.random.default_rng(5), []
    for u, word in enumerate(shown):
        for v, box in enumerate(boxes):
            row = interaction_row(
                sample_id=sample_id,
                expert=expert,
                u=u,
                v=v,
                n_coalitions=16,
                sii=random.normal(),
                sii_stderr=0.1,
            )
            name = "".join(text[i] for i in word)
            places = {"u_place": [0.0, 1.0], "v_place": list(box)}
            rows.append(row | {"u_text": name, "v_text": f"region {v // 2 + 1},{v % 2 + 1}"} | places)
    own = TwoWay(np.array([(row["u"], 100 + row["v"]) for row in rows])).rest(
        np.array([r["sii"] for r in rows])
    )
    rows = [
        r | {"pair_specific": float(x), "pair_specific_stderr": 0.1} for r, x in zip(rows, own, strict=True)
    ]
    contract = INPUT_INTERACTIONS
    write_table(
        project.workspace,
        of_expert(artifacts.INPUT_INTERACTIONS.of(project), expert).name,
        pa.Table.from_pylist(rows, contract.schema),
        contract,
        Provenance("probe", contract.tag, {}, parents),
        {"skipped": [], "experts": [expert], "plan": "def"},
    )
    return rows


def with_report(project: Project, **fields) -> Project:
    """The same project with other report settings."""
    report = project.preset.report.model_copy(update=fields)
    return replace(project, preset=project.preset.model_copy(update={"report": report}))


def folder_of(project: Project) -> str:
    """The folder of its report, in the workspace."""
    return artifacts.REPORT.of(project).name


def use_fake_store(patch, texts: dict[str, list[str]] = TEXTS) -> None:
    """Let reports open the fake store; ``patch`` is a pytest.MonkeyPatch."""

    class Opened:
        @staticmethod
        def open(features):
            return FakeStore(texts)

    patch.setattr("raymoe.display.inputs.FeatureStore", Opened)
