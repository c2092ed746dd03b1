"""The page in a real browser: it opens without a complaint, sorts, filters, shows its images; by
keyboard, and on a phone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dcbench.records import find_records, write_record
from dcbench.report.files import Report
from tests.fixed_records import SETS, fixed, sets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install playwright"
    )
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two data sets and two budgets, with one set's images and curve."""
    root = tmp_path_factory.mktemp("results")
    records = [
        *fixed(),
        *sets("dm", [(0.2, 0.22), (0.21, 0.2)], ipc=1, budget_images=10),
        *sets("random", SETS["random"], dataset="digits"),
    ]
    for number, stored in enumerate(records):
        write_record(root / f"set{number}" / "record.json", stored.record)
        if stored.record.method == "datadam":
            Image.new("RGB", (344, 344), "teal").save(root / f"set{number}" / "images.png")
            (root / f"set{number}" / "history.csv").write_text(
                "step,loss\n1,9\n2,4\n3,2\n", encoding="utf-8"
            )
    (path,) = Report(find_records(root), root, "html").write(root / "page")
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page as it opens; whatever the browser complains of, or fetches, fails the test."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            complaints.append(request.url) if request.url[:5] not in ("file:", "data:") else None
        ),
    )
    opened.goto(address)
    yield opened
    context.close()
    assert complaints == []


def rows(page: Page) -> list[str]:
    """Method and budget of each row that is seen, from the top."""
    seen = page.locator(".board-table > tbody:visible")
    names = seen.locator("th.method").all_inner_texts()
    return [
        f"{name} {ipc}"
        for name, ipc in zip(names, seen.locator("td.ipc").all_inner_texts(), strict=True)
    ]


WRITTEN = ["DM 1", "DataDAM 10", "DM 10", "Random 10", "Random 10"]


def test_it_opens_with_a_leaderboard_for_each_data_set(page: Page) -> None:
    assert page.locator("h2").all_inner_texts()[0].startswith("CIFAR-10, JPEG-75, protocol quick")
    assert rows(page) == WRITTEN
    assert page.locator("output").inner_text() == "5 of 5 rows"


def test_it_sorts_in_both_directions_and_figures_that_are_missing_come_last(page: Page) -> None:
    accuracy = page.get_by_role("button", name="Accuracy").first
    accuracy.click()
    assert rows(page)[:4] == ["DataDAM 10", "DM 10", "Random 10", "DM 1"]
    accuracy.click()
    assert rows(page)[:4] == ["DM 1", "Random 10", "DM 10", "DataDAM 10"]
    assert page.locator("th.accuracy").first.get_attribute("aria-sort") == "ascending"
    gain = page.get_by_role("button", name="Over Random").first
    for first in (["DataDAM 10", "DM 10"], ["DM 10", "DataDAM 10"]):
        gain.click()
        assert rows(page)[:2] == first
        assert set(rows(page)[2:4]) == {"DM 1", "Random 10"}  # nothing to be above
    page.get_by_label("Sort by").select_option("")
    assert rows(page) == WRITTEN


def choose(page: Page, budget: str) -> None:
    """Choose one of the tabs of budgets."""
    page.locator(".tabs label", has_text=re.compile(f"^{budget}$")).click()


def test_it_filters_by_data_set_budget_and_method(page: Page) -> None:
    choose(page, "1")
    assert rows(page) == ["DM 1"]
    page.get_by_label("Dataset").select_option("digits")
    assert rows(page) == []
    assert page.get_by_text("No row fits what you chose.").is_visible()
    choose(page, "All")
    assert rows(page) == ["Random 10"]
    assert page.locator("h2:visible").count() == 1
    page.get_by_label("Dataset").select_option("all")
    page.get_by_role("searchbox").fill("dam")
    assert rows(page) == ["DataDAM 10"]


def test_the_address_keeps_what_is_shown(page: Page, address: str) -> None:
    page.get_by_label("Dataset").select_option("cifar10")
    choose(page, "10")
    page.get_by_role("searchbox").fill("dam")
    page.get_by_label("Sort by").select_option("accuracy")
    assert page.url == f"{address}#cifar10/ipc10/method=dam/sort=accuracy"
    again = page.context.new_page()
    again.goto(page.url)
    assert rows(again) == ["DataDAM 10"]
    assert again.locator("th.accuracy").first.get_attribute("aria-sort") == "descending"
    again.goto(f"{address}#cifar10/ipc1")
    again.reload()
    assert rows(again) == ["DM 1"]
    again.close()


