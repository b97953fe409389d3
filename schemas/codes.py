"""Why a dead letter is one: the codes, each with what a person can do about it."""

from __future__ import annotations

from typing import Final

INVALID_UTF8: Final = "invalid_utf8"
INVALID_JSON: Final = "invalid_json"
TOO_DEEP: Final = "too_deep"
TOO_LARGE: Final = "too_large"
UNKNOWN_ENVELOPE: Final = "unknown_envelope"
MISSING_FIELD: Final = "missing_field"
WRONG_TYPE: Final = "wrong_type"
IMPOSSIBLE_TIME: Final = "impossible_time"
NOT_FINITE: Final = "not_finite"
TRUNCATED_FILE: Final = "truncated_file"
CORRUPT_FILE: Final = "corrupt_file"
SCHEMA_MISMATCH: Final = "schema_mismatch"
NOT_AN_EVENT: Final = "not_an_event"
OUT_OF_RANGE: Final = "out_of_range"
REFUSED: Final = "refused"
PARSER_ERROR: Final = "parser_error"

CODES: Final[dict[str, str]] = {
    INVALID_UTF8: "the bytes are not UTF-8",
    INVALID_JSON: "the text is not JSON, or was cut",
    TOO_DEEP: "nested deeper than any real event",
    TOO_LARGE: "larger than the limit on one payload or value",
    UNKNOWN_ENVELOPE: "JSON, but none of the envelopes that ParseEvents knows",
    MISSING_FIELD: "a field that identifies the event is missing",
    WRONG_TYPE: "a field has a value of another type",
    IMPOSSIBLE_TIME: "the event time is not a time, or outside the years that devices can mean",
    NOT_FINITE: "the number is NaN or infinite",
    TRUNCATED_FILE: "the file ends in the middle; what came before was read",
    CORRUPT_FILE: "the file's bytes do not decode; what came before was read",
    SCHEMA_MISMATCH: "the file's schema cannot be read as the one asked for",
    NOT_AN_EVENT: "an Event whose fields are not what an Event's are",
    OUT_OF_RANGE: "the number is too large, too small or too precise for where it should go",
    REFUSED: "the store refuses the row, as often as it is sent; the error says why",
    PARSER_ERROR: "a mistake in the parser itself: please report it, with the trace",
}
"""Every code with its meaning."""
