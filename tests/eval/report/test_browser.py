"""The page in a real headless Chromium: no error, plots drawn, trees opened and expanded by clicks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eval.report.html import render
from eval.runs import load_runs
from tests.eval.report.synthetic import benchmark_run
from tests.eval.report.test_html import EVIL, evil_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # Without a sandbox of its own, since containers seldom allow one; the pages are the project's own.
    # Without motion, since a click must not meet a page that still scrolls.
    options.add_argument("--force-prefers-reduced-motion")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    one = benchmark_run(folder / "one", 24, seed=1, strength=0.35)
    two = benchmark_run(folder / "two", 24, seed=2, strength=0.6, seeds=(0, 1))
    (folder / "report.html").write_text(render(load_runs([one, two])), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture
def page(chromium: Chrome, report: Path) -> Iterator[Chrome]:
    """The report, freshly loaded; afterwards its console must be empty."""
    chromium.get(report.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []


def all_of(page: Chrome, selector: str) -> list[WebElement]:
    return page.find_elements("css selector", selector)


def one(page: Chrome, selector: str) -> WebElement:
    return page.find_element("css selector", selector)


def wait(page: Chrome, condition: Callable[[Chrome], object]) -> None:
    from selenium.common.exceptions import StaleElementReferenceException as Replaced
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(page, 20, ignored_exceptions=[Replaced]).until(condition)


def open_theorem(page: Chrome, row: int) -> None:
    one(page, f"tr[data-row='{row}'] .open").click()
    wait(page, lambda p: all_of(p, "dialog[open] #detail > *"))


def proved_row(page: Chrome) -> int:
    """The theorem that took the first run the most expansions, of those that it proved."""

    def cost(row: WebElement) -> int:
        status, expansions = (row.find_element("css selector", s) for s in ("[data-status]", "[data-value]"))
        proved = status.get_attribute("data-status") == "proved"
        return int(expansions.get_attribute("data-value") or 0) if proved else -1

    rows = all_of(page, "#table tbody tr")
    return max(range(len(rows)), key=lambda i: cost(rows[i]))


def test_plots_are_drawn(page: Chrome) -> None:
    for selector, number in (("svg.cactus path.curve", 4), ("svg.stack rect", 8), ("svg.bar rect.track", 4)):
        shapes = all_of(page, selector)
        assert len(shapes) >= number, selector
        for shape in shapes:
            assert shape.rect["width"] > 0 and shape.rect["height"] > 0, selector
    curve = one(page, "svg.cactus path.curve")
    assert curve.rect["width"] > 200 and curve.rect["height"] > 100
    colours = {shape.value_of_css_property("stroke") for shape in all_of(page, "svg.cactus path.curve")}
    assert len(colours) == 2, "one colour a run"


def test_the_plot_is_read_out_under_the_pointer(page: Chrome) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(page).move_to_element_with_offset(one(page, "svg.cactus"), 200, 0).perform()
    text = one(page, ".readout").text
    assert "one: " in text and "two: " in text and "one: 0 " not in text


def test_the_filter_finds_theorems(page: Chrome) -> None:
    def shown() -> list[str]:
        rows = (row for row in all_of(page, "#table tbody tr") if row.is_displayed())
        return [row.find_element("css selector", ".open").text for row in rows]

    assert len(shown()) == 24 and one(page, "#shown").text == "24 theorems"
    one(page, "#find").send_keys("INDUCTION 1")
    assert shown() and all("induction" in name for name in shown())
    assert one(page, "#shown").text == f"{len(shown())} of 24 theorems"
    one(page, "#find").clear()
    one(page, "#find").send_keys("no such theorem")
    assert shown() == []
    one(page, "#find").clear()
    one(page, "#outcome option[value='none']").click()
    assert 0 < len(shown()) < 24


def test_the_table_is_sorted_by_a_click(page: Chrome) -> None:
    header = all_of(page, "#table thead button")[3]
    for reverse in (False, True):
        header.click()
        cells = (row.find_elements("css selector", "td")[2] for row in all_of(page, "#table tbody tr"))
        values = [float(cell.get_attribute("data-value") or 0) for cell in cells]
        assert values == sorted(values, reverse=reverse)


def test_a_click_on_a_theorem_opens_its_tree_and_a_click_on_a_node_expands_it(page: Chrome) -> None:
    open_theorem(page, proved_row(page))
    root = one(page, ".node[data-node='0']")
    assert root.rect["width"] > 40 and all_of(page, ".finish"), "the proof is shown to its end"
    assert "⊢" in one(page, ".state .goal").text
    count = len(all_of(page, ".node"))
    root.click()
    assert len(all_of(page, ".node")) == 1
    assert one(page, ".node[data-node='0']").get_attribute("aria-expanded") == "false"
    one(page, ".node[data-node='0']").click()
    assert len(all_of(page, ".node")) == count
    one(page, ".tools .all").click()
    assert len(all_of(page, ".node")) > count
    boxes = [tuple(node.rect.values()) for node in all_of(page, ".node")]
    assert len(set(boxes)) == len(boxes), "no node lies on another"


def test_a_state_shows_its_tactics_and_failures_on_demand(page: Chrome) -> None:
    open_theorem(page, proved_row(page))
    failed = one(page, ".state details")
    assert "failed tactic" in failed.text and not all_of(page, ".state .bad")[0].is_displayed()
    failed.find_element("css selector", "summary").click()
    assert all_of(page, ".state .bad")[0].is_displayed()
    one(page, ".state .tactic button").click()
    assert one(page, ".state h3").text.startswith("State ")
    assert "log-probability −" in one(page, ".state .note").text


def test_the_tree_is_walked_with_the_keyboard(page: Chrome) -> None:
    from selenium.webdriver import Keys

    def focused() -> str | None:
        return page.switch_to.active_element.get_attribute("data-node")

    open_theorem(page, proved_row(page))
    one(page, ".node[data-node='0']").click()
    assert focused() == "0"
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert one(page, ".node[data-node='0']").get_attribute("aria-expanded") == "true"
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert focused() not in ("0", None)
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert "selected" in (one(page, ".node[data-node='0']").get_attribute("class") or "")


def test_from_run_to_run_and_from_theorem_to_theorem(page: Chrome) -> None:
    row = proved_row(page)
    open_theorem(page, row)
    name = one(page, "#theorem-h").text
    all_of(page, ".tabs button")[1].click()
    wait(page, lambda p: "seed 1" in one(p, ".about").text)
    one(page, "#next").click()
    wait(page, lambda p: one(p, "#theorem-h").text != name)
    one(page, "#close").click()
    assert not all_of(page, "dialog[open]")


def test_the_page_asks_for_nothing_and_reads_well_in_the_dark(page: Chrome) -> None:
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    light = one(page, "body").value_of_css_property("background-color")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    assert one(page, "body").value_of_css_property("background-color") != light
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_from_a_run_is_taken_for_markup(chromium: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "evil.html"
    file.write_text(render(load_runs([evil_run(tmp_path / "run")])), encoding="utf-8")
    chromium.get(file.as_uri())
    open_theorem(chromium, 0)
    chromium.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert one(chromium, "#theorem-h").text == EVIL
    for selector in (".about .lean", ".state .goal", ".state .tactic", ".state .bad"):
        assert EVIL in one(chromium, selector).text, selector
    assert chromium.execute_script("return typeof hacked === 'undefined' && !document.querySelector('img')")
    assert chromium.get_log("browser") == []
