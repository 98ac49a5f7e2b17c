"""The stage: what it writes, from which samples, and what it does with odd inputs."""

from __future__ import annotations

import html
import io
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support import workspace_fixture
from support.workspace_fixture import folder_of

from raymoe.display.inputs import read_inputs
from raymoe.display.samples import choose
from raymoe.display.vocabulary import SCORES, SIGNED
from raymoe.errors import ParentError
from raymoe.report import report
from raymoe.report.page import embedded_json

FIGURES = ["expert-weights", "interactions", "test-metrics", "training", "sample-1"]


@pytest.fixture
def page(finished) -> str:
    return finished.project.workspace.read(f"{folder_of(finished.project)}/index.html").decode()


def explorer_data(page: str) -> dict:
    index = json.loads(re.search(r'id="index-data">(.*?)</script>', page, re.DOTALL)[1])
    samples = re.findall(r'id="sample-data-\d+">(.*?)</script>', page, re.DOTALL)
    return index | {"index": index["samples"], "samples": [json.loads(sample) for sample in samples]}


def test_writes_every_figure(finished):
    project = finished.project
    for name in FIGURES:
        picture = Image.open(io.BytesIO(project.workspace.read(f"{folder_of(project)}/figures/{name}.png")))
        assert len(picture.convert("L").getcolors(256)) > 10, f"{name}.png is blank"
        assert b"<path" in project.workspace.read(f"{folder_of(project)}/figures/{name}.svg")


def test_the_page_refers_to_nothing_outside_itself(page):
    assert not re.search(r"""(?:src|href|data|action|poster|srcset)\s*=\s*["']?\s*(?:https?:)?//""", page)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#|data:)", page)


def test_the_same_inputs_give_the_same_bytes(project):
    files = (
        f"{folder_of(project)}/index.html",
        f"{folder_of(project)}/figures/sample-1.svg",
    )
    report(project)
    first = [project.workspace.read(name) for name in files]
    report(project, overwrite=True)
    assert [project.workspace.read(name) for name in files] == first


def test_classes_that_no_test_sample_has_are_named(quick, tmp_path):
    report(quick)
    page = quick.workspace.read(f"{folder_of(quick)}/index.html").decode()
    assert "No test sample has the class" not in page
    texts = {name: workspace_fixture.TEXTS[name] for name in ("s0", "s1")}  # three labels, of four classes
    few = workspace_fixture.build(tmp_path / "few", texts=texts)
    labels = {label for row in read_inputs(few).samples["labels"].to_pylist() for label in row}
    unseen = [name for i, name in enumerate(workspace_fixture.CLASSES) if i not in labels]
    report(few)
    page = few.workspace.read(f"{folder_of(few)}/index.html").decode()
    assert f"No test sample has the class {html.escape(', '.join(unseen))}: the test scores" in page
    assert "macro F1 counts it as 0" in page


def test_is_not_made_twice_but_made_again_from_other_inputs(quick):
    first = report(quick)
    again = report(quick)
    assert first.ran
    assert first.path == quick.workspace.path(f"{folder_of(quick)}/index.html")
    assert not again.ran
    assert again.fingerprint == first.fingerprint
    other = report(workspace_fixture.with_report(quick, samples=2))
    assert other.ran
    assert other.fingerprint != first.fingerprint


def test_is_made_again_when_it_was_cut_off(quick):
    report(quick)
    quick.workspace.remove(f"{folder_of(quick)}/report.json")
    assert report(quick).ran


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("{0.root}/samples.parquet", "raymoe prepare demo"),
        ("{0.root}/baselines.parquet", "raymoe baselines demo"),
        ("{0.run}/metrics.parquet", "raymoe train demo"),
        ("{0.run}/importance.arrow", "raymoe attribute demo"),
        ("{0.run}/interactions-synergy.parquet", "raymoe probe demo"),
    ],
)
def test_names_the_command_that_makes_a_missing_parent(project, name, command):
    project.workspace.remove(name.format(project))
    with pytest.raises(ParentError) as error:
        report(project)
    assert command in error.value.remedy


