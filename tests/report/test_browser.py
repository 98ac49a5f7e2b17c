"""The page in a real browser: what a reader can do with it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field

import pytest

from raymoe.report.explorer import Sample

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and "RAYMOE_REQUIRE_BROWSER" not in os.environ,
        reason="no Chromium or Chrome on the PATH",
    ),
]


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page with what it complained about and asked for."""

    page: object
    samples: list[Sample]
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def pairs(self, expert: str, score: str, sample: int = 0) -> list:
        return self.samples[sample].pairs[expert][score]

    def values(self) -> list[tuple[float, float]]:
        cells = self.page.locator("#pairs td.value").all_inner_texts()
        return [tuple(float(x.replace("−", "-")) for x in text.split(" ± ")) for text in cells]

    def assert_values(self, pairs: list) -> None:
        shown = self.values()
        assert len(shown) == len(pairs)
        for (value, stderr), pair in zip(shown, pairs, strict=True):
            assert value == pytest.approx(pair.value, abs=6e-3)
            assert stderr == pytest.approx(pair.stderr, abs=6e-3)


@pytest.fixture
def open_page(chromium, finished):
    contexts = []
    name = f"{finished.project.report}/index.html"

    def open_page(**options) -> Opened:
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        opened = Opened(contexts[-1].new_page(), finished.samples)
        opened.page.on("console", lambda m: opened.complaints.append(m.text) if m.type == "error" else None)
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto("file://" + finished.project.workspace.path(name))
        return opened

    yield open_page
    for context in contexts:
        context.close()


def test_opens_without_complaints_or_requests(open_page):
    opened = open_page()
    page = opened.page
    for _ in opened.samples:
        page.keyboard.press(".")
    assert page.locator("#place").inner_text() == "1 of 6"  # once round
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [page.url]


def test_numbers_are_those_of_the_table_for_every_expert_and_score(open_page):
    opened = open_page()
    for k in range(len(opened.samples)):
        for expert in ("synergy", "redundancy"):
            opened.page.locator(f"input[name=expert][value={expert}]").check(force=True)
            for score in ("sii", "gap"):
                opened.page.locator(f"input[name=score][value={score}]").check(force=True)
                opened.assert_values(opened.pairs(expert, score, k))
        opened.page.keyboard.press(".")


def test_everything_can_be_chosen_with_the_keyboard(open_page):
    opened = open_page()
    page = opened.page
    opened.assert_values(opened.pairs("synergy", "sii"))

    page.locator("input[name=expert]:checked").focus()
    page.keyboard.press("ArrowRight")  # redundancy, with its own score
    opened.assert_values(opened.pairs("redundancy", "gap"))
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    opened.assert_values(opened.pairs("redundancy", "sii"))
    page.locator("input[name=expert]:checked").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "was not probed" in page.locator("#pairs").inner_text()
    assert page.locator("input[name=score]").first.is_disabled()

    page.locator("[role=option][aria-selected=true]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#place").inner_text() == "2 of 6"
    assert page.locator("[role=option][aria-selected=true]").get_attribute("id") == "sample-1"
    page.keyboard.press("End")
    assert page.locator("#place").inner_text() == "6 of 6"


def test_the_heat_map_is_that_of_the_chosen_expert(open_page):
    opened = open_page()
    for expert in ("unique:text", "unique:image", "synergy", "redundancy"):
        opened.page.locator(f"input[name=expert][value='{expert}']").check(force=True)
        for selector, modality in ((".cell", "image"), (".chip", "text")):
            shown = opened.page.locator(selector).evaluate_all(
                "all => all.map(e => Number(e.style.getPropertyValue('--heat')))"
            )
            assert shown == opened.samples[0].importance[expert][modality]
    before = opened.page.locator(".cell").nth(3).evaluate("e => getComputedStyle(e).backgroundColor")
    opened.page.locator("#heat").uncheck()
    after = opened.page.locator(".cell").nth(3).evaluate("e => getComputedStyle(e).backgroundColor")
    assert before != after == "rgba(0, 0, 0, 0)"


def test_a_link_for_every_pair_of_a_word_and_a_patch(open_page):
    opened = open_page()
    for k in range(len(opened.samples)):
        assert opened.page.locator("#wires path").count() == len(opened.pairs("synergy", "sii", k))
        opened.page.keyboard.press(".")
    opened.page.locator("#links").uncheck()
    assert not opened.page.locator("#wires").is_visible()


