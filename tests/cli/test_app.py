"""The commands as a user types them: exit codes, messages, and the whole path on data of one's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import typer
from support.archives import mmimdb_ids, write_mmimdb
from support.forks import run_command, run_file, run_forked
from support.own_data import embedded_rows, write_own
from support.tiny_encoders import save_clip, save_roberta

from raymoe.cli import main
from raymoe.cli.app import app
from raymoe.cli.demo import mask_page_samples, summary
from raymoe.cli.doctor import findings_of
from raymoe.config import load_preset
from raymoe.features.parts import read_marker
from raymoe.pipeline import STAGES, Options, Run, needed
from raymoe.pipeline import run as run_pipeline
from raymoe.project import Project
from raymoe.project.artifacts import (
    BASELINES,
    EPOCHS,
    FEATURES,
    IMPORTANCE,
    INTERACTIONS,
    METRICS,
    PREDICTIONS,
)
from raymoe.project.interaction_tables import read_interactions_metadata
from raymoe.project.outputs import parents_in
from raymoe.project.workspace import Workspace

JOBS = Path(__file__).parents[2] / "jobs"


def raymoe(*arguments, cwd="."):
    """Run a command; returns exit code and everything it said."""
    ended = run_forked(run_command, *arguments, PWD=str(cwd))
    return ended.code, ended.said


@pytest.fixture
def here(capsys, monkeypatch):
    """The same in this process, which saves the seconds that imports take; for commands that start no Ray."""

    def run(*arguments, cwd=None):
        for name in [name for name in os.environ if name.startswith(("RAYMOE_", "RAY_ADDRESS"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["raymoe", *map(str, arguments)])
        if cwd:
            monkeypatch.chdir(cwd)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out + said.err

    return run


@pytest.fixture(scope="session")
def rows():
    """A few drawings of each split, from the embedded data."""
    return embedded_rows(train=24, val=8, test=8)


@pytest.mark.slow
def test_own_data_from_raw_table_to_page(tmp_path, rows, here, capsys):
    """`raymoe report own.toml` makes all it needs; a second run does nothing; one bad row is left out."""
    raw, classes = [dict(row) for row in rows[0]], rows[1]
    raw[3]["image"] = raw[3]["image"][:200]
    preset = write_own(tmp_path, raw, classes)
    code, said = raymoe("report", preset, "--workspace", tmp_path / "ws")
    assert code == 3, said  # done, but a sample was left out
    assert raw[3]["sample_id"] in said
    assert "left out: 1" in said
    page = tmp_path / "ws" / "own" / "runs" / "fl-i2moe-seed0" / "report" / "index.html"
    assert str(page.parent) in said
    assert page.stat().st_size > 50_000
    run = tmp_path / "ws" / "own" / "runs" / "fl-i2moe-seed0"
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    assert not (run / "units").exists() or not list((run / "units").rglob("*.arrow"))

    code, said = here("report", preset, "--workspace", tmp_path / "ws")
    assert code == 0, said  # nothing was left out now: nothing ran
    assert said.count("already there") == len(needed("report"))
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}

    # what `raymoe demo` adds, and prints at its end
    project = Project(load_preset(str(preset)), Workspace(tmp_path / "ws"), str(preset))
    mask = partial(mask_page_samples, how=Options(), overwrite=False)
    summary(project, run_pipeline(project, "report", after={"probe": mask}))
    printed = capsys.readouterr().out
    assert "words and regions taken out of the input" in printed
    assert "What is taken away" in page.read_text()
    assert '"inputPairs":{"synergy"' in page.read_text()
    stamp = page.stat().st_mtime_ns
    run_pipeline(project, "report", after={"probe": mask})
    assert stamp == page.stat().st_mtime_ns
    again = capsys.readouterr().out.replace("\n", "")
    assert again.count("already there") == len(needed("report")) + 1
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    for words in ("linear probe: text+image", "expert:synergy", "redundancy expert", str(page)):
        assert words in printed.replace("\n", "")

    # what each table says it was made from is what its artifact names as parents
    made = {
        artifact.name: artifact.of(project).metadata()
        for artifact in (BASELINES, EPOCHS, METRICS, PREDICTIONS, IMPORTANCE)
    }
    made |= {"features": read_marker(FEATURES.of(project)).metadata}
    made |= {"interactions": read_interactions_metadata(INTERACTIONS.of(project))}
    for artifact in (value for stage in STAGES.values() for value in stage.makes if value.name in made):
        assert set(parents_in(made[artifact.name])) == {parent.name for parent in artifact.parents}

    # a device that is not there is said before anything is removed
    if not torch.cuda.is_available():
        for stage in ("encode", "train", "attribute"):
            code, said = here(
                stage, preset, "--workspace", tmp_path / "ws", "--device", "cuda", "--overwrite"
            )
            assert code == 1
            assert "--device cuda" in said
            assert "Traceback" not in said
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}

    # a table that was damaged, and deleted as the message says, is made again
    metrics = run / "metrics.parquet"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:50])
    code, said = here("train", preset, "--workspace", tmp_path / "ws")
    assert code == 1
    assert "metrics.parquet is not a whole" in said
    assert f"raymoe train {preset} --workspace {tmp_path / 'ws'} --overwrite" in said
    metrics.unlink()
    assert here("train", preset, "--workspace", tmp_path / "ws")[0] == 0
    assert metrics.read_bytes() == whole
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}

    # a truncated feature part is named, and made again by encode alone
    part = next((tmp_path / "ws" / "own" / "features").glob("part-*.arrow"))
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    code, said = here("encode", preset, "--workspace", tmp_path / "ws")
    assert code in (0, 3), said
    assert part.read_bytes() == whole

    # other settings than those the results were made with are refused by name, and nothing is lost
    code, said = here("probe", preset, "--workspace", tmp_path / "ws", "--set", "train.lr=0.001")
    assert code == 1
    assert "train.lr: 0.003 there, 0.001 now" in said
    assert "--overwrite" in said

    # features of other encoders
    other = tmp_path / "other.toml"
    other.write_text(preset.read_text().replace("max_length = 32", "max_length = 16"))
    for stage in (["train", other], ["evaluate", other, "alignment"]):
        code, said = here(*stage, "--workspace", tmp_path / "ws")
        assert code == 1
        assert "max_length" in said
    assert before.items() <= {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}.items()


def break_label(raw):
    raw[5]["labels"] = [99]
    return "row 6", "99"


def break_split(raw):
    raw[2]["split"] = "holdout"
    return "holdout", "split"


def break_id(raw):
    raw[2]["sample_id"] = raw[1]["sample_id"]
    return raw[1]["sample_id"], "sample_id"


@pytest.mark.parametrize("damage", [break_label, break_split, break_id])
def test_raw_data_that_cannot_be_used_stops_before_anything_is_written(here, tmp_path, rows, damage):
    raw = [dict(row) for row in rows[0]]
    expected = damage(raw)
    preset = write_own(tmp_path, raw, rows[1])
    code, said = here("prepare", preset, "--workspace", tmp_path / "ws")
    assert code == 1, said
    assert "table.parquet" in said
    for word in expected:
        assert word in said
    assert not (tmp_path / "ws" / "own").exists()


def test_rows_that_can_be_left_out_are_counted_and_listed(here, tmp_path, rows):
    raw = [dict(row) for row in rows[0]]
    raw[1]["title"] = "  "
    raw[4]["image"] = None
    raw[7]["image"] = b"<html>not found</html>"
    preset = write_own(tmp_path, raw, rows[1])
    code, said = here("prepare", preset, "--workspace", tmp_path / "ws")
    assert code == 3
    assert "left out: 3" in said
    for i in (1, 4, 7):
        assert raw[i]["sample_id"] in said
    table = pq.read_table(tmp_path / "ws" / "own" / "samples.parquet")
    assert len(table) == len(raw) - 3
    listed = json.loads(table.schema.metadata[b"raymoe.skipped"])
    assert [entry["sample_id"] for entry in listed] == [raw[i]["sample_id"] for i in (1, 4, 7)]
    shutil.rmtree(tmp_path / "ws")
    assert here("prepare", preset, "--workspace", tmp_path / "ws", "--allow-skipped")[0] == 0


@pytest.mark.parametrize(
    ("name", "origin", "file"),
    [
        ("mmimdb", "lisi1.unal.edu.co/mmimdb", "dataset/0000005.json"),
        ("enrico", "github.com/luileito/enrico", "design_topics.csv"),
        ("mmhs150k", "gombru.github.io/2019/10/09/MMHS", "MMHS150K_GT.json"),
    ],
)
def test_a_benchmark_without_data_says_where_it_comes_from_and_what_to_type(
    here, tmp_path, name, origin, file
):
    stage = "train" if name == "mmimdb" else "prepare"  # a later stage makes its parents and says the same
    code, said = here(stage, name, cwd=tmp_path)
    assert code == 1, said
    assert origin in said
    assert file in said
    assert f"raymoe prepare {name} --source DIR" in said
    assert "Traceback" not in said


def test_a_benchmark_from_its_archive_once(here, tmp_path):
    archive = write_mmimdb(tmp_path)
    (archive / "dataset" / f"{mmimdb_ids(26)[1]}.jpeg").write_bytes(b"<html></html>")
    code, said = here("prepare", "mmimdb", "--source", "mmimdb", cwd=tmp_path)
    assert code == 3, said
    assert "warning: 26 movies, not 25,959" in said
    assert f"{mmimdb_ids(26)[1]}: picture can't be decoded: it is an HTML page" in said
    assert "samples: train 15, val 2, test 8" in said
    assert "drama: train 4, val 1, test 2" in said
    code, said = here("prepare", "mmimdb", cwd=tmp_path)
    assert code == 0, said
    assert "already there" in said
    code, said = here("prepare", "mmimdb", "--source", "mmimdb", "--set", "data.split=archive", cwd=tmp_path)
    assert code == 1
    assert "split: contiguous there, archive now" in said
    assert "raymoe prepare mmimdb --source mmimdb --set data.split=archive --overwrite" in said


@pytest.mark.slow
def test_a_sweep_from_the_archive_to_the_papers_table(here, tmp_path):
    """What somebody types on the first day, with small encoders of the kinds that the preset names."""
    write_mmimdb(tmp_path, movies=40)
    save_roberta(tmp_path / "roberta")
    save_clip(tmp_path / "clip")
    small = ["model.hidden_dim=16", "model.num_heads=2", "model.hidden_dim_rw=8", "train.epochs=2"]
    settings = [
        *("data.text.encoder.source=hf:roberta", "data.text.encoder.max_length=12"),
        *("data.image.encoder.source=hf:clip", *small, "sweep.seeds=[0,1]", "sweep.temperatures=[2,4]"),
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    code, said = raymoe("sweep", "mmimdb", "--source", "mmimdb", *options, cwd=tmp_path)
    assert code == 0, said
    assert "warning: 40 movies, not 25,959" in said
    assert "4 trials, 0 of them done already" in said
    code, said = here("evaluate", "mmimdb", "comparison", *options, cwd=tmp_path)
    assert code == 0, said
    row = next(line for line in said.splitlines() if "FL-I2MoE" in line and "±" in line)
    assert row.count("±") == 4, "ours and the paper's, two metrics"
    (named,) = [line for line in said.splitlines() if line.startswith("model ")]
    heads = ["micro F1", "paper", "difference", "macro F1", "paper", "difference"]
    assert re.findall("micro F1|macro F1|paper|difference", named) == heads
    found = pq.read_table(tmp_path / "runs/mmimdb/evaluation/comparison.parquet").to_pylist()
    assert [row["seeds"] for row in found] == [[0, 1]] * 2
    assert all(row["difference"] == row["mean"] - row["paper_mean"] for row in found)
    code, said = here("train", "mmimdb", *options, cwd=tmp_path)
    assert code == 0, said
    assert "already there" in said, "the chosen run serves the later stages"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "imdb"], 1, ["unknown dataset 'imdb'", "Presets: mmimdb, demo"]),
        (["train", "demo", "--set", "train.lr=fast"], 1, ["train.lr", "valid number"]),
        (["train", "demo", "--device", "tpu"], 1, ["--device tpu", "cpu or cuda"]),
        (["train", "demo", "--workspace", "ftp5://x"], 1, ["--workspace ftp5://x"]),
        (["train", "demo", "--workspace", "/proc/none"], 1, ["/proc/none", "--workspace"]),
        (["train"], 2, ["Missing argument 'DATASET'"]),
        (["trian", "demo"], 2, ["No such command 'trian'"]),
        (["probe", "demo", "--actors", "0"], 2, ["--actors"]),
    ],
)
def test_wrong_usage_is_explained(here, tmp_path, arguments, code, words):
    found, said = here(*arguments, cwd=tmp_path)
    assert found == code, said
    for word in words:
        assert word in said
    assert "Traceback" not in said


@pytest.mark.parametrize("place", ["ftp5://x", "/proc/none"])
def test_a_workspace_of_the_environment_is_named_as_that(tmp_path, place):
    """Nobody who set a variable long ago looks for a mistake in options that were not given."""
    command = "doctor" if place == "/proc/none" else "prepare"
    dataset = ["demo"] if command == "prepare" else []
    ended = run_forked(run_command, command, *dataset, PWD=str(tmp_path), RAYMOE_WORKSPACE=place)
    assert ended.code == 1, ended.said
    assert "RAYMOE_WORKSPACE" in ended.said
    assert "--workspace" not in ended.said


def test_options_that_stand_for_settings_are_named_as_they_were_given(here, tmp_path):
    for given in (["--random", "0"], ["--grid", "model.dropout=2"], ["--set", "train.lr=0"]):
        code, said = here("sweep", "demo", *given, cwd=tmp_path)
        assert code == 1, said
        named = f"{given[0]} {given[1]!r}" if given[0] == "--set" else " ".join(given)
        assert f"raymoe: {named}: " in said


def test_a_cluster_that_is_not_there_is_said(tmp_path):
    code, said = raymoe("doctor", "--address", "127.0.0.1:1", cwd=tmp_path)
    assert code == 1, said
    assert "can't reach the Ray cluster" in said
    assert "ray start --head" in said
    assert "Traceback" not in said


def test_help_names_every_stage(here):
    """The one command here that Python itself starts, as a user's shell does."""
    started = [sys.executable, "-m", "raymoe", "--help"]
    done = subprocess.run(started, cwd=JOBS.parent, capture_output=True, text=True, check=True)
    for command in [*STAGES, "demo", "doctor"]:
        assert command in done.stdout
    code, said = here("prepare", "--help")
    assert code == 0
    for benchmark in ("mmimdb", "enrico", "mmhs150k"):
        assert benchmark in said


