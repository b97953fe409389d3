"""From bytes to a JSON document, and if not, exactly why not."""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Final

import msgspec

from thingbeam.schemas import codes
from thingbeam.transforms.envelopes.context import Limits
from thingbeam.transforms.envelopes.errors import ParseError

__all__ = ["NotFinite", "decode", "depth_of", "has_not_finite"]

_BRACKETS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|[\]}]', re.DOTALL)
_MAX_DIGITS: Final = 400
"""A double ends at 309 digits; Python would need quadratic time for millions of them."""
_BEYOND: Final = (1 << 1024) - (1 << 970)
"""The first integer that rounds to infinity: half a step above the largest double (IEEE 754-2019, 7.4)."""


class NotFinite:
    """Stands in a document where NaN, an infinity or a fraction beyond doubles was written."""


NOT_FINITE: Final = NotFinite()


def decode(payload: bytes, limits: Limits) -> tuple[object, bool]:
    """Decode JSON (RFC 8259, a byte order mark ignored); of a key given twice the last counts.

    NaN and infinities are no JSON, and a number beyond doubles is none to us, but one such reading must not take the
    other events of its payload with it: they come as `NotFinite` objects in an otherwise good document. Integers may
    come with all their digits instead; `has_not_finite` knows them too.

    Args:
        payload: the bytes of one message.
        limits: on its size and depth.

    Returns:
        The document, and whether it holds a `NotFinite`.

    Raises:
        ParseError: too_large, too_deep, invalid_utf8 or invalid_json.

    >>> decode(b'{"value": 1e999}', Limits())[1]
    True
    """
    if len(payload) > limits.max_value_bytes:
        raise ParseError(codes.TOO_LARGE, f"the payload has {len(payload)} bytes, over {limits.max_value_bytes}")
    if payload.startswith(codecs.BOM_UTF8):
        payload = payload[len(codecs.BOM_UTF8) :]
    if payload.count(b"{") + payload.count(b"[") > limits.max_depth and depth_of(payload) > limits.max_depth:
        raise ParseError(codes.TOO_DEEP, f"nested more than {limits.max_depth} deep")
    try:
        return msgspec.json.decode(payload), False
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except msgspec.DecodeError as error:
        reason = str(error)
    except RecursionError:
        raise ParseError(codes.TOO_DEEP, "nested deeper than the stack allows") from None
    return _second_look(payload, reason), True


def depth_of(payload: bytes) -> int:
    """How deep brackets outside strings are nested at most, in one pass, be the payload JSON or not.

    >>> depth_of(b'{"a": [1, "[[["]}')
    2
    """
    depth = deepest = 0
    for match in _BRACKETS.finditer(payload):
        if match[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in b"]}":
            depth -= 1
    return deepest


def has_not_finite(value: object) -> bool:
    """Whether a number that no double can hold is anywhere inside a decoded value.

    >>> has_not_finite({"a": [1, 10**400]})
    True
    """
    if isinstance(value, dict):
        return any(has_not_finite(member) for member in value.values())
    if isinstance(value, list):
        return any(has_not_finite(member) for member in value)
    return isinstance(value, NotFinite) or (isinstance(value, int) and not -_BEYOND < value < _BEYOND)


def _second_look(payload: bytes, reason: str) -> object:
    """The document with its numbers that are not finite marked, or the exact reason why there is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        # An incomplete character at the very end is the mark of a cut, not of another encoding.
        text = decoder.decode(payload, final=False)
    except UnicodeDecodeError as error:
        raise ParseError(codes.INVALID_UTF8, f"not UTF-8 from byte {error.start} on") from None
    found = 0

    def not_finite(_: str) -> NotFinite:
        nonlocal found
        found += 1
        return NOT_FINITE

    def read_float(digits: str) -> float | NotFinite:
        number = float(digits)
        return number if math.isfinite(number) else not_finite(digits)

    def read_int(digits: str) -> int | NotFinite:
        return int(digits) if len(digits) <= _MAX_DIGITS and math.isfinite(float(digits)) else not_finite(digits)

    try:
        document: object = json.loads(text, parse_constant=not_finite, parse_float=read_float, parse_int=read_int)
        # What the standard library lets pass and RFC 8259 does not: half of a surrogate pair, which is no character.
        json.dumps(document, ensure_ascii=False, default=lambda _: None).encode()
    except (ValueError, RecursionError):
        raise ParseError(codes.INVALID_JSON, reason) from None
    if not found:
        raise ParseError(codes.INVALID_JSON, reason)
    return document
