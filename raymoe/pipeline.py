"""The stages in order, and how a stage gets what it needs: parents that are missing are made first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from raymoe.errors import RaymoeError
from raymoe.project import Project, StageResult
from raymoe.runtime.progress import console

BATCH_SIZES = {
    "encode": "batch_size of the modality's encoder",
    "train": "train.micro_batch_size (--set train.micro_batch_size=8)",
    "attribute": "attribute.batch_size (--set attribute.batch_size=2)",
}


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here changes a result."""

    device: str | None = None
    address: str | None = None
    num_actors: int | None = None
    gpu_share: float = 1.0  # of a GPU, for each of the probe's actors

    @property
    def place(self) -> dict[str, Any]:
        """What every stage on a cluster takes."""
        return {"device": self.device, "address": self.address, "num_actors": self.num_actors}


def run(project: Project, last: str, *, options: Options | None = None, overwrite: str = "none") -> Run:
    """Run a stage, and before it every stage it needs that is not complete.

    Args:
        project: what and where.
        last: the stage asked for, a key of ``STAGES``.
        options: how.
        overwrite: which stages are made again although they are there: ``none``, ``last`` or ``all``.

    Returns:
        Results and seconds of every stage, in order.

    Raises:
        RaymoeError: as the stages do.
    """
    options = options or Options()
    done = Run()
    for name in needed(last):
        again = overwrite == "all" or (overwrite == "last" and name == last)
        console.print(f"[bold]{name}[/bold] {project.dataset}")
        start = time.monotonic()
        try:
            result = STAGES[name].run(project, _for_stage(options, name, last), again)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's; importing torch to name it is slow
                raise
            raise RaymoeError(
                f"{name}: the GPU's memory is full",
                f"Lower {BATCH_SIZES.get(name, 'the batch size')}, or use --device cpu.",
            ) from error
        done.seconds[name] = time.monotonic() - start
        done.results[name] = result
        if result.ran:
            console.print(f"  -> {result.path} ({done.seconds[name]:.1f} s)")
        else:
            console.print(f"  already there: {result.path}")
        if result.skipped:
            _list_skipped(result)
    return done


def _for_stage(options: Options, name: str, last: str) -> Options:
    """Encoders are large: as many of them on a GPU as another stage wants actors would not fit."""
    if name == "encode" and last != "encode":
        return replace(options, num_actors=None)
    return options


@dataclass
class Run:
    """What ``run`` did."""

    results: dict[str, StageResult] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def newly_skipped(self) -> int:
        """Samples or units left out by the stages that ran now."""
        return sum(len(r.skipped) for r in self.results.values() if r.ran)


def needed(last: str) -> list[str]:
    """A stage and all its ancestors, in the order of the data flow."""
    wanted = {last}
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(STAGES[name].parents)
    return [name for name in STAGES if name in wanted]


def _list_skipped(result: StageResult, most: int = 10) -> None:
    console.print(f"  [yellow]left out: {len(result.skipped)}[/yellow]")
    for entry in result.skipped[:most]:
        row = f" (row {entry['row']})" if entry.get("row") is not None else ""
        console.print(f"    {entry['sample_id']}{row}: {entry['reason']}", markup=False)
    if len(result.skipped) > most:
        console.print(
            f"    ... and {len(result.skipped) - most} more, all in the table's metadata raymoe.skipped"
        )


@dataclass(frozen=True)
class Stage:
    """A stage's function and the stages it reads from. Imports wait until it runs: torch and Ray are slow."""

    parents: tuple[str, ...]
    run: Callable[[Project, Options, bool], StageResult]


def _prepare(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.data.prepare import prepare

    return prepare(project, overwrite=overwrite)


def _encode(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.features.encode import encode

    return encode(project, **options.place, overwrite=overwrite)


def _baselines(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.training.baselines import linear_probes

    return linear_probes(project, overwrite=overwrite)


def _train(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.training.train import train

    return train(project, device=options.device, overwrite=overwrite)


def _sweep(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.training.sweep import sweep

    return sweep(project, **options.place, overwrite=overwrite)


def _attribute(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.attribution.attribute import attribute

    return attribute(project, **options.place, overwrite=overwrite)


def _probe(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.probe.probe import probe

    return probe(project, **options.place, gpu_share=options.gpu_share, overwrite=overwrite)


def _report(project: Project, options: Options, overwrite: bool) -> StageResult:
    from raymoe.report.report import report

    return report(project, overwrite=overwrite)


STAGES: dict[str, Stage] = {
    "prepare": Stage((), _prepare),
    "encode": Stage(("prepare",), _encode),
    "baselines": Stage(("encode",), _baselines),
    "train": Stage(("encode",), _train),
    "sweep": Stage(("encode",), _sweep),
    "attribute": Stage(("encode", "train"), _attribute),
    "probe": Stage(("encode", "train", "attribute"), _probe),
    "report": Stage(("prepare", "encode", "baselines", "train", "attribute", "probe"), _report),
}
