"""BlobParser gives what the plain parser gives line by line, whatever is in the lines."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lines
from thingbeam.schemas import codes
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.blob import Blob
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter, Event
from thingbeam.transforms.columns import forms, plain
from thingbeam.transforms.columns import parse as module
from thingbeam.transforms.columns.parse import BlobParser, Parsed
from thingbeam.transforms.envelopes import Context, Failure, Limits, parse_each, redact

NOTHING = Context()
LIMITS = Limits()


class Expected(NamedTuple):
    """What a blob should give."""

    events: list[Event]
    dead: list[tuple[str, str, bytes, str, str]]
    lines: int
    failed: int
    empty: int


def line_by_line(data: bytes, offset: int = 0, context: Context = NOTHING, limits: Limits = LIMITS) -> Expected:
    """The plain parser on each line, read as docs/semantics and the parser's docstring say what a line is."""
    events: list[Event] = []
    dead: list[tuple[str, str, bytes, str, str]] = []
    count = failed = empty = 0
    for line in data.split(b"\n"):
        if line.strip(b" \t\r"):
            count += 1
            payload = line.rstrip(b"\r")
            items = list(parse_each(payload, context, limits))
            some = [item for item in items if isinstance(item, Event)]
            failures = [item for item in items if isinstance(item, Failure)]
            kept = redact(payload)
            again = [item for item in parse_each(kept, context, limits) if isinstance(item, Failure)]
            if [(f.code, f.path) for f in again] == [(f.code, f.path) for f in failures]:
                failures = again
            dead += [(f.code, f.message, kept, "f.jsonl", f"offset={offset} {f.path}".strip()) for f in failures]
            events += some
            failed += bool(failures) and not some
            empty += not failures and not some
        offset += len(line) + 1
    return Expected(events, dead, count, failed, empty)


def shown(events: list[Event]) -> Counter[str]:
    """Events to compare, 0.0 and -0.0 being two."""
    return Counter(map(repr, events))


def as_rows(events: list[Event]) -> list[Event]:
    """Events after they were rows: without ingest time and the digits of large integers."""
    return EventBatch.from_events(events).to_events()


def letters(dead: list[DeadLetter]) -> list[tuple[str, str, bytes, str, str]]:
    return [(letter.code, letter.error, letter.payload, letter.source, letter.position) for letter in dead]


def check(
    parser: BlobParser, data: bytes, offset: int = 0, context: Context = NOTHING, limits: Limits = LIMITS
) -> Parsed:
    parsed = parser.parse(Blob("f.jsonl", offset, data))
    expected = line_by_line(data, offset, context, limits)
    assert letters(parsed.dead_letters) == expected.dead
    assert shown(parsed.to_batch().to_events()) == shown(as_rows(expected.events))
    assert shown(parsed.batch.to_events()) + shown(parsed.events) == shown(
        [event._replace(ingest_time=None) for event in expected.events]
    )
    assert (parsed.lines, parsed.failed_lines, parsed.empty_lines) == (expected.lines, expected.failed, expected.empty)
    assert all(letter.step == "Here" for letter in parsed.dead_letters)
    assert codes.PARSER_ERROR not in {letter.code for letter in parsed.dead_letters}
    return parsed


PARSER = BlobParser(NOTHING, LIMITS, "Here")
"""One for all examples, as one serves all bundles: what it remembers must change nothing."""

any_line = st.one_of(
    lines.good_events, lines.device_events(), lines.other_envelopes, lines.broken(), lines.junk, lines.good_events
)


@given(lines.blobs(any_line))
@settings(max_examples=150)
def test_any_blob_gives_what_the_plain_parser_gives(data: bytes) -> None:
    check(PARSER, data)


@given(lines.blobs(st.one_of(lines.good_events, lines.device_events())), st.integers(0, 10**15))
@settings(max_examples=150)
def test_lines_that_are_nearly_plain_events(data: bytes, offset: int) -> None:
    check(PARSER, data, offset)


