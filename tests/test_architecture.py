"""ARCHITECTURE.md is true: every stop of its walks is there, at most twelve each, and none leads back up."""

import ast
import re
from pathlib import Path

import pytest
from test_structure import LAYERS, ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
STOP = re.compile(r"^(\d+)\. `(raymoe/[\w/]+\.py)`: `(\w+)`", re.M)
WALKS = dict(re.findall(r"^\*\*(An? [^*]+)\*\*[^\n]*\n\n((?:\d+\. [^\n]+\n)+)", TEXT, re.M))
DOWN = {"An option, from command line to use"}  # from the top floor to the ground; the others climb


def test_there_are_three():
    assert [name.split(",")[0] for name in WALKS] == ["A sample", "A coalition", "An option"]


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_is_short_and_goes_one_way(walk):
    stops = STOP.findall(WALKS[walk])
    assert len(stops) == WALKS[walk].count("\n") <= 12, "every line is a stop"
    assert [int(number) for number, _, _ in stops] == list(range(1, len(stops) + 1))
    floors = [LAYERS.index(Path(place).parts[1].removesuffix(".py")) for _, place, _ in stops]
    assert floors == sorted(floors, reverse=walk in DOWN)


@pytest.mark.parametrize(("place", "name"), sorted({(place, name) for _, place, name in STOP.findall(TEXT)}))
def test_every_stop_is_there(place, name):
    body = ast.parse((ROOT / place).read_text(encoding="utf-8")).body
    defined = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in body:
        if isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert name in defined


def test_the_layers_are_those_that_are_checked():
    rows = re.findall(
        r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \| .*\|$",
        TEXT.partition("## Layers")[2].partition("## Three")[0],
        re.M,
    )
    listed = [name.strip("`") for row in rows for name in row.split(", ")]
    assert listed == list(reversed(LAYERS))
