"""Lines that the native reader reads are what the plain parser makes of them, to the last bit."""

from __future__ import annotations

import importlib
import logging
import random
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

import lines
from alike import LIMITS, TIMES, VALUES, check, fields, some
from stack_fixtures import unavailable
from thingbeam.schemas.batch import ROW
from thingbeam.transforms.columns import forms as forms_module
from thingbeam.transforms.columns import native
from thingbeam.transforms.columns.forms import Forms
from thingbeam.transforms.columns.native import NativeForms, Reader, forms_of, native_reader
from thingbeam.transforms.envelopes import Limits


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if native_reader(LIMITS) is None:
        unavailable("thingbeam_native is not installed: scripts/setup builds it where there is cargo")


@pytest.fixture(autouse=True)
def few() -> Iterator[None]:
    """A form is learned of a single line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms_module, "_FEW", 1)
        yield


def natively(known: NativeForms, data: bytes) -> int:
    """How many lines the native reader itself reads."""
    return len(known._reader.read(data)[0]) // ROW.itemsize


def forms(limits: Limits = LIMITS) -> NativeForms:
    reader = native_reader(limits)
    assert reader is not None
    return NativeForms(limits, reader)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("time", TIMES)
def test_every_kind_of_value_and_time(value: object, time: object) -> None:
    known, pure = forms(), Forms(LIMITS)
    data = some(40, value=value, eventTime=time) + some(3)
    check(data, known)
    # What is learned is read to the last line, which numpy leaves for its words.
    by_numpy = check(data, pure)
    assert natively(known, data) == by_numpy + (by_numpy > 0)


def test_lines_of_a_form_are_read_by_it_wherever_they_stand() -> None:
    known = forms()
    assert check(some(40), known) == 39
    for data in (some(1), some(1)[:-1], b"\n" + some(1) + b"\n\n" + some(2), b"x\n" + some(3)[:-1] + b"\nx"):
        assert check(data, known) == data.count(b"eventId")
    assert len(known) == 1


@st.composite
def times(draw: st.DrawFn) -> str:
    """A time in milliseconds that is, or could almost be, one."""
    year = draw(st.one_of(st.integers(0, 9999), st.sampled_from([1900, 2000, 2024, 2100])))
    month, day = draw(st.tuples(st.integers(1, 12), st.integers(1, 28)) | st.sampled_from([(2, 29), (2, 30), (4, 31)]))
    said = [year, month, day, draw(st.integers(0, 23)), draw(st.integers(0, 59)), draw(st.integers(0, 59))]
    if draw(st.booleans()):
        said[draw(st.integers(1, 5))] = draw(st.sampled_from([0, 12, 13, 23, 24, 31, 32, 59, 60, 61, 99]))
    text = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z".format(*said, draw(st.integers(0, 999)))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text) - 1))
        text = text[:at] + draw(st.sampled_from("0a-:T.Zz+ ")) + text[at + 1 :]
    return text


@given(st.lists(times(), min_size=5, max_size=20))
@settings(max_examples=300)
def test_a_time_is_what_the_plain_parser_reads(texts: list[str]) -> None:
    limits = Limits(earliest=Timestamp(micros=-(1 << 62)), latest=Timestamp(micros=1 << 62))
    known = forms(limits)
    check(some(2, eventTime="2026-03-01T00:00:00.000Z"), known, limits)
    assert len(known) == 1
    check(b"".join(some(1, first=at, eventTime=text) for at, text in enumerate(texts)), known, limits)


@given(
    st.lists(st.text("0123456789a-", min_size=13, max_size=13), min_size=1, max_size=20),
    st.lists(st.integers(10**12, 10**13 - 1), min_size=1, max_size=20),
)
def test_a_time_may_be_thirteen_digits(texts: list[str], millis: list[int]) -> None:
    limits = Limits(earliest=Timestamp(micros=-(1 << 62)), latest=Timestamp(micros=1 << 62))
    known = forms(limits)
    check(some(2), known, limits)
    said = [*texts, *("0" + text[1:] for text in texts), *map(str, millis)]
    check(b"".join(some(1, first=at, eventTime=lines.Token(text)) for at, text in enumerate(said)), known, limits)


@pytest.mark.parametrize("fraction", [0, *range(2, 11)])
def test_a_fraction_of_any_length_is_cut_after_the_sixth_digit(fraction: int) -> None:
    chance = random.Random(fraction)
    known = forms()
    for _ in range(2):
        tails = ["".join(chance.choices("0123456789", k=max(0, fraction - 1))) for _ in range(30)]
        said = [f"2026-03-01T00:00:00{'.' + tail if fraction else ''}Z" for tail in tails]
        data = b"".join(some(1, first=at, eventTime=text) for at, text in enumerate(said))
        found = check(data, known)
        read = natively(known, data)
    assert read == found == 30


@pytest.mark.parametrize("text", ["0.1", "0.30", "-1.005", "12345678.1234567", "-0.000", "0.000001", "100", "-0", "7"])
def test_a_number_is_the_double_that_its_digits_are_read_as(text: str) -> None:
    chance = random.Random(text)
    known = forms()
    check(some(2, value=lines.Token(text)), known)
    letters = "0123456789" * 9 + " -ae/:"
    texts = ["".join(chance.choice(letters) if one.isdigit() else one for one in text) for _ in range(300)]
    check(b"".join(some(1, first=at, value=lines.Token(other)) for at, other in enumerate(texts)), known)


@given(st.binary(min_size=36, max_size=36), st.sampled_from(["deviceId", "eventId", "locationId", "ownerId"]))
@settings(max_examples=200)
def test_an_id_is_a_canonical_uuid(octets: bytes, field: str) -> None:
    known = forms()
    line = some(1, ownerId=lines.HOME)
    check(line + some(1, first=1, ownerId=lines.HOME), known)
    at = line.index(f'"{field}":"'.encode()) + len(field) + 4
    nil = b"00000000-0000-0000-0000-000000000000"
    for wrong in (octets, nil):
        check(line[:at] + wrong + line[at + 36 :], known)
        check(line.replace(line[at : at + 36], wrong), known)
    for place in range(36):
        check(line[: at + place] + octets[place : place + 1] + line[at + place + 1 :], known)


@given(
    st.lists(st.tuples(fields, st.integers(1, 6)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=12),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300)
def test_any_bytes_may_be_wrong(
    kinds: list[tuple[dict[str, Any], int]], damage: list[tuple[int, int]], chance: random.Random
) -> None:
    parts = [
        line for given, count in kinds for line in some(count, first=chance.randrange(10**6), **given).split(b"\n")
    ]
    chance.shuffle(parts)
    data = bytearray(b"\n".join(parts))
    known = forms()
    check(bytes(data), known)
    for place, octet in damage:
        data[place % len(data)] = octet
    check(bytes(data), known)
    check(bytes(data), known)


def test_limits_hold() -> None:
    edge = Timestamp(micros=1_175_378_400_020_000)
    for limits, expected in ((Limits(earliest=edge), 20), (Limits(latest=edge), 21)):
        known = forms(limits)
        assert check(some(40), known, limits) == expected - (limits.latest != edge)
        assert natively(known, some(40)) == expected


def test_a_reader_says_which_forms_it_saw_and_what_is_left() -> None:
    reader = native_reader(LIMITS)
    assert reader is not None
    line = some(1)
    time, device, event, home = (
        line.index(text.encode()) for text in ("1175378400", lines.DEVICES[0], "00000000-0000-4000", lines.HOME)
    )
    fixed = b"\xff" * time + bytes(13) + b"\xff" * (len(line) - 1 - time - 13)
    words = bytes(letter & mask for letter, mask in zip(line[:-1], fixed, strict=True))
    places = (time, 13, device, event, home, home)
    other = bytes(len(words))
    assert reader.add(other, fixed, places, None, 5, 6) == 0
    assert reader.add(words, fixed, places, None, 5, 6) == 1
    rows, used, left = reader.read(b"a\nb\n" + line + b"c\n" + line)
    assert len(rows) == 2 * ROW.itemsize
    assert used == [1]
    assert left == b"".join(place.to_bytes(8, "little") for place in (0, 4, 4 + len(line), 6 + len(line)))
    beyond = len(words)
    for wrong in (
        (words, fixed[1:], places, None),
        (words, fixed, (beyond - 12, *places[1:]), None),
        (words, fixed, (*places[:5], beyond - 35), None),
        (words, fixed, places, ([beyond], 0.0, False, False)),
        (words, fixed, places, ([], 0.0, False, False)),
        (words, fixed, places, (list(range(16)), 0.0, False, False)),
    ):
        with pytest.raises(ValueError, match="a place is not in the line"):
            reader.add(*wrong, 5, 6)  # type: ignore[arg-type]
    reader.clear()
    assert reader.read(line)[:2] == (b"", [])


def test_forms_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_MOST", 3)
    known = forms()
    for number in range(9):
        data = some(20, value="on" * number)
        check(data, known)
        assert natively(known, data) == 20
        assert len(known) <= 3


def test_of_one_length_the_least_seen_gives_way() -> None:
    known = forms()
    often = some(20, value="v0000")
    check(often, known)
    for number in range(1, 100):
        check(some(2, value=f"v{number:04d}"), known)
        assert natively(known, often) == 20
    assert natively(known, b"".join(some(1, value=f"v{number:04d}") for number in range(100))) == 64


def test_without_the_package_numpy_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "thingbeam_native", None)
    native._module.cache_clear()
    try:
        assert isinstance(forms_of(LIMITS), Forms)
    finally:
        native._module.cache_clear()


def test_a_package_of_another_release_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def reader(earliest: int, latest: int) -> Reader:
        raise AssertionError("it must not be asked")

    monkeypatch.setitem(sys.modules, "thingbeam_native", SimpleNamespace(LAYOUT=2, Reader=reader))
    native._module.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert isinstance(forms_of(LIMITS), Forms)
    finally:
        native._module.cache_clear()
    assert "install the one beside this thingbeam" in caplog.text
    monkeypatch.undo()
    assert importlib.import_module("thingbeam_native").LAYOUT == 1
    assert isinstance(forms_of(LIMITS), NativeForms)
