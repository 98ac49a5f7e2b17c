"""What every machine of a Ray cluster has, asked on each of them. Knows nothing of what it is needed for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from raymoe.project.workspace import TEMPORARY, Workspace
from raymoe.runtime.versions import ON_EVERY_NODE

ANSWER_TIMEOUT = 60.0  # seconds; a node's first process takes some to start


@dataclass(frozen=True)
class Node:
    """One machine, as it answered.

    Attributes:
        name: its address in the cluster.
        cpus, gpus: what it has, as Ray counts.
        versions: of Python, raymoe and ``ON_EVERY_NODE``; None where a package is not installed.
        gpu_names: as NVIDIA's driver calls them.
        cuda: whether its torch can use a GPU.
        problem: why the workspace can't be used from there, or why the node did not answer; else empty.
    """

    name: str
    cpus: float
    gpus: float
    versions: dict[str, str | None] = field(default_factory=dict)
    gpu_names: tuple[str, ...] = ()
    cuda: bool = False
    problem: str = ""

    def differences(self, versions: dict[str, str | None]) -> list[str]:
        """Where its versions are not these ones, each as ``torch 2.9.0 (here 2.13.0)``."""
        return [
            f"{name} {self.versions[name] or 'not installed'} (here {versions[name]})"
            for name in versions
            if name in self.versions and not _alike(self.versions[name], versions[name])
        ]


def versions_here() -> dict[str, str | None]:
    """Versions of Python, raymoe and ``ON_EVERY_NODE`` in this process."""
    return _asker()(ON_EVERY_NODE, None, "", 0)["versions"]


def look_at_nodes(ray: Any, workspace: Workspace | None) -> list[Node]:
    """Ask every living node of the connected cluster, all at once.

    Args:
        ray: the connected module.
        workspace: None, or one that each node tries to read from and write to.

    Raises:
        WorkspaceError: the workspace can't be written from here.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = sorted((n for n in ray.nodes() if n["Alive"]), key=lambda node: node["NodeManagerAddress"])
    marker = f"{TEMPORARY}nodes-{uuid.uuid4().hex[:8]}"
    place = None
    if workspace:
        workspace.write(marker, b"raymoe")
        place = workspace.root if workspace.is_local else workspace.uri
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(_asker())
        calls = []
        for node in alive:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            gpus = node["Resources"].get("GPU", 0)
            calls.append(ask.options(scheduling_strategy=there).remote(ON_EVERY_NODE, place, marker, gpus))
        ray.wait(calls, num_returns=len(calls), timeout=ANSWER_TIMEOUT)
        return [_node(ray, node, call) for node, call in zip(alive, calls, strict=True)]
    finally:
        if workspace:
            workspace.remove(marker)


def _node(ray: Any, node: dict[str, Any], call: Any) -> Node:
    name, resources = node["NodeManagerAddress"], node["Resources"]
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    try:
        answer = ray.get(call, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        return Node(name, cpus, gpus, problem=f"did not answer within {ANSWER_TIMEOUT:.0f} s")
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Node(name, cpus, gpus, problem=f"can't be asked: {lines[-1].strip() if lines else error!r}")
    return Node(name, cpus, gpus, **(answer | {"gpu_names": tuple(answer["gpu_names"])}))


def _alike(one: str | None, other: str | None) -> bool:
    """Whether two versions are the same but for the build (2.13.0+cpu and 2.13.0)."""
    return (one or "").partition("+")[0] == (other or "").partition("+")[0]


def _asker() -> Any:
    """What runs on a node. A function in a function travels whole: raymoe may be missing there."""

    def ask(packages: tuple[str, ...], place: str | None, marker: str, gpus: float) -> dict:
        import contextlib
        import importlib
        import importlib.metadata
        import platform
        import shutil
        import subprocess

        versions: dict[str, str | None] = {"Python": platform.python_version(), "raymoe": None}
        with contextlib.suppress(ImportError):  # it may also be a folder, as under `ray job submit`
            versions["raymoe"] = importlib.import_module("raymoe").__version__
        for package in packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                versions[package] = None
        names: list[str] = []
        if shutil.which("nvidia-smi"):
            command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
            listed = subprocess.run(command, capture_output=True, text=True, check=False)
            names = listed.stdout.split("\n")[:-1] if listed.returncode == 0 else []
        cuda = False
        if gpus and versions.get("torch"):
            import torch

            cuda = torch.version.cuda is not None
        problem = ""
        if place is not None:
            try:
                from raymoe.project.workspace import Workspace

                workspace = Workspace(place)
                if not workspace.exists(marker):
                    problem = f"{place} is another folder there"
                else:
                    workspace.check_writable()
            except Exception as error:  # whatever it is, it is the answer
                problem = str(error).splitlines()[0]
        return {"versions": versions, "gpu_names": names, "cuda": cuda, "problem": problem}

    return ask
