"""Times as columns are times one by one."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lines
from thingbeam.transforms.columns.times import micros_of_texts
from thingbeam.transforms.envelopes import micros_of


def one_by_one(texts: list[str]) -> tuple[list[int], list[bool]]:
    micros: list[int] = []
    good: list[bool] = []
    for text in texts:
        try:
            micros.append(micros_of(text))
            good.append(True)
        except ValueError:
            micros.append(0)
            good.append(False)
    return micros, good


def check(texts: list[str]) -> None:
    micros, good = micros_of_texts(texts)
    assert (micros.tolist(), good.tolist()) == one_by_one(texts)


@given(st.lists(st.one_of(lines.clocks, lines.good_clocks, lines.texts), max_size=20))
@settings(max_examples=300)
def test_texts_of_any_kind(texts: list[str]) -> None:
    check(texts)


@given(st.integers(1, 9), st.lists(st.datetimes(), min_size=1, max_size=30), st.booleans())
@settings(max_examples=300)
def test_texts_of_one_length(places: int, moments: list[datetime.datetime], spoiled: bool) -> None:
    texts = [f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") for moment in moments]
    texts = [
        f"{text}.{moment.microsecond:06d}000"[: 20 + places] + "Z" for text, moment in zip(texts, moments, strict=True)
    ]
    if spoiled:
        texts[0] = texts[0][:places] + "x" + texts[0][places + 1 :]
    check(texts)


@pytest.mark.parametrize("fraction", ["", ".5", ".999999", ".123456789"])
def test_every_day_of_four_centuries_and_the_days_that_are_none(fraction: str) -> None:
    texts = [
        f"{year:04d}-{month:02d}-{day:02d}T23:59:59{fraction}Z"
        for year in [*range(5), *range(1896, 1905), *range(1970, 2405, 1 if not fraction else 29), 9999]
        for month in range(14)
        for day in (0, 1, 28, 29, 30, 31, 32)
    ]
    micros, good = micros_of_texts(texts)
    epoch = datetime.date(1970, 1, 1).toordinal()
    for text, moment, is_time in zip(texts, micros.tolist(), good.tolist(), strict=True):
        try:
            days = datetime.date(int(text[:4]), int(text[5:7]), int(text[8:10])).toordinal() - epoch
        except ValueError:
            assert (moment, is_time) == (0, False), text
        else:
            part = int((fraction[1:] + "000000")[:6])
            assert (moment, is_time) == ((days * 86_400 + 86_399) * 1_000_000 + part, True), text


def test_lengths_that_are_added_up_are_not_taken_for_one_length() -> None:
    check(["2026-03-01T00:00:00", "Z2026-03-01T00:00:00Z"])
    check(["2026-03-01T00:00:00.", "2026-03-01T00:00:00.1Z", "2026-03-01T00:00:00.12Z"])


def test_no_texts() -> None:
    assert [column.tolist() for column in micros_of_texts([])] == [[], []]


def test_a_text_that_is_no_ascii() -> None:
    check(["2026-03-01T00:00:00Z", "２026-03-01T00:00:0Z", "2026-03-01T00:00:00\u00b2"])


@pytest.mark.parametrize("at", range(20))
@pytest.mark.parametrize("character", "0123456789-:.TZ /")
def test_any_one_character_that_is_another(at: int, character: str) -> None:
    for text in ("2024-02-29T23:59:59Z", "1999-12-31T19:30:00Z", "2100-01-01T00:00:00Z", "2000-10-10T10:10:10Z"):
        check([text, text[:at] + character + text[at + 1 :], text])
