"""The figures: plotly traces whose colours are names that the page's script turns into those of the reader's scheme."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import numpy as np
import numpy.typing as npt

from thingbeam.pipelines.report.shape import Doing, Lane, Measurement, MeterDays, SessionDays, StateDays
from thingbeam.pipelines.report.words import (
    HomeClock,
    day_text,
    duration_text,
    minute_text,
    number_text,
    plot_text,
    plural,
    short_capability,
    shorten,
)

__all__ = [
    "COLOURS",
    "IDLE",
    "Panel",
    "capability_colours",
    "measurement_panel",
    "meter_panel",
    "plotly_js",
    "require_plotly",
    "session_panel",
    "state_panel",
    "time_line",
]

COLOURS = 7
"""How many colours the page's style has, `--c1` to `--c7`; `--c0` is the grey of what is idle."""
IDLE = frozenset(
    {"off", "closed", "inactive", "stop", "stopped", "idle", "none", "not present", "locked", "clear", "false"}
    | {"disconnected", "ready", "standby", "unoccupied", "dry", "still"}
)
"""States in which a device does nothing: drawn grey, and only when the reader asks."""

_LANE = 46
_PANEL = 190
_INSET = 20
_DAY = 86_400_000.0


@dataclass(frozen=True)
class Panel:
    """One figure with its words.

    Attributes:
        device_id: whose it is; empty for one of all devices.
        title: what it is of.
        summary: what it shows, in words: the figure's text for who cannot see it.
        figure: plotly's JSON.
        axis: time (instants, ticks on the home's clock) or day (days of the calendar).
        height: in CSS pixels.
    """

    device_id: str
    title: str
    summary: str
    figure: str
    axis: str
    height: int


