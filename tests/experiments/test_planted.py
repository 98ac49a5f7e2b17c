"""Perfect scores find every planted pair, random ones what chance does; gaps in the data are named."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from raymoe.config import load_preset
from raymoe.data import prepare
from raymoe.data.planted import KINDS, WITH_PAIRS, box
from raymoe.errors import InputError, ParentError
from raymoe.experiments.planted import PLANTED, PLANTED_EXPERTS, PLANTED_RANKS
from raymoe.experiments.planted.experts import resampled_class_scores
from raymoe.experiments.planted.measure import measure as planted
from raymoe.experiments.planted.pairs import (
    MEASURES,
    METHODS,
    Ranking,
    chance_of,
    mean_ranking,
    measures,
    places_of,
)
from raymoe.experiments.planted.truth import patches_in, read_truth, tokens_of
from raymoe.experiments.running import evaluate
from raymoe.experiments.trained_runs import finished_runs
from raymoe.features.geometry import Geometry
from raymoe.features.parts import ModalityInfo, Row, SequenceRow, part_name, write_marker, write_part
from raymoe.features.store import FeatureStore
from raymoe.features.text_pieces import pieces_by_marks
from raymoe.models.checkpoint import load_checkpoint, read_info
from raymoe.project import Project, artifacts
from raymoe.project.artifacts import CHECKPOINT, FEATURES, INTERACTIONS
from raymoe.project.contracts import IMPORTANCE, SAMPLES
from raymoe.project.interaction_tables import of_expert
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from raymoe.project.workspace import Workspace
from raymoe.training import train

SETTINGS = [
    "data.scenes=100",
    "data.alone=1",
    "model.hidden_dim=8",
    "model.num_heads=2",
    "model.num_layers=1",
    "model.hidden_dim_rw=4",
    "train.epochs=1",
    "sweep.seeds=[0,1]",
]

EXPLAINED = 4  # scenes with all targets on
ALONE = len(WITH_PAIRS)  # with one of them


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Planted scenes with made-up features, one training of an epoch, and no tables of pairs yet."""
    workspace = Workspace(tmp_path_factory.mktemp("planted"))
    project = Project(load_preset("planted", SETTINGS), workspace, "planted", tuple(SETTINGS))
    prepare(project)
    write_features(project)
    train(project, device="cpu")
    return project


def write_features(project):
    samples = artifacts.SAMPLES.of(project).read()
    infos = [ModalityInfo("text", "text", 6, 12, None), ModalityInfo("image", "image", 5, 49, (7, 7))]
    rng = np.random.default_rng(0)
    rows = []
    for sample in samples.to_pylist():
        tokens = ["[CLS]", *sample["text"].split(), "[SEP]"]
        special = np.array([True, *[False] * (len(tokens) - 2), True])
        text = rng.normal(size=(len(tokens), 6)).astype(np.float16)
        image = rng.normal(size=(49, 5)).astype(np.float16)
        sequences = {
            "text": SequenceRow(text, np.ones(len(text), bool), special, tokens),
            "image": SequenceRow(image, np.ones(49, bool), np.zeros(49, bool)),
        }
        rows.append(Row(sample["sample_id"], sample["split"], sample["labels"], sequences))
    parent = {"samples": metadata_of(samples.schema)["fingerprint"]}
    provenance = Provenance("encode", FEATURES.contract.tag, {}, parent)
    name = part_name(FEATURES.of(project).name, 0)
    write_part(project.workspace, name, rows, infos, provenance, {"rows": [0, len(rows)]})
    write_marker(
        project.workspace,
        FEATURES.of(project).name,
        provenance,
        infos,
        [len(rows)],
        classes=KINDS,
        task="multilabel",
    )


