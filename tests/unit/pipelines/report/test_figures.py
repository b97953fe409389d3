from __future__ import annotations

import base64
import json
import math
import re
from datetime import date
from importlib import resources
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest

from results_directory import HOUR, METER, local_of, seconds_of
from thingbeam.pipelines.report import figures
from thingbeam.pipelines.report.shape import Doing, Lane, Measurement, MeterDays, SeriesKey, SessionDays, StateDays
from thingbeam.pipelines.report.words import HomeClock

PARIS = HomeClock("Europe/Paris")
HOSTILE = "<img src=x onerror=alert(1)>%{y}"


def plain(value: Any) -> Any:
    """A figure with plotly's packed arrays as lists."""
    if isinstance(value, dict) and "bdata" in value:
        numbers = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        return [None if math.isnan(n) else n for n in numbers.tolist()]
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def figure(panel: figures.Panel) -> dict[str, Any]:
    found = plain(json.loads(panel.figure))
    assert isinstance(found, dict)
    return found


def traces(panel: figures.Panel) -> dict[str, Any]:
    return {trace["name"]: trace for trace in figure(panel)["data"]}


def measured(starts: list[str], values: list[tuple[float, float, float]], length: int = HOUR) -> Measurement:
    start = np.array([seconds_of(text) * 1000.0 for text in starts])
    low, mean, high = (np.array(column) for column in zip(*values, strict=True))
    local = [local_of(at / 1000, "Europe/Paris") for at in start]
    key = SeriesKey(METER, "main", "powerMeter", "power", "PT1H")
    return Measurement(key, "W", start, start + length * 1000, local, low, mean, high)


def area(xs: list[float | None], ys: list[float | None], at: float) -> tuple[float, float] | None:
    """The lowest and highest y of a polygon of steps (sideways, then up or down) over one x: what a fill covers."""
    found = []
    points = list(zip(xs, ys, strict=True))
    for (x0, y0), (x1, _) in pairwise(points):
        if x0 is not None and x1 is not None and y0 is not None and min(x0, x1) <= at < max(x0, x1):
            found.append(y0)
    return (min(found), max(found)) if found else None


def test_the_band_covers_each_period_from_lowest_to_highest() -> None:
    starts = ["2007-04-01T10:00Z", "2007-04-01T11:00Z", "2007-04-01T12:00Z", "2007-04-01T15:00Z"]
    values = [(1.0, 2.0, 9.0), (3.0, 4.0, 5.0), (0.0, 5.0, 7.0), (2.0, 3.0, 4.0)]
    series = measured(starts, values)
    found = traces(figures.measurement_panel(series, PARIS))
    for at, (low, mean, high) in zip(series.start, values, strict=True):
        for inside in (at, at + 1_800_000, at + 3_599_999):
            assert area(found["band"]["x"], found["band"]["y"], inside) == (low, high)
            assert area(found["mean"]["x"], found["mean"]["y"], inside) == (mean, mean)
    gap = series.end[2] + 60_000
    assert area(found["band"]["x"], found["band"]["y"], gap) is None
    assert area(found["mean"]["x"], found["mean"]["y"], gap) is None
    assert found["band"]["fill"] == "toself"
    assert found["band"]["line"]["shape"] == found["mean"]["line"]["shape"] == "hv"


def test_a_period_is_pointed_at_by_its_middle_and_told_in_local_time() -> None:
    series = measured(["2007-04-01T21:00Z"], [(220.0, 1083.27, 6200.0)])
    found = traces(figures.measurement_panel(series, PARIS))["values"]
    assert found["x"] == [series.start[0] + 1_800_000]
    assert found["hovertext"] == ["<b>Sun 1 Apr 2007, 23:00–00:00</b><br>mean 1,083 W<br>220 to 6,200 W"]
    assert found["hoverinfo"] == "text"


def test_the_hour_that_comes_twice_says_which_it_is() -> None:
    series = measured(["2007-10-28T00:00Z", "2007-10-28T01:00Z"], [(1.0, 1.0, 1.0)] * 2)
    first, second = traces(figures.measurement_panel(series, PARIS))["values"]["hovertext"]
    assert first.startswith("<b>Sun 28 Oct 2007, 02:00–02:00 (UTC+2)</b>")
    assert second.startswith("<b>Sun 28 Oct 2007, 02:00–03:00</b>")


