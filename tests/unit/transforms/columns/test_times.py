from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thingbeam.transforms.columns.times import micros_of_texts
from thingbeam.transforms.envelopes import micros_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))


def text_of(moment: datetime, places: int) -> str:
    whole = moment.strftime("%m-%dT%H:%M:%S")
    fraction = f".{moment.microsecond:06}"[: places + 1] if places else ""
    return f"{moment.year:04}-{whole}{fraction}Z"


def found(texts: list[str]) -> list[int | None]:
    micros, good = micros_of_texts(texts)
    assert len(micros) == len(good) == len(texts)
    assert not micros[~good].any()
    return [time if fine else None for time, fine in zip(micros.tolist(), good.tolist(), strict=True)]


def one_by_one(texts: list[str]) -> list[int | None]:
    def one(text: str) -> int | None:
        try:
            return micros_of(text)
        except ValueError:
            return None

    return [one(text) for text in texts]


@given(st.lists(moments, min_size=1, max_size=20), st.integers(0, 6))
@example([datetime(2000, 2, 29), datetime(1970, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999999)], 6)
@example([datetime(1900, 2, 28), datetime(1900, 3, 1), datetime(2100, 3, 1), datetime(1600, 2, 29), datetime(1, 1, 1)], 0)
def test_against_the_standard_library(times: list[datetime], places: int) -> None:
    texts = [text_of(moment, places) for moment in times]
    assert found(texts) == [(datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) for text in texts]


NONE = [
    "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z",
    "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2024-02-30T00:00:00Z", "2026-04-31T00:00:00Z",
    "0000-01-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z",
    "2026/01/01T00:00:00Z", "2026-01-01T00-00-00Z", "2026-01-01T00:00:0/Z", "2026-01-01T00:00:0:Z",
    "-026-01-01T00:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.5+", "2026-01-01T00:00:00.1x3Z",
    "", "Z", "x" * 20, "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00ZZ",
]  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_texts_that_are_no_time(text: str) -> None:
    assert found([text]) == [None]
    assert found(["1970-01-01T00:00:01Z", text, "1970-01-01T00:00:02Z"]) == [1_000_000, None, 2_000_000]


def test_the_last_and_first_moments() -> None:
    assert found(["1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"]) == [0, -1]
    assert found(["2024-02-29T23:59:59.9Z", "0001-01-01T00:00:00Z"]) == [1_709_251_199_900_000, -62_135_596_800_000_000]
    assert found(["9999-12-31T23:59:59.999999Z"]) == [253_402_300_799_999_999]


def test_one_length_after_another() -> None:
    assert found(["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z"]) == [1_000_000, 1_500_000]
    # As long together as three of the first length.
    assert found(["1970-01-01T00:00:01Z", "1970-01-01T00:00:1Z", "01970-01-01T00:00:01Z"]) == [1_000_000, None, None]
    assert found([]) == []


def test_other_offsets() -> None:
    assert found(["1970-01-01T01:00:00+01:00", "1969-12-31T23:00:00-01:00"]) == [0, 0]


odd = st.one_of(
    st.sampled_from(NONE),
    st.text(alphabet="0123456789-T:Z.+", min_size=17, max_size=30),
    st.builds(text_of, moments, st.integers(0, 6)),
    # One character of a time replaced, left out or said twice.
    st.builds(
        lambda text, at, put: text[:at] + put + text[at + 1 :],
        st.builds(text_of, moments, st.integers(0, 6)),
        st.integers(0, 26),
        st.text(alphabet="0123456789-/:;TtZz. é", max_size=2),
    ),
    st.builds(lambda text, more: text[:-1] + more + "Z", st.builds(text_of, moments, st.just(6)), st.text("059", max_size=4)),
)


@given(st.lists(odd, max_size=6))
def test_the_same_as_one_by_one(texts: list[str]) -> None:
    assert found(texts) == one_by_one(texts)
