"""What the page makes of the tables of ``raymoe evaluate``: shown, missing, damaged, or of something else."""

from __future__ import annotations

import csv
import io
import json

import pyarrow.parquet as pq
import pytest
from matplotlib.container import ErrorbarContainer
from support import experiments_fixture, workspace_fixture
from support.workspace_fixture import folder_of

from raymoe.display.inputs import read_inputs
from raymoe.errors import ParentError
from raymoe.experiments.alignment import ALIGNMENT
from raymoe.experiments.comparison import COMPARISON
from raymoe.experiments.comparison.show import draw as draw_comparison
from raymoe.experiments.pair_masking import PAIR_MASKING
from raymoe.experiments.planted import PLANTED
from raymoe.experiments.registry import experiments
from raymoe.project.contracts import PREDICTIONS, SWEEP
from raymoe.project.provenance import Provenance
from raymoe.project.tables import read_table
from raymoe.report import report
from raymoe.report.experiments import find_experiments, stale

MEASURED = [name for name, experiment in experiments().items() if experiment.tables]


def parents_of(inputs) -> dict[str, str]:
    return inputs.fingerprints | {"checkpoint": inputs.checkpoint}


def found(project) -> dict:
    return {e.experiment.name: e for e in find_experiments(project, read_inputs(project))}


def test_every_table_has_figures_and_files(finished):
    project, workspace = finished.project, finished.project.workspace
    shown = {e.experiment.name: e for e in find_experiments(project, finished.inputs)}
    assert {key for key, e in shown.items() if e.gap} == {"robustness", "case-study"}
    for experiment in shown.values():
        for figure in experiment.shown.figures:
            assert workspace.exists(f"{folder_of(project)}/figures/{figure.name}.svg")
            assert workspace.exists(f"{folder_of(project)}/figures/{figure.name}.png")
        for name, table in experiment.tables.items():
            text = workspace.read(f"{folder_of(project)}/tables/{name}.csv").decode()
            rows = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == len(table)
            numbers = [c for c in table.column_names if c in ("mean", "value", "drop")]
            for column in numbers:
                assert [r[column] for r in rows] == [
                    "" if v is None else str(v) for v in table[column].to_pylist()
                ]
        for sheet in experiment.shown.tables:
            assert b"toprule" in workspace.read(f"{folder_of(project)}/tables/{sheet.name}.tex")


def test_paired_differences_are_shown_beside_what_they_compare(finished):
    shown = {e.experiment.name: e.shown for e in find_experiments(finished.project, finished.inputs)}
    note = "FL-I2MoE over Dense, micro F1: +0.01 (−0.00, 0.03), 95 % of a paired bootstrap over samples."
    assert note in shown["comparison"].notes
    (sheet,) = shown["pair-masking"].sheets
    column = sheet.columns.index("ranked pairs more")
    cells = {row[2]: str(row[column]) for row in sheet.rows}
    assert cells["random pairs"] == cells["random pairs, as many features"] == "+1.23 (−0.11, 2.57)"
    assert cells["original"] == cells["ranked pairs"] == "–"


def test_figures_over_seeds_are_shown_with_how_far_the_seeds_lie_apart(finished):
    """The rows without a seed, not those of each; their deviation, and planted values seed by seed."""
    shown = {e.experiment.name: e.shown for e in find_experiments(finished.project, finished.inputs)}
    (sheet,) = shown["alignment"].sheets
    assert "mean over seeds 0, 1 (" in sheet.caption
    at = sheet.columns.index("s.d. over seeds")
    first = sheet.rows[0]
    assert first[sheet.columns.index("mean")].value == pytest.approx(0.008)
    assert first[at].value == pytest.approx(0.0016)
    assert len(sheet.rows) == 2 * 3 * 3 * 3, "each choice, bin and q once per score"
    (sheet,) = shown["pair-masking"].sheets
    assert {str(row[sheet.columns.index("s.d. over seeds")]) for row in sheet.rows} == {"–", "3.21"}
    (sheet,) = shown["faithfulness"].sheets
    assert {str(row[sheet.columns.index("s.d. over seeds")]) for row in sheet.rows} == {"1.0"}
    sheet = shown["planted"].details[0]
    by_seed = sheet.rows[0][sheet.columns.index("by seed")].split(", ")
    assert len(by_seed) == 3
    rows = read_table(finished.project.workspace, "demo/evaluation/planted.parquet", PLANTED, "").to_pylist()
    of = {
        "expert": "synergy",
        "interaction": sheet.rows[0][0],
        "method": "sii",
        "measure": "average_precision",
    }
    values = {row["seed"]: row["value"] for row in rows if of.items() <= row.items()}
    assert [float(value) for value in by_seed] == pytest.approx([values[s] for s in (0, 1, 2)], abs=5e-4)


