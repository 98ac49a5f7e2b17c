"""Cluster entry point of `raymoe scaling`: ray job submit -- python jobs/scaling.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("scaling")
