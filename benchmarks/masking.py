"""What the rule of masking decides: zero vectors after the encoders, or words and regions out of the inputs.

    python benchmarks/masking.py [DATASET] [--workspace DIR] [--samples 48] [--coalitions 8,16,32]
        [--regions 3x3] [--fills white,mean,blur] [--actors 2]

Probes the mixture on the same samples of the split that training never saw, works on a copy of the workspace
(what is missing there is made first), and prints for each rule: which part of the signal of SII within a
sample is the pairs' own (variance less noise), pooled and in the median sample; the noise of what is found as
the pairs' own, as a part of it (1: nothing but noise); in how many samples the strongest pair is of a
function word or a mark of punctuation; and seconds. Last, one sample of 8 words x 16 regions on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from experiments import copy
from machine import machine_line

from raymoe.config import load_preset
from raymoe.display.function_words import is_function_word, is_punctuation
from raymoe.features.store import FeatureStore
from raymoe.features.text_pieces import word_at
from raymoe.interactions.two_way import shares
from raymoe.pipeline import run
from raymoe.probe import probe
from raymoe.probe.measuring import runner_of
from raymoe.probe.plan import Units
from raymoe.probe.probe import parents_of, plan_of
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES, IMPORTANCE, INPUT_INTERACTIONS, INTERACTIONS
from raymoe.project.interaction_tables import read_interactions
from raymoe.project.workspace import Workspace
from raymoe.runtime.progress import console


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="demo")
    parser.add_argument("--workspace", help="one with a trained model; only read")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--coalitions", default="8,16,32")
    parser.add_argument("--regions", default="3x3")
    parser.add_argument("--fills", default="white,mean,blur")
    parser.add_argument("--actors", type=int, default=None)
    arguments = parser.parse_args()
    console.quiet = True
    print(machine_line(), flush=True)
    with tempfile.TemporaryDirectory(prefix="raymoe-benchmark-") as folder:
        if arguments.workspace:
            copy(Path(arguments.workspace), Path(folder), arguments.dataset)
        whole = Project(load_preset(arguments.dataset), Workspace(folder), arguments.dataset)
        run(whole, "attribute")
        print(
            "rule, fill, coalitions: own part of the signal (pooled; median), noise / own (median), "
            "led by a function word, seconds a sample and actor"
        )
        samples = some_samples(whole, arguments.samples)
        zero = with_probe(whole, experts=["mixture"], coalitions=32, max_samples=None)
        show("zero vectors, 32", *measured(zero, samples, arguments.actors))
        for fill in arguments.fills.split(","):
            for coalitions in map(int, arguments.coalitions.split(",")):
                project = with_probe(
                    whole,
                    mask="input",
                    experts=["mixture"],
                    samples=samples,
                    fill=fill,
                    coalitions=coalitions,
                    regions=arguments.regions,
                )
                show(f"input, {fill}, {coalitions}", *measured(project, samples, arguments.actors))
        one_sample(whole, samples)


def with_probe(project: Project, **fields) -> Project:
    """The same with other settings of the probe."""
    fields = {f"probe.{name}": value for name, value in fields.items()}
    return Project(project.preset.with_fields(fields), project.workspace, project.dataset)


def some_samples(project: Project, count: int) -> list[str]:
    """So many of the attributed samples, spread over all of them."""
    ids = list(dict.fromkeys(IMPORTANCE.of(project).read(["sample_id"])["sample_id"].to_pylist()))
    return ids[:: max(1, len(ids) // count)][:count]


def measured(project: Project, samples: list[str], actors: int | None) -> tuple[pd.DataFrame, float]:
    """The table of these samples, words beside their pairs, and seconds a sample and actor."""
    start = time.perf_counter()
    probe(project, overwrite=True, num_actors=actors)
    seconds = time.perf_counter() - start
    masked = project.preset.probe.mask == "input"
    table = read_interactions((INPUT_INTERACTIONS if masked else INTERACTIONS).of(project)).to_pandas()
    seconds *= (actors or 2) / table["sample_id"].nunique()
    table = table[table["sample_id"].isin(samples)]
    if masked:
        return table.assign(word=table["u_text"]), seconds
    store = FeatureStore.open(FEATURES.of(project))
    words = []
    for sample_id, own in table.groupby("sample_id", sort=False):
        pieces = store.pieces(store.index_of(sample_id), "text") or []
        for u in own["u"]:
            words.append("".join(pieces[i].text for i in word_at(pieces, u)))
    return table.assign(word=words), seconds


def show(name: str, table: pd.DataFrame, seconds: float) -> None:
    """One line."""
    found, led = [], []
    for _, own in table.groupby("sample_id", sort=False):
        first = own.iloc[int(np.argmax(np.abs(own["sii"])))]["word"]
        led.append(is_function_word(first) or is_punctuation(first))
        pairs = own[["u", "v"]].to_numpy()
        freedom = float(own["n_contrasts"].iloc[0])
        columns = (own[c].to_numpy() for c in ("sii", "pair_specific", "pair_specific_stderr"))
        part = shares(pairs, *columns, freedom)
        if part is not None and part.own > 0:
            found.append((part.total, part.own, part.noise))
    total, own, noise = np.array(found).T
    each = np.clip(own - noise, 0, None) / np.maximum(total - noise, 1e-30)
    print(
        f"  {name:24} {(own - noise).sum() / (total - noise).sum():5.0%} {np.median(each):5.0%}"
        f"   {np.median(noise / np.maximum(own, 1e-30)):6.2f}   {np.mean(led):5.0%} of {len(led)}"
        f"   {seconds:6.1f} s",
        flush=True,
    )


def one_sample(project: Project, samples: list[str]) -> None:
    """Seconds of a sample of 8 words x 16 regions in this process, on one core."""
    torch.set_num_threads(1)
    for coalitions in (8, 16, 32):
        own = with_probe(
            project,
            mask="input",
            experts=["mixture"],
            samples=samples,
            regions="4x4",
            words=8,
            coalitions=coalitions,
        )
        importance, provenance = parents_of(own)
        plan = plan_of(own, importance, provenance)
        runner_class, arguments = runner_of(own, provenance)
        runner = runner_class(*arguments, "cpu", 1)
        runner.ready()
        units = Units(plan, plan.config.unit_evaluations)
        of_size = [job for job in plan.jobs if len(job.candidates.players) == 24]
        took = []
        for unit in chain.from_iterable(map(units.of, of_size[:3])):
            start = time.perf_counter()
            runner.run(unit)
            took.append(time.perf_counter() - start)
        if took:
            spread = f"{min(took):.1f} to {max(took):.1f} s"
            print(f"  8 words x 16 regions, one core, {coalitions} coalitions: {spread}", flush=True)
        else:
            print("  none of the samples has 8 words")


if __name__ == "__main__":
    main()
