"""Which fonts a figure needs: DejaVu Sans, and for what it lacks whatever this machine has.

Figures without such characters are drawn with DejaVu Sans alone, so they are the same bytes everywhere. What
no font here can draw is said once, with what to install: a figure of empty boxes says nothing of itself.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from raymoe.runtime.characters import one_line
from raymoe.runtime.progress import console

BASE = "DejaVu Sans"
# Well drawn and widely installed; looked at before all others, in this order.
PREFERRED = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC", "Noto Sans SC"),
    *("WenQuanYi Micro Hei", "IPAexGothic", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic"),
    *(
        "Malgun Gothic",
        "Noto Sans Arabic",
        "Noto Sans Hebrew",
        "Noto Sans Devanagari",
        "Noto Sans",
        "FreeSans",
    ),
    *("Arial Unicode MS", "Noto Emoji", "Symbola", "Segoe UI Emoji", "Segoe UI Symbol", "Unifont"),
)
# Of TeX, with places of their own for letters; and those that have a box for every character.
NO_HELP = (
    "cmb10",
    "cmex10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmsy10",
    "cmtt10",
    "STIXNonUnicode",
    "Last Resort",
)
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "KANGXI")
SHOWN = 6  # characters of a script in the warning

_chosen: list[str] = []  # families beside BASE, as texts needed them
_lacking: set[str] = set()  # characters that no font here has
_said: set[str] = set()  # scripts that were warned of


def families() -> list[str]:
    """The families that are asked for a character, one after the other."""
    return [BASE, *_chosen]


def drawable(text: str) -> str:
    """Text as a figure can hold it: one line, nothing that XML forbids, nothing that is not seen anyway."""
    return "".join(c for c in one_line(text) if not _unseen(c))


def cover(texts: Iterable[str]) -> bool:
    """Find fonts for what some texts are made of; whether there are others than before.

    Warns of what can't be drawn, once for each script.
    """
    asked = {character for text in texts for character in text if not character.isspace()}
    missing = (
        asked - _base() - _lacking - {c for name in _chosen for c in _characters(name, frozenset(asked))}
    )
    if not missing:
        return False
    # It has a remark on every family without a bold face, which is drawn all the same.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    found = _search(missing)
    _chosen.extend(found)
    without = missing - {c for name in found for c in _characters(name, frozenset(missing))}
    _lacking.update(without)
    _warn(without)
    return bool(found)


def scripts_of(characters: Iterable[str]) -> dict[str, list[str]]:
    """Characters by script, as their Unicode names begin: ``arabic``, ``devanagari``, ``CJK``, ``emoji``."""
    found: dict[str, list[str]] = {}
    for character in sorted(characters):
        name = unicodedata.name(character, "unnamed").replace("-", " ").split()[0]
        if unicodedata.category(character) in ("So", "Sk") and ord(character) >= 0x1F000:
            name = "emoji"
        script = "CJK" if name in CJK else name.lower()
        found.setdefault(script, []).append(character)
    return found


def _unseen(character: str) -> bool:
    """Whether it only tells a renderer how to draw its neighbours: joiners, marks of direction, variants."""
    return (
        unicodedata.category(character) == "Cf"
        or "\ufe00" <= character <= "\ufe0f"
        or character >= "\U000e0000"
    )


def _search(missing: set[str]) -> list[str]:
    """Families that have what is missing, as few as come first."""
    found: list[str] = []
    left = set(missing)
    for name in _installed():
        if not left:
            break
        gained = _characters(name, frozenset(left))
        if gained and name not in _chosen:
            found.append(name)
            left -= gained
    return found


@lru_cache(1)
def _installed() -> tuple[str, ...]:
    """Families of outline fonts, the preferred ones first."""
    from matplotlib.font_manager import fontManager

    names = {entry.name for entry in fontManager.ttflist}
    names = {name for name in names if name != BASE and not name.startswith(NO_HELP)}
    return (*(name for name in PREFERRED if name in names), *sorted(names - set(PREFERRED)))


@lru_cache(512)
def _characters(family: str, wanted: frozenset[str]) -> frozenset[str]:
    """Those of some characters that a family's usual font has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    try:
        font = get_font(findfont(FontProperties(family=[family]), fallback_to_default=False))
    except (ValueError, RuntimeError, OSError):  # gone, damaged, or of pictures instead of outlines
        return frozenset()
    if not font.scalable:
        return frozenset()
    known = font.get_charmap()
    return frozenset(character for character in wanted if ord(character) in known)


@lru_cache(1)
def _base() -> frozenset[str]:
    """What DejaVu Sans has, as it is and in bold."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    plain, bold = (get_font(findfont(FontProperties(family=[BASE], weight=w))) for w in ("normal", "bold"))
    return frozenset(map(chr, plain.get_charmap().keys() & bold.get_charmap().keys()))


def _warn(without: set[str]) -> None:
    for script, characters in scripts_of(without).items():
        if script in _said:
            continue
        _said.add(script)
        more = f" and {len(characters) - SHOWN} more" if len(characters) > SHOWN else ""
        console.print(
            f"  warning: no font here has {script} characters ({' '.join(characters[:SHOWN])}{more}): "
            f"figures show boxes in their place. {_remedy(script)}"
        )


def _remedy(script: str) -> str:
    package = {"CJK": "fonts-noto-cjk", "emoji": "fonts-symbola"}.get(script, "fonts-noto-core")
    also = " (colour fonts can't be drawn with)" if script == "emoji" else ""
    return f"Install one, for instance: apt install {package}{also}"