def test_days_are_told_as_days() -> None:
    series = measured(["2007-10-27T22:00Z"], [(1.0, 1.0, 1.0)], 25 * HOUR)
    assert "<b>Sun 28 Oct 2007</b>" in traces(figures.measurement_panel(series, PARIS))["values"]["hovertext"][0]


def test_a_measurement_is_summed_up_in_words() -> None:
    series = measured(["2007-04-01T10:00Z", "2007-04-01T11:00Z"], [(1.0, 2.0, 3.0), (0.0, 4.0, 8.0)])
    summary = figures.measurement_panel(series, PARIS).summary
    assert summary == "Mean 3 W, lowest 0 W, highest 8 W (Sun 1 Apr 2007, 13:00–14:00)."


def test_a_measurement_without_numbers_is_drawn_empty() -> None:
    nan = math.nan
    panel = figures.measurement_panel(measured(["2007-04-01T10:00Z"], [(nan, nan, nan)]), PARIS)
    assert panel.summary == "No numbers."
    assert all(trace["x"] == [] for trace in figure(panel)["data"])


def lane(done: list[Doing], capability: str = "switch") -> Lane:
    return Lane(METER, "main", capability, done)


def test_a_bar_goes_from_start_to_stop_and_says_so_in_local_time() -> None:
    start = seconds_of("2007-04-02T14:03:05+02:00") * 1000.0
    done = lane([Doing(start, start + 4_330_000, "2007-04-02T14:03:05+02:00", "stop", True)])
    panel = figures.time_line([done], {METER: "Laundry"}, PARIS, start)
    [bar] = figure(panel)["data"]
    assert (bar["base"], bar["x"], bar["y"]) == ([start], [4_330_000.0], [0])
    assert bar["hovertext"] == [
        "<b>Laundry · switch</b><br>from Mon 2 Apr 2007, 14:03:05 (UTC+2)<br>"
        "to Mon 2 Apr 2007, 15:15:15 (UTC+2)<br>1 h 12 min, closed by stop"
    ]
    assert [note["text"] for note in figure(panel)["layout"]["annotations"]] == [
        "<b>Laundry · switch</b>",
        "1× · 1 h 12 min",
    ]


def test_what_still_runs_is_drawn_to_the_end_and_hatched() -> None:
    done = lane([Doing(0.0, 5000.0, "1970-01-01T01:00:00+01:00", "max_length", False)])
    done.done.append(Doing(9000.0, math.nan, "1970-01-01T01:00:09+01:00", None, True))
    [bar] = figure(figures.time_line([done], {METER: "x"}, PARIS, 20_000.0))["data"]
    assert bar["x"] == [5000.0, 11_000.0]
    assert bar["marker"]["pattern"]["shape"] == ["", "/"]
    assert bar["hovertext"][0].endswith("closed by max_length, provisional")
    assert bar["hovertext"][1].endswith("still running at the end")


def test_each_capability_has_a_colour_of_its_own_while_they_last() -> None:
    many = [lane([], f"c{n}") for n in range(figures.COLOURS + 1)]
    colours = figures.capability_colours([*many, many[0]])
    assert list(colours.values()) == [*range(1, figures.COLOURS + 1), 1]


def test_text_from_outside_cannot_be_a_tag_in_plotly() -> None:
    series = measured(["2007-04-01T10:00Z"], [(1.0, 2.0, 3.0)])
    hostile = Measurement(**{**series.__dict__, "unit": HOSTILE})
    key = SeriesKey(METER, HOSTILE, HOSTILE, HOSTILE, "PT1H")
    days = [date(2007, 4, 1)]
    one = np.array([3600.0])
    panels = [
        figures.measurement_panel(hostile, PARIS),
        figures.meter_panel(MeterDays(key, HOSTILE, days, one)),
        figures.state_panel(StateDays(key, days, {HOSTILE: one, "on": one}, None, 1)),
        figures.time_line(
            [lane([Doing(0.0, 1.0, "1970-01-01T01:00:00+01:00", HOSTILE, True)], HOSTILE)], {METER: HOSTILE}, PARIS, 1.0
        ),
    ]
    for panel in panels:
        assert "<img" not in panel.figure
        tags = set(re.findall(r"<[^>]*>", "".join(strings(figure(panel)))))
        assert tags <= {"<b>", "</b>", "<br>"}
        assert "template" not in "".join(key for trace in figure(panel)["data"] for key in trace)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def test_days_of_a_meter() -> None:
    key = SeriesKey(METER, "main", "energyMeter", "energy", "PT1H")
    panel = figures.meter_panel(MeterDays(key, "kWh", [date(2007, 4, 1), date(2007, 4, 3)], np.array([2.5, 14.25])))
    [bar] = figure(panel)["data"]
    assert (bar["x"], bar["y"]) == (["2007-04-01", "2007-04-03"], [2.5, 14.25])
    assert panel.title == "energy in kWh"
    assert panel.summary == "16.75 kWh in 2 days; most on Tue 3 Apr 2007: 14.25 kWh."


