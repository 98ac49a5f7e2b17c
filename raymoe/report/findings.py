"""What came out of each experiment, in a line for the overview: the figures, and no judgement of them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from raymoe.display.charts import METRIC_LABELS
from raymoe.experiments.alignment.measure import OF_PAPER
from raymoe.experiments.comparison.measure import KINDS
from raymoe.experiments.runs import over_seeds
from raymoe.report.experiment_figures import SCORE_LABELS

Rows = list[dict[str, Any]]


def finding(protocol: str, tables: dict[str, Rows]) -> str:
    """The main figures of a protocol; empty where its tables don't have them.

    Args:
        protocol: as ``raymoe evaluate`` knows it.
        tables: the protocol's rows, by file name.
    """
    return FINDINGS[protocol](tables)


def _comparison(tables: dict[str, Rows]) -> str:
    rows = [row for row in tables["comparison"] if row["mean"] is not None]
    metric = next((row["metric"] for row in rows), None)
    scores = [f"{KINDS.get(r['kind'], r['kind'])} {r['mean']:.1f}" for r in rows if r["metric"] == metric]
    return f"{METRIC_LABELS.get(metric, metric)} in per cent: {', '.join(reversed(scores))}" if scores else ""


def _faithfulness(tables: dict[str, Rows]) -> str:
    found = [
        f"{KINDS.get(row['kind'], row['kind'])} {_points(row['over_random'])} "
        f"({_points(row['over_random_low'])} to {_points(row['over_random_high'])})"
        for row in tables["faithfulness-summary"]
        if row["method"] == "grad_attnroll"
        and (row["kind"] == "dense" or row["expert"] == "all experts")
        and row["over_random"] is not None
    ]
    return f"Drop by Grad x AttnRoll beyond random, points: {', '.join(found)}" if found else ""


def _alignment(tables: dict[str, Rows]) -> str:
    rows = [row for row in _of_paper(over_seeds(tables["alignment"])) if row["mean"] is not None]
    found = []
    for score in dict.fromkeys(row["score"] for row in rows):
        top = min(row["top"] for row in rows if row["score"] == score)
        bins = [row for row in rows if (row["score"], row["top"]) == (score, top)]
        ends = " to ".join(f"{row['mean']:#.2g}" for row in (bins[0], bins[-1]))
        found.append(f"mean {_label(score)} {ends}")
    return (
        f"Strongest pairs, from the most to the least important features: {', '.join(found)}" if found else ""
    )


def _pair_masking(tables: dict[str, Rows]) -> str:
    rows = _of_paper(over_seeds(tables["pair-masking"]))
    said = []
    for score in dict.fromkeys(row["score"] for row in rows):
        share = min(row["share"] for row in rows if row["score"] == score)
        drop = {r["masking"]: r["drop"] for r in rows if (r["score"], r["share"]) == (score, share)}
        ranked, random = drop.get("ranked pairs"), drop.get("random pairs, as many features")
        if ranked is not None and random is not None:
            ours, others = f"{100 * ranked:.1f}", f"{100 * random:.1f}"
            said.append(f"top {share} % by {_label(score)} {ours}, as many features at random {others}")
    return f"Drop in points: {'; '.join(said)}" if said else ""


def _robustness(tables: dict[str, Rows]) -> str:
    rows = [row for row in tables["robustness"] if row["kind"] == "fl-i2moe"]
    metric = next((row["quantity"] for row in rows if row["quantity"] in METRIC_LABELS), None)
    rows = [row for row in rows if row["quantity"] == metric and row["value"] is not None]
    whole = [row["value"] for row in rows if not row["level"]]
    if not whole:
        return ""
    missing: dict[str, list[float]] = {}
    for row in rows:
        if row["disturbance"] == "missing" and row["level"]:
            missing.setdefault(row["modality"], []).append(row["value"])
    without = "".join(f", without {name} {100 * fmean(values):.1f}" for name, values in missing.items())
    return f"FL-I2MoE's {METRIC_LABELS[metric]} in per cent: {100 * fmean(whole):.1f}{without}"


def _planted(tables: dict[str, Rows]) -> str:
    rows = [row for row in over_seeds(tables["planted"]) if row["measure"] == "average_precision"]
    said = []
    for kind, expert, score in (
        ("synergistic", "synergy", "sii"),
        ("redundant", "redundancy", "redundancy_gap"),
    ):
        of_expert = {r["method"]: r for r in rows if (r["interaction"], r["expert"]) == (kind, expert)}
        own, product = (of_expert.get(method, {}).get("value") for method in (score, "product"))
        if own is not None and product is not None:
            said.append(f"{kind} by {_label(score)} {own:.2f}, by the product {product:.2f}")
    return f"Average precision of true pairs: {'; '.join(said)}" if said else ""


def _of_paper(rows: Rows) -> Rows:
    """Each score of the expert that the paper takes it of."""
    return [row for row in rows if row["expert"] == OF_PAPER.get(row["score"])]


def _label(score: str) -> str:
    return SCORE_LABELS.get(score, score)


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


FINDINGS: dict[str, Callable[[dict[str, Rows]], str]] = {
    "comparison": _comparison,
    "faithfulness": _faithfulness,
    "alignment": _alignment,
    "pair-masking": _pair_masking,
    "robustness": _robustness,
    "planted": _planted,
}
