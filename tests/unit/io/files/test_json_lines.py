from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from thingbeam.io.files.json_lines import decode_json_lines, encode_json_line, encode_json_lines
from thingbeam.schemas import Activity, DeadLetter, Event, Session, Usage, to_record_batch
from thingbeam.schemas.fields import fields_of

RECORDS = [Event, Activity, Session, Usage, DeadLetter]

GOLDEN = Usage(
    device_id='a "b"\n\u20ac',
    component="main",
    capability="switch",
    attribute="switch",
    role="state",
    period="PT1H",
    start=Timestamp(1_175_378_400),
    start_local="2007-04-01T00:00:00+02:00",
    end=Timestamp(1_175_382_000.5),
    count=4,
    changes=2,
    min=None,
    max=120.0,
    mean=0.1,
    sum=1e22,
    change=-0.0,
    last=5e-324,
    last_state="on",
    seconds_in_state={"on": 60.0, "off": 3540.25},
    revision=1_700_000_000_000_001,
)
GOLDEN_LINE = (
    '{"device_id":"a \\"b\\"\\n\u20ac","component":"main","capability":"switch","attribute":"switch","role":"state",'
    '"period":"PT1H","start":"2007-03-31T22:00:00Z","start_local":"2007-04-01T00:00:00+02:00",'
    '"end":"2007-03-31T23:00:00.500Z","count":4,"changes":2,"min":null,"max":120.0,"mean":0.1,"sum":1e22,'
    '"change":-0.0,"last":5e-324,"last_state":"on","seconds_in_state":{"off":3540.25,"on":60.0},'
    '"revision":1700000000000001,"unit":null,"home_id":null,"final":true,"deleted":false}\n'
).encode()


def test_the_form_is_as_documented() -> None:
    assert encode_json_line(GOLDEN) == GOLDEN_LINE
    assert encode_json_lines(to_record_batch([GOLDEN, GOLDEN], Usage), Usage) == GOLDEN_LINE * 2
    assert decode_json_lines(GOLDEN_LINE, Usage) == [GOLDEN]


@pytest.mark.parametrize("record_type", RECORDS)
@settings(max_examples=50)
@given(data=st.data())
def test_lines_say_what_the_record_holds(
    data: st.DataObject, record_type: type, records_of: Callable[[type], st.SearchStrategy[Any]]
) -> None:
    records = data.draw(records_of(record_type))
    lines = b"".join(map(encode_json_line, records))
    assert encode_json_lines(to_record_batch(records, record_type), record_type) == lines
    assert decode_json_lines(lines, record_type) == records
    for record, line in zip(records, lines.splitlines(), strict=True):
        # The standard library's reader is the independent one.
        decoded = json.loads(line)
        assert list(decoded) == [field.name for field in fields_of(record_type)]
        for field, value in zip(fields_of(record_type), record, strict=True):
            found = decoded[field.name]
            if value is None:
                assert found is None
            elif field.type == "timestamp":
                assert found.endswith("Z")
                time = datetime.fromisoformat(found)
                assert Timestamp.from_utc_datetime(time).micros == value.micros
            elif field.type == "bytes":
                assert base64.b64decode(found, validate=True) == value
            else:
                assert (found, type(found)) == (value, type(value))


@settings(max_examples=50)
@given(data=st.data())
def test_a_slice_of_a_batch_gives_its_rows(
    data: st.DataObject, records_of: Callable[[type], st.SearchStrategy[Any]]
) -> None:
    records = data.draw(records_of(Usage))
    begin = data.draw(st.integers(0, len(records)))
    end = data.draw(st.integers(begin, len(records)))
    batch = to_record_batch(records, Usage).slice(begin, end - begin)
    assert encode_json_lines(batch, Usage) == b"".join(map(encode_json_line, records[begin:end]))


def test_maps_do_not_depend_on_the_order_that_they_were_made_in() -> None:
    turned = GOLDEN._replace(seconds_in_state={"off": 3540.25, "on": 60.0})
    assert encode_json_line(turned) == GOLDEN_LINE
    assert encode_json_lines(to_record_batch([turned], Usage), Usage) == GOLDEN_LINE


@pytest.mark.parametrize(
    "change",
    [
        {"mean": float("nan")},
        {"mean": float("inf")},
        {"seconds_in_state": {"on": float("-inf")}},
        {"start": Timestamp(micros=-(2**62))},
        {"end": Timestamp(253_402_300_800)},
    ],
)
def test_what_has_no_json_is_refused(change: dict[str, Any]) -> None:
    record = GOLDEN._replace(**change)
    with pytest.raises(ValueError, match=f"{next(iter(change))}: a (number that is not finite|time outside)"):
        encode_json_line(record)
    with pytest.raises(ValueError, match=f"{next(iter(change))}: a (number that is not finite|time outside)"):
        encode_json_lines(to_record_batch([record], Usage), Usage)


def test_other_releases_lines_are_read() -> None:
    older = b'{"device_id":"d1","start":"1970-01-01T00:00:00Z","start_local":"x","last":"1970-01-01T00:00:01Z",' + (
        b'"end":"1970-01-01T01:10:01+01:00","count":2,"revision":7}'
    )
    newer = older[:-1] + b',"home_id":"h","brand_new":{"x":[1,2]}}'
    expected = Session("d1", Timestamp(0), "x", Timestamp(1), Timestamp(601), 2, 7)
    assert decode_json_lines(older + b"\r\n\r\n\n" + newer, Session) == [expected, expected._replace(home_id="h")]
    assert decode_json_lines(b"", Session) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"device_id":"d1"',
        b"[1]",
        GOLDEN_LINE.replace(b'"count":4', b'"count":"4"'),
        GOLDEN_LINE.replace(b'"count":4', b'"count":9223372036854775808'),
        GOLDEN_LINE.replace(b'"count":4,', b""),
        GOLDEN_LINE.replace(b"2007-03-31T22:00:00Z", b"2007-03-31T22:00:00"),
        GOLDEN_LINE.replace(b"2007-03-31T22:00:00Z", b"0001-01-01T00:00:00+05:00"),
        GOLDEN_LINE.replace(b"0.1", b"NaN"),
        GOLDEN_LINE.replace(b"0.1", b"1e999"),
    ],
)
def test_lines_that_are_no_such_record_are_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json_lines(line, Usage)
