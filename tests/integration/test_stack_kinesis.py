"""The server of Kinesis that the stack runs, beyond what every test of a source or sink asks of it."""

from __future__ import annotations

import socket
import struct
import time

from stack_fixtures import Streams


def test_a_client_that_dies_within_a_request_does_not_end_it(kinesis: Streams) -> None:
    host, _, port = kinesis.address.partition(":")
    stream, pid = kinesis.stream(), kinesis.pid()
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: kinesis\r\nContent-Length: 1000\r\n\r\n{")
            # The server must be within the request by then. Closed like this, the connection is reset.
            time.sleep(0.2)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Time to die in: an answer at once might come before that.
    time.sleep(0.5)
    assert kinesis.client().list_shards(StreamName=stream)["Shards"]
    assert kinesis.pid() == pid
