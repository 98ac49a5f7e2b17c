"""encode goes on where it stopped, makes nothing twice, and refuses parents that don't fit."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from raymoe.config import Preset
from raymoe.data import prepare
from raymoe.errors import InputError, ParentError
from raymoe.features import encode as stage
from raymoe.features.encode import encode
from raymoe.features.encoder import EncodedBatch
from raymoe.features.store import FeatureStore
from raymoe.project import Project
from raymoe.tables import SAMPLES, metadata_of
from raymoe.workspace import Workspace

N = 25


class Letters:
    """A text encoder for tests: one position per letter behind a CLS, its code as the feature."""

    kind, width, max_length, grid = "text", 2, 20, None

    def encode(self, items):
        length = max(len(text) for text in items) + 1
        features = torch.full((len(items), length, 2), -7.0)
        valid = torch.zeros(len(items), length, dtype=torch.bool)
        for b, text in enumerate(items):
            features[b, : len(text) + 1, 0] = torch.tensor([0.0, *map(ord, text)])
            valid[b, : len(text) + 1] = True
            if text == "huge":
                features[b, 1] = 1e6
        special = (torch.arange(length) == 0).expand_as(valid)
        return EncodedBatch(features, valid, special, [["^", *text] for text in items], None)

    def to(self, device):
        return self


class Corners:
    """A picture encoder for tests: the mean colour of four quarters."""

    kind, width, max_length, grid = "image", 3, 4, (2, 2)

    def encode(self, items):
        small = [np.asarray(p.resize((2, 2), Image.BOX), dtype=np.float32) for p in items]
        features = torch.from_numpy(np.stack(small)).reshape(len(items), 4, 3)
        valid = torch.ones(len(items), 4, dtype=torch.bool)
        return EncodedBatch(features, valid, torch.zeros_like(valid), None, self.grid)

    def to(self, device):
        return self


@pytest.fixture
def loaded(monkeypatch):
    """Test encoders in place of real ones; lists what was loaded."""
    calls = []

    def load(kind, config, device):
        calls.append(kind)
        return Letters() if kind == "text" else Corners()

    monkeypatch.setattr(stage, "load_encoder", load)
    monkeypatch.setattr(stage, "encoder_identity", lambda kind, config: {"name": config.source})
    monkeypatch.setattr(stage, "PART_ROWS", 10)
    return calls


def picture(i):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (i, 2 * i, 3 * i)).save(buffer, "PNG")
    return buffer.getvalue()


def make_project(tmp_path, texts=None, **encoder):
    texts = texts or ["abcdefghi"[: 1 + i % 9] + str(i) for i in range(N)]
    rows = [
        {
            "sample_id": f"s{i}",
            "split": ("train", "val", "test")[i % 3],
            "labels": [i % 2],
            "title": t,
            "image": picture(i),
        }
        for i, t in enumerate(texts)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    preset = Preset.model_validate(
        {
            "name": "toy",
            "data": {
                "source": str(tmp_path / "raw.parquet"),
                "task": "multilabel",
                "classes": ["a", "b"],
                "modalities": [
                    {
                        "name": "text",
                        "kind": "text",
                        "columns": ["title"],
                        "encoder": {"source": "hf:t", "batch_size": 4, **encoder},
                    },
                    {
                        "name": "image",
                        "kind": "image",
                        "columns": ["image"],
                        "encoder": {"source": "hf:i", "batch_size": 3},
                    },
                ],
            },
        }
    )
    project = Project(preset, Workspace(tmp_path / "ws"), "toy.toml")
    return project


def ready(tmp_path, **encoder):
    project = make_project(tmp_path, **encoder)
    prepare(project)
    return project


def opened(project):
    return FeatureStore.open(project.workspace, project.features, project.command("encode"))


def files(project):
    folder = project.workspace.path(project.features)
    return {name: open(f"{folder}/{name}", "rb").read() for name in project.workspace.names(project.features)}


def test_every_sample_is_encoded_in_order(tmp_path, loaded):
    project = ready(tmp_path)
    result = encode(project)
    store = opened(project)
    assert result.ran
    assert result.fingerprint == store.fingerprint
    assert store.sample_ids == [f"s{i}" for i in range(N)]
    assert [m.grid for m in store.modalities] == [None, (2, 2)]
    for i in range(N):
        text = "abcdefghi"[: 1 + i % 9] + str(i)
        features, valid, special = store.sequence(i, "text")
        assert features[:, 0].tolist() == [0, *map(ord, text)]  # sorted by length inside, restored here
        assert valid.all()
        assert special.tolist() == [True] + [False] * len(text)
        assert store.tokens(i, "text") == ["^", *text]
        assert store.sequence(i, "image")[0].tolist() == [[i, 2 * i, 3 * i]] * 4
        assert store.tokens(i, "image") is None


def test_what_is_complete_is_not_run_again_and_loads_nothing(tmp_path, loaded):
    project = ready(tmp_path)
    encode(project)
    loaded.clear()
    assert not encode(project).ran
    assert loaded == []
    assert encode(project, overwrite=True).ran
    assert loaded == ["text", "image"]


def test_an_interrupted_run_keeps_its_whole_parts(tmp_path, loaded, monkeypatch):
    whole = ready(tmp_path)
    encode(whole)
    wanted = files(whole)
    whole.workspace.remove(whole.features)

    write, made = stage.write_part, []

    def failing(workspace, name, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(name)
        write(workspace, name, *rest)

    monkeypatch.setattr(stage, "write_part", failing)
    with pytest.raises(KeyboardInterrupt):
        encode(whole)
    assert list(files(whole)) == ["part-00000.arrow", "part-00001.arrow"]
    with pytest.raises(ParentError, match="no complete feature store"):
        opened(whole)
    del made[:]
    assert encode(whole).ran
    assert made == ["toy/features/part-00002.arrow"]
    assert files(whole) == wanted


@pytest.mark.parametrize("complete", [True, False])
def test_only_a_damaged_part_is_made_again(tmp_path, loaded, complete, monkeypatch):
    project = ready(tmp_path)
    encode(project)
    wanted = files(project)
    path = project.workspace.path(f"{project.features}/part-00001.arrow")
    with open(path, "r+b") as file:
        file.truncate(700)
    if not complete:
        project.workspace.remove(f"{project.features}/features.json")
    write, made = stage.write_part, []
    monkeypatch.setattr(
        stage, "write_part", lambda w, name, *rest: (made.append(name), write(w, name, *rest))
    )
    assert encode(project).ran
    assert made == ["toy/features/part-00001.arrow"]
    assert files(project) == wanted


def test_another_encoder_is_refused_by_name_unless_overwriting(tmp_path, loaded):
    encode(ready(tmp_path))
    other = make_project(tmp_path, source="hf:u")
    with pytest.raises(ParentError, match=r"text\.name: hf:t there, hf:u now") as caught:
        encode(other)
    assert "--overwrite" in caught.value.remedy
    assert encode(other, overwrite=True).ran


def test_the_batch_size_changes_nothing(tmp_path, loaded):
    project = ready(tmp_path)
    first = encode(project)
    wanted = files(project)
    other = make_project(tmp_path, batch_size=7)
    assert not encode(other).ran
    assert encode(other, overwrite=True).fingerprint == first.fingerprint
    assert files(other) == wanted


def test_samples_that_are_missing_or_prepared_otherwise_are_refused(tmp_path, loaded):
    project = make_project(tmp_path)
    with pytest.raises(ParentError, match="missing") as caught:
        encode(project)
    assert "raymoe prepare toy.toml" in caught.value.remedy
    prepare(project)
    data = project.preset.data.model_copy(update={"classes": ("a", "c")})
    stale = Project(project.preset.model_copy(update={"data": data}), project.workspace, "toy.toml")
    with pytest.raises(ParentError, match="classes"):
        encode(stale)


def test_another_table_is_no_samples_table(tmp_path, loaded):
    project = ready(tmp_path)
    pq.write_table(pa.table({"x": [1]}), project.workspace.path(project.samples))
    with pytest.raises(ParentError, match="expected samples/1"):
        encode(project)


def test_values_that_are_not_finite_are_refused_by_sample(tmp_path, loaded):
    project = make_project(tmp_path, texts=["one", "two", "huge", "four"])
    prepare(project)
    with pytest.raises(InputError, match="sample s2, text"):
        encode(project)


def test_a_picture_that_went_bad_is_left_out_and_listed(tmp_path, loaded):
    project = ready(tmp_path)
    table = pq.read_table(project.workspace.path(project.samples))
    pictures = table["image"].to_pylist()
    pictures[13] = b"gone bad"
    index = table.schema.get_field_index("image")
    table = table.set_column(index, "image", pa.array(pictures, pa.binary()))
    pq.write_table(table, project.workspace.path(project.samples))
    assert metadata_of(table.schema)["schema"] == SAMPLES.tag
    (skipped,) = encode(project).skipped
    assert (skipped["sample_id"], skipped["row"]) == ("s13", 14)
    assert "decoded" in skipped["reason"]
    assert opened(project).sample_ids == [f"s{i}" for i in range(N) if i != 13]
    again = encode(project)
    assert not again.ran
    assert again.skipped == (skipped,)
