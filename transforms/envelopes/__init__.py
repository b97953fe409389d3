"""Device messages, whatever their envelope, into `Event` records: pure parsing, no Beam."""

from __future__ import annotations

from thingbeam.transforms.envelopes.context import Context, Limits
from thingbeam.transforms.envelopes.errors import Failure, ParseError
from thingbeam.transforms.envelopes.payload import parse_each, parse_payload
from thingbeam.transforms.envelopes.redact import redact
from thingbeam.transforms.envelopes.times import micros_of

__all__ = ["Context", "Failure", "Limits", "ParseError", "micros_of", "parse_each", "parse_payload", "redact"]
