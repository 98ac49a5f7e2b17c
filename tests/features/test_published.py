"""Models as hubs publish them: families, sharded weights, files of many names, folders that are not there."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny_encoders import SIZES, TOKENIZERS, save_clip, save_text_model
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BartModel,
    BertModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipModel,
    SiglipTextModel,
    T5EncoderModel,
    ViTImageProcessorPil,
)

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features import huggingface
from raymoe.features.files import PREPROCESSING, locate
from raymoe.features.huggingface import TextEncoder
from raymoe.features.lookup import encoder_identity, load_encoder

FAMILIES = ("bert", "gpt2", "llama", "phobert", "t5", "t5-encoder", "byt5")
TEXTS = ["dog", "a dog, cafe dogs dog", ""]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    for name in FAMILIES:
        save_text_model(root / name, name)
    size = TOKENIZERS["unigram"](root / "siglip")
    text = {**SIZES, "vocab_size": size, "max_position_embeddings": 12, "projection_size": 16}
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(root / "siglip")
    size = TOKENIZERS["gpt2"](root / "bart")
    layers = {
        f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")
    }
    bart = BartConfig(vocab_size=size, max_position_embeddings=9, d_model=16, encoder_ffn_dim=16, **layers)
    BartModel(bart).save_pretrained(root / "bart")
    return root


def load(kind, folder, **options):
    return load_encoder(kind, EncoderConfig(source=f"hf:{folder}", **options))


def of_transformers(folder, text):
    """What the model's own classes say of one text alone."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "t5-encoder"])
def test_every_text_is_encoded_as_it_is_alone(folders, name):
    """Whether its tokenizer gives a mask, has a padding token, or pads left."""
    batch = load("text", folders / name).encode(TEXTS)
    for text, features, valid in zip(TEXTS[:2], batch.features_BTD, batch.valid_BT, strict=False):
        torch.testing.assert_close(
            features[valid], of_transformers(folders / name, text), atol=1e-5, rtol=1e-5
        )


def test_of_an_encoder_decoder_the_encoder_is_taken(folders, tmp_path):
    whole = shutil.copytree(folders / "t5", tmp_path / "t5")
    alone = shutil.copytree(folders / "t5-encoder", tmp_path / "alone")
    T5EncoderModel.from_pretrained(whole).save_pretrained(alone)
    found = [load("text", folder).encode(TEXTS).features_BTD for folder in (whole, alone)]
    torch.testing.assert_close(*found)
    assert not any("decoder" in name for name, _ in load("text", whole)._model.module.named_parameters())


def test_positions_are_those_that_can_be_used(folders):
    """BART's table has two more than its model can take."""
    encoder = load("text", folders / "bart")
    assert encoder.max_length == 9
    assert encoder.encode(["dog " * 50]).features_BTD.shape[1] == 9


def test_siglip_reads_texts_by_its_own_rules(folders):
    folder = folders / "siglip"
    encoder = load("text", folder, pooling="model")
    batch = encoder.encode(["A Dog", "a dog"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer("a dog", padding="max_length", max_length=12)["input_ids"]])
    with torch.no_grad():
        wanted = SiglipModel.from_pretrained(folder).eval().text_model(input_ids=ids)
    for features, valid, pooled in zip(batch.features_BTD, batch.valid_BT, batch.pooled_BD, strict=True):
        torch.testing.assert_close(features[valid], wanted.last_hidden_state[0][: int(valid.sum())])
        torch.testing.assert_close(pooled, wanted.pooler_output[0])
    assert ["".join(p.text for p in pieces if not p.special) for pieces in batch.pieces] == ["ADog", "adog"]
    with pytest.raises(InputError, match="no CLS"):
        load("text", folder, pooling="cls")
    few = load("text", folder, max_length=4).encode(["a dog a dog a dog", "a"])
    assert few.valid_BT.sum(1).tolist() == [4, 3]
    assert few.cut == {0}
    identity = encoder_identity("text", EncoderConfig(source=f"hf:{folder}"))
    assert "no mask" in identity["reading"], "features of before, with a mask, are not taken for these"
    assert "reading" not in encoder_identity("image", EncoderConfig(source=f"hf:{folder}"))


def test_a_siglip_tower_alone_reads_like_the_whole(folders, tmp_path):
    alone = shutil.copytree(folders / "siglip", tmp_path / "alone")
    SiglipTextModel.from_pretrained(folders / "siglip").save_pretrained(alone)
    found = [load("text", folder).encode(["A Dog"]).features_BTD for folder in (folders / "siglip", alone)]
    torch.testing.assert_close(*found)