def test_the_top_pairs_are_those_of_the_table(finished, page):
    rows = finished.inputs.interactions.to_pylist()
    columns = {score: (score, f"{score}_stderr") for score in SCORES}
    minor_of = {s.sample_id: s.sequences["text"].minor for s in finished.samples}
    for sample in explorer_data(page)["samples"]:
        for expert, scores in sample["pairs"].items():
            mine = [r for r in rows if r["sample_id"] == sample["id"] and r["expert"] == expert]
            for score, pairs in scores.items():
                value, stderr = columns[score]
                mine.sort(key=lambda r, value=value: -abs(r[value]))
                mine.sort(key=lambda r, value=value: np.isnan(r[value]))
                # one without any is no such pair
                having = [r for r in mine if (r[value] or score in SIGNED) and not np.isnan(r[value])]
                listed, minor = finished.project.preset.report.listed, minor_of[sample["id"]]

                def first(rows, listed=listed, minor=minor):
                    """As many more as it takes to have that many without function words and punctuation."""
                    places = [i for i, r in enumerate(rows) if r["u"] not in minor]
                    last = places[listed - 1] + 1 if len(places) >= listed else len(rows)
                    return rows[: max(listed, last)]

                kept = first(having)
                if score == "sii":  # both ends, too
                    upwards = sorted(having, key=lambda r: r["sii"])
                    kept = [*kept, *first(upwards), *first(upwards[::-1])]
                expected = [
                    # v - 1: the picture has a CLS position
                    (
                        r["u"],
                        r["v"] - 1,
                        pytest.approx(r[value], rel=1e-5),
                        pytest.approx(r[stderr], rel=1e-5),
                    )
                    for r in having
                    if r in kept
                ]
                assert [(p["u"][1], p["v"][1], p["value"], p["stderr"]) for p in pairs] == expected


def test_importance_leaves_out_the_special_position_of_a_picture(finished, page):
    rows = {
        (r["sample_id"], r["expert"], r["modality"]): r["scores"]
        for r in finished.inputs.importance.to_pylist()
    }
    for sample in explorer_data(page)["samples"]:
        for expert, heat in sample["importance"].items():
            np.testing.assert_allclose(heat["image"], rows[sample["id"], expert, "image"][1:], atol=1e-4)
            np.testing.assert_allclose(heat["text"], rows[sample["id"], expert, "text"], atol=1e-4)


def test_text_can_not_become_markup(page):
    assert "<script>alert" not in page
    assert "<b>food</b>" not in page
    assert "bad<1>" not in page
    pieces = [piece[0] for s in explorer_data(page)["samples"] for piece in s["sequences"][0]["pieces"]]
    assert {"<script>", "</script>"} <= set(pieces)


def test_embedded_json_cannot_close_its_element():
    text = embedded_json({"a": "</script><!--&", "b": "\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&", "b": "\u2028"}


def test_an_unreadable_picture_leaves_a_placeholder(page):
    samples = {s["id"]: s for s in explorer_data(page)["samples"]}
    pictures = {k: s["sequences"][1]["picture"] for k, s in samples.items()}
    assert pictures.pop(workspace_fixture.BROKEN) is None
    assert all(picture.startswith("data:image/webp;base64,") for picture in pictures.values())


def test_lists_what_was_left_out(page):
    assert "2 samples were left out" in page
    assert "the picture can&#39;t be decoded" in page
    assert "fewer than two features" in page


def test_a_sample_stays_under_200_kilobytes(page):
    for sample in explorer_data(page)["samples"]:
        assert len(json.dumps(sample)) < 200_000


def test_half_of_the_samples_are_the_strongest_and_the_rest_is_drawn():
    n = 40
    table = pa.table(
        {
            "sample_id": [f"s{i}" for i in range(n)] * 2,
            "expert": ["synergy"] * n + ["redundancy"] * n,
            "sii": [-float(i) for i in range(n)] + [0.0] * n,
            "sii_stderr": [0.1] * (n - 1) + [float("nan")] + [0.1] * n,
            "redundancy": [0.0] * n + [float(n - i) for i in range(n)],
            "redundancy_stderr": [0.1] * 2 * n,
        }
    )
    chosen = choose(table, 8, seed=3)
    assert chosen == choose(table, 8, seed=3)
    # the experts take turns; an unknown standard error is no strength
    assert [s for s, why in chosen if why == "strong"] == ["s38", "s0", "s37", "s1"]
    drawn = [int(s[1:]) for s, why in chosen if why == "drawn"]
    assert len(drawn) == 4
    assert drawn == sorted(drawn)
    assert drawn != [int(s[1:]) for s, why in choose(table, 8, seed=4) if why == "drawn"]
    assert len(choose(table, 100, seed=0)) == n


def test_word_pieces_and_scripts(finished):
    samples = {s.sample_id: s for s in finished.samples}
    pieces = samples["s0"].sequences["text"].pieces
    assert [(p.text, p.joined) for p in pieces][2:4] == [("play", False), ("ing", True)]
    assert [p.special for p in pieces] == [True, *[False] * 7, True]
