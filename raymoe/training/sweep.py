"""The stage that trains seeds times configurations and chooses one on validation; Ray Tune schedules.

A trial is an ordinary ``train`` of a project of its own, so all that is worth keeping lies in the run's
folder: a finished trial is not trained again, an interrupted one goes on after its last whole epoch, and what
Tune itself writes is thrown away.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from rich.table import Table

from raymoe.actors.cluster import connected, node_resources
from raymoe.actors.shape import device_of
from raymoe.errors import RaymoeError
from raymoe.features.store import FeatureStore
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import CHECKPOINT, CHOSEN, EPOCHS, FEATURES, METRICS, SWEEP
from raymoe.project.provenance import Skipped
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console, plain_table
from raymoe.task import METRIC_NAMES
from raymoe.training.live import LiveTable
from raymoe.training.seed_statistics import mean_and_std, spread
from raymoe.training.train import finished, forget, made_from, train
from raymoe.training.trials import Trial, by_configuration, trials_of

DEATHS = 3  # a trial whose process died goes on so often
STOPPED = "stopped.json"  # in the folder of a run that ASHA stopped


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended: ``finished``, ``stopped`` or ``failed``.

    Attributes:
        fingerprint: of the checkpoint of a finished one.
        scores: of a stopped one, the best validation score until each epoch.
        error: of a failed one.
    """

    state: str
    fingerprint: str | None = None
    scores: tuple[float, ...] = ()
    error: str | None = None


def sweep(
    project: Project,
    *,
    device: str | None = None,
    address: str | None = None,
    num_actors: int | None = None,
    overwrite: bool = False,
) -> StageResult:
    """Train every trial that is not finished, side by side, and choose the configuration that validates best.

    Per kind of model it writes ``sweep.parquet`` and, last, ``sweep.json`` with the configuration whose mean
    validation score over the seeds is the highest, among those for which most seeds finished. Neither says
    how long anything took: a sweep that was killed and run again ends with the same bytes.

    Args:
        project: has features; its preset's ``sweep`` says what to train.
        device: ``cpu`` or ``cuda``; by default GPUs where the cluster has any.
        address: Ray cluster.
        num_actors: at most so many trials at once; by default ``sweep.trials_per_gpu`` for each GPU, or as
            many as there are cores, and up to half as many again where that leaves no core idle at the end.
        overwrite: train all of them again.

    Returns:
        The table of the first kind; ``skipped`` lists the trials that failed.

    Raises:
        ParentError: no features, or a run of the same name was made from other inputs.
        RaymoeError: no trial of some kind of model finished.
    """
    workspace, command = project.workspace, project.command("sweep")
    trials = trials_of(project)
    features = FeatureStore.open(FEATURES.of(project)).fingerprint
    if overwrite:
        workspace.check_writable()
        for trial in trials:
            forget(trial.project)
            workspace.remove(f"{trial.project.run}/{STOPPED}")
    outcomes: dict[str, TrialOutcome] = {}
    for trial in trials:
        fingerprint = finished(trial.project, features, command=command)
        if fingerprint:
            outcomes[trial.name] = TrialOutcome("finished", fingerprint)
    asha = project.preset.sweep.asha
    missing = [trial for trial in trials if trial.name not in outcomes]
    for trial in missing:
        scores = _stopped(trial, features) if asha else None
        if scores:
            outcomes[trial.name] = TrialOutcome("stopped", scores=tuple(scores))
    missing = [trial for trial in missing if trial.name not in outcomes]
    console.print(f"  {len(trials)} trials, {len(trials) - len(missing)} of them done already")
    if missing:
        workspace.check_writable()
        with connected(address) as ray:
            nodes = node_resources(ray)
            device = device_of(nodes, device)
            # ASHA compares with what earlier trials scored on their way, so it is shown those too.
            shown = trials if asha else missing
            per_gpu = project.preset.sweep.trials_per_gpu
            resources = trial_resources(nodes, device, per_gpu, len(shown), num_actors)
            found = _schedule(project, shown, features, device, resources, num_actors)
        outcomes = found | outcomes
        for trial in missing:
            if outcomes[trial.name].state == "finished":
                fingerprint = finished(trial.project, features, command=command)
                outcomes[trial.name] = TrialOutcome("finished", fingerprint)

    concluded = [
        _conclude(project, [t for t in trials if t.kind == kind], outcomes, features)
        for kind in dict.fromkeys(trial.kind for trial in trials)
    ]
    for conclusion in concluded:
        if isinstance(conclusion, RaymoeError):
            raise conclusion
    failed = tuple(
        Skipped(sample_id=trial.name, row=None, reason=outcomes[trial.name].error or "")
        for trial in trials
        if outcomes[trial.name].state == "failed"
    )
    return StageResult(SWEEP.of(trials[0].project).path, str(concluded[0]), bool(missing), failed)


