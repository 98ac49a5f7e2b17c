"""Data of unusual shapes: nothing of something, one of it, the same twice. Said at once, or it works."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.tiny_encoders import save_clip, save_roberta

from raymoe import pipeline
from raymoe.config import Preset
from raymoe.data.prepare import prepare
from raymoe.errors import InputError, RaymoeError
from raymoe.experiments.bootstrap import interval, resample_counts
from raymoe.pipeline import Options
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES, METRICS, REPORT, SAMPLES
from raymoe.project.workspace import Workspace

CLASSES = ("cat", "dog", "bird")
PLAIN = (("text", "text", "title"), ("image", "image", "image"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    save_roberta(folder / "roberta")
    save_clip(folder / "clip")
    return {"text": f"hf:{folder / 'roberta'}", "image": f"hf:{folder / 'clip'}"}


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rows_of(*splits, labels=lambda i, split: [i % 3], title=lambda i, split: "dog barks"):
    return [
        {
            "sample_id": f"s{i}",
            "split": split,
            "labels": labels(i, split),
            "title": title(i, split),
            "body": "a cat",
            "image": png(i),
            "second": png(i + 100),
        }
        for i, split in enumerate(splits)
    ]


USUAL = ("train", "train", "train", "val", "test", "test")


@pytest.fixture
def make(tmp_path, encoders):
    """A project of some rows; modalities as (name, kind, column)."""

    def project(rows, modalities=PLAIN, **sections):
        schema = pa.schema(
            {name: pa.string() for name in ("sample_id", "split", "title", "body")}
            | {"labels": pa.list_(pa.int32()), "image": pa.binary(), "second": pa.binary()}
        )
        pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "table.parquet")
        values = {
            "name": "shape",
            "data": {
                "source": str(tmp_path / "table.parquet"),
                "task": "multilabel",
                "classes": CLASSES,
                "empty_text": "keep",
                "modalities": [
                    {"name": name, "kind": kind, "columns": [column], "encoder": {"source": encoders[kind]}}
                    for name, kind, column in modalities
                ],
            },
            "model": {"hidden_dim": 8, "num_heads": 2, "hidden_dim_rw": 4, "num_patches": 4},
            "train": {"epochs": 1},
            "probe": {"coalitions": 8},
            "report": {"samples": 2},
        }
        for name, fields in sections.items():
            values[name] = {**values.get(name, {}), **fields}
        return Project(Preset.model_validate(values), Workspace(tmp_path / "ws"), "shape.toml")

    return project


def refused(project, monkeypatch, *, last="report"):
    """What the command says, before it has trained anything or started an actor."""
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was started"))
    with pytest.raises(InputError) as caught:
        pipeline.run(project, last, options=Options(num_actors=2 if last != "report" else None))
    assert not CHECKPOINT.of(project).exists(), "trained"
    return str(caught.value)


@pytest.mark.parametrize("last", ["attribute", "probe", "report"])
def test_a_split_without_labels_is_refused_before_it_is_encoded(make, monkeypatch, last):
    project = make(rows_of(*USUAL, labels=lambda i, split: [] if split == "test" else [i % 3]))
    said = refused(project, monkeypatch, last=last)
    assert "none of the 2 samples of the split 'test' has a true label to explain" in said
    assert "--set attribute.target=predicted" in said
    assert SAMPLES.of(project).exists()
    assert not FEATURES.of(project).exists()


@pytest.mark.parametrize("last", ["train", "sweep", "report"])
@pytest.mark.parametrize(
    ("split", "why"), [("train", "there is nothing to learn"), ("val", "no epoch is better")]
)
def test_nothing_to_learn_is_refused(make, monkeypatch, last, split, why):
    project = make(rows_of(*USUAL, labels=lambda i, own: [] if own == split else [i % 3]))
    said = refused(project, monkeypatch, last=last)
    assert f"split {split!r} has a label: {why}" in said
    assert "the column 'labels'" in said


def test_a_split_that_is_not_there_and_a_model_without_features_are_refused_too(make, monkeypatch):
    project = make(rows_of(*USUAL), attribute={"split": "dev"})
    assert "no sample in the split 'dev'" in refused(project, monkeypatch)
    project = make(rows_of(*USUAL), model={"kind": "i2moe"})
    assert "i2moe works on pooled vectors" in refused(project, monkeypatch)


def test_no_pair_anywhere_is_refused_once_it_is_encoded(make, monkeypatch):
    project = make(rows_of(*USUAL, title=lambda i, split: "" if split == "test" else "dog"))
    said = refused(project, monkeypatch)
    assert "no sample of the split 'test' has features of two modalities" in said
    assert "of 2, 2 have no features in text" in said


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "val"), ("test",)])
def test_an_empty_split_is_refused(make, splits):
    with pytest.raises(InputError, match=r"no rows|no usable sample in split"):
        prepare(make(rows_of(*splits)))


def test_two_modalities_of_one_name_are_refused(make):
    same = (("text", "text", "title"), ("text", "text", "body"))
    with pytest.raises(ValueError, match="modality names must differ"):
        make(rows_of(*USUAL), same)


SHAPES = {
    "one column twice": (("left", "image", "image"), ("right", "image", "image")),
    "one text twice": (("left", "text", "title"), ("right", "text", "title")),
    "two texts": (("question", "text", "title"), ("answer", "text", "body")),
    "two pictures": (("left", "image", "image"), ("right", "image", "second")),
    "three": (("a", "text", "title"), ("b", "text", "body"), ("c", "image", "image")),
}
SHAPES["four"] = (*SHAPES["three"], ("d", "image", "second"))


@pytest.mark.parametrize("shape", SHAPES)
def test_modalities_of_every_number_and_kind_have_the_values_of_their_column(make, shape):
    rows = rows_of(*USUAL)
    project = make(rows, SHAPES[shape])
    prepare(project)
    found = SAMPLES.of(project).read().to_pylist()
    for name, _, column in SHAPES[shape]:
        assert [row[name] for row in found] == [row[column] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["one sample a split", "unlabelled test", *SHAPES])
def test_every_stage_and_experiment_in_these_shapes(make, shape, ray_session, capsys):
    """Nothing ends in anything but a RaymoeError, and no number on the page is none."""
    fields = {}
    rows = rows_of(*USUAL)
    if shape == "one sample a split":
        rows = rows_of("train", "val", "test", labels=lambda i, split: [0])
    if shape == "unlabelled test":
        rows = rows_of(*USUAL, labels=lambda i, split: [] if split == "test" else [i % 3])
        fields = {"attribute": {"target": "predicted"}}
    project = make(
        rows, SHAPES.get(shape, (("text", "text", "title"), ("image", "image", "image"))), **fields
    )
    options = Options(num_actors=1)
    pipeline.run(project, "report", options=options)
    found = pipeline.evaluate(project)
    assert all(not isinstance(r, BaseException) or isinstance(r, RaymoeError) for r in found.values())
    done = pipeline.run(project, "report", options=options)
    page = project.workspace.read(f"{REPORT.of(project).name}/index.html").decode()
    text = page.split("<main", 1)[1]
    for word in (">nan<", "NaN", ">None<", "nan%", "inf%"):
        assert word not in text
    assert "nan" not in capsys.readouterr().out
    assert done.results["report"].ran
    if shape == "one sample a split":
        scores = METRICS.of(project).read().to_pylist()
        assert any(row["split"] == "test" for row in scores)
        assert "100.00 to 100.00" not in text, "one sample says nothing of how sure that is"
    if shape == "unlabelled test":
        assert "No test sample has a label" in text
        assert {name for name, r in found.items() if isinstance(r, RaymoeError)} >= {
            "comparison", "faithfulness", "pair-masking", "robustness"
        }  # fmt: skip


def test_of_one_sample_there_is_no_interval():
    assert resample_counts(1).shape == (1, 1)
    assert interval(np.array([0.5])) == (None, None)
    low, high = interval(resample_counts(2) @ np.array([0.0, 1.0]) / 2)
    assert (low, high) == (0.0, 1.0)
