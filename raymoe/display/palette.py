"""Colours and names that the figures and the page share, safe for colour-blind readers.

The sign of an interaction is never told by colour alone: the page also writes it and dashes the line.
"""

from __future__ import annotations

SYNERGY = "#d9730d"
REDUNDANCY = "#2a7fb8"
UNIQUE = ("#b8558d", "#4a9459", "#8c6d46", "#64748b")
POSITIVE = SYNERGY
NEGATIVE = "#7a5cc0"
DENSE = "#55708a"

# Ink of the figures; the page puts its own variables in their place, so that they follow light and dark.
INK = "#1c2630"
MUTED = "#64707c"
LINE = "#d8dde2"
INK_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"}

SCORES = {"sii": "synergy (SII)", "gap": "redundancy gap"}


def expert_colors(experts: list[str]) -> dict[str, str]:
    """A colour for each expert: fixed for synergy and redundancy, by order for the unique ones."""
    unique = [name for name in experts if name not in ("synergy", "redundancy")]
    colors = {name: UNIQUE[i % len(UNIQUE)] for i, name in enumerate(unique)}
    return {
        name: {"synergy": SYNERGY, "redundancy": REDUNDANCY}.get(name) or colors[name] for name in experts
    }


def expert_label(name: str) -> str:
    """How an expert is written: ``unique:text`` is "unique text"."""
    return name.replace(":", " ")


def default_score(expert: str) -> str:
    """The score an expert was made for."""
    return "gap" if expert == "redundancy" else "sii"
