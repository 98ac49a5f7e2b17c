"""What ``raymoe evaluate`` found, for the page: per protocol its figures and tables, or why there are none.

A table that was made from another checkpoint than the report's is not shown: mixed figures would look right.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from raymoe.display.charts import METRIC_LABELS
from raymoe.display.inputs import Inputs
from raymoe.display.palette import expert_label
from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.errors import ParentError
from raymoe.experiments.alignment.measure import OF_PAPER
from raymoe.experiments.comparison.measure import KINDS
from raymoe.experiments.faithfulness.measure import METHODS
from raymoe.experiments.runs import over_seeds, seeds_of, seeds_said
from raymoe.project import Project
from raymoe.project.contracts import (
    ALIGNMENT,
    COMPARISON,
    FAITHFULNESS,
    FAITHFULNESS_SUMMARY,
    PAIR_MASKING,
    PLANTED,
    PLANTED_EXPERTS,
    ROBUSTNESS,
    SWEEP,
    Contract,
)
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_table
from raymoe.report import experiment_figures as draw
from raymoe.report.findings import finding

Rows = list[dict[str, Any]]

# How far the axes of the paper's bar charts reach; it prints no numbers for them (Fig. 3 and 4).
PAPER_DROPS = {"mmimdb": "30", "enrico": "30", "mmhs150k": "10"}
NOISE_NOTE = (
    "Noise 0 is undisturbed; rankings there compare two estimates from different coalitions: what Monte "
    "Carlo alone leaves uncertain."
)
PAPER_GAPS = {"mmimdb": "1", "enrico": "0.4", "mmhs150k": "0.2"}


@dataclass(frozen=True)
class Shown:
    """What a protocol puts on the page; of each kind the first is the main one.

    Attributes:
        figures: by file name.
        captions: of the figures: what is drawn, and what the error bars are.
        sheets: the tables.
        notes: what has to be known to read them.
    """

    figures: dict[str, Figure]
    captions: dict[str, str]
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """One protocol: what it asks, which tables it wrote, and how they are shown.

    Attributes:
        key: as ``raymoe evaluate`` knows it.
        place: in the paper.
        files: contract of each table, by file name.
        show: from the tables' rows, by file name, and the dataset.
    """

    key: str
    title: str
    place: str
    question: str
    files: dict[str, Contract]
    show: Callable[[dict[str, Rows], str], Shown]


@dataclass(frozen=True)
class Experiment:
    """A protocol as the page has it.

    Attributes:
        dataset: as the user named it.
        command: what makes its tables.
        gap: why nothing is shown; empty otherwise.
        tables: what is shown, by file name; empty with a gap.
        fingerprints: of the tables that are there, shown or not.
    """

    protocol: Protocol
    dataset: str
    command: str
    gap: str = ""
    tables: dict[str, pa.Table] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    @cached_property
    def finding(self) -> str:
        """What came out, in a line; empty where there is a gap."""
        rows = {name: table.to_pylist() for name, table in self.tables.items()}
        return "" if self.gap else finding(self.protocol.key, rows)

    @cached_property
    def shown(self) -> Shown:
        """Drawn when it is first asked for; nothing where there is a gap."""
        if self.gap:
            return Shown({}, {}, ())
        rows = {name: table.to_pylist() for name, table in self.tables.items()}
        # paired over samples, which the intervals of two rows are not
        rows["differences"] = [
            difference
            for table in self.tables.values()
            for difference in metadata_of(table.schema).get("differences", [])
        ]
        return self.protocol.show(rows, self.dataset)


def experiments(project: Project, inputs: Inputs) -> list[Experiment]:
    """Every protocol in the paper's order, then those beyond it.

    The ground truth of planted interactions is left out where the data has none and no such table is there.
    """
    found = []
    for protocol in PROTOCOLS:
        there = any(project.workspace.exists(_place(project, protocol, name)) for name in protocol.files)
        if protocol.key != "planted" or project.preset.data.format == "planted" or there:
            found.append(_experiment(project, inputs, protocol))
    return found


def evaluate_command(project: Project, protocol: str) -> str:
    """How a user runs a protocol."""
    words = shlex.split(replace(project, source=None).command("evaluate"))
    return shlex.join([*words[:3], protocol, *words[3:]])


def _place(project: Project, protocol: Protocol, name: str) -> str:
    return f"{project.root}/evaluation/{name}.parquet"


def _experiment(project: Project, inputs: Inputs, protocol: Protocol) -> Experiment:
    command = evaluate_command(project, protocol.key)
    tables: dict[str, pa.Table] = {}
    fingerprints: dict[str, str] = {}
    gaps = []
    for name, contract in protocol.files.items():
        place = _place(project, protocol, name)
        if not project.workspace.exists(place):
            gaps.append("Not measured yet.")
            continue
        try:
            table = read_table(project.workspace, place, contract, command)
        except ParentError as error:
            gaps.append(f"{error.message}.")
            fingerprints[name] = "unreadable"
            continue
        metadata = metadata_of(table.schema)
        tables[name], fingerprints[name] = table, metadata["fingerprint"]
        reason = stale(Provenance.from_json(metadata["made_by"]), *_known(project, inputs))
        if reason:
            gaps.append(f"{project.workspace.path(place)} is not shown: {reason}.")
        elif not len(table):
            gaps.append(f"{project.workspace.path(place)} has no rows.")
    if gaps:
        # "Not measured yet" says nothing where another of the tables is there but can't be shown
        gap = next((g for g in gaps if not g.startswith("Not measured")), gaps[0])
        return Experiment(protocol, project.dataset, command, gap=gap, fingerprints=fingerprints)
    return Experiment(protocol, project.dataset, command, tables=tables, fingerprints=fingerprints)


def stale(made: Provenance, known: dict[str, str], own: set[str]) -> str | None:
    """Why a table does not belong to this report; None where it does.

    Args:
        made: what made the table. A parent can be several fingerprints with spaces between them.
        known: the fingerprints that this report is made from, by the names that tables give their parents.
        own: those of them that are of this checkpoint alone; the table has to name one.
    """
    for name, value in made.parents.items():
        if name in known and known[name] not in value.split():
            return f"it was made from another {name} than this report ({value}, not {known[name]})"
    if not own & {word for value in made.parents.values() for word in value.split()}:
        return "it was made from other checkpoints than this report's"
    return None


def _known(project: Project, inputs: Inputs) -> tuple[dict[str, str], set[str]]:
    fingerprints = inputs.fingerprints
    of_run = {
        "checkpoint": inputs.checkpoint,
        project.run.rsplit("/", 1)[1]: inputs.checkpoint,
        f"seed {project.preset.train.seed}": inputs.checkpoint,
        "importance": fingerprints["importance"],
        f"importance of seed {project.preset.train.seed}": fingerprints["importance"],
        f"probe of seed {project.preset.train.seed}": fingerprints["interactions"],
        "probe": fingerprints["interactions"],
        "interactions": fingerprints["interactions"],
    }
    known = of_run | {"features": fingerprints["features"], "samples": fingerprints["samples"]}
    return known, set(of_run.values()) | _sweep_of(project, inputs.checkpoint)


def _sweep_of(project: Project, checkpoint: str) -> set[str]:
    """Fingerprint of the sweep's table, where the checkpoint is one of its trials."""
    name = f"{project.sweep}.parquet"
    if not project.workspace.exists(name):
        return set()
    try:
        table = read_table(project.workspace, name, SWEEP, project.command("sweep"))
    except ParentError:
        return set()
    return (
        {metadata_of(table.schema)["fingerprint"]}
        if checkpoint in table["fingerprint"].to_pylist()
        else set()
    )


