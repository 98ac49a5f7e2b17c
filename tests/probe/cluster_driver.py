"""A driver on a simulated three-node cluster: one machine is lost in mid-run, another one joins.

A script that test_faults.py runs, since the tests' own Ray is shared. Prints a JSON line about it.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import ray
from ray.cluster_utils import Cluster
from support.tiny import tiny_preset

from raymoe.probe import probe
from raymoe.probe.commit import UnitFiles
from raymoe.project import Project
from raymoe.project.workspace import Workspace


def main(root: str, fields: dict) -> None:
    """Probe the tiny project in ``root`` while nodes go and come."""
    project = Project(tiny_preset(probe=fields), Workspace(root), "tiny")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20})
    lost, _ = (cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2))
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    committed, events = [], {}
    commit = UnitFiles.commit

    def counted(self, key, *rest):
        committed.append(key)
        commit(self, key, *rest)

    UnitFiles.commit = counted

    with ThreadPoolExecutor(1) as pool:  # nodes can be added in the main thread alone
        running = pool.submit(probe, project)
        while len(committed) < 20 and not running.done():
            time.sleep(0.02)
        cluster.remove_node(lost, allow_graceful=False)
        events["lost after"] = len(committed)
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        events["another after"] = len(committed)
        result = running.result()
    skipped = [entry["sample_id"] for entry in result.skipped]
    counts = {"committed": len(committed), "distinct": len(set(committed)), "skipped": skipped}
    print("RESULT " + json.dumps(events | counts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
