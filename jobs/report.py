"""Cluster entry point of `raymoe report`: ray job submit -- python jobs/report.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("report")
