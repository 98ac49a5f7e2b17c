"""What the probe's driver costs: planning, tracking, committing, merging, and all of it with toy actors.

    python benchmarks/scheduler.py [--quick] [--only plan,track,commit,merge,driver] [--folder DIR]

The plan is of random scores over 64 tokens and 14 x 14 patches; ``track`` of made-up jobs, ten million units
of them. Answers are running sums of 60 pairs. ``driver`` runs units that take no time on two Ray actors, so
that what is measured is this process. --folder says on which disk to commit; default the temporary one.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from machine import machine_line

from raymoe.config import ProbeConfig
from raymoe.features.parts import ModalityInfo
from raymoe.features.store import FeatureStore
from raymoe.interactions.candidates import select_candidates
from raymoe.interactions.pieces import Work
from raymoe.interactions.sums import TERMS, independent_sums
from raymoe.probe.commit import MAX_LOOSE, PACK, UnitFiles
from raymoe.probe.merge import Share, merged
from raymoe.probe.plan import Job, Plan, make_plan
from raymoe.project.artifacts import INTERACTIONS
from raymoe.project.workspace import Workspace

SECTIONS = ("plan", "track", "commit", "merge", "driver")
EXPERTS = ("synergy", "redundancy")
PAIRS = 60


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--folder", default=None)
    arguments = parser.parse_args()
    small = arguments.quick
    print(machine_line(), flush=True)
    base = rss()
    for section in arguments.only.split(","):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            if section == "plan":
                measure_plan(50 if small else 5_000)
            elif section == "track":
                measure_track(20_000 if small else 10_000_000, base)
            elif section == "commit":
                measure_commit(folder, 3_000 if small else 100_000)
            elif section == "merge":
                measure_merge(folder, 500 if small else 20_000)
            elif section == "driver":
                measure_driver(folder, 500 if small else 20_000)


def measure_plan(samples: int) -> None:
    """Candidates and costs of every sample and expert, from scores that are there."""
    store, table = FakeStore(samples), importance(samples)
    for bins in (1, 3):
        config = ProbeConfig(experts=EXPERTS, rho=0.3, num_bins=bins)
        start = time.perf_counter()
        plan = make_plan(store, table, list(EXPERTS), config, made_by="")
        seconds = time.perf_counter() - start
        units = plan.cut(16384)
        start = time.perf_counter()
        made = sum(1 for _ in units.left(np.zeros(len(units), bool)))
        again = time.perf_counter() - start
        print(
            f"plan, {bins} bin{'s' * (bins > 1)}: {len(plan.jobs):,} jobs of "
            f"{len(plan.jobs[0].candidates.pairs)} pairs, {made:,} units; "
            f"{seconds / len(plan.jobs) * 1e3:.2f} ms a job before it starts, "
            f"{again / made * 1e3:.2f} ms a unit while it runs"
        )


def measure_track(count: int, base: float) -> None:
    """As many units as asked for, planned, handed out and marked as done, and how much memory that takes."""
    plan = made_up_plan(count)
    start = time.perf_counter()
    units = plan.cut(4096)
    done = np.zeros(len(units), dtype=bool)
    for unit in units.left(done):
        done[unit.number] = True
    seconds = time.perf_counter() - start
    assert done.all()
    assert units.evaluations(done) == 0
    print(
        f"track: {len(units):,} units of {len(plan.kinds):,} jobs, {seconds / len(units) * 1e3:.3f} ms each; "
        f"memory {rss():.0f} MB, at most {peak():.0f} MB, before it began {base:.0f} MB"
    )


def measure_commit(folder: str, count: int) -> None:
    """Answers committed one after the other, packed meanwhile."""
    answers = [answer(seed) for seed in range(64)]
    most = 0
    start = time.perf_counter()
    with UnitFiles(Workspace(folder), "units", count) as files:
        for unit in range(count):
            files.commit(unit, answers[unit % 64])
            most = max(most, files.loose)
        taken = time.perf_counter() - start
    seconds = time.perf_counter() - start
    found = list(Path(folder, "units").iterdir())
    size = sum(path.stat().st_size for path in found)
    print(
        f"commit: {count:,} units of {len(answers[0]):,} bytes in {seconds:.1f} s, {count / seconds:,.0f} a "
        f"second ({taken / count * 1e3:.3f} ms of the driver each); at most {most:,} small files (limit "
        f"{MAX_LOOSE:,}), at the end {len(found)} files, {size / count:,.0f} bytes a unit"
    )
    assert len(found) <= count // PACK + PACK


def measure_merge(folder: str, count: int) -> None:
    """Committed answers made into rows of the table."""
    units = made_up_plan(count).cut(4096)
    with UnitFiles(Workspace(folder), "units", len(units)) as files:
        for unit in range(len(units)):
            files.commit(unit, answer(unit % 64))
        files.flush()
        start = time.perf_counter()
        schema, jobs = INTERACTIONS.contract.schema, range(len(units.plan.jobs))
        rows = sum(batch.num_rows for batch in merged(units, files, jobs, Share("synergy"), schema))
        seconds = time.perf_counter() - start
    print(f"merge: {len(units):,} units, {rows:,} rows, {seconds / len(units) * 1e3:.2f} ms a unit")


def measure_driver(folder: str, count: int) -> None:
    """Plan, schedule, track and commit together, of units that take no time."""
    import ray

    from raymoe.actors.fleet import open_fleet
    from raymoe.actors.pool import run_units

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    units = made_up_plan(count).cut(4096)
    with (
        open_fleet(ToyRunner, (answer(0),), num_actors=2, together=True) as fleet,
        UnitFiles(Workspace(folder), "units", len(units)) as files,
    ):
        ray.get([fleet.make().ready.remote() for _ in range(2)])
        before, start = cpu_seconds(), time.perf_counter()
        outcome = run_units(
            units.left(files.done), fleet, lambda unit, found: files.commit(unit.number, found)
        )
        seconds = time.perf_counter() - start
        used = cpu_seconds() - before
    assert files.done.all()
    print(
        f"driver: {outcome.done:,} units on 2 actors in {seconds:.1f} s, {seconds / len(units) * 1e3:.2f} ms "
        f"a unit, of which this process computed {used / len(units) * 1e3:.2f} ms"
    )
    ray.shutdown()


class ToyRunner:
    """Answers at once."""

    def __init__(self, answer: bytes, device: str, threads: int | None) -> None:
        self.answer = answer

    def ready(self) -> str:
        """Always is."""
        return "cpu"

    def run(self, unit: object) -> bytes:
        """The same for every unit."""
        return self.answer


class FakeStore:
    """Masks of samples that nobody encoded."""

    candidates = FeatureStore.candidates

    modalities = (ModalityInfo("text", "text", 8, 66, None), ModalityInfo("image", "image", 8, 196, (14, 14)))

    def __init__(self, samples: int) -> None:
        self.sample_ids = [f"sample-{i}" for i in range(samples)]

    def index_of(self, sample_id: str) -> int:
        """Its row."""
        return int(sample_id.split("-")[1])

    def sequence(self, i: int, modality: str) -> tuple[None, np.ndarray, np.ndarray]:
        """No features; the masks."""
        length = 66 - i % 20 if modality == "text" else 196
        special = np.zeros(length, bool)
        special[:1] = special[-1:] = modality == "text"
        return None, np.ones(length, bool), special


def importance(samples: int) -> pa.Table:
    """Random scores as the importance table holds them."""
    rng, store = np.random.default_rng(0), FakeStore(samples)
    rows = [
        (f"sample-{i}", expert, modality)
        for i in range(samples)
        for expert in EXPERTS
        for modality in ("text", "image")
    ]
    scores = [rng.random(len(store.sequence(store.index_of(s), m)[1])).astype(np.float32) for s, _, m in rows]
    ids, experts, modalities = zip(*rows, strict=True)
    columns = {"sample_id": ids, "expert": experts, "modality": modalities, "target": ["true"] * len(rows)}
    return pa.table(columns | {"scores": pa.array(scores, pa.list_(pa.float32()))})


def made_up_plan(units: int) -> Plan:
    """Jobs of 60 pairs, of two different costs, with 16 and 24 units of 4,096 evaluations on average 20."""
    config = ProbeConfig(experts=("synergy",), coalitions=64)
    works = [Work(16, 4000, 90), Work(24, 4000, 90)]
    kinds = (np.arange(max(1, units // 20)) % 2).astype(np.int32)
    return Plan(MadeUpJobs(len(kinds)), works, kinds, [], config)


class MadeUpJobs(Sequence[Job]):
    """All alike."""

    def __init__(self, count: int) -> None:
        self.count = count
        scores = {"text": np.zeros(4), "image": np.zeros(15)}
        allowed = {name: np.ones(len(values), bool) for name, values in scores.items()}
        self.candidates = select_candidates(scores, allowed, rho=1.0)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Job:
        if not 0 <= number < self.count:
            raise IndexError(number)
        return Job(number, f"sample-{number}", "synergy", "true", self.candidates, number)

    def __iter__(self) -> Iterator[Job]:
        return (self[number] for number in range(self.count))


def answer(seed: int) -> bytes:
    """Running sums of 60 pairs, as an actor sends them."""
    rng = np.random.default_rng(seed)
    sums = independent_sums(*(rng.normal(size=(32, PAIRS)) for _ in TERMS))
    table = pa.table(sums.columns(), metadata={"device": "cpu"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def rss() -> float:
    """Memory of this process now, in MB."""
    return psutil.Process().memory_info().rss / 1e6


def peak() -> float:
    """The most memory this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def cpu_seconds() -> float:
    """Of all threads of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
