"""Do the scores find the interactions that are there? On data where they are known (data/planted.py).

Every method ranks all measured pairs of a sample; how high the true ones come is compared with chance and
with what needs no interaction at all: the product of the two attributions, and attention between the two.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from raymoe.device import resolve_device
from raymoe.errors import InputError, ParentError
from raymoe.evaluation.planted_experts import expert_rows, expert_table, knowledge_of
from raymoe.evaluation.planted_pairs import pair_rows, pair_table, rank_pairs
from raymoe.evaluation.planted_truth import read_truth
from raymoe.evaluation.runs import TrainedRun, finished_runs, is_current
from raymoe.features.store import FeatureStore
from raymoe.interactions_table import read_interactions
from raymoe.progress import console
from raymoe.project import Project, StageResult
from raymoe.tables import (
    IMPORTANCE,
    PLANTED,
    PLANTED_EXPERTS,
    Provenance,
    metadata_of,
    read_table,
    write_table,
)


def planted(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Measure every FL-I2MoE seed that was probed; print two tables and write them.

    ``evaluation/planted.parquet``: per seed (null: mean over seeds), expert, kind of interaction, method and
    measure. ``evaluation/planted-experts.parquet``: what each expert alone knows of each target, on the
    scenes of the split that are drawn as those of training.

    Args:
        project: has features, and runs with the tables of ``attribute`` and ``probe``.
        device: as torch names it; by default a GPU where there is one.
        overwrite: measure again even if it is there.

    Raises:
        InputError: nothing is planted in these data, or what was explained is not the true classes.
        ParentError: no run was probed; names the commands. The samples are not those that were encoded.
    """
    workspace = project.workspace
    store = FeatureStore.open(workspace, project.features, project.command("encode"))
    truth, made_from = read_truth(project, store)
    runs = list(_probed(project, finished_runs(project, store, ("fl-i2moe",))))
    parents = {"features": store.fingerprint, "samples": made_from}
    for run, _, pairs in runs:
        parents |= {f"seed {run.seed}": run.fingerprint}
        parents |= {f"probe of seed {run.seed}": metadata_of(pairs.schema)["fingerprint"]}
    split = project.preset.attribute.split
    names = [f"{project.root}/evaluation/{name}.parquet" for name in ("planted", "planted-experts")]
    contracts = (PLANTED, PLANTED_EXPERTS)
    made = [Provenance("evaluate", contract.tag, {"split": split}, parents) for contract in contracts]
    command = f"raymoe evaluate {project.dataset} planted"
    ran = overwrite or not all(
        is_current(workspace, *table) for table in zip(names, contracts, made, strict=True)
    )
    if ran:
        workspace.check_writable()
        device = resolve_device(device)
        rankings, knowledge = [], []
        for run, importance, pairs in runs:
            model = run.model(store, device)
            rankings.append(rank_pairs(model, store, truth, importance, pairs))
            knowledge.append(knowledge_of(model, store, truth, split))
        seeds = [run.seed for run, _, _ in runs]
        tables = (pair_rows(rankings, seeds), expert_rows(knowledge, seeds))
        for name, contract, rows, provenance in zip(names, contracts, tables, made, strict=True):
            table = pa.Table.from_pylist(list(rows), contract.schema)
            write_table(workspace, name, table, contract, provenance)
    again = f"{command} --overwrite"
    found = [read_table(workspace, n, c, again).to_pylist() for n, c in zip(names, contracts, strict=True)]
    console.print(pair_table(found[0]))
    console.print(expert_table(found[1]))
    return StageResult(workspace.path(names[0]), made[0].fingerprint, ran)


def _probed(project: Project, runs: list[TrainedRun]) -> Iterator[tuple[TrainedRun, pa.Table, pa.Table]]:
    """The runs with importance and interactions of their checkpoint; says which are left out, and why.

    Raises:
        ParentError: none is left.
    """
    missing = []
    for run in runs:
        own, seed = run.project, f" --seed {run.seed}"
        commands = {stage: project.command(stage) + seed for stage in ("attribute", "probe")}
        try:
            name = f"{own.run}/importance.arrow"
            importance = read_table(own.workspace, name, IMPORTANCE, commands["attribute"])
            pairs = read_interactions(own.workspace, own.run, commands["probe"])
            made = Provenance.from_json(metadata_of(pairs.schema)["made_by"]).parents
            of_importance = metadata_of(importance.schema)["fingerprint"]
            wanted = {"checkpoint": run.fingerprint, "importance": of_importance}
            other = [parent for parent, value in wanted.items() if made.get(parent) != value]
            if other:
                raise ParentError(
                    f"{own.workspace.path(own.run)}: the interactions are of another {' and '.join(other)}",
                    f"Make them again with: {commands['probe']} --overwrite",
                )
        except ParentError as error:
            missing.append(error)
            continue
        targets = set(pairs["target"].unique().to_pylist())
        if targets != {"true"}:
            raise InputError(
                f"{own.workspace.path(own.run)}: the interactions explain the {', '.join(targets)} classes",
                f"Explain the true ones: {commands['attribute']} --set attribute.target=true --overwrite",
            )
        yield run, importance, pairs
    if len(missing) == len(runs):
        raise missing[0]
    for error in missing:
        console.print(f"left out: {error.message}. {error.remedy}", markup=False)