def write_tables(project, score, target="true", checkpoint=None):
    """Importance and pairs of two experts.

    ``score(true, rng)`` is the SII and the gap of a pair, true where it is the synergistic target's.
    """
    workspace = project.workspace
    store = FeatureStore.open(FEATURES.of(project))
    samples = artifacts.SAMPLES.of(project).read().to_pylist()
    checkpoint = checkpoint or read_info(CHECKPOINT.of(project)).fingerprint
    parents = {"checkpoint": checkpoint, "features": store.fingerprint}
    rng = np.random.default_rng(1)
    chosen = [s for s in samples if s["split"] == "test"][: EXPLAINED + ALONE]
    experts = ["synergy", "redundancy"]
    importance, pairs = [], {expert: [] for expert in experts}
    for sample in chosen:
        index = store.index_of(sample["sample_id"])
        targets = json.loads(sample["planted"])["targets"]
        tokens = tokens_of(store, index, "text", targets["synergistic"]["words"])
        patches = patches_in(Geometry(7, 7), targets["synergistic"]["boxes"])
        for expert in experts:
            for modality, length in (("text", 9), ("image", 49)):
                row = {"sample_id": sample["sample_id"], "expert": expert, "modality": modality}
                scores = rng.random(length).astype(np.float32)
                importance.append(row | {"method": "grad_attnroll", "target": target, "scores": scores})
            for u, v in itertools.product(range(1, 8), range(49)):
                value = float(score(u in tokens and v in patches, rng))
                row = dict.fromkeys(INTERACTIONS.contract.schema.names, 0)
                row |= {"sample_id": sample["sample_id"], "expert": expert, "target": target}
                row |= {"u_modality": "text", "u": u, "v_modality": "image", "v": v}
                pairs[expert].append(row | {"sii": value, "redundancy_gap": value})
    table = pa.Table.from_pylist(importance, IMPORTANCE.schema)
    made = Provenance("attribute", IMPORTANCE.tag, {}, parents)
    write_table(workspace, f"{project.run}/importance.arrow", table, IMPORTANCE, made, {"skipped": []})
    made = Provenance("probe", INTERACTIONS.contract.tag, {}, {**parents, "importance": made.fingerprint})
    for expert, rows in pairs.items():
        notes = {"experts": experts, "plan": "p", "skipped": [], "failed": {}}
        table = pa.Table.from_pylist(rows, INTERACTIONS.contract.schema)
        write_table(
            workspace,
            of_expert(INTERACTIONS.of(project), expert).name,
            table,
            INTERACTIONS.contract,
            made,
            notes,
        )


def tables(project):
    return [
        read_table(project.workspace, f"planted/evaluation/{name}.parquet", contract, "").to_pandas()
        for name, contract in (("planted", PLANTED), ("planted-experts", PLANTED_EXPERTS))
    ]


def test_missing_tables_name_the_command_and_other_checkpoints_are_refused(made):
    with pytest.raises(ParentError, match="is missing") as caught:
        planted(made, device="cpu")
    assert "raymoe probe planted" in caught.value.remedy
    assert "--seed" not in caught.value.remedy, "it is the preset's own"
    write_tables(made, lambda true, rng: true, checkpoint="another")
    with pytest.raises(ParentError, match="made from checkpoint another") as caught:
        planted(made, device="cpu")
    assert "raymoe attribute planted" in caught.value.remedy
    write_tables(made, lambda true, rng: true, target="predicted")
    with pytest.raises(InputError, match="explain the predicted classes"):
        planted(made, device="cpu")


