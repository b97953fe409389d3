from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thingbeam.transforms.envelopes.redact import REDACTED, redact, redact_value

TOKEN = "s3cr3t-T0k3n"
KEYS = [
    "authToken",
    "refreshToken",
    "accessToken",
    "access_token",
    "clientSecret",
    "client_secret",
    "password",
    "apiKey",
    "X-API-Key",
    "token",
    "secret",
    "Authorization",
    "AUTHTOKEN",
    "confirmationUrl",
    "urlPath",
]
SECRET_KEYS = st.sampled_from(KEYS)
PLAIN_KEYS = st.sampled_from(["deviceId", "value", "tokens", "secretary", "passwords", "keyboard", "a", "", "events"])
# Text with all that makes quoting hard, but without what looks like a key of its own.
TEXT = st.text(st.sampled_from('ab"\\/{}[],\n\t é'), max_size=12)
PLAIN = st.none() | st.booleans() | st.integers() | TEXT
SECRET_TEXT = st.tuples(TEXT, TEXT).map(lambda ends: ends[0] + TOKEN + ends[1])


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(PLAIN_KEYS, inner, max_size=3)


SECRETS = st.recursive(
    SECRET_TEXT | st.integers(10**12, 10**15),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.fixed_dictionaries({"x": inner}),
)
DOCUMENTS = st.recursive(
    PLAIN | st.dictionaries(SECRET_KEYS, SECRETS, max_size=2),
    lambda inner: (
        objects(inner)
        | st.builds(
            lambda plain, secret: {**plain, **secret},
            st.dictionaries(PLAIN_KEYS, inner, max_size=2),
            st.dictionaries(SECRET_KEYS, SECRETS, max_size=2),
        )
    ),
    max_leaves=8,
)


def blanked(document: object) -> object:
    """What redaction means, on the decoded document."""
    if isinstance(document, dict):
        return {key: REDACTED.decode() if key in KEYS else blanked(value) for key, value in document.items()}
    return [blanked(member) for member in document] if isinstance(document, list) else document


@given(DOCUMENTS, st.sampled_from([None, 2]), st.booleans())
def test_of_json_it_takes_the_secrets_and_nothing_else(document: object, indent: int | None, ascii_only: bool) -> None:
    payload = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    assert json.loads(redact(payload)) == blanked(document)


@given(DOCUMENTS)
def test_decoded_values(document: object) -> None:
    assert redact_value(document) == blanked(document)


@given(DOCUMENTS)
def test_decoded_values_with_json_in_strings(document: object) -> None:
    cleaned = redact_value([json.dumps(document)])
    assert isinstance(cleaned, list)
    assert json.loads(cleaned[0]) == blanked(document)


@given(st.text())
def test_text_without_keys_is_left_alone(text: str) -> None:
    assert redact_value({"a": [text]}) == {"a": [text]} or any(sign in text for sign in ":=")


def test_a_value_stays_json_where_the_bytes_could_not() -> None:
    value = {"a": "it's 'token': 'x", "b": 1}
    assert redact_value(value) == {"a": "it's 'token': '[redacted]", "b": 1}


@given(DOCUMENTS, st.integers(1, 3))
def test_json_inside_strings(document: object, levels: int) -> None:
    text = json.dumps(document)
    for _ in range(levels):
        text = json.dumps({"payload": text, "after": 1})
    cleaned = redact(text.encode())
    assert TOKEN.encode() not in cleaned
    inner: Any = json.loads(cleaned)
    for _ in range(levels):
        assert inner["after"] == 1
        inner = json.loads(inner["payload"])
    assert inner == blanked(document)


@given(DOCUMENTS)
def test_quotes_inside_strings_written_as_u0022(document: object) -> None:
    r"""As .NET writes them: \u0022 and not \"."""
    text = json.dumps({"payload": json.dumps(document), "after": 1}).replace('\\"', "\\u0022")
    # \\\" became \\\u0022, which is what .NET writes for an escaped quote in the inner text.
    cleaned = json.loads(redact(text.encode()))
    assert TOKEN not in cleaned["payload"]
    assert json.loads(cleaned["payload"]) == blanked(document)


@given(DOCUMENTS, st.data())
@example({"authToken": TOKEN}, None)
def test_cut_anywhere_the_secret_does_not_survive(document: object, data: st.DataObject | None) -> None:
    payload = json.dumps(document).encode()
    for end in [len(payload) - 1] if data is None else [data.draw(st.integers(0, len(payload)))]:
        assert TOKEN.encode() not in redact(payload[:end])


@given(st.binary(max_size=30), SECRET_KEYS, SECRET_TEXT, st.binary(max_size=30))
def test_whatever_stands_around_it_the_secret_does_not_survive(
    before: bytes, key: str, secret: str, after: bytes
) -> None:
    before = before.replace(b'"', b"").replace(b"'", b"").replace(b"\\", b"").replace(b"\0", b"")
    payload = before + b'{"' + key.encode() + b'":' + json.dumps(secret).encode() + after.replace(b"\0", b"")
    assert TOKEN.encode() not in redact(payload)


