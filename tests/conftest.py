"""What several folders of tests share: a tiny project, a small disk, and one Ray for all tests."""

import functools
import os
import subprocess
from collections import Counter
from pathlib import Path

# Before torch is imported, here and in the processes that tests start: they run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pytest
from hypothesis import HealthCheck, settings
from support.tiny import tiny_preset, write_tiny_features, write_tiny_run

from raymoe.project import Project
from raymoe.project.workspace import Workspace

ROOT = Path(__file__).parents[1]

# Processes side by side make a test's time say nothing. ``make test-hostile`` takes the second profile; what
# it runs is marked hostile, and says with ``support.hostile.few`` how many examples do in the suite.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", UNTIMED)
settings.register_profile("hostile", UNTIMED, max_examples=2000, print_blob=True)
settings.load_profile("suite")


@functools.cache
def together(file: str) -> str:
    """What a file of tests is to be in one process with: others that need Ray, so that it is started once.

    Twice, that is: in one process alone they would take longer than all the other tests beside them.
    """
    if "ray_session" not in (ROOT / file).read_text():
        return file
    return "ray, the probe" if file.startswith("tests/probe/") else "ray, all others"


def pytest_collection_modifyitems(items):
    """What takes longest begins first, so that no process is left alone with it at the end."""
    places = [together(item.location[0]) for item in items]
    slow = Counter(
        place for place, item in zip(places, items, strict=True) if item.get_closest_marker("slow")
    )
    order = sorted(range(len(items)), key=lambda i: (-slow[places[i]], places[i], i))
    items[:] = [items[i] for i in order]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With ``--dist loadfile``, the files that need Ray are as two."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid.split("::")[0])

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # keep the order of above
    return Together(config, log)


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
    from support.bare_ray import start_bare

    start_bare()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=128 << 20,
    )
    yield ray
    ray.shutdown()
