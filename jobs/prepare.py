"""Cluster entry point of `raymoe prepare`: ray job submit -- python jobs/prepare.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("prepare")
