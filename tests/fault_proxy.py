"""A proxy between a client and a server on this machine, that cuts, slows and answers in the server's place.

`TcpProxy` passes bytes; `HttpProxy` passes calls of HTTP, and may answer one itself, or change it on its way.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

LOOPBACK = "127.0.0.1"
_CHUNK = 64 << 10
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256
    proxy: Proxy

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self.proxy.is_cut

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends in the middle is what this is for."""


class Proxy:
    """What both have: a port of its own, connections that can be cut, and slowness.

    Args:
        target: HOST:PORT of the server.
    """

    handler: type[socketserver.BaseRequestHandler]

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self.target = (host.removeprefix("http://"), int(port))
        self.is_cut = False
        self.delay = 0.0
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = _Server((LOOPBACK, 0), self.handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._drop()
        self._thread.join()

    @property
    def address(self) -> str:
        """HOST:PORT, for clients."""
        return f"{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The same with http://."""
        return f"http://{self.address}"

    def cut(self, seconds: float) -> None:
        """Ends all connections, in the middle of whatever they carry, and takes no new ones for a while."""
        self.is_cut = True
        self._drop()
        time.sleep(seconds)
        self.is_cut = False

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Each call, or each piece of a stream of bytes, takes so much longer."""
        self.delay = seconds
        try:
            yield
        finally:
            self.delay = 0.0

    def keep(self, *sockets: socket.socket) -> None:
        """To be cut, too."""
        with self._lock:
            self._sockets.update(sockets)

    def forget(self, *sockets: socket.socket) -> None:
        """They are closed."""
        with self._lock:
            self._sockets.difference_update(sockets)

    def _drop(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Pass(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        proxy = self.server.proxy
        try:
            upstream = socket.create_connection(proxy.target, timeout=10)
        except OSError:
            return
        upstream.settimeout(None)
        proxy.keep(self.request, upstream)
        back = threading.Thread(target=self._pump, args=(upstream, self.request), daemon=True)
        back.start()
        self._pump(self.request, upstream)
        back.join()
        proxy.forget(self.request, upstream)
        upstream.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if self.server.proxy.delay:
                    time.sleep(self.server.proxy.delay)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class TcpProxy(Proxy):
    """Passes bytes, whatever they are."""

    handler = _Pass


@dataclass
class Call:
    """A call of HTTP on its way."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def action(self) -> str:
        """The operation of an AWS service that speaks JSON: `BatchWriteItem`."""
        return self.headers.get("X-Amz-Target", "").rpartition(".")[2]


@dataclass
class Answer:
    """What comes back."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Forward = Callable[[Call], Answer]
Intercept = Callable[[Call, Forward], Answer]


class _Handle(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    # An answer in one piece, and sent at once: else each waits for the client's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.proxy.keep(self.connection)
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        self.server.proxy.forget(self.connection)
        if self._upstream is not None:
            self._upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - Python's name
        """Nothing."""

    def _pass(self) -> None:
        proxy = self.server.proxy
        assert isinstance(proxy, HttpProxy)
        if proxy.delay:
            time.sleep(proxy.delay)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, self.path, dict(self.headers.items()), body)
        try:
            answer = self._forward(call) if proxy.intercept is None else proxy.intercept(call, self._forward)
        except (OSError, http.client.HTTPException):
            # The server is away: so is the connection.
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        # An answer to HEAD has the length of the body that it leaves out.
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def _forward(self, call: Call) -> Answer:
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(*self.server.proxy.target, timeout=60)
        headers = {name: value for name, value in call.headers.items() if name.lower() != "content-length"}
        try:
            self._upstream.request(call.method, call.path, call.body or None, headers)
            response = self._upstream.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        except (OSError, http.client.HTTPException):
            self._upstream.close()
            self._upstream = None
            raise


class HttpProxy(Proxy):
    """Passes calls of HTTP.

    Args:
        target: HOST:PORT of the server.
        intercept: gets each call and a function that passes it on, and gives the answer.
    """

    handler = _Handle

    def __init__(self, target: str, intercept: Intercept | None = None) -> None:
        super().__init__(target)
        self.intercept = intercept


def aws_error(code: str, message: str, status: int = 400) -> Answer:
    """The error of an AWS service that speaks JSON."""
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/x-amz-json-1.0"})


class Throttling:
    """Answers a share of the calls of some operations with an error, and counts them. To be given as `intercept`.

    Args:
        share: of the calls, from 0 to 1.
        actions: the operations; all if none are given.
        code: of the error.
        seed: of the choice.
    """

    def __init__(
        self, share: float, *actions: str, code: str = "ProvisionedThroughputExceededException", seed: int = 7
    ) -> None:
        self.share = share
        self.calls = 0
        self.throttled = 0
        self._actions = frozenset(actions)
        self._code = code
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, call: Call, forward: Forward) -> Answer:
        if self._actions and call.action not in self._actions:
            return forward(call)
        with self._lock:
            self.calls += 1
            chosen = self._random.random() < self.share
            self.throttled += chosen
        return aws_error(self._code, "slow down") if chosen else forward(call)
