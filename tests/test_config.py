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
