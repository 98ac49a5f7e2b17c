"""Blocks of a stage's work, shared out to actors. The probe's units go their own way: they are committed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from raymoe.actors.cluster import connected
from raymoe.errors import RaymoeError
from raymoe.runtime.progress import console

Share = Callable[[type, tuple, list[Any], Callable[[Any, bytes], None]], None]


def on_actors(
    address: str | None = None, num_actors: int | None = None, device: str | None = None
) -> Share | None:
    """A function that has blocks done by actors, or None where one process does as well.

    That is so without a cluster, unless this machine has several GPUs or a number of actors is asked for.

    Args:
        address: of a Ray cluster; default RAY_ADDRESS.
        num_actors: at most so many; default one per GPU, or per core where there is none.
        device: ``cpu`` or ``cuda`` to insist on one.

    Returns:
        A function of a runner's class, its arguments but for torch's threads and the device, the blocks, and
        what is told of every block and its answer, in order of arrival. It raises RaymoeError where a block
        comes to nothing or the cluster can't do it.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None and num_actors is None and not _several_gpus(device):
        return None

    def share(
        runner: type, arguments: tuple, blocks: list[Any], on_done: Callable[[Any, bytes], None]
    ) -> None:
        with connected(address):
            from raymoe.actors.fleet import Fleet
            from raymoe.actors.pool import run_units

            fleet = Fleet(
                runner,
                lambda kind: (*arguments, 1 if kind == "cpu" else None, kind),
                asked=num_actors,
                device=device,
                most=len(blocks),
            )
            each = "GPU" if fleet.shape.num_gpus else "core"
            console.print(f"  {len(blocks)} blocks on {fleet.missing(0)} actors, one per {each}")
            outcome = run_units(blocks, fleet, on_done, total=len(blocks))
        if outcome.failed:
            key, reason = next(iter(outcome.failed.items()))
            raise RaymoeError(
                f"{len(outcome.failed)} of {len(blocks)} blocks came to nothing, the first ({key}) because: "
                f"{reason}",
                "Mend that, then run the same command again.",
            )

    return share


def _several_gpus(device: str | None) -> bool:
    if device == "cpu":
        return False
    import torch

    return torch.cuda.device_count() > 1
