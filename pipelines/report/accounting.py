"""The sections in words and tables: what went in and came out, and what could not be understood."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from thingbeam.pipelines.report.load import Account, Results, milliseconds
from thingbeam.pipelines.report.markup import Html, el, heads, join
from thingbeam.pipelines.report.words import HomeClock, day_text, labels, minute_text, plural, shorten
from thingbeam.schemas.codes import CODES

__all__ = ["account_section", "dead_letter_section", "late_section"]

_EXAMPLES = 3
_CODES = 20
_PAYLOAD = 400
_TEXT = 300


def _count(n: int) -> Html:
    return el("td", f"{n:,}", class_="n")


def _share(n: int, whole: int, kind: str | None = None) -> Html:
    part = f"width:{100 * min(n / whole, 1):.4g}%" if n and whole else None
    return el("td", el("div", el("i", style=part, class_=kind) if part else None), class_="share", aria_hidden="true")


def account_section(results: Results) -> Html:
    """What went in, where it went, whether that adds up, and what came out."""
    account = results.account
    if account is None:
        return join(
            el("p", "The directory has no account.json, so what the run read is not known.", class_="note"),
            _came_out(results, None),
        )
    events = account.counted + account.duplicates + account.late + account.ignored
    rows = [
        ("counted", account.counted, "in the results", None),
        ("duplicates", account.duplicates, "seen before, within the horizon", "c2"),
        ("late", account.late, "after their time was closed", "c2"),
        ("ignored", account.ignored, "of no device, or of an attribute that the table ignores", "c2"),
    ]
    table = el(
        "table",
        el("caption", "What went in, and where it went"),
        heads("", "#Count", "Share of the events"),
        el(
            "tbody",
            el("tr", el("th", "Lines read", scope="row"), _count(account.lines), el("td")),
            el("tr", el("th", "Dead letters", scope="row"), _count(account.dead_letters), el("td")),
            el("tr", el("th", "Events", scope="row"), _count(account.events), _share(account.events, account.events)),
            *(
                el(
                    "tr",
                    el("th", join(name, el("span", f" – {meaning}", class_="lead")), scope="row"),
                    _count(n),
                    _share(n, account.events, kind),
                    class_="into",
                )
                for name, n, meaning, kind in rows
            ),
            el(
                "tr",
                el("th", "Sum of these", scope="row"),
                _count(events),
                _share(events, account.events),
                class_="sum",
            ),
        ),
    )
    return join(el("div", table, class_="scroll"), _balance(account, events), _came_out(results, account))


def _balance(account: Account, events: int) -> Html:
    parts = f"{account.counted:,} counted + {account.duplicates:,} duplicates + {account.late:,} late"
    parts += f" + {account.ignored:,} ignored"
    items = [_verdict(account.events == events, f"{account.events:,} events = {parts}", account.events - events)]
    dead = account.dead_letters
    if account.lines == account.events + dead:
        equation = f"{account.lines:,} lines = {parts} + {dead:,} dead letters"
        items.append(_verdict(account.lines == events + dead, equation, account.lines - events - dead))
    else:
        text = f"{account.lines:,} lines gave {account.events:,} events and {dead:,} dead letters"
        items.append(el("li", f"• {text}: a line may hold several events, or none."))
    return el("ul", *items, class_="balance", data_balance="yes" if account.events == events else "no")


def _verdict(good: bool, equation: str, difference: int) -> Html:
    if good:
        return el("li", el("span", "✓ balances: ", class_="good"), equation)
    return el("li", el("span", f"✗ differs by {abs(difference):,}: ", class_="bad"), equation.replace("=", "≠", 1))


def _came_out(results: Results, account: Account | None) -> Html:
    shown = {"activities": results.activities, "sessions": results.sessions, "usage": results.usage}
    body = []
    for kind, counted in (
        ("activities", account and account.activities),
        ("sessions", account and account.sessions),
        ("usage", account and account.usage),
        ("late", account and account.late),
        ("dead-letters", account and account.dead_letters),
    ):
        rows = results.rows[kind]
        kept = shown[kind].num_rows if kind in shown else rows
        agrees = counted is None or counted in (rows, kept)
        body.append(
            el(
                "tr",
                el("th", kind.replace("-", " "), scope="row"),
                el("td", "–" if counted is None else f"{counted:,}", class_="n"),
                _count(rows),
                _count(kept),
                el("td", "" if agrees else el("span", "differs", class_="bad")),
            )
        )
    table = el(
        "table",
        el("caption", "What came out: rows by the run's account, in the files, and at their newest revision"),
        heads("", "#Account", "#In the files", "#Newest", ""),
        el("tbody", *body),
        class_="narrow",
    )
    stops = account.stops_without_start if account else 0
    note = f"{plural(stops, 'stop')} came while nothing was open, and made no activity." if stops else None
    return join(el("div", table, class_="scroll"), el("p", note, class_="say") if note else None)


def late_section(results: Results, names: Mapping[str, str], clock: HomeClock) -> Html:
    """The late events by device, those with the most first."""
    table = results.late
    owners = table.column("device_id").to_pylist()
    times = milliseconds(table.column("event_time")).tolist()
    found: dict[str, list[float]] = {}
    for owner, at in zip(owners, times, strict=True):
        found.setdefault(owner or "", []).append(at)
    ranked = sorted(found, key=lambda owner: (-len(found[owner]), owner))
    called = labels(ranked, names)
    rows = [
        el(
            "tr",
            el("th", called[owner], scope="row"),
            _count(len(found[owner])),
            el("td", _short(clock.at(min(found[owner])))),
            el("td", _short(clock.at(max(found[owner])))),
        )
        for owner in ranked[:_CODES]
    ]
    more = f"And {plural(len(ranked) - _CODES, 'more device')}." if len(ranked) > _CODES else None
    return join(
        el(
            "div",
            el(
                "table",
                el("caption", "Late events by device"),
                heads("Device", "#Events", "Earliest", "Latest"),
                el("tbody", *rows),
                class_="narrow",
            ),
            class_="scroll",
        ),
        el("p", more, class_="say") if more else None,
    )


def _short(moment: datetime) -> str:
    return f"{day_text(moment.date(), weekday=False)}, {moment:%H:%M}"


def dead_letter_section(results: Results, clock: HomeClock) -> Html:
    """The dead letters by reason, with some examples of each."""
    table = results.dead_letters
    if not table.num_rows:
        return el("p", "There are none: everything that was read was understood.", class_="nothing")
    places: dict[str, list[int]] = {}
    for at, code in enumerate(table.column("code").to_pylist()):
        places.setdefault(code, []).append(at)
    ranked = sorted(places, key=lambda code: (-len(places[code]), code))
    rows = [
        el(
            "tr",
            el("th", el("code", shorten(code, 60)), el("div", CODES.get(code), class_="lead"), scope="row"),
            _count(len(places[code])),
            _share(len(places[code]), table.num_rows, "c2"),
        )
        for code in ranked[:_CODES]
    ]
    left = len(ranked) - _CODES
    more = el("p", f"And {plural(left, 'more reason')}.", class_="say") if left > 0 else None
    examples = []
    for code in ranked[:_CODES]:
        some = table.take(places[code][:_EXAMPLES])
        examples.append(
            el(
                "details",
                el("summary", f"{plural(some.num_rows, 'example')} of {shorten(code, 60)}"),
                *(
                    _letter(letter, at, clock)
                    for letter, at in zip(some.to_pylist(), milliseconds(some["time"]).tolist(), strict=True)
                ),
            )
        )
    return join(
        el(
            "div",
            el(
                "table",
                el("caption", "Dead letters by reason"),
                heads("Reason", "#Count", ""),
                el("tbody", *rows),
            ),
            class_="scroll",
        ),
        more,
        *examples,
    )


def _letter(letter: dict[str, object], at: float, clock: HomeClock) -> Html:
    payload = letter["payload"]
    data = payload if isinstance(payload, bytes) else b""
    text = data[:_PAYLOAD].decode("utf-8", "backslashreplace")
    where = f"{letter['source']}, {letter['position']}, in {letter['step']}, {minute_text(clock.at(at), offset=True)}"
    return el(
        "div",
        el("p", shorten(str(letter["error"]), _TEXT)),
        el("p", shorten(where, _TEXT), class_="from"),
        el("pre", text + (f" … ({len(data):,} bytes)" if len(data) > _PAYLOAD else "")),
        class_="letter",
    )
