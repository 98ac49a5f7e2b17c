"""Cluster entry point of `raymoe evaluate`: ray job submit -- python jobs/evaluate.py DATASET PROTOCOL ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("evaluate")
