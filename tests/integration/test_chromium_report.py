"""The report as a person meets it: in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from results_directory import METER, WASHER, account_of, activity, dead_letter, house, late_event, write_results
from thingbeam.pipelines.report import write_report

DRIVER = "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, NARROW, SMALL = (1280, 900), (390, 844), (360, 740)
ATTACK = "<script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
LONG = "samsungce.washerOperatingStateOfTheSecondMachine"


def missing(reason: str) -> None:
    """No browser: in CI a failure, elsewhere a reason to skip."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Browser:
    """Chromium, with what was said of the page that it shows."""

    driver: webdriver.Chrome

    def open(self, path: Path, size: tuple[int, int] = WIDE, scheme: str = "light") -> None:
        """Show a page in a window of this size, as a phone where it is narrow, once all figures are drawn."""
        self.driver.get("about:blank")
        self.logs("performance"), self.logs("browser")
        phone = size[0] < 600
        self.command(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=phone
        )
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.prefer(scheme)
        self.driver.get(path.as_uri())
        self.settle()

    def prefer(self, scheme: str) -> None:
        """Make the reader one who prefers light or dark."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def settle(self) -> None:
        """Wait until nothing is left to draw."""
        time.sleep(0.15)  # A resize is taken up after 80 ms.
        WebDriverWait(self.driver, 60).until(lambda _: self.ask("document.documentElement.dataset.ready") == "yes")

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def ask(self, expression: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {expression}", *arguments)

    def logs(self, kind: str) -> list[Any]:
        return list(self.driver.get_log(kind))  # type: ignore[no-untyped-call]

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def requests(self) -> list[str]:
        """The addresses asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
    if binary is None or not Path(DRIVER).exists():
        missing("needs Chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(binary)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    except WebDriverException as error:
        missing(f"Chromium does not start: {error.msg}")
        raise
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports: of a house, of one with hostile names, of many devices over the end of summer time, of nothing."""
    found = {}

    def add(name: str, records: dict[str, list[Any]], names: dict[str, str] | None = None, **more: Any) -> None:
        directory = write_results(tmp_path_factory.mktemp(name), records, account_of(records, **more))
        found[name] = Path(write_report(directory, names=names))

    records = house(12)
    records["dead-letters"] = [dead_letter(ATTACK.encode() * 5, error="long" * 60)] * 5
    records["late"] = [late_event(METER, 1175400000)]
    add("house", records, {WASHER: "Washing machine in the cellar"})
    hostile = house(2)
    for kind in ("activities", "usage", "sessions"):
        hostile[kind] = [row._replace(device_id=ATTACK) for row in hostile[kind] if row.device_id == WASHER]
    hostile["activities"] = [row._replace(capability=ATTACK, closed_by=ATTACK) for row in hostile["activities"]]
    hostile["usage"] = [
        row._replace(unit=ATTACK, seconds_in_state={ATTACK: 1800.0, "on": 9.0}) for row in hostile["usage"]
    ]
    hostile["dead-letters"] = [dead_letter(ATTACK.encode(), ATTACK, error=ATTACK, source=ATTACK)]
    add("hostile", hostile, {ATTACK: ATTACK}, input=ATTACK)
    autumn = house(3, "2007-10-27T00:00:00+02:00")
    start = 1193436000  # 2007-10-27 00:00 in Paris
    for n in range(40):
        device = f"device-{n:02}"
        autumn["activities"].append(activity(device, start + 3600 * n, start + 3600 * n + 1800, capability=LONG))
        autumn["usage"] += [row._replace(device_id=device) for row in autumn["usage"][:72] if row.role == "measurement"]
    add("autumn", autumn)
    add("nothing", {})
    return found


@pytest.mark.parametrize("name", ["house", "hostile", "autumn", "nothing"])
@pytest.mark.parametrize("size", [WIDE, NARROW, SMALL], ids=["wide", "narrow", "small"])
def test_a_page_asks_for_nothing_complains_of_nothing_and_fits(
    browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    path = pages[name]
    if name == "nothing":
        browser.driver.get(path.as_uri())
        assert "Nothing to show" in browser.one("main").text
        browser.command(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=900, deviceScaleFactor=1, mobile=True
        )
    else:
        browser.open(path, size)
        outside = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
        assert outside == [path.as_uri()]
        assert [entry["message"] for entry in browser.logs("browser")] == []
        assert len(browser.all(".main-svg")) > 0
        assert browser.ask("window.broken") is None
    browser.driver.execute_script("for (const some of document.querySelectorAll('details')) some.open = true")
    assert browser.ask("innerWidth") == size[0]
    assert browser.ask("document.scrollingElement.scrollWidth") <= size[0]


def test_the_policy_forbids_what_the_page_does_not_need(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"])
    for attempt in (
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)",
        "document.body.insertAdjacentHTML('beforeend', '<b id=evil onclick=\"window.ran = 1\">x</b>'); evil.click()",
        "const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'",
        "fetch('http://127.0.0.1:9/').catch(() => 0)",
    ):
        browser.driver.execute_script(attempt)
    time.sleep(0.3)
    assert browser.ask("window.ran") is None
    refusals = [entry["message"] for entry in browser.logs("browser")]
    assert sum("Content Security Policy" in text for text in refusals) >= 4, refusals


def luminance(colour: str) -> float:
    """How bright a CSS rgb() or #rrggbb is, 0 to 1."""
    if colour.startswith("#"):
        channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    else:
        channels = [int(float(part)) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(weight * channel / 255 for weight, channel in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


LOOK = """(() => {
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  const fills = (selector) => [...document.querySelectorAll(selector)].map((e) => getComputedStyle(e).fill);
  return {
    ground: style('body').backgroundColor, card: style('section.card').backgroundColor, text: style('body').color,
    ticks: fills('.xtick text'), names: fills('.annotation-text'), legends: fills('.legendtext'),
    bars: fills('.bars .point path'), paper: fills('.main-svg .bglayer .bg'),
  };
})()"""


def check_look(look: dict[str, Any], dark: bool) -> None:
    for name in ("ground", "card"):
        assert (luminance(look[name]) < 0.2) is dark, name
    for name in ("text", "ticks", "names", "legends"):
        values = [look[name]] if isinstance(look[name], str) else look[name]
        assert values, name
        for colour in values:
            assert (luminance(colour) > 0.5) is dark, (name, colour)
    assert set(look["paper"]) <= {"rgba(0, 0, 0, 0)", "rgb(0, 0, 0)"}
    assert luminance(look["bars"][0]) > 0.5 if dark else luminance(look["bars"][0]) < 0.5


def test_figures_follow_the_readers_scheme_both_ways(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"], scheme="dark")
    check_look(browser.ask(LOOK), dark=True)
    for scheme in ("light", "dark", "light"):
        browser.prefer(scheme)
        browser.settle()
        check_look(browser.ask(LOOK), dark=scheme == "dark")


def test_figures_are_as_wide_as_their_place_after_a_resize(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"])
    for width in (1280, 800, 390, 1100):
        browser.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        browser.settle()
        sizes = browser.ask("[...document.querySelectorAll('.plot')].map((p) => [p.clientWidth, p._fullLayout.width])")
        assert all(place == drawn > 250 for place, drawn in sizes), (width, sizes)
        assert browser.ask("document.scrollingElement.scrollWidth") <= width


OVERLAPS = """(() => {
  const found = [];
  for (const plot of document.querySelectorAll('.plot')) {
    if (!plot.clientWidth) continue;
    const outer = plot.getBoundingClientRect();
    for (const selector of ['.xtick text', '.ytick text', '.annotation-text', '.legendtext']) {
      const drawn = [...plot.querySelectorAll(selector)].filter((e) => getComputedStyle(e).display !== 'none');
      const boxes = drawn.map((e) => [e.textContent, e.getBoundingClientRect()]);
      for (const [text, box] of boxes) {
        if (box.left < outer.left - 1 || box.right > outer.right + 1 || box.bottom > outer.bottom + 1
            || box.top < outer.top - 1) found.push(['cut', plot.id, selector, text]);
        for (const [other, far] of boxes) {
          if (box !== far && box.left < far.right - 1 && far.left < box.right - 1
              && box.top < far.bottom - 3 && far.top < box.bottom - 3) found.push(['meet', plot.id, text, other]);
        }
      }
    }
  }
  return found;
})()"""


@pytest.mark.parametrize("name", ["house", "autumn"])
@pytest.mark.parametrize("size", [WIDE, NARROW, SMALL], ids=["wide", "narrow", "small"])
def test_no_label_is_cut_or_lies_on_another(
    browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    browser.open(pages[name], size)
    assert browser.ask(OVERLAPS) == []
    press(browser, "Day")
    assert browser.ask(OVERLAPS) == []


def press(browser: Browser, text: str) -> None:
    """Press a button of the first bar by its text or its name."""
    for button in browser.all("#activities [data-range-bar] button"):
        if text in (button.text, button.get_attribute("aria-label")):
            browser.driver.execute_script("arguments[0].click()", button)
            browser.settle()
            return
    pytest.fail(f"no button {text!r}")


def shown(browser: Browser) -> str:
    text: str = browser.ask("document.querySelector('[data-range-bar] output').textContent")
    return text


def test_the_time_shown_is_chosen_for_all_figures_of_time(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"])
    assert shown(browser) == "1 Apr 2007, 00:00 – 13 Apr 2007, 00:00"
    assert [b.text for b in browser.all("#activities button")] == ["All", "Week", "Day", "‹", "›"]
    press(browser, "Day")
    press(browser, "Later")
    assert shown(browser) == "2 Apr 2007, 00:00 – 3 Apr 2007, 00:00"
    ranges = browser.ask(
        "[...document.querySelectorAll(\"[data-axis='time']\")].map((p) => p._fullLayout.xaxis.range.map(String))"
    )
    assert ranges == [["2007-04-01 22:00", "2007-04-02 22:00"]] * 2
    ticks = [e.text for e in browser.all("#plot-1 .xtick text")]
    assert ticks[0] == "00:002 Apr"  # On two lines.
    assert "12:00" in ticks
    assert browser.one("#usage [data-length='86400000']").get_attribute("aria-pressed") == "true"
    press(browser, "All")
    assert shown(browser) == "1 Apr 2007, 00:00 – 13 Apr 2007, 00:00"


def test_a_phone_begins_with_the_last_week(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"], NARROW)
    assert shown(browser) == "6 Apr 2007, 00:00 – 13 Apr 2007, 00:00"


def test_clocks_that_go_back_make_a_day_of_25_hours(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["autumn"])
    positions = browser.ask(
        "(() => { const a = document.getElementById('plot-1')._fullLayout.xaxis;"
        " return a.tickvals.map((v, i) => [v, a.ticktext[i]]); })()"
    )
    midnights = {text.split("<br>")[1]: at for at, text in positions if text.startswith("00:00")}
    hours = {
        day: (midnights[after] - midnights[day]) / 3.6e6 for day, after in (("27 Oct", "28 Oct"), ("28 Oct", "29 Oct"))
    }
    assert hours == {"27 Oct": 24, "28 Oct": 25}
    noons = [at for at, text in positions if text.startswith("12:00")]
    assert (noons[1] - midnights["28 Oct"]) / 3.6e6 == 13
    assert shown(browser) == "27 Oct 2007, 00:00 – 29 Oct 2007, 23:00"
    press(browser, "Day")
    press(browser, "Later")
    assert shown(browser) == "28 Oct 2007, 00:00 – 29 Oct 2007, 00:00"
    first, last = browser.ask("document.getElementById('plot-1').layout.xaxis.range")
    assert (last - first) / 3.6e6 == 25
    assert browser.one("#activities [data-length='86400000']").get_attribute("aria-pressed") == "true"


def hover_text(browser: Browser) -> str:
    WebDriverWait(browser.driver, 5).until(lambda _: browser.all(".hoverlayer .hovertext"))
    return " ".join(e.text for e in browser.all(".hoverlayer text"))


def test_pointing_tells_local_times_and_values(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"])
    press(browser, "Day")
    ActionChains(browser.driver).move_to_element(first_seen(browser, "#plot-1 .point path")).perform()
    text = hover_text(browser)
    assert "from Sun 1 Apr 2007, 07:30:00 (UTC+2)" in text
    assert "to Sun 1 Apr 2007, 09:00:00 (UTC+2)" in text
    assert "1 h 30 min" in text
    plot = browser.one("#usage-panels .plot")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    inside = browser.ask("[arguments[0]._fullLayout.xaxis._offset, arguments[0]._fullLayout.xaxis._length]", plot)
    at_1450 = inside[0] + inside[1] * (14 + 50 / 60) / 24 - plot.size["width"] / 2
    ActionChains(browser.driver).move_to_element_with_offset(plot, round(at_1450), 0).perform()
    text = hover_text(browser)
    # Near the end of an hour it is still that hour's, and no other clock's time stands beside it.
    assert "Sun 1 Apr 2007, 14:00–15:00" in text
    assert text.count(":") == 2


def first_seen(browser: Browser, selector: str) -> WebElement:
    return next(e for e in browser.all(selector) if e.rect["width"] > 3 and e.rect["x"] > 0)


def test_a_tap_tells_and_a_swipe_over_a_figure_scrolls(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"], NARROW)
    press(browser, "Day")
    browser.driver.execute_script("document.getElementById('plot-1').scrollIntoView({block: 'center'})")
    box = browser.ask(
        "(() => { const b = arguments[0].getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()",
        first_seen(browser, "#plot-1 .point path"),
    )
    touch(browser, [tuple(box)])
    assert "07:30:00" in hover_text(browser)
    assert "Apr 2007, 00:00" in shown(browser)
    for selector in ("#plot-1", "#energy .plot", "#usage .plot", "#states .plot"):
        browser.driver.execute_script(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector
        )
        before = browser.ask("scrollY")
        middle = browser.ask("innerHeight") / 2
        touch(browser, [(200, middle - 20 * step) for step in range(11)])
        WebDriverWait(browser.driver, 5).until(lambda _, before=before: browser.ask("scrollY") > before + 100)


def touch(browser: Browser, points: list[tuple[float, float]]) -> None:
    for kind, (x, y) in zip(["touchStart", *["touchMove"] * (len(points) - 1)], points, strict=True):
        browser.command("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        time.sleep(0.02)
    browser.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def test_a_device_is_chosen_with_the_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["autumn"])
    select = Select(browser.one("#usage-device"))
    assert len(select.options) == 30
    before = browser.ask(
        "[...document.querySelectorAll('#usage-panels figure:not([hidden]) h3')].map((e) => e.textContent)"
    )
    select.select_by_visible_text("device-05")
    browser.settle()
    after = browser.ask(
        "[...document.querySelectorAll('#usage-panels figure:not([hidden]) h3')].map((e) => e.textContent)"
    )
    assert before != after == ["device-05 · power in W"]
    assert browser.ask("document.querySelectorAll('#usage-panels figure:not([hidden]) .main-svg').length") > 0


def test_a_state_of_rest_is_shown_when_its_name_is_pressed(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"])
    bars = "document.querySelectorAll('#states .bars .point').length"
    assert browser.ask(bars) == 12
    toggle = browser.one("#states .legendtoggle")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", toggle)
    ActionChains(browser.driver).move_to_element(toggle).click().perform()
    WebDriverWait(browser.driver, 5).until(lambda _: browser.ask(bars) == 24)
    browser.prefer("dark")
    browser.settle()
    assert browser.ask(bars) == 24  # A choice outlives a change of colours.


def test_text_from_outside_is_drawn_as_text(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"])
    for summary in browser.all("summary"):
        browser.driver.execute_script("arguments[0].parentElement.open = true", summary)
    assert browser.ask("document.querySelectorAll('main img, main section script:not([type])').length") == 0
    assert ATTACK in browser.one("#dead-letters pre").text
    labels = browser.ask("[...document.querySelectorAll('.annotation-text')].map((e) => e.textContent)")
    assert any(text.startswith("<script>") for text in labels)
    ActionChains(browser.driver).move_to_element(first_seen(browser, "#plot-1 .point path")).perform()
    assert "<img" in hover_text(browser)
    assert browser.ask("window.broken") is None


def test_paper_is_light_and_wide_enough(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["house"], scheme="dark")
    browser.driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    look = browser.ask(LOOK)
    assert luminance(look["ground"]) > 0.8
    assert luminance(look["ticks"][0]) < 0.5
    widths = browser.ask("[...document.querySelectorAll('.plot')].map((p) => p._fullLayout.width)")
    assert max(widths) <= 680
    browser.driver.execute_script("dispatchEvent(new Event('afterprint'))")
    check_look(browser.ask(LOOK), dark=True)
    pdf = browser.command("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    assert len(pdf) > 50_000