def test_perfect_scores_find_all_pairs_and_random_ones_as_many_as_chance(made, capsys):
    write_tables(made, lambda true, rng: true + rng.random() / 2)
    assert evaluate(made, "planted", device="cpu", overwrite=True).ran
    assert not planted(made, device="cpu").ran
    every, experts = tables(made)
    pairs, alone = (every[every["scenes"] == scenes] for scenes in ("all", "alone"))
    assert len(pairs) + len(alone) == len(every)
    assert set(alone["samples"]) == {1}
    assert set(alone["interaction"]) == set(WITH_PAIRS)
    found = alone[(alone["method"] == "sii") & (alone["measure"] == "average_precision")]
    assert (found.set_index("interaction").loc["synergistic", "value"] == 1).all()
    assert set(pairs["method"]) == set(METHODS)
    assert set(pairs["interaction"]) == set(WITH_PAIRS)
    assert set(pairs["samples"]) == {EXPLAINED}
    assert set(pairs["pairs"]) == {EXPLAINED * 7 * 49}
    assert set(pairs["positives"]) == {EXPLAINED * 4}
    others = pairs[(pairs["interaction"] != "synergistic") & (pairs["method"] == "sii")]
    assert (others[others["measure"] == "precision_at_k"]["value"] < 0.2).all()
    own = pairs[pairs["seed"].isna() & (pairs["interaction"] == "synergistic")]
    keyed = own.set_index(["method", "measure"]).sort_index()
    for method in ("sii", "redundancy_gap"):
        assert (keyed.loc[method][["value", "low", "high"]] == 1).all(axis=None)
    assert (keyed.loc["-sii", "auroc"]["value"] == 0).all()
    for method in ("random", "product", "attention"):
        auroc = keyed.loc[method, "auroc"]
        assert auroc["value"].mean() == pytest.approx(0.5, abs=0.25), "of 8 rankings with 4 true pairs"
    assert keyed.loc["sii", "average_precision"]["chance"].iloc[0] == pytest.approx(chance_of(4, 343)[0])
    assert set(experts["quantity"]) == {
        "average_precision",
        "auroc",
        "drop:text",
        "drop:image",
        "weight",
        "chance",
    }
    weights = experts[experts["seed"].isna() & (experts["quantity"] == "weight")]
    assert weights.groupby("interaction")["value"].sum().to_numpy() == pytest.approx(1)
    said = capsys.readouterr().out
    assert "synergistic 4" in said, "samples"
    assert "Average precision in per cent of each expert's own logits" in " ".join(said.split())


def test_scores_without_a_second_seed_are_its_mean_and_another_is_left_out_by_name(made, capsys):
    write_tables(made, lambda true, rng: rng.random())
    second = replace(made, preset=made.preset.with_fields({"train.seed": 1}))
    train(second, device="cpu")
    planted(made, device="cpu")
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 1 left out: " in said
    assert re.search(r"Make it with: raymoe probe planted .*--seed 1", said)
    pairs, _ = tables(made)
    one, mean = pairs[pairs["seed"] == 0], pairs[pairs["seed"].isna()]
    assert one["value"].to_list() == mean["value"].to_list()
    write_tables(second, lambda true, rng: -float(true))
    planted(made, device="cpu")
    pairs, _ = tables(made)
    pairs = pairs[pairs["scenes"] == "all"]
    keys = ["expert", "interaction", "method", "measure"]
    each = [pairs[pairs["seed"] == s].set_index(keys)["value"] for s in (0, 1)]
    mean = pairs[pairs["seed"].isna()].set_index(keys)["value"]
    assert np.allclose(mean, (each[0] + each[1].loc[each[0].index]) / 2)
    assert (each[1].xs(("synergistic", "-sii"), level=("interaction", "method")) == 1).all()


def test_what_each_expert_knows_is_read_from_its_own_logits(made):
    """Against scikit-learn, on the scenes that were drawn freely."""
    write_tables(made, lambda true, rng: rng.random())
    planted(made, device="cpu")
    _, experts = tables(made)
    store = FeatureStore.open(FEATURES.of(made))
    free = store.indices("test")[EXPLAINED + ALONE :]
    model, _ = load_checkpoint(CHECKPOINT.of(made))
    batch = store.batch(free)
    nothing = {name: torch.zeros_like(batch.valid[name]) for name in model.names}
    without = nothing | {"image": batch.valid["image"]}
    with torch.no_grad():
        full, blind = (model(batch.features, batch.valid, m) for m in (nothing, without))
    row = experts[experts["seed"] == 0].set_index(["expert", "interaction", "quantity"])["value"]
    truth = batch.labels[:, 3].numpy()
    e = model.expert_names.index("synergy")
    seen, unseen = (
        average_precision_score(truth, o.expert_logits_EBC[e, :, 3].numpy()) for o in (full, blind)
    )
    assert row["synergy", "synergistic", "average_precision"] == pytest.approx(seen, abs=1e-4)
    assert row["synergy", "synergistic", "drop:image"] == pytest.approx(seen - unseen, abs=1e-4)
    assert row["mixture", "synergistic", "chance"] == pytest.approx(truth.mean())


