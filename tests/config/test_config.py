"""Presets, overrides and files of the user's own: what is accepted, and what each mistake is told."""

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.config import (
    EnricoData,
    MMHS150KData,
    MMIMDbData,
    PlantedData,
    Preset,
    ProbeConfig,
    TableData,
    load_preset,
    preset_names,
)
from raymoe.config.paths import DATASET, dataset_name
from raymoe.errors import InputError


def test_every_preset_validates():
    assert preset_names() == ["demo", "enrico", "mmhs150k", "mmimdb", "planted"]
    for name in preset_names():
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
        (("[train]", "[training]"), "training: there is no such section; there are train, "),
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


@given(
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20), st.text("a1 é_.-", max_size=6)
)
def test_any_name_of_a_file_names_a_folder(stem, other):
    name = dataset_name(stem)
    assert DATASET.fullmatch(name)
    assert dataset_name(name) == name
    if DATASET.fullmatch(other):
        assert dataset_name(other) == other


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("mes films", "mes-films"),
        ("Été 2024", "Ete-2024"),
        ("own.v2", "own.v2"),
        ("фильмы", "own-5bf87fc5"),
        ("книги", "own-56f89eb5"),
        ("фильмы 2", "2-b9bb14ab"),
    ],
)
def test_a_file_that_gives_itself_no_name_gets_one_of_its_own(tmp_path, stem, name):
    path = tmp_path / f"{stem}.toml"
    path.write_text(OWN)
    assert load_preset(str(path)).name == name
    path.write_text(f'name = "mes films"\n{OWN}')
    with pytest.raises(InputError, match=r"name: 'mes films' can't name a folder .* as in 'mes-films'"):
        load_preset(str(path))


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


PARTS = ("samples", "model", "train", "sweep", "attribute", "probe", "report")
DEFINING = {
    "demo": "63ccba554ff9cee9 011a5db1b5b40133 57e1d8fc85457148 3ca139e543ba4933 02c117084aa3bcf8 "
    "443e2e1f83e7b365 62ae7407265d28f9",
    "planted": "0d8dc53c78461cb7 37570262eb408fe3 edc8af2ed5ae3595 2a4b6ce9afafe9eb 02c117084aa3bcf8 "
    "57dba8d681480835 62ae7407265d28f9",
    "mmimdb": "ed13250cc10882c4 62f21a5006b52eca dc225a9b6ea56f61 2a4b6ce9afafe9eb 02c117084aa3bcf8 "
    "ca2b28714a6addc0 62ae7407265d28f9",
    "enrico": "a84d8550efc70fe9 37b7eabdb20a04f8 27856323d7fb0b2d 44dfbc3174568864 02c117084aa3bcf8 "
    "ca2b28714a6addc0 62ae7407265d28f9",
    "mmhs150k": "2f306e4c69530622 62f21a5006b52eca 1749e73d006da1d9 44dfbc3174568864 02c117084aa3bcf8 "
    "ca2b28714a6addc0 62ae7407265d28f9",
    "own": "3d0e02573713fd91 62f21a5006b52eca 73202a262feaabf5 2a4b6ce9afafe9eb 02c117084aa3bcf8 "
    "e687d5344288faef 62ae7407265d28f9",
}


@pytest.mark.parametrize("name", DEFINING)
def test_what_existing_workspaces_were_made_from_is_what_they_are_compared_with(tmp_path, name):
    """These settings go into the fingerprints of tables: a change of one makes every workspace another's."""
    path = tmp_path / "own.toml"
    rule = "split_rule = {train = 0.7, val = 0.1, test = 0.2}"
    path.write_text(OWN.replace('source = "table.csv"', f'source = "table.csv"\n{rule}'))
    preset = load_preset(str(path) if name == "own" else name)
    parts = (
        preset.data.defining(),
        preset.model.model_dump(),
        preset.train.defining(),
        preset.sweep.model_dump(exclude={"trials_per_gpu"}),
        preset.attribute.defining(),
        preset.probe.defining(),
        preset.report.model_dump(),
    )
    canonical = [json.dumps(part, sort_keys=True).encode() for part in parts]
    found = [hashlib.sha256(part).hexdigest()[:16] for part in canonical]
    assert dict(zip(PARTS, found, strict=True)) == dict(zip(PARTS, DEFINING[name].split(), strict=True))


