"""What was written comes back, without copies; anything that isn't whole is refused by name."""

import dataclasses
import pickle
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.errors import InputError, ParentError
from raymoe.features.geometry import Geometry
from raymoe.features.parts import ModalityInfo, Row, SequenceRow, part_name, write_marker, write_part
from raymoe.features.store import FeatureStore
from raymoe.features.text_pieces import TextPiece
from raymoe.project import artifacts
from raymoe.project.contracts import FEATURES, FEATURES_WITH_SPANS
from raymoe.project.provenance import Provenance
from raymoe.project.workspace import Workspace
from raymoe.task import MULTILABEL

TEXT, IMAGE = ModalityInfo("text", "text", 3, 9, None), ModalityInfo("image", "image", 4, 6, (2, 3))
PROVENANCE = Provenance("encode", FEATURES.tag, {"a": 1})
MADE_BY = "raymoe encode toy"


def open_store(workspace):
    return FeatureStore.open(artifacts.FEATURES.at(workspace, "f", MADE_BY))


def make_rows(lengths, seed=0):
    generator = np.random.default_rng(seed)

    def sequence(info, length):
        return SequenceRow(
            generator.standard_normal((length, info.width)).astype(np.float16),
            generator.random(length) < 0.9,
            generator.random(length) < 0.2,
            [f"t{k}" for k in range(length)] if info.kind == "text" else None,
        )

    return [
        Row(
            f"s{i}",
            ("train", "val", "test")[i % 3],
            [i % 3],
            {"text": sequence(TEXT, t), "image": sequence(IMAGE, m)},
        )
        for i, (t, m) in enumerate(lengths)
    ]


def write_store(folder, rows, part_rows=100, task="multilabel"):
    workspace = Workspace(folder)
    parts = [rows[i : i + part_rows] for i in range(0, len(rows), part_rows)]
    for i, part in enumerate(parts):
        write_part(workspace, part_name("f", i), part, [TEXT, IMAGE], PROVENANCE)
    write_marker(workspace, "f", PROVENANCE, [TEXT, IMAGE], [len(p) for p in parts], classes="abc", task=task)
    return workspace


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=150), st.integers(1, 80)
)
def test_ragged_sequences_come_back_as_they_were(tmp_path_factory, lengths, part_rows):
    rows = make_rows(lengths)
    store = open_store(write_store(tmp_path_factory.mktemp("w"), rows, part_rows))
    assert len(store) == len(rows)
    assert store.sample_ids == [r.sample_id for r in rows]
    assert store.splits == [r.split for r in rows]
    assert store.labels == [r.labels for r in rows]
    for i, row in enumerate(rows):
        for name, wanted in row.sequences.items():
            features, valid, special = store.sequence(i, name)
            np.testing.assert_array_equal(features, wanted.features_TD)
            np.testing.assert_array_equal(valid, wanted.valid_T)
            np.testing.assert_array_equal(special, wanted.special_T)
            pieces = store.pieces(i, name)
            assert (None if pieces is None else [piece.text for piece in pieces]) == wanted.tokens


span = st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99))
piece = st.builds(TextPiece, st.text(max_size=3), st.booleans(), st.just(False), span)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(piece, max_size=6), min_size=1, max_size=5))
def test_pieces_come_back_as_they_were(tmp_path_factory, texts):
    info, workspace = dataclasses.replace(TEXT, spans=True), Workspace(tmp_path_factory.mktemp("w"))
    made = Provenance("encode", FEATURES_WITH_SPANS.tag, {})
    rows = [
        Row(f"s{i}", "test", [], {"text": SequenceRow(
            np.zeros((len(pieces), 3), np.float16), np.ones(len(pieces), bool), np.zeros(len(pieces), bool),
            pieces=pieces,
        )})
        for i, pieces in enumerate(texts)
    ]  # fmt: skip
    write_part(workspace, part_name("f", 0), rows, [info], made)
    write_marker(workspace, "f", made, [info], [len(rows)], classes="ab", task="multilabel")
    store = open_store(workspace)
    assert store.modalities == (info,)
    assert [store.pieces(i, "text") for i in range(len(texts))] == texts


def test_metadata_comes_back(tmp_path):
    store = open_store(write_store(tmp_path, make_rows([(2, 6)] * 3)))
    assert store.fingerprint == PROVENANCE.fingerprint
    assert store.modalities == (TEXT, IMAGE)
    assert (store.classes, store.task) == (("a", "b", "c"), MULTILABEL)


def test_reading_copies_nothing(tmp_path):
    rows = make_rows([(8, 6)] * 200)
    store = open_store(write_store(tmp_path, rows))
    before = pa.total_allocated_bytes()
    views = [store.sequence(i, "image")[0] for i in range(len(store))]
    assert all(not view.flags.owndata and not view.flags.writeable for view in views)
    assert np.shares_memory(views[0], store.sequence(0, "image")[0])
    assert pa.total_allocated_bytes() - before < 4096


