"""Random small data with hostile texts, ids, classes and pictures, from raw table to page, without Ray.

What comes out is compared with what went in, read by pyarrow, json, csv, html.parser and ElementTree.
"""

import csv
import functools
import io
import json
import tempfile
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from PIL import Image
from support.hostile import few, texts
from support.tiny import write_tiny_interactions
from support.tiny_encoders import save_clip, save_roberta

from raymoe.attribution.attribute import attribute
from raymoe.config import Preset
from raymoe.data.prepare import prepare
from raymoe.display.inputs import read_inputs
from raymoe.display.plots import drawn, svg
from raymoe.display.sample_figure import sample_figure
from raymoe.display.samples import explore
from raymoe.display.sheets import to_csv
from raymoe.errors import RaymoeError
from raymoe.experiments.case_study.measure import file_name
from raymoe.features import batches
from raymoe.features.encode import encode
from raymoe.project import Project
from raymoe.project.artifacts import BASELINES, PREDICTIONS, SAMPLES
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace
from raymoe.report.charts import charts
from raymoe.report.page import render
from raymoe.runtime.characters import visible
from raymoe.training.train import train

pytestmark = pytest.mark.hostile

NO_DRAWING = b'<?xml version="1.0"?><svg viewBox="0 0 1 1"></svg>'


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """A folder of tiny encoders, each loaded once for all examples."""
    folder = tmp_path_factory.mktemp("encoders")
    save_roberta(folder / "roberta")
    save_clip(folder / "clip")
    loaded = functools.cache(lambda kind, source: load(kind, config[source], "cpu"))
    config, load = {}, batches.load_encoder

    def once(kind, encoder, device):
        config[encoder.source] = encoder
        return loaded(kind, encoder.source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "load_encoder", once)
        yield folder


def png(seed):
    generator = np.random.default_rng(seed)
    size = generator.integers(1, 40, 2)
    buffer = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@st.composite
def tables(draw):
    """Rows as dictionaries, the classes, and how the table is written."""
    names = st.lists(texts(min_size=1).filter(usable), min_size=2, max_size=4, unique_by=str.strip)
    classes = draw(names)
    ids = draw(st.lists(texts(min_size=1).filter(str.strip), min_size=3, max_size=8, unique=True))
    rows = []
    for i, sample_id in enumerate(ids):
        sound = i < 3  # one of each split
        form = draw(st.sampled_from(["jsonl", "parquet"])) if i == 0 else rows[0]["form"]
        rows.append(
            {
                "form": form,
                "sample_id": sample_id,
                "split": ("train", "val", "test")[i % 3],
                "labels": draw(st.lists(st.sampled_from(classes), min_size=sound, max_size=2, unique=True)),
                "title": "dog" if sound else draw(texts(lone=form == "jsonl")),
                "picture": png(i) if sound else draw(st.sampled_from([png(i), png(i)[:40], b"", b"no"])),
            }
        )
    return rows, classes


def usable(name):
    """A class's name that is not read as several, or as an index."""
    return bool(name.strip()) and not name.strip().isdecimal()


def written(folder, rows):
    """The raw table in a folder."""
    form = rows[0]["form"]
    kept = [{k: v for k, v in row.items() if k not in ("form", "picture")} for row in rows]
    if form == "jsonl":
        for i, (row, out) in enumerate(zip(rows, kept, strict=True)):
            (folder / f"{i}.png").write_bytes(row["picture"])
            out["image"] = f"{i}.png"
        (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    else:
        schema = pa.schema(
            dict.fromkeys(("sample_id", "split", "title"), pa.string())
            | {"labels": pa.list_(pa.string()), "image": pa.binary()}
        )
        rows = [out | {"image": row["picture"]} for row, out in zip(rows, kept, strict=True)]
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / "table.parquet")
    return folder / f"table.{form}"


def project_in(folder, rows, classes, encoders):
    def modality(name, kind, column, encoder):
        source = {"source": f"hf:{encoders / encoder}"}
        return {"name": name, "kind": kind, "columns": [column], "encoder": source}

    preset = Preset.model_validate(
        {
            "name": "hostile",
            "data": {
                "source": str(written(folder, rows)),
                "task": "multilabel",
                "classes": classes,
                "modalities": [
                    modality("text", "text", "title", "roberta"),
                    modality("image", "image", "image", "clip"),
                ],
            },
            "model": {"hidden_dim": 8, "num_heads": 2, "hidden_dim_rw": 4, "num_patches": 4},
            "train": {"epochs": 1},
            "attribute": {"method": "random"},
            "report": {"samples": "all"},
        }
    )
    return Project(preset, Workspace(folder / "ws"), "hostile.toml")


