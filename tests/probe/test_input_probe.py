"""Masking at the input, with encoders as hubs publish them: what a coalition means, and the stage."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.tiny_encoders import save_clip_vision, save_text_model

from raymoe.attribution import attribute
from raymoe.config import Preset
from raymoe.data import prepare
from raymoe.errors import InputError, ParentError, RaymoeError
from raymoe.features.encode import encode
from raymoe.features.lookup import load_encoder
from raymoe.interactions import estimate
from raymoe.models.checkpoint import load_checkpoint
from raymoe.probe import probe
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, INPUT_INTERACTIONS, INTERACTIONS, SAMPLES
from raymoe.project.interaction_tables import of_experts
from raymoe.project.tables import read_table
from raymoe.project.workspace import Workspace
from raymoe.training import train

TEXTS = ["dog cat", "the dog sees a bird", "a cat", "bird", "bird , bird"]
CLASSES = ("dog", "cat", "bird")
PROBE = {
    "mask": "input",
    "regions": "1x2",
    "experts": ["synergy", "mixture"],
    "estimator": "exact",
    "precision": "float64",
}


@pytest.fixture
def made(built, tmp_path) -> Project:
    """A copy of the project for each test."""
    shutil.copytree(built.workspace.root, tmp_path / "ws")
    return replace(built, workspace=Workspace(tmp_path / "ws"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Project:
    """Thirty samples of texts and pictures, encoded, trained on for an epoch, attributed."""
    folder = tmp_path_factory.mktemp("input")
    torch.manual_seed(0)
    encoders = {}
    for name, save in {"text": lambda f: save_text_model(f, "bert"), "image": save_clip_vision}.items():
        (folder / name).mkdir()
        save(folder / name)
        encoders[name] = {"source": f"hf:{folder / name}", "batch_size": 4}
    rng = np.random.default_rng(0)
    rows = []
    for i in range(30):
        buffer = io.BytesIO()
        size = (48, 32) if i % 2 else (30, 44)  # cropped at the sides, or above and below
        Image.fromarray(rng.integers(0, 255, (*size[::-1], 3)).astype(np.uint8)).save(buffer, "PNG")
        rows.append(
            {
                "sample_id": f"s{i}",
                "split": ("train", "val", "test")[i % 3],
                "labels": [i % 3],
                "title": TEXTS[i % 5],
                "picture": buffer.getvalue(),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "raw.parquet")
    preset = Preset.model_validate(
        {
            "name": "masked",
            "data": {
                "source": str(folder / "raw.parquet"),
                "task": "multilabel",
                "classes": CLASSES,
                "modalities": [
                    {"name": "text", "kind": "text", "columns": ["title"], "encoder": encoders["text"]},
                    {"name": "image", "kind": "image", "columns": ["picture"], "encoder": encoders["image"]},
                ],
            },
            "model": {"hidden_dim": 16, "num_heads": 2, "hidden_dim_rw": 8},
            "train": {"epochs": 1, "batch_size": 8, "selection": "micro_f1"},
            "probe": PROBE,
        }
    )
    project = Project(preset, Workspace(folder / "ws"), "masked.toml")
    prepare(project)
    encode(project, device="cpu")
    train(project, device="cpu")
    attribute(project, device="cpu")
    return project


def with_probe(project: Project, **fields) -> Project:
    return replace(project, preset=project.preset.with_fields({f"probe.{k}": v for k, v in fields.items()}))


def tables(project: Project) -> dict[str, bytes]:
    return {t.name: project.workspace.read(t.name) for t in of_experts(INPUT_INTERACTIONS.of(project))}


def rows_of(project: Project, expert: str):
    name = INPUT_INTERACTIONS.of(project).name.replace("*", expert)
    contract = INPUT_INTERACTIONS.contract
    return read_table(project.workspace, name, contract, "").to_pandas()


class Spelled:
    """The game of a sample, written out: words cut, pictures painted, both encoded, the model asked."""

    def __init__(self, project: Project, sample_id: str, expert: str, boxes) -> None:
        samples = pq.read_table(SAMPLES.of(project).path).to_pylist()
        (row,) = (r for r in samples if r["sample_id"] == sample_id)
        self.words, self.boxes, self.expert = row["text"].split(), boxes, expert
        self.picture = Image.open(io.BytesIO(row["image"])).convert("RGB")
        self.encoders = {
            m.name: load_encoder(m.kind, m.encoder, "cpu") for m in project.preset.data.modalities
        }
        self.model = load_checkpoint(CHECKPOINT.of(project))[0].eval().double()
        self.label = row["labels"][0]

    def __call__(self, coalitions):
        return np.array([self.value(row) for row in coalitions])

    @torch.no_grad()
    def value(self, row) -> float:
        text = " ".join(w for w, there in zip(self.words, row, strict=False) if there)
        picture = self.picture.copy()
        for box, there in zip(self.boxes, row[len(self.words) :], strict=True):
            if not there:
                picture.paste("white", box)
        features, valid = {}, {}
        for name, item in (("text", text), ("image", picture)):
            encoded = self.encoders[name].encode([item])
            kept = encoded.valid_BT[0]
            features[name] = encoded.features_BTD[:1, kept].half().double()
            valid[name] = torch.ones(1, int(kept.sum()), dtype=torch.bool)
        output = self.model(features, valid)
        if self.expert == "mixture":
            return float(output.logits_BC[0, self.label])
        return float(output.expert_logits_EBC[self.model.expert_names.index(self.expert), 0, self.label])


def test_a_coalition_is_the_model_on_what_is_left_of_the_input(made, inline):
    result = probe(made)
    assert result.ran
    # CLIP sees the middle: of 48 x 32 pixels without the sides, of 30 x 44 without top and bottom
    boxes_of = {"s11": [(8, 0, 24, 32), (24, 0, 40, 32)], "s2": [(0, 7, 15, 37), (15, 7, 30, 37)]}
    for expert in ("synergy", "mixture"):
        rows = rows_of(made, expert)
        for sample_id, boxes in boxes_of.items():
            mine = rows[rows["sample_id"] == sample_id]
            game = Spelled(made, sample_id, expert, boxes)
            words = len(game.words)
            assert len(mine) == words * 2
            assert list(mine["u_text"])[::2] == game.words
            assert set(mine["v_text"]) == {"region 1,1", "region 1,2"}
            pairs = np.array([(u, words + v) for u in range(words) for v in range(2)])
            wanted = estimate(game, pairs, method="exact", num_players=words + 2)
            np.testing.assert_allclose(mine["sii"], wanted.sii, atol=2e-6)
            np.testing.assert_allclose(mine["redundancy"], wanted.redundancy, atol=2e-6)
    place = rows[rows["sample_id"] == "s2"].iloc[-1]
    assert place["u_place"].tolist() == [2, 5]
    np.testing.assert_allclose(place["v_place"], [0.5, 7 / 44, 1, 37 / 44], atol=0.01)  # as it was measured


def test_interrupted_it_goes_on_and_ends_with_the_same_bytes(made, inline):
    whole = with_probe(made, estimator="shared", coalitions=8)
    probe(whole)
    wanted = tables(whole)
    for name in wanted:
        made.workspace.remove(name)
    done = []

    def stop_at_third(unit):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(unit.number)

    inline.before = stop_at_third
    with pytest.raises(KeyboardInterrupt):
        probe(whole)
    repeated = []
    inline.before = lambda unit: repeated.append(unit.number)
    assert probe(whole).ran
    assert repeated
    assert set(done).isdisjoint(repeated)
    assert tables(whole) == wanted
    assert not probe(whole).ran


def test_the_table_of_zero_vectors_stays_beside_it(made, inline):
    probe(with_probe(made, estimator="shared", coalitions=4))
    before = tables(made)
    zero = with_probe(made, mask="zero", estimator="shared", coalitions=4, unit_evaluations=1000)
    assert probe(zero).ran
    assert not probe(zero).ran
    assert INTERACTIONS.of(zero).path != INPUT_INTERACTIONS.of(made).path
    assert tables(made) == before


def test_the_dense_transformer_too(made, inline):
    dense = replace(made, preset=made.preset.with_fields({"model.kind": "dense", "probe.experts": ["dense"]}))
    train(dense, device="cpu")
    attribute(dense, device="cpu")
    probe(dense)
    (mine,) = (
        rows for _, rows in rows_of(dense, "dense").groupby("sample_id") if rows.iloc[0]["sample_id"] == "s2"
    )
    game = Spelled(dense, "s2", "mixture", [(0, 7, 15, 37), (15, 7, 30, 37)])
    pairs = np.array([(u, 2 + v) for u in range(2) for v in range(2)])
    wanted = estimate(game, pairs, method="exact", num_players=4)
    np.testing.assert_allclose(mine["sii"], wanted.sii, atol=2e-6)


@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_what_takes_a_regions_place_matters(made, inline, fill):
    probe(made)
    white = rows_of(made, "mixture")["sii"].to_numpy()
    with pytest.raises(ParentError, match="made from"):
        probe(with_probe(made, fill=fill))
    probe(with_probe(made, fill=fill), overwrite=True)
    assert np.abs(rows_of(made, "mixture")["sii"].to_numpy() - white).max() > 1e-6


def test_some_samples_and_few_words(made, inline):
    probe(with_probe(made, samples=["s11", "s2"], words=1), overwrite=True)
    rows = rows_of(made, "mixture")
    assert sorted(set(rows["sample_id"])) == ["s11", "s2"]
    assert len(rows) == 4
    with pytest.raises(InputError, match=r"probe\.samples names 's0', which has no importance"):
        probe(with_probe(made, samples=["s0"]), overwrite=True)


def test_too_many_regions_for_a_picture_are_refused_by_the_sample(made, inline):
    with pytest.raises(RaymoeError, match="sample"):
        probe(with_probe(made, regions="40x40", estimator="shared", coalitions=4), overwrite=True)


def test_encoders_that_changed_are_refused(made, inline):
    values = made.preset.model_dump()
    values["data"]["modalities"][0]["encoder"]["max_length"] = 7
    with pytest.raises(ParentError):
        probe(replace(made, preset=Preset.model_validate(values)))


def test_on_actors_it_is_the_same_table(made, inline, ray_session, monkeypatch):
    config = with_probe(made, estimator="shared", coalitions=6)
    probe(config, overwrite=True)
    wanted = tables(config)
    monkeypatch.undo()  # real actors from here on
    probe(config, overwrite=True, num_actors=2)
    assert tables(config) == wanted