def test_a_batch_is_padded_to_its_longest_with_zeros(tmp_path):
    rows = make_rows([(2, 6), (5, 1), (0, 3)])
    store = open_store(write_store(tmp_path, rows))
    batch = store.batch([2, 1, 0])
    assert batch.sample_ids == ["s2", "s1", "s0"]
    assert batch.features["text"].shape == (3, 5, 3)
    assert batch.features["image"].shape == (3, 6, 4)
    assert batch.features["text"].dtype == torch.float32
    for b, i in enumerate([2, 1, 0]):
        for name, wanted in rows[i].sequences.items():
            length = len(wanted.features_TD)
            np.testing.assert_array_equal(batch.features[name][b, :length], wanted.features_TD)
            np.testing.assert_array_equal(batch.valid[name][b, :length], wanted.valid_T)
            np.testing.assert_array_equal(batch.special[name][b, :length], wanted.special_T)
            assert not batch.features[name][b, length:].any()
            assert not batch.valid[name][b, length:].any()
            assert not batch.special[name][b, length:].any()
    assert store.batch([2]).features["text"].shape == (1, 1, 3)  # an empty text still has the shape of one
    assert batch.to("cpu").features["text"].equal(batch.features["text"])


def test_labels_as_losses_want_them(tmp_path):
    store = open_store(write_store(tmp_path, make_rows([(1, 1)] * 3), task="multiclass"))
    assert store.batch([2, 0]).labels.dtype == torch.int64


def test_pooling_takes_candidates_or_else_all_that_is_valid(tmp_path):
    features = np.arange(12, dtype=np.float16).reshape(4, 3)
    yes, no = np.ones(4, bool), np.zeros(4, bool)
    picture = SequenceRow(np.zeros((1, 4), np.float16), yes[:1], no[:1])
    masks = [(yes, np.array([1, 0, 0, 1], bool)), (np.array([1, 1, 0, 0], bool), yes), (no, no)]
    rows = [
        Row(str(i), "test", [0], {"text": SequenceRow(features, valid, special, ["t"] * 4), "image": picture})
        for i, (valid, special) in enumerate(masks)
    ]
    pooled = open_store(write_store(tmp_path, rows)).pooled([0, 1, 2], "text")
    np.testing.assert_allclose(pooled, [features[1:3].mean(0), features[:2].mean(0), np.zeros(3)])


def test_what_patches_show_comes_back_and_is_left_out_where_nothing_is_to_say(tmp_path):
    rows = make_rows([(2, 6), (3, 2), (1, 0)])
    kinds = [Geometry(2, 3, (0.25, -0.5, 1 / 3, 1.5)), Geometry(1, 2), None]
    rows = [
        dataclasses.replace(
            row,
            sequences={**row.sequences, "image": dataclasses.replace(row.sequences["image"], geometry=kind)},
        )
        for row, kind in zip(rows, kinds, strict=True)
    ]
    store = open_store(write_store(tmp_path / "some", rows))
    assert [store.geometry(i, "image") for i in range(3)] == [*kinds[:2], Geometry(2, 3)]
    assert store.geometry(0, "text") is None
    plain = open_store(write_store(tmp_path / "none", make_rows([(2, 6)])))
    assert plain.geometry(0, "image") == Geometry(2, 3)
    schema = pa.ipc.open_file(tmp_path / "none" / "f" / "part-00000.arrow").schema
    assert not {"image.grid", "image.box"} & set(schema.names)


def test_a_store_of_a_cropping_encoder_that_does_not_say_what_it_shows(tmp_path, monkeypatch):
    made = Provenance("encode", FEATURES.tag, {"modalities": {"image": {"name": "clip"}}})
    monkeypatch.setattr(sys.modules[__name__], "PROVENANCE", made)
    assert open_store(write_store(tmp_path, make_rows([(2, 6)]))).geometry(0, "image") is None


def test_rows_are_found_by_split_and_id(tmp_path):
    store = open_store(write_store(tmp_path, make_rows([(1, 1)] * 7)))
    assert store.indices("train").tolist() == [0, 3, 6]
    assert store.indices("train").dtype == np.int64
    assert store.index_of("s5") == 5
    with pytest.raises(InputError, match="no split 'dev'") as caught:
        store.indices("dev")
    assert "test, train, val" in caught.value.remedy
    with pytest.raises(InputError, match="no sample 'x'"):
        store.index_of("x")
    with pytest.raises(IndexError):
        store.sequence(7, "text")


def test_it_travels_to_another_process(tmp_path):
    store = open_store(write_store(tmp_path, make_rows([(4, 6)] * 80)))
    store.batch([0])
    data = pickle.dumps(store)
    assert len(data) < 2000  # the place, not the features
    assert pickle.loads(data).batch([79]).features["text"].equal(store.batch([79]).features["text"])