def test_data_without_truth_and_samples_of_another_seed_are_refused(made, tiny):
    schema = pa.schema([*SAMPLES.schema, ("text", pa.string()), ("image", pa.binary())])
    provenance = Provenance("prepare", SAMPLES.tag, {})
    write_table(tiny.workspace, artifacts.SAMPLES.of(tiny).name, schema.empty_table(), SAMPLES, provenance)
    with pytest.raises(InputError, match="has no column planted"):
        evaluate(tiny, "planted")
    before = made.workspace.read(artifacts.SAMPLES.of(made).name)
    other = replace(made, preset=load_preset("planted", [*SETTINGS, "data.seed=1"]))
    try:
        prepare(other, overwrite=True)
        with pytest.raises(ParentError, match="is not that of"):
            planted(other, device="cpu")
        with pytest.raises(ParentError, match="seed: 1 there, 0 now"):
            planted(made, device="cpu")
        name = artifacts.SAMPLES.of(made).path
        column = pq.ParquetFile(name).metadata.row_group(0).column(0)
        damaged = bytearray(made.workspace.read(artifacts.SAMPLES.of(made).name))
        start = column.dictionary_page_offset or column.data_page_offset
        damaged[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
        made.workspace.write(artifacts.SAMPLES.of(made).name, bytes(damaged))
        with pytest.raises(ParentError, match="is not a whole Parquet file"):
            planted(other, device="cpu")
    finally:
        made.workspace.write(artifacts.SAMPLES.of(made).name, before)


def test_a_kind_of_model_that_was_not_trained_is_named(made, capsys):
    store = FeatureStore.open(FEATURES.of(made))
    found = finished_runs(made, store, ("dense", "fl-i2moe"))
    assert {run.kind for run in found} == {"fl-i2moe"}
    said = " ".join(capsys.readouterr().out.split())
    assert "no finished run of dense; make it with: raymoe train planted" in said
    assert "model.kind=dense" in said
    assert "what follows" not in said
    other = replace(made, preset=made.preset.with_fields({"train.seed": 7}))
    assert [run.seed for run in finished_runs(other, store, ("fl-i2moe",))] == [run.seed for run in found]
    assert "fl-i2moe: seed 7 has no finished run; what follows is of seed" in capsys.readouterr().out


def test_a_word_in_pieces_is_all_of_them_and_one_that_is_not_there_is_named(made):
    class Pieces:
        sample_ids = ("a",)

        def pieces(self, i, modality):
            return pieces_by_marks(["[CLS]", "a", "Ze", "##bra", "zebra", "sun"], [True] + [False] * 5)

    assert tokens_of(Pieces(), 0, "text", ["zebra", "sun"]) == {2, 3, 5}
    store = FeatureStore.open(FEATURES.of(made))
    with pytest.raises(InputError, match="'zebra' is no word"):
        tokens_of(store, 0, "text", ["zebra"])


def test_a_cell_is_four_patches():
    assert patches_in(Geometry(7, 7), [box(0)]) == {0, 1, 7, 8}
    assert patches_in(Geometry(7, 7), [box(5)]) == {18, 19, 25, 26}
    assert patches_in(Geometry(14, 14), [box(0)]) == {r * 14 + c for r in range(4) for c in range(4)}
    assert patches_in(Geometry(7, 7), []) == set()


@pytest.mark.parametrize(("positives", "pairs"), [(1, 4), (2, 5), (3, 4)])
def test_chance_is_the_mean_over_all_orders(positives, pairs):
    true = np.arange(pairs) < positives
    every = [measures(np.array(order, float), true) for order in itertools.permutations(range(pairs))]
    assert chance_of(positives, pairs) == pytest.approx(np.mean(every, 0))


def test_the_mean_over_seeds_is_of_the_samples_that_all_have():
    first = Ranking(
        ["a", "b"], np.array([[0.2], [0.4]]), np.array([[0.1], [0.3]]), np.array([4, 1]), np.array([9, 8])
    )
    second = Ranking(
        ["b", "c"], np.array([[0.8], [0.9]]), np.array([[0.5], [0.7]]), np.array([1, 2]), np.array([8, 7])
    )
    mean = mean_ranking([first, second])
    assert mean.sample_ids == ["b"]
    assert mean.values_NQ == pytest.approx(np.array([[0.6]]))
    assert mean.chance_NQ == pytest.approx(np.array([[0.4]]))
    assert (mean.positives_N.tolist(), mean.pairs_N.tolist()) == ([1], [8])


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: len({true for _, true in rows}) == 2
    )
)
def test_measures_are_scikit_learns_and_ties_have_no_order_of_their_own(rows):
    scores, true = (np.array(column) for column in zip(*rows, strict=True))
    k = int(true.sum())
    found = measures(scores.astype(float), true)
    assert found[0] == pytest.approx(average_precision_score(true, scores))
    assert found[1] == pytest.approx(roc_auc_score(true, scores))
    edge = np.sort(scores)[::-1][k - 1]
    sure, tied = true[scores > edge].sum(), true[scores == edge].sum()
    places = k - (scores > edge).sum()
    others = (scores == edge).sum() - tied
    assert sure + max(0, places - others) <= round(found[2] * k) <= sure + min(places, tied)


