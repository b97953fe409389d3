"""Dead letters that must fit."""

from __future__ import annotations

from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.letters import shortened
from thingbeam.schemas import DeadLetter, Session

LETTER = DeadLetter(b"x" * 65_536, "events", "partition=0 offset=1", "s", "c", "why", Timestamp(0))


def test_a_long_payload_is_cut_and_says_so() -> None:
    long = LETTER._replace(payload=LETTER.payload + b"y")
    assert shortened(long) == LETTER._replace(error="why (the first 65536 of 65537 bytes are kept)")


def test_the_rest_stays_as_it_is() -> None:
    session = Session("d" * 100_000, Timestamp(0), "", Timestamp(0), Timestamp(1), 1, 1)
    assert shortened(LETTER) is LETTER
    assert shortened(session) is session
