r"""Secrets out of payloads, be they JSON, cut JSON or no JSON at all.

The scan looks for keys, not for structure, so that nothing before or behind a key needs to be well-formed. JSON text
inside a JSON string writes its quotes as \" or \u0022, inside two strings as \\\" and so on: from these backslashes
follows which quote ends a value. Where in doubt it takes out too much.
"""

from __future__ import annotations

import re
from typing import Final, cast

__all__ = ["REDACTED", "redact", "redact_value"]

REDACTED: Final = b"[redacted]"

SECRET_ENDINGS: Final = (
    b"accesskey",
    b"apikey",
    b"authorization",
    b"confirmationurl",
    b"cookie",
    b"credential",
    b"credentials",
    b"passcode",
    b"passphrase",
    b"passwd",
    b"password",
    b"pincode",
    b"privatekey",
    b"pwd",
    b"secret",
    b"secretkey",
    b"setupmanualcode",
    b"setupqrcode",
    b"token",
    b"urlpath",
)
"""A key is secret if, without case, spaces, `-`, `_` and `.`, it ends in one of these, as `refreshToken`, `x-api-key`.

`confirmationUrl` and `urlPath` are the URLs with one-time codes in SmartThings' CONFIRMATION and OAUTH_CALLBACK calls
(https://developer.smartthings.com/docs/connected-services/lifecycles).
"""

_SEPARATORS: Final = b" \t\r\n_.-"
_TAIL: Final = 40
_ESCAPED_TAIL: Final = 160
_ESCAPE: Final = re.compile(rb"\\{1,8}u00([0-9a-fA-F]{2})")

# No pattern here has two ways to match the same bytes, or to look again at a long run of them: the scan is linear.
_SPACE: Final = rb"(?:\s|\\{1,64}[nrt])*+"
_KEY_END: Final = re.compile(rb"(?:[\"']|u002[27])" + _SPACE + rb":" + _SPACE)
_BARE_KEY: Final = re.compile(rb"(?<![\w.-])([\w.-]{2,64}+)(?:=|[ \t]{0,8}+:[ \t]{0,64}+)")
_OPENING: Final = re.compile(rb"\\{0,64}([\"']|u002[27])")
_QUOTE: Final = re.compile(rb"[\"']|u002[27]")
_QUOTE_OR_BRACKET: Final = re.compile(rb"[\"'{}\[\]]|u002[27]")
_SCALAR: Final = re.compile(rb"[^\s,\"'\\{}\[\]]*+")
_FORM_VALUE: Final = re.compile(rb"[^\s&\"'\\,;<>{}\[\]]*+")
_LINE: Final = re.compile(rb"[^\r\n\"'\\]*+")
_BACKSLASH: Final = 0x5C


def redact(payload: bytes) -> bytes:
    r"""Replace the values of secret keys by `[redacted]`, and leave all other bytes as they are.

    Finds keys in JSON at any depth, in JSON inside JSON strings, written with \u escapes, in single quotes, and
    as `key=value` and `Key: value` without quotes. Takes strings (to the end where the closing quote is missing),
    numbers, objects and arrays. What was JSON stays JSON, unless a string in it holds a key in single quotes whose
    value has no end. Time is linear in the payload's length, whatever it holds.

    Args:
        payload: any bytes, UTF-8 or not. In UTF-16 and UTF-32, if there is a secret, the zero bytes go too.

    Returns:
        The same bytes without the secrets.

    >>> redact(b'{"authToken": "abc", "text": "{\\"password\\":\\"x\\"}", "n": 1}')
    b'{"authToken": "[redacted]", "text": "{\\"password\\":\\"[redacted]\\"}", "n": 1}'
    """
    if b"\0" in payload:
        squeezed = payload.replace(b"\0", b"")
        cleaned = _bare(_quoted(squeezed))
        return payload if cleaned == squeezed else cleaned
    return _bare(_quoted(payload))


def redact_value(value: object) -> object:
    """A decoded JSON value with `[redacted]` in the place of the values of secret keys, also in text inside strings.

    >>> redact_value({"energy": 5, "apiKey": "abc", "url": "https://x/?token=abc"})
    {'energy': 5, 'apiKey': '[redacted]', 'url': 'https://x/?token=[redacted]'}
    """
    if isinstance(value, dict):
        members = cast(dict[str, object], value).items()
        return {
            key: REDACTED.decode() if _is_secret_name(key.encode(errors="replace")) else redact_value(member)
            for key, member in members
        }
    if isinstance(value, list):
        return [redact_value(member) for member in cast(list[object], value)]
    if isinstance(value, str) and (":" in value or "=" in value):
        return redact(value.encode(errors="surrogatepass")).decode(errors="surrogatepass")
    return value


def _quoted(payload: bytes) -> bytes:
    """Take out what stands behind keys in quotes."""
    pieces: list[bytes] = []
    done = position = 0
    while (match := _KEY_END.search(payload, position)) is not None:
        position = match.end()
        key_end = match.start() - _backslashes_before(payload, match.start())
        if not _is_secret(payload, key_end):
            continue
        quote = payload[key_end : _QUOTE.match(payload, match.start()).end()]  # type: ignore[union-attr]
        end, replacement = _value(payload, position, quote)
        pieces += [payload[done:position], replacement]
        done = position = end
    return b"".join([*pieces, payload[done:]]) if pieces else payload


