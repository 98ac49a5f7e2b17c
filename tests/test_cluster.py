"""Clusters as a user makes them: the launcher's files, a real launcher on one machine, jobs."""

import os
import shlex
import shutil
import time
from pathlib import Path

import pytest
import torch
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from support.own_data import embedded_rows, write_own
from support.space import REPOSITORY, open_space

LAUNCHER = {"RAY_UP_enable_autoscaler_v2": "0"}  # as examples/onprem.yaml says
FILES = ["cluster.yaml", "examples/onprem.yaml"]


@pytest.mark.parametrize("file", FILES)
def test_launcher_files_are_what_ray_takes(file):
    """Ray's own loader and schema; every start command says how to authenticate; what is copied is there."""
    config = yaml.safe_load((REPOSITORY / file).read_text())
    whole = prepare_config(config)
    validate_config(whole)
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        starts = [command for command in commands if "ray start" in command]
        assert len(starts) == 1
        assert "RAY_AUTH_MODE=disabled" in starts[0]
    for path in config["file_mounts"].values():
        assert (REPOSITORY / path).exists()
    setup = "\n".join(config["setup_commands"])
    for word in ("RAY_AUTH_MODE=disabled", "RAYMOE_WORKSPACE=", "RAYMOE_DATASET=", "'ray[default]==2.60.*'"):
        assert word in setup
    for command in [*whole["setup_commands"], *whole["head_start_ray_commands"]]:
        assert os.system(f"bash -n -c {shlex.quote(f'true && ({command})')}") == 0


def test_the_cloud_cluster_scales_spot_workers_of_several_gpus():
    config = prepare_config(yaml.safe_load((REPOSITORY / "cluster.yaml").read_text()))
    worker, head = (config["available_node_types"][name] for name in ("worker", config["head_node_type"]))
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert worker["node_config"]["ImageId"] == head["node_config"]["ImageId"]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    found = open_space(tmp_path_factory.mktemp("cluster") / "space", "sshd", "ssh", "rsync")
    yield found
    found.close()


@pytest.fixture(scope="module")
def cluster(space, tmp_path_factory):
    """A cluster of this machine, made by `ray up` from examples/onprem.yaml with what a user must edit."""
    folder = tmp_path_factory.mktemp("data")
    dataset = write_own(folder, *embedded_rows(train=12, val=4, test=4))
    # Else units are sized by the device's speed, of which the tables' metadata tell.
    sized = dataset.read_text().replace("[probe]\n", "[probe]\nunit_evaluations = 4096\n")
    dataset.write_text(sized)
    config = yaml.safe_load((REPOSITORY / "examples" / "onprem.yaml").read_text())
    config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(space.serve_ssh())}
    variables, install = config["setup_commands"]
    variables = variables.replace("=/shared/runs", f"={folder}/ws").replace("=demo", f"={dataset}")
    assert "pip install" in install
    # What pip would install is here already; the package itself is the copy that the launcher made.
    use = "echo 'export PYTHONPATH=$HOME/raymoe' >> ~/.raymoe-env && python -c 'import raymoe, ray'"
    config["setup_commands"] = [variables, use]
    file = folder / "onprem.yaml"
    file.write_text(yaml.safe_dump(config))
    start = time.monotonic()
    code, said = space.run("ray", "up", "-y", "--no-config-cache", file, **LAUNCHER)
    print(f"ray up: {time.monotonic() - start:.0f} s")
    assert code == 0, said
    yield file, folder
    code, said = space.run("ray", "down", "-y", file, **LAUNCHER)
    assert code == 0, said
    assert "raylet" not in space.run("ps", "ax")[1]


def submit(space, cluster, job, *arguments):
    return space.run("ray", "submit", cluster[0], REPOSITORY / "jobs" / job, *arguments, **LAUNCHER)


def interactions(folder: Path) -> list[Path]:
    return sorted(folder.glob("own/runs/*/interactions*"))


@pytest.fixture(scope="module")
def probed(space, cluster):
    """The workspace after `ray submit` without arguments."""
    code, said = submit(space, cluster, "probe.py")
    assert code == 0, said
    return cluster[1] / "ws"


