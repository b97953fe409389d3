from __future__ import annotations

import pickle

from thingbeam.schemas import codes
from thingbeam.transforms.envelopes import Failure, ParseError


def test_an_error_says_code_message_and_place() -> None:
    error = ParseError(codes.MISSING_FIELD, "deviceId is missing", "eventData.events[2]")
    assert isinstance(error, ValueError)
    assert (error.code, error.message, error.path) == ("missing_field", "deviceId is missing", "eventData.events[2]")
    assert str(error) == "eventData.events[2]: deviceId is missing"
    assert str(ParseError(codes.INVALID_JSON, "not JSON")) == "not JSON"


def test_an_error_crosses_process_borders() -> None:
    error = pickle.loads(pickle.dumps(ParseError(codes.TOO_DEEP, "nested", "[3]")))
    assert (error.code, error.message, error.path) == ("too_deep", "nested", "[3]")


def test_a_path_made_of_a_huge_key_is_cut() -> None:
    error = ParseError(codes.WRONG_TYPE, "wrong", "x" * 1_000_000)
    assert len(error.path) < 1000
    assert len(Failure.of(error, "x" * 1_000_000).path) < 1000
