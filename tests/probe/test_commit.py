"""Finished units: whatever is packed, interrupted or damaged, the answers that are there are right."""

import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.fs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymoe.errors import ParentError, WorkspaceError
from raymoe.probe import commit
from raymoe.probe.commit import UnitFiles
from raymoe.project.workspace import Workspace


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    """Ranges of eight units, so that a few make packs."""
    monkeypatch.setattr(commit, "PACK", 8)


def answer(unit: int) -> bytes:
    return f"answer {unit} ".encode() * (unit % 5 + 1)


def fill(workspace, units, count=20, folder="units") -> None:
    with UnitFiles(workspace, folder, count) as files:
        for unit in units:
            files.commit(unit, answer(unit))


def names(workspace, folder="units") -> list[str]:
    return workspace.names(folder)


def test_ranges_are_packed_while_the_run_goes_on(tmp_path):
    workspace = Workspace(tmp_path)
    fill(workspace, range(20))
    assert names(workspace) == [
        "pack-0000000000-0000000007.arrow",
        "pack-0000000008-0000000015.arrow",
        "pack-0000000016-0000000019.arrow",  # the last range is shorter
    ]
    with UnitFiles(workspace, "units", 20) as files:
        assert files.done.all()
        assert [files.read(unit) for unit in range(20)] == [answer(unit) for unit in range(20)]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_order_any_restarts_and_any_limit_give_the_same_answers(data):
    """Units in any order, sessions of any length, packs with gaps or without."""
    count = data.draw(st.integers(1, 40))
    order = data.draw(st.permutations(range(count)))
    kept = order[: data.draw(st.integers(0, count))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(kept)), max_size=3)))
    limit, held = data.draw(st.integers(1, 20)), data.draw(st.sampled_from([0, 40, 1 << 20]))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(commit, "PACK", 8)
        patch.setattr(commit, "MAX_LOOSE", limit)
        patch.setattr(commit, "HELD", held)
        workspace = Workspace(folder)
        for start, stop in zip([0, *cuts], [*cuts, len(kept)], strict=True):
            fill(workspace, kept[start:stop], count)
        with UnitFiles(workspace, "units", count) as files:
            assert np.flatnonzero(files.done).tolist() == sorted(kept)
            assert {unit: files.read(unit) for unit in kept} == {unit: answer(unit) for unit in kept}
            for unit in set(range(count)) - set(kept):
                with pytest.raises(ParentError, match="it is not there"):
                    files.read(unit)


def test_small_files_stay_few_although_every_range_has_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "MAX_LOOSE", 24)
    most = 0
    with UnitFiles(Workspace(tmp_path), "units", 800) as files:
        for unit in range(800):
            if unit % 8:  # the first of each range never comes
                files.commit(unit, answer(unit))
                most = max(most, files.loose)
                files.flush()
    assert most <= 24 + 8
    assert sum(name.startswith("unit") for name in names(Workspace(tmp_path))) <= 24
    with UnitFiles(Workspace(tmp_path), "units", 800) as files:
        assert (files.done == (np.arange(800) % 8 > 0)).all()
        assert files.read(799) == answer(799)


class Crash(BaseException):
    """The driver dies here."""


@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("when", range(14))
def test_a_crash_at_any_write_or_removal_is_harmless(tmp_path, monkeypatch, when, gap):
    """Every operation on the file system in turn is the last one that works."""
    monkeypatch.setattr(commit, "MAX_LOOSE", 5)
    units = [unit for unit in range(8) if not (gap and unit == 2)]
    left, guard, stored = [when], threading.Lock(), set()

    def or_crash(real):
        def call(*arguments):
            with guard:
                left[0] -= 1
                if left[0] < 0:
                    raise Crash
            real(*arguments)
            if "/unit-" in str(arguments[1]):
                stored.add(int(arguments[1][-16:-6]))

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "write_with", or_crash(Workspace.write_with))
        patch.setattr(UnitFiles, "_remove_all", lambda self, found: [remove(self, [n]) for n in found])
        remove = or_crash(_remove_all)
        with suppress(Crash):
            fill(Workspace(tmp_path), units, 8)
    with UnitFiles(Workspace(tmp_path), "units", 8) as files:
        there = np.flatnonzero(files.done).tolist()
        assert stored <= set(there)
        assert len(stored) >= min(when, 5)
        for unit in there:
            assert files.read(unit) == answer(unit)
        for unit in units:
            files.commit(unit, answer(unit))
        files.flush()
        assert [files.read(unit) for unit in units] == [answer(unit) for unit in units]
    assert len(names(Workspace(tmp_path))) <= 5


