"""Do the scores find the interactions that are there? On data where they are known (data/planted.py).

Every method ranks all measured pairs of a sample; how high the true ones come is compared with chance and
with what needs no interaction at all: the product of the two attributions, and attention between the two.
"""

from __future__ import annotations

import pyarrow as pa

from raymoe.errors import InputError
from raymoe.experiments.planted import EXPERTS_TABLE, PAIRS_TABLE, RANKS_TABLE
from raymoe.experiments.planted.experts import expert_rows, knowledge_of
from raymoe.experiments.planted.pairs import pair_rows, rank_pairs, rank_rows
from raymoe.experiments.planted.truth import read_truth
from raymoe.experiments.probed_runs import ProbedRun, parents_of, probed
from raymoe.experiments.trained_runs import finished_runs
from raymoe.features.store import FeatureStore
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import FEATURES
from raymoe.project.chosen import of_kind
from raymoe.runtime.device import resolve_device


def measure(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Measure every FL-I2MoE seed that was probed; write three tables.

    ``evaluation/planted.parquet``: per seed (null: mean over seeds), kind of scenes, expert, kind of
    interaction, method and measure. ``evaluation/planted-experts.parquet``: what each expert alone knows of
    each target, on the scenes of the split that are drawn as those of training.
    ``evaluation/planted-ranks.parquet``: where each method puts the true pairs of each sample.

    Args:
        project: has features, and runs with the tables of ``attribute`` and ``probe``.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        InputError: nothing is planted in these data, or what was explained is not the true classes.
        ParentError: no run was probed; names the commands. The samples are not those that were encoded.
    """
    store = FeatureStore.open(FEATURES.of(project))
    truth, made_from = read_truth(project, store)
    finished = finished_runs(project, store, ("fl-i2moe",))
    runs = probed(of_kind(project, "fl-i2moe"), store, [run.seed for run in finished])
    parents = parents_of(store, runs) | {"samples": made_from}
    split = project.preset.attribute.split
    outputs = [table.of(project) for table in (PAIRS_TABLE, EXPERTS_TABLE, RANKS_TABLE)]
    made = [output.made_from({"split": split}, parents) for output in outputs]
    ran = overwrite or not all(o.is_current(m) for o, m in zip(outputs, made, strict=True))
    if ran:
        project.workspace.check_writable()
        device = resolve_device(device)
        pairs = [_of_true_classes(run) for run in runs]
        rankings, knowledge = [], []
        for run, table in zip(runs, pairs, strict=True):
            model = run.run.model(store, device)
            rankings.append(rank_pairs(model, store, truth, run.importance(), table))
            knowledge.append(knowledge_of(model, store, truth, split))
        seeds = [run.seed for run in runs]
        tables = (pair_rows(rankings, seeds), expert_rows(knowledge, seeds), rank_rows(rankings, seeds))
        for output, rows, provenance in zip(outputs, tables, made, strict=True):
            output.write(pa.Table.from_pylist(list(rows), output.contract.schema), provenance)
    return StageResult(outputs[0].path, made[0].fingerprint, ran)


def _of_true_classes(run: ProbedRun) -> pa.Table:
    """The run's interactions.

    Raises:
        InputError: they explain other classes than the true ones, which are what is planted.
    """
    pairs = run.pairs()
    targets = set(pairs["target"].unique().to_pylist())
    if targets != {"true"}:
        folder = run.run.project.workspace.path(run.run.project.run)
        raise InputError(
            f"{folder}: the interactions explain the {', '.join(targets)} classes",
            f"Explain the true ones: {run.command('attribute')} --set attribute.target=true --overwrite",
        )
    return pairs
