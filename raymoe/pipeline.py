"""The stages, and how one gets what it needs: parents that are missing are made first.

A stage is one line of ``STAGES``. Their order follows from what each makes and what that is made from
(project/artifacts.py). What a sweep chose is applied here, once, for whoever calls: the command line, a job
or Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from rich.text import Text

from raymoe.catalogue import expert_names
from raymoe.errors import InputError, RaymoeError
from raymoe.project import Project, StageResult, artifacts
from raymoe.project.artifacts import Artifact
from raymoe.runtime.characters import one_line
from raymoe.runtime.progress import console
from raymoe.runtime.quoting import quoted


@dataclass(frozen=True)
class Stage:
    """One command from a project to what it writes.

    Attributes:
        makes: its artifacts; their parents are made by the stages before it.
        entry: ``module:function`` of a project; imported when it runs, for torch and Ray are slow.
        help: its one line in ``raymoe --help``, and more.
        options: the ``Options`` that the function takes, by their names there.
        passes_on: the ``Options`` that its command takes for the stages before it alone.
        foresees: ``module:function`` of a project, by the stage after which it can be called: raises where
            this one will come to nothing, before the hours of those between them are spent.
        of_run: whether it belongs to one training, and so takes ``--seed``.
        memory: what to lower where a GPU's memory is full.
    """

    makes: tuple[Artifact, ...]
    entry: str
    help: str
    options: tuple[str, ...] = ()
    passes_on: tuple[str, ...] = ()
    of_run: bool = False
    memory: str = "the batch size"
    foresees: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The command."""
        return self.makes[0].stage

    @property
    def parents(self) -> tuple[str, ...]:
        """The stages that make what its artifacts are made from."""
        return tuple(dict.fromkeys(parent.stage for made in self.makes for parent in made.parents))

    def foresee(self, project: Project, after: str) -> None:
        """Raise what is known by now to be in its way, once the stage ``after`` is complete."""
        if after in self.foresees:
            _imported(self.foresees[after])(project)

    def run(self, project: Project, options: Options, overwrite: bool) -> StageResult:
        """Run it, whether or not its parents are there."""
        work: Callable[..., StageResult] = _imported(self.entry)
        return work(project, **{name: getattr(options, name) for name in self.options}, overwrite=overwrite)