def test_states_of_rest_wait_in_the_legend() -> None:
    key = SeriesKey(METER, "main", "switch", "switch", "PT1H")
    days = [date(2007, 4, 1)]
    panel = figures.state_panel(StateDays(key, days, {"off": np.array([79_200.0]), "on": np.array([7200.0])}, None, 4))
    found = traces(panel)
    assert (found["off"]["visible"], found["on"]["visible"]) == ("legendonly", True)
    assert (found["off"]["meta"]["colour"], found["on"]["meta"]["colour"]) == (0, 1)
    assert (panel.title, found["on"]["y"]) == ("switch, hours a day", [2.0])
    assert found["on"]["hovertext"] == ["<b>Sun 1 Apr 2007</b><br>on: 2 h (8.33 %)"]


def test_states_that_are_all_of_rest_are_shown() -> None:
    key = SeriesKey(METER, "main", "contactSensor", "contact", "PT1H")
    panel = figures.state_panel(StateDays(key, [date(2007, 4, 1)], {"closed": np.array([86_400.0])}, None, 0))
    assert traces(panel)["closed"]["visible"] is True


def test_short_states_are_in_minutes() -> None:
    key = SeriesKey(METER, "main", "valve", "valve", "PT1H")
    panel = figures.state_panel(
        StateDays(key, [date(2007, 4, 1)], {"closed": np.array([86_100.0]), "open": np.array([300.0])}, None, 2)
    )
    assert (panel.title, traces(panel)["open"]["y"]) == ("valve, minutes a day", [5.0])


def test_few_sessions_have_whole_numbers_on_their_axis() -> None:
    sessions = SessionDays(METER, [date(2007, 4, 1)], np.array([1]), np.array([86_400]))
    panel = figures.session_panel(sessions)
    assert figure(panel)["layout"]["yaxis"]["dtick"] == 1
    assert panel.summary == "1 session of 86,400 events."


# Colours: each must stand out from its card (WCAG 2.2, 1.4.11: 3:1), and from the others to every eye.


def schemes() -> dict[str, dict[str, str]]:
    css = resources.files("thingbeam.pipelines.report").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    found = {}
    for name, text in (("light", light), ("dark", dark.split("}")[0])):
        found[name] = dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", text))
    return found


def linear(colour: str) -> np.ndarray[Any, Any]:
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    bright, dim = sorted((float(weights @ linear(one)), float(weights @ linear(other))), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def lab(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    scaled = np.cbrt(np.clip(xyz / np.array([0.9505, 1.0, 1.089]), 1e-6, None))
    x, y, z = scaled
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira, Fernandes 2009, severity 1.0: https://doi.org/10.1109/TVCG.2009.113
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eye", EYES)
def test_colours_differ_to_every_eye(scheme: str, eye: str) -> None:
    colours = schemes()[scheme]
    seen = {f"--c{n}": lab(np.clip(EYES[eye] @ linear(colours[f"--c{n}"]), 0, 1)) for n in range(figures.COLOURS + 1)}
    near = {
        (one, other): round(float(np.linalg.norm(seen[one] - seen[other])), 1) for one, other in combinations(seen, 2)
    }
    # Twice the difference that is just noticed at a glance (about 5) is enough where lanes are labelled too.
    assert min(near.values()) > 10, {pair: far for pair, far in near.items() if far <= 10}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out_from_the_card(scheme: str) -> None:
    colours = schemes()[scheme]
    for n in range(1, figures.COLOURS + 1):
        assert contrast(colours[f"--c{n}"], colours["--card"]) >= 3, n
    for text in ("--text", "--muted", "--accent", "--good", "--bad"):
        assert contrast(colours[text], colours["--card"]) >= 4.5, text
        assert text not in ("--text", "--muted") or contrast(colours[text], colours["--ground"]) >= 4.5, text
    assert contrast(colours["--hover-text"], colours["--hover"]) >= 4.5
