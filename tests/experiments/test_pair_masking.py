"""Budgets, matched baselines, a model in which one pair matters, and tables that don't belong together."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stores import write_store
from support.tiny import (
    CLASSES,
    PROBED,
    tiny_preset,
    write_tiny_features,
    write_tiny_interactions,
    write_tiny_run,
)

from raymoe.config import ModelConfig
from raymoe.display.vocabulary import COMPARED
from raymoe.errors import InputError, ParentError
from raymoe.experiments.pair_masking import MATCHED, ORIGINAL, PAIR_MASKING, RANDOM, RANKED
from raymoe.experiments.pair_masking import measure as module
from raymoe.experiments.pair_masking.measure import DRAWS, SHARES, CandidatePairs, pairs_within, variants_of
from raymoe.experiments.pair_masking.measure import measure as pair_masking
from raymoe.experiments.running import evaluate
from raymoe.experiments.trained_runs import TrainedRun, labels_of
from raymoe.features.parts import ModalityInfo, Row, SequenceRow
from raymoe.features.store import FeatureStore
from raymoe.models.build import build_model
from raymoe.models.checkpoint import CheckpointInfo, Shape, read_info, save_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.contracts import IMPORTANCE
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from raymoe.project.workspace import Workspace
from raymoe.task import MULTICLASS, MULTILABEL


def read(project: Project):
    name = f"{project.root}/evaluation/pair-masking.parquet"
    return read_table(project.workspace, name, PAIR_MASKING, "")


@st.composite
def candidates(draw) -> CandidatePairs:
    """All cross-modal pairs of some features, with scores that may tie."""
    words, patches = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    pairs = np.array([(u, words + v) for u in range(words) for v in range(patches)])
    values = st.lists(st.integers(-3, 3), min_size=len(pairs), max_size=len(pairs))
    scores = {score: np.array(draw(values), float) for score in COMPARED}
    position_n = np.concatenate([np.arange(words) + 2, np.arange(patches) * 3])
    return CandidatePairs(np.array(["text"] * words + ["image"] * patches), position_n, pairs, scores)


@given(candidates(), st.integers(0, 5))
@settings(deadline=None)
def test_masks_are_of_the_budget_and_matched_ones_of_as_many_features(found, key):
    masks = found.masks((key, "sample"))
    variants = variants_of()
    assert masks.shape == (len(variants), len(found.modality_n))
    assert (masks == found.masks((key, "sample"))).all(), "the same key, the same choice"
    by_variant = {}
    for variant, mask in zip(variants, masks, strict=True):
        by_variant.setdefault(variant, []).append(mask)
    P = len(found.pairs_P2)
    for (masking, score, share), drawn in by_variant.items():
        number = -(-P * share // 100)
        assert pairs_within(share, P) == number >= 1
        assert len(drawn) == (1 if masking == RANKED else DRAWS)
        if masking == RANKED:
            order = sorted(range(P), key=lambda p: (-found.scores[score][p], p))
            wanted = set(found.pairs_P2[order[:number]].ravel().tolist())
            assert set(np.flatnonzero(drawn[0]).tolist()) == wanted
        for mask in drawn:
            if masking == RANDOM:
                inside = mask[found.pairs_P2].all(1).sum()
                assert inside >= number, "the drawn pairs, and those that their features form besides"
                assert mask.sum() <= 2 * number
            if masking == MATCHED:
                (ranked,) = by_variant[RANKED, score, share]
                for modality in ("text", "image"):
                    own = found.modality_n == modality
                    assert mask[own].sum() == ranked[own].sum()


def test_masks_land_on_their_positions():
    found = CandidatePairs(np.array(["text", "image"]), np.array([3, 1]), np.array([[0, 1]]), {})
    mask = np.array([[True, False], [True, True]])
    assert found.placed(mask, "text", 5).tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]
    assert found.placed(mask, "image", 2).tolist() == [[0, 0], [0, 1]]


class BothThere(torch.nn.Module):
    """Says class 0 where the token of dimension 0 and the patch of dimension 1 are both there."""

    def forward(self, tokens, key_bias, pool):
        there = tokens.amax(1)
        logit = 20 * there[:, 0] * there[:, 1] - 10
        return torch.stack([logit, torch.full_like(logit, -9.0), torch.full_like(logit, -9.0)], -1)[None]


@pytest.fixture
def one_pair(tmp_path, monkeypatch) -> Project:
    """20 samples of 30 words and 49 patches in which one pair decides; the features there are important."""
    project = Project(tiny_preset(), Workspace(tmp_path / "ws"), "mmimdb")
    rng = np.random.default_rng(0)
    infos = [ModalityInfo("text", "text", 4, 31, None), ModalityInfo("image", "image", 4, 49, (7, 7))]
    rows, important, place = [], [], {}
    for i in range(20):
        sample_id = f"s{i}"
        text, image = np.zeros((31, 4), np.float16), np.zeros((49, 4), np.float16)
        u, v = int(rng.integers(1, 31)), int(rng.integers(49))
        text[u, 0] = image[v, 0] = 1
        place[sample_id] = (u, v)
        sequences = {
            "text": SequenceRow(text, np.ones(31, bool), np.arange(31) == 0, ["x"] * 31),
            "image": SequenceRow(image, np.ones(49, bool), np.zeros(49, bool)),
        }
        rows.append(Row(sample_id, "test", [0], sequences))
        for expert in PROBED:
            for name, length, best in (("text", 31, u), ("image", 49, v)):
                scores = rng.random(length).astype(np.float32) / 2
                scores[best] = 1
                key = {"sample_id": sample_id, "expert": expert, "modality": name}
                important.append(key | {"method": "grad_attnroll", "target": "true", "scores": scores})
    made = Provenance("encode", FEATURES.contract.tag, {})
    write_store(project, rows, infos, made, classes=CLASSES, task="multilabel")
    shapes = (Shape("text", 4, 31), Shape("image", 4, 49))
    config = ModelConfig(kind="dense", hidden_dim=4, num_heads=2)
    info = CheckpointInfo(shapes, CLASSES, "multilabel", config.model_dump(), made.fingerprint, {}, 0)
    info = save_checkpoint(CHECKPOINT.of(project), info.build(), info)
    parents = {"checkpoint": info.fingerprint, "features": made.fingerprint}
    importance = Provenance("attribute", IMPORTANCE.tag, {}, parents)
    table = pa.Table.from_pylist(important, schema=IMPORTANCE.schema)
    name = f"{project.run}/importance.arrow"
    write_table(project.workspace, name, table, IMPORTANCE, importance, {"skipped": []})
    write_tiny_interactions(project, lambda row: place[row.sample_id] == (row.u, row.v))

    model = build_model(shapes, len(CLASSES), config).requires_grad_(False).eval()
    model.experts = BothThere()
    model.position_TD.zero_()
    for dimension, projection in enumerate(model.projections):
        projection.weight.zero_()
        projection.bias.zero_()
        projection.weight[dimension, 0] = 1
    monkeypatch.setattr(TrainedRun, "model", lambda self, store, device: model)
    return project


def test_the_pair_that_matters_is_found_by_its_score_and_by_chance_at_the_rate_of_chance(one_pair, capsys):
    result = evaluate(one_pair, "pair-masking", device="cpu")
    assert result.ran
    frame = read(one_pair).to_pandas()
    of_seed, frame = frame[frame["seed"] == 0], frame[frame["seed"].isna()]
    assert len(frame) == len(of_seed) == 2 * len(COMPARED) * len(SHARES) * 4
    assert frame["value_low"].to_list() == of_seed["value_low"].to_list(), "of one seed its mean is itself"
    assert frame["drop_std"].isna().all()
    assert set(frame["samples"]) == {20}
    rows = frame.set_index(["expert", "score", "share", "masking"]).sort_index()
    at_five = rows.loc["synergy", "sii", 5]
    assert at_five.loc[ORIGINAL, "value"] == 1
    assert at_five.loc[RANKED, "value"] == 0, "its pair is the one that is masked"
    assert at_five.loc[RANKED, "drop"] == 1
    # One of three words and one of five patches: the pair survives a random one with probability 2/3 * 4/5.
    survive = 2 / 3 * 4 / 5
    f1 = 2 * survive / (survive + 1)
    for masking in (RANDOM, MATCHED):
        assert at_five.loc[masking, "value"] == pytest.approx(f1, abs=0.15)
        assert at_five.loc[masking, "features"] == 2
        assert at_five.loc[masking, "value_low"] < at_five.loc[masking, "value"]
    for (_, _, share), of_budget in frame.groupby(["expert", "score", "share"]):
        of_budget = of_budget.set_index("masking")
        assert of_budget.loc[MATCHED, "features"] == of_budget.loc[RANKED, "features"]
        assert of_budget.loc[RANKED, "pairs"] == pairs_within(share, 15)
        np.testing.assert_allclose(of_budget["drop"], 1 - of_budget["value"])
        assert of_budget.loc[RANKED, "short"] == (20 if share == 5 else 0), "5 per cent of 15 pairs are .75"
    assert rows.loc["synergy", "redundancy_gap", 5].loc[RANKED, "value"] > 0.5, "the others come before it"
    paper = rows["paper"]
    assert paper["synergy", "sii", 5, RANKED] == 0.56
    assert paper["redundancy", "redundancy_gap", 5, RANDOM] == 0.6136
    assert paper.notna().sum() == 6, "its own score at 5 per cent, and three maskings"
    more = metadata_of(read(one_pair).schema)["differences"]
    for d in more:
        values = rows["value"][d["expert"], d["score"], d["share"]]
        assert d["more"] == pytest.approx(values[d["against"]] - values[RANKED])
        assert d["more_low"] <= d["more"] <= d["more_high"]
    said = capsys.readouterr().out
    assert "Pair masking (Table 1, §4.4)" in said
    assert "56.00" in said
    assert "K per cent is less than one, of which one was masked: synergy expert K = 5 %: 20" in " ".join(
        said.split()
    )
    assert not evaluate(one_pair, "pair-masking", device="cpu").ran
    assert evaluate(one_pair, "pair-masking", device="cpu", overwrite=True).ran


def test_samples_without_candidates_are_listed_and_the_others_measured(tiny, capsys):
    write_tiny_interactions(tiny)
    result = evaluate(tiny, "pair-masking", device="cpu")
    assert [(entry["sample_id"], entry["reason"]) for entry in result.skipped] == [("s3", "no words")]
    assert set(read(tiny)["samples"].to_pylist()) == {3}
    assert "left out: 1, no words: s3" in capsys.readouterr().out
    nowhere = replace(tiny, preset=tiny.preset.with_fields({"attribute.split": "val"}))
    with pytest.raises(InputError, match="none of the 2 samples of the split 'val' has measured pairs"):
        pair_masking(nowhere, device="cpu")


def test_other_tables_make_it_again(tiny):
    write_tiny_interactions(tiny)
    first = pair_masking(tiny, device="cpu")
    write_tiny_interactions(tiny, lambda row: -row.v, "other")
    second = pair_masking(tiny, device="cpu")
    assert second.ran
    assert second.fingerprint != first.fingerprint


def test_missing_and_mixed_tables_are_refused(tiny, tmp_path):
    empty = Project(tiny_preset(), Workspace(tmp_path / "empty"), "tiny")
    with pytest.raises(ParentError, match="is missing") as caught:
        pair_masking(empty)
    assert "raymoe encode tiny" in caught.value.remedy
    with pytest.raises(ParentError, match="is missing") as caught:
        pair_masking(tiny)
    assert "raymoe probe tiny" in caught.value.remedy
    write_tiny_interactions(tiny)
    features = read_info(CHECKPOINT.of(tiny)).features
    name = f"{tiny.run}/importance.arrow"
    table = read_table(tiny.workspace, name, IMPORTANCE, "")
    metadata = metadata_of(table.schema)
    made = Provenance.from_json(metadata["made_by"])
    other = replace(made, config={"seed": 7})
    write_table(tiny.workspace, name, table, IMPORTANCE, other, {"skipped": []})
    with pytest.raises(ParentError, match=r"interactions-.* was made from importance") as caught:
        pair_masking(tiny)
    assert "raymoe probe tiny" in caught.value.remedy
    assert "--overwrite" in caught.value.remedy
    other = replace(made, parents={"checkpoint": "0123", "features": features})
    write_table(tiny.workspace, name, table, IMPORTANCE, other, {"skipped": []})
    with pytest.raises(ParentError, match=r"importance\.arrow was made from checkpoint 0123"):
        pair_masking(tiny)
    write_tiny_run(tiny, features, seed=1)  # another model and its importance; the probe's tables stay
    with pytest.raises(ParentError, match=r"interactions-.* was made from checkpoint"):
        pair_masking(tiny)


def test_a_split_without_labels_is_refused(tmp_path):
    project = Project(tiny_preset(), Workspace(tmp_path), "tiny")
    write_tiny_features(project)
    store = FeatureStore.open(FEATURES.of(project))
    indices = store.indices("test")
    assert labels_of(store, indices, "test") == [store.labels[i] for i in indices]
    store.labels[int(indices[0])] = []
    assert labels_of(store, indices, "test")[0] == [], "a sample of several labels may have none"
    store.task = MULTICLASS
    with pytest.raises(InputError, match="1 of 4 samples of the split 'test' have no label"):
        labels_of(store, indices, "test")
    store.task = MULTILABEL
    for i in indices:
        store.labels[int(i)] = []
    with pytest.raises(InputError, match="4 of 4"):
        labels_of(store, indices, "test")


def test_the_budgets_and_draws_are_part_of_what_made_the_table(tiny, monkeypatch):
    write_tiny_interactions(tiny)
    assert pair_masking(tiny, device="cpu").ran
    monkeypatch.setattr(module, "DRAWS", 2)
    assert pair_masking(tiny, device="cpu").ran


def test_the_papers_figures_stand_beside_its_split_alone(tiny):
    """Table 1 is of the test split: the validation split of the same data has no figure of the paper."""
    variants = pd.DataFrame(
        [("synergy", *variant) for variant in variants_of()], columns=["expert", "masking", "score", "share"]
    )
    metric_SVR, features_SV = np.full((1, 1 + len(variants), 3), 0.5), np.ones((1, len(variants)))

    def papers(split: str) -> list[float]:
        preset = tiny.preset.with_fields({"attribute.split": split})
        project = replace(tiny, dataset="mmimdb", preset=preset)
        sizes = [{"synergy": [4]}]
        rows = module._rows(project, variants, metric_SVR, features_SV, sizes, 1, MULTILABEL)
        return [row["paper"] for row in rows if row["paper"] is not None]

    assert papers("test") == [0.6789, 0.5703, 0.56]
    assert papers("val") == []
