"""The form of a line says of other lines what json says of them, and nothing of lines that it does not fit."""

from __future__ import annotations

import json
import random
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lines
from thingbeam.schemas.batch import Description
from thingbeam.transforms.columns.form import Form, form_of
from thingbeam.transforms.envelopes import Limits

TYPES = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
PLAIN_ID = re.compile(r"(?!0{8}-0{4}-0{4}-0{4}-0{12})[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLAIN_TIME = re.compile(r"[1-9][0-9]{12}|[0-9-]{10}T[0-9:]{8}(\.[0-9]+)?Z")
PLACES = re.compile(
    rb'"eventTime":"?(?P<time>[^",]+)|"(?:eventId|deviceId|locationId)":"(?P<id>[^"]+)'
    rb'|"ownerId":"(?P<owner>[^"]+)|"value":-?(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?'
)

NUMBERS = ("3480.5", "7", "10", "-1", "-0", "-12.50", "0.1", "0.30", "5.0", "-0.00", "1.005", "12345678.1234567")
LONGEST = ("999999999999999", "-100000000000000", "12345678.1234567", "0.00000000000001", "99999999999999.9")
TIMES = (1_175_378_400_000, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00.123Z", "2026-03-01T23:59:59.123456789Z")


def found_in(line: bytes, limits: Limits = Limits()) -> Form | None:  # noqa: B008 - it is immutable
    """The form of a line that stands between others."""
    return form_of(b"before\n" + line + b"\nafter", 7, 7 + len(line), limits)


def form(line: bytes) -> Form:
    found = found_in(line)
    assert found is not None, line
    return found


def told(found: Form, line: bytes) -> tuple[Any, ...] | None:
    """What a form says of a line as long as its own; None where the line is not of this form.

    What ids and times look like is for those to see who read them.
    """
    octets = np.frombuffer(line.ljust(found.words.nbytes, b"\n"), np.uint8)
    if ((octets.view(np.uint64) & found.fixed) != found.words).any():
        return None
    bits = found.value
    if found.number is not None:
        read, good = found.number.read(octets.reshape(1, -1))
        if not good[0]:
            return None
        bits = int(read[0])
    event, device, home, again = (
        line[at : at + 36].decode("latin-1") for at in (found.event, found.device, found.home, found.again)
    )
    if home != again or not all(map(PLAIN_ID.fullmatch, (event, device, home))):
        return None
    time = line[found.time : found.time + found.time_length].decode("latin-1")
    if not PLAIN_TIME.fullmatch(time):
        return None
    value = found.text if found.description.value_type in ("string", "null") else bits
    return time, event, device, home, found.description, value


def so(line: bytes) -> tuple[Any, ...]:
    """What json says of it."""
    document = json.loads(line)
    event = document["deviceEvent"]
    value = event.get("value")
    if isinstance(value, bool | int | float):
        [value_or_bits] = struct.unpack("<Q", struct.pack("<d", value))
    else:
        value_or_bits = value
    described = Description(
        document["eventType"], event["componentId"], event["capability"], event["attribute"], TYPES[type(value)],
        event.get("unit") or None, event.get("stateChange"), None, None,
    )  # fmt: skip
    return (
        str(document["eventTime"]),
        *(event[name] for name in ("eventId", "deviceId", "locationId")),
        described,
        value_or_bits,
    )


def free_places(line: bytes) -> set[int]:
    """Where lines of one form may differ: the time, the letters of ids, the digits of the number."""
    places: set[int] = set()
    for match in PLACES.finditer(line):
        for name, text in match.groupdict().items():
            if text is not None and (name != "owner" or text.decode() == lines.HOME):
                skipped = b"-" if name in ("id", "owner") else b""
                places |= {at for at in range(*match.span(name)) if line[at] not in skipped}
    return places


def with_digits(chance: random.Random, digits: str) -> str:
    """Another number with its digits in the same places."""
    leads = len(digits.lstrip("-").partition(".")[0]) > 1
    text = "".join(chance.choice("0123456789") if each.isdigit() else each for each in digits)
    first = len(digits) - len(digits.lstrip("-"))
    return text[:first] + chance.choice("123456789") + text[first + 1 :] if leads else text


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(
    "value", ["on", "", "1.5", "é", True, False, None, *map(lines.Token, (*NUMBERS, *LONGEST))], ids=repr
)
def test_a_form_fits_its_own_line(value: object, time: object) -> None:
    for more in ({}, {"ownerId": lines.HOME}, {"ownerId": "somebody"}):
        line = lines.event(7, value=value, eventTime=time, **more)
        assert told(form(line), line) == so(line)


@pytest.mark.parametrize("digits", [*NUMBERS, *LONGEST])
def test_other_times_ids_and_digits_are_of_one_form(digits: str) -> None:
    chance = random.Random(digits)
    found = form(lines.event(0, value=lines.Token(digits), ownerId=lines.HOME))
    for number in range(40):
        home = chance.choice((lines.HOME, lines.DEVICES[1], "0123ef00-0000-4000-8000-00000000000a"))
        line = lines.event(
            number, value=lines.Token(with_digits(chance, digits)), locationId=home, ownerId=home,
            deviceId=f"{chance.getrandbits(32):08x}-1111-4111-8111-111111111111",
            eventTime=chance.randrange(10**12, 10**13),
        )  # fmt: skip
        assert told(found, line) == so(line)


@pytest.mark.parametrize("digits", NUMBERS)
@pytest.mark.parametrize("more", [{}, {"ownerId": lines.HOME}, {"ownerId": lines.DEVICES[1]}], ids=repr)
def test_all_else_is_fixed(digits: str, more: dict[str, Any]) -> None:
    line = lines.event(7, value=lines.Token(digits), **more)
    found, free = form(line), free_places(line)
    for at in range(len(line)):
        if at not in free:
            assert told(found, line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]) is None, line[at:]
    fixed = found.fixed.view(np.uint8)
    assert set(np.flatnonzero(fixed[: len(line)] == 0).tolist()) == free
    assert not fixed[len(line) :].any(), "what comes after the line is nothing to it"


fields = st.fixed_dictionaries(
    {
        "value": st.sampled_from([*map(lines.Token, (*NUMBERS, *LONGEST)), "on", True, None]),
        "eventTime": st.sampled_from(TIMES),
    },
    optional={"ownerId": st.sampled_from([lines.HOME, lines.DEVICES[1]]), "unit": st.sampled_from(["W", "", "°C"])},
)
# The neighbours of the digits are the likeliest to be taken for one.
octets = st.one_of(
    st.sampled_from(b"0123456789/:"), st.sampled_from(b'-+.eE"\\{}, abcdefABCDEF\0'), st.integers(0, 255)
)


@given(fields, st.lists(st.tuples(st.integers(0, 1 << 30), octets, st.booleans()), min_size=1, max_size=6))
@settings(max_examples=200)
def test_what_a_form_says_of_any_line_is_so(given: dict[str, Any], damage: list[tuple[int, int, bool]]) -> None:
    line = lines.event(7, **given)
    found, free = form(line), sorted(free_places(line))
    other = bytearray(line)
    for at, octet, anywhere in damage:
        other[at % len(other) if anywhere else free[at % len(free)]] = octet
    said = told(found, bytes(other))
    assert said is None or said == so(bytes(other))


@pytest.mark.parametrize("octet", [b"/", b":", b" ", b"-", b"e", b"\xb0"])
@pytest.mark.parametrize("digits", ["3480.5", "7", "0.30"])
def test_what_stands_next_to_the_digits_is_none(digits: str, octet: bytes) -> None:
    line = lines.event(7, value=lines.Token(digits))
    begin = line.index(b'"value":') + len(b'"value":')
    for at in range(begin, begin + len(digits)):
        assert told(form(line), line[:at] + octet + line[at + 1 :]) is None


def test_a_number_keeps_its_sign_and_the_first_digit_of_several_is_not_zero() -> None:
    found = form(lines.event(7, value=lines.Token("-12.5")))
    zero, small = (lines.event(7, value=lines.Token(text)) for text in ("-02.5", "-92.5"))
    assert told(found, zero) is None
    assert told(found, small) == so(small)
    minus = lines.event(7, value=lines.Token("-0.0"))
    assert told(form(lines.event(7, value=lines.Token("-1.5"))), minus) == so(minus)


LINE = lines.event(7)
NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "line",
    [
        *(lines.event(7, value=lines.Token(text)) for text in ("1e3", "-1.5E2")),
        *(lines.event(7, value=lines.Token(text)) for text in ("1234567890123456", "0.000000000000001")),
        *(lines.event(7, value=value) for value in ({"a": 1}, [1])),
        *(lines.event(7, eventTime=time) for time in (1_175_378_400, 11_753_784_000_000, "2026-02-29T00:00:00Z")),
        lines.event(7, eventTime="2026-03-01T01:00:00+01:00"),
        *(lines.event(7, deviceId=text) for text in ("d1", NIL, lines.DEVICES[0].upper(), lines.HOME)),
        lines.event(7, locationId=None),
        lines.event(7, locationId=lines.DEVICES[0]),
        *(lines.event(7, **{name: lines.HOME}) for name in ("value", "unit", "componentId", "attribute")),
        lines.event(7, ownerId=lines.HOME, data={"home": lines.HOME}),
        lines.event(7, ownerId=lines.DEVICES[0]),
        # The number of a value of something else, before or after, or where the event's own is named with an escape.
        LINE.replace(b',"data":{}', b"").replace(b'"value"', b'"data":{"value":5},"value"'),
        LINE.replace(b'"data":{}', b'"data":{"value":5}'),
        LINE.replace(b'"data":{}', b'"data":{"value":5}').replace(b'"value":3480.5', rb'"v\u0061lue":3480.5'),
        # A time that stands in what nobody reads, too.
        LINE.replace(b',"data":{}', b"").replace(b'"value"', b'"data":{"a":1175378400007},"value"'),
        b'{"deviceEvent":' + LINE.partition(b'"deviceEvent":')[2][:-1].replace(b"{}", b'{"a":1175378400007}')
        + b',"eventTime":1175378400007,"eventType":"DEVICE_EVENT"}',
        LINE[:-1],
        LINE + b"}",
        b"",
    ],
)  # fmt: skip
def test_lines_without_a_form(line: bytes) -> None:
    assert found_in(line) is None


def test_a_line_that_is_too_long_has_no_form() -> None:
    assert found_in(LINE, Limits(max_value_bytes=len(LINE) + 1)) is not None
    assert found_in(LINE, Limits(max_value_bytes=len(LINE) - 1)) is None