@given(lines.blobs(any_line), st.sampled_from([1, 100, 500, 900]), st.sampled_from([1, 2]))
@settings(max_examples=80)
def test_chunks_of_any_size_give_the_same(data: bytes, chunk: int, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        patch.setattr(forms, "_PIECE", 10 * chunk)
        patch.setattr(forms, "_FEW", few)
        check(PARSER, data)


@given(
    lines.blobs(any_line),
    st.builds(
        Limits,
        max_value_bytes=st.sampled_from([50, 300, 420, 1000, 1 << 20]),
        max_depth=st.sampled_from([1, 2, 3, 4, 5, 64]),
        earliest=st.sampled_from([Timestamp(0), Timestamp(1_175_378_450)]),
        latest=st.sampled_from([Timestamp(1_175_378_470), Timestamp(7_258_118_400)]),
    ),
    st.builds(
        Context,
        device_id=st.sampled_from([None, "d9"]),
        event_time=st.sampled_from([None, Timestamp(1_175_378_400)]),
        home_id=st.sampled_from([None, "", "home-9"]),
        ingest_time=st.sampled_from([None, Timestamp(1_175_378_401)]),
    ),
)
@settings(max_examples=100)
def test_limits_and_context_hold_on_the_fast_path_too(data: bytes, limits: Limits, context: Context) -> None:
    parser = BlobParser(context, limits, "Here")
    parsed = parser.parse(Blob("f.jsonl", 0, data))
    expected = line_by_line(data, 0, context, limits)
    assert letters(parsed.dead_letters) == expected.dead
    assert shown(parsed.to_batch().to_events()) == shown(as_rows(expected.events))


def one(**fields: object) -> bytes:
    return lines.event(1, **fields)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(one(eventTime=2**61 + 1_175_378_400_000), id="a time that overflows to a good one"),
        pytest.param(one(eventTime=7_258_118_400_000), id="the last time"),
        pytest.param(one(eventTime=7_258_118_400_001), id="after the last time"),
        pytest.param(one(eventTime="2200-01-01T00:00:00.000001Z"), id="just after the last time"),
        pytest.param(one(eventTime=31_536_000_000), id="the first time"),
        pytest.param(one(eventTime="1970-12-31T23:59:59.999999Z"), id="just before the first time"),
        pytest.param(one(value=10**400), id="an integer beyond doubles"),
        pytest.param(one(value=9007199254740993), id="an integer that needs its digits"),
        pytest.param(one(value=lines.Token("-0.0")), id="minus zero"),
        pytest.param(one(extra=lines.Token("1e999")), id="an infinite number in a field nobody reads"),
        pytest.param(one(ownerId=lines.Token("1e999")), id="an infinite number in a field that we know"),
        pytest.param(one(extra=lines.Token("1" * 5000)), id="an integer without end in a field nobody reads"),
        pytest.param(one(extra=lines.nested(62)), id="as deep as may be"),
        pytest.param(one(extra=lines.nested(63)), id="too deep in a field nobody reads"),
        pytest.param(one(data=lines.Token('{"a":' + "[" * 62 + "]" * 62 + "}")), id="too deep in data"),
        pytest.param(one(notificationType="X"), id="a type inside the body is no type"),
        pytest.param(one().replace(b'"eventType"', b'"notificationType":null,"eventType"'), id="notificationType null"),
        pytest.param(one().replace(b'"eventType"', b'"notificationType":"X","eventType"'), id="of another type"),
        pytest.param(one().replace(b'"eventType"', b'"notificatio\\u006eType":"X","eventType"'), id="escaped key"),
        pytest.param(one(extra="é").replace("é".encode(), b"\xff"), id="no UTF-8 in a field nobody reads"),
        pytest.param(one(ownerId="é").replace("é".encode(), b"\xed\xa0\x80"), id="a surrogate in UTF-8"),
        pytest.param(one(extra=lines.Token('"\\ud800"')), id="half a surrogate pair in a field nobody reads"),
        pytest.param(one().replace(b",", b",\r"), id="carriage returns between tokens"),
        pytest.param(one(eventId=""), id="no event id"),
        pytest.param(one(deviceId=""), id="no device id"),
        pytest.param(one(attribute=""), id="no attribute"),
        pytest.param(one(deviceId="00000000-0000-0000-0000-000000000000"), id="the nil device"),
        pytest.param(one(eventId="A35021AB-B7B1-5BEE-9A0A-2EDEF36B0FBD"), id="a UUID in capitals"),
        pytest.param(one(value="x" * 600_000), id="a long text"),
        pytest.param(one(value="x" * 2_000_000), id="a text too long"),
        pytest.param(one(data={"lastReset": "2026-01-01T00:00:00Z"}), id="a last reset"),
        pytest.param(one(data={"lastReset": "x"}), id="a last reset that is no time"),
        pytest.param(one(data={"last_reset": "2026-01-01T00:00:00Z"}), id="a last reset by its other name"),
        pytest.param(one(data={"last_reset": "x"}), id="a last reset by its other name that is no time"),
        pytest.param(one(data=[]), id="data that is an array"),
        pytest.param(one(componentId=""), id="no component"),
        pytest.param(b"\xef\xbb\xbf" + one(), id="a byte order mark"),
        pytest.param(one(data={"authToken": "T0P", "lastReset": "x"}), id="a secret in a message with places"),
        pytest.param(b'{"authToken":"a secret of some length","a":1,,}', id="a secret before a place in a message"),
        pytest.param(b'{"authToken":"T0P","a":"' + b"x" * (1 << 20) + b'"}', id="a secret in what is too large"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [0, 70])
def test_a_line_among_good_ones(line: bytes, beside: int) -> None:
    good = [lines.event(100 + number) for number in range(beside)]
    check(PARSER, b"\n".join([*good, line, *good]), 1000)
    check(PARSER, line + b"\r\n" * (beside > 0))


def test_a_document_that_goes_on_over_the_end_of_its_line_is_two_bad_lines() -> None:
    head, tail = lines.event(1).split(b',"eventType"')
    parsed = check(PARSER, head + b',\n"eventType"' + tail + b"\n\n" + lines.event(2))
    assert (parsed.lines, parsed.failed_lines, len(parsed.to_batch())) == (3, 2, 1)


def test_events_of_a_plain_file_take_the_fast_path() -> None:
    data = b"\n".join(lines.event(number, eventTime=f"2026-03-01T00:00:{number:02d}Z") for number in range(60))
    parsed = PARSER.parse(Blob("f", 0, data))
    assert (len(parsed.batch), parsed.events) == (60, [])


def test_fields_that_we_have_not_heard_of_do_not_leave_the_fast_path() -> None:
    data = b"\n".join(lines.event(number, colour="red", hint={"a": [1]}) for number in range(60))
    parsed = check(PARSER, data)
    assert (len(parsed.batch), parsed.events) == (60, [])


def test_one_bad_line_does_not_take_its_neighbours_off_the_fast_path() -> None:
    good = [lines.event(number) for number in range(60)]
    parsed = check(PARSER, b"\n".join([*good[:30], b"no JSON", *good[30:]]))
    assert (len(parsed.batch), len(parsed.dead_letters)) == (60, 1)


def test_more_descriptions_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_MOST_DESCRIPTIONS", 10)
    parser = BlobParser(NOTHING, LIMITS, "Here")
    for start in (0, 20, 40, 20):
        check(parser, b"\n".join(lines.event(n, unit=f"u{n}") for n in range(start, start + 20)))
        assert len(parser._descriptions.numbers) <= 30


def test_a_mistake_of_the_parser_is_a_dead_letter_without_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("T0P-SECRET")

    monkeypatch.setattr(module, "parse_each", fail)
    parsed = BlobParser(NOTHING, LIMITS, "Here").parse(Blob("f", 7, b"no JSON\n" + lines.event(1)))
    [letter] = parsed.dead_letters
    assert (letter.code, letter.error) == (codes.PARSER_ERROR, "the parser failed with RuntimeError")
    assert letter.position == "offset=7"
    assert "test_parse" in letter.trace
    assert "T0P" not in letter.trace.replace('raise RuntimeError("T0P-SECRET")', "")
    assert len(parsed.batch) == 1


@given(any_line)
@settings(max_examples=100)
@example(b'{"authToken":"a secret of some length","a":1,,}')
@example(b'{"authToken":"' + b"s" * (1 << 20) + b'","a":"' + b"x" * (1 << 20) + b'"}')
def test_a_dead_letter_fed_again_is_the_same_dead_letter(line: bytes) -> None:
    if b"\n" in line or redact(redact(line)) != redact(line):
        return
    first = PARSER.parse(Blob("f", 0, line)).dead_letters
    for letter in first:
        again = PARSER.parse(Blob("f", 0, letter.payload)).dead_letters
        assert letters(again) == letters(first)


def test_no_secret_is_left_in_a_dead_letter() -> None:
    for payload in (
        lines.webhook(lines.event(1, deviceId=None)),
        lines.webhook(lines.event(1))[:-200],
        lines.webhook(lines.event(1)) + b"}",
    ):
        [letter] = PARSER.parse(Blob("f", 0, payload)).dead_letters
        assert b"SECRET" in payload
        assert "SECRET" not in repr(letter)


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b" "])
def test_blank_lines_are_none(data: bytes) -> None:
    parsed = check(PARSER, data)
    assert parsed.lines == 0


