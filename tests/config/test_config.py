"""Presets, overrides and files of the user's own: what is accepted, and what each mistake is told."""

import pytest

from raymoe.config import PRESETS, load_preset
from raymoe.errors import InputError


def test_every_preset_validates():
    for name in PRESETS:
        assert load_preset(name).name == name


def test_overrides_reach_their_field_with_their_type():
    preset = load_preset("demo", ["train.lr=0.01", 'probe.experts=["synergy"]', "train.selection=macro_f1"])
    assert preset.train.lr == 0.01
    assert preset.probe.experts == ("synergy",)
    assert preset.train.selection == "macro_f1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=1", "not of the form section.field=value"),
        ("train.lr", "not of the form section.field=value"),
        ("training.lr=1", "no section 'training'"),
        ("train.learning_rate=1", "train has no field 'learning_rate'"),
        ("train.lr=-1", "train.lr: Input should be greater than 0"),
        ("probe.coalitions=3", "probe.coalitions: Input should be greater than or equal to 4"),
        ("probe.rho=0", "probe.rho: Input should be greater than 0"),
        ("model.hidden_dim=63", "hidden_dim 63 is not a multiple of num_heads 2"),
        ("probe.estimator=magic", "probe.estimator: Input should be 'shared', 'surrogate'"),
    ],
)
def test_bad_overrides_are_named(override, message):
    with pytest.raises(InputError) as caught:
        load_preset("demo", [override])
    assert message in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("dataset", "override", "message"),
    [
        ("enrico", "data.split=archive", "split is no option of format enrico"),
        ("mmimdb", "data.ocr_text=true", "ocr_text is no option of format mmimdb"),
        ("demo", "data.split=archive", "split is no option of format table"),
        ("mmimdb", "data.split=random", "data.split: Input should be 'contiguous' or 'archive'"),
        ("mmimdb", "data.classes=[]", "data has no field 'classes' to set"),
    ],
)
def test_what_the_data_is_cannot_be_set(dataset, override, message):
    with pytest.raises(InputError) as caught:
        load_preset(dataset, [override])
    assert message in caught.value.message


def test_the_benchmarks_have_the_papers_recipes():
    mmimdb, enrico, mmhs = (load_preset(name) for name in ("mmimdb", "enrico", "mmhs150k"))
    assert [len(p.data.classes) for p in (mmimdb, enrico, mmhs)] == [23, 20, 2]
    assert [p.train.epochs for p in (mmimdb, enrico)] == [40, 50]
    assert [p.model.num_layers_rw for p in (mmimdb, enrico)] == [2, 3]
    assert [p.train.selection for p in (mmimdb, enrico, mmhs)] == ["macro_f1", "accuracy", "accuracy"]
    for preset in (mmimdb, enrico, mmhs):
        model, train = preset.model, preset.train
        assert (model.hidden_dim, model.num_layers, model.num_heads, model.dropout) == (256, 2, 4, 0.5)
        assert (model.temperature_rw, model.hidden_dim_rw) == (2, 256)
        assert (train.lr, train.batch_size, train.interaction_loss_weight) == (1e-4, 32, 0.5)
        assert (preset.probe.rho, preset.probe.num_bins) == (0.3, 3)
    encoders = {m.name: m.encoder for m in mmimdb.data.modalities}
    assert (encoders["text"].source, encoders["text"].max_length) == ("hf:roberta-base", 320)
    assert not encoders["text"].drop_cls
    assert all(
        m.encoder.drop_cls for p in (mmimdb, enrico, mmhs) for m in p.data.modalities if m.kind == "image"
    )
    assert {m.encoder.source for m in enrico.data.modalities} == {"hf:openai/clip-vit-base-patch16"}
    assert {m.encoder.source for m in mmhs.data.modalities} == {"hf:openai/clip-vit-base-patch32"}


def test_a_source_given_with_the_command_comes_first(tmp_path):
    assert load_preset("mmimdb").data.source == ""
    assert load_preset("mmimdb", source="folder").data.source == "folder"
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace('source = "table.csv"', ""))
    with pytest.raises(InputError, match="source is missing"):
        load_preset(str(path))
    assert load_preset(str(path), source="other.csv").data.source == "other.csv"


def test_unknown_presets_list_the_known_ones():
    with pytest.raises(InputError, match="unknown dataset 'mmimbd'") as caught:
        load_preset("mmimbd")
    assert "demo" in caught.value.remedy


OWN = """
[data]
source = "table.csv"
task = "multiclass"
classes = ["a", "b"]
[[data.modalities]]
name = "text"
kind = "text"
columns = ["caption"]
encoder = {source = "hf:some/model"}
[[data.modalities]]
name = "image"
kind = "image"
columns = ["picture"]
encoder = {source = "hf:other/model"}
[train]
epochs = 3
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    preset = load_preset(str(path))
    assert preset.name == "mine"
    assert preset.data.source == str(tmp_path / "table.csv")  # relative to the file, not to where one stands
    assert preset.train.epochs == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 3", "epochs = three"), "can't be read as TOML"),
        (('task = "multiclass"', 'task = "regression"'), "data.task"),
        (('name = "image"', 'name = "text"'), "modality names must differ"),
        (('kind = "image"', 'kind = "sound"'), "kind"),
        (("[train]", "[training]"), "training: Extra inputs are not permitted"),
        (('name = "image"', 'name = "split"'), "a modality can't be called split"),
    ],
)
def test_bad_files_are_named(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(InputError) as caught:
        load_preset(str(path))
    assert message in caught.value.message
    assert "mine.toml" in caught.value.message


@pytest.mark.parametrize("text", ["data = 3", "[[data]]", "model = 3"])
def test_fields_where_sections_belong_are_named(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine.toml doesn't validate|is not a table"):
        load_preset(str(path), ["model.hidden_dim=8"] if "model" in text else [])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*none.toml"):
        load_preset(str(tmp_path / "none.toml"))


def test_a_benchmarks_encoders_can_be_set():
    preset = load_preset(
        "mmimdb",
        ["data.text.encoder.batch_size=8", "data.image.encoder.source=hf:/models/clip"],
        source="archive",
    )
    text, image = preset.data.modalities
    assert (text.encoder.batch_size, text.encoder.max_length) == (8, 320)
    assert (image.encoder.source, image.encoder.drop_cls) == ("hf:/models/clip", True)
    with pytest.raises(InputError, match="no modality 'sound'") as caught:
        load_preset("mmimdb", ["data.sound.encoder.batch_size=8"], source="archive")
    assert "text, image" in caught.value.remedy
    with pytest.raises(InputError, match="no field 'batch'"):
        load_preset("mmimdb", ["data.text.encoder.batch=8"], source="archive")


def test_what_fits_a_training_to_memory_does_not_define_it():
    whole, pieces = (load_preset("demo", [f"train.micro_batch_size={n}"]).train for n in ("null", "4"))
    assert whole != pieces
    assert whole.defining() == pieces.defining()