def test_the_comparisons_whiskers_are_of_seeds_or_of_one_seeds_samples():
    """Half widths in the figure are those of the rows."""
    row = {"kind": "dense", "metric": "accuracy", "mean": 60.0, "low": 55.0, "high": 67.0, "paper_mean": None}

    def whiskers(std: float | None) -> list[float]:
        (axes,) = draw_comparison([row | {"std": std}]).axes
        (errorbar,) = (c for c in axes.containers if isinstance(c, ErrorbarContainer))
        (segments,) = errorbar.lines[2]
        return segments.get_segments()[0][:, 0].tolist()

    assert whiskers(2.0) == [58.0, 62.0]
    assert whiskers(None) == [55.0, 67.0]


def test_nothing_measured_leaves_gaps_that_name_the_commands(quick):
    report(quick)
    page = quick.workspace.read(f"{folder_of(quick)}/index.html").decode()
    for name in MEASURED:
        command = f"raymoe evaluate demo {name} --workspace"
        assert (command in page) == (name != "planted")  # the demo has no known interactions
    assert "raymoe evaluate demo case-study --sample ID --workspace" in page
    assert not quick.workspace.names(f"{folder_of(quick)}/figures")[0].startswith("alignment")


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ("checkpoint", set(MEASURED) - {"locality"}),  # which is of no model
        ("features", set(MEASURED) - {"comparison"}),
        ("importance", {"alignment", "specificity", "pair-masking"}),
        ("interactions", {"alignment", "specificity", "pair-masking"}),
    ],
)
def test_tables_of_another_checkpoint_are_never_mixed_in(quick, changed, gone):
    parents = parents_of(read_inputs(quick))
    experiments_fixture.write_experiments(quick, parents | {changed: "f" * 16})
    shown = found(quick)
    assert {key for key, e in shown.items() if e.gap} - {"case-study"} == gone
    for key in gone:
        assert "than this report" in shown[key].gap
        assert not shown[key].shown.figures
    report(quick)
    names = set(quick.workspace.names(f"{folder_of(quick)}/tables"))
    assert not {f"{key}.csv" for key in gone} & names


def test_half_of_an_experiments_tables_is_a_gap(project):
    parents = parents_of(read_inputs(project))
    experiments_fixture.write_experiments(project, parents, only=("faithfulness-summary",))
    assert found(project)["faithfulness"].gap == "Not measured yet."


def test_damaged_and_empty_tables_are_gaps(quick):
    parents = parents_of(read_inputs(quick))
    experiments_fixture.write_experiments(quick, parents)
    quick.workspace.write(f"{quick.root}/evaluation/pair-masking.parquet", b"PAR1 cut short")
    measured = {"importance of seed 0": parents["importance"], "probe of seed 0": parents["interactions"]}
    name = f"{quick.root}/evaluation/alignment.parquet"
    experiments_fixture.write(quick, name, ALIGNMENT, [], measured)
    shown = found(quick)
    assert "not a whole Parquet file" in shown["pair-masking"].gap
    assert "no rows" in shown["alignment"].gap
    report(quick)  # builds all the same


def test_the_report_is_made_again_when_a_table_comes_changes_or_goes(quick):
    report(quick)
    assert not report(quick).ran
    parents = parents_of(read_inputs(quick))
    experiments_fixture.write_experiments(quick, parents, only=("comparison",))
    assert report(quick).ran
    assert not report(quick).ran
    assert "figures/comparison.svg" in quick.workspace.read(f"{folder_of(quick)}/index.html").decode()
    quick.workspace.remove(f"{quick.root}/evaluation/comparison.parquet")
    assert report(quick).ran
    assert not quick.workspace.exists(f"{folder_of(quick)}/figures/comparison.svg")


