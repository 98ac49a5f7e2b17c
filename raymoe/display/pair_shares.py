"""Is it a pair at all? Of whom the differences between a sample's pairs are, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raymoe.interactions.two_way import Shares, shares

MEMBERS = {"text": ("word", "words"), "image": ("patch", "patches")}
"""What the features of a kind of modality are, in the singular and in the plural."""
NEEDED = ("u", "v", "sii", "pair_specific", "pair_specific_stderr", "n_coalitions", "n_contrasts")
"""Columns of the interactions table that it takes."""


def shares_of(columns: Mapping[str, np.ndarray]) -> Shares | None:
    """The decomposition of one sample's and expert's pairs of two modalities.

    Args:
        columns: ``NEEDED`` of the interactions table, [p] each.

    Returns:
        None where nothing is a pair's own.
    """
    contrasts, coalitions = (int(columns[name][0]) for name in ("n_contrasts", "n_coalitions"))
    return shares(
        np.stack([columns["u"], columns["v"]], 1),
        columns["sii"],
        columns["pair_specific"],
        columns["pair_specific_stderr"].astype(np.float64),
        contrasts or max(coalitions - 1, 1),
    )


def verdict(found: Shares | None, first: tuple[str, str], second: tuple[str, str]) -> str:
    """A sentence or two on one sample's pairs.

    Args:
        found: None where nothing is a pair's own.
        first, second: what the members of the pairs are, in the singular and in the plural.
    """
    if found is None:
        return (
            f"What is a pair's own can't be told here: it takes at least two {first[1]} and two {second[1]}, "
            "each paired with several."
        )
    if not found.total:
        return "All these pairs have the same SII."
    said = (
        f"{_percent(found.first, found)} of the differences between pairs are what {first[1]} do with any "
        f"{second[0]}, {_percent(found.second, found)} what {second[1]} do with any {first[0]}"
    )
    if not found.above_noise:
        leading, partner = (first[1], second[0]) if found.first > found.second else (second[1], first[0])
        return f"These {leading} matter with any {partner}: what is a pair's own is not above noise. {said}."
    noise = f" ({_percent(found.noise, found)} noise)" if found.noise > 0 else ""
    return f"{said}, {_percent(found.own, found)} the pairs' own{noise}."


def _percent(part: float, found: Shares) -> str:
    return f"{100 * max(part, 0) / found.total:.0f} %"
