"""encode goes on where it stopped, makes nothing twice, and refuses parents that don't fit."""

import io
import json
import multiprocessing
import os
import re
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from raymoe.config import Preset
from raymoe.data import prepare
from raymoe.errors import InputError, ParentError, RaymoeError, WorkspaceError
from raymoe.features import batches, parts
from raymoe.features import encode as stage
from raymoe.features.encode import encode
from raymoe.features.encoder import EncodedBatch
from raymoe.features.geometry import Geometry
from raymoe.features.store import FeatureStore
from raymoe.project import Project, artifacts, lock
from raymoe.project.artifacts import FEATURES
from raymoe.project.contracts import SAMPLES
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace

N = 25


class Letters:
    """A text encoder for tests: one position per letter behind a CLS, its code as the feature."""

    kind, width, max_length, grid = "text", 2, 20, None
    prepare = staticmethod(list)

    def run(self, items):
        length = max(len(text) for text in items) + 1
        features = torch.full((len(items), length, 2), -7.0)
        valid = torch.zeros(len(items), length, dtype=torch.bool)
        for b, text in enumerate(items):
            features[b, : len(text) + 1, 0] = torch.tensor([0.0, *map(ord, text)])
            valid[b, : len(text) + 1] = True
            if text == "huge":
                features[b, 1] = 1e6
        special = (torch.arange(length) == 0).expand_as(valid)
        cut = frozenset(b for b, text in enumerate(items) if text.startswith("long"))
        return EncodedBatch(features, valid, special, [["^", *text] for text in items], None, cut=cut)


class Corners:
    """A picture encoder for tests: the mean colour of four quarters."""

    kind, width, max_length, grid = "image", 3, 4, (2, 2)
    prepare = staticmethod(list)

    def run(self, items):
        small = [np.asarray(p.resize((2, 2), Image.BOX), dtype=np.float32) for p in items]
        features = torch.from_numpy(np.stack(small)).reshape(len(items), 4, 3)
        valid = torch.ones(len(items), 4, dtype=torch.bool)
        return EncodedBatch(features, valid, torch.zeros_like(valid), None, self.grid)


@pytest.fixture
def loaded(monkeypatch):
    """Test encoders in place of real ones; lists what was loaded."""
    calls = []

    def load(kind, config, device):
        calls.append(kind)
        return Letters() if kind == "text" else Corners()

    monkeypatch.setattr(batches, "load_encoder", load)
    monkeypatch.setattr(stage, "encoder_identity", lambda kind, config: {"name": config.source})
    monkeypatch.setattr(stage, "PART_ROWS", 10)
    return calls


def encoded_picture(size):
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


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
    return FeatureStore.open(FEATURES.of(project))


def files(project):
    folder = artifacts.FEATURES.of(project).path
    return {
        name: open(f"{folder}/{name}", "rb").read()
        for name in project.workspace.names(artifacts.FEATURES.of(project).name)
    }


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
        assert [piece.text for piece in store.pieces(i, "text")] == ["^", *text]
        assert store.sequence(i, "image")[0].tolist() == [[i, 2 * i, 3 * i]] * 4
        assert store.pieces(i, "image") is None


class Shaped(Corners):
    """A picture encoder for tests that takes no picture of two pixels' width; a patch per pixel."""

    grid = None

    def prepare(self, items):
        items = list(items)
        if any(item.width == 2 for item in items):
            raise ValueError("the encoder's image processor can't take it")
        return items

    def run(self, items):
        longest = max(p.width * p.height for p in items)
        features, valid = (
            torch.zeros(len(items), longest, 3),
            torch.zeros(len(items), longest, dtype=torch.bool),
        )
        for b, item in enumerate(items):
            valid[b, : item.width * item.height] = True
        geometry = [Geometry(item.height, item.width) for item in items]
        return EncodedBatch(features, valid, torch.zeros_like(valid), None, None, geometry=geometry)


