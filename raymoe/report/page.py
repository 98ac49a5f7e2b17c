"""The page: the template filled with text, charts and the explorer's data; it loads nothing else."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from raymoe.display.inputs import Inputs, has_test_labels, matrix
from raymoe.display.samples import CENTRED, End, Means, Pair, Sample, Sequence
from raymoe.display.sheets import Amount, Sheet
from raymoe.display.thumbnails import data_uri
from raymoe.display.vocabulary import (
    INK_VARIABLES,
    METRICS,
    NEGATIVE,
    RANKED_BY,
    SCORE_TITLES,
    SIGNED,
    default_score,
    expert_colors,
    expert_label,
    expert_title,
    index_note,
    model_label,
    score_columns,
)
from raymoe.display.words import is_right_to_left, written
from raymoe.experiments.case_study import EXPERIMENT as CASE_STUDY
from raymoe.project import Project
from raymoe.project.provenance import Provenance, Skipped
from raymoe.project.tables import metadata_of
from raymoe.report.experiments import Found
from raymoe.report.planted_marks import Marks, planted_marks
from raymoe.runtime.characters import one_line, visible

SEARCHED = 2000  # characters of a text that the search looks at
TARGETS = {"true": "the true labels", "predicted": "the predicted labels"}


def render(
    project: Project,
    inputs: Inputs,
    samples: list[Sample],
    found: list[Found],
    drawings: dict[str, bytes],
    captions: dict[str, str],
    sample_figures: list[str],
    provenance: Provenance,
) -> str:
    """The whole page as HTML.

    Args:
        project, inputs: what it is about.
        samples: of the explorer.
        found: the experiments.
        drawings, captions: the charts and the experiments' figures as SVG, and what they say, by file name.
        sample_figures: names of the files with single samples.
        provenance: of the page.
    """
    probe = json.loads(inputs.metadata("interactions")["made_by"])["config"]
    environment = Environment(
        loader=PackageLoader("raymoe.report", "."),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files = resources.files("raymoe.report")
    marks = planted_marks(found, samples, project.preset.train.seed)
    return environment.get_template("template.html.j2").render(
        css=Markup(files.joinpath("page.css").read_text(encoding="utf-8")),
        js=Markup(files.joinpath("page.js").read_text(encoding="utf-8")),
        index=Markup(embedded_json(_index(project, inputs, samples, ranked=bool(marks)))),
        # written when the template comes to them: together they can be hundreds of megabytes
        samples=[partial(_embedded, sample, marks.get(sample.sample_id)) for sample in samples],
        sample_figures=sample_figures,
        experiments=found,
        file_names=table_files,
        case_command=CASE_STUDY.command(project),
        charts={name: Markup(inline_svg(drawing, captions[name])) for name, drawing in drawings.items()},
        captions=captions,
        dataset=project.preset.name,
        seed=project.preset.train.seed,
        modalities=inputs.modalities,
        task=inputs.task,
        classes=inputs.classes,
        counts=_counts(inputs),
        unscored=_unscored(inputs),
        labelled=has_test_labels(inputs),
        metrics=_metrics(inputs),
        metric_labels=METRICS,
        experts=_experts(inputs),
        skipped=_skipped(inputs),
        provenance=_provenance(inputs, provenance),
        probe=probe,
        index_note=index_note(probe.get("index", "sii"), probe.get("inclusion", 0.5)),
    )


def _printed(value: Any) -> Any:
    """What the template prints: text of users can hold what no file in UTF-8 can, or what turns the page."""
    return visible(value) if type(value) is str else value


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a script element: no text in it can end the element or open another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def inline_svg(drawing: bytes, label: str) -> str:
    """A drawing to stand in the page: no XML prologue, ink and lines in the page's own colours.

    Its text is drawn as outlines, which no screen reader reads; ``label`` stands for it.
    """
    text = drawing.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    for color, variable in INK_VARIABLES.items():
        text = text.replace(color, variable)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(one_line(label))}"', 1)
    # its size is known before it is laid out, which the browser puts off until it can be seen
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    ratio = f' style="aspect-ratio: {size[1]} / {size[2]}"' if size else ""
    return f'<div class="chart"{ratio}>{text}</div>'


def table_files(found: Found) -> list[str]:
    """Names of the files of an experiment's tables."""
    return [f"{name}.csv" for name in found.tables] + [f"{sheet.name}.tex" for sheet in found.shown.tables]