def test_help_waits_for_nothing_slow():
    code = "import sys; from raymoe.cli import main; sys.argv = ['raymoe', '--help']\ntry: main()\nfinally: "
    code += "print('slow:', *{'torch', 'ray', 'pandas', 'pydantic', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1].strip() == "slow:", done.stdout + done.stderr


def options_of(command):
    return [o for p in typer.main.get_group(app).commands[command].params for o in p.opts if o[:2] == "--"]


def test_a_stages_command_takes_what_its_line_in_the_table_says():
    everyones = {"--source", "--workspace", "--set", "--overwrite", "--allow-skipped", "--help"}
    names = {"device": "--device", "address": "--address", "num_actors": "--actors"}
    names["gpu_share"] = "--gpu-share"
    for stage in STAGES.values():
        own = {names[name] for name in (*stage.options, *stage.passes_on)}
        own |= {"--seed"} if stage.of_run else set()
        own |= {"--overwrite-all"} if stage.parents else set()
        own |= {"--grid", "--random", "--asha"} if stage.name == "sweep" else set()
        assert set(options_of(stage.name)) | {"--help"} == everyones | own, stage.name
    assert "--seed" in options_of("report")
    assert "--seed" not in options_of("sweep")
    assert options_of("train")[-4:] == ["--device", "--overwrite", "--overwrite-all", "--allow-skipped"]