def test_no_positive_or_nothing_else_has_no_measure():
    for true in (np.zeros(3, bool), np.ones(3, bool)):
        assert np.isnan(measures(np.arange(3.0), true)).all()
        assert np.isnan(chance_of(int(true.sum()), 3)).all()
    assert len(measures(np.arange(3.0), np.array([0, 1, 0], bool))) == len(MEASURES)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20))
def test_resampled_scores_are_scikit_learns(rows):
    logits, truth, counts = (np.array(column) for column in zip(*rows, strict=True))
    precision, auroc = resampled_class_scores(logits.astype(float), truth, counts[None])
    on, off = counts[truth].sum(), counts[~truth].sum()
    if on:
        wanted = average_precision_score(truth, logits, sample_weight=counts)
        assert precision[0] == pytest.approx(wanted)
    else:
        assert np.isnan(precision[0])
    if on and off:
        assert auroc[0] == pytest.approx(roc_auc_score(truth, logits, sample_weight=counts))
    else:
        assert np.isnan(auroc[0])


def test_the_ranks_are_of_the_pairs_that_the_truth_names(made):
    write_tables(made, lambda true, rng: true + rng.random() / 2)
    planted(made, device="cpu", overwrite=True)
    ranks = read_table(made.workspace, "planted/evaluation/planted-ranks.parquet", PLANTED_RANKS, "")
    rows = ranks.to_pandas()
    rows = rows[rows["seed"] == 0]
    assert set(rows["method"]) == set(METHODS)
    first = rows[(rows["scenes"] == "all") & (rows["expert"] == "synergy")]
    assert len(first) == EXPLAINED * len(WITH_PAIRS) * len(METHODS)
    store = FeatureStore.open(FEATURES.of(made))
    truth, _ = read_truth(made, store)
    for row in rows[(rows["interaction"] == "synergistic") & (rows["method"] == "sii")].itertuples():
        assert sorted(row.rank) == [1, 2, 3, 4]
        target = truth[row.sample_id].targets["synergistic"]
        assert set(row.v) == patches_in(Geometry(7, 7), target["boxes"])
        assert set(row.u) == tokens_of(store, store.index_of(row.sample_id), "text", target["words"])
        assert (row.u_modality, row.v_modality, row.pairs) == ("text", "image", 343)


def test_pairs_of_the_same_score_share_the_better_rank():
    frame = pd.DataFrame({"u_modality": "text", "u": [1, 1, 2, 2], "v_modality": "image", "v": [0, 1, 0, 1]})
    found = places_of(frame, np.array([0, 1, 1, 1], bool), np.array([0.5, 0.5, 0.9, 0.1]))
    assert (found.u, found.v, found.rank) == ([1, 2, 2], [1, 0, 1], [2, 1, 4])