def test_a_data_section_is_of_its_formats_class():
    kinds = {
        "demo": TableData,
        "planted": PlantedData,
        "mmimdb": MMIMDbData,
        "enrico": EnricoData,
        "mmhs150k": MMHS150KData,
    }
    assert {name: type(load_preset(name).data) for name in preset_names()} == kinds
    demo = load_preset("demo")
    assert Preset.model_validate(demo.model_dump()) == demo
    assert Preset.model_validate({"name": "same", "data": demo.data}).data == demo.data


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('format = "movies"', "data.format: Input should be 'table', 'mmimdb', 'enrico'"),
        ("ocr_text = true", "data: ocr_text is no option of format table"),
        ("ocr = true", "data.ocr: there is no such field; there are format, source"),
        ('format = "enrico"\nsplit_rule = {train = 1}', "data: split_rule is no option of format enrico"),
        ("split_rule = {train = 0.5, val = 0.5}", "data: split_rule needs shares"),
        ('format = "planted"\nscenes = 1', "data.scenes: Input should be greater than"),
    ],
)
def test_mistakes_in_a_data_section_are_told_in_the_files_words(tmp_path, line, message):
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace("[data]", f"[data]\n{line}"))
    with pytest.raises(InputError) as caught:
        load_preset(str(path))
    assert message in caught.value.message


def test_every_path_of_a_file_is_relative_to_it(tmp_path, monkeypatch):
    """An encoder is a folder where there is one beside the file, or where it is written as a path."""
    folder, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (folder / "models" / "clip").mkdir(parents=True)
    (folder / "bert").mkdir()
    (elsewhere / "some" / "model").mkdir(parents=True)
    path = folder / "mine.toml"
    monkeypatch.chdir(elsewhere)

    def sources(text, image):
        path.write_text(OWN.replace("hf:some/model", text).replace("hf:other/model", image))
        return [m.encoder.source for m in load_preset("../project/mine.toml").data.modalities]

    assert sources("hf:bert", "hf:models/clip") == [f"hf:{folder / 'bert'}", f"hf:{folder / 'models/clip'}"]
    assert sources("hf:./models/clip", "hf:../x") == [f"hf:{folder / 'models/clip'}", f"hf:{tmp_path / 'x'}"]
    for others in (
        ["hf:openai/clip-vit-base-patch16", "hf:some/model"],
        ["hf:/models/clip", "package:efficientnet-lite0"],
        ["hf:", "nothing:models/clip"],
    ):
        assert sources(*others) == others
    assert sources("hf:models/none", "hf:models/clip/x")[0] == f"hf:{folder / 'models/none'}", (
        "not of the hub"
    )
    preset = load_preset("../project/mine.toml", ["data.text.encoder.source=hf:some/model"])
    typed = f"hf:{elsewhere / 'some' / 'model'}"  # typed, so from where one is; not written in the file
    assert preset.data.modalities[0].encoder.source == typed
    preset = load_preset("../project/mine.toml", ["data.text.encoder.source=hf:other/model"])
    assert preset.data.modalities[0].encoder.source == "hf:other/model"
    assert preset.data.source == str(folder / "table.csv")


def test_nothing_heavy_is_imported():
    """The configuration is read by every command before it does anything."""
    heavy = "{'torch', 'ray', 'numpy', 'pandas', 'pyarrow', 'transformers'}"
    code = f"import sys, raymoe.config; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_fits_a_training_to_memory_does_not_define_it():
    whole, pieces = (load_preset("demo", [f"train.micro_batch_size={n}"]).train for n in ("null", "4"))
    assert whole != pieces
    assert whole.defining() == pieces.defining()