def test_what_is_typed_for_a_stage_arrives(here, tmp_path, monkeypatch):
    """Options for how it runs arrive as such; the others are settings, as ``--set`` writes them."""
    seen = []

    def run(project, last, *, options, overwrite, after):
        assert after is None  # the demo alone does something besides
        seen.append((project, last, options, overwrite))
        return Run(project)

    monkeypatch.setattr("raymoe.cli.stage_command.run", run)
    where = ["--workspace", "ws"]
    assert here("sweep", "demo", *where, "--grid", "train.lr=1e-3,2e-3", "--random", "2", "--asha")[0] == 0
    assert (
        here("probe", "demo", "--seed", "3", "--gpu-share", ".5", "--actors", "2", "--overwrite-all")[0] == 0
    )
    assert here("prepare", "demo", "--set", "data.empty_text=keep", "--overwrite")[0] == 0
    (sweep, probe, prepare) = seen
    assert sweep[0].settings == ("sweep.grid.train.lr=[0.001, 0.002]", "sweep.random=2", "sweep.asha=true")
    assert sweep[0].preset.sweep.random == 2
    assert sweep[0].workspace.uri == "ws"
    assert (probe[1], probe[3]) == ("probe", "all")
    assert probe[2] == Options(num_actors=2, gpu_share=0.5)
    assert (probe[0].seed, probe[0].settings, probe[0].preset.train.seed) == (3, (), 3)
    assert prepare[0].preset.data.empty_text == "keep"
    assert (prepare[2], prepare[3]) == (Options(), "last")


