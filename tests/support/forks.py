"""Processes that have everything imported from the start: forked from one that did nothing but import.

Importing torch and Ray takes seconds of a core, so tests that need processes of their own would spend most of
their time on it. The imports are made once for a process of tests, when its first fork is asked for.
"""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from raymoe.runtime.progress import console
from support.bare_ray import start_bare

REPOSITORY = Path(__file__).parents[2]
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["ray", "torch", "raymoe.pipeline", "raymoe.probe.probe", "raymoe.cli.app"])


@dataclass(frozen=True)
class Ended:
    """A process that came to its end: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@contextlib.contextmanager
def forked(log: Path, function: Callable, *arguments: object, **environment: str) -> Iterator[BaseProcess]:
    """Call a function in a process of its own, which ends at the latest with the block.

    Args:
        log: a file that gets what it writes.
        function: found by its module and name.
        arguments: the function's.
        environment: variables beside those of the tests; none of these are about Ray's address or raymoe.
    """
    process = FORKSERVER.Process(target=_call, args=(log, log, environment, function, arguments))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def run_forked(function: Callable, *arguments: object, **environment: str) -> Ended:
    """The same, until it ends by itself."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = FORKSERVER.Process(target=_call, args=(out, err, environment, function, arguments))
        process.start()
        try:
            process.join()
        finally:
            process.kill()
            process.join()
        return Ended(process.exitcode, out.read_text(), err.read_text())


def run_file(file: Path, *arguments: object) -> None:
    """A Python file as from the command line."""
    sys.argv = [str(file), *map(str, arguments)]
    sys.path.insert(0, str(Path(file).parent))
    runpy.run_path(str(file), run_name="__main__")


def run_command(*arguments: object) -> None:
    """``raymoe`` with these arguments."""
    from raymoe.cli import main

    sys.argv = ["raymoe", *map(str, arguments)]
    main()


def _call(out: Path, err: Path, environment: dict[str, str], function: Callable, arguments: tuple) -> None:
    for name in [name for name in os.environ if name.startswith(("RAYMOE_", "RAY_ADDRESS"))]:
        del os.environ[name]
    os.environ.update({"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"} | environment)
    for place, number in ((out, 1), (err, 2)):
        with open(place, "ab", buffering=0) as file:
            os.dup2(file.fileno(), number)
    if "PWD" in environment:
        os.chdir(environment["PWD"])
    start_bare()
    console.width = int(os.environ["COLUMNS"])  # rich looked when it was imported, before the fork
    try:
        function(*arguments)
    finally:  # what others do at the end of a process, to which forks do not come
        sys.stdout.flush()
        atexit._run_exitfuncs()
