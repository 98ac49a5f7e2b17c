"""Cluster entry point of `raymoe probe`: ray job submit -- python jobs/probe.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("probe")