def test_settings_are_printed_by_section(here):
    code, said = here("settings", "data.mmimdb")
    assert code == 0, said
    assert "contiguous, archive" in said
    assert "rho" not in said
    code, said = here("settings")
    assert code == 0, said
    for word in ("rho", "drop_cls", "split_rule", "micro_batch_size", '{"model.dropout" = [0.3, 0.5]}'):
        assert word in " ".join(said.split())
    code, said = here("settings", "prob")
    assert code == 1
    assert "no section 'prob'" in said


def test_a_stage_needs_its_ancestors_in_order():
    assert needed("prepare") == ["prepare"]
    assert needed("probe") == ["prepare", "encode", "train", "attribute", "probe"]
    assert needed("report") == [stage for stage in STAGES if stage != "sweep"]
    assert needed("sweep") == ["prepare", "encode", "sweep"]


def test_doctor_looks_at_everything(tmp_path):
    found = {f.what: f for f in findings_of(str(tmp_path))}
    assert found["Python"].state == "ok"
    assert found["torch"].state == "ok"
    assert "memory" in found
    assert found["workspace"].state in ("ok", "note")
    broken = {f.what: f for f in findings_of("magic://x")}["workspace"]
    assert broken.state == "missing"
    assert broken.remedy


def run_job(job, *arguments, cwd, **environment):
    """Run a job's file as a cluster does; returns exit code and everything it said."""
    ended = run_forked(run_file, JOBS / f"{job}.py", *arguments, PWD=str(cwd), **environment)
    return ended.code, ended.said