# ---- per protocol: rows in, figures and sheets out


def _comparison(tables: dict[str, Rows], dataset: str) -> Shown:
    rows = tables["comparison"]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    in_paper = any(row["paper_mean"] is not None for row in rows)
    columns, cells = ["model", "seeds"], []
    for metric in metrics:
        columns += [METRIC_LABELS.get(metric, metric), "95 % interval"]
        columns += ["paper", "difference"] if in_paper else []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = {row["metric"]: row for row in rows if row["kind"] == kind}
        line: list[Cell] = [KINDS.get(kind, kind), str(max(len(row["seeds"]) for row in of_kind.values()))]
        for metric in metrics:
            row = of_kind.get(metric, {})
            line.append(Amount(row.get("mean"), deviation=row.get("std")))
            low, high = row.get("low"), row.get("high")
            line.append("–" if low is None else f"{low:.2f} to {high:.2f}")
            if in_paper:
                line.append(Amount(row.get("paper_mean"), deviation=row.get("paper_std")))
                line.append(Amount(row.get("difference"), signed=True))
        cells.append(tuple(line))
    caption = (
        "Scores on the test split in per cent, mean ± standard deviation over seeds, interval over samples"
    )
    sheet = Sheet("comparison", caption, tuple(columns), tuple(cells))
    variants = {KINDS.get(row["kind"], row["kind"]): row["variant"] for row in rows if row["variant"]}
    notes = [
        f"{name}: the configuration chosen on validation, {variant[1:]}."
        for name, variant in variants.items()
    ]
    for d in tables.get("differences", []):
        more = Amount(d["more"], d["more_low"], d["more_high"], signed=True)
        notes.append(
            f"{KINDS.get(d['kind'], d['kind'])} over {KINDS.get(d['against'], d['against'])}, "
            f"{METRIC_LABELS.get(d['metric'], d['metric'])}: {more}, 95 % of a paired bootstrap over samples."
        )
    if not in_paper:
        notes.append("The paper has no figures for this data.")
    text = (
        "Test split. Where several seeds were trained, bars are means and whiskers standard deviations; of a "
    )
    text += "single seed whiskers are 95 % intervals over samples."
    text += " Diamonds: the paper's." if in_paper else ""
    return Shown({"comparison": draw.comparison(rows)}, {"comparison": text}, (sheet,), tuple(notes))


