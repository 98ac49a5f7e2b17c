"""Finished units in the workspace: one small file each, packed into larger ones while the run goes on.

    unit-0000000012.arrow               the answer of unit 12
    pack-0000001024-0000002047.arrow    those of a whole range
    some-0000002048-0000003071.arrow    those of a range that are there so far

All are Arrow files of the same columns: ``unit``, ``crc32`` and ``answer``. Each appears whole or not at all,
and parts are removed after their pack is there, so that a crash at any point leaves at worst an answer twice.
What an answer is, nobody here knows.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Self

import numpy as np
import pyarrow as pa

from raymoe.errors import ParentError, RaymoeError
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console

PACK = 1024  # units of a range
MAX_LOOSE = 3072  # small files: beyond, ranges with gaps are packed too
HELD = 128 << 20  # bytes of answers kept in memory until they are packed, so that they needn't be read again
BATCH_ROWS, BATCH_BYTES = 64, 8 << 20  # of a pack: what is in memory at once when it is read
WRITERS = {True: 2, False: 16}  # threads that write: to a local file system, to one with a long way
ON_THEIR_WAY = 64  # answers handed to the writers at most: what a killed driver loses
NAME = re.compile(r"(unit|pack|some)-(\d{10})(?:-(\d{10}))?\.arrow")
SCHEMA = pa.schema({"unit": pa.int64(), "crc32": pa.uint32(), "answer": pa.large_binary()})


class UnitFiles:
    """The answers of one plan's units.

    Use it as a context manager: leaving it waits for what is on its way.

    Args:
        workspace: where.
        folder: the plan's own folder; another plan has another.
        count: how many units the plan has.

    Attributes:
        done: bool [count], which units are there.
        removed: files that were found damaged and removed; their units are no longer done.
    """

    def __init__(self, workspace: Workspace, folder: str, count: int) -> None:
        self.workspace, self.folder = workspace, folder
        self.done = np.zeros(count, dtype=bool)
        self.removed: list[str] = []
        self._loose: dict[int, dict[int, bytes | None]] = {}  # by range: units in files of their own
        self._some: dict[int, set[int]] = {}  # by range: units in a pack with gaps
        self._packs: set[str] = set()  # files of whole ranges, when last looked
        self._held = self._count = 0  # bytes, and small files
        self._guard = threading.Lock()  # of all that the threads share
        self._slots = threading.Semaphore(ON_THEIR_WAY)
        self._writers = ThreadPoolExecutor(WRITERS[workspace.is_local], "raymoe-commit")
        self._packer = ThreadPoolExecutor(1, "raymoe-pack")
        self._packing: dict[int, Future[None]] = {}
        self._failure: BaseException | None = None
        self._cursor: _Cursor | None = None
        self._look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            self.flush()
        except RaymoeError:
            if kind is None:
                raise
        finally:
            self._writers.shutdown()
            self._packer.shutdown()

    @property
    def loose(self) -> int:
        """How many units lie in files of their own."""
        return self._count

    def commit(self, unit: int, answer: bytes) -> None:
        """Store a unit's answer, soon; storing it again changes nothing.

        Raises:
            WorkspaceError: an earlier answer could not be stored.
        """
        self._raise_failure()
        if self.done[unit]:
            return
        self._slots.acquire()
        self._writers.submit(self._write, unit, answer)

    def flush(self) -> None:
        """Wait until all that was committed is stored.

        Raises:
            WorkspaceError: some of it could not be.
        """
        for _ in range(ON_THEIR_WAY):
            self._slots.acquire()
        self._slots.release(ON_THEIR_WAY)
        self._wait_for_packs()
        self._raise_failure()

    def _wait_for_packs(self) -> None:
        while packing := list(self._packing.values()):
            self._cursor = None  # of a file that may be replaced
            for future in packing:
                future.result()

    def read(self, unit: int) -> bytes:
        """A unit's answer; fastest in increasing order.

        Raises:
            ParentError: it is missing or damaged; damaged files have been removed, so that the next run does
                those units again.
        """
        self._wait_for_packs()
        name = self._name_of(unit)
        try:
            if not self.done[unit]:
                raise ValueError("it is not there")
            if self._cursor is None or self._cursor.name != name or self._cursor.passed(unit):
                self._cursor = _Cursor(self.workspace, self.folder, name)
            return self._cursor.seek(unit)
        except (pa.ArrowException, OSError, ValueError, RaymoeError) as error:
            raise self.damaged(unit, str(error)) from None

    def damaged(self, unit: int, why: str) -> ParentError:
        """Remove the file that holds a unit's answer, and others that are damaged; what to raise then."""
        found = [self._name_of(unit), *(n for n in self._names() if n != self._name_of(unit))]
        removed, self._cursor = [], None
        for number, name in enumerate(found):
            if number == 0 or not self._is_whole(name):
                self.workspace.remove(f"{self.folder}/{name}")
                removed.append(name)
        others = f" and {len(removed) - 1} other files" if len(removed) > 1 else ""
        place = self.workspace.path(f"{self.folder}/{removed[0]}")
        return ParentError(
            f"{place}{others} was damaged ({why}) and has been removed",
            "Run the same command again: only what it held is done again.",
        )

    def _look(self) -> None:
        """Find out what is there; tidy up after a crash."""
        loose: list[int] = []
        for name in self._names():
            kind, first, _ = _parse(name)
            if kind == "unit":
                loose.append(first)
            elif kind == "pack":
                self.done[first : first + PACK] = True
            else:
                self._look_into(name, first)
        for unit in loose:
            if unit >= len(self.done):
                continue
            if self.done[unit]:  # its pack was written, then the driver died
                self.workspace.remove(f"{self.folder}/{_unit_name(unit)}")
            else:
                self._loose.setdefault(unit // PACK, {})[unit] = None
                self._count += 1
        for units in self._loose.values():
            self.done[list(units)] = True
        for range_ in [*self._some]:
            if self._is_packed(range_):
                self.workspace.remove(f"{self.folder}/{self._range_name(range_, 'some')}")
                del self._some[range_]
        with self._guard:
            for range_ in [*self._loose]:
                self._pack_if_due(range_)

    def _look_into(self, name: str, first: int) -> None:
        try:
            units = _units_in(self.workspace, f"{self.folder}/{name}")
            if len(units) and not first <= units.min() <= units.max() < min(first + PACK, len(self.done)):
                raise ValueError("it holds units of another range")
        except (pa.ArrowException, OSError, ValueError, RaymoeError):
            self._drop(name)
            return
        self._some[first // PACK] = set(units.tolist())
        self.done[units] = True

    def _write(self, unit: int, answer: bytes) -> None:
        """In a writer's thread."""
        try:
            content = pa.BufferOutputStream()  # so that it is written at once
            _fill(content, [(unit, answer)], None)
            self.workspace.write(f"{self.folder}/{_unit_name(unit)}", content.getvalue())
            with self._guard:
                if not self.done[unit]:
                    held = answer if self._held + len(answer) <= HELD else None
                    self._held += len(held or b"")
                    self._loose.setdefault(unit // PACK, {})[unit] = held
                    self._count += 1
                    self.done[unit] = True
                    self._pack_if_due(unit // PACK)
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self._slots.release()

    def _pack_if_due(self, range_: int) -> None:
        """Pack a range that is complete; with too many small files, the one that has the most of them."""
        first, last = self._span(range_)
        if not self.done[first:last].all():
            if self._count < MAX_LOOSE or self._packing:
                return
            range_ = max(self._loose, key=lambda r: len(self._loose[r]))
        if range_ not in self._packing:
            self._packing[range_] = self._packer.submit(self._pack, range_)

    def _pack(self, range_: int) -> None:
        """In the packer's thread: small files, and what is packed of the range, into one."""
        try:
            while not self._packed(range_):
                pass  # a damaged file is left out, so this ends
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            with self._guard:
                del self._packing[range_]
                if range_ in self._loose and self._failure is None:  # committed while it was packed
                    self._pack_if_due(range_)

    def _packed(self, range_: int) -> bool:
        """Whether it could be done; if not, a damaged file has been taken out."""
        with self._guard:
            loose = dict(self._loose.get(range_, {}))
            packed = set(self._some.get(range_, set()))
        some = self._range_name(range_, "some")
        units = sorted(packed | loose.keys())
        first, last = self._span(range_)
        whole = len(units) == last - first
        name = self._range_name(range_, "pack" if whole else "some")
        entries = self._entries(units, loose, some)
        try:
            self.workspace.write_with(f"{self.folder}/{name}", lambda sink: _fill(sink, entries, "zstd"))
        except _DamagedError as error:
            with self._guard:
                lost = packed if error.name == some else {error.unit}
                self._forget(range_, lost)
                self.done[list(lost)] = False
            self._drop(error.name)
            return False
        with self._guard:
            self._forget(range_, set(units))
            if not whole:
                self._some[range_] = set(units)
        self._remove_all([_unit_name(unit) for unit in loose] + ([some] if packed and whole else []))
        return True

    def _entries(
        self, units: list[int], loose: dict[int, bytes | None], some: str
    ) -> Iterator[tuple[int, bytes]]:
        packed = _Cursor(self.workspace, self.folder, some)
        for unit in units:
            answer = loose.get(unit)
            if answer is None:
                file = _Cursor(self.workspace, self.folder, _unit_name(unit)) if unit in loose else packed
                try:
                    answer = file.seek(unit)
                except (pa.ArrowException, OSError, ValueError):
                    raise _DamagedError(file.name, unit) from None
            yield unit, answer

    def _forget(self, range_: int, units: set[int]) -> None:
        """These no longer lie where they did."""
        loose = self._loose.get(range_, {})
        for unit in units & loose.keys():
            self._held -= len(loose.pop(unit) or b"")
            self._count -= 1
        if not loose:
            self._loose.pop(range_, None)
        left = self._some.pop(range_, set()) - units
        if left:
            self._some[range_] = left

    def _drop(self, name: str) -> None:
        console.print(f"  {name} was damaged and has been removed: its units are done again")
        self.workspace.remove(f"{self.folder}/{name}")
        self.removed.append(name)

    def _remove_all(self, names: list[str]) -> None:
        for name in names:
            with suppress(OSError):  # what is left lies in a pack too: the next run removes it
                self.workspace.fs.delete_file(self.workspace.path(f"{self.folder}/{name}"))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _span(self, range_: int) -> tuple[int, int]:
        return range_ * PACK, min((range_ + 1) * PACK, len(self.done))

    def _range_name(self, range_: int, kind: str) -> str:
        first, last = self._span(range_)
        return f"{kind}-{first:010d}-{last - 1:010d}.arrow"

    def _is_packed(self, range_: int) -> bool:
        return self._range_name(range_, "pack") in self._packs

    def _name_of(self, unit: int) -> str:
        """The file that a unit's answer should be in."""
        range_ = unit // PACK
        if unit in self._loose.get(range_, {}):
            return _unit_name(unit)
        return self._range_name(range_, "some" if unit in self._some.get(range_, set()) else "pack")

    def _names(self) -> list[str]:
        names = [name for name in self.workspace.names(self.folder) if NAME.fullmatch(name)]
        self._packs = {name for name in names if name.startswith("pack")}
        return sorted(names)

    def _is_whole(self, name: str) -> bool:
        try:
            for _ in _Cursor(self.workspace, self.folder, name).answers:
                pass
        except (pa.ArrowException, OSError, ValueError, RaymoeError):
            return False
        return True


class _DamagedError(Exception):
    """A file that was to be packed can't be read."""

    def __init__(self, name: str, unit: int) -> None:
        super().__init__(name, unit)
        self.name, self.unit = name, unit


class _Cursor:
    """Reads a file's answers in order."""

    def __init__(self, workspace: Workspace, folder: str, name: str) -> None:
        self.name = name
        self.answers = _answers(workspace, f"{folder}/{name}")
        self.last = -1

    def passed(self, unit: int) -> bool:
        """Whether a unit's answer is behind, if there is one."""
        return unit <= self.last

    def seek(self, unit: int) -> bytes:
        """A unit's answer; those before it are passed over."""
        for found, answer in self.answers:
            self.last = found
            if found == unit:
                return answer
            if found > unit:
                break
        raise ValueError(f"it holds no unit {unit}")


def _answers(workspace: Workspace, name: str) -> Iterator[tuple[int, bytes]]:
    """Unit and answer, in order; ValueError where a checksum does not fit."""
    with workspace.fs.open_input_file(workspace.path(name)) as file:
        reader = pa.ipc.open_file(file)
        if reader.schema != SCHEMA:
            raise ValueError("it holds something else")
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            batch.validate()
            for unit, crc32, answer in zip(*(batch.column(i) for i in range(3)), strict=True):
                data = answer.as_py()
                if zlib.crc32(data) != crc32.as_py():
                    raise ValueError(f"the checksum of unit {unit} differs")
                yield unit.as_py(), data


def _units_in(workspace: Workspace, name: str) -> np.ndarray:
    """Which units a file holds, int64."""
    with workspace.fs.open_input_file(workspace.path(name)) as file:
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=[0]))
        found = [reader.get_batch(i).column(0).to_numpy() for i in range(reader.num_record_batches)]
        return np.concatenate([np.zeros(0, np.int64), *found])


def _fill(sink: pa.NativeFile, entries: Iterable[tuple[int, bytes]], compression: str | None) -> None:
    with pa.ipc.new_file(sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        rows: list[tuple[int, bytes]] = []
        size = 0
        for entry in entries:
            rows.append(entry)
            size += len(entry[1])
            if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
                writer.write_batch(_batch(rows))
                rows, size = [], 0
        if rows:
            writer.write_batch(_batch(rows))


def _batch(rows: list[tuple[int, bytes]]) -> pa.RecordBatch:
    units, answers = zip(*rows, strict=True)
    sums = pa.array([zlib.crc32(answer) for answer in answers], pa.uint32())
    return pa.record_batch(
        [pa.array(units, pa.int64()), sums, pa.array(answers, pa.large_binary())], schema=SCHEMA
    )


def _unit_name(unit: int) -> str:
    return f"unit-{unit:010d}.arrow"


def _parse(name: str) -> tuple[str, int, int]:
    """Kind, first and last unit of a file's name."""
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no file of units")
    first = int(match[2])
    return match[1], first, int(match[3] or first)
