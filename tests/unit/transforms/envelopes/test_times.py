from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.transforms.envelopes.times import micros_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def reference(moment: datetime) -> int:
    """Microseconds since 1970 by the standard library."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@given(
    moment=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    offset=st.integers(-1439, 1439),
    separator=st.sampled_from("Tt "),
    digits=st.integers(6, 9),
)
def test_rfc3339_as_the_standard_library_has_it(moment: datetime, offset: int, separator: str, digits: int) -> None:
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    sign = "-" if offset < 0 else "+"
    fraction = f"{moment.microsecond:06d}".ljust(digits, "9")
    text = f"{moment:%Y-%m-%d}".zfill(10) + f"{separator}{moment:%H:%M:%S}.{fraction}"
    text += f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    assert micros_of(text) == reference(moment)


# The examples of RFC 3339, section 5.8, and their meaning as that section states it.
@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1985-04-12T23:20:50.52Z", datetime(1985, 4, 12, 23, 20, 50, 520000, tzinfo=UTC)),
        ("1996-12-19T16:39:57-08:00", datetime(1996, 12, 20, 0, 39, 57, tzinfo=UTC)),
        ("1990-12-31T23:59:60Z", datetime(1991, 1, 1, tzinfo=UTC)),
        ("1990-12-31T15:59:60-08:00", datetime(1991, 1, 1, tzinfo=UTC)),
        ("1937-01-01T12:00:27.87+00:20", datetime(1937, 1, 1, 11, 40, 27, 870000, tzinfo=UTC)),
    ],
)
def test_examples_of_the_rfc(text: str, same: datetime) -> None:
    assert micros_of(text) == reference(same)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:00.1Z", 100_000),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1970-01-01T00:00:00.999999999Z", 999_999),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T00:00:00-00:00", 0),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
    ],
)
def test_fractions_are_cut_after_the_microsecond(text: str, micros: int) -> None:
    assert micros_of(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2025-02-13",
        "2025-02-13T21:01:36",
        "2025-02-13T21:01Z",
        "2025-02-13T21:01:36+0100",
        "2025-02-13T21:01:36,5Z",
        "2025-02-13T21:01:36.Z",
        "2025-02-13T21:01:36.1234567890Z",
        "2025-02-30T21:01:36Z",
        "2025-13-01T21:01:36Z",
        "2023-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2025-02-13T24:00:00Z",
        "2025-02-13T21:60:36Z",
        "2025-02-13T21:01:61Z",
        "2025-02-13T21:01:60Z",
        "2025-02-13T23:59:60+01:00",
        "2025-02-13T21:01:36+24:00",
        "2025-02-13T21:01:36+00:60",
        "2025-02-13T21:01:36Z ",
        "2025-02-13T21:01:36Z\n",
        "٢٠٢٥-02-13T21:01:36Z",
        "1739480496560",
    ],
)
def test_what_is_no_rfc3339_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        micros_of(text)


@given(st.integers())
def test_whole_milliseconds(milliseconds: int) -> None:
    assert micros_of(milliseconds) == milliseconds * 1000


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_fractional_milliseconds_to_the_nearest_microsecond(milliseconds: float) -> None:
    assert abs(micros_of(milliseconds) - Fraction(milliseconds) * 1000) <= Fraction(1, 2)


@given(st.integers(0, 7_258_118_400_000_000))
def test_milliseconds_written_with_three_decimals_are_exact(micros: int) -> None:
    assert micros_of(float(f"{micros // 1000}.{micros % 1000:03d}")) == micros


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_no_time(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        micros_of(value)


@pytest.mark.parametrize("value", [True, False, None, [], {}, b"1970-01-01T00:00:00Z"])
def test_other_types_are_no_time(value: object) -> None:
    with pytest.raises(TypeError):
        micros_of(value)  # type: ignore[arg-type]
