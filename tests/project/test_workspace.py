"""Files appear whole or not at all; full, read-only and remote workspaces."""

import os
import pickle
import subprocess
from pathlib import Path

import pytest

from raymoe.errors import WorkspaceError
from raymoe.project.workspace import TEMPORARY, Workspace


def test_round_trip_and_listing(tmp_path):
    workspace = Workspace(tmp_path / "new" / "folder")
    workspace.write("a/b.bin", b"hello")
    assert workspace.read("a/b.bin") == b"hello"
    assert workspace.names("a") == ["b.bin"]
    assert workspace.names("nothing") == []
    workspace.remove("a")
    assert not workspace.exists("a/b.bin")
    workspace.remove("a")  # again: no error


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.write("file", b"old")

    def fail(sink):
        sink.write(b"half of the ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.write_with("file", fail)
    assert workspace.read("file") == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_unfinished_files_are_not_listed(tmp_path):
    workspace = Workspace(tmp_path)
    (tmp_path / f"{TEMPORARY}123-x").write_bytes(b"")
    workspace.write("x", b"")
    assert workspace.names("") == ["x"]


def test_missing_files_and_bad_uris_are_named(tmp_path):
    with pytest.raises(WorkspaceError, match="no such file"):
        Workspace(tmp_path).read("none")
    with pytest.raises(WorkspaceError, match="--workspace magic://x"):
        Workspace("magic://x")


def test_uris_and_pickling(tmp_path):
    workspace = pickle.loads(pickle.dumps(Workspace(f"file://{tmp_path}")))
    workspace.write("x", b"1")
    assert Workspace(tmp_path).read("x") == b"1"


def test_remote_files_are_copied_to_the_node_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(Workspace, "is_local", False)
    workspace = Workspace(tmp_path / "remote")
    workspace.write("x", b"first")
    local = workspace.local("x")
    assert Path(local).read_bytes() == b"first"
    assert workspace.local("x") == local
    workspace.write("x", b"second!")
    assert Path(workspace.local("x")).read_bytes() == b"second!"


def test_a_full_disk_says_so_and_keeps_what_is_there(mounted):
    workspace = Workspace(mounted)
    workspace.write("small", b"kept")
    with pytest.raises(WorkspaceError, match="the workspace is full") as caught:
        workspace.write("large", os.urandom(4 << 20))
    assert "Free some space" in caught.value.remedy
    assert "stays" in caught.value.remedy
    assert workspace.read("small") == b"kept"
    assert workspace.names("") == ["small"]


def test_a_read_only_disk_says_so(mounted):
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(WorkspaceError, match="no permission to write") as caught:
        Workspace(mounted).check_writable()
    assert "--workspace" in caught.value.remedy
