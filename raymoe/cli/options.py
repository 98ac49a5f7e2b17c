"""The options of all commands, each declared once: its name, type, default and line of help.

Commands written by hand name the types (``device: Device = None``); those of the stages are put together
from ``stage_parameters``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any

import typer

from raymoe.errors import RaymoeError
from raymoe.pipeline import Stage
from raymoe.project import DEFAULT_WORKSPACE

WORKSPACE_VARIABLE = "RAYMOE_WORKSPACE"


def _known_device(device: str | None) -> str | None:
    if device not in (None, "cpu", "cuda"):
        raise RaymoeError(f"--device {device}", "Give cpu or cuda, or leave it out.")
    return device


def _actors(variable: str | None = None) -> Any:
    """``--actors``, and the environment variable that may stand for it."""
    return typer.Option(
        "--actors",
        envvar=variable,
        min=1,
        help="At most so many; default one per GPU, else per core.",
    )


# What is run, and on what.
Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="A preset (demo, planted, mmimdb, enrico, mmhs150k) or a .toml file of yours.",
        show_default=False,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="DIR", help="Where a dataset's archive was extracted, or the raw table."
    ),
]
Place = Annotated[
    str,
    typer.Option(
        "--workspace", envvar=WORKSPACE_VARIABLE, help="Where everything is written: folder or URI."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a setting; repeatable."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Which training seed's run (train.seed).")]
Grid = Annotated[
    list[str] | None,
    typer.Option("--grid", metavar="SECTION.FIELD=A,B", help="Try these values too; repeatable."),
]
Random = Annotated[
    int | None, typer.Option("--random", metavar="N", help="Only N configurations, drawn at random.")
]
Asha = Annotated[bool, typer.Option("--asha", help="Stop trials early that fall behind.")]

# How it is run, which changes no result.
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="cpu|cuda", callback=_known_device, help="Default: cuda where there is a GPU."
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", help="Ray cluster; default RAY_ADDRESS, else this machine.")
]
Actors = Annotated[int | None, _actors()]
ProbeActors = Annotated[int | None, _actors("RAYMOE_ACTORS")]
GpuShare = Annotated[
    float,
    typer.Option("--gpu-share", min=0.01, max=1.0, help="Of a GPU, for one actor: .5 puts two on each."),
]

# What becomes of what is there, and of what was left out.
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make it again although it is there.")]
OverwriteAll = Annotated[
    bool, typer.Option("--overwrite-all", help="Make it and every stage before it again.")
]
AllowSkipped = Annotated[
    bool, typer.Option("--allow-skipped", help="Exit with 0 although samples were left out.")
]

# The fields of ``pipeline.Options``.
HOW: dict[str, tuple[Any, Any]] = {
    "device": (Device, None),
    "address": (Address, None),
    "num_actors": (Actors, None),
    "gpu_share": (GpuShare, 1.0),
}


@dataclass(frozen=True)
class Shorthand:
    """An option that stands for settings: its declaration, its default, and the ``--set`` it stands for."""

    declared: Any
    default: Any
    settings: Callable[[Any], list[str]]


def _grid_settings(values: list[str] | None) -> list[str]:
    from raymoe.config import grid_setting

    return [grid_setting(value) for value in values or []]


SHORTHANDS: dict[str, dict[str, Shorthand]] = {
    "sweep": {
        "grid": Shorthand(Grid, None, _grid_settings),
        "random": Shorthand(Random, None, lambda n: [] if n is None else [f"sweep.random={n}"]),
        "asha": Shorthand(Asha, False, lambda on: ["sweep.asha=true"] if on else []),
    },
}


def stage_parameters(stage: Stage) -> list[Parameter]:
    """What the command of a stage takes, in the order of its help."""
    how = {name: HOW[name] for name in HOW if name in (*stage.options, *stage.passes_on)}
    if stage.name == "probe":
        how["num_actors"] = (ProbeActors, None)
    taken: dict[str, tuple[Any, Any]] = {
        "dataset": (Dataset, Parameter.empty),
        "source": (Source, None),
        "workspace": (Place, DEFAULT_WORKSPACE),
        "settings": (Settings, None),
        **{name: (s.declared, s.default) for name, s in SHORTHANDS.get(stage.name, {}).items()},
        **({"seed": (Seed, None)} if stage.of_run else {}),
        **how,
        "overwrite": (Overwrite, False),
        **({"overwrite_all": (OverwriteAll, False)} if stage.parents else {}),
        "allow_skipped": (AllowSkipped, False),
    }
    return [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=declared, default=default)
        for name, (declared, default) in taken.items()
    ]
