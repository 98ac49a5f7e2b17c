"""Cluster entry point of `raymoe sweep`: ray job submit -- python jobs/sweep.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("sweep")