_remove_all = UnitFiles._remove_all


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("kind", ["unit", "some", "pack"])
def test_files_cut_short_anywhere_are_named_removed_and_done_again(tmp_path, monkeypatch, share, kind):
    monkeypatch.setattr(commit, "MAX_LOOSE", 3 if kind == "some" else 100)
    units = range(8) if kind == "pack" else range(6) if kind == "some" else range(1)
    workspace = Workspace(tmp_path)
    fill(workspace, units, 8)
    (path,) = Path(tmp_path, "units").glob(f"{kind}-*")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with UnitFiles(workspace, "units", 8) as files:
        if kind == "some":  # these are looked into at the start
            assert files.removed == [path.name]
        else:
            with pytest.raises(ParentError, match="was damaged") as caught:
                files.read(0)
            assert path.name in caught.value.message
            assert "only what it held" in caught.value.remedy
    assert not path.exists()
    fill(workspace, units, 8)
    with UnitFiles(workspace, "units", 8) as files:
        assert [files.read(unit) for unit in units] == [answer(unit) for unit in units]


def test_a_flipped_bit_is_noticed_and_all_damaged_files_go_at_once(tmp_path):
    workspace = Workspace(tmp_path)
    fill(workspace, range(6), 8)
    for unit in (1, 4):
        path = Path(tmp_path, "units", f"unit-{unit:010d}.arrow")
        raw = bytearray(path.read_bytes())
        raw[raw.index(answer(unit))] ^= 1
        path.write_bytes(raw)
    with UnitFiles(workspace, "units", 8) as files, pytest.raises(ParentError) as caught:
        [files.read(unit) for unit in range(6)]
    assert "unit-0000000001.arrow and 1 other files was damaged (the checksum" in caught.value.message
    with UnitFiles(workspace, "units", 8) as files:
        assert np.flatnonzero(files.done).tolist() == [0, 2, 3, 5]


def test_a_damaged_small_file_does_not_spoil_its_pack(tmp_path):
    workspace = Workspace(tmp_path)
    fill(workspace, range(7), 8)
    Path(tmp_path, "units", "unit-0000000003.arrow").write_bytes(b"")
    with UnitFiles(workspace, "units", 8) as files:
        files.commit(7, answer(7))
        files.flush()
        assert files.removed == ["unit-0000000003.arrow"]
        assert np.flatnonzero(~files.done).tolist() == [3]
        files.commit(3, answer(3))
        files.flush()
        assert [files.read(unit) for unit in range(8)] == [answer(unit) for unit in range(8)]
    assert names(workspace) == ["pack-0000000000-0000000007.arrow"]


def remote(tmp_path, monkeypatch) -> Workspace:
    """A workspace on a file system that isn't the local one to anybody."""
    monkeypatch.setattr(Workspace, "is_local", False)
    workspace = Workspace(tmp_path)
    workspace.fs = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    workspace.root = "root"
    return workspace


def test_any_file_system_of_pyarrow_will_do(tmp_path, monkeypatch):
    workspace = remote(tmp_path, monkeypatch)
    fill(workspace, range(0, 20, 2))
    fill(workspace, range(1, 20, 2))
    with UnitFiles(workspace, "units", 20) as files:
        assert [files.read(unit) for unit in range(20)] == [answer(unit) for unit in range(20)]
    assert len(names(workspace)) == 3


@pytest.mark.parametrize("free", [4, 30, 60])
def test_a_full_disk_in_mid_commit_or_mid_pack_loses_nothing(mounted, free):
    """With so many KiB left, the finished units are kept, and the next run does the rest."""
    filler = mounted / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(mounted).free - (free << 10)))
    workspace, noise = Workspace(mounted), np.random.default_rng(0).bytes(3000)

    def fill_up():
        with UnitFiles(workspace, "u", 64) as files:
            for unit in range(64):
                files.commit(unit, noise)

    with pytest.raises(WorkspaceError, match="the workspace is full"):
        fill_up()
    filler.unlink()
    with UnitFiles(workspace, "u", 64) as files:
        kept = np.flatnonzero(files.done).tolist()
        assert len(kept) >= free // 8
        assert not files.removed
        for unit in range(64):
            files.commit(unit, noise)
        files.flush()
        assert all(files.read(unit) == noise for unit in range(64))
    assert len(names(workspace, "u")) == 8


def test_committing_again_changes_nothing(tmp_path):
    with UnitFiles(Workspace(tmp_path), "units", 8) as files:
        files.commit(0, answer(0))
        files.flush()
        files.commit(0, b"another")
        files.flush()
        assert files.read(0) == answer(0)
