"""Rows as JSON, whatever they hold."""

from __future__ import annotations

import json
import math
from decimal import Decimal

from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.writing.payloads import payload_of
from thingbeam.schemas.records import Session

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(st.dictionaries(st.text(), values))
def test_plain_rows_are_json(row: dict[str, object]) -> None:
    assert json.loads(payload_of(row)) == row


def test_what_json_does_not_know_is_shown() -> None:
    row = {"n": math.nan, "d": Decimal("1.50"), "b": b"\x00", "half": "\ud800", "s": {1}, 5: object, "big": 10**30}
    shown = json.loads(payload_of(row))
    assert (shown["n"], shown["d"], shown["b"], shown["half"], shown["s"]) == (None, "1.50", "AA==", "\\ud800", [1])
    record = Session("d", Timestamp(0), "1970", Timestamp(1), Timestamp(2), 3, 7)
    assert json.loads(payload_of(record))["start"] == "1970-01-01T00:00:00Z"
