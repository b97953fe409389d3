"""JSON over HTTP, to servers on this machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

__all__ = ["RestError", "call"]

# A proxy that the environment names is for the world outside.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_LONGEST: Final = 500


class RestError(RuntimeError):
    """A server answered that it will not.

    Args:
        status: of HTTP.
        message: what the server said.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def call(
    method: str, url: str, body: object = None, *, content: str = "application/json", seconds: float = 30.0
) -> Any:
    """Sends a request and gives the answer, None if that is empty.

    Args:
        method: GET, POST, PATCH…
        url: of http.
        body: sent as JSON, or None.
        content: its content type.
        seconds: limit of time.

    Raises:
        RestError: the server refused.
        OSError: nobody answers.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": content} if data else {}, method=method)  # noqa: S310
    try:
        with _OPENER.open(request, timeout=seconds) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise RestError(error.code, _said(error.read())) from None
    return json.loads(text) if text.strip() else None


def _said(text: bytes) -> str:
    """The first line of what a server says is wrong."""
    try:
        told = json.loads(text)
    except ValueError:
        told = {}
    said = told.get("message") or told.get("errors") if isinstance(told, dict) else None
    lines = str(said or text.decode(errors="replace")).split("\\n")[0].strip().splitlines()
    return lines[0][:_LONGEST] if lines else ""
