"""Numbers, times and names as a person reads them, whatever they hold."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

__all__ = [
    "HomeClock",
    "day_text",
    "duration_text",
    "labels",
    "minute_text",
    "number_text",
    "plot_text",
    "plural",
    "short_capability",
    "shorten",
    "span_text",
    "visible",
]

# Not strftime: its names follow the process's locale, and the page is English.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    r"""Text with every character that a browser would act on rather than draw shown as its code.

    Controls, direction overrides, line separators and lone surrogates become `\uXXXX`; joiners, which emoji and
    some scripts need, stay.

    >>> visible("a\u202eb\x00\n")
    'a\\u202eb\\u0000\\u000a'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in _ACTING and c not in _JOINERS else c for c in text)


def plot_text(text: str) -> str:
    """Text for a plotly label, which would otherwise read tags and entities in it.

    >>> plot_text("<b>a & b</b>")
    '&lt;b&gt;a &amp; b&lt;/b&gt;'
    """
    return html.escape(visible(text), quote=False)


def shorten(text: str, most: int) -> str:
    """The first characters of a text, with an ellipsis where some were left out.

    >>> shorten("washer", 4)
    'was…'
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def plural(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "activity", "activities"), plural(1200, "row")
    ('1 activity', '1,200 rows')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def number_text(value: float) -> str:
    """A number with four digits that count, or all of its whole ones.

    >>> number_text(1083.27), number_text(0.05678), number_text(-3.0)
    ('1,083', '0.05678', '-3')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.4g}"
    return text if "e" in text else f"{float(text):,}".removesuffix(".0")


