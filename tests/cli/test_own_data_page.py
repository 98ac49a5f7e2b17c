"""docs/own-data.md: its example is what comes out, every field is named, its messages are what is said."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from test_init import write_description

from raymoe.config import ModalityConfig, TableData, load_preset
from raymoe.data.prepare import read_checked
from raymoe.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "own-data.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    parts = PAGE.split("```")[1::2]
    (found,) = [part.partition("\n")[2] for part in parts if part.partition("\n")[0] == language]
    return found


def test_the_example_is_what_comes_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draw.py").write_text(block("python"))
    runpy.run_path("draw.py")
    write_description("shapes/shapes.csv", "own.toml")
    session = block("")
    assert capsys.readouterr().out in session, "as the page shows it"
    written = tomllib.loads((tmp_path / "own.toml").read_text())
    shown = tomllib.loads(block("toml"))
    assert written["data"] == shown["data"]
    lines = {line.strip() for line in (tmp_path / "own.toml").read_text().splitlines()}
    for line in block("toml").splitlines():
        assert not line or line.startswith("classes") or line in lines, line
    ids, splits, labels, _ = read_checked(load_preset("own.toml").data)
    assert (len(set(ids)), set(splits)) == (60, {"train", "val", "test"})
    assert labels == [[i % 3] for i in range(60)]


@pytest.mark.parametrize("kind", [TableData, ModalityConfig])
def test_every_field_is_explained(kind):
    for name in kind.model_fields:
        assert f"`{name}`" in PAGE, name


def test_every_link_leads_to_a_page():
    for target in re.findall(r"\]\(([\w.-]+\.md)\)", PAGE):
        assert (DOCS / target).is_file(), target


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            ('labels_column = "kind"', 'label_column = "kind"'),
            [],
            "data.label_column: there is no such field; the",
        ),
        (None, ["train.lr=-1"], "--set 'train.lr=-1': train.lr: Input should be greater than 0, not -1"),
    ],
)
def test_messages_are_those_that_are_said(tmp_path, change, settings, message):
    path = tmp_path / "own.toml"
    path.write_text(block("toml").replace(*change) if change else block("toml"))
    with pytest.raises(InputError) as caught:
        load_preset(str(path), settings)
    assert message in caught.value.message
    assert message in PAGE