def test_siglips_tokenizer_is_not_replaced_by_another(folders, tmp_path):
    """Without sentencepiece transformers takes its pieces for those of another tokenizer, silently."""
    pytest.importorskip("transformers")
    try:
        import sentencepiece  # noqa: F401
    except ImportError:
        copy = shutil.copytree(folders / "siglip", tmp_path / "siglip")
        config = json.loads((copy / "tokenizer_config.json").read_text())
        (copy / "tokenizer_config.json").write_text(
            json.dumps(config | {"tokenizer_class": "SiglipTokenizer"})
        )
        with pytest.raises(InputError, match="sentencepiece") as caught:
            load("text", copy)
        assert "pip install sentencepiece" in caught.value.remedy


def test_clips_text_is_cut_before_its_end_mark(tmp_path):
    save_clip(tmp_path / "clip")
    batch = load("text", tmp_path / "clip").encode(["dog " * 30])
    assert batch.pieces[0][-1].special
    assert batch.pieces[0][-1].text == "<|endoftext|>"
    assert batch.cut == {0}


def saved_in_shards(folder, target, kind):
    """The model of a folder in several files of weights."""
    shutil.copytree(folder, target)
    (target / "model.safetensors").unlink()
    model = BertModel.from_pretrained(folder)
    if kind == "safetensors":
        model.save_pretrained(target, max_shard_size="8KB")
    else:
        state = model.state_dict()
        names = sorted(state)
        shards = {f"pytorch_model-0000{i + 1}-of-00002.bin": names[i::2] for i in range(2)}
        for shard, part in shards.items():
            torch.save({n: state[n].clone() for n in part}, target / shard)
        weight_map = {n: shard for shard, part in shards.items() for n in part}
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        (target / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return target


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_shards(folders, tmp_path, kind):
    whole = load("text", folders / "bert").encode(TEXTS).features_BTD
    sharded = saved_in_shards(folders / "bert", tmp_path / "sharded", kind)
    assert len(locate(f"hf:{sharded}").weights) > 1
    torch.testing.assert_close(load("text", sharded).encode(TEXTS).features_BTD, whole)

    config = EncoderConfig(source=f"hf:{sharded}")
    before = encoder_identity("text", config)
    (sharded / f"model.fp16.{kind}").write_bytes(b"another variant, which is not loaded")
    (sharded / "model-of-an-older-save.safetensors").write_bytes(b"neither is this")
    assert encoder_identity("text", config) == before
    last = locate(f"hf:{sharded}").weights[-1]
    last.write_bytes(last.read_bytes() + b" ")
    assert encoder_identity("text", config)["weights"] != before["weights"]
    last.unlink()
    with pytest.raises(InputError, match=f"lacks 1 of the .*{last.name}"):
        load("text", sharded)
    next(sharded.glob("*.index.json")).write_text("[]")
    with pytest.raises(InputError, match="no index of weights"):
        encoder_identity("text", config)


def test_weights_saved_in_half_precision_are_computed_in_single(folders, tmp_path):
    for dtype in (torch.float16, torch.bfloat16):
        half = shutil.copytree(folders / "t5", tmp_path / str(dtype))
        AutoModel.from_pretrained(half, dtype=dtype).save_pretrained(half)
        encoder = load("text", half)
        assert {p.dtype for p in encoder._model.module.parameters()} == {torch.float32}
        assert encoder.encode(TEXTS).features_BTD.dtype == torch.float32


def test_the_identity_is_of_every_file_that_is_read_and_of_no_other(folders, tmp_path):
    copy = shutil.copytree(folders / "bert", tmp_path / "bert")
    config = EncoderConfig(source=f"hf:{copy}")
    before = encoder_identity("text", config)

    digest = hashlib.sha256()  # as it has always been, so that features that are there stay what they are
    for name in PREPROCESSING:
        if (copy / name).is_file():
            sha = hashlib.sha256((copy / name).read_bytes()).hexdigest()
            digest.update(f"{name} {sha}\n".encode())
    assert before["preprocessing"] == digest.hexdigest()

    for name in ("README.md", ".gitattributes", "LICENSE.txt", "generation_config.json", "tf_model.h5",
                 "training_args.bin", "modeling_own.py", "model.onnx", "flax_model.msgpack"):  # fmt: skip
        (copy / name).write_text("x")
    (copy / ".git").mkdir()
    (copy / "onnx").mkdir()
    assert encoder_identity("text", config) == before
    seen = {str(before)}
    for name in (
        "tokenizer.model",
        "bpe.codes",
        "chat_template.jinja",
        "qwen.tiktoken",
        "source.spm",
        "dict.txt",
    ):
        (copy / name).write_text("x")
        seen.add(str(encoder_identity("text", config)))
    assert len(seen) == 7
    (copy / "dict.txt").unlink()
    (copy / "merges.txt").write_text("x")
    before = encoder_identity("text", config)
    (copy / "dict.txt").write_text("as roberta-base has it, unread")
    assert encoder_identity("text", config) == before


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    for name in ("./none", "../none", "~none", f"{tmp_path}/none", "a/b/c", "my models/bert", "models/"):
        with pytest.raises(InputError, match="no such folder") as caught:
            locate(f"hf:{name}")
        assert "relative to that file" in caught.value.remedy


def test_a_name_of_the_hub_is_not_a_folder_that_happens_to_be_here(monkeypatch, tmp_path, folders):
    monkeypatch.chdir(folders)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(InputError, match="no weights"):
        locate("hf:bert")
    assert locate("hf:./bert").folder.samefile(folders / "bert")


@pytest.mark.parametrize("form", ["whole", "safetensors", "bin"])
def test_of_a_hub_model_what_is_needed_is_downloaded(folders, tmp_path, monkeypatch, form):
    hub = folders / "bert" if form == "whole" else saved_in_shards(folders / "bert", tmp_path / "hub", form)
    hub = shutil.copytree(hub, tmp_path / "repository")
    for name in ("README.md", "tf_model.h5", "onnx/model.onnx", "1_Pooling/config.json", "own.py"):
        (hub / name).parent.mkdir(exist_ok=True)
        (hub / name).write_text("x")
    (hub / "sentencepiece.model").write_text("x")
    here = tmp_path / "cache"
    here.mkdir()

    def download(name, allow_patterns=None, ignore_patterns=()):
        assert name == "nobody/bert"
        for path in hub.rglob("*"):
            relative = path.relative_to(hub).as_posix()
            if path.is_dir() or any(fnmatch.fnmatch(relative, p) for p in ignore_patterns or ()):
                continue
            if allow_patterns is None or any(fnmatch.fnmatch(relative, p) for p in allow_patterns):
                shutil.copy(path, here / Path(relative).name)
        return str(here)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    found = load_encoder("text", EncoderConfig(source="hf:nobody/bert")).encode(TEXTS).features_BTD
    torch.testing.assert_close(found, load("text", folders / "bert").encode(TEXTS).features_BTD)
    names = {path.name for path in here.iterdir()}
    assert "sentencepiece.model" in names
    assert not names & {"README.md", "tf_model.h5", "own.py", "model.onnx"}


def test_code_in_a_folder_is_not_run(folders, tmp_path):
    copy = shutil.copytree(folders / "bert", tmp_path / "bert")
    config = json.loads((copy / "config.json").read_text())
    auto = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": auto}))
    (copy / "own.py").write_text("raise SystemExit('was run')")
    with pytest.raises(InputError, match="code of its own"):
        load("text", copy)


def pictures(n=2):
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (40, 30, 3), dtype=np.uint8)) for _ in range(n)]


