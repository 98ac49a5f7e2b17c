"""Where Ray's sockets lie: the system allows their paths about a hundred bytes."""

import os
import subprocess
import sys

import pytest

from raymoe.actors import cluster
from raymoe.errors import RaymoeError

LONG = "/somewhere/deep" * 6


@pytest.fixture
def folders(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_length_is_that_of_ray_s_own_rule():
    from ray._private.utils import validate_socket_filepath

    for length in range(1, 107):
        folder = "/" + "x" * (length - 1)
        try:
            validate_socket_filepath(folder + cluster.SESSION)
            fits = True
        except OSError:
            fits = False
        assert cluster._has_room(folder) == fits


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_short_folder_stays(folders, name):
    assert cluster._short_folder() == {}
    folders.setenv(name, "/tmp/mine")
    assert cluster._short_folder() == {}


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_long_one_is_replaced_and_said(folders, capsys, name):
    folders.setenv(name, LONG)
    chosen = cluster._short_folder()["_temp_dir"]
    assert len(chosen + cluster.SESSION) <= 107
    assert os.stat(chosen).st_uid == os.getuid()
    assert f"{name} is too long" in capsys.readouterr().out


def test_where_no_short_one_can_be_written_it_is_refused_before_anything_starts(folders):
    folders.setenv("TMPDIR", LONG)
    folders.setattr(cluster, "SHORT", ("/proc", "/nowhere/at/all" * 9))
    folders.setattr("ray.is_initialized", lambda: False)  # other tests in this process may use one
    folders.setattr("ray.init", lambda **options: pytest.fail("Ray was started"))
    with pytest.raises(RaymoeError, match="TMPDIR is 90 bytes long") as caught, cluster.connected("local"):
        pass
    assert "Set RAY_TMPDIR to a folder of at most" in caught.value.remedy


@pytest.mark.slow
def test_ray_starts_under_a_long_temporary_folder(tmp_path):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    script = (
        "from raymoe.actors.cluster import connected\n"
        "with connected('local') as ray:\n"
        "    print('answer', ray.get(ray.remote(num_cpus=0)(lambda: 42).remote()))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_TMPDIR", "RAY_ADDRESS")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"TMPDIR": str(long)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "answer 42" in done.stdout, done.stderr[-2000:]
