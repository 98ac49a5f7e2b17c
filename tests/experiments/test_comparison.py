"""The comparison takes what each sweep chose, or plain runs, and sets the paper's figures beside it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from support.tiny import tiny_preset, write_tiny_features

from raymoe.errors import InputError, ParentError
from raymoe.experiments.comparison import COMPARISON
from raymoe.experiments.comparison import measure as comparison_module
from raymoe.experiments.comparison.measure import measure
from raymoe.experiments.running import evaluate
from raymoe.pipeline import resolved
from raymoe.project import Project, artifacts
from raymoe.project.artifacts import FEATURES
from raymoe.project.contracts import METRICS, SWEEP
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table, write_table
from raymoe.project.workspace import Workspace
from raymoe.training import train


def comparison(project: Project) -> None:
    """As the pipeline does it: with what the project's sweep chose."""
    measure(resolved(project))


METRIC_NAMES = ("micro_f1", "macro_f1", "accuracy")


@pytest.fixture
def project(tmp_path) -> Project:
    preset = tiny_preset(train={"epochs": 1, "batch_size": 2}, sweep={"seeds": [0, 1, 2]})
    project = Project(preset, Workspace(tmp_path), "tiny")
    write_tiny_features(project)
    return project


def features_of(project: Project) -> str:
    return comparison_module.read_marker(FEATURES.of(project)).fingerprint


def write_sweep(
    project: Project, kind: str, test: dict[str, list[float]], features: str | None = None
) -> None:
    """A sweep's table with two configurations, temperature 4 with these test scores; and its choice."""
    of_kind = replace(project, preset=project.preset.with_fields({"model.kind": kind}))
    rows = [
        {
            "kind": kind,
            "variant": f"-temperature_rw={temperature}",
            "model.temperature_rw": float(temperature),
            "seed": seed,
            "state": state,
            "split": split,
            "metric": metric,
            "value": value if (temperature, split, state) == (4, "test", "finished") else 0.001,
        }
        for temperature in (2, 4)
        for split in ("val", "test")
        for metric, values in test.items()
        for seed, value, state in [
            *((i, v, "finished") for i, v in enumerate(values)),
            (len(values), 0.0, "stopped"),
        ]
    ]
    schema = pa.schema([*SWEEP.schema, pa.field("model.temperature_rw", pa.float64())])
    made = Provenance("sweep", SWEEP.tag, {}, {"features": features or features_of(project)})
    table = pa.Table.from_pylist(rows, schema)
    write_table(project.workspace, f"{of_kind.sweep}.parquet", table, SWEEP, made)
    seeds = list(range(len(next(iter(test.values())))))
    chosen = (
        f'{{"chosen": {{"model.temperature_rw": 4.0}}, "variant": "-temperature_rw=4", "seeds": {seeds}}}'
    )
    project.workspace.write(f"{of_kind.sweep}.json", chosen.encode())


def rows_of(project: Project) -> dict[tuple[str, str], dict]:
    name = f"{project.root}/evaluation/comparison.parquet"
    rows = read_table(project.workspace, name, COMPARISON, "").to_pylist()
    return {(row["kind"], row["metric"]): row for row in rows}


def differences_of(project: Project) -> list[dict]:
    name = f"{project.root}/evaluation/comparison.parquet"
    return metadata_of(read_table(project.workspace, name, COMPARISON, "").schema)["differences"]


def test_table_2_of_a_dataset_of_the_paper(project, capsys):
    """Rows, columns, means, deviations, the paper's figures and the differences, as a reader checks them."""
    project = replace(project, dataset="mmimdb")
    ours = {"i2moe": [0.60, 0.61, 0.62], "fl-i2moe": [0.68, 0.69, 0.73]}
    for kind, values in ours.items():
        write_sweep(project, kind, {"micro_f1": values, "macro_f1": [0.5, 0.5, 0.56], "accuracy": [0, 0, 0]})
    evaluate(resolved(project), "comparison")
    found = rows_of(project)
    assert list(found) == [(k, m) for k in ("i2moe", "fl-i2moe") for m in ("micro_f1", "macro_f1")]
    for kind, values in ours.items():
        row = found[kind, "micro_f1"]
        assert row["mean"] == pytest.approx(100 * np.mean(values))
        assert row["std"] == pytest.approx(100 * np.std(values, ddof=1))
        assert (row["seeds"], row["variant"]) == ([0, 1, 2], "-temperature_rw=4")
    assert found["i2moe", "micro_f1"]["paper_mean"] == 60.33
    assert found["fl-i2moe", "micro_f1"]["difference"] == pytest.approx(70.0 - 67.85)
    assert found["fl-i2moe", "macro_f1"]["difference"] == pytest.approx(52.0 - 56.35)

    lines = capsys.readouterr().out.splitlines()
    words = [" ".join(line.split()) for line in lines]
    assert "FL-I2MoE 3 70.00 ± 2.65 – 67.85 ± 0.45 +2.15 52.00 ± 3.46 – 56.35 ± 0.15 −4.35" in words
    assert "I2MoE 3 61.00 ± 1.00 – 60.33 ± 0.47 +0.67 52.00 ± 3.46 – 51.21 ± 0.57 +0.79" in words
    assert any(line.startswith("no finished run of Dense") and "model.kind=dense" in line for line in lines)
    assert lines[-1].endswith("evaluation/comparison.parquet")


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("multilabel", ["micro_f1", "macro_f1"]),
        ("multiclass", ["accuracy"]),
        ("binary", ["accuracy", "macro_f1"]),
    ],
)
def test_metrics_follow_the_task_and_other_data_have_no_paper_column(project, capsys, task, metrics):
    data = project.preset.data.model_copy(update={"task": task})
    project = replace(project, preset=project.preset.model_copy(update={"data": data}))
    write_sweep(project, "fl-i2moe", {metric: [0.5] for metric in METRIC_NAMES})
    comparison(project)
    found = rows_of(project)
    assert [metric for _, metric in found] == metrics
    for row in found.values():
        assert (row["mean"], row["std"], row["paper_mean"], row["difference"]) == (50.0, None, None, None)
    assert "paper" not in capsys.readouterr().out


