"""Lines that are read by the form of another are what the plain parser makes of them, to the last bit."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

import lines
from alike import LIMITS, TIMES, VALUES, check, fields, some
from thingbeam.transforms.columns import forms as module
from thingbeam.transforms.columns.forms import Forms
from thingbeam.transforms.envelopes import Limits


@pytest.fixture(params=[1, 16])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "_FEW", request.param)
    number: int = request.param
    return number


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("time", TIMES[:4])
def test_every_kind_of_value_and_time(value: object, time: object) -> None:
    check(some(40, value=value, eventTime=time) + some(3))


@pytest.mark.parametrize("time", TIMES[4:])
def test_times_that_have_no_form(time: object) -> None:
    assert check(some(40, eventTime=time)) == 0


def test_the_last_line_may_lack_its_end() -> None:
    assert check(some(40)[:-1]) == 39
    assert check(some(40, value="on") + some(1)[:-1]) == 40


def test_lines_of_one_form_are_all_read_by_it() -> None:
    # But for the last one: the words that are compared may reach over the end of the data.
    assert check(some(40)) == 39
    assert check(some(40, value="on") + some(40, value="off")) == 79
    assert check(some(40, first=10**12 - 40, eventTime="2026-03-01T00:00:00.000Z")) == 39


def test_digits_of_a_number_are_free_and_its_form_is_not(few: int) -> None:
    numbers = ["3480.5", "3480.6", "0480.5", "9999.9", "348.05", "-480.5", "3480.a", "3480. ", "34e0.5", "3480,5"]
    data = b"".join(some(few, first=100 * at, value=lines.Token(number)) for at, number in enumerate(numbers))
    check(some(20) + data + some(20, first=5000))


@pytest.mark.parametrize("digits", ["0.1", "0.30", "1.005", "12345678.1234567", "4.35", "2.675", "1.15", "0.000001"])
def test_a_number_is_the_double_that_its_digits_are_read_as(digits: str) -> None:
    chance = random.Random(digits)
    numbers = [
        "".join(chance.choice("0123456789") if digit.isdigit() else digit for digit in digits) for _ in range(99)
    ]
    assert check(b"".join(some(1, first=at, value=lines.Token(text)) for at, text in enumerate([digits, *numbers])))


def test_an_owner_that_is_the_home_is_so_in_every_line(few: int) -> None:
    same = some(20, ownerId=lines.HOME)
    assert check(same + some(1)) == 20
    other = lines.DEVICES[1]
    check(same + some(2, first=50, ownerId=other) + some(2, first=60, locationId=other))
    check(same.replace(lines.HOME.encode(), other.encode()) + same)
    # The home's id is not always the first of the two.
    three = same + some(2, first=50, ownerId=other) + some(2, first=60, locationId=other, ownerId=lines.HOME)
    names = {b"locationId": b"ownerId", b"ownerId": b"locationId"}
    check(re.sub(b"locationId|ownerId", lambda found: names[found[0]], three))


@pytest.mark.parametrize("field", ["value", "componentId", "attribute", "unit"])
@pytest.mark.parametrize("text", [lines.HOME, lines.DEVICES[0], "00000000-0000-4000-8000-000000000000"])
def test_an_id_in_what_is_read_is_no_place_of_an_id(field: str, text: str, few: int) -> None:
    said: dict[str, Any] = {field: text}
    check(some(20, **said) + some(20, first=50, deviceId=lines.DEVICES[1], **said))


@pytest.mark.parametrize(
    "change",
    [
        (b'"value":3480.5', b'"value":1,"value":3480.5'),
        (b'"value":3480.5', b'"value":3480.5,"value":"x"'),
        (b'"value":3480.5', b'"value":10,"value":1e1'),
        (b'"attribute":"power"', b'"attribute":"value"'),
        (b'"eventType"', b'"eventTime":1175378400001,"eventType"'),
        (b'"deviceEvent"', b'"deviceEvent":{},"deviceEvent"'),
        (b'"deviceId"', b'"deviceId":"x","deviceId"'),
        (b'"data":{}', b'"data":{"value":5}'),
        (b'"data":{}', b'"data":{"lastReset":1175378400000}'),
        (b'"data":{}', b'"hint":5'),
        (b'"unit":"W"', b'"unit":"\\u0057"'),
        (b'"unit":"W"', '"unit":"°C"'.encode()),
        (b'"unit":"W"', b'"unit":"\xff"'),
        (b"}}", b"}}\r"),
        (b"}}", b"}} x"),
        (b",", b" , "),
        (b"4000-8000", b"4000+8000"),
        (b"4000-8000", b"400G-8000"),
        (b"4000-8000", b"400A-8000"),
    ],
)
def test_lines_that_are_odd_in_one_place(change: tuple[bytes, bytes], few: int) -> None:
    good = some(20)
    odd = good.replace(*change)
    for data in (odd, good + odd, odd + good, good + odd.split(b"\n")[3] + b"\n" + good):
        check(data)


def test_limits_hold() -> None:
    line = len(lines.event(0))
    assert check(some(40), limits=Limits(max_value_bytes=line + 1)) == 39
    assert check(some(40), limits=Limits(max_value_bytes=line - 1)) == 0
    assert check(some(40), limits=Limits(max_depth=2)) == 0
    edge = Timestamp(micros=1_175_378_400_020_000)
    assert check(some(40), limits=Limits(earliest=edge)) == 19
    assert check(some(40), limits=Limits(latest=edge)) == 21


def test_pieces_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = some(60) + b"no JSON\n\n" + some(60, value="on") + b'{"a":'
    for piece in (1, 100, 5000, 1 << 20):
        monkeypatch.setattr(module, "_PIECE", piece)
        monkeypatch.setattr(module, "_SEARCHED", max(1, piece // 3))
        check(data)
        check(data + b"\n")


def test_forms_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_LENGTHS", 3)
    forms = Forms(LIMITS)
    for number in range(9):
        assert check(some(20, value="on" * number), forms) == 19
        assert len(forms) <= 4


def test_a_form_that_few_lines_have_gives_way_to_another() -> None:
    forms = Forms(LIMITS)
    assert check(some(40, value="on"), forms) == 39
    assert check(some(40, value="an"), forms) == 0
    assert check(some(40, value="an"), forms) == 39
    assert len(forms) == 1


def test_lines_that_are_all_different_are_left() -> None:
    forms = Forms(LIMITS)
    data = b"".join(some(1, first=number, value=f"v{number:04d}") for number in range(200))
    assert check(data, forms) == 1
    assert len(forms) == 0


@pytest.mark.parametrize("data", [b"", b"\n", b"\n" * 40, b"x", b"x\n" * 40, b" \r\n" * 40])
def test_what_holds_no_event_is_left(data: bytes) -> None:
    assert check(data) == 0
    assert Forms(LIMITS).take(data).rest == data


@given(
    st.lists(st.tuples(fields, st.integers(1, 6)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=12),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150)
def test_any_bytes_may_be_wrong(
    kinds: list[tuple[dict[str, Any], int]], damage: list[tuple[int, int]], chance: random.Random
) -> None:
    parts = [
        line for given, count in kinds for line in some(count, first=chance.randrange(10**6), **given).split(b"\n")
    ]
    chance.shuffle(parts)
    data = bytearray(b"\n".join(parts))
    for place, octet in damage:
        data[place % len(data)] = octet
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW", 1)
        forms = Forms(LIMITS)
        check(bytes(data), forms)
        check(bytes(data), forms)


@pytest.mark.parametrize("feeds", [0.0, 0.003, 0.2, 1.0])
@pytest.mark.parametrize("length", [1, 5, 64, 4003, (1 << 18) + 9])
def test_line_feeds_are_found_wherever_they_are(length: int, feeds: float) -> None:
    rng = random.Random(length)
    data = bytes(10 if rng.random() < feeds else 97 for _ in range(length + 3))
    assert module._line_ends(data + b"\n", 3, length + 3).tolist() == [
        at for at in range(3, length + 3) if data[at] == 10
    ]