def test_a_comparison_of_a_sweep_belongs_to_its_trials(project):
    inputs = read_inputs(project)
    trial = dict.fromkeys(SWEEP.schema.names) | {
        "kind": "fl-i2moe",
        "seed": 0,
        "fingerprint": inputs.checkpoint,
    }
    experiments_fixture.write(project, f"{project.sweep}.parquet", SWEEP, [trial], {})
    made = Provenance("evaluate", SWEEP.tag, {}, {})
    rows = read_rows()
    name = f"{project.root}/evaluation/comparison.parquet"
    experiments_fixture.write(project, name, COMPARISON, rows, {"fl-i2moe": made.fingerprint})
    assert not found(project)["comparison"].gap
    other = trial | {"fingerprint": "0" * 16}
    experiments_fixture.write(project, f"{project.sweep}.parquet", SWEEP, [other], {})
    assert found(project)["comparison"].gap


def read_rows() -> list[dict]:
    return [
        {
            "kind": "fl-i2moe",
            "variant": "",
            "metric": "micro_f1",
            "seeds": [0],
            "mean": 50.0,
            "std": None,
            "paper_mean": None,
            "paper_std": None,
            "difference": None,
        }
    ]


def test_values_without_spread_or_at_all_are_drawn(quick):
    """One seed, no paper, a class without positives: nulls and NaN."""
    parents = parents_of(read_inputs(quick))
    rows = read_rows()
    name = f"{quick.root}/evaluation/comparison.parquet"
    experiments_fixture.write(quick, name, COMPARISON, rows, {"fl-i2moe": parents["checkpoint"]})
    measured = {"importance of seed 0": parents["importance"], "probe of seed 0": parents["interactions"]}
    nothing = float("nan")
    masked = [
        {
            "expert": "synergy",
            "score": "sii",
            "share": 5,
            "masking": masking,
            "metric": "micro_f1",
            **dict.fromkeys(("value", "value_low", "value_high", "drop", "drop_low", "drop_high"), nothing),
            "pairs": 0.0,
            "features": 0.0,
            "samples": 0,
            "paper": None,
        }
        for masking in ("original", "ranked pairs")
    ]
    experiments_fixture.write(
        quick, f"{quick.root}/evaluation/pair-masking.parquet", PAIR_MASKING, masked, measured
    )
    report(quick)
    page = quick.workspace.read(f"{folder_of(quick)}/index.html").decode()
    assert "The paper has no figures for this data" in page
    assert "nan" not in page[page.index("experiment-comparison") : page.index("case-study")].lower().replace(
        "dominan", ""
    )


def test_stale_compares_what_it_knows_by_name():
    known, own = {"checkpoint": "a", "features": "f"}, {"a"}

    def why(parents):
        return stale(parents, known, own)

    assert why({"checkpoint": "a"}) is None
    assert why({"checkpoint": "b"})
    assert why({"features": "g", "checkpoint": "a"})
    assert why({"features": "f"})  # of which checkpoint?
    assert why({"fl-i2moe": "b a c"}) is None
    assert why({})
    assert stale({"features": "f"}, known, None) is None
    assert stale({"features": "g"}, known, None)


@pytest.mark.parametrize(
    ("part", "command"),
    [("predictions", "raymoe attribute demo"), ("interactions", "raymoe probe demo")],
)
def test_tables_of_the_run_from_different_checkpoints_are_refused(project, part, command):
    workspace = project.workspace
    if part == "predictions":
        name, contract = f"{project.run}/predictions.parquet", PREDICTIONS
    else:
        name, contract = f"{project.run}/importance.arrow", None
    if contract:
        table = read_table(workspace, name, contract, "")
        metadata = {**table.schema.metadata, b"raymoe.checkpoint": json.dumps("f" * 16).encode()}
        with workspace.fs.open_output_stream(workspace.path(name)) as sink:
            pq.write_table(table.replace_schema_metadata(metadata), sink)
    else:  # attributed again, with other settings
        other = workspace_fixture.build(workspace.path("other"), seed=1)
        table = other.workspace.read(f"{other.run}/importance.arrow")
        workspace.write(name, table)
    with pytest.raises(ParentError) as error:
        report(project)
    assert command in error.value.remedy