def test_an_incomplete_store_is_refused(tmp_path):
    workspace = write_store(tmp_path, make_rows([(4, 6)] * 5))
    (tmp_path / "f" / "features.json").unlink()
    with pytest.raises(ParentError, match=r"features\.json is missing") as caught:
        open_store(workspace)
    assert MADE_BY in caught.value.remedy


@pytest.mark.parametrize("damage", ["cut", "gone", "other", "rows", "foreign", "zeros"])
def test_a_damaged_part_is_named(tmp_path, damage):
    rows = make_rows([(4, 6)] * 25)
    workspace = write_store(tmp_path, rows, part_rows=10)
    path = tmp_path / "f" / "part-00001.arrow"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    elif damage == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == "gone":
        path.unlink()
    elif damage == "rows":
        write_part(workspace, "f/part-00001.arrow", rows[:3], [TEXT, IMAGE], PROVENANCE)
    elif damage == "other":
        another = Provenance("encode", FEATURES.tag, {"a": 2})
        write_part(workspace, "f/part-00001.arrow", rows[10:20], [TEXT, IMAGE], another)
    else:
        with pa.ipc.new_file(path, pa.schema({"x": pa.int8()})):
            pass
    with pytest.raises(ParentError, match=r"part-00001\.arrow") as caught:
        open_store(workspace)
    assert MADE_BY in caught.value.remedy


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "samples/1"}', '{"schema": "features/2"}'])
def test_a_marker_that_is_none_is_refused(tmp_path, content):
    workspace = write_store(tmp_path, make_rows([(4, 6)] * 2))
    (tmp_path / "f" / "features.json").write_text(content)
    with pytest.raises(ParentError, match=r"features\.json"):
        open_store(workspace)


def test_a_store_of_an_earlier_version_is_refused_with_the_command_that_replaces_it(tmp_path):
    workspace = write_store(tmp_path, make_rows([(4, 6)] * 2))
    path = tmp_path / "f" / "features.json"
    path.write_text(path.read_text().replace("features/2", "features/1"))
    with pytest.raises(ParentError, match="holds features/1, expected features/2") as caught:
        open_store(workspace)
    assert f"{MADE_BY} --overwrite" in caught.value.remedy


def test_batches_are_read_ahead_and_are_what_batch_gives(tmp_path, monkeypatch):
    store = open_store(write_store(tmp_path, make_rows([(2, 6), (5, 1), (0, 3)] * 4)))
    read, original = [threading.Event() for _ in range(3)], store._read

    def counted(rows, *options):
        found = original(rows, *options)
        read[rows[0] // 4].set()
        return found

    monkeypatch.setattr(store, "_read", counted)
    batches = store.batches(np.arange(12), 4)
    for number, batch in enumerate(batches):
        if number < 2:
            assert read[number + 1].wait(120), "the next is read while this one is in use"
        wanted = store.batch(np.arange(4 * number, 4 * number + 4))
        assert batch.sample_ids == wanted.sample_ids
        for name in ("text", "image"):
            assert batch.features[name].equal(wanted.features[name])
            assert batch.pooled[name].equal(wanted.pooled[name])
    assert number == 2


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    store = open_store(write_store(tmp_path, make_rows([(2, 6), (5, 1)])))
    assert store.batch([0], pooled=False).pooled == {}
    monkeypatch.setattr(store, "sequence", None)
    (batch,) = store.batches([1, 0], 2, sequences=False)
    assert batch.features == batch.valid == batch.special == {}
    assert batch.pooled["text"].shape == (2, 3)
    assert batch.labels.shape[0] == 2


def test_an_error_while_reading_ahead_reaches_the_caller(tmp_path):
    store = open_store(write_store(tmp_path, make_rows([(2, 6), (5, 1)])))
    batches = store.batches([0, 7], 1)
    assert next(batches).sample_ids == ["s0"]
    with pytest.raises(IndexError, match="sample 7 of 2"):
        next(batches)


def test_pooled_vectors_come_with_the_batch(tmp_path):
    rows = make_rows([(2, 6), (5, 1), (0, 3)] * 40)
    own = np.arange(3, dtype=np.float32) + 0.1  # a model's own, kept in full
    given_row = dataclasses.replace(rows[1].sequences["text"], pooled_D=own)
    rows[1] = dataclasses.replace(rows[1], sequences={**rows[1].sequences, "text": given_row})
    store = open_store(write_store(tmp_path, rows, part_rows=70))
    batch = store.batch([1, 100, 2])
    assert {name: t.shape for name, t in batch.pooled.items()} == {"text": (3, 3), "image": (3, 4)}
    assert batch.pooled["text"].dtype == torch.float32
    np.testing.assert_array_equal(batch.pooled["text"][0], own)
    for b, i in enumerate([1, 100, 2]):
        np.testing.assert_array_equal(batch.pooled["image"][b], store.pooled([i], "image")[0])
    assert not batch.pooled["text"][2].any()  # no position, no mean
    assert batch.to("cpu").pooled["image"].equal(batch.pooled["image"])
