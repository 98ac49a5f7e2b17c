"""The stage that says which tokens and patches each expert relies on (paper §3.2.1)."""

from __future__ import annotations

import numpy as np

from raymoe.actors.cluster import address_of
from raymoe.attribution.explained import explained_split, rows_to_explain
from raymoe.attribution.sample_blocks import Block, BlockRunner, blocks_of, merged
from raymoe.config import AttributeConfig
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.models.model_source import ModelSource
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import CHECKPOINT, FEATURES, IMPORTANCE
from raymoe.project.lock import RunLock
from raymoe.project.provenance import Skipped
from raymoe.project.tables import metadata_of
from raymoe.runtime.device import resolve_device, several_gpus
from raymoe.runtime.progress import console, track


def attribute(
    project: Project,
    *,
    address: str | None = None,
    num_actors: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> StageResult:
    """Expert-wise importance of every sample of a split, as ``importance.arrow``.

    With integrated gradients its metadata has ``convergence``: the largest and the mean convergence delta as
    a share of the mean rise that the attributions are to explain. Where some expert gives all features of a
    modality 0, it has ``zero``: of how many samples, by expert.

    Args:
        project: has a checkpoint and the features it was trained on.
        address: a Ray cluster whose actors share the samples; default RAY_ADDRESS. Without either, actors are
            used only where this machine has several GPUs, or ``num_actors`` asks for them.
        num_actors: at most so many; default one per GPU, or per core where there is none.
        device: as torch names it; by default a GPU where there is one.
        overwrite: compute again even if it is there.

    Returns:
        With the samples that were left out because they have no label to explain.

    Raises:
        ParentError: no checkpoint, one of other features, or a table made from other inputs.
        InputError: the split has no samples, or the model is an i2moe.
        RaymoeError: the cluster can't do it, or another process is at it.
    """
    importance, config = IMPORTANCE.of(project), project.preset.attribute
    store = FeatureStore.open(FEATURES.of(project))
    parents = {
        "features": store.fingerprint,
        "checkpoint": read_info(CHECKPOINT.of(project)).fingerprint,
    }
    made = importance.made_from(config.defining(), parents)
    if importance.is_complete(made, overwrite=overwrite):
        skipped = tuple(metadata_of(importance.read().schema)["skipped"])
        return StageResult(importance.path, made.fingerprint, ran=False, skipped=skipped)

    config.refuse_model(project.preset.model.kind)
    split = explained_split(project, store)
    project.workspace.check_writable()
    indices = rows_to_explain(project, store)
    left_out: list[Skipped] = [
        {"sample_id": store.sample_ids[i], "row": None, "reason": "no true label to explain"}
        for i in np.setdiff1d(split, indices)
    ]
    source = ModelSource.of(project, parents)
    blocks = blocks_of(indices, config.batch_size)
    with RunLock(project.workspace, f"{project.run}/attribute.lock", "this attribution"):
        answers = _answers(source, config, blocks, len(indices), address, num_actors, device)
    table, convergence, zero = merged(answers)
    extra: dict[str, object] = {"skipped": left_out, "split": config.split}
    if convergence:
        extra["convergence"] = convergence
        console.print(
            f"  convergence delta: {convergence['max']:.1e} of the mean rise at most, "
            f"{convergence['mean']:.1e} on average"
        )
    if zero:
        extra["zero"] = zero
        console.print(f"  {_said_of_zero(zero, len(indices), config.method)}")
    importance.write(table, made, extra)
    return StageResult(importance.path, made.fingerprint, ran=True, skipped=tuple(left_out))


def _said_of_zero(zero: dict[str, int], samples: int, method: str) -> str:
    """What follows where every feature of a modality is as important as any other."""
    counts = ", ".join(f"{expert} {count}" for expert, count in zero.items())
    why = (
        " (an expert that the gate gives next to nothing has no gradient)"
        if method == "grad_attnroll"
        else ""
    )
    return (
        f"importance is 0 for every feature of a modality in some of {samples} samples: {counts}{why}. Their "
        "most important features are simply the first ones; attribute.method=attnroll and ig don't depend on "
        "the gate."
    )


def _answers(
    source: ModelSource,
    config: AttributeConfig,
    blocks: list[Block],
    samples: int,
    address: str | None,
    num_actors: int | None,
    device: str | None,
) -> dict[int, bytes]:
    """What was computed of each block, by its number; here or on actors."""
    answers: dict[int, bytes] = {}
    with track("attribute", samples) as progress:

        def done(block: Block, answer: bytes) -> None:
            answers[block.number] = answer
            progress.advance(len(block.rows))

        if address_of(address) or num_actors is not None or several_gpus(device):
            from raymoe.attribution.on_actors import attribute_on_actors

            attribute_on_actors(
                source, config, blocks, done, address=address, num_actors=num_actors, device=device
            )
        else:
            runner = BlockRunner(source, config, resolve_device(device))
            for block in blocks:
                done(block, runner.run(block))
    return answers