class Page(HTMLParser):
    """Scripts by their id, and the texts of the table of what was left out."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.scripts, self.left_out, self.open, self.section = {}, [], None, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert not any(name.startswith("on") for name in attrs), attrs
        if tag == "section":
            self.section = attrs.get("id")
        if tag == "script":
            self.open = attrs.get("id", f"code {len(self.scripts)}")
            self.scripts[self.open] = ""
        if tag == "td" and self.section == "skipped":
            self.left_out.append("")

    def handle_endtag(self, tag):
        self.open = None if tag == "script" else self.open

    def handle_data(self, data):
        if self.open:
            self.scripts[self.open] += data
        elif self.section == "skipped" and self.left_out:
            self.left_out[-1] += data


@few(6)
@given(table=tables())
def test_what_comes_out_is_what_went_in(encoders, table):
    rows, classes = table
    with tempfile.TemporaryDirectory() as folder:
        project = project_in(Path(folder), rows, classes, encoders)
        refused = None
        try:
            prepare(project)
        except RaymoeError as error:
            refused = error
        event("refused" if refused else "through")
        if refused:  # with a few words
            assert len(str(refused)) < 4000
            return
        usable_rows = check_samples(project, rows, classes)
        encode(project)
        train(project, device="cpu")
        attribute(project)
        write_tiny_interactions(project)
        write_baselines(project)
        check_page(project, rows, classes, usable_rows)
        check_files(project, usable_rows)


def check_samples(project, rows, classes):
    """The samples table by pyarrow alone; returns the rows that are in it."""
    table = pq.read_table(SAMPLES.of(project).path)
    skipped = {entry["sample_id"]: entry["reason"] for entry in metadata_of(table.schema)["skipped"]}
    bad = {r["sample_id"] for r in rows if not r["title"].strip() or not readable(r["picture"])}
    assert set(skipped) == bad
    assert all(skipped.values())
    kept = [row for row in rows if row["sample_id"] not in bad]
    found = table.to_pylist()
    assert [row["sample_id"] for row in found] == [row["sample_id"] for row in kept]
    for row, raw in zip(found, kept, strict=True):
        assert row["text"] == raw["title"].strip().encode(errors="replace").decode()
        assert row["labels"] == sorted(classes.index(name) for name in raw["labels"])
        assert row["image"] == raw["picture"]
    return kept


def readable(picture):
    try:
        Image.open(io.BytesIO(picture)).load()
    except (OSError, SyntaxError):
        return False
    return True


def write_baselines(project):
    row = {"model": "linear probe: text", "split": "test", "metric": "micro_f1", "value": 0.5}
    table = pa.Table.from_pylist([row], BASELINES.contract.schema)
    BASELINES.of(project).write(table, Provenance("baselines", BASELINES.contract.tag, {}), {})


def check_page(project, rows, classes, kept):
    inputs = read_inputs(project)
    samples = explore(inputs, project.preset.report)
    plots = charts(inputs)
    weights = next(plot for plot in plots if plot.name == "expert-weights")
    drawings = {plot.name: NO_DRAWING for plot in plots} | {"expert-weights": svg(drawn(weights))}
    captions = {plot.name: plot.caption for plot in plots}
    made = Provenance("report", "report/1", {}, inputs.fingerprints)
    text = render(project, inputs, samples, [], drawings, captions, [], made).encode().decode()
    page = Page(text)

    index = json.loads(page.scripts["index-data"], parse_constant=pytest.fail)
    assert index["classes"] == classes
    shown = [sample.sample_id for sample in samples]
    assert [entry["id"] for entry in index["samples"]] == shown
    by_id = {row["sample_id"]: row for row in kept}
    assert set(shown) <= set(by_id)
    for i, sample_id in enumerate(shown):
        data = json.loads(page.scripts[f"sample-data-{i}"], parse_constant=pytest.fail)
        assert data["id"] == sample_id
        assert [classes[c] for c in data["labels"]] == sorted(by_id[sample_id]["labels"], key=classes.index)
    assert len(page.scripts) == 2 + len(shown), "nobody else's script"
    listed = {cell for cell in page.left_out}
    bad = [row["sample_id"] for row in rows if row["sample_id"] not in by_id]
    assert {visible(sample_id).replace("\r", "\n") for sample_id in bad} <= listed

    ET.fromstring(drawings["expert-weights"])
    figure = sample_figure(samples[0], inputs.experts, inputs.classes, 2)
    if figure is not None:
        assert ET.fromstring(svg(figure)).tag.endswith("svg")


def check_files(project, kept):
    table = PREDICTIONS.of(project).read().select(["sample_id", "split"])
    found = list(csv.reader(io.StringIO(to_csv(table).decode(), newline="")))
    assert sorted(found[1:]) == sorted([r["sample_id"], r["split"]] for r in kept if r["split"] != "train")
    names = [file_name(row["sample_id"]) for row in kept]
    assert len(set(names)) == len(names)
    for name in names:
        assert Path("folder", name).parent == Path("folder")
        assert name.isascii()
        assert len(name) < 100


@few(200)
@given(st.lists(texts(lone=True, min_size=1), min_size=2, max_size=6, unique=True), st.data())
def test_ids_that_differ_have_files_that_differ(ids, data):
    """Also an id that is the name which another one got."""
    ids.append(file_name(data.draw(st.sampled_from(ids))))
    ids = list(dict.fromkeys(ids))
    names = [file_name(sample_id) for sample_id in ids]
    assert len(set(names)) == len(ids)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not name.startswith(".")
        assert ".tmp-" not in name
        assert len(name) <= 69
