"""Runs a jar on a Flink cluster, by its REST API (https://nightlies.apache.org/flink/flink-docs-release-1.19/docs/ops/rest_api)."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from thingbeam.runners.packaging.flink_jar import ENTRY
from thingbeam.runners.stack import rest
from thingbeam.runners.stack.errors import StackError

__all__ = ["run_jar"]

_SECONDS: Final = 180.0
_LONGEST: Final = 400


def run_jar(url: str, jar: Path, *, parallelism: int = 1, savepoint: str = "") -> str:
    """Uploads a jar, starts its job, and forgets the upload.

    Args:
        url: of the cluster's REST API: `http://127.0.0.1:8081`.
        jar: of `write_jar`.
        parallelism: of the job, where its jar names none.
        savepoint: a savepoint or checkpoint to resume from.

    Returns:
        Flink's id of the job.

    Raises:
        StackError: there is no cluster, or it refused the jar or the job; one line.
    """
    base = url.rstrip("/")
    uploaded = _upload(base, jar)
    request: dict[str, Any] = {"entryClass": ENTRY, "parallelism": parallelism}
    if savepoint:
        request["savepointPath"] = savepoint
    try:
        body = json.dumps(request).encode()
        answer = _post(base, f"/jars/{uploaded}/run", "application/json", len(body), [body])
        return str(answer["jobid"])
    except (OSError, rest.RestError) as error:
        raise StackError(f"{jar}: the cluster at {base} did not start it: {error}") from error
    finally:
        rest.call("DELETE", f"{base}/jars/{uploaded}")


def _upload(base: str, jar: Path) -> str:
    """Sends the file without reading it into memory; gives the name that the cluster keeps it by."""
    mark = uuid.uuid4().hex
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="jarfile"; filename="{jar.name}"\r\n'
        "Content-Type: application/x-java-archive\r\n\r\n"
    ).encode()
    tail = f"\r\n--{mark}--\r\n".encode()
    try:
        with jar.open("rb") as file:
            size = len(head) + jar.stat().st_size + len(tail)
            content = f"multipart/form-data; boundary={mark}"
            answer = _post(base, "/jars/upload", content, size, [head, file, tail])
    except (OSError, rest.RestError) as error:
        raise StackError(f"{jar}: the cluster at {base} did not take it: {error}") from error
    return str(answer["filename"]).rpartition("/")[2]


def _post(base: str, path: str, content: str, size: int, parts: Sequence[bytes | BinaryIO]) -> Any:
    """Sends parts one after the other; a refusal is told by its last cause, which is what is wrong."""
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_SECONDS)
    try:
        connection.putrequest("POST", f"{url.path}{path}")
        connection.putheader("Content-Type", content)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        for part in parts:
            connection.send(part)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise rest.RestError(answer.status, _reason(text))
    return json.loads(text)


def _reason(text: str) -> str:
    """What of a Java trace says why: its last cause."""
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or ["it says nothing"])[-1 if causes else 0].removeprefix("Caused by: ")[:_LONGEST]
