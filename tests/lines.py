"""Lines of every kind for parsers: strategies that write JSON token by token, so that it can be wrong in any place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

DEVICES = ("a35021ab-b7b1-5bee-9a0a-2edef36b0fbd", "f50cd826-f963-5680-8d45-26b23846bb11")
HOME = "f2f79c17-cd35-59d1-8d30-225399fa1261"


class Token(NamedTuple):
    """What stands in the document as it is."""

    text: str


class Members(NamedTuple):
    """An object as its members, of which several may have one key."""

    pairs: tuple[tuple[str, Any], ...]


def render(value: Any, *, comma: str = ",", colon: str = ":", ascii_only: bool = False) -> str:
    """JSON of a value made of dicts, lists, Members, Tokens and scalars."""
    if isinstance(value, Token):
        return value.text
    if isinstance(value, Members | dict):
        pairs = value.pairs if isinstance(value, Members) else value.items()
        inside = (
            f"{json.dumps(key, ensure_ascii=ascii_only)}{colon}"
            f"{render(member, comma=comma, colon=colon, ascii_only=ascii_only)}"
            for key, member in pairs
        )
        return "{" + comma.join(inside) + "}"
    if isinstance(value, list):
        return (
            "[" + comma.join(render(member, comma=comma, colon=colon, ascii_only=ascii_only) for member in value) + "]"
        )
    return json.dumps(value, ensure_ascii=ascii_only)


def nested(depth: int, inside: str = "1", kind: str = "[]") -> Token:
    """A value in so many arrays or objects."""
    opening = "[" if kind == "[]" else '{"a":'
    return Token(opening * depth + inside + kind[1] * depth)


def event(number: int = 0, **fields: Any) -> bytes:
    """A good device event as a line, with some of its fields as given; a field of None is left out."""
    body: dict[str, Any] = {
        "eventId": f"00000000-0000-4000-8000-{number:012d}",
        "locationId": HOME,
        "deviceId": DEVICES[0],
        "componentId": "main",
        "capability": "powerMeter",
        "attribute": "power",
        "value": 3480.5,
        "unit": "W",
        "stateChange": True,
        "data": {},
    }
    time = fields.pop("eventTime", 1_175_378_400_000 + number)
    body |= fields
    body = {name: value for name, value in body.items() if value is not None}
    return render({"eventTime": time, "eventType": "DEVICE_EVENT", "deviceEvent": body}).encode()


def webhook(*events: bytes, token: str = "0f6c-SECRET-9e2b") -> bytes:
    """Events in the call that SmartThings makes of a SmartApp."""
    members = [Token(one.decode()) for one in events]
    return render(
        {
            "lifecycle": "EVENT",
            "executionId": "b328f242-c602-4204-8d73-33c48ae180af",
            "eventData": {
                "authToken": token,
                "installedApp": {"installedAppId": "d692699d", "locationId": HOME},
                "events": members,
            },
        }
    ).encode()


_NEVER = object()

texts = st.one_of(
    st.sampled_from(["on", "off", "active", "W", "", " ", "é", "日本", "😀", "\u0000", "\u2028", 'a"b\\c', "x" * 300]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
"""Any text that JSON has."""

tokens = st.sampled_from(
    [
        *("0", "-0", "-0.0", "1E5", "1e-400", "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "1e999"),
        *("-1e999", "9007199254740993", "-9007199254740992", "9223372036854775808", "18446744073709551616"),
        *("1" + "0" * 308, "1" + "0" * 309, "1" * 5000, "0." + "1" * 400, "1" + "0" * 400 + ".5"),
        *("NaN", "Infinity", "-Infinity", "01", "1.", "+1", ".5", "0x1", "tru", "nul", "'a'", '"\\ud800"', '"\\q"'),
        *('"\\ud83d\\ude00"', '"\\u00e9\\u0000"', '"\\/"', '"\t"', "[]", "{}", "[1,]", '{"a":1,}', "{1:2}", '""'),
        *('{"lastReset":"2026-01-01T00:00:00Z"}', '{"last_reset":1}', '{"lastReset":"soon"}', '{"lastReset":null}'),
        *('{"codeId":"1"}', '{"a":{"b":[1]}}', '{"token":"T0P-SECRET"}', '{"a":1e999}', '{"a":NaN}'),
    ]
).map(Token)
"""Numbers at the edges, things that are no JSON, and some that are."""

deep = st.builds(nested, st.sampled_from([1, 2, 60, 61, 62, 63, 64, 65, 66, 2000]), kind=st.sampled_from(["[]", "{}"]))

values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    tokens,
    deep,
    st.recursive(
        st.one_of(st.none(), st.integers(0, 9), texts),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
        max_leaves=6,
    ),
)
"""Anything that may stand as a value, good or bad."""

_DIGITS = st.integers(0, 9)
clocks = st.builds(
    "{:04d}-{:02d}-{:02d}{}{:02d}:{:02d}:{:02d}{}{}".format,
    st.sampled_from([0, 1, 1969, 1970, 1971, 1972, 1999, 2000, 2024, 2026, 2100, 2199, 2200, 9999]),
    st.sampled_from([0, 1, 2, 3, 12, 13]),
    st.sampled_from([0, 1, 28, 29, 30, 31, 32]),
    st.sampled_from(["T", "T", "T", "t", " ", "_"]),
    st.sampled_from([0, 12, 23, 24]),
    st.sampled_from([0, 59, 60]),
    st.sampled_from([0, 1, 59, 60, 61]),
    st.one_of(
        st.sampled_from(["", ".", ".5", ".123", ".123456", ".123456789", ".1234567890", ",5", ".12a", ".١"]),
        st.text("0123456789", min_size=1, max_size=9).map(".{}".format),
    ),
    st.sampled_from(
        ["Z", "Z", "Z", "z", "+00:00", "-00:00", "+05:45", "-23:59", "+24:00", "+01:60", "", "+0100", "Zx"]
    ),
)
"""Texts that are, or nearly are, RFC 3339 times."""

good_clocks = st.builds(
    "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}{}{}".format,
    st.integers(1969, 2201),
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(["", ".5", ".123", ".123456", ".123456789"]),
    st.sampled_from(["Z", "Z", "Z", "+01:00", "-05:30"]),
)

times: st.SearchStrategy[Any] = st.one_of(
    st.integers(1_175_378_400_000, 1_175_378_500_000),
    good_clocks,
    clocks,
    st.sampled_from(
        [
            *(0, -1, 31_535_999_999, 31_536_000_000, 7_258_118_400_000, 7_258_118_400_001, 2**53, 2**53 + 1, -(2**53)),
            # Times 1000 these are possible times again, modulo 2 ** 64.
            *(2**61 + 1_175_378_400_000, 2**63, 2**64, 10**400, 1175378400000.0, 1175378400000.25, 1e300, True, None),
            "",
            Token("1175378400000.0"),
            Token("11753784e5"),
            Token("NaN"),
            Token("[]"),
        ]
    ),
)


@st.composite
def device_events(draw: st.DrawFn) -> bytes:
    """SmartThings device events with fields of all kinds there, not there, twice, or wrong."""
    often = st.sampled_from([True, True, True, True, True, True, True, False])
    body: list[tuple[str, Any]] = []

    def member(name: str, usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any] = values) -> None:
        if draw(often):
            body.append((name, draw(usual if draw(often) else odd)))

    uuids = st.uuids().map(str)
    member("eventId", uuids, st.one_of(uuids.map(str.upper), texts, values))
    member("locationId", st.sampled_from([HOME, "home-1", ""]))
    member("ownerId", st.just(HOME))
    member("deviceId", st.sampled_from([*DEVICES, "lamp-1"]), st.one_of(texts, values))
    member("componentId", st.sampled_from(["main", "freezer", ""]))
    member("capability", st.sampled_from(["switch", "powerMeter"]), st.one_of(texts, values))
    member("attribute", st.sampled_from(["switch", "power"]), st.one_of(texts, values))
    member("value", st.one_of(st.floats(-1e9, 1e9), st.sampled_from(["on", "off"]), st.booleans(), st.integers(0, 99)))
    member("valueType", st.just("NUMBER"))
    member("unit", st.sampled_from(["W", "°C", ""]))
    member("stateChange", st.booleans())
    member("data", st.sampled_from([{}, None, {"codeId": "1"}]))
    member("subscriptionName", st.just("all"))
    if not draw(often):
        body.append(
            (draw(st.sampled_from(["colour", "timestamp", "eventId", "deviceId", "value", "data"])), draw(values))
        )
    if not draw(often):
        body = draw(st.permutations(body))
    kind = "DEVICE_EVENT" if draw(often) else draw(st.sampled_from(["DEVICE_HEALTH_EVENT", "X_EVENT", "", None, 3]))
    line: list[tuple[str, Any]] = [
        ("eventTime", draw(times)),
        ("eventType", kind),
        ("deviceEvent", Members(tuple(body))),
    ]
    if not draw(often):
        line.append(draw(st.tuples(st.sampled_from(["notificationType", "extra", "eventTime", "deviceEvent"]), values)))
    if not draw(often):
        line = [pair for pair in draw(st.permutations(line)) if draw(often)]
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\r ")]))
    return render(Members(tuple(line)), comma=comma, colon=colon, ascii_only=draw(st.booleans())).encode()


good_events = st.builds(
    event,
    st.integers(0, 50),
    eventTime=st.one_of(st.integers(1_175_378_400_000, 1_175_378_500_000), good_clocks),
    value=st.one_of(st.floats(-1e9, 1e9), st.sampled_from(["on", "off", "é"]), st.booleans(), st.integers(0, 99)),
    unit=st.sampled_from([None, "W"]),
    locationId=st.sampled_from([None, HOME, ""]),
)

other_envelopes = st.sampled_from(
    [
        webhook(event(1), event(2, deviceId=None), event(3, value="on")),
        webhook(),
        render(
            {
                "eventType": "DEVICE_HEALTH_EVENT",
                "eventTime": 1_175_378_400_000,
                "deviceHealthEvent": {"eventId": "h1", "deviceId": DEVICES[0], "status": "OFFLINE"},
            }
        ).encode(),
        render({"eventType": "MODE_EVENT", "eventTime": 1_175_378_400_000, "modeEvent": {"modeId": "m"}}).encode(),
        # Enterprise v2: https://developer.smartthings.com/docs/enterprise/enterprise-api-overview/eventing/event-types
        render(
            {
                "notificationType": "DEVICE_EVENT",
                "deviceEvent": {
                    "eventId": "v2",
                    "deviceId": DEVICES[1],
                    "capability": "switch",
                    "attribute": "switch",
                    "value": "on",
                    "timestamp": "2026-03-01T00:00:00.000Z",
                },
            }
        ).encode(),
        # python-matter-server: https://github.com/matter-js/python-matter-server
        b'{"event":"attribute_updated","data":[5,"1/6/0",true]}',
        b'{"event":"node_event","data":{"node_id":5,"endpoint_id":1,"cluster_id":59,"event_id":1,"timestamp":'
        b'1175378400000,"timestamp_type":1,"data":{"newPosition":1}}}',
        b'{"components":{"main":{"switch":{"switch":{"value":"on","timestamp":"2026-03-01T00:00:00.000Z"}}}},'
        b'"deviceId":"d1"}',
        b'{"components":{},"deviceId":"d1"}',
        b"[]",
        b"{}",
        b"[" + event(7) + b"," + event(8, value="off") + b",3]",
        b"null",
        b"3",
        b'"a line"',
    ]
)

junk = st.one_of(
    st.sampled_from(
        [
            *(b"no JSON", b"{", b"}", b'{"eventTime": "not a time", "eventType": ', b"\xff\xfe\x00", b"\x00", b"\x0b"),
            *(b'{"authToken":"T0P-SECRET","a":', b'{"a":"\xed\xa0\x80"}', b"[" * 10_000, b'{"a":' * 10_000),
            b"\xef\xbb\xbf" + event(9),
        ]
    ),
    st.binary(max_size=20),
)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A line of which something was cut, repeated or overwritten."""
    line = draw(st.one_of(good_events, device_events()))
    at = draw(st.integers(0, len(line)))
    return draw(
        st.sampled_from(
            [
                line[:at],
                line[at:],
                line[:at] + b"\xff" + line[at:],
                line[:at] + b" " + line[at:],
                line[:at] + b"\n" + line[at:],
                line[:at] + b"\r" + line[at:],
                line[:at] + b"\\" + line[at + 1 :],
                line[:at] + line,
                line + b"," + line,
            ]
        )
    )


ends = st.sampled_from([b"\n", b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b" \t\n", b"\n \r\n", b" \r\r\n"])


@st.composite
def blobs(draw: st.DrawFn, line: st.SearchStrategy[bytes]) -> bytes:
    """Lines with their ends; the last may have none."""
    lines: Sequence[bytes] = draw(st.lists(line, max_size=12))
    data = b"".join(one + draw(ends) for one in lines)
    return data.rstrip(b"\r\n") if draw(st.booleans()) else data
