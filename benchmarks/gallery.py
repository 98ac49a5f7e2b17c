"""The pictures of the gallery: a report as a reader sees it, in a real browser.

    python benchmarks/gallery.py runs/demo/runs/fl-i2moe-seed0/report/index.html [--to docs/gallery]

Needs playwright and Chromium or Chrome on the PATH. Pictures above 150 kB are reduced to fewer colours.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

LARGEST = 150_000  # bytes
SCENES: dict[str, tuple[dict[str, Any], Callable[[Any], bytes]]] = {
    "explorer": (
        {"color_scheme": "light", "viewport": {"width": 1180, "height": 900}},
        lambda page: page.locator("#app").screenshot(),
    ),
    "explorer-dark": (
        {"color_scheme": "dark", "viewport": {"width": 1180, "height": 900}},
        lambda page: pointed_at(page).locator("#app").screenshot(),
    ),
    "experiments": (
        {"color_scheme": "light", "viewport": {"width": 1180, "height": 900}},
        lambda page: page.locator("#experiment-faithfulness").screenshot(),
    ),
    "phone": (
        {"viewport": {"width": 400, "height": 800}, "device_scale_factor": 1.5},
        lambda page: scrolled(page, "#explorer").screenshot(),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--to", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--sample", help="what to search for in the list; by default the first sample")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (options, take) in SCENES.items():
            page = browser.new_context(**options).new_page()
            page.goto(arguments.page.resolve().as_uri())
            page.add_style_tag(content=".top { position: static !important; }")
            if arguments.sample:
                page.locator("#filter").fill(arguments.sample)
                page.wait_for_function("shown.length > 0")
                keep = "e => { const i = state.sample; e.value = ''; filterList(); choose(i); e.blur(); }"
                page.locator("#filter").evaluate(keep)
            page.wait_for_timeout(300)
            picture = reduced(take(page))
            (arguments.to / f"{name}.png").write_bytes(picture)
            print(f"{name}.png: {len(picture):,} bytes")
        browser.close()


def pointed_at(page: Any) -> Any:
    """The redundancy expert, one word in focus: its partners light up."""
    redundancy = page.locator("input[name=expert][value=redundancy]")
    if redundancy.count():
        redundancy.check(force=True)
    page.locator(".chip.linked").first.focus()
    return page


def scrolled(page: Any, selector: str) -> Any:
    """With a part of the page at the top."""
    page.locator(selector).evaluate("e => scrollTo(0, e.getBoundingClientRect().top + scrollY)")
    page.wait_for_timeout(300)
    return page


def reduced(png: bytes) -> bytes:
    """The same picture in as many colours as fit into ``LARGEST`` bytes, smaller where even few don't."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    whole = io.BytesIO()
    picture.save(whole, "PNG", optimize=True)
    if len(whole.getvalue()) <= LARGEST:
        return whole.getvalue()
    while True:
        for colors in (256, 128, 64):
            buffer = io.BytesIO()
            picture.quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=3).save(buffer, "PNG", optimize=True)
            if len(buffer.getvalue()) <= LARGEST:
                return buffer.getvalue()
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