@pytest.mark.slow
def test_ray_submit_and_ray_job_submit_do_the_same(space, cluster, probed):
    """As it stands with `ray submit`, then by `ray job submit` with a path with a space."""
    _, folder = cluster
    first = interactions(probed)
    assert first
    again = folder / "my runs"
    shutil.copytree(folder / "ws", again)
    job = ["ray", "job", "submit", "--working-dir", ".", "--", "python", "jobs/probe.py"]
    code, said = space.run(*job, folder / "own.toml", "--workspace", again, "--overwrite")
    assert code == 0, said
    assert "already there" in said  # the stages before it, from where the option says
    second = interactions(again)
    assert [f.stat().st_mtime_ns for f in second] != [f.stat().st_mtime_ns for f in first]
    assert [f.read_bytes() for f in second] == [f.read_bytes() for f in first]


@pytest.mark.slow
def test_arguments_with_spaces_survive_or_are_refused(space, cluster):
    """Quoted once they reach the job in pieces, quoted twice whole; a failed job is a failed command."""
    _, folder = cluster
    code, said = submit(space, cluster, "encode.py", "--", "--workspace", f"{folder}/other runs")
    assert code != 0
    assert "'runs' comes after the options" in said
    assert "quote an argument with spaces" in said
    code, said = submit(space, cluster, "prepare.py", "--", "--workspace", f"'{folder}/other runs'")
    assert code == 0, said
    assert (folder / "other runs" / "own" / "samples.parquet").exists()


@pytest.mark.slow
def test_doctor_finds_the_node_that_is_not_as_the_others(space, cluster):
    """A machine that joins with a GPU that its torch can't use."""
    code, said = space.run("ray", "start", "--address=127.0.0.1:6379", "--num-cpus=1", "--num-gpus=1")
    assert code == 0, said
    code, said = space.run(
        "python", "-m", "raymoe", "doctor", "--address", "auto", "--workspace", cluster[1] / "ws"
    )
    assert "auto: 2 nodes" in said
    assert "workspace reached" in said
    if torch.version.cuda is None:
        assert code == 1
        assert "is a build without CUDA" in said


SLURM = {
    # The command that follows the options runs here, where all nodes are.
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'if [ "$1" = requeue ]; then touch "$SLURM_SUBMIT_DIR/requeued"; else echo one; echo two; fi',
    "hostname": "echo 127.0.0.1",
}


@pytest.mark.slow
def test_the_slurm_script_stops_on_its_signal_and_goes_on_when_queued_again(space, cluster, probed):
    """Two nodes of one core, which Slurm's commands find on this machine."""
    folder = cluster[1] / "slurm"
    (folder / "bin").mkdir(parents=True)
    for name, script in SLURM.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "env" / "bin").mkdir(parents=True)
    (folder / "env" / "bin" / "activate").write_text(f"PATH={folder}/bin:$PATH\n")
    shutil.copytree(probed, folder / "runs")
    for table in interactions(folder / "runs"):
        table.unlink()
    job = {"JOB_ID": "7", "JOB_NODELIST": "any", "CPUS_PER_TASK": "1", "SUBMIT_DIR": str(folder)}
    environment = {f"SLURM_{name}": value for name, value in job.items()} | {
        "RAYMOE_ENV": str(folder / "env")
    }
    environment["RAY_TMPDIR"] = "/tmp/ray"  # the space's own
    log, pid = folder / "log", folder / "pid"
    options = "--set probe.coalitions=256 --set probe.unit_evaluations=2048"
    typed = f"examples/slurm.sh {cluster[1]}/own.toml {options}"
    # To a file: Ray's processes may hold a pipe for some time after the script's end.
    batch = ["bash", "-c", f"echo $$ >{pid}; exec bash {typed} >>{log} 2>&1"]

    with space.popen(*batch, **environment) as first:
        while first.poll() is None and not unit_files(folder):
            time.sleep(0.1)
        space.run("kill", "-TERM", pid.read_text().strip())
        assert first.wait() == 143, log.read_text()
    assert (folder / "requeued").exists()
    assert not interactions(folder / "runs")
    stopped = log.read_text()
    assert "run the same command to go on" in stopped

    code, _ = space.run(*batch, **environment)
    said = log.read_text().removeprefix(stopped)
    assert code == 0, said
    assert interactions(folder / "runs")
    assert " 0 already done" not in said


def unit_files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("runs/own/runs/*/units/**/*") if file.suffix == ".arrow"]
