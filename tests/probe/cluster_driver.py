"""A driver on a simulated cluster of two nodes: one is lost in mid-run, another one joins.

test_faults.py runs it in a process of its own, since the tests' own Ray is shared. Prints a JSON line about
it. After 20 and after 40 units the run waits until a node is gone or has come, else it might be over first.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import ray
from ray.cluster_utils import Cluster
from support.tiny import tiny_preset

from raymoe.probe import probe
from raymoe.probe.commit import UnitFiles
from raymoe.project import Project
from raymoe.project.workspace import Workspace


def on_a_changing_cluster(root: str, fields: dict) -> None:
    """Probe the tiny project in ``root`` while nodes go and come."""
    project = Project(tiny_preset(probe=fields), Workspace(root), "tiny")
    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    lost = cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    committed, events = [], {}
    reached = {20: threading.Event(), 40: threading.Event()}
    happened = {20: threading.Event(), 40: threading.Event()}
    commit = UnitFiles.commit

    def counted(self, key, *rest):
        committed.append(key)
        commit(self, key, *rest)
        if len(committed) in reached:
            reached[len(committed)].set()
            happened[len(committed)].wait()

    UnitFiles.commit = counted

    with ThreadPoolExecutor(1) as pool:  # nodes can be added in the main thread alone
        running = pool.submit(probe, project)
        running.add_done_callback(lambda _: [event.set() for event in reached.values()])  # also if it failed
        reached[20].wait()
        cluster.remove_node(lost, allow_graceful=False)
        events["lost after"] = len(committed)
        happened[20].set()
        reached[40].wait()
        cluster.add_node(**node)
        events["another after"] = len(committed)
        happened[40].set()
        result = running.result()
    skipped = [entry["sample_id"] for entry in result.skipped]
    counts = {"committed": len(committed), "distinct": len(set(committed)), "skipped": skipped}
    print("RESULT " + json.dumps(events | counts), flush=True)
