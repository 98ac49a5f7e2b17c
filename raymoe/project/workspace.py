"""Where everything a run writes lives: any ``pyarrow.fs`` URI, local folder, NFS or object store.

Knows about files, atomic writes and full disks; knows nothing of stages or tables. All names are relative
to the workspace's root and use forward slashes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from raymoe.errors import WorkspaceError

TEMPORARY = ".tmp-"  # unfinished files carry this in their name and are never read


class Workspace:
    """A folder of results.

    Args:
        uri: a local path or a URI that ``pyarrow.fs`` understands (``s3://``, ``gs://``, ``file://``).
        given_by: the option or variable of the environment that says so, for messages.

    Raises:
        WorkspaceError: the URI names no file system that can be reached.
    """

    def __init__(self, uri: str | os.PathLike[str], given_by: str = "--workspace") -> None:
        self.uri, self.given_by = str(uri), given_by
        try:
            if "://" in self.uri:
                self.fs, self.root = fs.FileSystem.from_uri(self.uri)
            else:
                self.fs, self.root = fs.LocalFileSystem(), str(Path(self.uri).expanduser().resolve())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise WorkspaceError(
                f"{given_by} {self.uri}: {error}", "Give a local folder or a URI such as s3://bucket/folder."
            ) from None

    def __reduce__(self) -> tuple[type[Workspace], tuple[str, str]]:
        return Workspace, (self.uri if "://" in self.uri else self.root, self.given_by)

    @property
    def is_local(self) -> bool:
        """Whether files can be memory-mapped where they are."""
        return isinstance(self.fs, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """The file's path in its file system, for messages and for pyarrow."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        with self._explained(name, "read"):
            return bool(self.fs.get_file_info(self.path(name)).type != fs.FileType.NotFound)

    def names(self, folder: str) -> list[str]:
        """Names of the finished files directly in a folder, sorted; empty where there is no such folder."""
        with self._explained(folder, "read"):
            infos = self.fs.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        return sorted(
            i.base_name for i in infos if i.type == fs.FileType.File and TEMPORARY not in i.base_name
        )

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted; empty where there is no such folder."""
        with self._explained(folder, "read"):
            infos = self.fs.get_file_info(fs.FileSelector(self.path(folder), allow_not_found=True))
        return sorted(i.base_name for i in infos if i.type == fs.FileType.Directory)

    def read(self, name: str) -> bytes:
        """A whole file."""
        with self._explained(name, "read"), self.fs.open_input_file(self.path(name)) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that it is there whole or not at all."""
        self.write_with(name, lambda sink: sink.write(data))

    def write_with(self, name: str, write: Callable[[pa.NativeFile], object]) -> None:
        """Let ``write`` fill a temporary file, then give it its name.

        Raises:
            WorkspaceError: no permission, no space, or no connection; the temporary file is removed.
        """
        target = self.path(name)
        folder, base = target.rsplit("/", 1)
        temporary = f"{folder}/{TEMPORARY}{uuid.uuid4().hex[:8]}-{base}"
        with self._explained(name, "write"):
            try:
                with self._opened(temporary, folder) as sink:
                    write(sink)
                self.fs.move(temporary, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.fs.delete_file(temporary)
                raise

    def _opened(self, path: str, folder: str) -> pa.NativeFile:
        """A new file; its folder is made where it is missing, which is rare, so nobody asks first."""
        try:
            return self.fs.open_output_stream(path)
        except FileNotFoundError:
            self.fs.create_dir(folder, recursive=True)
            return self.fs.open_output_stream(path)

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all it holds; no error where there is none."""
        with self._explained(name, "write"):
            kind = self.fs.get_file_info(self.path(name)).type
            if kind == fs.FileType.Directory:
                self.fs.delete_dir(self.path(name))
            elif kind == fs.FileType.File:
                self.fs.delete_file(self.path(name))

    def local(self, name: str) -> str:
        """A local path of the file, to be memory-mapped; copied to this node's cache where it is remote."""
        if self.is_local:
            return self.path(name)
        with self._explained(name, "read"):
            info = self.fs.get_file_info(self.path(name))
            version = f"{self.path(name)}|{info.size}|{info.mtime_ns}"
            cached = Path(
                tempfile.gettempdir(), "raymoe-cache", hashlib.sha256(version.encode()).hexdigest()[:32]
            )
            if not cached.exists():
                cached.parent.mkdir(parents=True, exist_ok=True)
                partial = cached.with_suffix(f".{uuid.uuid4().hex[:8]}")
                with self.fs.open_input_stream(self.path(name)) as source, partial.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 22)
                partial.replace(cached)
        return str(cached)

    def check_writable(self) -> None:
        """Fail now rather than after the work: write and remove a small file."""
        probe = f"{TEMPORARY}writable-{uuid.uuid4().hex[:8]}"
        try:
            self.write(probe, b"raymoe")
            self.remove(probe)
        except WorkspaceError as error:  # of the folder, not of a file that nobody knows
            raise WorkspaceError(error.message.replace(f"/{probe}:", ":"), error.remedy) from error.__cause__

    @contextlib.contextmanager
    def _explained(self, name: str, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and doing == "read":
                missing = f"{self.path(name)}: no such file"
                raise WorkspaceError(missing, "Run the stage that makes it.") from error
            raise WorkspaceError(*_explain(error, self.path(name), self, doing)) from error


def _explain(error: OSError, path: str, workspace: Workspace, doing: str) -> tuple[str, str]:
    kept = "What is already computed stays; run the same command again to go on."
    text, root, given_by = str(error), workspace.root, workspace.given_by
    if error.errno == errno.ENOSPC or "No space left" in text:
        return (
            f"{path}: the workspace is full",
            f"Free some space on the disk of {root}, or give another {given_by}. {kept}",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or "Read-only" in text or "Permission" in text:
        return (
            f"{path}: no permission to {doing}",
            f"Make {root} writable, or give another {given_by}. {kept}",
        )
    if error.errno == errno.ENOTDIR:
        return f"{path}: a file is where a folder should be", f"Give another {given_by}."
    remedy = f"Check the disk or the connection of {root}, or give another {given_by}. {kept}"
    return f"{path}: can't {doing}: {text}", remedy