def test_registers_are_special_and_maps_are_grids(tmp_path):
    sizes = {k: v for k, v in SIZES.items() if k != "intermediate_size"}
    config = Dinov2WithRegistersConfig(image_size=32, patch_size=8, num_register_tokens=3, **sizes)
    Dinov2WithRegistersModel(config).save_pretrained(tmp_path / "registers")
    ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)).save_pretrained(
        tmp_path / "convnext"
    )
    for name in ("registers", "convnext"):
        ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / name)
    batch = load("image", tmp_path / "registers").encode(pictures())
    assert batch.grid == (4, 4)
    assert batch.special_BT.sum(1).tolist() == [4, 4]
    assert batch.features_BTD.shape == (2, 20, 16)
    assert load("image", tmp_path / "registers", drop_cls=True).encode(pictures()).features_BTD.shape[1] == 16
    batch = load("image", tmp_path / "convnext").encode(pictures())
    assert batch.grid == (4, 4)
    assert not batch.special_BT.any()


def test_a_model_without_a_pooled_output_says_so(folders):
    with pytest.raises(InputError, match="no pooled output") as caught:
        load("text", folders / "gpt2", pooling="model")
    assert "pooling = mean" in caught.value.remedy


def test_a_longer_limit_than_the_model_has_is_its_own(folders):
    encoder = TextEncoder(EncoderConfig(source=f"hf:{folders / 'gpt2'}", max_length=500))
    assert encoder.max_length == 40
    batch = encoder.encode(["dog " * 100])
    assert batch.features_BTD.shape[1] == 40
    assert batch.cut == {0}


def test_positions_that_are_not_there_are_missed_before_work_starts(folders, monkeypatch):
    monkeypatch.setattr(huggingface, "_positions", lambda model: 1000)
    with pytest.raises(InputError, match="does not work") as caught:
        load("text", folders / "gpt2", max_length=100)
    assert "max_length" in caught.value.remedy
