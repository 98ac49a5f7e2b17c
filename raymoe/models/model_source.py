"""A trained model and its features as a plan names them, to be opened wherever an actor runs."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import NamedTuple

from raymoe.errors import RaymoeError, WorkspaceError
from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import CheckpointInfo, load_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, FEATURES
from raymoe.project.outputs import Output
from raymoe.runtime.versions import differing, package_versions


class OpenedModel(NamedTuple):
    """The features, the model that was trained on them, and what its checkpoint says of it."""

    store: FeatureStore
    model: FusionModel
    info: CheckpointInfo


@dataclass(frozen=True)
class ModelSource:
    """Where checkpoint and features lie, and what they have to be when they are opened.

    Attributes:
        checkpoint, features: both, in one workspace.
        expected: their fingerprints (``checkpoint``, ``features``) when the work was planned.
        versions: the packages of the process that planned it.
    """

    checkpoint: Output
    features: Output
    expected: dict[str, str]
    versions: dict[str, str] = field(default_factory=package_versions)

    @classmethod
    def of(cls, project: Project, parents: dict[str, str]) -> ModelSource:
        """The model and features of a project, which must have these fingerprints."""
        expected = {name: parents[name] for name in ("features", "checkpoint")}
        return cls(CHECKPOINT.of(project), FEATURES.of(project), expected)

    def open(self) -> OpenedModel:
        """Both, the model in eval mode on the CPU.

        Raises:
            RaymoeError: the packages here are of other versions.
            WorkspaceError: this machine has no such workspace.
            ParentError: checkpoint or features are not what they were.
        """
        here = package_versions()
        for name in differing(here, self.versions):
            raise RaymoeError(
                f"{socket.gethostname()} has {name} {here[name]}, where raymoe was started it is "
                f"{self.versions[name]}",
                "Install the same versions on every machine of the cluster.",
            )
        self._check_workspace()
        store = FeatureStore.open(self.features)
        self.features.refuse_changed(self.expected["features"], store.fingerprint)
        model, info = load_checkpoint(self.checkpoint, features=store.fingerprint)
        self.checkpoint.refuse_changed(self.expected["checkpoint"], info.fingerprint)
        return OpenedModel(store, model, info)

    def _check_workspace(self) -> None:
        try:
            there = self.checkpoint.exists() and self.features.exists()
            why = "there are no features and checkpoint in it"
        except WorkspaceError as error:
            there, why = False, error.message
        if not there:
            raise WorkspaceError(
                f"{socket.gethostname()} does not reach the workspace {self.checkpoint.workspace.uri}: {why}",
                "Every machine of the cluster needs it under the same name: give --workspace a shared folder "
                "(NFS) or an object store (s3://bucket/folder).",
            )
