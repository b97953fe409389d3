"""A client of a schema registry that speaks Confluent's API, and the envelope of messages that name their schema.

API: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
Envelope: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from thingbeam.io.errors import ConnectorError
from thingbeam.io.secrets import check_reference, secret

__all__ = ["RegistryError", "SchemaRegistry", "UnknownSchemaError", "frame", "unframe"]

_HEAD: Final = struct.Struct(">bI")
_MAGIC: Final = 0
_ATTEMPTS: Final = 4
_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_SERVER_FAULT: Final = 500
_TOO_MANY: Final = 429


class RegistryError(ConnectorError):
    """The registry did not answer, or refused."""


class UnknownSchemaError(RegistryError):
    """There is no such schema, subject or version."""


def frame(schema_id: int, data: bytes) -> bytes:
    """Data with the number of its schema before it: a zero byte, four bytes big-endian, the data.

    >>> frame(7, b"x").hex()
    '000000000778'
    """
    return _HEAD.pack(_MAGIC, schema_id) + data


def unframe(payload: bytes) -> tuple[int, bytes]:
    """The number of the schema, and the data.

    Raises:
        ValueError: not of that envelope.

    >>> unframe(bytes.fromhex("000000000778"))
    (7, b'x')
    """
    if len(payload) < _HEAD.size:
        raise ValueError(f"{len(payload)} bytes are too few to name a schema")
    magic, schema_id = _HEAD.unpack_from(payload)
    if magic != _MAGIC:
        raise ValueError(f"begins with byte {payload[0]}, where 0 says that a schema is named")
    return schema_id, payload[_HEAD.size :]


@dataclass(frozen=True)
class SchemaRegistry:
    """A registry. Travels in the job's graph; what it was told is kept in each worker.

    Attributes:
        url: the base of the API.
        username: for HTTP's basic authentication.
        password: a reference, `env:NAME` or `file:PATH`.
        ca: a PEM file of authorities on the workers; None for the system's.
        timeout: of one request, in seconds.
    """

    url: str
    username: str | None = None
    password: str | None = None
    ca: str | None = None
    timeout: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"registry {self.url!r}: an address that begins with http:// or https://")
        if (self.username is None) != (self.password is None):
            raise ValueError("registry: a username needs its password, and a password its username")
        if self.password is not None:
            check_reference(self.password, "registry password")

    def schema(self, schema_id: int) -> Any:
        """The Avro schema of a number, as JSON has it. Asked once a process.

        Raises:
            UnknownSchemaError: there is none.
            RegistryError: no answer; or it is no Avro, or refers to other schemas.
        """
        key = (self.url, schema_id)
        found = _schemas.get(key)
        if found is None:
            answer = self._call("GET", f"/schemas/ids/{schema_id}")
            if answer.get("schemaType", "AVRO") != "AVRO":
                raise RegistryError(f"schema {schema_id} is {answer['schemaType']}, not Avro")
            if answer.get("references"):
                raise RegistryError(f"schema {schema_id} refers to other schemas, which is not read")
            found = _schemas[key] = json.loads(answer["schema"])
        return found

    def register(self, subject: str, schema: Any) -> int:
        """The number of a schema, made a new version of the subject where it is not there yet. Asked once a process.

        Raises:
            RegistryError: no answer; or the schema is not compatible with the subject's others.
        """
        text = json.dumps(schema, separators=(",", ":"))
        key = (self.url, subject, text)
        with _lock:
            if key not in _numbers:
                answer = self._call("POST", f"/subjects/{subject}/versions", {"schema": text})
                _numbers[key] = int(answer["id"])
            return _numbers[key]

    def latest(self, subject: str) -> tuple[int, int, Any]:
        """Of the newest version of a subject: its number among all schemas, its version, and the schema.

        Raises:
            UnknownSchemaError: there is no such subject.
            RegistryError: no answer.
        """
        answer = self._call("GET", f"/subjects/{subject}/versions/latest")
        return int(answer["id"]), int(answer["version"]), json.loads(answer["schema"])

    def _call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Accept": f"{_TYPE}, application/json", "Content-Type": _TYPE}
        if self.username is not None and self.password is not None:
            pair = f"{self.username}:{secret(self.password, 'registry password')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        request = urllib.request.Request(  # noqa: S310 - http or https, as __post_init__ saw
            self.url.rstrip("/") + path, None if body is None else json.dumps(body).encode(), headers, method=method
        )
        context = ssl.create_default_context(cafile=self.ca) if self.url.startswith("https") else None
        for attempt in range(_ATTEMPTS):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout, context=context) as answer:  # noqa: S310
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                said = _said(error)
                if error.code == _NOT_FOUND:
                    raise UnknownSchemaError(f"{self.url}{path}: {said}") from error
                if error.code == _CONFLICT:
                    raise RegistryError(
                        f"{path}: the schema is not compatible with the subject's others: {said}"
                    ) from error
                if (error.code < _SERVER_FAULT and error.code != _TOO_MANY) or attempt == _ATTEMPTS - 1:
                    raise RegistryError(f"{self.url}{path}: {error.code}: {said}") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                if attempt == _ATTEMPTS - 1:
                    raise RegistryError(f"{self.url}: no answer: {error}") from error
            time.sleep(random.uniform(0, 0.5 * 2**attempt))  # noqa: S311 - spreads load, no secret
        raise AssertionError("the last attempt raises")


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])[:300]
    except (ValueError, KeyError, TypeError, OSError):
        return str(error.reason)


_lock: Final = threading.Lock()
_schemas: dict[tuple[str, int], Any] = {}
_numbers: dict[tuple[str, str, str], int] = {}
