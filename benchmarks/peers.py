"""What shapiq has for the Shapley Interaction Index, in an environment of its own.

    python benchmarks/peers.py FOLDER --out FILE [--set open] [--methods NAME ...] [--budgets ...] [--seeds 2]

shapiq 1.8 needs Python 3.12, which raymoe does not: so ``estimators.py`` makes an environment once and runs
this file there, with NumPy and the libraries below alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy comes

import numpy as np
from families import SETS, Known, read
from measured import Answer, Runner, measure

PINNED = (
    "shapiq==1.8.0",
    "numpy==2.5.5",
    "scipy==1.18.1",
    "scikit-learn==1.9.1",
    "xgboost==3.4.1",
    "lightgbm==4.7.0",  # what ProxySPEX takes as it comes
)
LEAST = (3, 12)
FOLDER = Path("~/.cache/raymoe-benchmarks/peers")
BUDGETS = (512, 1024, 4096, 16384, 65536)
PAIRED = ("SVARMIQ", "SHAPIQ", "KernelSHAPIQ", "InconsistentKernelSHAPIQ")
PROXIES = ("xgboost", "linear", "tree")


class NoPeersError(Exception):
    """There is no environment for the peers, and why."""


def main() -> None:
    """Measure shapiq's, in whichever environment this runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_choices(parser)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; what they hold is not run again")
    arguments = parser.parse_args()
    runners = approximators()
    if arguments.methods:
        unknown = set(arguments.methods) - set(runners)
        if unknown:
            parser.error(f"unknown {', '.join(sorted(unknown))}; there are {', '.join(runners)}")
        runners = {name: runners[name] for name in arguments.methods}
    games = chosen(read(arguments.folder, arguments.which), arguments.games)
    said = {"by": f"shapiq {version('shapiq')}"}
    measure(
        games, runners, arguments.budgets, arguments.seeds, arguments.out, limit=arguments.limit, said=said
    )


def add_choices(parser: argparse.ArgumentParser) -> None:
    """What a measurement can be told, in either environment."""
    parser.add_argument("folder", type=Path, help="of tables that families.py wrote")
    parser.add_argument("--set", dest="which", choices=SETS, default="open")
    parser.add_argument("--methods", nargs="+", default=None)
    parser.add_argument("--budgets", type=numbers, default=list(BUDGETS), help="comma-separated")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--games", default="", help="only those whose name or family has this in it")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of a run")


def numbers(text: str) -> list[int]:
    """Comma-separated whole numbers."""
    return [int(part) for part in text.split(",")]


def chosen(games: list[Known], part: str) -> list[Known]:
    """Games whose name or family has ``part`` in it.

    Raises:
        SystemExit: there is none.
    """
    found = [game for game in games if part in game.name or part in game.family]
    if not found:
        raise SystemExit(f"no game has {part!r} in its name; there are: {'; '.join(g.name for g in games)}")
    return found


def approximators() -> dict[str, Runner]:
    """Every approximator of the SII that the installed shapiq has, by a name without spaces."""
    from shapiq.approximator import SII_APPROXIMATORS

    for name in ("xgboost", "lightgbm"):  # imported here, not within the first run's time
        try:
            __import__(name)
        except ImportError:
            print(f"{name} is not installed: what needs it is left out or falls back", flush=True)
    return {name: _runner(kind, options) for kind in SII_APPROXIMATORS for name, options in _variants(kind)}


def _variants(kind: type) -> Iterator[tuple[str, dict]]:
    """As it comes, and what its documentation says can be better."""
    name = kind.__name__
    if name == "ProxySHAP":
        for proxy in PROXIES:
            for adjusted in (True, False):
                options = {"proxy_model": proxy, "adjustment": adjusted}
                yield f"ProxySHAP-{proxy}{'-adjusted' * adjusted}", options
        yield "ProxySHAP-xgboost-5-folds", {"proxy_model": "xgboost", "adjustment": True, "k_folds": 5}
        return
    yield name, {}
    if name in PAIRED:
        yield f"{name}-paired", {"pairing_trick": True}


def _runner(kind: type, options: dict) -> Runner:
    def run(game: Known, budget: int, seed: int) -> Answer:
        solver = kind(n=game.num_players, max_order=2, index="SII", random_state=seed, **options)
        found = solver.approximate(budget, game)
        return np.array([found[int(u), int(v)] for u, v in game.pairs]), {}

    return run


def environment(folder: Path) -> Path:
    """The interpreter of the peers' environment, which is made where it is not there yet.

    Raises:
        NoPeersError: no Python 3.12, or a package can't be had.
    """
    folder = folder.expanduser().absolute()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "pinned.txt"
    wanted = "\n".join(PINNED)
    if done.exists() and done.read_text(encoding="utf-8") == wanted and _answers(str(python)):
        return python
    base = new_python()
    print(f"making the peers' environment in {folder}: {', '.join(PINNED)}", flush=True)
    try:
        if base == sys.executable:
            venv.create(folder, with_pip=True, clear=True)
        else:
            _run([base, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *PINNED])
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise NoPeersError(f"the peers' environment can't be made: {why[-1] if why else error}") from error
    done.write_text(wanted, encoding="utf-8")
    return python


def new_python() -> str:
    """An interpreter that shapiq 1.8 runs on.

    Raises:
        NoPeersError: there is none.
    """
    if sys.version_info >= LEAST:
        return sys.executable
    # pyenv's stand-ins are on the path but need not answer; its interpreters lie beside them
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for found in (shutil.which("python3.12"), *sorted(pyenv.glob("versions/3.12*/bin/python3.12"))):
        if found and _answers(str(found)):
            return str(found)
    raise NoPeersError("no python3.12 on the path, and shapiq 1.8 needs it")


def _answers(python: str) -> bool:
    try:
        subprocess.run([python, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def run_in(python: Path, arguments: list[str]) -> None:
    """This file in the peers' environment; what it prints is passed on."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run([str(python), str(Path(__file__).absolute()), *arguments], check=True, env=own)


if __name__ == "__main__":
    main()