def _faithfulness(tables: dict[str, Rows], dataset: str) -> Shown:
    summary, rows = tables["faithfulness-summary"], tables["faithfulness"]
    several = any(row["drop_std"] is not None for row in summary)
    cells = tuple(
        (
            KINDS.get(row["kind"], row["kind"])
            + (f", {expert_label(row['expert'])}" if row["kind"] != "dense" else ""),
            METHODS.get(row["method"], row["method"]),
            _percent(row, "drop"),
            *_seed_spread(100, row["drop_std"], several, 1),
            Amount(None) if row["method"] == "random" else _percent(row, "over_random", signed=True),
            _percent(row, "comprehensiveness"),
            _percent(row, "sufficiency"),
        )
        for row in summary
    )
    metric = METRIC_LABELS.get(summary[0]["metric"], summary[0]["metric"])
    caption = (
        f"Drop of {metric} in points, mean over K = 5 to 30 % and seeds (95 % intervals, paired bootstrap "
        "over samples), and by how much the predicted classes' probability falls with the top features "
        "masked (comprehensiveness) and with all but them masked (sufficiency), in points too"
    )
    columns = (
        *("model, expert", "importance", "drop", *_seed_head(several)),
        *("more than random", "comprehensiveness", "sufficiency"),
    )
    notes = [
        "The paper is expert-wise and shows one bar for FL-I2MoE: here “all experts” is the experts' mean."
    ]
    if dataset in PAPER_DROPS:
        notes.append(
            f"The paper prints no numbers for Fig. 3; its axis reaches {PAPER_DROPS[dataset]} points."
        )
    figures = {"faithfulness": draw.faithfulness(summary), "faithfulness-curves": draw.drop_curves(rows)}
    captions = {
        "faithfulness": f"Drop of {metric}, mean over K and seeds; a larger drop says that the importance "
        "found what the model relies on. Whiskers: 95 % intervals, paired bootstrap over samples.",
        "faithfulness-curves": "The same by K, the share of the features that is masked; mean over seeds "
        "and, for FL-I2MoE, over its experts.",
    }
    return Shown(figures, captions, (Sheet("faithfulness", caption, columns, cells),), tuple(notes))


