"""The stage without Ray, for tests of all that Ray has no part in."""

import contextlib
from types import SimpleNamespace

import pytest

from raymoe.actors.pool import Outcome
from raymoe.actors.scheduler import Failure
from raymoe.actors.work import do_units
from raymoe.probe import measuring


@pytest.fixture
def inline(monkeypatch):
    """The stage without Ray: its units are run right here. ``before`` is called before each."""
    hook = SimpleNamespace(before=lambda unit: None, failing={}, runner=None)

    class InlineFleet:
        shape = SimpleNamespace(device="cpu")

        def __init__(self, runner, arguments, **options):
            self.runner = hook.runner = runner(*arguments("cpu"))
            self.most = options["most"]

        def fitting(self):
            return 1

        def shortage(self):
            return ""

    def run_inline(units, fleet, on_done, **options):
        outcome = Outcome()
        fleet.runner.ready()
        for unit in units:
            hook.before(unit)
            if unit.number in hook.failing:
                outcome.failed[unit.key] = hook.failing[unit.number]
                continue
            ((answer,), _) = do_units(fleet.runner, [unit])
            if isinstance(answer, Failure):
                outcome.failed[unit.key] = answer.reason
            else:
                on_done(unit, answer)
        return outcome

    monkeypatch.setattr(measuring, "connected", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(measuring, "Fleet", InlineFleet)
    monkeypatch.setattr(measuring, "run_units", run_inline)
    monkeypatch.setattr(
        measuring, "measured_rate", lambda fleet, plan: fleet.runner.calibrate(plan.typical_job())
    )
    return hook