def _imported(entry: str) -> Callable[..., Any]:
    module, _, function = entry.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here changes a result."""

    device: str | None = None
    address: str | None = None
    num_actors: int | None = None
    gpu_share: float = 1.0  # of a GPU, for each of the probe's actors


ON_ACTORS = ("device", "address", "num_actors")
_STAGES = (
    Stage(
        (artifacts.SAMPLES,),
        "raymoe.data.prepare:prepare",
        """Raw data -> samples table. Every row is checked; bad ones are left out, counted and listed.

        Of MM-IMDb (mmimdb), ENRICO (enrico) and MMHS150K (mmhs150k) give the extracted archive as --source;
        without it the command says where the archive comes from and what it must hold.""",
    ),
    Stage(
        (artifacts.FEATURES,),
        "raymoe.features.encode:encode",
        "Samples -> feature store: token and patch sequences of frozen encoders, computed once; resumes.",
        ON_ACTORS,
        memory="batch_size of the modality's encoder",
    ),
    Stage(
        (artifacts.BASELINES,),
        "raymoe.training.baselines:linear_probes",
        "Linear probes on the pooled features: what FL-I2MoE is compared with.",
    ),
    Stage(
        (artifacts.CHECKPOINT, artifacts.EPOCHS, artifacts.METRICS, artifacts.PREDICTIONS),
        "raymoe.training.train:train",
        "Features -> checkpoint of FL-I2MoE, one seed; the best epoch by validation is kept.",
        ("device",),
        of_run=True,
        memory="train.micro_batch_size (--set train.micro_batch_size=8)",
        foresees={"prepare": "raymoe.training.labelled:refuse_unlabelled"},
    ),
    Stage(
        (artifacts.SWEEP, artifacts.CHOSEN),
        "raymoe.training.sweep:sweep",
        "Seeds x temperatures (and any other field), side by side; chosen on validation. Resumes.",
        ON_ACTORS,
        foresees={"prepare": "raymoe.training.labelled:refuse_unlabelled"},
    ),
    Stage(
        (artifacts.IMPORTANCE,),
        "raymoe.attribution.attribute:attribute",
        "Checkpoint -> importance of every token and patch for every expert (attribute.method).",
        ON_ACTORS,
        of_run=True,
        memory="attribute.batch_size (--set attribute.batch_size=2)",
        foresees={"prepare": "raymoe.attribution.explained:refuse_unexplainable"},
    ),
    Stage(
        (artifacts.INTERACTIONS, artifacts.INPUT_INTERACTIONS),
        "raymoe.probe.probe:probe",
        "Importance -> synergy, redundancy and antagonism of cross-modal pairs, on Ray actors; resumes.",
        (*ON_ACTORS, "gpu_share"),
        of_run=True,
        foresees={"encode": "raymoe.attribution.explained:refuse_pairless"},
    ),
    Stage(
        (artifacts.REPORT,),
        "raymoe.report.report:report",
        "Everything -> one HTML page that works offline, and the figures as files.",
        passes_on=ON_ACTORS,
        of_run=True,
    ),
)
STAGES: dict[str, Stage] = {stage.name: stage for stage in _STAGES}


def run(
    project: Project,
    last: str,
    *,
    options: Options | None = None,
    overwrite: str = "none",
    after: Mapping[str, Callable[[Project], None]] | None = None,
) -> Run:
    """Run a stage, and before it every stage it needs that is not complete.

    Args:
        project: what and where. What its sweep chose is used wherever a training is needed.
        last: the stage asked for, a key of ``STAGES``.
        options: how.
        overwrite: which stages are made again although they are there: ``none``, ``last`` or ``all``.
        after: what else to do once a stage is complete, before the next.

    Returns:
        Results and seconds of every stage, in order, and the project with what its sweep chose.

    Raises:
        RaymoeError: see the stages; what is known before the first one is raised before it.
    """
    options = options or Options()
    stages = needed(last)
    done = Run(resolved(project) if "train" in stages else project)
    foresee(done.project, stages, options)
    for name in stages:
        again = overwrite == "all" or (overwrite == "last" and name == last)
        console.print(Text.assemble((name, "bold"), f" {project.dataset}"))
        start = time.monotonic()
        try:
            result = STAGES[name].run(done.project, _for_stage(options, name, last), again)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's; importing torch to name it is slow
                raise
            raise RaymoeError(
                f"{name}: the GPU's memory is full",
                f"Lower {STAGES[name].memory}, or use --device cpu.",
            ) from error
        done.seconds[name] = time.monotonic() - start
        done.results[name] = result
        if result.ran:
            console.print(f"  -> {result.path} ({done.seconds[name]:.1f} s)")
        else:
            console.print(f"  already there: {result.path}")
        if result.skipped:
            _list_skipped(result)
        if after and name in after:
            after[name](done.project)
            done.seconds[name] = time.monotonic() - start
        for later in stages[stages.index(name) + 1 :]:
            STAGES[later].foresee(done.project, name)
    return done


def foresee(project: Project, stages: Sequence[str], options: Options) -> None:
    """Refuse what could only fail later, after hours of work: all that the settings alone tell.

    Raises:
        RaymoeError: names the setting or the option.
    """
    preset = project.preset
    if options.device is not None:
        _refuse_missing_device(options)
    if "encode" in stages:
        from raymoe.features.lookup import refuse_absent

        for modality in preset.data.modalities:
            refuse_absent(modality.kind, modality.encoder)
    if "attribute" in stages:
        preset.attribute.refuse_model(preset.model.kind)
    if "probe" in stages:
        modalities = [modality.name for modality in preset.data.modalities]
        preset.probe.experts_among(expert_names(preset.model.kind, modalities))


def _refuse_missing_device(options: Options) -> None:
    """Refuse a device that this machine has not; a cluster's are its own."""
    from raymoe.actors.cluster import address_of

    if not address_of(options.address):
        from raymoe.runtime.device import resolve_device

        resolve_device(options.device)