def duration_text(seconds: float) -> str:
    """Seconds in the two largest units that fit.

    >>> duration_text(59), duration_text(3660), duration_text(90000), duration_text(0.5)
    ('59 s', '1 h 1 min', '1 d 1 h', '0.5 s')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for unit, name, lower, lower_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // lower
            return f"{whole // unit:,} {name}" + (f" {rest} {lower_name}" if rest else "")
    return f"{whole} s"


def day_text(day: date, *, weekday: bool = True, year: bool = True) -> str:
    """A day of the calendar.

    >>> day_text(date(2007, 4, 2)), day_text(date(2007, 4, 2), weekday=False, year=False)
    ('Mon 2 Apr 2007', '2 Apr')
    """
    text = f"{day.day} {_MONTHS[day.month - 1]}"
    return (f"{_DAYS[day.weekday()]} " if weekday else "") + text + (f" {day.year}" if year else "")


def span_text(first: date, last: date) -> str:
    """The days from one to another, both included.

    >>> span_text(date(2007, 4, 1), date(2007, 4, 30)), span_text(date(2006, 12, 30), date(2007, 1, 2))
    ('1 – 30 Apr 2007', '30 Dec 2006 – 2 Jan 2007')
    """
    end = day_text(last, weekday=False)
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} – {end}"
    return f"{day_text(first, weekday=False, year=first.year != last.year)} – {end}"


def minute_text(moment: datetime, *, seconds: bool = False, offset: bool = False) -> str:
    """A local time, with its offset where that is asked.

    >>> minute_text(datetime(2007, 4, 2, 7, 30, 5, tzinfo=UTC), seconds=True, offset=True)
    'Mon 2 Apr 2007, 07:30:05 (UTC)'
    """
    clock = f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
    return f"{day_text(moment.date())}, {clock}" + (f" ({_offset_text(moment)})" if offset else "")


def _offset_text(moment: datetime) -> str:
    shift = moment.utcoffset() or timedelta()
    if not shift:
        return "UTC"
    minutes = round(abs(shift).total_seconds() / 60)
    return f"UTC{'+' if shift > timedelta() else '−'}{minutes // 60}" + (f":{minutes % 60:02}" if minutes % 60 else "")


def labels(ids: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """A name for each id that no other of them has: its given name, or the first part of a UUID, or the id.

    >>> labels(["a35021ab-b7b1-5bee-9a0a-2edef36b0fbd", "plug"], {"plug": "Kettle"})
    {'a35021ab-b7b1-5bee-9a0a-2edef36b0fbd': 'a35021ab', 'plug': 'Kettle'}
    >>> labels(["lamp-1", "lamp-2"], {"lamp-1": "Lamp", "lamp-2": "Lamp"})
    {'lamp-1': 'Lamp …mp-1', 'lamp-2': 'Lamp …mp-2'}
    """
    chosen = {i: shorten(visible(names.get(i) or _short_id(i)), 28) for i in dict.fromkeys(ids)}
    alike: dict[str, list[str]] = {}
    for device, text in chosen.items():
        alike.setdefault(text, []).append(device)
    for text, devices in alike.items():
        if len(devices) > 1:
            tails = (4, 8, 12, 16, max(map(len, devices)))
            tail = next(n for n in tails if n == tails[-1] or len({d[-n:] for d in devices}) == len(devices))
            chosen.update((d, f"{shorten(text, 20)} …{visible(d[-tail:])}") for d in devices)
    taken: dict[str, int] = {}
    for device, text in chosen.items():
        taken[text] = taken.get(text, 0) + 1
        if taken[text] > 1:
            chosen[device] = f"{text} #{taken[text]}"
    return chosen


def _short_id(device: str) -> str:
    try:
        UUID(device)
    except ValueError:
        return device or "(no id)"
    return device[:8]


def short_capability(capability: str, component: str = "main", attribute: str = "") -> str:
    """What a series is of, without a vendor's prefix; the attribute only where it says more.

    >>> short_capability("samsungce.washerCycle"), short_capability("switch", "rear", "switch")
    ('washerCycle', 'switch (rear)')
    >>> short_capability("powerMeter", attribute="power")
    'power'
    """
    text = attribute or capability.rpartition(".")[2] or "(none)"
    return visible(shorten(text, 28) + (f" ({shorten(component, 16)})" if component not in ("main", "") else ""))


class HomeClock:
    """The clock on the home's wall.

    Attributes:
        name: the time zone, as the IANA database has it.
        known: whether the zone asked for exists; where it does not, the clock shows UTC.
    """

    def __init__(self, zone: str) -> None:
        self.known = True
        try:
            self._zone: tzinfo = ZoneInfo(zone)
            self.name = zone
        except (ValueError, OSError, KeyError):  # ZoneInfo raises any of them, by the kind of wrong name
            self._zone, self.name, self.known = UTC, "UTC", False

    def at(self, milliseconds: float) -> datetime:
        """The local time of an instant, given in milliseconds since 1970 UTC."""
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)).astimezone(self._zone)

    def beside(self, milliseconds: float, local: str) -> datetime:
        """The local time of an instant for a record whose start the record itself gives in local time.

        A home in another zone than the run's shows in its own offset.

        Args:
            milliseconds: the instant, since 1970 UTC.
            local: the record's `start_local`, RFC 3339 with an offset.
        """
        start = datetime.fromisoformat(local)
        if start.utcoffset() == start.astimezone(self._zone).utcoffset():
            return self.at(milliseconds)
        shift = start.utcoffset() or timedelta()
        return self.at(milliseconds).astimezone(timezone(shift))

    def offsets(self, first: float, last: float) -> list[tuple[float, float]]:
        """The zone's offsets from UTC over a span.

        Args:
            first: where the span begins, in milliseconds since 1970 UTC.
            last: where it ends.

        Returns:
            Pairs (from when, milliseconds to add to UTC), the first at `first`.

        >>> paris = HomeClock("Europe/Paris").offsets(1174700000000, 1174900000000)
        >>> [(round(at), shift // 3600000) for at, shift in paris]
        [(1174700000000, 1.0), (1174784400000, 2.0)]
        """
        found = [(first, self._shift(first))]
        step, at = 86_400_000.0, first
        while at < last:
            after = min(at + step, last)
            if self._shift(after) != found[-1][1]:
                low, high = at, after
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if self._shift(middle) == found[-1][1] else (low, middle)
                found.append((high, self._shift(high)))
            at = after
        return found

    def _shift(self, milliseconds: float) -> float:
        return (self.at(milliseconds).utcoffset() or timedelta()).total_seconds() * 1000
