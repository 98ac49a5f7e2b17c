"""Invented tables of every experiment, under their contracts: for the tests of the page."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa

from raymoe.experiments.alignment import ALIGNMENT
from raymoe.experiments.comparison import COMPARISON
from raymoe.experiments.faithfulness import FAITHFULNESS, FAITHFULNESS_SUMMARY
from raymoe.experiments.locality import LOCALITY
from raymoe.experiments.pair_masking import PAIR_MASKING
from raymoe.experiments.planted import PLANTED, PLANTED_EXPERTS, PLANTED_RANKS
from raymoe.experiments.robustness import ROBUSTNESS
from raymoe.experiments.specificity import CLASSES as SPECIFICITY_CLASSES
from raymoe.experiments.specificity import SAMPLES as SPECIFICITY_SAMPLES
from raymoe.experiments.specificity import SPECIFICITY
from raymoe.project import Project
from raymoe.project.contracts import Contract
from raymoe.project.provenance import Provenance
from raymoe.project.tables import write_table

EXPERTS = ["unique:text", "unique:image", "synergy", "redundancy"]
METHODS = ("random", "attnroll", "ig", "grad_attnroll")
INTERACTIONS = ("unique image", "unique text", "redundant", "synergistic", "additive", "antagonistic")


def write_experiments(project: Project, parents: dict[str, str], *, only: tuple[str, ...] = ()) -> None:
    """Write all tables that ``raymoe evaluate`` may leave, made from ``parents``.

    Args:
        project: whose.
        parents: names and fingerprints; ``checkpoint`` is the report's.
        only: names of the tables; by default all.
    """
    random = np.random.default_rng(1)
    run = project.run.rsplit("/", 1)[1]
    here, seed = f"{project.root}/evaluation", project.preset.train.seed
    of_runs = {"features": parents["features"], run: parents["checkpoint"], "dense-seed0": "d" * 16}
    measured = {
        "features": parents["features"],
        f"seed {seed}": parents["checkpoint"],
        f"importance of seed {seed}": parents["importance"],
        f"probe of seed {seed}": parents["interactions"],
        f"seed {seed + 1}": "5" * 16,
    }
    tables = {
        "comparison": (here, COMPARISON, _comparison(), {"fl-i2moe": f"{parents['checkpoint']} {'e' * 16}"}),
        "faithfulness": (here, FAITHFULNESS, _faithfulness(random), of_runs),
        "faithfulness-summary": (here, FAITHFULNESS_SUMMARY, _summary(random), of_runs),
        "alignment": (here, ALIGNMENT, _alignment(random), measured),
        "specificity": (here, SPECIFICITY, _specificity(), measured),
        "specificity-samples": (here, SPECIFICITY_SAMPLES, _specificity_samples(), measured),
        "specificity-classes": (here, SPECIFICITY_CLASSES, _specificity_classes(), measured),
        "locality": (here, LOCALITY, _locality(), {n: parents[n] for n in ("samples", "features")}),
        "pair-masking": (here, PAIR_MASKING, _pair_masking(), measured),
        "robustness": (here, ROBUSTNESS, _robustness(), of_runs),
        "planted": (here, PLANTED, _planted(random), of_runs),
        "planted-experts": (here, PLANTED_EXPERTS, _planted_experts(random), of_runs),
        "planted-ranks": (here, PLANTED_RANKS, _planted_ranks(), of_runs),
    }
    for name, (folder, contract, rows, made_from) in tables.items():
        if not only or name in only:
            extra = {"differences": DIFFERENCES[name]} if name in DIFFERENCES else {}
            write(project, f"{folder}/{name}.parquet", contract, rows, made_from, extra)


def write(
    project: Project,
    name: str,
    contract: Contract,
    rows: list[dict],
    parents: dict[str, str],
    extra: dict | None = None,
) -> None:
    """Write one table."""
    table = pa.Table.from_pylist(rows, contract.schema)
    made = Provenance("evaluate", contract.tag, {}, parents)
    write_table(project.workspace, name, table, contract, made, extra or {})


MORE = {"more": 0.0123, "more_low": -0.0011, "more_high": 0.0257}
DIFFERENCES = {
    "comparison": [{"kind": "fl-i2moe", "against": "dense", "metric": "micro_f1"} | MORE],
    "pair-masking": [
        {"expert": expert, "score": score, "share": share, "against": against} | MORE
        for expert, score in (("synergy", "sii"), ("redundancy", "redundancy_gap"))
        for share in (5, 10, 20)
        for against in ("random pairs", "random pairs, as many features")
    ],
}


def _comparison() -> list[dict]:
    figures = {"i2moe": (60.33, 0.47), "dense": (None, None), "fl-i2moe": (67.85, 0.45)}
    return [
        {
            "kind": kind,
            "variant": "-temperature_rw=2" if kind == "fl-i2moe" else "",
            "metric": metric,
            "seeds": [0, 1, 2],
            "mean": 60.0 + 4 * k - 8 * m,
            "std": 0.8,
            "low": 57.0 + 4 * k - 8 * m,
            "high": 63.0 + 4 * k - 8 * m,
            "paper_mean": paper if not m else None,
            "paper_std": deviation if not m else None,
            "difference": None if paper is None or m else 60.0 + 4 * k - paper,
        }
        for k, (kind, (paper, deviation)) in enumerate(figures.items())
        for m, metric in enumerate(("micro_f1", "macro_f1"))
    ]


def _faithfulness(random) -> list[dict]:
    return [
        {
            "kind": kind,
            "variant": "",
            "seed": seed,
            "expert": expert,
            "method": method,
            "share": share,
            "metric": "micro_f1",
            "base": 0.7,
            "masked": 0.7 - (drop := share * (0.001 + 0.002 * m) + 0.01 * random.random()),
            "drop": drop,
            "comprehensiveness": 0.1,
            "sufficiency": 0.05,
        }
        for kind, experts in (("dense", ["dense"]), ("fl-i2moe", [*EXPERTS, "experts together"]))
        for seed in (0, 1)
        for expert in experts
        for m, method in enumerate(METHODS)
        for share in (5, 10, 15, 20, 25, 30)
    ]


def _summary(random) -> list[dict]:
    rows = []
    several = [*EXPERTS, "all experts", "experts together"]
    for kind, experts in (("dense", ["all experts"]), ("fl-i2moe", several)):
        for expert in experts:
            for m, method in enumerate(METHODS):
                drop = 0.01 + 0.03 * m + 0.02 * random.random()
                spread = {"drop": drop, "over_random": drop - 0.01}
                rows.append(
                    {
                        "kind": kind,
                        "variant": "",
                        "seeds": [0, 1],
                        "expert": expert,
                        "method": method,
                        "metric": "micro_f1",
                        **{f"{n}{e}": v + s for n, v in spread.items() for e, s in ENDS.items()},
                        "drop_std": 0.01,
                        "comprehensiveness": 0.1,
                        "sufficiency": -0.02,
                        "convergence_delta": 0.0012 if method == "ig" else None,
                    }
                )
    return rows


ENDS = {"": 0.0, "_low": -0.01, "_high": 0.012}


def _alignment(random) -> list[dict]:
    return [
        {
            "seed": seed,
            "expert": expert,
            "score": score,
            "choice": choice,
            "bin": label,
            "top": top,
            "mean": (mean := (1 + (seed or 0)) * scale * (4 - b) * (1 + 5 / top)),
            "low": mean * 0.8,
            "high": mean * 1.3,
            "std": mean * 0.2 if seed is None else None,
            "pairs": 120,
            "samples": 30,
            "stderr": scale * 0.4,
        }
        for seed in (0, 1, None)
        for expert in ("synergy", "redundancy")
        for score, scale in (("sii", 0.001), ("redundancy_gap", 0.1))
        for choice in ("all pairs", "same samples", "within samples")
        for b, label in enumerate(("top 10 %", "11-20 %", "21-30 %"))
        for top in (5, 10, 20)
    ]


SHARES = {
    "between": 0.5,
    "first": 0.125,
    "second": 0.75,
    "own": 0.1,
    "noise": 0.025,
    "own_of_signal": 0.1025,
    "noise_of_own": 0.25,
    "above_noise": 0.85,
}


def _specificity() -> list[dict]:
    return [
        {
            "seed": seed,
            "expert": expert,
            "u_modality": "text",
            "v_modality": "image",
            "quantity": quantity,
            "value": value,
            "low": 0.9 * value,
            "high": 1.1 * value,
            "std": 0.01 if seed is None else None,
            "samples": 30,
            "left_out": 4,
        }
        for seed in (0, 1, None)
        for expert in ("synergy", "redundancy")
        for quantity, value in SHARES.items()
    ]


def _specificity_samples() -> list[dict]:
    parts = {"total": 1.0, "first": 0.125, "second": 0.75, "own": 0.125, "noise": 0.025, "above_noise": True}
    names = {"expert": "synergy", "u_modality": "text", "v_modality": "image"}
    return [
        {"seed": 0, "sample_id": f"s{i}", "pairs": 60, "mean": 0.01, "negative": 0.4, **names, **parts}
        for i in range(5)
    ]


def _specificity_classes() -> list[dict]:
    names = {"expert": "synergy", "u_modality": "text", "v_modality": "image", "samples": 12}
    return [
        {"seed": seed, **names, "class": name}
        | {f"mean{end}": mean + off for end, off in ENDS.items()}
        | {f"negative{end}": negative + off for end, off in ENDS.items()}
        for seed in (0, 1, None)
        for name, mean, negative in (("music", 0.02, 0.3), ("animal", -0.04, 0.95))
    ]


def _locality() -> list[dict]:
    layers = {"text": ((0, 1.0, 0.6), (1, 0.9, 0.695), (-1, 0.6, 0.7)), "image": ((-1, 0.1, 0.6),)}
    return [
        {"modality": name, "layer": layer, "even": 0.05, "metric": "micro_f1", "samples": 32, "masks": 120}
        | {f"locality{end}": local + off for end, off in ENDS.items()}
        | {f"score{end}": score + off for end, off in ENDS.items()}
        | {"stored": layer == -1, "suggested": layer == 1 or name == "image"}
        for name, found in layers.items()
        for layer, local, score in found
    ]


def _pair_masking() -> list[dict]:
    rows = []
    panels = [("synergy", "sii"), ("redundancy", "redundancy_gap")]
    maskings = ("original", "random pairs", "random pairs, as many features", "ranked pairs")
    for seed, (expert, score), share in itertools.product((0, 1, None), panels, (5, 10, 20)):
        for k, masking in enumerate(maskings):
            value = 0.70 - 0.02 * k - 0.002 * share * (k > 0) - 0.1 * (seed or 0)
            rows.append(
                {
                    "seed": seed,
                    "expert": expert,
                    "score": score,
                    "share": share,
                    "masking": masking,
                    "metric": "micro_f1",
                    **{f"value{end}": value + off for end, off in ENDS.items()},
                    **{f"drop{end}": 0.70 - value + off for end, off in ENDS.items()},
                    **dict.fromkeys(("value_std", "drop_std"), 0.0321 if seed is None else None),
                    "pairs": 6.0 * (k > 0),
                    "features": 7.5 * (k > 0),
                    "samples": 200,
                    "short": 12.0 * (k > 0 and share == 5),
                    "paper": {0: 0.6789, 1: 0.5703, 3: 0.5600}.get(k) if share == 5 else None,
                }
            )
    return rows


def _robustness() -> list[dict]:
    quantities = [("micro_f1", None, None), ("macro_f1", None, None)]
    quantities += [("expert_weight", e, None) for e in EXPERTS]
    quantities += [
        (q, e, s)
        for q in ("rank_correlation", "top_overlap")
        for e, s in (("synergy", "sii"), ("redundancy", "redundancy_gap"))
    ]
    rows = []
    for modality in ("text", "image"):
        for disturbance, levels in (("noise", (0.0, 0.5, 1.0, 2.0)), ("missing", (1.0,))):
            for level in levels:
                for k, (quantity, expert, score) in enumerate(quantities):
                    value = 0.8 - 0.05 * k - 0.1 * level
                    rows.append(
                        {
                            "kind": "fl-i2moe",
                            "variant": "",
                            "seed": 0,
                            "modality": modality,
                            "disturbance": disturbance,
                            "level": level,
                            "quantity": quantity,
                            "expert": expert,
                            "score": score,
                            "value": value,
                            "low": value - 0.02,
                            "high": value + 0.03,
                            "samples": 100,
                        }
                    )
    return rows


def _planted(random) -> list[dict]:
    rows = []
    methods = ("sii", "-sii", "redundancy_gap", "product", "attention", "random")
    for seed in (None, 0, 1, 2):
        for expert in ("synergy", "redundancy"):
            for interaction in INTERACTIONS[2:]:
                for method in methods:
                    for measure in ("average_precision", "auroc", "precision_at_k"):
                        value = random.random()
                        rows.append(
                            {
                                "seed": seed,
                                "scenes": "all",
                                "expert": expert,
                                "interaction": interaction,
                                "method": method,
                                "measure": measure,
                                "value": value,
                                "low": value - 0.05,
                                "high": value + 0.05,
                                "chance": 0.5 if measure == "auroc" else 0.03,
                                "positives": 40,
                                "pairs": 1500,
                                "samples": 60,
                            }
                        )
    return rows


def _planted_ranks() -> list[dict]:
    """Of the first sample: the word at 1 with two patches; of seed 1 everything is one place further down."""
    return [
        {
            "seed": seed,
            "sample_id": "s0",
            "scenes": "all",
            "expert": expert,
            "interaction": interaction,
            "method": method,
            "u_modality": "text",
            "u": [word, word],
            "v_modality": "image",
            "v": [3, 8],
            "rank": [first + seed, first + 4 + seed],
            "pairs": 8,
        }
        for seed in (0, 1)
        for expert in ("synergy", "redundancy")
        for interaction, word in (("redundant", 1), ("synergistic", 2))
        for method, first in (("sii", 1), ("product", 2), ("attention", 3))
    ]


def _planted_experts(random) -> list[dict]:
    return [
        {
            "seed": seed,
            "expert": expert,
            "interaction": interaction,
            "quantity": quantity,
            "value": (value := random.random()),
            "low": value - 0.05,
            "high": value + 0.05,
            "samples": 60,
        }
        for seed in (None, 0)
        for expert in EXPERTS
        for interaction in INTERACTIONS
        for quantity in ("weight", "average_precision")
    ]
