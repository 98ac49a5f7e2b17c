"""What is printed of other people's text, in terminals of any kind."""

import io
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from support.hostile import few, texts

from raymoe.runtime.characters import HANDLER, MARK, encodable, one_line, visible
from raymoe.runtime.progress import PlainConsole, console, track

ENCODINGS = ("utf-8", "ascii", "cp1252", "latin-1", "cp437", "shift_jis")


@pytest.mark.hostile
@few(100)
@given(texts(lone=True))
def test_what_acts_is_a_mark_and_all_else_stays(text):
    shown = visible(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        assert after in (before, MARK)
    ET.fromstring(f"<a><![CDATA[{shown.replace(']]>', '')}]]></a>".encode())  # an independent reader
    assert not any(c < " " and c not in "\n\t" for c in shown)
    assert one_line(text).isprintable() or not any(c in one_line(text) for c in "\n\r\t\u2028\x1b\x00")


@pytest.mark.hostile
@few(100)
@given(texts(lone=True), st.sampled_from(ENCODINGS))
def test_every_encoding_can_write_it_and_loses_nothing_that_it_has(text, encoding):
    written = encodable(text, encoding)
    assert written.encode(encoding).decode(encoding) == written
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        assert "�" not in written.encode(encoding).decode(encoding) or "�" in text or encoding == "utf-8"
    else:
        assert written == text.encode(encoding).decode(encoding)


def test_signs_of_numbers_are_not_lost():
    """A question mark for a minus would be another number."""
    assert encodable("−0.35 ± 0.02, ρ ≥ 3 × 2 → “é”…", "ascii") == '-0.35 +- 0.02, rho >= 3 x 2 -> "e"...'
    assert encodable("−1 ± 2 é", "cp1252") == "-1 ± 2 é"
    assert encodable("漢 10² ½", "ascii") == "? 10? ?"


def printed(text, encoding="utf-8", terminal=False, **options):
    """What arrives at a stream of an encoding when the project's console prints."""
    raw = io.BytesIO()
    shown = PlainConsole()
    shown.file = io.TextIOWrapper(raw, encoding, errors="strict", write_through=True)
    shown._force_terminal = terminal
    for name, value in options.items():
        setattr(shown, name, value)
    shown.print(text)
    return raw.getvalue().decode(encoding)


@pytest.mark.hostile
@few(60)
@given(texts(lone=True), st.sampled_from(ENCODINGS), st.booleans())
def test_the_console_prints_any_text_literally_wherever_it_goes(text, encoding, terminal):
    found = printed(f"<{text}>", encoding, terminal)
    obeyed = dict.fromkeys([7, 8, 11, 12, 13])  # Rich leaves these out itself
    expected = encodable(visible(f"<{text}>".translate(obeyed)), encoding)
    assert found.split() == expected.split(), "but for how lines are broken and tabs are set"
    assert "\x1b" not in found
    assert "\x9b" not in found
    assert "\x07" not in found


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_in_tables_titles_and_progress_are_no_markup(encoding, monkeypatch):
    table = Table("[bold]head", title="[red]title", caption="[/] :smile:")
    table.add_row("[red]cell[/red] [link=x] ± −")
    found = printed(table, encoding, width=40)
    for part in ("[bold]head", "[red]title", "[/] :smile:", "[red]cell[/red]", "[link=x]"):
        assert part in found
    raw = io.BytesIO()
    monkeypatch.setattr(console, "_file", io.TextIOWrapper(raw, encoding, write_through=True))
    with track("[red]class", 1) as work:
        work.advance(note="[/bold] 漢 \x1b[2J")
    assert "[red]class: 1/1" in raw.getvalue().decode(encoding)
    assert b"\x1b" not in raw.getvalue()


def test_a_terminal_of_forty_columns_that_can_do_nothing_gets_whole_lines(monkeypatch):
    raw = io.BytesIO()
    dumb = io.TextIOWrapper(raw, "ascii", write_through=True)
    monkeypatch.setattr(console, "_file", dumb)
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setitem(console._environ, "TERM", "dumb")
    monkeypatch.setattr(console, "_width", 40)
    assert not console.is_live
    with track("a long title of what is done here", 2) as work:
        work.advance(2)
    assert raw.getvalue().decode().count("\n") == 1
    assert b"\x1b" not in raw.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_the_command_ends_well_in_a_pipe_of_any_encoding(encoding, tmp_path):
    """Help, a table with signs, and an error that quotes what the pipe can't print."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding, "LANG": "C", "NO_COLOR": "1"}
    environment |= {"PYTHONPATH": ":".join(sys.path), "TERM": "dumb", "COLUMNS": "40"}

    def run(*words):
        command = [sys.executable, "-m", "raymoe", *words]
        return subprocess.run(command, env=environment, capture_output=True, cwd=tmp_path, check=False)

    listed = run("settings", "probe")
    assert listed.returncode == 0, listed.stderr
    assert b"coalitions" in listed.stdout
    assert b"\x1b" not in listed.stdout
    missing = run("prepare", "漢字\x1b[31m[red].toml")
    assert missing.returncode == 1
    assert b"Traceback" not in missing.stderr
    assert b"no such file" in missing.stderr
    assert b"[red].toml" in missing.stderr
    assert b"\x1b" not in missing.stderr


def test_the_handler_is_one_that_streams_know():
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors=HANDLER, write_through=True)
    stream.write("−1 \ud800 e\u0301")
    assert stream.buffer.getvalue() == b"-1 ? e"
    assert isinstance(console, Console)
