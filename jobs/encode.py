"""Cluster entry point of `raymoe encode`: ray job submit -- python jobs/encode.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("encode")