@given(SECRET_KEYS, st.data(), SECRET_TEXT)
def test_keys_written_with_escapes(key: str, data: st.DataObject, secret: str) -> None:
    written = "".join(f"\\u{ord(c):04x}" if data.draw(st.booleans()) else c for c in key)
    payload = f'{{"{written}": {json.dumps(secret)}, "after": 1}}'
    cleaned = json.loads(redact(payload.encode()))
    assert cleaned == {key: REDACTED.decode(), "after": 1}


@pytest.mark.parametrize(
    ("payload", "cleaned"),
    [
        (b'{"authToken" : \n "abc"}', b'{"authToken" : \n "[redacted]"}'),
        (b'{"authToken":"a\\"b\\\\","n":1}', b'{"authToken":"[redacted]","n":1}'),
        (b'{"authToken":"a\\u005c","n":1}', b'{"authToken":"[redacted]","n":1}'),
        (b'{"authToken":"abc', b'{"authToken":"[redacted]'),
        (b'{"authToken":', b'{"authToken":'),
        (b'{"authToken":[1,"]}",{"a":"}"}],"n":1}', b'{"authToken":"[redacted]","n":1}'),
        (b'{"token":-1.5e3,"n":1}', b'{"token":"[redacted]","n":1}'),
        (b'{"token":null}', b'{"token":"[redacted]"}'),
        (b'{"a":"{\\"token\\":12,\\"b\\":3}"}', b'{"a":"{\\"token\\":\\"[redacted]\\",\\"b\\":3}"}'),
        (b'{"a":"{\\"token\\":{\\"x\\":\\"}\\"}}"}', b'{"a":"{\\"token\\":\\"[redacted]\\"}"}'),
        (b'{"a":"{\\"authToken\\":\\"abc","n":1}', b'{"a":"{\\"authToken\\":\\"[redacted]","n":1}'),
        (b"{'token': 'abc', 'n': 1}", b"{'token': '[redacted]', 'n': 1}"),
        (b"{'token': b'abc', 'n': 1}", b"{'token': '[redacted]', 'n': 1}"),
        (b'{token: "abc", n: 1}', b'{token: "[redacted]", n: 1}'),
        (b"Authorization: Bearer abc\r\nHost: x", b"Authorization: [redacted]\r\nHost: x"),
        (b"grant=1&refresh_token=abc&n=1", b"grant=1&refresh_token=[redacted]&n=1"),
        (b'{"url":"https://x/?access_token=abc&n=1"}', b'{"url":"https://x/?access_token=[redacted]&n=1"}'),
        (b'thToken":"abc","n":1}', b'thToken":"[redacted]","n":1}'),
        (b'\xff\xfe{"token":"\xff\xc3","n":1}', b'\xff\xfe{"token":"[redacted]","n":1}'),
        (b'["token","secret"]', b'["token","secret"]'),
        (b'{"value":"token"}', b'{"value":"token"}'),
        (b"", b""),
    ],
)
def test_examples(payload: bytes, cleaned: bytes) -> None:
    assert redact(payload) == cleaned


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_and_a_second_time_changes_nothing_more(payload: bytes) -> None:
    once = redact(payload)
    assert redact(once) == once


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32"])
def test_other_encodings(encoding: str) -> None:
    cleaned = redact(json.dumps({"authToken": TOKEN, "n": 1}).encode(encoding))
    assert TOKEN.encode() not in cleaned.replace(b"\0", b"")
    plain = json.dumps({"n": 1}).encode(encoding)
    assert redact(plain) == plain


HOSTILE = {
    "backslashes": b'{"token":"' + b"\\" * 5_000_000,
    "quotes": b'"' * 1_000_000,
    "keys": b'"token":' * 125_000,
    "brackets": b'{"token":' + b"[" * 1_000_000,
    "escaped quotes": b'{"token":"' + b'\\"' * 500_000,
    "spaces": b'"token"' + b" " * 1_000_000,
    "words": b"a" * 1_000_000,
    "bare keys": b"token= " * 140_000,
    "colons": b'":' * 500_000,
    "backslashes before keys": (b"\\" * 40 + b'":') * 24_000,
    "u0022": b"\\u0022" * 160_000,
    "escaped spaces": (b'"' + b"\\n" * 100) * 5_000,
    "nested": b'{"token":{' + b'"a":{' * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_megabytes_take_a_second_or_two(name: str) -> None:
    """A scan whose time grew with the square of the length would take minutes."""
    started = time.perf_counter()
    redact(HOSTILE[name])
    assert time.perf_counter() - started < 10


def test_a_value_of_five_megabytes() -> None:
    payload = b'{"authToken":"' + b'x\\"{' * 1_000_000 + b'","n":1}'
    assert redact(payload) == b'{"authToken":"[redacted]","n":1}'


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        redact(json.dumps({"authToken": TOKEN}).encode())
    assert caplog.records == []