def _bare(payload: bytes) -> bytes:
    """Take out what stands behind keys without quotes: URLs, forms, header lines."""
    pieces: list[bytes] = []
    done = position = 0
    while (match := _BARE_KEY.search(payload, position)) is not None:
        position = match.end()
        if not _is_secret(payload, match.end(1)):
            continue
        if _OPENING.match(payload, position) or payload[position : position + 1] in (b"{", b"["):
            end, replacement = _value(payload, position, b'"')
        else:
            value = _FORM_VALUE if payload[position - 1 : position] == b"=" else _LINE
            end = _end_of(value, payload, position)
            replacement = REDACTED if end > position else b""
        pieces += [payload[done:position], replacement]
        done = position = end
    return b"".join([*pieces, payload[done:]]) if pieces else payload


def _is_secret(payload: bytes, key_end: int) -> bool:
    tail = payload[max(0, key_end - _TAIL) : key_end]
    if _BACKSLASH in tail:
        tail = _ESCAPE.sub(_unescaped, payload[max(0, key_end - _ESCAPED_TAIL) : key_end])
    return _is_secret_name(tail)


def _is_secret_name(name: bytes) -> bool:
    return name.translate(None, _SEPARATORS).lower().endswith(SECRET_ENDINGS)


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())


def _value(payload: bytes, start: int, key_quote: bytes) -> tuple[int, bytes]:
    """Where the value that starts here ends, and what to write instead of it."""
    opening = _OPENING.match(payload, start)
    if opening is not None:
        end, closing = _string_end(payload, opening)
        return end, opening[0] + REDACTED + closing
    if payload[start : start + 1] in (b"{", b"["):
        return _brackets_end(payload, start, key_quote), key_quote + REDACTED + key_quote
    end = _end_of(_SCALAR, payload, start)
    if end == start:
        return end, b""
    opening = _OPENING.match(payload, end)
    if opening is not None:
        # Python's b'…' and its like, in payloads that are the text of a Python object.
        end, _ = _string_end(payload, opening)
    return end, key_quote + REDACTED + key_quote


def _end_of(pattern: re.Pattern[bytes], payload: bytes, start: int) -> int:
    match = pattern.match(payload, start)
    return start if match is None else match.end()


def _backslashes_before(payload: bytes, position: int) -> int:
    start = position
    while start and payload[start - 1] == _BACKSLASH:
        start -= 1
    return position - start


def _peel(escaped: bool, run: int) -> tuple[bool, int]:
    """A quote and the backslashes before it, as they are once the JSON string around them is decoded.

    `escaped` is whether the quote is written as u0022, which only the backslash before makes a quote.
    """
    if escaped:
        return (False, run // 2) if run % 2 else (True, run // 2)
    return False, (run - 1) // 2


def _level(escaped: bool, run: int) -> int:
    """In how many JSON strings inside each other a quote stands that opens or ends a string."""
    level = 0
    while (escaped and run) or run % 2:
        escaped, run = _peel(escaped, run)
        level += 1
    return level


def _ends(escaped: bool, run: int, level: int) -> tuple[bool, bool]:
    """Whether a quote ends a string of this level, or one of those around it."""
    for _ in range(level):
        if not escaped and run % 2 == 0:
            return False, True
        escaped, run = _peel(escaped, run)
    return not escaped and run % 2 == 0, False


def _quote_at(payload: bytes, match: re.Match[bytes]) -> tuple[bytes, bool, int] | None:
    """Which quote is here, whether written as u0022, and how many backslashes are before it; None where none is."""
    token = match[0]
    run = _backslashes_before(payload, match.start())
    if len(token) == 1:
        return token, False, run
    return (b'"' if token.endswith(b"22") else b"'", True, run) if run else None


def _string_end(payload: bytes, opening: re.Match[bytes]) -> tuple[int, bytes]:
    """Where the string ends, and the quote that ends it; the payload's end and nothing where it was cut."""
    token = opening[1]
    escaped, run = len(token) > 1, len(opening[0]) - len(token)
    wanted = token if not escaped else (b'"' if token.endswith(b"22") else b"'")
    level = _level(escaped, run)
    for match in _QUOTE.finditer(payload, opening.end()):
        found = _quote_at(payload, match)
        if found is None or found[0] != wanted:
            continue
        ends, ends_outer = _ends(found[1], found[2], level)
        if ends_outer:
            return match.start() - found[2], b""
        if ends and not _maybe_escaped(payload, match.start() - found[2], level):
            return match.end(), payload[match.start() - min(run, found[2]) : match.end()]
    return len(payload), b""


def _maybe_escaped(payload: bytes, end: int, level: int) -> bool:
    r"""Whether what comes before is \u005c, which in JSON inside a string may be the backslash that escapes a quote."""
    return level > 0 and payload[max(0, end - 5) : end].lower() == b"u005c"


def _brackets_end(payload: bytes, start: int, key_quote: bytes) -> int:
    """Where the object or array ends that starts here; the payload's end where it was cut."""
    run = len(key_quote) - len(key_quote.lstrip(b"\\"))
    level = _level(len(key_quote) - run > 1, run)
    depth = 0
    inside: bytes | None = None
    for match in _QUOTE_OR_BRACKET.finditer(payload, start):
        token = match[0]
        if token in (b"{", b"[", b"}", b"]"):
            if inside is None:
                depth += 1 if token in b"{[" else -1
                if depth == 0:
                    return match.end()
            continue
        found = _quote_at(payload, match)
        if found is None or (inside is not None and found[0] != inside):
            continue
        ends, ends_outer = _ends(found[1], found[2], level)
        if ends_outer:
            return match.start() - found[2]
        if ends and not (inside and _maybe_escaped(payload, match.start() - found[2], level)):
            inside = found[0] if inside is None else None
    return len(payload)
