"""Cluster entry point of `raymoe baselines`: ray job submit -- python jobs/baselines.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("baselines")