def run_trial(config: dict[str, Any], trials: Sequence[Trial], features: str, device: str) -> None:
    """What Tune runs in an actor: one training, its epochs reported, its errors an outcome like any other.

    Args:
        config: ``trial``, an index into ``trials``.
        trials: all of the sweep's.
        features: fingerprint of the feature store.
        device: where to train; on a CPU with one thread, since trials share the cores.
    """
    trial = trials[config["trial"]]
    project, asha = trial.project, trial.project.preset.sweep.asha
    console.quiet = True
    if device == "cpu":
        torch.set_num_threads(1)
    last = {"epoch": 0, "best": math.nan}

    def on_epoch(epoch: int, best: float) -> None:
        last.update(epoch=epoch, best=best)
        # At the last epoch there is nothing left to stop.
        rung = {"rung": epoch} if epoch < project.preset.train.epochs else {}
        tune.report({**last, **rung, "outcome": ""})

    try:
        stopped = _stopped(trial, features) if asha else None
        if stopped is not None:
            for epoch, best in enumerate(stopped, 1):
                on_epoch(epoch, best)
            tune.report({**last, "outcome": "stopped"})
            return
        result = train(project, device=device, on_epoch=on_epoch)
        if not result.ran:
            for epoch, best in enumerate(_best_until(project), 1):
                on_epoch(epoch, best)
        tune.report({**last, "outcome": "finished"})
    except RaymoeError as error:
        tune.report({**last, "outcome": "failed", "error": " ".join(str(error).split())})
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, torch.cuda.OutOfMemoryError):
            what = (
                "the GPU's memory is full: lower sweep.trials_per_gpu (--set sweep.trials_per_gpu=1) or "
                "train.micro_batch_size (--set train.micro_batch_size=8)"
            )
        tune.report({**last, "outcome": "failed", "error": " ".join(what.split())})
    finally:
        if device == "cuda":  # the actor goes on to another trial, beside others on this GPU
            torch.cuda.empty_cache()


