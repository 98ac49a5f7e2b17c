"""What ``raymoe demo`` prints at the end: the figures that matter, and where the page is."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table
from rich.text import Text

from raymoe.catalogue import MIXTURE
from raymoe.display.samples import choose
from raymoe.display.vocabulary import default_score, expert_title, score_columns, score_label
from raymoe.errors import ParentError
from raymoe.features.store import FeatureStore
from raymoe.features.text_pieces import TextPiece, word_at
from raymoe.pipeline import Options, Run
from raymoe.probe import probe
from raymoe.project import Project
from raymoe.project.artifacts import BASELINES, FEATURES, INTERACTIONS, METRICS, PREDICTIONS
from raymoe.project.interaction_tables import read_interactions
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console

MOST_MASKED = 24  # samples: half a minute on two cores
PAGE_COALITIONS = 16  # enough for samples that are looked at: docs/interactions.md


def mask_page_samples(project: Project, how: Options, overwrite: bool) -> None:
    """Measure the page's samples once more, by the rule of masking that is easier to believe.

    Tables of other settings, somebody's own, stay as they are.

    Raises:
        RaymoeError: see ``probe``.
    """
    report, interactions = project.preset.report, read_interactions(INTERACTIONS.of(project))
    count = report.samples if isinstance(report.samples, int) else MOST_MASKED
    samples = [sample_id for sample_id, _ in choose(interactions, min(count, MOST_MASKED), report.seed)]
    fields = {
        "mask": "input",
        "samples": samples,
        "experts": list(dict.fromkeys([*metadata_of(interactions.schema)["experts"], MIXTURE])),
        "coalitions": PAGE_COALITIONS,
        "max_samples": None,
        "unit_evaluations": None,
    }
    preset = project.preset.with_fields({f"probe.{name}": value for name, value in fields.items()})
    console.print(f"  the page's {len(samples)} samples again, words and regions taken out of the input")
    try:
        result = probe(
            replace(project, preset=preset),
            address=how.address,
            num_actors=how.num_actors,
            device=how.device,
            overwrite=overwrite,
        )
    except ParentError as error:
        console.print(f"  not done: {error.message}. With --overwrite they are replaced.")
        return
    console.print(f"  {'->' if result.ran else 'already there:'} {result.path}")


def summary(project: Project, done: Run) -> None:
    """Print test scores, expert weights, the strongest pairs and the page's path.

    Raises:
        ParentError: a table is missing or damaged.
    """
    console.print(_metrics(project))
    console.print(_weights(project))
    interactions = read_interactions(INTERACTIONS.of(project))
    store = FeatureStore.open(FEATURES.of(project))
    for expert in interactions["expert"].unique().to_pylist():
        console.print(_pairs(interactions, store, expert, default_score(expert)))
    console.print(f"{sum(done.seconds.values()):.0f} s in all. Open the page:")
    console.print(Text(done.results["report"].path, style="bold"))
    dense = project.with_kind("dense").command("train")
    again = f"{dense} && {project.command('evaluate')} && {project.command('report')}"
    console.print(f"The paper's experiments are added to it by (some minutes): {again}")
    folder = Path(sys.executable).parent
    if not shutil.which("raymoe") and (folder / "raymoe").exists():
        console.print(f"The command raymoe is in {folder}")


def _metrics(project: Project) -> Table:
    """FL-I2MoE against the linear probes, on the test split."""
    table = Table("test split", "micro-F1", "macro-F1", title="classification", title_justify="left")
    for artifact in (METRICS, BASELINES):
        rows = artifact.of(project).read().to_pylist()
        found: dict[str, dict[str, float]] = {}
        for row in rows:
            if row["split"] == "test":
                found.setdefault(row["model"], {})[row["metric"]] = row["value"]
        for model, values in found.items():
            table.add_row(model, f"{values['micro_f1']:.3f}", f"{values['macro_f1']:.3f}")
    return table


def _weights(project: Project) -> Table:
    """How much of the prediction each expert makes."""
    predictions = PREDICTIONS.of(project).read()
    test = predictions.filter(pc.equal(predictions["split"], "test"))
    weights = np.array(test["expert_weights"].to_pylist())
    table = Table("expert", "mean weight", "5 % to 95 %", title="expert weights", title_justify="left")
    for i, name in enumerate(metadata_of(predictions.schema)["experts"]):
        low, high = np.quantile(weights[:, i], (0.05, 0.95))
        table.add_row(name, f"{weights[:, i].mean():.2f}", f"{low:.2f} to {high:.2f}")
    return table


def _pairs(interactions: pa.Table, store: FeatureStore, expert: str, score: str, most: int = 6) -> Table:
    """The strongest pairs of an expert that stand out from their own error, one per sample."""
    column, of_error = score_columns(score)
    rows = interactions.filter(pc.equal(interactions["expert"], expert))
    value, error = rows[column].to_numpy(), rows[of_error].to_numpy()
    clear = np.abs(value) > 2 * error
    caption = f"{len(value):,} pairs, {clear.mean():.0%} of them more than two standard errors from 0"
    table = Table(
        "sample",
        "pair",
        score_label(score),
        title=expert_title(expert),
        title_justify="left",
        caption=caption,
    )
    seen: set[str] = set()
    for i in np.argsort(-np.where(clear, value, -np.inf), kind="stable"):
        row = rows.slice(int(i), 1).to_pylist()[0]
        if row["sample_id"] in seen:
            continue
        seen.add(row["sample_id"])
        pair = " + ".join(
            _feature(store, row["sample_id"], row[f"{side}_modality"], row[side]) for side in "uv"
        )
        table.add_row(row["sample_id"], pair, f"{row[column]:.3f} ± {row[of_error]:.3f}")
        if len(seen) == most:
            break
    return table


def _word(found: list[TextPiece], position: int) -> str:
    """The word that a piece belongs to, the piece itself in bars where it is not the whole word."""
    word = word_at(found, position)
    if len(word) == 1:
        return f"'{found[position].shown}'"
    return f"'{''.join(f'|{found[i].shown}|' if i == position else found[i].text for i in word)}'"


def _feature(store: FeatureStore, sample_id: str, modality: str, position: int) -> str:
    """A token as text, a patch as its row and column."""
    index = store.index_of(sample_id)
    pieces, (_, valid, special) = store.pieces(index, modality), store.sequence(index, modality)
    if pieces is not None:
        return _word(pieces, position)
    geometry = store.geometry(index, modality)
    if geometry:
        row, column = divmod(int((valid & ~special)[:position].sum()), geometry.cols)
        return f"patch {row + 1},{column + 1}"
    return f"{modality} {position}"