def own_tables(inputs: Inputs) -> dict[str, tuple[Sheet, pa.Table]]:
    """The page's own tables, by file name: to print, and with every digit."""
    metrics = _metrics(inputs)
    rows = [
        (
            row["label"],
            *(Amount(100 * row["values"].get(name, math.nan), digits=1) for name in metrics["names"]),
        )
        for row in [*metrics["models"], *metrics["experts"]]
    ]
    heads = ("model", *(METRICS[name] for name in metrics["names"]))
    scores = Sheet("test-scores", "Scores on the test split in per cent", heads, tuple(rows))
    found = _experts(inputs)
    lines = tuple(
        (
            e["label"],
            Amount(e["weight"], digits=3),
            f"{e['pairs']:,}",
            e["score"],
            Amount(e["signal"], digits=3),
        )
        for e in found
    )
    columns = ("expert", "mean weight", "pairs measured", "score", "share beyond 2 s.e.")
    experts = Sheet(
        "experts",
        "Mean weight of each expert on the test split, and how much of its score is signal",
        columns,
        lines,
    )
    plain = pa.concat_tables([t.replace_schema_metadata(None) for t in (inputs.metrics, inputs.baselines)])
    raw = pa.Table.from_pylist([{k: v for k, v in e.items() if k != "color"} for e in found])
    return {"test-scores": (scores, plain), "experts": (experts, raw)}


RULES = {"input": "words and regions of the input", "zero": "tokens and patches, by zero vectors"}
"""How pairs were measured: what is taken away, and how."""
VIEWS = {"value": "as it is", "sample": "less the sample's mean", "class": "less its classes' mean"}
"""What the numbers of SII can be counted from."""


def _embedded(sample: Sample, marks: Marks | None) -> Markup:
    return Markup(embedded_json(_sample(sample) | ({"planted": marks} if marks else {})))


def _index(project: Project, inputs: Inputs, samples: list[Sample], *, ranked: bool) -> dict[str, Any]:
    """What the list of samples needs, of all of them; where true pairs are ranked, the methods' names too."""
    colors = expert_colors(inputs.explained)
    probed = {expert for sample in samples for expert in (*sample.pairs, *sample.input_pairs)}
    masked = any(sample.input_pairs for sample in samples)
    return {
        "classes": inputs.classes,
        "experts": [
            {
                "name": name,
                "label": expert_label(name),
                "title": expert_title(name),
                "color": colors[name],
                "score": default_score(name),
                "probed": name in probed,
            }
            for name in inputs.explained
        ],
        "scores": SCORE_TITLES,
        "signed": SIGNED,
        "negative": NEGATIVE,
        "views": VIEWS,
        "centred": CENTRED,
        "drawn": project.preset.report.pairs,
        "listed": project.preset.report.listed,
        "samples": [_entry(sample) for sample in samples],
        "rules": RULES if masked else {},
        **({"methods": RANKED_BY} if ranked else {}),
    }


def _entry(sample: Sample) -> dict[str, Any]:
    texts = [written(s.pieces) for s in sample.sequences.values() if s.kind == "text"]
    return {
        "id": sample.sample_id,
        "text": " · ".join(texts)[:SEARCHED],
        "labels": sample.labels,
        "right": sorted(sample.labels) == sorted(sample.predicted) if sample.probabilities else None,
        "strength": {expert: _short(value) for expert, value in sample.strength.items()},
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.sample_id,
        "chosen": sample.chosen,
        "sequences": [{"name": name, **_sequence(sequence)} for name, sequence in sample.sequences.items()],
        "importance": sample.importance,
        "pairs": _by_expert(sample.pairs),
        "verdicts": sample.verdicts,
        "inputPairs": _by_expert(sample.input_pairs),
        "inputVerdicts": sample.input_verdicts,
        "means": _rounded(sample.means),
        "inputMeans": _rounded(sample.input_means),
        "targets": {expert: TARGETS.get(target, target) for expert, target in sample.targets.items()},
        "labels": sample.labels,
        "predicted": sample.predicted,
        "probabilities": [round(p, 5) for p in sample.probabilities],
        "weights": [round(w, 5) for w in sample.weights],
    }


def _sequence(sequence: Sequence) -> dict[str, Any]:
    if sequence.kind == "text":
        shown = [[p.text, p.joined, p.special] for p in sequence.pieces]
        rtl = is_right_to_left(sequence.pieces)
        return {"kind": "text", "pieces": shown, "rtl": rtl, "minor": sorted(sequence.minor)}
    picture = data_uri(sequence.picture) if sequence.picture else None
    found: dict[str, Any] = {
        "kind": "image",
        "rows": sequence.rows,
        "cols": sequence.cols,
        "picture": picture,
    }
    if sequence.geometry and picture:  # where columns and rows of patches begin and end in the picture
        lines = {"x": sequence.geometry.columns(), "y": sequence.geometry.lines()}
        found |= {axis: [round(float(at), 5) for at in edges] for axis, edges in lines.items()}
        found["size"] = sequence.size
    return found