@pytest.mark.parametrize("job", sorted(p.stem for p in JOBS.glob("*.py")))
def test_jobs_are_the_same_commands(tmp_path, job):
    """A job parses with the command of its name; RAYMOE_DATASET stands in for a missing dataset."""
    experiment = ["comparison"] if job == "evaluate" else []
    code, said = run_job(job, *experiment, cwd=tmp_path, RAYMOE_DATASET="nothing")
    assert code == 1, said
    assert "unknown dataset 'nothing'" in said
    code, said = run_job(job, "--", "nowhere", *experiment, cwd=tmp_path, RAYMOE_DATASET="nothing")
    assert code == 1, said
    assert "unknown dataset 'nowhere'" in said


def test_a_job_takes_the_only_dataset_of_the_workspace(tmp_path):
    where = {"cwd": tmp_path, "RAYMOE_WORKSPACE": str(tmp_path / "ws")}
    code, said = run_job("train", **where)
    assert code == 1
    assert f"the workspace {tmp_path / 'ws'} holds none" in said
    assert "RAYMOE_DATASET" in said
    (tmp_path / "ws" / "enrico").mkdir(parents=True)
    (tmp_path / "ws" / "notes").mkdir()  # no dataset: it has no samples
    (tmp_path / "ws" / "enrico" / "samples.parquet").write_bytes(b"cut short")
    code, said = run_job("train", **where)
    assert code == 1
    assert "prepare enrico" in said
    assert f"{tmp_path / 'ws'}/enrico/samples.parquet is not a whole" in said
    (tmp_path / "ws" / "posters").mkdir()
    (tmp_path / "ws" / "posters" / "samples.parquet").touch()
    code, said = run_job("train", **where)
    assert code == 1
    assert "holds several: enrico, posters" in said
    shutil.rmtree(tmp_path / "ws" / "enrico")
    code, said = run_job("train", **where)
    assert code == 1
    assert "'posters' alone, which is no preset" in said
    assert ".toml" in said


@pytest.mark.parametrize(
    ("typed", "code", "word"),
    [
        ("--workspace /shared/my demo", 1, "'demo' comes after the options"),
        ("demo --workspace /shared/my runs", 1, "'runs' comes after the options"),
        ("my data.toml", 1, "'data.toml' is one argument too many"),
        ("demo --worksapce /shared", 2, "--worksapce"),
    ],
)
def test_an_argument_that_fell_apart_at_its_spaces_is_refused(tmp_path, typed, code, word):
    """What is left of `ray submit ... -- --workspace '/shared/my demo'` must not run as something else."""
    found, said = run_job("probe", *typed.split(), cwd=tmp_path, RAYMOE_DATASET="demo")
    assert found == code, said
    assert word in said
    assert "quote an argument with spaces or shell characters twice" in said
