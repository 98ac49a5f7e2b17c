"""How large a unit is: half a second of work on the device the run begins on, decided once for each plan.

The decision lies beside the finished units (``plan.json``), so that a restart goes on with the same cut on
whatever devices it finds. A plan that is measured again (``--overwrite``) is cut as it was before, unless the
device is so different that units would be too short or too long: rounding depends on the cut, and a rate that
is measured anew is never quite the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from raymoe.errors import ParentError, WorkspaceError
from raymoe.interactions.pieces import is_whole
from raymoe.probe.plan import Plan, Units, plan_hash
from raymoe.project.workspace import Workspace
from raymoe.runtime.versions import package_versions

AIM = 0.5  # seconds of a unit
RANGE = (0.1, 2.0)  # within it an earlier size is kept
LEAST = 64  # evaluations
STEP = 4  # sizes are its powers: few, so that two runs rarely find another one
UNMEASURED = 4096  # where the rate can't be measured
FORMAT = 1


@dataclass
class Cut:
    """What ``plan.json`` holds.

    Attributes:
        plan: the plan's hash.
        unit_evaluations: size of a unit.
        units: how many there are.
        rate: evaluations per second of one actor, as measured at the start; None where nobody knows.
        devices: names of those that have answered units, sorted.
        versions: of the packages that began it.
    """

    plan: str
    unit_evaluations: int
    units: int
    rate: float | None = None
    devices: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=package_versions)
    format: int = FORMAT

    def note_device(self, name: str) -> bool:
        """Whether the device is new."""
        if name in self.devices:
            return False
        self.devices = sorted({*self.devices, name})
        return True


def unit_size(rate: float, plan: Plan, earlier: int | None = None) -> int:
    """Evaluations of a unit at so many per second: a power of 4 that takes .25 to 1 s.

    At most the least such power that leaves every job in one piece: beyond, all sizes are the same cut.

    Args:
        rate: of one actor.
        plan: what is cut.
        earlier: the size that an earlier run of the plan had; kept where it takes .1 to 2 s.
    """
    size: int = max(LEAST, STEP ** round(math.log(max(rate, 1.0) * AIM, STEP)))
    whole = LEAST
    while whole < size and not all(is_whole(work, whole) for work in plan.works):
        whole *= STEP
    size = min(size, whole)
    if earlier is not None and (earlier == size or RANGE[0] <= earlier / rate <= RANGE[1]):
        return earlier
    return size


def open_cut(
    workspace: Workspace,
    folder: str,
    plan: Plan,
    fingerprint: str,
    asked: int | None,
    measure: Callable[[], float | None],
    again: str,
    earlier: int | None = None,
) -> tuple[Units, Cut]:
    """The plan's units: as an earlier run cut them, else as asked for, else measured.

    Args:
        workspace, folder: where the plan's finished units lie.
        plan, fingerprint: what there is to do, and what it is made from.
        asked: size of a unit, or None.
        measure: evaluations per second, None where that can't be known; called only where it must be.
        again: the command that begins anew, for the error messages.
        earlier: size of a unit of the same plan in a run that is over.

    Raises:
        ParentError: what is there was begun by another version, or isn't readable.
    """
    name = f"{folder}/plan.json"
    if workspace.exists(name):
        found = _read(workspace, name, again)
        units = plan.cut(found.unit_evaluations)
        here, there = package_versions()["raymoe"], found.versions.get("raymoe")
        if there != here:
            raise ParentError(
                f"{workspace.path(folder)} was begun by raymoe {there}, this is {here}",
                f"Go on with that version, or begin anew with: {again}",
            )
        if (found.plan, found.units) != (plan_hash(fingerprint, units), len(units)):
            raise ParentError(
                f"{workspace.path(folder)} holds units of another plan", f"Begin anew with: {again}"
            )
        return units, found
    rate = None if asked else measure()
    units = plan.cut(asked or (unit_size(rate, plan, earlier) if rate else earlier or UNMEASURED))
    cut = Cut(plan_hash(fingerprint, units), units.unit_evaluations, len(units), rate)
    save_cut(workspace, folder, cut)
    return units, cut


def resumable(workspace: Workspace, folder: str, plan: Plan, fingerprint: str) -> bool:
    """Whether units of exactly this plan, by this version, are there."""
    try:
        if workspace.exists(f"{folder}/plan.json"):
            open_cut(workspace, folder, plan, fingerprint, None, lambda: None, "")
            return True
    except ParentError:
        pass
    return False


def earlier_size(workspace: Workspace, folder: str) -> int | None:
    """Size of a unit that ``plan.json`` names; None where there is none that can be read."""
    try:
        return _read(workspace, f"{folder}/plan.json", "").unit_evaluations
    except (ParentError, WorkspaceError):
        return None


def save_cut(workspace: Workspace, folder: str, cut: Cut) -> None:
    """Write ``plan.json``."""
    workspace.write(f"{folder}/plan.json", json.dumps(asdict(cut), indent=1).encode())


def _read(workspace: Workspace, name: str, again: str) -> Cut:
    try:
        found = json.loads(workspace.read(name))
        if found.get("format") != FORMAT:
            raise ValueError(f"format {found.get('format')}, expected {FORMAT}")
        return Cut(**found)
    except (ValueError, TypeError, AttributeError) as error:
        raise ParentError(
            f"{workspace.path(name)} can't be read ({error})", f"Begin anew with: {again}"
        ) from None
