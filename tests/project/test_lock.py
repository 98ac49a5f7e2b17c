"""Two drivers on one run: the second is refused while the first shows life, whatever the clocks say."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from raymoe.errors import RaymoeError, WorkspaceError
from raymoe.project import lock
from raymoe.project.lock import RunLock
from raymoe.project.workspace import Workspace

NAME = "run/probe.lock"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "WATCH_HERE", 0.6)
    monkeypatch.setattr(lock, "WATCH_ELSEWHERE", 1.2)
    monkeypatch.setattr(lock, "SETTLE", 0.05)


@pytest.fixture
def patient(monkeypatch):
    """A heart may stand still for an hour before anybody takes over: a busy machine is not a dead one."""
    monkeypatch.setattr(lock, "WATCH_HERE", 3600.0)
    monkeypatch.setattr(lock, "WATCH_ELSEWHERE", 3600.0)
    monkeypatch.setattr(lock, "SETTLE", 1.0)


@pytest.fixture(params=[True, False], ids=["local", "remote"])
def workspace(tmp_path, monkeypatch, request):
    monkeypatch.setattr(Workspace, "is_local", request.param)
    return Workspace(tmp_path)


def left_behind(workspace, **fields):
    """A lock whose owner does nothing any more."""
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "time": "2001-01-01T00:00:00", "beat": 3}
    workspace.write(NAME, json.dumps(owner | {"token": "abc"} | fields).encode())


def test_a_second_driver_is_refused_by_name_and_the_first_goes_on(workspace, patient):
    with RunLock(workspace, NAME) as first:
        with pytest.raises(RaymoeError, match="another process is at work on this probe") as caught:
            RunLock(workspace, NAME).__enter__()
        assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in caught.value.message
        first.check()
    assert not workspace.exists(NAME)
    with RunLock(workspace, NAME):
        pass


def test_an_error_or_a_ctrl_c_releases_it(workspace):
    for error in (KeyboardInterrupt, WorkspaceError("full")):
        with pytest.raises(type(error) if isinstance(error, Exception) else error), RunLock(workspace, NAME):
            raise error
        assert not workspace.exists(NAME)


def test_a_process_that_is_gone_is_known_at_once(workspace, patient):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left_behind(workspace, pid=ended.pid)
    with RunLock(workspace, NAME) as held:  # without the hour
        held.check()


@pytest.mark.parametrize("stamp", ["2001-01-01T00:00:00", "2099-01-01T00:00:00"])
@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_one_whose_heart_stopped_is_taken_over_after_a_while_whatever_the_time_it_tells(
    workspace, host, stamp
):
    left_behind(workspace, host=host, time=stamp)  # its process id is in use: that of this test
    start = time.monotonic()
    with RunLock(workspace, NAME):
        assert time.monotonic() - start > 0.5


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"x"'])
def test_a_damaged_lock_is_watched_like_any_other(workspace, content):
    workspace.write(NAME, content)
    with RunLock(workspace, NAME) as held:
        held.check()


def test_a_driver_that_stood_still_learns_that_it_was_replaced(workspace):
    with RunLock(workspace, NAME) as first:
        left_behind(workspace, host="elsewhere", pid=7, token="another")
        while first._lost is None:
            time.sleep(0.02)
        with pytest.raises(RaymoeError, match="taken over by process 7 on elsewhere"):
            first.check()
    assert workspace.exists(NAME)  # it is the other's


def test_of_many_at_once_one_gets_it(workspace, patient):
    """Over a lock that was left behind: all see it stale at the same time."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left_behind(workspace, pid=ended.pid)
    won, lost, begin = [], [], threading.Barrier(4)

    def compete():
        begin.wait()
        held = RunLock(workspace, NAME)
        try:
            with held:
                won.append(held)
                while len(won) == 1 and len(lost) < 3:
                    time.sleep(0.02)
                held.check()
        except RaymoeError:
            lost.append(held)

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)


def test_a_workspace_that_cannot_be_written_says_so(mounted):
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(WorkspaceError, match="no permission to write"):
        RunLock(Workspace(mounted), NAME).__enter__()