def _alignment(tables: dict[str, Rows], dataset: str) -> Shown:
    rows, seeds = over_seeds(tables["alignment"]), seeds_of(tables["alignment"])
    names = {"sii": "SII", "redundancy_gap": "redundancy gap"}
    shown = [row for row in rows if row["expert"] == OF_PAPER.get(row["score"])]
    digits = {"sii": 5, "redundancy_gap": 4}
    cells = tuple(
        (
            f"{names[row['score']]}, {row['expert']} expert",
            row["bin"],
            f"{row['top']} %",
            Amount(row["mean"], row["low"], row["high"], digits=digits[row["score"]]),
            *_seed_spread(1, row["std"], len(seeds) > 1, digits[row["score"]]),
            Amount(row["stderr"], digits=digits[row["score"]]),
            Amount(row["pairs"], digits=0),
            Amount(row["samples"], digits=0),
        )
        for row in shown
    )
    caption = (
        f"Mean score of the top q per cent of the pairs within each importance bin, {_said(seeds)} (95 % "
        "intervals, bootstrap over samples); s.e.: mean standard error of the bin's pairs"
    )
    columns = (
        *("score", "features", "top q", "mean", *_seed_head(len(seeds) > 1)),
        *("s.e. of a pair", "pairs", "samples"),
    )
    notes = [
        "The mean of the largest of noisy scores is too large, in every bin alike; hold it beside the s.e."
    ]
    if dataset in PAPER_GAPS:
        notes.append(
            "The paper prints no numbers for Fig. 4; its axes reach 0.004 (SII) and "
            f"{PAPER_GAPS[dataset]} (gap)."
        )
    text = (
        "Mean score of the top q per cent of the pairs, by how important the pair's features are to the "
        f"expert; {_said(seeds)}. Whiskers: 95 % intervals, bootstrap over samples."
    )
    sheet = Sheet("alignment", caption, columns, cells)
    return Shown({"alignment": draw.alignment(shown)}, {"alignment": text}, (sheet,), tuple(notes))


def _pair_masking(tables: dict[str, Rows], dataset: str) -> Shown:
    rows, seeds = over_seeds(tables["pair-masking"]), seeds_of(tables["pair-masking"])
    shares = sorted({row["share"] for row in rows})
    in_paper = any(row["paper"] is not None for row in rows)
    key = ("expert", "score", "share")
    more = {
        (*(d[k] for k in key), d["against"]): _percent(d, "more", digits=2, signed=True)
        for d in tables.get("differences", [])
    }
    cells = tuple(
        (
            f"{draw.SCORE_LABELS.get(row['score'], row['score'])}, {expert_label(row['expert'])} expert",
            "" if row["masking"] == "original" else f"{row['share']} %",
            row["masking"],
            _percent(row, "value"),
            *([_percent(row, "paper", digits=2)] if in_paper else []),
            Amount(None) if row["masking"] == "original" else _percent(row, "drop", digits=2),
            *_seed_spread(100, None if row["masking"] == "original" else row["drop_std"], len(seeds) > 1, 2),
            *([more.get((*(row[k] for k in key), row["masking"]), Amount(None))] if more else []),
            Amount(row["pairs"], digits=1),
            Amount(row["features"], digits=1),
        )
        for row in rows
        if row["masking"] != "original" or row["share"] == shares[0]
    )
    metric = METRIC_LABELS.get(rows[0]["metric"], rows[0]["metric"])
    columns = (
        "pairs of",
        "K",
        "masked",
        metric,
        *(["paper"] if in_paper else []),
        "drop",
        *_seed_head(len(seeds) > 1),
        *(["ranked pairs more"] if more else []),
        "pairs",
        "zeroed",
    )
    caption = (
        f"{metric} in per cent and its drop in points after masking K per cent of the cross-modal pairs "
        f"among the top 10 % features, {_said(seeds)} (95 % intervals, paired bootstrap over samples); pairs "
        "and zeroed features: means over samples"
        + (
            "; ranked pairs more: by how much ranked pairs hurt more than this baseline, paired"
            if more
            else ""
        )
    )
    notes = [
        "Ranked pairs share features, so at the same number of pairs they zero fewer than random ones: "
        "“random pairs, as many features” is the fair comparison."
    ]
    sheet = Sheet("pair-masking", caption, columns, cells)
    text = (
        f"Drop of {metric} with K per cent of the pairs masked, {_said(seeds)}. Whiskers: 95 % intervals, "
        "paired bootstrap over samples."
    )
    text += " White diamonds: the paper's." if in_paper else ""
    return Shown({"pair-masking": draw.pair_masking(rows)}, {"pair-masking": text}, (sheet,), tuple(notes))