def test_pictures_that_find_no_room_stand_beside_the_page(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcbench.report.page.document.MOST_BYTES", 0)
    (record,) = sets("dm", SETS["dm"][:1])
    write_record(tmp_path / "record.json", record.record)
    Image.new("RGB", (344, 344), "teal").save(tmp_path / "images.png")
    address, picture = Report(find_records(tmp_path), tmp_path, "html").write(tmp_path / "page")
    assert picture.parent == tmp_path / "page" / "pictures"
    opened = browser.new_page()
    opened.goto(address.as_uri())
    opened.locator("details").evaluate_all("all => all.forEach(each => { each.open = true })")
    shown = opened.locator("button.zoom img").first
    shown.scroll_into_view_if_needed()
    opened.wait_for_function("document.querySelector('button.zoom img').complete")
    assert shown.evaluate("image => image.naturalWidth") == 344
    opened.close()


def test_a_link_of_the_contents_opens_what_is_folded(page: Page) -> None:
    assert not page.locator("#storage figure").first.is_visible()
    page.get_by_role("link", name="Storage").click()
    assert page.locator("#storage figure").first.is_visible()


def test_the_headings_of_a_table_stay_in_view(page: Page) -> None:
    page.set_viewport_size({"width": 1400, "height": 300})
    row = page.locator(".board-table > tbody:visible").nth(1)
    row.evaluate("row => scrollTo(0, scrollY + row.getBoundingClientRect().top - 100)")
    edges = "[...document.querySelectorAll('form.filters, thead th.accuracy')].map(each => each.getBoundingClientRect())"
    bar, head = page.evaluate(edges)[:2]
    assert head["top"] == pytest.approx(bar["bottom"], abs=1)


def test_a_table_and_its_papers_are_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, begins in (("CSV", "method,column,"), ("LaTeX", "\\begin{table}"), ("BibTeX", "@")):
        page.get_by_role("button", name=f"Copy {name}").first.click()
        page.get_by_role("button", name="Copied").first.wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith(begins)
        page.get_by_role("button", name=f"Copy {name}").first.wait_for()


def test_images_open_large_with_their_classes_and_close_by_key(page: Page) -> None:
    page.get_by_text("3 sets in detail").first.click()
    page.locator("button.zoom:visible").first.press("Enter")
    large = page.get_by_role("dialog")
    assert large.is_visible()
    assert large.locator("li").all_inner_texts()[:2] == ["airplane", "automobile"]
    assert large.locator("img").bounding_box()["height"] > 500  # type: ignore[index]
    page.keyboard.press("Escape")
    assert not large.is_visible()


def test_two_rows_stand_side_by_side(page: Page) -> None:
    boxes = page.locator("input.beside:visible")
    boxes.nth(1).check()
    beside = page.locator("#beside")
    assert not beside.is_visible()
    boxes.nth(3).check()
    assert beside.locator("h3").all_inner_texts() == ["DataDAM, IPC 10", "Random, IPC 10"]
    assert beside.locator(".own-axis text").first.is_visible()
    boxes.nth(2).press("Space")
    assert beside.locator("h3").all_inner_texts() == ["Random, IPC 10", "DM, IPC 10"]
    assert [box.is_checked() for box in boxes.all()] == [False, False, True, True, False]
    beside.get_by_role("button", name="Close").click()
    assert not beside.is_visible()


def test_every_dot_says_which_set_it_is_of(page: Page) -> None:
    strip = page.locator("svg.strip:visible").nth(1)
    assert strip.bounding_box()["width"] >= 200  # type: ignore[index]
    said = strip.locator("circle title").all_text_contents()
    assert said[0] == "seed 0: 44.5"
    assert len(said) == 6


def test_it_shows_images_curves_and_provenance(page: Page) -> None:
    page.get_by_text("3 sets in detail").first.click()
    image = page.locator("img:visible").first
    image.scroll_into_view_if_needed()
    page.wait_for_function(
        "image => image.complete && image.naturalWidth === 344", arg=image.element_handle()
    )
    assert page.locator("svg.curve:visible").count() == 3
    page.get_by_text("Provenance").locator("visible=true").first.click()
    assert page.get_by_text("datadam, version 1").first.is_visible()


def test_it_is_used_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the leaderboards"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.key === 'accuracy'"):
            break
    page.keyboard.press("Enter")
    assert rows(page)[0] == "DataDAM 10"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    while page.evaluate("document.activeElement.tagName") != "SUMMARY":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("article.set:visible").count() == 3


@pytest.mark.parametrize("width", [320, 390, 768, 1010, 1100, 1265, 1400])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for opened in (False, True):
        page.locator("details").evaluate_all(
            "(all, opened) => all.forEach(each => { each.open = opened })", opened
        )
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_at_the_width_of_a_phone(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 375, "height": 800})
    page.locator(".more > td > details").evaluate_all(
        "all => all.forEach(each => { each.open = true })"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    wider = "all => all.filter(each => each.getBoundingClientRect().right > 375).length"
    assert page.locator("body *:visible").evaluate_all(wider) == 0
    small = "all => all.filter(each => parseFloat(getComputedStyle(each).fontSize) < 12).length"
    assert (
        page.locator("td:visible, th:visible, p:visible, dd:visible, li:visible").evaluate_all(
            small
        )
        == 0
    )
    page.get_by_label("Sort by").select_option("accuracy")
    assert rows(page)[0] == "DataDAM 10"
    assert contrast(page) >= 4.5


def contrast(page: Page) -> float:
    """Of text and its background, as WCAG 2 defines it."""
    colours = page.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.querySelector('.board'))[name])"
    )

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted(map(luminance, colours), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_without_its_script_everything_is_there_to_read(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    assert opened.locator(".board-table > tbody").count() == 5
    assert opened.get_by_text("3 sets in detail").first.is_visible()
    context.close()


def test_the_page_needs_no_folder_of_its_own(address: str, tmp_path: Path) -> None:
    moved = tmp_path / "moved.html"
    shutil.copy(Path(address.removeprefix("file://")), moved)
    assert 'src="data:' in moved.read_text(encoding="utf-8")
    assert 'src="images' not in moved.read_text(encoding="utf-8")