def batch_of(payloads: list[bytes | None], first: int = 70) -> PayloadBatch:
    offsets = np.arange(len(payloads), dtype=np.int64) * 3 + first
    return PayloadBatch("events", "partition=3", offsets, payloads, [None] * len(payloads), np.zeros_like(offsets))


def message_by_message(batch: PayloadBatch) -> Expected:
    """The plain parser on each message, whatever line feeds are in it; blank ones are messages too."""
    found = Expected([], [], len(batch), 0, 0)
    failed = empty = 0
    for number, payload in enumerate(batch.payloads):
        items = list(parse_each(payload, NOTHING, LIMITS)) if payload is not None else []
        some = [item for item in items if isinstance(item, Event)]
        failures = [item for item in items if isinstance(item, Failure)]
        found.events.extend(some)
        where = f"partition=3 offset={batch.positions[number]}"
        found.dead.extend((f.code, "", b"", "events", f"{where} {f.path}".strip()) for f in failures)
        failed += bool(failures) and not some
        empty += not failures and not some
    return found._replace(failed=failed, empty=empty)


any_message = st.one_of(st.none(), st.just(b""), st.sampled_from([b" ", b"\r", b"\n", b" \t\n"]), any_line,
                        st.tuples(any_line, any_line).map(b"\n".join))  # fmt: skip