def _robustness(tables: dict[str, Rows], dataset: str) -> Shown:
    rows = tables["robustness"]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    noise = sorted({row["level"] for row in rows if row["disturbance"] != "missing"})
    places = [*(("noise", level) for level in noise), ("missing", None)]
    found: dict[tuple, dict[tuple, list[float]]] = {}
    for row in rows:
        if row["disturbance"] == "missing" and not row["level"]:
            continue  # undisturbed, as without noise
        key = (row["kind"], row["modality"], row["quantity"], row["expert"] or "", row["score"] or "")
        place = ("missing", None) if row["disturbance"] == "missing" else ("noise", row["level"])
        found.setdefault(key, {}).setdefault(place, []).append(row["value"])
    cells = tuple(
        (
            f"{KINDS.get(kind, kind)}, {modality}",
            METRIC_LABELS.get(quantity) or draw.DISTURBED.get(quantity, quantity),
            expert_label(expert) + (f", {draw.SCORE_LABELS.get(score, score)}" if score else ""),
            *(Amount(_mean(values.get(place, [])), digits=3) for place in places),
        )
        for (kind, modality, quantity, expert, score), values in sorted(found.items(), key=lambda x: x[0][:2])
    )
    caption = (
        "Scores, expert weights and rankings of pairs when one modality is disturbed, mean over seeds; "
        "intervals are in the figure and the CSV"
    )
    columns = ("disturbed", "quantity", "expert", *(f"noise {level:g}" for level in noise), "missing")
    figures = {
        "robustness" if len(kinds) == 1 else f"robustness-{kind}": draw.robustness(
            [row for row in rows if row["kind"] == kind], KINDS.get(kind, kind)
        )
        for kind in kinds
    }
    text = (
        "One modality disturbed at a time. Rank correlation: Spearman's, of the pairs' scores with the "
        "undisturbed ones; top pairs kept: the part of the strongest tenth that stays in it. Whiskers: 95 % "
        "intervals, bootstrap over samples."
    )
    captions = {name: f"{KINDS.get(kind, kind)}. {text}" for name, kind in zip(figures, kinds, strict=True)}
    return Shown(figures, captions, (Sheet("robustness", caption, columns, cells),), (NOISE_NOTE,))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _planted(tables: dict[str, Rows], dataset: str) -> Shown:
    pairs, seeds = over_seeds(tables["planted"]), seeds_of(tables["planted"])
    measures = list(dict.fromkeys(row["measure"] for row in pairs))
    keys = dict.fromkeys((row["interaction"], row["expert"], row["method"]) for row in pairs)
    by_key = {(row["interaction"], row["expert"], row["method"], row["measure"]): row for row in pairs}
    of_seeds = _by_seed(tables["planted"], measures[0], seeds)
    cells = []
    for interaction, expert, method in keys:
        found = [by_key.get((interaction, expert, method, measure), {}) for measure in measures]
        amounts = [Amount(row.get("value"), row.get("low"), row.get("high"), digits=3) for row in found]
        cells.append(
            (
                interaction.replace("_", " "),
                expert_label(expert or ""),
                draw.PLANTED_LABELS.get(method, method),
                amounts[0],
                *([of_seeds.get((interaction, expert, method), "–")] if len(seeds) > 1 else []),
                Amount(found[0].get("chance"), digits=3),
                *amounts[1:],
            )
        )
    labels = [measure.replace("_", " ").replace("auroc", "AUROC") for measure in measures]
    of_first = [*(["by seed"] if len(seeds) > 1 else []), "chance"]
    columns = ("planted", "expert", "scored by", labels[0], *of_first, *labels[1:])
    caption = (
        f"How well each score finds the true pairs, {_said(seeds)} (95 % intervals); chance: {labels[0]} of "
        "random scores"
    )
    sheets = [Sheet("planted", caption, columns, tuple(cells))]
    experts = over_seeds(tables["planted-experts"])
    kinds = list(dict.fromkeys(row["interaction"] for row in experts))
    by_expert = {(row["quantity"], row["expert"], row["interaction"]): row for row in experts}
    lines = []
    quantities = list(dict.fromkeys(row["quantity"] for row in experts))
    names = dict.fromkeys(row["expert"] for row in experts)
    for quantity, expert in ((q, e) for q in quantities for e in names):
        found = [by_expert.get((quantity, expert, kind), {}) for kind in kinds]
        if any(row.get("value") is not None for row in found):
            amounts = (Amount(row.get("value"), row.get("low"), row.get("high")) for row in found)
            lines.append((draw.quantity_label(quantity), expert_label(expert or ""), *amounts))
    caption = f"Does each expert do what its name says? By planted kind of interaction, {_said(seeds)}"
    sheets.append(
        Sheet(
            "planted-experts",
            caption,
            ("quantity", "expert", *((k or "all").replace("_", " ") for k in kinds)),
            tuple(lines),
        )
    )
    figures = {"planted": draw.planted(pairs), "planted-experts": draw.planted_experts(experts)}
    captions = {
        "planted": "How well each score finds the true pairs, by expert: average precision per planted kind "
        f"of interaction, {_said(seeds)}. Whiskers: 95 % intervals. Dotted lines: what random "
        "scores would have.",
        "planted-experts": "Each expert alone on the classes of each planted kind, and its weight in the "
        f"mixture, {_said(seeds)}. Shades: within a panel, from its least to its largest value.",
    }
    return Shown(figures, captions, tuple(sheets))


