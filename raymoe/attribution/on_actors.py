"""Blocks of samples done by Ray actors: one per GPU, or per core where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raymoe.actors.fleet import open_fleet
from raymoe.actors.pool import run_units
from raymoe.attribution.sample_blocks import Block, BlockRunner
from raymoe.config import AttributeConfig
from raymoe.models.model_source import ModelSource
from raymoe.runtime.progress import console


def attribute_on_actors(
    source: ModelSource,
    config: AttributeConfig,
    blocks: Sequence[Block],
    on_done: Callable[[Block, bytes], None],
    *,
    address: str | None,
    num_actors: int | None,
    device: str | None,
) -> None:
    """Have blocks done by actors.

    Args:
        source, config: see ``BlockRunner``.
        blocks: what to do; without any, no Ray is started.
        on_done: told of every block and its answer, in order of arrival.
        address, num_actors, device: see ``attribute``.

    Raises:
        RaymoeError: a block comes to nothing, or the cluster can't do it.
    """
    if not blocks:
        return
    total = len(blocks)
    with open_fleet(
        BlockRunner, (source, config), address=address, num_actors=num_actors, device=device, most=total
    ) as fleet:
        each = "GPU" if fleet.shape.num_gpus else "core"
        console.print(f"  {total} blocks on {fleet.missing(0)} actors, one per {each}")
        outcome = run_units(blocks, fleet, on_done, total=total, name="attribute")
    for remark in outcome.remarks:
        console.print(f"  {remark}")
    outcome.raise_if_failed(total, "blocks came to nothing", "Mend that, then run the same command again.")
