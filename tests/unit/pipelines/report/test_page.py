from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from results_directory import (
    HOME,
    HOUR,
    METER,
    WASHER,
    account_of,
    activity,
    dead_letter,
    house,
    late_event,
    seconds_of,
    session,
    usage,
    write_results,
)
from thingbeam.pipelines.report import write_report
from thingbeam.schemas.codes import CODES

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)></title></style><!--\u202e${x}{{x}}"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A page as a browser reads it: tags with their attributes, the text of each element id, and whether tags match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: dict[str, str] = {}
        self.open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append((tag, found.get("id")))
        if tag == "script":
            self.scripts.append((found, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif not any(tag == "style" for tag, _ in self.open):
            for _, name in self.open:
                if name:
                    self.words[name] = self.words.get(name, "") + data
            self.words[""] = self.words.get("", "") + data

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)


def page_of(directory: str, **more: Any) -> Page:
    return Page(Path(write_report(directory, **more)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    records = house()
    records["late"] = [late_event(METER, seconds_of("2007-04-01T10:00Z")), late_event(None, 0)]
    records["dead-letters"] = [dead_letter(b"{", "invalid_json"), dead_letter(b"\xff\xfe", "invalid_utf8")] * 4
    return page_of(write_results(tmp_path_factory.mktemp("whole"), records, account_of(records)))


def test_the_header_says_what_was_read_and_when(whole: Page) -> None:
    text = whole.words[""]
    assert "Home f2f79c17" in text
    assert "1 – 3 Apr 2007 · times of Europe/Paris · 2 devices" in text
    assert "Read from home.jsonl.gz on Wed 1 May 2024, 11:00 (UTC+2), in 4.2 s." in text


def test_the_account_balances_and_agrees_with_the_rows(whole: Page) -> None:
    text = whole.words["account"]
    assert whole.count("ul", **{"data-balance": "yes"}) == 1
    assert "✓ balances: 1,002 events = 990 counted + 10 duplicates + 2 late + 0 ignored" in text
    assert "✓ balances: 1,010 lines = 990 counted + 10 duplicates + 2 late + 0 ignored + 8 dead letters" in text
    assert "differs" not in text


def test_every_section_has_its_figures(whole: Page) -> None:
    axes = [found["data-axis"] for tag, found in whole.tags if tag == "div" and "data-axis" in found]
    # The time line, the meter's energy, the meter's power, the washer's states, both devices' sessions.
    assert axes == ["time", "day", "time", "day", "day", "day"]
    assert "Energy per day" in whole.words["energy-title"]
    assert "Usage by the hour" in whole.words["usage-title"]
    assert "There are none" not in whole.words["dead-letters"]


def test_figures_and_sections_have_names_for_who_cannot_see_them(whole: Page) -> None:
    assert whole.count("html", lang="en") == whole.count("main") == whole.count("h1") == 1
    for tag, found in whole.tags:
        if tag == "section":
            assert found["aria-labelledby"] in whole.words
        if "plot" in (found.get("class") or "").split():
            assert found["role"] == "img"
            assert len(found["aria-label"] or "") > 20
        if tag == "th":
            assert found["scope"] in ("row", "col")
    ids = [found["id"] for _, found in whole.tags if "id" in found]
    assert len(ids) == len(set(ids))
    links = [found["href"] or "" for tag, found in whole.tags if tag == "a"]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_each_figure_has_its_data(whole: Page) -> None:
    plots = {found["id"] for _, found in whole.tags if (found.get("class") or "") == "plot"}
    data = {found["data-for"]: json.loads(text) for found, text in whole.scripts if "data-for" in found}
    assert set(data) == plots
    assert all(figure["data"] for figure in data.values())


def test_nothing_is_loaded_from_outside_and_nothing_else_may_run(whole: Page) -> None:
    for tag, found in whole.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in found)
        for name in ("src", "href", "action", "srcset", "poster"):
            if name in found:
                assert re.match(r"(#|data:,$)", found[name] or ""), (tag, found)
    [policy] = [found["content"] for tag, found in whole.tags if found.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    hashes = set(rules.pop("script-src").split())
    running = [text for found, text in whole.scripts if found.get("type") != "application/json"]
    assert hashes == {f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in running}
    assert not any("http" in value or "*" in value for value in rules.values())


def test_plotly_is_there_once(whole: Page) -> None:
    running = [text for found, text in whole.scripts if found.get("type") != "application/json"]
    assert len(running) == 2
    assert sum("plotly.js v" in text[:200] for text in running) == 1


def test_examples_of_dead_letters_are_few_and_by_reason(whole: Page) -> None:
    text = whole.words["dead-letters"]
    assert text.index("invalid_json") < text.index("invalid_utf8")
    assert CODES["invalid_utf8"] in text
    assert whole.count("pre") == 6
    assert r"\xff\xfe" in text
    assert "home.jsonl.gz, offset=17, in ParseEvents, Wed 1 May 2024, 11:00 (UTC+2)" in text


def test_late_events_are_told_by_device(whole: Page) -> None:
    assert "a35021ab" in whole.words["late"]
    assert "1 Apr 2007, 12:00" in whole.words["late"]
    assert "(no id)" in whole.words["late"]


def test_text_from_outside_is_text(tmp_path: Path) -> None:
    records = {
        "activities": [activity(HOSTILE, 0, 60, capability=HOSTILE, component=HOSTILE, closed_by=HOSTILE)],
        "sessions": [session(HOSTILE, 0, 60, home_id=HOSTILE)],
        "usage": [
            usage(HOSTILE, 0, "measurement", min=1.0, mean=1.0, max=1.0, unit=HOSTILE, attribute=HOSTILE),
            usage(HOSTILE, 0, "meter", change=1.0, unit=HOSTILE, capability=HOSTILE),
            usage(HOSTILE, 0, "state", seconds_in_state={HOSTILE: 9.0, "on": 5.0}),
        ],
        "late": [late_event(HOSTILE, 0)],
        "dead-letters": [
            dead_letter(HOSTILE.encode() * 9, HOSTILE, source=HOSTILE, position=HOSTILE, step=HOSTILE, error=HOSTILE)
        ],
    }
    account = account_of(records, input=HOSTILE, timezone=HOSTILE, started=HOSTILE)
    found = page_of(write_results(tmp_path, records, account), names={HOSTILE: HOSTILE * 3})
    assert found.count("img") == found.count("b") == 0
    assert len([1 for attributes, _ in found.scripts if attributes.get("type") != "application/json"]) == 2
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert "<script>alert(1)</script>" in found.words["dead-letters"]
    for attributes, text in found.scripts:
        if attributes.get("type") == "application/json":
            assert "<" not in text
    assert "\u202e" not in found.words[""]


def test_a_page_of_nothing_says_so(tmp_path: Path) -> None:
    found = page_of(write_results(tmp_path, {}, account_of({}, lines=0, events=0, counted=0, duplicates=0)))
    assert "Nothing to show" in found.words["results"]
    assert "The run read 0 lines." in found.words["results"]
    assert found.scripts == []
    assert (tmp_path / "report.html").stat().st_size < 50_000
    assert "everything that was read was understood" in found.words["dead-letters"]


def test_dead_letters_alone_are_shown(tmp_path: Path) -> None:
    records = {"dead-letters": [dead_letter(b"x")]}
    found = page_of(write_results(tmp_path, records, account_of(records)))
    assert "Nothing to show" in found.words["results"]
    assert "the text is not JSON" in found.words["dead-letters"]


def test_an_account_that_does_not_balance_says_by_how_much(tmp_path: Path) -> None:
    records = house(1)
    account = account_of(records, counted=983, activities=55)
    found = page_of(write_results(tmp_path, records, account))
    assert found.count("ul", **{"data-balance": "no"}) == 1
    text = found.words["account"]
    assert "✗ differs by 7: 1,000 events ≠ 983 counted + 10 duplicates + 0 late + 0 ignored" in text
    assert text.count("differs") == 3  # The two equations, and the activities: 55 in the account, 1 in the files.


def test_lines_of_several_events_are_no_difference(tmp_path: Path) -> None:
    found = page_of(write_results(tmp_path, house(1), account_of(house(1), lines=400)))
    assert "400 lines gave 1,000 events and 0 dead letters: a line may hold several events" in found.words["account"]
    assert found.count("ul", **{"data-balance": "yes"}) == 1


def test_without_an_account_the_rows_are_counted(tmp_path: Path) -> None:
    found = page_of(write_results(tmp_path, house(1)))
    assert "no account.json" in found.words["account"]
    assert "times of UTC" in found.words[""]


def test_a_run_that_is_not_finished_says_so(tmp_path: Path) -> None:
    found = page_of(write_results(tmp_path, house(1), manifest=False))
    assert "the run is not finished" in found.words[""]


def test_a_zone_that_is_not_known_says_so(tmp_path: Path) -> None:
    found = page_of(write_results(tmp_path, house(1), account_of(house(1), timezone="Mars/Olympus")))
    assert "The time zone 'Mars/Olympus' is not known here" in found.words[""]


def test_only_what_is_newest_and_not_taken_back_is_shown(tmp_path: Path) -> None:
    rows = [
        activity(WASHER, 0, None, revision=1, final=False),
        activity(WASHER, 0, 60, revision=2),
        activity(WASHER, 500, 560, revision=1),
        activity(WASHER, 500, 560, revision=2, deleted=True),
    ]
    found = page_of(write_results(tmp_path, {"activities": rows}))
    [figure] = [json.loads(text) for attributes, text in found.scripts if attributes.get("data-for") == "plot-1"]
    [bar] = figure["data"]
    assert len(bar["hovertext"]) == 1
    assert "1 min" in bar["hovertext"][0]


def test_names_are_used_from_a_mapping_and_from_a_file(tmp_path: Path) -> None:
    directory = write_results(tmp_path, house(1), account_of(house(1)))
    names = {METER: "Electricity", WASHER: "Washer & dryer", HOME: "Maison"}
    path = tmp_path / "names.json"
    path.write_text(json.dumps(names))
    given: list[Any] = [names, str(path), path]
    for some in given:
        text = page_of(directory, names=some).words[""]
        assert "Maison" in text
        assert "Washer & dryer · switch, hours a day" in text
        assert "a35021ab" not in text


def test_names_that_are_none_say_which_file(tmp_path: Path) -> None:
    directory = write_results(tmp_path, house(1))
    path = tmp_path / "names.json"
    path.write_text('{"a": 5}')
    with pytest.raises(ValueError, match=r"names\.json"):
        write_report(directory, names=str(path))
    with pytest.raises(FileNotFoundError):
        write_report(directory, names=str(tmp_path / "missing.json"))


def test_many_devices_show_the_busiest_and_say_so(tmp_path: Path) -> None:
    records: dict[str, list[Any]] = {
        "activities": [activity(f"device-{n:04}", 60 * n, 60 * n + 30) for n in range(2000)],
        "sessions": [session(f"device-{n:04}", 60 * n, 60 * n + 30, 1 + n % 97) for n in range(2000)],
        "usage": [
            usage(f"device-{n:04}", hour * HOUR, "measurement", min=0.0, mean=1.0, max=2.0)
            for n in range(2000)
            for hour in range(2)
        ],
    }
    found = page_of(write_results(tmp_path, records, account_of(records), file_format="parquet"))
    assert "Of 2,000 devices, the 30 with the most events are drawn." in found.words[""]
    options = [attributes for tag, attributes in found.tags if tag == "option"]
    assert len(options) == 60  # 30 in the choice of usage and 30 in that of sessions.
    assert "device-0096" in found.words["sessions"]
    assert "device-0001" not in found.words["sessions"]
    figures = [attributes for tag, attributes in found.tags if tag == "figure"]
    assert sum("hidden" not in attributes for attributes in figures) == 2
    assert (tmp_path / "report.html").stat().st_size < 8_000_000


def test_a_month_of_a_house_stays_below_8_mb(tmp_path: Path) -> None:
    records = house(30)
    for n in range(12):
        series = [row for row in records["usage"][: 3 * 720] if row.role == "measurement"]
        records["usage"] += [row._replace(device_id=f"plug-{n}") for row in series]
    path = Path(write_report(write_results(tmp_path, records, account_of(records), file_format="avro")))
    assert path.stat().st_size < 8_000_000


def test_hours_too_many_to_draw_are_joined_to_days_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingbeam.pipelines.report.page._POINTS", 71)
    found = page_of(write_results(tmp_path, house(3), account_of(house(3))))
    assert "Usage by the day" in found.words["usage-title"]
    assert "too many to draw" in found.words["usage"]


def test_activities_too_many_to_draw_say_how_many_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingbeam.pipelines.report.page._ACTIVITIES", 2)
    found = page_of(write_results(tmp_path, house(3), account_of(house(3))))
    assert "1 earlier activity left out" in found.words["activities"]


def test_without_plotly_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n == "plotly" or n.startswith("plotly.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    directory = write_results(tmp_path, house(1))
    with pytest.raises(ImportError, match=re.escape("pip install 'thingbeam[report]'")):
        write_report(directory)
    assert not (tmp_path / "report.html").exists()


def test_the_page_goes_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_results(tmp_path / "results", {}, {})
    assert write_report(directory) == f"{directory}/report.html"
    monkeypatch.chdir(tmp_path)
    assert write_report(directory, "bare.html") == "bare.html"
    assert (tmp_path / "bare.html").is_file()
    assert Path(write_report(directory, str(tmp_path / "new" / "folder" / "page.html"))).is_file()
    write_report(directory)  # What is there is replaced.
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == ["account.json", "manifest.json", "report.html"]


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    directory = write_results(tmp_path, house(2), account_of(house(2)))
    first = Path(write_report(directory)).read_bytes()
    assert Path(write_report(directory)).read_bytes() == first