def _by_expert(pairs: dict[str, dict[str, list[Pair]]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        expert: {score: [_pair(p) for p in found] for score, found in scores.items()}
        for expert, scores in pairs.items()
    }


def _rounded(means: Means) -> dict[str, dict[str, float | None]]:
    return {
        expert: {name: _short(mean) for name, mean in centres.items()} for expert, centres in means.items()
    }


def _pair(pair: Pair) -> dict[str, Any]:
    def end(e: End) -> list[Any]:
        return [e.modality, e.index, list(e.others), e.name] if e.name else [e.modality, e.index]

    return {
        "u": end(pair.u),
        "v": end(pair.v),
        "value": _short(pair.value),
        "stderr": _short(pair.stderr),
        "n": pair.coalitions,
        "base": _short(pair.base),
        "span": _short(pair.span),
    }


def _short(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.6g}")


def _counts(inputs: Inputs) -> dict[str, int]:
    splits = inputs.samples["split"].value_counts().to_pylist()
    coalitions = inputs.interactions["n_coalitions"]
    return {
        **{split: 0 for split in ("train", "val", "test")},
        **{row["values"]: row["counts"] for row in splits},
        "probed": len(inputs.interactions["sample_id"].unique()),
        "pairs": len(inputs.interactions),
        "coalitions": round(pc.mean(coalitions).as_py() or 0),
    }


def _unscored(inputs: Inputs) -> list[str]:
    """Names of the classes that no sample of the test split has."""
    if not has_test_labels(inputs):
        return []
    test = inputs.samples.filter(pc.equal(inputs.samples["split"], "test"))
    seen = {label for labels in test["labels"].to_pylist() for label in labels}
    return [name for i, name in enumerate(inputs.classes) if i not in seen]


def _metrics(inputs: Inputs) -> dict[str, Any]:
    """The test scores as a table: the model, the linear probes, then the single experts."""
    rows = [
        row
        for table in (inputs.metrics, inputs.baselines)
        for row in table.to_pylist()
        if row["split"] == "test" and np.isfinite(row["value"])
    ]
    names = [name for name in METRICS if any(row["metric"] == name for row in rows)]
    models: dict[str, dict[str, float]] = {}
    labelled = has_test_labels(inputs)  # without, a score would be of nothing
    for row in rows:
        models.setdefault(row["model"], {}).update({row["metric"]: row["value"]} if labelled else {})
    whole = {m: v for m, v in models.items() if not m.startswith("expert:")}
    best = {n: max((v[n] for v in whole.values() if n in v), default=None) for n in names}
    return {
        "names": names,
        "best": best,
        "models": [{"label": model_label(m), "ours": m == "fl-i2moe", "values": v} for m, v in whole.items()],
        "experts": [
            {"label": expert_label(m.removeprefix("expert:")), "values": v}
            for m, v in models.items()
            if m.startswith("expert:")
        ],
    }


def _experts(inputs: Inputs) -> list[dict[str, Any]]:
    """Per expert its mean weight on the test split, and how much of its own score is signal."""
    test = inputs.predictions.filter(pc.equal(inputs.predictions["split"], "test"))
    means = matrix(test["expert_weights"]).mean(axis=0)
    colors = expert_colors(inputs.experts)
    found = []
    for name, weight in zip(inputs.experts, means, strict=True):
        rows = inputs.interactions.filter(pc.equal(inputs.interactions["expert"], name))
        signal = None
        if len(rows):
            value, stderr = (rows[column].to_numpy() for column in score_columns(default_score(name)))
            signal = float(np.mean(np.abs(value) > 2 * stderr))
        found.append(
            {
                "label": expert_label(name),
                "color": colors[name],
                "weight": float(weight),
                "pairs": len(rows),
                "score": SCORE_TITLES[default_score(name)],
                "signal": signal,
            }
        )
    return found


def _skipped(inputs: Inputs) -> list[dict[str, str]]:
    found = []
    for name, stage in (("samples", "prepare"), ("importance", "attribute"), ("interactions", "probe")):
        metadata = inputs.metadata(name)
        failed = metadata.get("failed", {})  # by work unit
        units = [Skipped(sample_id=f"unit {key}", reason=reason) for key, reason in failed.items()]
        for entry in [*metadata.get("skipped", []), *units]:
            where = f"row {entry['row']}" if entry.get("row") is not None else ""
            sample_id = entry.get("sample_id") or where or "?"
            found.append({"stage": stage, "sample_id": sample_id, "reason": entry.get("reason", "")})
    return found


def _provenance(inputs: Inputs, provenance: Provenance) -> list[dict[str, str]]:
    made = {name: metadata_of(table.schema) for name, table in inputs.tables().items()}
    entries = [(n, m["fingerprint"], m["made_by"]) for n, m in made.items()]
    entries.append(("this page", provenance.fingerprint, provenance.to_json()))
    return [
        {"name": name, "fingerprint": fingerprint, "made_by": json.dumps(json.loads(text), indent=2)}
        for name, fingerprint, text in entries
    ]