def _by_seed(rows: Rows, measure: str, seeds: list[int]) -> dict[tuple, str]:
    """The values of each seed, in their order, by kind, expert and method."""
    values: dict[tuple, dict[int, float]] = {}
    for row in rows:
        if row["measure"] == measure and row["seed"] is not None:
            key = (row["interaction"], row["expert"], row["method"])
            values.setdefault(key, {})[row["seed"]] = row["value"]
    return {
        key: ", ".join(str(Amount(of_seed.get(seed), digits=3)) for seed in seeds)
        for key, of_seed in values.items()
    }


def _percent(row: dict[str, Any], name: str, digits: int = 1, signed: bool = False) -> Amount:
    """A fraction with its interval, if it has one, in per cent."""
    values = (row[name], row.get(f"{name}_low"), row.get(f"{name}_high"))
    return Amount(*(None if v is None else 100 * v for v in values), digits=digits, signed=signed)


def _said(seeds: list[int]) -> str:
    return seeds_said(seeds) if seeds else "one run"


def _seed_head(several: bool) -> list[str]:
    """The head of a column for how far seeds lie apart, where there are several."""
    return ["s.d. over seeds"] if several else []


def _seed_spread(scale: float, deviation: float | None, several: bool, digits: int) -> list[Cell]:
    """Its cell."""
    return [Amount(None if deviation is None else scale * deviation, digits=digits)] if several else []


PROTOCOLS = (
    Protocol(
        "comparison",
        "Comparison",
        "Table 2, §5.1",
        "Does looking at tokens and patches instead of pooled vectors cost accuracy?",
        {"comparison": COMPARISON},
        _comparison,
    ),
    Protocol(
        "faithfulness",
        "Faithfulness",
        "Fig. 3, §4.2",
        "Does masking what an attribution calls important hurt more than masking anything else?",
        {"faithfulness": FAITHFULNESS, "faithfulness-summary": FAITHFULNESS_SUMMARY},
        _faithfulness,
    ),
    Protocol(
        "alignment",
        "Alignment",
        "Fig. 4, §4.3",
        "Are the pairs that interact most those of important features?",
        {"alignment": ALIGNMENT},
        _alignment,
    ),
    Protocol(
        "pair-masking",
        "Pair masking",
        "Table 1, §4.4",
        "Does masking the pairs that interact most hurt more than masking random pairs?",
        {"pair-masking": PAIR_MASKING},
        _pair_masking,
    ),
    Protocol(
        "robustness",
        "Robustness",
        "future work of the paper, §6",
        "What becomes of scores, expert weights and rankings of pairs when a modality is noisy or missing?",
        {"robustness": ROBUSTNESS},
        _robustness,
    ),
    Protocol(
        "planted",
        "Planted interactions",
        "beyond the paper",
        "Where the interactions are known: are they found, and does each expert do what its name says?",
        {"planted": PLANTED, "planted-experts": PLANTED_EXPERTS},
        _planted,
    ),
)
