"""What several folders of tests share: a tiny project, a small disk, and one Ray for the whole session."""

import os
import subprocess

# Before torch is imported, here and in the processes that tests start: they run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.project import Project
from raymoe.project.workspace import Workspace


@pytest.fixture
def tiny(tmp_path) -> Project:
    """A project up to the importance table: everything that the probe needs."""
    project = Project(tiny_preset(), Workspace(tmp_path / "ws"), "tiny")
    write_tiny_run(project, write_tiny_features(project))
    return project


@pytest.fixture
def mounted(tmp_path, request):
    """A file system of one megabyte, or of as many as the test says; only root can mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={getattr(request, 'param', 1)}m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def ray_session():
    """One Ray on this machine for all tests; ``connected`` uses it as it is."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=128 << 20,
    )
    yield ray
    ray.shutdown()