def test_a_pair_without_a_patch_is_listed_but_not_drawn(open_page):
    page = open_page().page
    drawn, listed = page.locator("#wires path").count(), page.locator("#pairs tbody tr").count()
    page.evaluate("pairsShown()[0].v = ['text', 1]; show()")
    assert page.locator("#wires path").count() == drawn - 1
    assert page.locator("#pairs tbody tr").count() == listed
    assert "1 of them" in page.locator("#pairs-note").inner_text()


def test_a_sample_without_predictions_says_so(open_page):
    opened = open_page()
    opened.page.evaluate("Object.assign(current(), {probabilities: [], weights: [], predicted: []}); show()")
    assert "not stored" in opened.page.locator("#labels").inner_text()
    assert opened.complaints == []


def test_links_end_on_their_patches(open_page):
    opened = open_page()
    ends = opened.page.evaluate(
        """() => wires.map(({pair, element}) => {
             const dot = element.querySelector("circle").getBoundingClientRect();
             const cell = spots.get(key(pair.v)).getBoundingClientRect();
             const x = dot.x + dot.width / 2, y = dot.y + dot.height / 2;
             return x >= cell.left && x <= cell.right && y >= cell.top && y <= cell.bottom;
           })"""
    )
    assert ends
    assert all(ends)


@pytest.mark.parametrize("how", ["hover", "focus"])
def test_a_word_a_patch_or_a_row_shows_its_partners(open_page, how):
    opened = open_page()
    page, pairs = opened.page, opened.pairs("synergy", "sii")

    def partners() -> set[str]:
        return set(page.locator(".partner").evaluate_all("all => all.map(e => e.dataset.spot)"))

    def point(locator) -> None:
        locator.hover() if how == "hover" else locator.focus()

    word = pairs[0].u.index
    point(page.locator(f"[data-spot='text/{word}']"))
    assert partners() == {f"image/{p.v.index}" for p in pairs if p.u.index == word}
    assert page.locator(".wire.on").count() == sum(p.u.index == word for p in pairs)
    assert page.locator("#pairs tr.on").count() == sum(p.u.index == word for p in pairs)

    patch = pairs[0].v.index
    point(page.locator(f"[data-spot='image/{patch}']"))
    assert partners() == {f"text/{p.u.index}" for p in pairs if p.v.index == patch}

    point(page.locator("#pairs tbody tr").nth(1))
    assert partners() == {f"text/{pairs[1].u.index}", f"image/{pairs[1].v.index}"}

    page.mouse.move(0, 0)
    page.locator("#filter").focus()
    assert partners() == set()


def test_arrows_move_among_words_and_patches(open_page):
    page = open_page().page
    page.locator(".cell").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.spot") == "image/6"  # five columns


def test_the_filter_keeps_what_matches(open_page):
    opened = open_page()
    opened.page.locator("#filter").fill("concert")
    assert opened.page.locator("#place").inner_text() == "1 of 1"
    assert opened.page.locator("#texts").inner_text().split()[1:4] == ["[CLS]", "piano", "play"]
    opened.page.locator("#filter").fill("nothing like it")
    assert opened.page.locator("#place").inner_text() == "no match"


def test_text_with_markup_and_from_right_to_left(open_page):
    page = open_page().page
    page.locator("#filter").fill("<script>")
    assert page.locator(".chip").nth(1).inner_text() == "<script>"
    page.locator("#filter").fill("שלום")
    boxes = [page.locator(".chip").nth(i).bounding_box()["x"] for i in (1, 2, 3)]
    assert boxes == sorted(boxes, reverse=True)


def test_a_missing_picture_has_a_placeholder_with_its_links(open_page):
    page = open_page().page
    page.locator("#filter").fill("no picture here")
    assert page.locator(".frame.missing").is_visible()
    assert page.locator("#wires path").count() > 0


def test_a_long_text_opens_on_demand(open_page):
    page = open_page().page
    page.locator("#filter").fill("word119")
    assert page.locator(".chip").count() < 122
    page.locator(".more").click()
    assert page.locator(".chip").count() == 122


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 400, "height": 850}}),
    ],
)
def test_looks(open_page, tmp_path, name, options):
    opened = open_page(**options)
    opened.page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    luminance = opened.page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (sum(luminance) < 200) == (name == "dark")
