from __future__ import annotations

import re

from thingbeam.schemas import codes


def test_every_code_has_a_meaning() -> None:
    constants = {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(codes.CODES)
    assert len(set(codes.CODES.values())) == len(codes.CODES)


def test_codes_are_words_to_group_by() -> None:
    for name, value in vars(codes).items():
        if name.isupper() and isinstance(value, str):
            assert value == name.lower()
            assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", value)


def test_released_codes_stay() -> None:
    """Dead letters are kept and grouped by them: one may be added, none renamed."""
    assert codes.CODES.keys() >= {
        "invalid_utf8", "invalid_json", "too_deep", "too_large", "unknown_envelope", "missing_field", "wrong_type",
        "impossible_time", "not_finite", "truncated_file", "corrupt_file", "schema_mismatch", "not_an_event",
        "parser_error",
    }  # fmt: skip