def evaluate(
    project: Project,
    experiment: str | None = None,
    *,
    device: str | None = None,
    overwrite: bool = False,
    samples: Sequence[str] = (),
) -> dict[str, StageResult | RaymoeError]:
    """Run one experiment, or all that suit the data. They make no stage, but say which are missing.

    Args:
        project: what to evaluate. What its sweep chose is used.
        experiment: its name; None: all.
        device: where to compute.
        overwrite: do it again even if its tables are there.
        samples: ids, for experiments that look at single samples.

    Returns:
        What each gave, or, where all were asked for, why it was left out.

    Raises:
        InputError: there is no such experiment, or samples for one that takes none.
        ParentError: the features are of other settings; or, of one experiment, what it needs is missing.
    """
    from raymoe.experiments import running
    from raymoe.features.encode import refuse_other_features

    if samples:
        _refuse_unknown_samples(project, samples)
    if device is not None:
        _refuse_missing_device(Options(device=device))
    refuse_other_features(project)
    project = resolved(project)
    if experiment is not None:
        found = running.evaluate(project, experiment, device=device, overwrite=overwrite, samples=samples)
        return {experiment: found}
    if samples:
        raise InputError("--sample is for the case study", f"{project.command('evaluate', 'case-study')} ...")
    return running.evaluate_all(project, device=device, overwrite=overwrite)


def _refuse_unknown_samples(project: Project, wanted: Sequence[str]) -> None:
    """Refuse ids that no sample has, as soon as there are samples."""
    samples = artifacts.SAMPLES.of(project)
    if not samples.exists():
        return
    known = set(samples.read(["sample_id"])["sample_id"].to_pylist())
    unknown = [sample_id for sample_id in wanted if sample_id not in known]
    if unknown:
        from raymoe.config.problems import likely

        near = likely(unknown[0], known) or sorted(known)[:3]
        raise InputError(
            f"--sample {quoted(unknown[0])}: {samples.path} has no such sample",
            f"Its ids look like {', '.join(map(quoted, near))}.",
        )


def resolved(project: Project) -> Project:
    """The project with what its sweep chose; see ``with_chosen``."""
    from raymoe.project.chosen import with_chosen

    return with_chosen(project)


def needed(last: str) -> list[str]:
    """A stage and all its ancestors, parents first, in the order in which artifacts name their parents."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        for parent in STAGES[name].parents:
            visit(parent)
        found.setdefault(name)

    visit(last)
    return list(found)


@dataclass
class Run:
    """What ``run`` did.

    Attributes:
        project: as it was run, with what its sweep chose.
        results, seconds: by stage, in order.
    """

    project: Project
    results: dict[str, StageResult] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def newly_skipped(self) -> int:
        """Samples or units left out by the stages that ran now."""
        return sum(len(r.skipped) for r in self.results.values() if r.ran)


def _for_stage(options: Options, name: str, last: str) -> Options:
    """Encoders are large: as many of them on a GPU as another stage wants actors would not fit."""
    if name == "encode" and last != "encode":
        return replace(options, num_actors=None)
    return options


def _list_skipped(result: StageResult, most: int = 10) -> None:
    console.print(Text(f"  left out: {len(result.skipped)}", style="yellow"))
    for entry in result.skipped[:most]:
        row = f" (row {entry['row']})" if entry.get("row") is not None else ""
        console.print(f"    {one_line(str(entry['sample_id']))}{row}: {one_line(str(entry['reason']))}")
    if len(result.skipped) > most:
        console.print(
            f"    ... and {len(result.skipped) - most} more, all in the table's metadata raymoe.skipped"
        )