def trial_resources(
    nodes: list[dict[str, float]], device: str, trials_per_gpu: int, trials: int, most: int | None = None
) -> dict[str, float]:
    """What a trial holds while it runs: its share of a GPU, and of the cores.

    Trials take about as long as each other, so nine on two cores, two at a time, leave a core idle while the
    last one runs. Three at a time share the cores to the end: a fifth less time for a half more memory.

    Args:
        nodes: the resources of each, as Ray counts.
        device: ``cpu`` or ``cuda``.
        trials_per_gpu: how many share one.
        trials: how many there are to run.
        most: at most so many at once.
    """
    if device == "cuda":
        cores_each = [n.get("CPU", 0) / (n["GPU"] * trials_per_gpu) for n in nodes if n.get("GPU", 0)]
        return {"cpu": _counted(min([1, *cores_each])), "gpu": 1 / trials_per_gpu}
    cores_of = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    cores = sum(cores_of)

    def rounds(share: float) -> float:
        """How long all take, in times of one alone on a core; the fullest node sets the pace."""
        places = [math.floor(c / share) for c in cores_of]
        crowding = max(p / c for p, c in zip(places, cores_of, strict=True))
        return math.ceil(trials / sum(places)) * max(crowding, 1)

    crowds = range(cores, max(cores, min(cores * 3 // 2, most or trials)) + 1)
    return {"cpu": min((_counted(cores / n) for n in crowds), key=rounds)}  # the fewest of equals


def _counted(share: float) -> float:
    """As Ray counts: in ten-thousandths."""
    return math.floor(share * 1e4) / 1e4


class Observer(tune.Callback):
    """Tells the live table what Tune does, and collects how each trial ended."""

    def __init__(self, trials: list[Trial], features: str, live: LiveTable) -> None:
        self.ours, self.features, self.live = trials, features, live
        self.outcomes: dict[str, TrialOutcome] = {}
        self._scores: dict[str, list[float]] = {trial.name: [] for trial in trials}

    def __reduce__(self):  # Tune pickles its callbacks to restore a run, which is not how ours go on
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: D102
        self.live.update(self._of(trial), "running")

    def on_trial_result(  # noqa: D102
        self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if not result["outcome"]:
            self._scores[self._of(trial).name].append(result["best"])
            self.live.update(self._of(trial), "running", result["epoch"], result["best"])

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: D102
        found, result = self._of(trial), trial.last_result
        state = result["outcome"] or "stopped"  # only the scheduler ends a trial before its last report
        scores: tuple[float, ...] = ()
        if state == "stopped":
            # Of a trial whose process died its first epochs were reported more than once.
            scores = tuple(self._scores[found.name][-result["epoch"] :])
            _mark_stopped(found, self.features, scores)
        self.outcomes[found.name] = TrialOutcome(state, scores=scores, error=result.get("error"))
        self.live.update(found, state)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: D102
        error = f"its process died {DEATHS + 1} times; is the machine's memory too small?"
        self.outcomes[self._of(trial).name] = TrialOutcome("failed", error=error)
        self.live.update(self._of(trial), "failed")

    def _of(self, trial: Any) -> Trial:
        return self.ours[trial.config["trial"]]


def _schedule(
    project: Project,
    trials: list[Trial],
    features: str,
    device: str,
    resources: dict[str, float],
    most: int | None,
) -> dict[str, TrialOutcome]:
    """Run trials with Tune; outcomes by the trial's name."""
    config, epochs = project.preset.sweep, project.preset.train.epochs
    # Ctrl-C is to end the run at once: all there is to save is saved after every epoch.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one greets even when told to be silent
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it warns of loggers that are not installed
    scheduler = None
    if config.asha:
        scheduler = ASHAScheduler(
            "rung", "best", "max", max_t=epochs, grace_period=max(1, epochs // 9), reduction_factor=3
        )
    else:  # what ASHA stopped in an earlier sweep gets another chance
        for trial in trials:
            project.workspace.remove(f"{trial.project.run}/{STOPPED}")
    run = tune.with_parameters(run_trial, trials=trials, features=features, device=device)
    with (
        tempfile.TemporaryDirectory(prefix="raymoe-tune-") as folder,
        LiveTable(trials, project.preset.train.selection) as live,
    ):
        observer = Observer(trials, features, live)
        tuner = tune.Tuner(
            tune.with_resources(run, resources),
            param_space={"trial": tune.grid_search(list(range(len(trials))))},
            tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True, max_concurrent_trials=most),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                callbacks=[observer],
                failure_config=tune.FailureConfig(max_failures=DEATHS),
                verbose=0,
            ),
        )
        tuner.fit()
    return observer.outcomes


def _mark_stopped(trial: Trial, features: str, scores: tuple[float, ...]) -> None:
    marker = {"inputs": made_from(trial.project, features, EPOCHS).fingerprint, "scores": scores}
    trial.project.workspace.write(f"{trial.project.run}/{STOPPED}", json.dumps(marker).encode())


def _stopped(trial: Trial, features: str) -> list[float] | None:
    """Scores of a trial that an earlier sweep of the same inputs stopped; None where none did."""
    workspace, name = trial.project.workspace, f"{trial.project.run}/{STOPPED}"
    if not workspace.exists(name):
        return None
    try:
        marker = json.loads(workspace.read(name))
        fits = marker["inputs"] == made_from(trial.project, features, EPOCHS).fingerprint
        return list(marker["scores"]) if fits else None
    except (ValueError, KeyError, TypeError):
        return None  # damaged: it is trained on


def _best_until(project: Project) -> list[float]:
    """The best validation score of a finished run until each epoch."""
    epochs = EPOCHS.of(project).made_with(project.command("sweep")).read()
    return np.maximum.accumulate(epochs[f"val_{project.preset.train.selection}"].to_numpy()).tolist()


def _conclude(
    project: Project, trials: list[Trial], outcomes: dict[str, TrialOutcome], features: str
) -> str | RaymoeError:
    """Table, choice and printed summary of one kind of model.

    Returns:
        The table's fingerprint; or, as the other kinds are to be concluded first, the error to raise because
        no trial finished.
    """
    selection = project.preset.train.selection
    found, choice = SWEEP.of(trials[0].project), CHOSEN.of(trials[0].project)
    rows = [row for trial in trials for row in _rows(trial, outcomes[trial.name], selection)]
    settings = {
        "kind": trials[0].kind,
        "model": project.preset.model.model_dump(),
        "train": project.preset.train.defining(),
        "sweep": project.preset.sweep.model_dump(exclude={"trials_per_gpu"}),
    }
    parents = {t.name: outcomes[t.name].fingerprint or outcomes[t.name].state for t in trials}
    made = found.made_from(settings, {"features": features, **parents})
    fields = [
        name
        for name in dict.fromkeys(k for row in rows for k in row)
        if name not in found.contract.schema.names
    ]
    columns = {name: pa.array([row.get(name) for row in rows]) for name in fields}
    for column in found.contract.schema:
        columns[column.name] = pa.array([row.get(column.name) for row in rows], column.type)
    table = pa.table(
        {
            name: columns[name]
            for name in [*found.contract.schema.names[:2], *fields, *found.contract.schema.names[2:]]
        }
    )

    groups = [Group.of(group, outcomes, table) for group in by_configuration(trials)]
    most = max(len(group.seeds) for group in groups)
    candidates = [group for group in groups if group.seeds and len(group.seeds) == most]
    # The first of equals: the order of the grid is the user's.
    chosen = max(candidates, key=lambda g: np.mean(g.values["val", selection]), default=None)
    found.write(table, made, {"selection": selection})
    console.print(_summary(groups, chosen, selection))
    if chosen is None:
        choice.remove()
        reasons = [f"; {t.name}: {outcomes[t.name].error}" for t in trials if outcomes[t.name].error]
        return RaymoeError(
            f"no trial of {trials[0].kind} finished{''.join(reasons[:1])}",
            f"All of them are listed in {found.path}.",
        )
    mean, deviation = mean_and_std(chosen.values["val", selection])
    answer = {
        "chosen": chosen.fields,
        "variant": chosen.variant,
        "kind": trials[0].kind,
        "selection": selection,
        "validation_mean": mean,
        "validation_std": deviation,
        "seeds": chosen.seeds,
        "checkpoints": chosen.checkpoints,
        "features": features,
        "table": made.fingerprint,
    }
    project.workspace.write(choice.name, json.dumps(answer, indent=1).encode())
    return made.fingerprint


def _rows(trial: Trial, outcome: TrialOutcome, selection: str) -> list[dict[str, Any]]:
    """A trial's rows of the table."""
    project = trial.project
    row = {
        "kind": trial.kind,
        "variant": project.variant,
        **trial.fields,
        "seed": trial.seed,
        "state": outcome.state,
        "checkpoint": CHECKPOINT.of(project).name,
        "fingerprint": outcome.fingerprint,
        "error": outcome.error,
    }
    if outcome.state == "failed":
        return [row]
    if outcome.state == "stopped":
        found = {"metric": selection, "value": outcome.scores[-1], "epoch": len(outcome.scores)}
        return [row | {"split": "val"} | found]
    table = METRICS.of(project).made_with(project.command("sweep")).read()
    epoch = metadata_of(table.schema)["best_epoch"]
    return [
        row | {"split": r["split"], "metric": r["metric"], "value": r["value"], "epoch": epoch}
        for r in table.to_pylist()
        if not r["model"].startswith("expert:")
    ]


@dataclass(frozen=True)
class Group:
    """The trials of one configuration.

    Attributes:
        kind, variant, fields: as the trials have them.
        seeds: of those that finished.
        checkpoints: their folders.
        values: by split and metric, over those seeds.
        others: how many were stopped or failed, by state.
    """

    kind: str
    variant: str
    fields: dict[str, Any]
    seeds: list[int]
    checkpoints: list[str]
    values: dict[tuple[str, str], list[float]]
    others: dict[str, int]

    @classmethod
    def of(cls, trials: list[Trial], outcomes: dict[str, TrialOutcome], table: pa.Table) -> Group:
        """Gather a configuration's rows."""
        done = [t for t in trials if outcomes[t.name].state == "finished"]
        values: dict[tuple[str, str], list[float]] = {}
        rows = table.filter(pc.equal(table["variant"], trials[0].project.variant)).to_pylist()
        for row in rows:
            if row["state"] == "finished":
                values.setdefault((row["split"], row["metric"]), []).append(row["value"])
        return cls(
            trials[0].kind,
            trials[0].project.variant,
            trials[0].fields,
            [t.seed for t in done],
            [CHECKPOINT.of(t.project).name for t in done],
            values,
            dict(Counter(outcomes[t.name].state for t in trials if t not in done)),
        )


def _summary(groups: list[Group], chosen: Group | None, selection: str) -> Table:
    """Mean ± standard deviation per configuration; the chosen one in bold."""
    shown = [("val", selection), *(("test", metric) for metric in METRIC_NAMES)]
    table = plain_table(f"sweep of {groups[0].kind}, in per cent")
    table.caption = "*: chosen by the mean validation score" if chosen else None
    table.add_column("configuration", overflow="fold")
    table.add_column("seeds")
    for split, metric in shown:
        table.add_column(f"{split} {metric}".replace("_", "-"), min_width=12)
    for group in groups:
        seeds = ", ".join([str(len(group.seeds)), *(f"{n} {state}" for state, n in group.others.items())])
        cells = [spread(group.values.get(key, [])) for key in shown]
        name = group.variant.removeprefix("-") or group.kind
        mark, style = (" *", "bold") if group is chosen else ("", None)
        table.add_row(name + mark, seeds, *cells, style=style)
    return table