@given(st.lists(any_message, max_size=12))
@settings(max_examples=150)
def test_messages_are_parsed_one_payload_each(payloads: list[bytes | None]) -> None:
    batch = batch_of(payloads)
    parsed, expected = PARSER.parse_batch(batch), message_by_message(batch)
    assert shown(parsed.to_batch().to_events()) == shown(as_rows(expected.events))
    found = sorted((letter.code, letter.source, letter.position) for letter in parsed.dead_letters)
    assert found == sorted((code, source, position) for code, _, _, source, position in expected.dead)
    assert (parsed.lines, parsed.failed_lines, parsed.empty_lines) == (len(batch), expected.failed, expected.empty)
    assert parsed.tombstones == payloads.count(None)


def test_a_batch_of_good_messages_is_read_fast() -> None:
    batch = batch_of([lines.event(number) for number in range(50)])
    assert len(PARSER.parse_batch(batch).batch) == 50


def test_a_blank_message_is_a_dead_letter_and_a_tombstone_is_not() -> None:
    parsed = PARSER.parse_batch(batch_of([lines.event(1), b"  ", None, b""]))
    assert [(letter.position, letter.code) for letter in parsed.dead_letters] == [
        ("partition=3 offset=79", codes.INVALID_JSON), ("partition=3 offset=73", codes.INVALID_JSON),
    ]  # fmt: skip
    assert (parsed.lines, parsed.failed_lines, parsed.empty_lines, parsed.tombstones) == (4, 2, 1, 1)
