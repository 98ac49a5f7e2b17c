"""How local features are: against layers taken one by one, with encoders as hubs publish them."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.tiny_encoders import save_clip_vision, save_text_model

from raymoe.config import EncoderConfig, Preset
from raymoe.data import prepare
from raymoe.errors import ParentError
from raymoe.experiments.locality import EXPERIMENT, MARGIN
from raymoe.experiments.locality.measure import changes, layers_of
from raymoe.experiments.running import evaluate
from raymoe.features.encode import encode
from raymoe.features.lookup import load_encoder
from raymoe.features.text_pieces import words
from raymoe.project import Project
from raymoe.project.workspace import Workspace

TEXTS = ["dog cat", "the dog sees a bird", "a cat", "bird", "bird , bird"]


def picture(seed=0, size=(48, 32)):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (*size[::-1], 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    found = {}
    for name, save in {"text": lambda f: save_text_model(f, "bert"), "image": save_clip_vision}.items():
        found[name] = tmp_path_factory.mktemp(name)
        save(found[name])
    return found


def encoder_of(folders, kind, **options):
    return load_encoder(kind, EncoderConfig(source=f"hf:{folders[kind]}", **options))


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("drop_cls", [False, True])
def test_layers_of_one_run_are_those_that_the_option_takes(folders, kind, drop_cls):
    items = TEXTS[:3] if kind == "text" else [picture(1), picture(2, (30, 44))]
    encoder = encoder_of(folders, kind, drop_cls=drop_cls)
    found = layers_of(encoder, encoder.prepare(items))
    assert list(found) == [0, 1, -1]
    for layer, batch in found.items():
        alone = encoder_of(folders, kind, drop_cls=drop_cls, layer=layer).encode(items)
        torch.testing.assert_close(batch.features_BTD, alone.features_BTD)
        assert (batch.valid_BT == alone.valid_BT).all()
        assert (batch.special_BT == alone.special_BT).all()


@pytest.mark.parametrize("drop_cls", [False, True])
def test_in_the_embedding_nothing_but_the_word_changes(folders, drop_cls):
    encoder = encoder_of(folders, "text", drop_cls=drop_cls)
    text = TEXTS[1]
    found = changes(encoder, text, seed=0)
    assert found[0].share == pytest.approx(1)
    assert found[0].masks == 4
    assert found[0].even < found[1].share < 1
    length = int(encoder.encode([text]).valid_BT.sum())
    pieces = encoder.encode([text]).pieces[0]
    assert found[-1].even <= max(map(len, words(pieces))) / length
    assert changes(encoder, "", seed=0) == {}


def test_in_the_embedding_nothing_but_the_patch_changes(folders):
    """Also where the picture is cropped and no patch shows its edges."""
    encoder = encoder_of(folders, "image")
    blocks = Image.new("RGB", (32, 32))  # a colour for each patch: painting one touches no other
    for cell in range(16):
        row, col = divmod(cell, 4)
        blocks.paste((15 * cell, 255 - 12 * cell, 8 * cell), (8 * col, 8 * row, 8 * col + 8, 8 * row + 8))
    found = changes(encoder, blocks, seed=1)
    assert list(found) == [0, 1, -1]
    assert found[0].share == pytest.approx(1, abs=1e-6)
    assert found[0].even == pytest.approx(1 / 17)  # of the patches and CLS
    assert found[0].share > found[1].share > found[1].even
    assert changes(encoder, Image.new("RGB", (32, 32), "white"), seed=1) == {}, "it has that colour already"
    assert changes(encoder, Image.new("RGB", (2, 2)), seed=1) == {}, "a patch has no pixel of its own"


@pytest.fixture
def project(folders, tmp_path):
    rows = []
    for i in range(24):
        buffer = io.BytesIO()
        picture(i, (48, 32) if i % 2 else (30, 44)).save(buffer, "PNG")
        row = {"sample_id": f"s{i}", "split": ("train", "val", "test")[i % 3], "labels": [i % 2]}
        rows.append(row | {"title": TEXTS[i % 5], "picture": buffer.getvalue()})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    encoders = {k: {"source": f"hf:{folder}", "batch_size": 4} for k, folder in folders.items()}
    data = {"source": str(tmp_path / "raw.parquet"), "task": "multilabel", "classes": ["dog", "cat"]}
    data["modalities"] = [
        {"name": "text", "kind": "text", "columns": ["title"], "encoder": encoders["text"] | {"layer": 1}},
        {"name": "image", "kind": "image", "columns": ["picture"], "encoder": encoders["image"]},
    ]
    train = {"selection": "micro_f1"}
    preset = Preset.model_validate({"name": "local", "data": data, "train": train})
    project = Project(preset, Workspace(tmp_path / "ws"), "local.toml")
    prepare(project)
    encode(project, device="cpu")
    return project


def test_the_table_suggests_the_most_local_layer_that_costs_little(project, capsys):
    assert evaluate(project, "locality", device="cpu").ran
    rows = EXPERIMENT.read(project)["locality"].to_pylist()
    assert [(row["modality"], row["layer"]) for row in rows] == [
        (name, layer) for name in ("text", "image") for layer in (0, 1, -1)
    ]
    for name, stored in {"text": 1, "image": -1}.items():
        own = [row for row in rows if row["modality"] == name]
        (kept,) = (row for row in own if row["stored"])
        assert kept["layer"] == stored
        (suggested,) = (row for row in own if row["suggested"])
        allowed = [row for row in own if row["score"] >= kept["score"] - MARGIN]
        assert suggested["locality"] == max(row["locality"] for row in allowed)
        for row in own:
            assert row["locality_low"] <= row["locality"] <= row["locality_high"]
            assert row["samples"] == 8
    assert rows[0]["locality"] == pytest.approx(1)
    said = " ".join(capsys.readouterr().out.split())
    assert "Of what taking out one feature changes (text)," in said
    assert not evaluate(project, "locality", device="cpu").ran
    assert evaluate(project, "locality", device="cpu", overwrite=True).ran
    assert EXPERIMENT.read(project)["locality"].to_pylist() == rows
    values = project.preset.model_dump()
    values["data"]["modalities"][0]["encoder"]["layer"] = 0
    other = Preset.model_validate(values)
    with pytest.raises(ParentError):
        evaluate(Project(other, project.workspace, project.dataset), "locality", device="cpu")
