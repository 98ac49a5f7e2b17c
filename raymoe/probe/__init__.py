"""The Monte Carlo stage: plan units of work, run them on Ray actors, commit, merge. No formulas here."""

from raymoe.probe.probe import probe

__all__ = ["probe"]
