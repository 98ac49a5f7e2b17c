"""Parts made by Ray actors are the parts that one process makes, and nothing made is lost."""

import shutil

import pytest
import torch
from test_encode import files, make_project
from test_encoders import SIZES, save_wordpiece
from transformers import BertConfig, BertModel, ViTConfig, ViTImageProcessorPil, ViTModel

from raymoe.config import Preset
from raymoe.data import prepare
from raymoe.errors import RaymoeError
from raymoe.features import encode as stage
from raymoe.features.encode import encode
from raymoe.features.store import FeatureStore
from raymoe.project import Project, artifacts
from raymoe.project.artifacts import FEATURES
from raymoe.project.workspace import Workspace


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Texts and pictures with tiny real encoders, their folders given relative to where the driver is."""
    torch.manual_seed(0)
    save_wordpiece(tmp_path / "bert")
    BertModel(BertConfig(vocab_size=9, max_position_embeddings=12, **SIZES)).save_pretrained(
        tmp_path / "bert"
    )
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SIZES)).save_pretrained(tmp_path / "vit")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "PART_ROWS", 4)
    raw = make_project(tmp_path, texts=["the dog " * (1 + i % 9) for i in range(18)]).preset.model_dump()
    for modality, folder in zip(raw["data"]["modalities"], ("bert", "vit"), strict=True):
        modality["encoder"]["source"] = f"hf:./{folder}"
    project = Project(Preset.model_validate(raw), Workspace(tmp_path / "ws"), "toy.toml")
    prepare(project)
    return project


@pytest.mark.slow
def test_actors_make_the_same_parts_and_go_on_where_they_were(project, ray_session, capsys):
    encode(project, device="cpu")
    wanted = files(project)
    result = encode(project, address="local", num_actors=2, device="cpu", overwrite=True)
    assert result.ran
    assert "5 parts on 2 x cpu" in capsys.readouterr().out
    assert files(project) == wanted
    store = FeatureStore.open(FEATURES.of(project))
    assert len(store) == 18
    assert store.cut == {"text": 8}  # 10 words fit beside two special tokens: all of 6 to 9 times two don't

    for lost in ("part-00001.arrow", "part-00004.arrow", "features.json"):
        project.workspace.remove(f"{artifacts.FEATURES.of(project).name}/{lost}")
    assert encode(project, address="local", device="cpu").ran
    assert "2 parts on 1 x cpu" in capsys.readouterr().out  # one node, one actor
    assert files(project) == wanted
    assert not encode(project, address="local").ran


@pytest.mark.slow
def test_a_full_disk_under_the_actors_is_said_at_once(project, ray_session, mounted):
    inside = Project(project.preset, Workspace(mounted / "ws"), "toy.toml")
    prepare(inside)
    filler = mounted / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(mounted).free - 24576))  # room for a part or two
    with pytest.raises(RaymoeError, match="the workspace is full"):
        encode(inside, address="local", num_actors=1, device="cpu")
    filler.unlink()
    assert encode(inside, device="cpu").ran
