"""Cluster entry point of `raymoe attribute`: ray job submit -- python jobs/attribute.py DATASET ..."""

from raymoe.cli import run_job

if __name__ == "__main__":
    run_job("attribute")
