"""The command line."""

from raymoe.cli.app import main, run_job

__all__ = ["main", "run_job"]
