"""The stage without Ray, for tests of all that Ray has no part in."""

import contextlib
from types import SimpleNamespace

import pytest

from raymoe.actors.actor import do_units
from raymoe.actors.pool import Outcome
from raymoe.actors.scheduler import Failure
from raymoe.actors.shape import ActorShape
from raymoe.probe import measuring


@pytest.fixture
def inline(monkeypatch):
    """The stage without Ray: its units are run right here. ``before`` is called before each."""
    hook = SimpleNamespace(before=lambda unit: None, failing={}, runner=None)

    @contextlib.contextmanager
    def open_inline(runner, arguments, **options):
        hook.runner = runner(*arguments, "cpu")
        yield SimpleNamespace(
            shape=ActorShape(1), most=options["most"], fitting=lambda: 1, shortage=lambda: ""
        )

    def run_inline(units, fleet, on_done, **options):
        outcome = Outcome()
        hook.runner.ready()
        for unit in units:
            hook.before(unit)
            if unit.number in hook.failing:
                outcome.failed[unit.key] = hook.failing[unit.number]
                continue
            ((answer,), _) = do_units(hook.runner, [unit])
            if isinstance(answer, Failure):
                outcome.failed[unit.key] = answer.reason
            else:
                on_done(unit, answer)
        return outcome

    monkeypatch.setattr(measuring, "open_fleet", open_inline)
    monkeypatch.setattr(measuring, "run_units", run_inline)
    monkeypatch.setattr(
        measuring, "measured_rate", lambda fleet, plan: hook.runner.calibrate(plan.typical_job())
    )
    return hook
