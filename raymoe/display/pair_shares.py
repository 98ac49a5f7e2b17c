"""Is it a pair at all? In words: of whom the differences between a sample's pairs are."""

from __future__ import annotations

from raymoe.interactions.two_way import Shares

KINDS = {"text": ("word", "words"), "image": ("patch", "patches")}


def said_of(found: Shares | None, first: tuple[str, str], second: tuple[str, str]) -> str:
    """A sentence on one sample's pairs.

    Args:
        found: None where nothing is a pair's own.
        first, second: what the members of the pairs are, in the singular and in the plural.
    """
    if found is None:
        return (
            f"What is a pair's own can't be told here: it takes pairs of at least two {first[1]} with at "
            f"least two {second[1]} each."
        )
    if not found.total:
        return "All pairs of this sample have the same SII."
    parts = ((found.first, first[1], second[0]), (found.second, second[1], first[0]))
    shares = f"{_percent(found.first, found)} of the differences between pairs are the {first[1]}', "
    shares += f"{_percent(found.second, found)} the {second[1]}'"
    if not found.above_noise:
        _, leading, partner = max(parts)
        said = f"These {leading} matter with any {partner}: what is a pair's own is not above noise."
        return f"{said} {shares}."
    noise = f" ({_percent(found.noise, found)} noise)" if found.noise > 0 else ""
    return f"{shares}, {_percent(found.own, found)} the pairs' own{noise}."


def _percent(part: float, found: Shares) -> str:
    return f"{100 * max(part, 0) / found.total:.0f} %"