LINED = OWN.replace('name = "text"', 'name = "text"\n# a comment').lstrip("\n")


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("epochs = 3", "epoch = 3"), 17, "train.epoch: there is no such field; there are epochs, "),
        (("[train]", "[trian]"), 16, "trian: there is no such section; there are train, "),
        (("classes =", "class ="), 4, "data.class: there is no such field; there are classes, "),
        (
            ("task =", "label_column = 'l'\ntask ="),
            3,
            "data.label_column: there is no such field; there are labels_col",
        ),
        (
            ('columns = ["picture"]', 'column = ["picture"]'),
            14,
            "data.modalities.1.column: there is no such field; there are columns, ",
        ),
        (
            ('"hf:other/model"}', '"hf:other/model", max_len = 8}'),
            15,
            "data.modalities.1.encoder.max_len: there is no such field; there are max_length, ",
        ),
        (
            ('kind = "image"', 'kind = "picture"'),
            13,
            "data.modalities.1.kind: Input should be 'text' or 'image'",
        ),
        (("epochs = 3", "epochs = 0"), 17, "train.epochs: Input should be greater than or equal to 1, not 0"),
        (("epochs = 3", f"epochs = '{'x' * 9999}'"), 17, "... (9,999 characters)"),
        (
            ("[train]", '[train]\nselection = """\nlr = 3\n"""'),
            17,
            "train.selection: Input should be 'micro_f1'",
        ),
        (("[train]", "[sweep]\ngrid = {a = [1]}\n[train]"), None, "sweep.grid: 'a' can't be swept"),
    ],
)
def test_a_wrong_field_of_a_file_is_told_with_its_line_and_those_that_there_are(
    tmp_path, change, line, words
):
    path = tmp_path / "mine.toml"
    path.write_text(LINED.replace(*change))
    with pytest.raises(InputError) as caught:
        load_preset(str(path), ["train.lr=0.1"])
    assert words in caught.value.message
    assert str(path) in caught.value.message
    assert "--set" not in caught.value.message + caught.value.remedy
    assert "at least 2 items" not in caught.value.message, "there are two, and one is wrong"
    assert line is None or f"line {line}, " in caught.value.message
    assert len(caught.value.message) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("overrides", "typed", "blamed"),
    [
        (
            ["train.epochs=7", "train.lr=-1"],
            {},
            "--set 'train.lr=-1': train.lr: Input should be greater than 0",
        ),
        (
            ["data.text.encoder.layer=x"],
            {},
            "--set 'data.text.encoder.layer=x': data.modalities.0.encoder.layer",
        ),
        (["train.seed=-1"], {"train.seed=-1": "--seed -1"}, "--seed -1: train.seed"),
        (["sweep.random=0"], {"sweep.random=0": "--random 0"}, "--random 0: sweep.random"),
        (
            ["sweep.grid.a=[1]"],
            {"sweep.grid.a=[1]": "--grid a=1"},
            "--grid a=1: sweep.grid: 'a' can't be swept",
        ),
        (["model.num_heads=3", "train.lr=1"], {}, "--set 'model.num_heads=3': model: hidden_dim 256 is not"),
        (["data.empty_text=x"], {}, "--set 'data.empty_text=x': data.empty_text: Input should be 'skip' or"),
    ],
)
def test_an_option_at_fault_is_named_and_not_the_file(tmp_path, overrides, typed, blamed):
    path = tmp_path / "mine.toml"
    path.write_text(LINED)
    with pytest.raises(InputError) as caught:
        load_preset(str(path), overrides, typed=typed)
    assert caught.value.message.startswith(blamed)
    assert "mine.toml" not in caught.value.message


def test_an_option_that_mends_the_file_is_taken_and_faults_of_both_are_told_apart(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(LINED.replace("epochs = 3", "epochs = 0"))
    assert load_preset(str(path), ["train.epochs=2"]).train.epochs == 2
    with pytest.raises(InputError) as caught:
        load_preset(str(path), ["train.lr=0"])
    file, option = caught.value.message.split("; ")
    assert file.startswith(f"{path} doesn't validate: line 17, train.epochs")
    assert option.startswith("--set 'train.lr=0': train.lr")


@pytest.mark.parametrize("override", ["train.epoch=1", "trian.epochs=1", "data.text.encoder.max_len=1"])
def test_what_was_probably_meant_comes_first(override):
    with pytest.raises(InputError) as caught:
        load_preset("demo", [override])
    assert caught.value.remedy.split(": ")[1].startswith(("epochs", "train", "max_length"))


def test_experts_are_asked_for_by_name_all_of_them_and_the_mixture():
    def among(*experts):
        return ProbeConfig(experts=experts).experts_among(["unique:text", "synergy"])

    assert among("synergy") == ("synergy",)
    typed = load_preset("demo", ["probe.experts=synergy, mixture"]).probe.experts
    assert typed == ("synergy", "mixture")
    assert load_preset("demo", ["probe.experts=all"]).probe.experts == ("all",)
    assert among("all") == ("unique:text", "synergy")
    assert among("mixture", "all", "synergy") == ("mixture", "unique:text", "synergy")
    with pytest.raises(InputError, match="experts is empty") as caught:
        among()
    assert "synergy, all, mixture" in caught.value.remedy
    with pytest.raises(InputError, match="names 'magic', 'more'"):
        among("magic", "synergy", "more")