def test_plain_runs_of_a_kind_that_was_not_swept(project, capsys):
    """Their metrics tables are the truth; a run of other settings is left out by name."""
    values = []
    for seed in (0, 1):
        of_seed = replace(project, preset=project.preset.with_fields({"train.seed": seed}))
        train(of_seed, device="cpu")
        table = read_table(project.workspace, f"{of_seed.run}/metrics.parquet", METRICS, "").to_pandas()
        test = table.query("model == 'fl-i2moe' and split == 'test' and metric == 'macro_f1'")
        values.append(100 * test["value"].item())
        train(of_seed.with_kind("dense"), device="cpu")
    other = replace(project, preset=project.preset.with_fields({"train.seed": 2, "train.lr": 1e-2}))
    train(other, device="cpu")
    comparison(project)
    assert "left out" in capsys.readouterr().out
    row = rows_of(project)["fl-i2moe", "macro_f1"]
    assert row["seeds"] == [0, 1]
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["variant"] == ""
    assert row["low"] <= row["mean"] <= row["high"]
    differences = {(d["against"], d["metric"]): d for d in differences_of(project)}
    assert set(differences) == {("dense", "micro_f1"), ("dense", "macro_f1")}
    found = differences["dense", "macro_f1"]
    assert found["more"] == pytest.approx(row["mean"] - rows_of(project)["dense", "macro_f1"]["mean"])
    assert found["more_low"] <= found["more"] <= found["more_high"]
    own = replace(project, preset=project.preset.with_fields({"train.seed": 1, "sweep.seeds": [0]}))
    comparison(own)
    assert rows_of(own)["fl-i2moe", "macro_f1"]["seeds"] == [0, 1], "the seed that was asked for counts too"


def test_intervals_of_a_sweep_are_of_all_its_seeds_or_there_are_none(project):
    """Two of three runs would give an interval around another mean than the table's."""
    for seed in (0, 1):
        settings = {"model.temperature_rw": 4.0, "train.seed": seed}
        train(
            replace(project, preset=project.preset.with_fields(settings), variant="-temperature_rw=4"),
            device="cpu",
        )
    write_sweep(project, "fl-i2moe", {metric: [0.5, 0.5] for metric in METRIC_NAMES})
    comparison(project)
    row = rows_of(project)["fl-i2moe", "macro_f1"]
    assert row["seeds"] == [0, 1]
    assert 0 <= row["low"] <= row["high"] <= 100
    write_sweep(project, "fl-i2moe", {metric: [0.5, 0.5, 0.5] for metric in METRIC_NAMES})
    comparison(project)
    row = rows_of(project)["fl-i2moe", "macro_f1"]
    assert (row["seeds"], row["low"], row["high"]) == ([0, 1, 2], None, None)
    assert differences_of(project) == []


def test_a_setting_of_the_users_own_beats_what_was_chosen(project):
    write_sweep(project, "fl-i2moe", {metric: [0.5] for metric in METRIC_NAMES})
    own = replace(project, settings=("model.temperature_rw=3",))
    with pytest.raises(ParentError, match="no finished run"):
        comparison(own)


def test_nothing_to_compare_names_the_commands(project):
    with pytest.raises(ParentError, match="no finished run") as caught:
        comparison(project)
    assert "raymoe sweep tiny" in caught.value.remedy
    artifacts.FEATURES.of(project).remove()
    with pytest.raises(ParentError, match="no complete feature store"):
        comparison(project)


def test_a_sweep_on_other_features_is_refused(project):
    write_sweep(project, "i2moe", {metric: [0.5] for metric in METRIC_NAMES}, features="0123456789abcdef")
    with pytest.raises(ParentError, match=r"sweep-i2moe.parquet was made from features 0123456789abcdef"):
        comparison(project)


def test_an_unknown_experiment_lists_those_there_are(project):
    with pytest.raises(InputError, match="unknown experiment 'sideways'") as caught:
        evaluate(project, "sideways")
    assert "comparison" in caught.value.remedy
