"""How soon a report can be used: as it is, and blown up to as many and as large samples as a page may hold.

    python benchmarks/page.py runs/demo/runs/fl-i2moe-seed0/report/index.html [--samples 1000] [--rounds 7]

Seconds from the start of the navigation until the explorer shows its first sample (``ready``) and until the
load event (``load``), from a file on disk, each in a new tab of a real Chromium. A blown-up page repeats the
samples of the page; in the largest each has 195 kB of padding, as pictures would be.

Needs playwright and Chromium or Chrome on the PATH.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from machine import machine_line
from playwright.sync_api import sync_playwright

SAMPLE = re.compile(r'<script type="application/json" id="sample-data-\d+">(.*?)</script>', re.DOTALL)
INDEX = re.compile(r'(id="index-data">)(.*?)(</script>)', re.DOTALL)
LARGEST = 195_000  # characters of a sample, report/sheets' limit less what surrounds it
TIMES = """[performance.getEntriesByName('explorer-ready')[0].startTime / 1000,
            performance.getEntriesByType('navigation')[0].loadEventEnd / 1000]"""


def main() -> None:
    """Print a line per page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path, help="index.html of a report")
    parser.add_argument("--samples", type=int, default=1000, help="of the blown-up pages")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    html = arguments.page.read_text()
    if len(SAMPLE.findall(html)) < 2:
        parser.error(f"{arguments.page} is no report with several samples")
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = {"as it is": arguments.page.absolute()}
        for name, size in ((f"{arguments.samples:,} samples", 0), ("the same, 195 kB each", LARGEST)):
            pages[name] = Path(folder, f"{size}.html")
            pages[name].write_text(blown_up(html, arguments.samples, size))
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, path in pages.items():
            ready, load = zip(*(opened(browser, path) for _ in range(arguments.rounds)), strict=True)
            megabytes = path.stat().st_size / 1e6
            print(f"{name}, {megabytes:.1f} MB: ready {spread(ready)}, load {spread(load)}", flush=True)


def blown_up(html: str, count: int, size: int) -> str:
    """The page with ``count`` samples of at least ``size`` characters each."""
    found = list(SAMPLE.finditer(html))

    def sample(at: int) -> str:
        data = found[at % len(found)][1]
        padding = f'{{"padding":"{"A" * (size - len(data))}",' if size > len(data) else "{"
        return f'<script type="application/json" id="sample-data-{at}">{padding}{data[1:]}</script>'

    first, second, last = found[0], found[1], found[-1]  # the first stands before the charts
    rest = "\n".join(map(sample, range(1, count)))
    html = html[: first.start()] + sample(0) + html[first.end() : second.start()] + rest + html[last.end() :]
    index = json.loads(INDEX.search(html)[2])
    index["samples"] = [index["samples"][at % len(found)] for at in range(count)]
    text = json.dumps(index).replace("<", "\\u003c")
    return INDEX.sub(lambda match: match[1] + text + match[3], html, count=1)


def opened(browser: Any, path: Path) -> tuple[float, float]:
    """Seconds until ready and until loaded."""
    page = browser.new_page()
    page.goto(path.as_uri(), timeout=60_000)
    page.locator("html.loaded").wait_for()
    found = page.evaluate(TIMES)
    page.close()
    return found


def spread(seconds: tuple[float, ...]) -> str:
    """Median and range."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


if __name__ == "__main__":
    main()