def require_plotly() -> Any:
    """Plotly's graph objects.

    Raises:
        ImportError: plotly is not installed; the message says how to install it.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError("the report needs plotly: pip install 'thingbeam[report]'") from error
    return go


def plotly_js() -> str:
    """The text of plotly.js, as the plotly package holds it.

    Raises:
        ImportError: plotly is not installed.
    """
    require_plotly()
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _json(traces: list[Any], **layout: Any) -> str:
    go = require_plotly()
    figure = go.Figure(data=traces, layout={"template": "none", "showlegend": False, **layout})
    return str(figure.to_json())


def _iso(days: list[date]) -> list[str]:
    return [day.isoformat() for day in days]


def time_line(lanes: list[Lane], names: dict[str, str], clock: HomeClock, last: float) -> Panel:
    """What each device did when: a lane for each device and capability, a bar for each activity.

    Args:
        lanes: from the top.
        names: a label for each device id.
        clock: the home's.
        last: where what still runs is drawn to, in milliseconds since 1970 UTC.
    """
    go = require_plotly()
    colours = capability_colours(lanes)
    traces = []
    notes = []
    for at, lane in enumerate(lanes):
        ends = [last if np.isnan(doing.end) else doing.end for doing in lane.done]
        running = [bool(np.isnan(doing.end)) for doing in lane.done]
        what = f"{names[lane.device_id]} · {short_capability(lane.capability, lane.component)}"
        traces.append(
            go.Bar(
                orientation="h",
                base=np.array([doing.start for doing in lane.done]),
                x=np.array([max(end - doing.start, 0.0) for doing, end in zip(lane.done, ends, strict=True)]),
                y=np.full(len(lane.done), at, dtype=np.int32),
                width=0.4,
                hovertext=[_activity_text(what, doing, clock) for doing in lane.done],
                hoverinfo="text",
                marker={"pattern": {"shape": ["/" if r else "" for r in running], "fillmode": "replace", "size": 6}}
                if any(running)
                else {},
                meta={"paint": "bar", "colour": colours[lane.capability]},
            )
        )
        total = sum(end - doing.start for doing, end in zip(lane.done, ends, strict=True)) / 1000
        notes += [
            _note(f"<b>{plot_text(shorten(what, 36))}</b>", at, "left"),
            _note(f"{len(lane.done):,}× · {duration_text(total)}", at, "right"),
        ]
    # Plotly leaves out what it says of a bar where the figure is too low for it: one lane gets the room of two.
    rows = max(len(lanes), 2)
    figure = _json(
        traces,
        barmode="overlay",
        hovermode="closest",
        annotations=notes,
        margin={"l": _INSET, "r": _INSET, "t": 6, "b": 24},
        xaxis={"type": "date"},
        yaxis={"range": [rows - 0.5, -0.66], "visible": False, "fixedrange": True},
    )
    done = sum(len(lane.done) for lane in lanes)
    summary = f"Time line of {plural(done, 'activity', 'activities')} in {plural(len(lanes), 'lane')}."
    return Panel("", "Time line", summary, figure, "time", _LANE * rows + 38)


def capability_colours(lanes: list[Lane]) -> dict[str, int]:
    """A colour for each capability, in the order of the lanes; they repeat where there are more than colours."""
    return {name: 1 + at % COLOURS for at, name in enumerate(dict.fromkeys(lane.capability for lane in lanes))}


def _note(text: str, lane: int, side: str) -> dict[str, Any]:
    return {
        "text": text,
        "x": 0 if side == "left" else 1,
        "xref": "paper",
        "xanchor": side,
        "xshift": -_INSET if side == "left" else _INSET,
        "y": lane - 0.4,
        "yanchor": "middle",
        "showarrow": False,
        "name": "lane" if side == "left" else "muted",
    }


def _activity_text(what: str, doing: Doing, clock: HomeClock) -> str:
    start = clock.beside(doing.start, doing.start_local)
    lines = [f"<b>{plot_text(what)}</b>", f"from {minute_text(start, seconds=True, offset=True)}"]
    if np.isnan(doing.end):
        lines.append("still running at the end")
    else:
        end = clock.beside(doing.end, doing.start_local)
        lines.append(f"to {minute_text(end, seconds=True, offset=True)}")
        length = duration_text((doing.end - doing.start) / 1000)
        lines.append(f"{length}, closed by {plot_text(doing.closed_by or 'unknown')}")
    return "<br>".join(lines) + ("" if doing.final else ", provisional")


def measurement_panel(series: Measurement, clock: HomeClock) -> Panel:
    """The mean of each period as a line of steps, on the band from its lowest to its highest value."""
    go = require_plotly()
    key = series.key
    texts = [_period_text(series, at, clock) for at in range(len(series.start))]
    drawn = ~np.isnan(series.mean)
    runs = _runs(series, drawn)
    band_x, band_y, line_x, line_y = [], [], [], []
    nothing = np.array([np.nan])
    for run in runs:
        start, end = series.start[run], series.end[run]
        low, mean, high = series.low[run], series.mean[run], series.high[run]
        # Steps go sideways first, so on the way back each low stands at the start of the period after it.
        band_x += [start, end[-1:], end[-1:], start[:0:-1], start[:1], nothing]
        band_y += [high, high[-1:], low[-1:], low[-2::-1], low[:1], nothing]
        line_x += [start, end[-1:], nothing]
        line_y += [mean, mean[-1:], nothing]
    traces = [
        go.Scatter(
            x=_joined(band_x),
            y=_joined(band_y),
            mode="lines",
            fill="toself",
            line={"shape": "hv", "width": 0},
            hoverinfo="skip",
            name="band",
            meta={"paint": "band", "colour": 1},
        ),
        go.Scatter(
            x=_joined(line_x),
            y=_joined(line_y),
            mode="lines",
            line={"shape": "hv", "width": 1.25},
            hoverinfo="skip",
            name="mean",
            meta={"paint": "line", "colour": 1},
        ),
        # The nearest period is the one whose middle is nearest, so what is pointed at is kept apart from the steps.
        go.Scatter(
            x=((series.start + series.end) / 2)[drawn],
            y=series.mean[drawn],
            mode="none",
            hovertext=[_values_text(series, at, texts[at]) for at in np.flatnonzero(drawn).tolist()],
            hoverinfo="text",
            name="values",
            meta={"paint": "none", "colour": 1},
        ),
    ]
    margin = _MARGIN | {"r": _INSET}
    axis = _value_axis(_top(series.high))
    figure = _json(traces, hovermode="x", margin=margin, xaxis={"type": "date"}, yaxis=axis)
    title = f"{short_capability(key.capability, key.component, key.attribute)}"
    return Panel(key.device_id, title + _in(series.unit), _measured(series, drawn, texts), figure, "time", _PANEL + 10)


_MARGIN = {"l": 44, "r": 8, "t": 8, "b": 24}


def _value_axis(highest: float, *, whole: bool = False) -> dict[str, Any]:
    axis = {"rangemode": "tozero", "nticks": 5, "fixedrange": True, "automargin": "left"}
    axis["tickformat"] = "~s" if highest >= 10_000 else ",~r"
    return axis | {"dtick": 1} if whole and highest < 5 else axis


def _top(values: npt.NDArray[Any]) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.max()) if len(numbers) else 0.0


def _joined(parts: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.empty(0)


def _in(unit: str) -> str:
    return f" in {unit}" if unit else ""


def _runs(series: Measurement, drawn: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    places = np.flatnonzero(drawn)
    if not len(places):
        return []
    meets = series.end[places[:-1]] == series.start[places[1:]]
    return list(np.split(places, np.flatnonzero(~meets) + 1))


def _values_text(series: Measurement, at: int, when: str) -> str:
    unit = plot_text(f" {series.unit}" if series.unit else "")
    low, mean, high = (number_text(float(values[at])) for values in (series.low, series.mean, series.high))
    return f"<b>{when}</b><br>mean {mean}{unit}<br>{low} to {high}{unit}"


def _period_text(series: Measurement, at: int, clock: HomeClock) -> str:
    start = datetime.fromisoformat(series.start_local[at])
    if series.by_day:
        return day_text(start.date())
    end = clock.beside(float(series.end[at]), series.start_local[at])
    if start.time() == end.time() == time(0):
        return day_text(start.date())
    changed = f" ({minute_text(start, offset=True).rpartition('(')[2]}" if start.utcoffset() != end.utcoffset() else ""
    return f"{minute_text(start)}–{end:%H:%M}{changed}"


def _measured(series: Measurement, drawn: npt.NDArray[np.bool_], texts: list[str]) -> str:
    if not drawn.any():
        return "No numbers."
    unit = f" {series.unit}" if series.unit else ""
    length = (series.end - series.start)[drawn]
    mean = float(np.average(series.mean[drawn], weights=length))
    low, high = float(np.nanmin(series.low)), float(np.nanmax(series.high))
    peak = texts[int(np.nanargmax(series.high))]
    return (
        f"Mean {number_text(mean)}{unit}, lowest {number_text(low)}{unit}, highest {number_text(high)}{unit} ({peak})."
    )


def meter_panel(meter: MeterDays) -> Panel:
    """A meter's growth as a bar for each local day."""
    go = require_plotly()
    unit = f" {meter.unit}" if meter.unit else ""
    texts = [f"<b>{day_text(d)}</b><br>{number_text(g)}{plot_text(unit)}" for d, g in _pairs(meter.days, meter.growth)]
    figure = _json(
        [_bars(go, meter.days, meter.growth, texts, 1)],
        margin=_MARGIN,
        xaxis=_X_DAY,
        yaxis=_value_axis(_top(meter.growth)),
    )
    most = int(np.argmax(meter.growth))
    summary = (
        f"{number_text(float(meter.growth.sum()))}{unit} in {plural(len(meter.days), 'day')}; "
        f"most on {day_text(meter.days[most])}: {number_text(float(meter.growth[most]))}{unit}."
    )
    key = meter.key
    title = short_capability(key.capability, key.component, key.attribute)
    return Panel(key.device_id, title + _in(meter.unit), summary, figure, "day", _PANEL)


