"""Putting whole objects in place: small ones by one request, large ones in parts as their bytes are made."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from thingbeam.io.errors import ConnectorError
from thingbeam.io.s3.requests import ObjectMissingError, Requests

__all__ = ["LEAST_PART", "PART_BYTES", "Stored", "abort_stale", "put"]

_LOG: Final = logging.getLogger("thingbeam.io.s3")

LEAST_PART: Final = 5 << 20
"""S3 takes no smaller part but the last: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
PART_BYTES: Final = 16 << 20
_MOST_PARTS: Final = 10_000


class Stored(NamedTuple):
    """An object that is in place, whole."""

    key: str
    bytes: int
    etag: str


def put(
    requests: Requests,
    key: str,
    chunks: Iterable[bytes],
    *,
    part_bytes: int = PART_BYTES,
    in_flight: int = 4,
    metadata: Mapping[str, str] | None = None,
    condition: Mapping[str, str] | None = None,
) -> Stored:
    """Put an object in place of any that has its key. A reader sees the one or the other, whole.

    Up to `part_bytes` it is one PutObject. What is longer goes in parts while the next ones are made: at most
    `in_flight` + 1 parts are in memory. Where anything fails the parts are taken back; what a killed worker leaves,
    readers do not see, and `abort_stale` removes.

    Args:
        requests: to the bucket.
        key: of the object.
        chunks: its bytes, in pieces of any length.
        part_bytes: of each part but the last.
        in_flight: parts that are sent at once.
        metadata: kept with the object.
        condition: `IfMatch` or `IfNoneMatch`, for an object of one part.

    Raises:
        PreconditionError: the condition does not hold.
        ConnectorError: it could not be stored within the deadline, or never will be.
    """
    storage = requests.location.storage
    arguments: dict[str, Any] = {"Key": key, "ChecksumAlgorithm": storage.checksum, **storage.of_object()}
    if metadata:
        arguments["Metadata"] = dict(metadata)
    parts = _cut(chunks, part_bytes)
    first = next(parts, b"")
    second = next(parts, None)
    if second is None:
        arguments.update(condition or {})
        answer = requests.call("put_object", "s3:PutObject", Body=first, **arguments)
        return Stored(key, len(first), answer["ETag"])
    if condition:
        raise ValueError("a condition is for objects of one part")
    return _in_parts(requests, arguments, _chain(first, second, parts), in_flight)


def _chain(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest


def _cut(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter."""
    gathered: list[bytes | memoryview] = []
    length = 0
    for chunk in chunks:
        if length + len(chunk) <= size:
            if chunk:
                gathered.append(chunk)
                length += len(chunk)
            continue
        view = memoryview(chunk)
        while length + len(view) > size:
            piece = view[: size - length]
            yield b"".join((*gathered, piece))
            view = view[len(piece) :]
            gathered, length = [], 0
        gathered.append(view)
        length = len(view)
    if gathered:
        only = gathered[0]
        # One that came whole goes as it came, without a copy.
        yield only if len(gathered) == 1 and isinstance(only, bytes) else b"".join(gathered)


def _in_parts(requests: Requests, arguments: Mapping[str, Any], parts: Iterator[bytes], in_flight: int) -> Stored:
    key, algorithm = arguments["Key"], arguments["ChecksumAlgorithm"]
    upload = requests.call("create_multipart_upload", "s3:PutObject", **arguments)["UploadId"]
    try:
        done: list[dict[str, Any]] = []
        size = 0

        def send(number: int, part: bytes) -> dict[str, Any]:
            answer = requests.call(
                "upload_part", "s3:PutObject", Key=key, UploadId=upload, PartNumber=number, Body=part,
                ChecksumAlgorithm=algorithm,
            )  # fmt: skip
            checksum = f"Checksum{algorithm}"
            return {"PartNumber": number, "ETag": answer["ETag"], checksum: answer[checksum]}

        with ThreadPoolExecutor(in_flight, thread_name_prefix="s3-part") as pool:
            underway: deque[Future[dict[str, Any]]] = deque()
            try:
                for number, part in enumerate(parts, 1):
                    if number > _MOST_PARTS:
                        raise ConnectorError(f"{key}: over {_MOST_PARTS} parts: give a larger part_bytes")
                    if len(underway) >= in_flight:
                        done.append(underway.popleft().result())
                    underway.append(pool.submit(send, number, part))
                    size += len(part)
                done += [future.result() for future in underway]
            except BaseException:
                for future in underway:
                    future.cancel()
                raise
        return Stored(key, size, _complete(requests, key, upload, done))
    except BaseException:
        _abort(requests, key, upload)
        raise


def _complete(requests: Requests, key: str, upload: str, parts: list[dict[str, Any]]) -> str:
    try:
        answer = requests.call(
            "complete_multipart_upload", "s3:PutObject", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        return str(answer["ETag"])
    except ObjectMissingError:
        # The answer to an attempt that had succeeded was lost, and the upload is no more: then the object is there.
        found = requests.head(key)
        if found is None or not str(found["ETag"]).strip('"').endswith(f"-{len(parts)}"):
            raise
        return str(found["ETag"])


def _abort(requests: Requests, key: str, upload: str) -> None:
    # The failure that led here says more than one of cleaning up; abort_stale sees to what is left.
    with contextlib.suppress(ConnectorError):
        requests.call("abort_multipart_upload", "s3:AbortMultipartUpload", Key=key, UploadId=upload)


def abort_stale(requests: Requests, prefix: str, seconds: float) -> list[str]:
    """Take back uploads that were begun long ago and never completed: what killed workers left, which costs storage.

    Args:
        requests: to the bucket.
        prefix: of keys.
        seconds: uploads younger than this may still be at work, and stay.

    Returns:
        The keys of those taken back.

    Raises:
        ConnectorError: no permission for s3:ListBucketMultipartUploads or s3:AbortMultipartUpload, or no answer.
    """
    before = time.time() - seconds
    arguments: dict[str, Any] = {"Prefix": prefix}
    taken: list[str] = []
    while True:
        page = requests.call("list_multipart_uploads", "s3:ListBucketMultipartUploads", **arguments)
        for upload in page.get("Uploads", ()):
            if upload["Initiated"].timestamp() < before:
                with contextlib.suppress(ObjectMissingError):
                    requests.call(
                        "abort_multipart_upload", "s3:AbortMultipartUpload", Key=upload["Key"],
                        UploadId=upload["UploadId"],
                    )  # fmt: skip
                taken.append(upload["Key"])
        if not page.get("IsTruncated"):
            break
        arguments |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    if taken:
        _LOG.info("%s: %d unfinished uploads taken back", requests.location.describe(), len(taken))
    return taken