def test_pictures_of_any_shape_are_stored_with_theirs_and_those_that_can_not_be_taken_are_left_out(
    tmp_path, loaded, monkeypatch
):
    monkeypatch.setattr(batches, "load_encoder", lambda kind, *_: Letters() if kind == "text" else Shaped())
    sizes = [(1 + i % 5, 3) for i in range(N)]
    monkeypatch.setitem(globals(), "picture", lambda i: encoded_picture(sizes[i]))
    project = ready(tmp_path)
    result = encode(project)
    store = opened(project)
    assert [s["sample_id"] for s in result.skipped] == [f"s{i}" for i in range(N) if sizes[i][0] == 2]
    assert {s["reason"] for s in result.skipped} == {"the encoder's image processor can't take it"}
    for i, sample_id in enumerate(store.sample_ids):
        width, height = sizes[int(sample_id[1:])]
        assert store.geometry(i, "image") == Geometry(height, width)
        assert len(store.sequence(i, "image")[0]) == width * height
    image = next(m for m in store.modalities if m.name == "image")
    assert (image.grid, image.max_length) == (None, 15)  # as long as the longest


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
    artifacts.FEATURES.of(whole).remove()

    write, made = parts.write_part, []

    def failing(workspace, name, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(name)
        write(workspace, name, *rest)

    monkeypatch.setattr(parts, "write_part", failing)
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
    path = project.workspace.path(f"{artifacts.FEATURES.of(project).name}/part-00001.arrow")
    with open(path, "r+b") as file:
        file.truncate(700)
    if not complete:
        project.workspace.remove(f"{artifacts.FEATURES.of(project).name}/features.json")
    write, made = parts.write_part, []
    monkeypatch.setattr(
        parts, "write_part", lambda w, name, *rest: (made.append(name), write(w, name, *rest))
    )
    assert encode(project).ran
    assert made == ["toy/features/part-00001.arrow"]
    assert files(project) == wanted


def test_a_store_of_an_older_version_is_complete_and_is_read(tmp_path, loaded, monkeypatch):
    """Its features are the same; its texts have marks in place of words and spans."""
    project = ready(tmp_path)
    with monkeypatch.context() as before:
        for module in (stage, batches):
            before.setattr(module, "WITH_SPANS", ())
        old = encode(project)
        wanted = files(project)
    assert json.loads(wanted["features.json"])["schema"] == "features/2"
    assert "spans" not in json.loads(wanted["features.json"])["modalities"][0]
    again = encode(project)
    assert (again.ran, again.fingerprint) == (False, old.fingerprint)
    assert files(project) == wanted
    assert [piece.text for piece in opened(project).pieces(0, "text")] == ["^", "a", "0"]

    project.workspace.remove(f"{artifacts.FEATURES.of(project).name}/part-00000.arrow")
    assert encode(project).ran, "what is made again is all of the new version"
    assert json.loads(files(project)["features.json"])["schema"] == "features/3"
    assert opened(project).modalities[0].spans


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
    pq.write_table(pa.table({"x": [1]}), artifacts.SAMPLES.of(project).path)
    with pytest.raises(ParentError, match="expected samples/1"):
        encode(project)


def test_values_that_are_not_finite_are_refused_by_sample(tmp_path, loaded):
    project = make_project(tmp_path, texts=["one", "two", "huge", "four"])
    prepare(project)
    with pytest.raises(InputError, match="sample s2, text"):
        encode(project)


def test_a_picture_that_went_bad_is_left_out_and_listed(tmp_path, loaded):
    project = ready(tmp_path)
    table = pq.read_table(artifacts.SAMPLES.of(project).path)
    pictures = table["image"].to_pylist()
    pictures[13] = b"gone bad"
    index = table.schema.get_field_index("image")
    table = table.set_column(index, "image", pa.array(pictures, pa.binary()))
    pq.write_table(table, artifacts.SAMPLES.of(project).path)
    assert metadata_of(table.schema)["schema"] == SAMPLES.tag
    (skipped,) = encode(project).skipped
    assert (skipped["sample_id"], skipped["row"]) == ("s13", 14)
    assert "decoded" in skipped["reason"]
    assert opened(project).sample_ids == [f"s{i}" for i in range(N) if i != 13]
    again = encode(project)
    assert not again.ran
    assert again.skipped == (skipped,)


def test_texts_that_were_cut_are_counted_unless_left_out(tmp_path, loaded, capsys):
    texts = ["long one", "two", "long three", "four", "long five"] * 5
    project = make_project(tmp_path, texts=texts)
    prepare(project)
    table = pq.read_table(artifacts.SAMPLES.of(project).path)
    pictures = table["image"].to_pylist()
    pictures[2] = b"gone bad"
    table = table.set_column(table.schema.get_field_index("image"), "image", pa.array(pictures, pa.binary()))
    pq.write_table(table, artifacts.SAMPLES.of(project).path)
    encode(project)
    assert opened(project).cut == {"text": 14}
    printed = capsys.readouterr().out
    assert "text: 14 texts were longer than 20 tokens and cut" in printed
    assert "max_length is" not in printed, "it was not asked for"
    encode(make_project(tmp_path, max_length=60), overwrite=True)
    assert "text: max_length is 60, but its encoder has 20 positions" in capsys.readouterr().out


def test_pooled_vectors_are_those_of_the_encoder_or_else_the_mean(tmp_path, loaded, monkeypatch):
    def last(self, items):
        batch = run(self, items)
        batch.pooled_BD = torch.tensor([[len(text), 0.1] for text in items])
        return batch

    project = ready(tmp_path)
    encode(project)
    means = opened(project).pooled([0, 12], "text")
    texts = ["abcdefghi"[: 1 + i % 9] + str(i) for i in (0, 12)]
    np.testing.assert_allclose(means[:, 0], [np.mean([ord(c) for c in text]) for text in texts], rtol=1e-6)
    run = Letters.run
    monkeypatch.setattr(Letters, "run", last)
    encode(project, overwrite=True)
    wanted = np.array([[len(text), 0.1] for text in texts], np.float32)
    np.testing.assert_array_equal(opened(project).pooled([0, 12], "text"), wanted)


@pytest.mark.parametrize(("device", "threads"), [("cpu", 1), ("cpu", 5), ("cuda", 3)])
def test_how_the_work_is_spread_over_threads_changes_nothing(tmp_path, loaded, monkeypatch, device, threads):
    project = ready(tmp_path)
    encode(project, device="cpu")
    wanted = files(project)
    monkeypatch.setattr(stage, "resolve_device", lambda _: device)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    encode(project, overwrite=True)
    assert files(project) == wanted


def test_a_gpu_never_waits_for_pictures_to_be_decoded(tmp_path, loaded, monkeypatch):
    """While the model runs on one batch, the batch after the next is being prepared."""
    prepared, late = [], []
    another = threading.Condition()

    class Watched(Corners):
        def prepare(self, items):
            items = list(items)
            with another:
                prepared.append(items)
                another.notify_all()
            return items

        def run(self, items):
            number = self.runs = getattr(self, "runs", 0) + 1
            with another:
                if not another.wait_for(lambda: len(prepared) >= min(number + 2, 10), timeout=60):
                    late.append(number)
            return super().run(items)

    monkeypatch.setattr(batches, "load_encoder", lambda kind, *_: Letters() if kind == "text" else Watched())
    monkeypatch.setattr(stage, "resolve_device", lambda _: "cuda")
    encode(ready(tmp_path))
    assert len(prepared) == 4 + 4 + 2  # parts of 10, 10 and 5 pictures in batches of 3
    assert not late


def test_a_full_gpu_names_the_knob_and_keeps_what_is_done(tmp_path, loaded, monkeypatch):
    def run(self, items):
        if len(files_made) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(self, items)

    files_made, write, real = [], parts.write_part, Corners.run
    monkeypatch.setattr(
        parts, "write_part", lambda w, name, *r: (write(w, name, *r), files_made.append(name))
    )
    monkeypatch.setattr(Corners, "run", run)
    project = ready(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with pytest.raises(
        RaymoeError, match=r"GPU's memory is full: hf:i encodes image in batches of 3"
    ) as caught:
        encode(project)
    for knob in ("data.image.encoder.batch_size", "precision", "--device cpu"):
        assert knob in caught.value.remedy
    assert project.workspace.names(artifacts.FEATURES.of(project).name) == ["part-00000.arrow"]
    assert encode_again(project, monkeypatch, real) == 3


def encode_again(project, monkeypatch, run):
    monkeypatch.setattr(Corners, "run", run)
    assert encode(project).ran
    return len(project.workspace.names(artifacts.FEATURES.of(project).name)) - 1


def test_a_full_disk_is_said_and_keeps_what_fits(tmp_path, loaded, mounted, monkeypatch):
    class Wide(Corners):
        width, max_length, grid = 4096, 4, (2, 2)

        def run(self, items):
            valid = torch.ones(len(items), 4, dtype=torch.bool)
            features = torch.ones(len(items), 4, 4096)
            return EncodedBatch(features, valid, torch.zeros_like(valid), None, self.grid)

    monkeypatch.setattr(batches, "load_encoder", lambda kind, *_: Letters() if kind == "text" else Wide())
    project = make_project(tmp_path)
    project = Project(project.preset, Workspace(mounted / "ws"), "toy.toml")
    prepare(project)
    with pytest.raises(WorkspaceError, match="the workspace is full"):
        encode(project)
    assert "part-00000.arrow" in project.workspace.names(artifacts.FEATURES.of(project).name)


class Large:
    """A picture encoder whose features are as large as a vision Transformer's."""

    kind, width, max_length, grid = "image", 768, 196, (14, 14)

    def prepare(self, items):
        return list(items)

    def run(self, items):
        valid = torch.ones(len(items), 196, dtype=torch.bool)
        features = torch.ones(len(items), 196, 768)
        return EncodedBatch(features, valid, torch.zeros_like(valid), None, self.grid)


def peaks_of_encoding(*projects):
    """Most memory this process ever held, in MiB, after encoding each; for a process of its own."""
    torch.set_num_threads(1)
    batches.load_encoder = lambda kind, *_: Letters() if kind == "text" else Large()
    stage.encoder_identity = lambda kind, config: {"name": config.source}
    stage.PART_ROWS = 32
    found = []
    for project in projects:
        encode(project, device="cpu")
        status = Path("/proc/self/status").read_text()  # ru_maxrss would count the parent before exec too
        found.append(int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024)
    return found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, monkeypatch):
    """Four times the samples, 290 MiB of features and 90 MiB of pictures more, in the same memory."""
    monkeypatch.setattr("raymoe.project.tables.ROW_GROUP", 32)
    noise = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(noise.integers(0, 255, (190, 190, 3), dtype=np.uint8)).save(buffer, "PNG")
    projects = []
    monkeypatch.setattr("test_encode.picture", lambda _: buffer.getvalue())
    for number in (320, 1280):
        folder = tmp_path / str(number)
        folder.mkdir()
        projects.append(make_project(folder, texts=["some words"] * number))
        prepare(projects[-1])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        peaks = process.submit(peaks_of_encoding, *projects).result()
    assert peaks[1] - peaks[0] < 60, peaks


def test_of_two_that_would_encode_the_same_one_does(tmp_path, loaded, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    project = ready(tmp_path)
    with (
        lock.RunLock(project.workspace, f"{project.root}/encode.lock", "these features"),
        pytest.raises(RaymoeError, match=f"at work on these features: process {os.getpid()} on .*, since 20"),
    ):
        encode(project)
    assert not loaded, "no encoder was loaded"
    assert encode(project).ran
    assert not project.workspace.exists(f"{project.root}/encode.lock")