_X_DAY = {"type": "date", "fixedrange": True}


def _pairs(days: list[date], values: npt.NDArray[Any]) -> list[tuple[date, float]]:
    return list(zip(days, values.tolist(), strict=True))


def _bars(go: Any, days: list[date], values: npt.NDArray[Any], texts: list[str], colour: int, **more: Any) -> Any:
    return go.Bar(
        x=_iso(days),
        y=values,
        width=0.78 * _DAY,
        hovertext=texts,
        hoverinfo="text",
        meta={"paint": "bar", "colour": colour},
        **more,
    )


def state_panel(series: StateDays) -> Panel:
    """How long each state held in each local day, stacked; states of idleness wait in the legend."""
    go = require_plotly()
    lengths: list[tuple[str, npt.NDArray[np.float64]]] = list(series.seconds.items())
    if series.other is not None:
        lengths.append(("all others", series.other))
    day_total = np.sum([seconds for _, seconds in lengths], axis=0)
    idle = [name.lower() in IDLE for name, _ in lengths]
    active = np.sum(
        [np.zeros(len(series.days)), *(s for (_, s), i in zip(lengths, idle, strict=True) if not i)], axis=0
    )
    scale, unit = (60.0, "minutes") if 0 < active.max(initial=0.0) < 5400 else (3600.0, "hours")
    traces = []
    busy = 0
    for (name, seconds), is_idle in zip(lengths, idle, strict=True):
        busy += not is_idle
        texts = [
            f"<b>{day_text(day)}</b><br>{plot_text(shorten(name, 40))}: {duration_text(held)}"
            + (f" ({100 * held / whole:.3g} %)" if whole else "")
            for day, held, whole in zip(series.days, seconds.tolist(), day_total.tolist(), strict=True)
        ]
        hidden = is_idle and not all(idle)
        colour = 0 if is_idle or name == "all others" else 1 + (busy - 1) % COLOURS
        more = {"name": plot_text(shorten(name, 24) or "(empty)"), "visible": "legendonly" if hidden else True}
        traces.append(_bars(go, series.days, seconds / scale, texts, colour, **more))
    figure = _json(
        traces,
        barmode="stack",
        showlegend=True,
        margin=_MARGIN,
        xaxis=_X_DAY,
        yaxis=_value_axis(24),
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    parts = [f"{name} {duration_text(float(seconds.sum()))}" for name, seconds in lengths[:3]]
    key = series.key
    title = f"{short_capability(key.capability, key.component, key.attribute)}, {unit} a day"
    summary = f"{', '.join(parts)}; {plural(series.changes, 'change')}."
    return Panel(key.device_id, title, summary, figure, "day", _PANEL + 30)


def session_panel(sessions: SessionDays) -> Panel:
    """How many sessions began on each local day."""
    go = require_plotly()
    texts = [
        f"<b>{day_text(day)}</b><br>{plural(n, 'session')}<br>{plural(events, 'event')}"
        for day, n, events in zip(sessions.days, sessions.sessions.tolist(), sessions.events.tolist(), strict=True)
    ]
    axis = _value_axis(_top(sessions.sessions), whole=True)
    figure = _json([_bars(go, sessions.days, sessions.sessions, texts, 1)], margin=_MARGIN, xaxis=_X_DAY, yaxis=axis)
    summary = f"{plural(int(sessions.sessions.sum()), 'session')} of {plural(int(sessions.events.sum()), 'event')}."
    return Panel(sessions.device_id, "sessions a day", summary, figure, "day", _PANEL)
