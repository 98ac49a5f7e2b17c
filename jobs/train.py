"""Cluster entry point of `raymoe train`: ray job submit -- python jobs/train.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("train")
