"""The page: its sections put together, with a policy under which a browser loads and runs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib import resources

import numpy as np

from thingbeam.pipelines.report import accounting, figures, shape
from thingbeam.pipelines.report.figures import Panel
from thingbeam.pipelines.report.load import Results, busiest
from thingbeam.pipelines.report.markup import Html, el, heads, join, json_block
from thingbeam.pipelines.report.words import (
    HomeClock,
    duration_text,
    labels,
    minute_text,
    plural,
    short_capability,
    shorten,
    span_text,
)

__all__ = ["page"]

_DEVICES = 30
_ACTIVITIES = 6000
_SERIES = 12
_POINTS = 60_000
_STATES = 8
_TOGETHER = 8
_HOUR = 3_600_000
_NAV = {"activities": "Activities", "usage": "Usage", "states": "States", "sessions": "Sessions", "account": "Counts"}
_ENERGY = frozenset({"Wh", "kWh", "MWh", "J", "kJ", "MJ"})


@dataclass
class _Page:
    """What a page is put together from."""

    results: Results
    names: Mapping[str, str]
    clock: HomeClock
    devices: list[str] = field(default_factory=list)
    called: dict[str, str] = field(default_factory=dict)
    drawn: int = 0

    def plot(self, panel: Panel) -> Html:
        self.drawn += 1
        name = f"plot-{self.drawn}"
        return join(
            el(
                "div",
                id=name,
                class_="plot",
                role="img",
                aria_label=f"{self.whose(panel)}{panel.title}: {panel.summary}",
                style=f"height:{panel.height}px",
                data_axis=panel.axis,
                data_height=str(panel.height),
            ),
            json_block(panel.figure, data_for=name),
        )

    def whose(self, panel: Panel) -> str:
        return f"{self.called[panel.device_id]}, " if panel.device_id else ""


def page(results: Results, names: Mapping[str, str]) -> str:
    """The text of the page.

    Args:
        results: what was loaded.
        names: what to call devices and homes by their ids.

    Raises:
        ImportError: plotly is not installed.
    """
    clock = HomeClock(results.account.timezone if results.account else "UTC")
    devices, all_devices = busiest(results, _DEVICES)
    made = _Page(results, names, clock, devices, labels(devices, names))
    span = shape.span(results)
    sections: list[tuple[str, str, Html]] = []
    if span is None:
        read = f" The run read {plural(results.account.lines, 'line')}." if results.account else ""
        text = f"Nothing to show: there are no activities, no sessions and no usage in the results.{read}"
        sections.append(("results", "Results", el("p", text, class_="nothing")))
    else:
        sections += _drawn_sections(made, span)
    sections.append(("account", "Counts in and out", accounting.account_section(results)))
    sections.append(("dead-letters", "Dead letters", accounting.dead_letter_section(results, clock)))
    if results.late.num_rows:
        sections.append(("late", "Late events", accounting.late_section(results, names, clock)))
    title = _title(results, names)
    scripts = _scripts(made, span) if made.drawn else []
    return string.Template(_file("page.html")).substitute(
        policy=_policy(scripts),
        title=join(title, " – thingbeam"),
        style=_file("page.css"),
        header=_header(made, title, span, all_devices, sections),
        body=Html("\n").join(
            el(
                "section",
                el("h2", heading, id=f"{name}-title"),
                text,
                id=name,
                class_="card",
                aria_labelledby=f"{name}-title",
            )
            for name, heading, text in sections
        ),
        footer=_footer(results),
        scripts=Html("\n").join(scripts),
    )


def _file(name: str) -> str:
    text = resources.files("thingbeam.pipelines.report").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def _policy(scripts: Iterable[str]) -> str:
    hashes = []
    for script in scripts:
        if script.startswith("<script>"):
            text = script.removeprefix("<script>").removesuffix("</script>")
            hashes.append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    # plotly sets style attributes, and draws the picture that its camera button saves from a blob.
    rules = ("default-src 'none'", f"script-src {' '.join(hashes) or chr(39) + 'none' + chr(39)}")
    rest = ("style-src 'unsafe-inline'", "img-src data: blob:", "base-uri 'none'", "form-action 'none'")
    return "; ".join((*rules, *rest))


def _scripts(made: _Page, span: tuple[float, float] | None) -> list[Html]:
    first, last = span or (0.0, 1.0)
    last = max(last, first + 60_000)
    days = _local_days(made, first, last)
    half = 43_200_000
    noon = [datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() * 1000 for d in days]
    data = {
        "span": [first, last],
        "offsets": made.clock.offsets(first, last),
        "days": [noon[0] - half, noon[1] + half],
    }
    code = figures.plotly_js().replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")
    return [
        json_block(json.dumps(data), id="page-data"),
        Html(f"<script>{code}</script>"),
        Html(f"<script>{_file('page.js')}</script>"),
    ]


def _local_days(made: _Page, first: float, last: float) -> tuple[date, date]:
    texts = [made.clock.at(first).isoformat(), made.clock.at(last - 1).isoformat()]
    for table in (made.results.activities, made.results.sessions, made.results.usage):
        texts += table.column("start_local").to_pylist()
    days = [text[:10] for text in texts]
    return date.fromisoformat(min(days)), date.fromisoformat(max(days))


def _title(results: Results, names: Mapping[str, str]) -> str:
    homes = sorted(
        {
            home
            for table in (results.activities, results.sessions, results.usage)
            for home in table.column("home_id").unique().to_pylist()
            if home
        }
    )
    if len(homes) > 1:
        return f"{len(homes):,} homes"
    if not homes:
        return "Smart home"
    return shorten(names.get(homes[0]) or f"Home {labels(homes, {})[homes[0]]}", 60)


def _header(
    made: _Page,
    title: str,
    span: tuple[float, float] | None,
    all_devices: int,
    sections: Sequence[tuple[str, str, Html]],
) -> Html:
    account, results, clock = made.results.account, made.results, made.clock
    lead = []
    if span:
        lead.append(span_text(*(clock.at(at).date() for at in (span[0], max(span[1] - 1, span[0])))))
    lead += [f"times of {clock.name}", plural(all_devices, "device")]
    notes = []
    if not made.results.finished:
        notes.append("There is no manifest.json in the directory: the run is not finished, or it failed.")
    if account and not clock.known:
        notes.append(f"The time zone {account.timezone!r} is not known here: times are UTC.")
    if all_devices > len(made.devices):
        notes.append(f"Of {all_devices:,} devices, the {len(made.devices)} with the most events are drawn.")
    tiles = [
        ("devices", all_devices),
        ("activities", results.activities.num_rows),
        ("sessions", results.sessions.num_rows),
        ("usage rows", results.usage.num_rows),
        ("dead letters", results.rows["dead-letters"]),
    ]
    if account:
        tiles[:1] = [("lines read", account.lines), ("events", account.events)]
    return join(
        el("h1", title),
        el("p", " · ".join(lead), class_="lead"),
        el("p", _read(made), class_="read") if account else None,
        *(el("p", note, class_="note") for note in notes),
        el("dl", *(el("div", el("dt", name), el("dd", f"{n:,}")) for name, n in tiles), class_="tiles"),
        el(
            "nav",
            el("ul", *(el("li", el("a", _NAV.get(name, heading), href=f"#{name}")) for name, heading, _ in sections)),
            aria_label="Sections",
        ),
    )


def _read(made: _Page) -> str:
    account = made.results.account
    assert account is not None
    text = f"Read from {shorten(account.input, 200)}" if account.input else "Read"
    try:
        started = datetime.fromisoformat(account.started)
        text += f" on {minute_text(made.clock.at(started.timestamp() * 1000), offset=True)}"
    except ValueError:
        text += f" {shorten(account.started, 40)}" if account.started else ""
    return f"{text}, in {duration_text(account.seconds)}."


def _footer(results: Results) -> Html:
    return join("Made by thingbeam from ", el("code", shorten(results.directory, 200)), ".")


def _drawn_sections(made: _Page, span: tuple[float, float]) -> list[tuple[str, str, Html]]:
    results, devices = made.results, made.devices
    meters = shape.meter_days(results, devices, _SERIES)
    measured = shape.measurements(results, devices, _SERIES, _POINTS)
    states = shape.state_days(results, devices, _SERIES, _STATES)
    sessions = shape.session_days(results, devices)
    energy = all(m.unit in _ENERGY for m in meters)
    by_day = any(m.by_day for m in measured)
    made_of = [
        (
            "energy",
            "Energy per day" if energy else "Energy and other meters per day",
            "What each meter grew by in each local day.",
            "There are no meters in the results.",
            [figures.meter_panel(m) for m in meters],
            False,
        ),
        (
            "usage",
            "Usage by the day" if by_day else "Usage by the hour" if _hourly(measured) else "Usage by the period",
            "The line is the time-weighted mean of each period, the band goes from its lowest to its highest value."
            + (" The periods are too many to draw, so they are joined to local days." if by_day else ""),
            "There are no measurements in the results.",
            [figures.measurement_panel(m, made.clock) for m in measured],
            True,
        ),
        (
            "states",
            "Time in each state",
            "How long each state held in each local day. States of rest are left out until their name is pressed.",
            "There are no states in the results.",
            [figures.state_panel(s) for s in states],
            False,
        ),
        (
            "sessions",
            "Sessions per day",
            "Runs of events of one device without a long silence, by the local day in which they began.",
            "There are no sessions in the results.",
            [figures.session_panel(s) for s in sessions],
            False,
        ),
    ]
    sections = [("activities", "What the devices did", _activities(made, span))]
    for name, heading, say, nothing, panels, timed in made_of:
        if panels:
            bar = _range_bar(span) if timed else None
            text = join(el("p", say, class_="say"), bar, _panels(made, name, panels))
        else:
            text = el("p", nothing, class_="nothing")
        sections.append((name, heading, text))
    return sections


def _hourly(measured: Iterable[shape.Measurement]) -> bool:
    return all(m.key.period == "PT1H" for m in measured)


def _range_bar(span: tuple[float, float]) -> Html:
    lengths = [("Month", 30 * 24), ("Week", 7 * 24), ("Day", 24)]
    fitting = [(name, hours * _HOUR) for name, hours in lengths if hours * _HOUR < span[1] - span[0]]
    return el(
        "div",
        *(
            el("button", name, type="button", data_length=str(length), aria_pressed="false" if length else "true")
            for name, length in [("All", 0), *fitting]
        ),
        el("button", "‹", type="button", data_move="-1", aria_label="Earlier"),
        el("button", "›", type="button", data_move="1", aria_label="Later"),
        el("output", class_="when", aria_live="polite"),
        class_="bar",
        data_range_bar=True,
        role="group",
        aria_label="Time shown",
    )


def _panels(made: _Page, name: str, panels: Sequence[Panel]) -> Html:
    owners = list(dict.fromkeys(panel.device_id for panel in panels))
    together = len(panels) <= _TOGETHER or len(owners) == 1
    chooser = None
    if not together:
        options = [
            el("option", made.called[o], value=str(made.devices.index(o)), selected=o == owners[0]) for o in owners
        ]
        chooser = el(
            "div",
            el("label", "Device", for_=f"{name}-device"),
            el("select", *options, id=f"{name}-device", data_group=f"{name}-panels", autocomplete="off"),
            class_="bar",
        )
    items = [
        el(
            "figure",
            el(
                "figcaption",
                el("h3", made.called[panel.device_id], el("span", f" · {panel.title}", class_="of")),
                el("p", panel.summary),
            ),
            made.plot(panel),
            class_="wide" if panel.axis == "time" else None,
            data_device=str(made.devices.index(panel.device_id)),
            hidden=not together and panel.device_id != owners[0],
        )
        for panel in panels
    ]
    return join(chooser, el("div", *items, id=f"{name}-panels", class_="panels"))


def _activities(made: _Page, span: tuple[float, float]) -> Html:
    lanes, left_out = shape.lanes(made.results, made.devices, _ACTIVITIES)
    if not lanes:
        return el("p", "There are no activities in the results.", class_="nothing")
    colours = figures.capability_colours(lanes)
    key = [el("li", el("i", class_=f"k{colour}"), short_capability(name)) for name, colour in colours.items()]
    running = sum(bool(np.isnan(doing.end)) for lane in lanes for doing in lane.done)
    say = "A lane for each device and capability; a bar from each start to its stop. The counts are of the whole time."
    say += f" {plural(running, 'hatched bar')} still ran at the end." if running else ""
    note = (
        f"{plural(left_out, 'earlier activity', 'earlier activities')} left out: the latest {_ACTIVITIES:,} are drawn."
    )
    return join(
        el("p", say, class_="say"),
        el("p", note, class_="note") if left_out else None,
        el("ul", *key, class_="key", aria_label="Colours") if len(key) > 1 else None,
        _range_bar(span),
        made.plot(figures.time_line(lanes, made.called, made.clock, span[1])),
        el("details", el("summary", "As a table"), el("div", _lane_table(made, lanes), class_="scroll")),
    )


def _lane_table(made: _Page, lanes: Sequence[shape.Lane]) -> Html:
    rows = []
    for lane in lanes:
        lengths = [(doing.end - doing.start) / 1000 for doing in lane.done if not np.isnan(doing.end)]
        numbers = [
            f"{len(lane.done):,}",
            duration_text(sum(lengths)) if lengths else "–",
            duration_text(float(np.median(lengths))) if lengths else "–",
            duration_text(max(lengths)) if lengths else "–",
        ]
        rows.append(
            el(
                "tr",
                el("th", made.called[lane.device_id], scope="row"),
                el("td", short_capability(lane.capability, lane.component)),
                *(el("td", number, class_="n") for number in numbers),
            )
        )
    return el(
        "table",
        el("caption", "Activities that have ended; the typical length is the median."),
        heads("Device", "Capability", "#Times", "#In all", "#Typical", "#Longest"),
        el("tbody", *rows),
    )
