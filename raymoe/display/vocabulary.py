"""What models, scores, metrics, experts and methods are called, and their colours: the same everywhere.

Tables, figures, the page and the terminal all take their words from here. The colours are safe for
colour-blind readers, and the sign of an interaction is never told by colour alone: the page also writes it
and dashes the line.
"""

from __future__ import annotations

from collections.abc import Sequence

from raymoe.catalogue import MIXTURE

# Kinds of model (model.kind), in the order of the paper's Table 2.
MODELS = {"i2moe": "I2MoE", "dense": "Dense", "fl-i2moe": "FL-I2MoE"}
METRICS = {"micro_f1": "micro F1", "macro_f1": "macro F1", "accuracy": "accuracy"}
# Scores of a pair, by their columns in the table of interactions.
SCORES = {
    "sii": "SII",
    "pair_specific": "pair-specific SII",
    "synergy": "synergy",
    "redundancy": "redundancy",
    "antagonism": "antagonism",
    "substitutability": "substitutability",
    "redundancy_against": "redundancy against",
    "redundancy_gap": "redundancy gap",
}
SIGNED = ("sii", "pair_specific")  # of these the sign says something: it is always written
# The same where they stand beside each other: which is whose.
SCORE_TITLES = SCORES | {"redundancy_gap": "redundancy gap (the paper's)"}
# Those that experiments compare: what every pair has, in the units of a logit.
COMPARED = ("sii", "synergy", "redundancy", "antagonism", "redundancy_gap")
OF_PAPER = {"sii": "synergy", "redundancy_gap": "redundancy"}  # whose score the paper shows
ATTRIBUTIONS = {  # methods of attribution (attribute.method)
    "random": "Random",
    "attnroll": "AttnRoll",
    "ig": "IG",
    "grad_attnroll": "Grad x AttnRoll",
}
RANKED_BY = {  # what planted pairs are ranked by
    "random": "random",
    "sii": "SII",
    "pair_specific": "pair-specific SII",
    "-sii": "−SII",
    "synergy": "synergy",
    "redundancy": "redundancy",
    "antagonism": "antagonism",
    "redundancy_gap": "redundancy gap",
    "product": "product of attributions",
    "attention": "attention",
}
ALL_EXPERTS = "all experts"  # the mean of the experts' figures
EXPERTS_TOGETHER = "experts together"  # figures of one importance that all experts make up

SYNERGY = "#d9730d"
REDUNDANCY = "#2a7fb8"
UNIQUE = ("#b8558d", "#4a9459", "#8c6d46", "#64748b")
NEGATIVE = "#7a5cc0"
DENSE = "#55708a"
PALE = "#b8bfc6"  # chance
PLAIN = "#aab3bc"  # what stands beside that which is looked at
GREY = "#8894a0"
SHADES = ("#f3f5f7", "#31688e")  # of a map's smallest and largest values
SERIES = (SYNERGY, REDUNDANCY, UNIQUE[1], UNIQUE[0], NEGATIVE, GREY, UNIQUE[2])
MODEL_COLORS = {"fl-i2moe": SYNERGY, "dense": DENSE, "i2moe": UNIQUE[1]}

# Ink of the figures; the page puts its own variables in their place, so that they follow light and dark.
INK = "#1c2630"
MUTED = "#64707c"
LINE = "#d8dde2"
UNSEEN = "#7e848a"  # over the part of a picture that no encoder saw
INK_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"}


def model_label(kind: str) -> str:
    """How a kind of model is written."""
    return MODELS.get(kind, kind)


def metric_label(metric: str) -> str:
    """How a metric is written."""
    return METRICS.get(metric, metric)


def score_label(score: str) -> str:
    """How a score of pairs is written."""
    return SCORES.get(score, score)


def index_note(index: str, inclusion: float) -> str:
    """What has to be known where contexts are not those of the Shapley Interaction Index; else nothing."""
    if index == "sii":
        return ""
    return (
        "SII stands for the Banzhaf interaction here: every feature is in a context independently, with "
        f"probability {inclusion:g}."
    )


def attribution_label(method: str) -> str:
    """How a method of attribution is written."""
    return ATTRIBUTIONS.get(method, method)


def ranking_label(method: str) -> str:
    """How that which planted pairs are ranked by is written."""
    return RANKED_BY.get(method, method)


def score_columns(score: str) -> tuple[str, str]:
    """A score's columns in the table of interactions: its values and their standard errors."""
    return score, f"{score}_stderr"


def expert_label(name: str) -> str:
    """How an expert is written: ``unique:text`` is "unique text"."""
    return name.replace(":", " ")


def expert_title(name: str) -> str:
    """The same where it must be said what it is: "synergy expert", but "mixture"."""
    return name if name == MIXTURE else f"{expert_label(name)} expert"


def expert_colors(experts: Sequence[str]) -> dict[str, str]:
    """A colour for each expert: by order for the unique ones, fixed for the others and the mixture."""
    fixed = {"synergy": SYNERGY, "redundancy": REDUNDANCY, MIXTURE: DENSE}
    unique = [name for name in experts if name not in fixed]
    colors = {name: UNIQUE[i % len(UNIQUE)] for i, name in enumerate(unique)}
    return {name: fixed.get(name) or colors[name] for name in experts}


def default_score(expert: str) -> str:
    """The score that an expert was made for."""
    return "redundancy" if expert == "redundancy" else "sii"
