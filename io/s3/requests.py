"""Calls to S3 that are tried again while that can help, and then say in one line what was wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from thingbeam.io.aws.errors import AwsError, WrongRegionError, code_of, connector_error, kind_of
from thingbeam.io.errors import MissingError, UnreachableError
from thingbeam.io.s3.location import S3Location
from thingbeam.io.writing.policies import RetryPolicy

__all__ = ["ObjectInfo", "ObjectMissingError", "PreconditionError", "Requests", "Tally", "check_bucket"]

_LOG: Final = logging.getLogger("thingbeam.io.s3")
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
_REGION_HEADER: Final = "x-amz-bucket-region"
_PAGE: Final = 1000
_TRIAL: Final = "_committed/.trial"
# A request that is asked while the pipeline is built is not worth minutes.
_CHECKING: Final = RetryPolicy(deadline="10s")


class ObjectMissingError(MissingError):
    """There is no object, or no upload, of that name."""


class PreconditionError(AwsError):
    """The object is not, or no longer, the one that the request was for."""


class ObjectInfo(NamedTuple):
    """What a listing says of an object."""

    key: str
    size: int
    etag: str
    modified: float
    """Seconds since 1970, by the store's clock."""


class Tally:
    """What the calls of one worker process came to; several threads count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._retries = self._throttles = 0

    def failed(self, *, throttled: bool) -> None:
        """One call is to be made again."""
        with self._lock:
            self._retries += 1
            self._throttles += throttled

    def take(self) -> tuple[int, int]:
        """Retries, and throttles among them, since it was last asked."""
        with self._lock:
            counts = self._retries, self._throttles
            self._retries = self._throttles = 0
        return counts


class Requests:
    """Calls to one bucket. One for a worker's thread or shared by several.

    What a store or the way to it failed at is tried again, with full jitter, until the deadline; throttles likewise.
    The client itself tries once, so that nothing is retried twice over.

    Args:
        location: bucket, account and options; the key does not matter.
        retry: pauses and deadline.
        clock: seconds that never go back.
        sleep: waits.
    """

    def __init__(
        self,
        location: S3Location,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.location = location
        self.tally = Tally()
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self._sleep = sleep

    def call(self, operation: str, needs: str, read: Callable[[Any], Any] | None = None, **arguments: Any) -> Any:
        """One call.

        Args:
            operation: the client's method: `put_object`.
            needs: the permission, for the message.
            read: takes what is wanted out of the answer, and is tried again with the call: for a body that breaks off.
            **arguments: without the bucket.

        Raises:
            ObjectMissingError: no such key or upload.
            PreconditionError: a condition of the call does not hold.
            ConnectorError: anything else that trying again did not mend; one line.
        """
        location = self.location
        until = self._clock() + self._retry.deadline_seconds
        failures = 0
        while True:
            try:
                client = location.aws.client("s3", attempts=1)
                given = {"Bucket": location.bucket, **location.storage.of_request(), **arguments}
                answer = getattr(client, operation)(**given)
                return answer if read is None else read(answer)
            except Exception as error:  # sorted by what AWS, botocore or the network says; ours go on as they are
                kind = kind_of(error)
                if kind not in ("throttled", "again"):
                    raise _in_our_words(error, location, arguments.get("Key", ""), needs) from error
                failures += 1
                self.tally.failed(throttled=kind == "throttled")
                pause = self._retry.pause(failures)
                if self._clock() + pause > until:
                    raise UnreachableError(
                        f"{location.describe()}: {operation} failed for {self._retry.deadline}, {failures} times, "
                        f"last with {code_of(error)}: {' '.join(str(error).split())[:300]}"
                    ) from error
                if failures == 3:
                    _LOG.warning("%s: %s: %s; trying again", location.describe(), operation, code_of(error))
                self._sleep(pause)

    def head(self, key: str) -> Mapping[str, Any] | None:
        """What is said of an object; None where there is none."""
        try:
            answer: Mapping[str, Any] = self.call("head_object", "s3:GetObject", Key=key)
        except ObjectMissingError:
            return None
        return answer

    def get(self, key: str) -> tuple[bytes, str] | None:
        """A small object, whole, and its ETag; None where there is none."""
        try:
            got: tuple[bytes, str] = self.call(
                "get_object", "s3:GetObject", lambda answer: (answer["Body"].read(), answer["ETag"]), Key=key
            )
        except ObjectMissingError:
            return None
        return got

    def list(self, prefix: str, start_after: str = "", delimiter: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys begin so, in the order of their keys' bytes.

        Args:
            prefix: of keys.
            start_after: keys up to this one are passed over.
            delimiter: "/" leaves out those below a further one.
        """
        arguments: dict[str, Any] = {"Prefix": prefix, "MaxKeys": _PAGE}
        if start_after:
            arguments["StartAfter"] = start_after
        if delimiter:
            arguments["Delimiter"] = delimiter
        while True:
            page = self.call("list_objects_v2", "s3:ListBucket", **arguments)
            for found in page.get("Contents", ()):
                yield ObjectInfo(found["Key"], found["Size"], found["ETag"], found["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already."""
        self.call("delete_object", "s3:DeleteObject", Key=key)


def check_bucket(location: S3Location, *, write: bool = False) -> None:
    """See, before a pipeline runs, that the bucket is there, ours to use, and where we say that it is.

    boto3 signs anew for another region without a word, and every later call would be made twice.

    Args:
        location: the bucket, and for writing what keys begin with.
        write: begin an upload too, and take it back: that shows permission, encryption and storage class, and leaves
            nothing.

    Raises:
        ConnectorError: one line to mend it by: no such bucket, no permission, another region, no or expired
            credentials, no answer.
    """
    headers: Mapping[str, Any] = {}

    def note(answer: Mapping[str, Any]) -> None:
        nonlocal headers
        headers = answer["ResponseMetadata"]["HTTPHeaders"]

    requests = Requests(location, _CHECKING)
    # A listing first: what HEAD answers has no body, so no reason either.
    requests.call("list_objects_v2", "s3:ListBucket", MaxKeys=1)
    requests.call("head_bucket", "s3:ListBucket", note)
    there = headers.get(_REGION_HEADER)
    said = location.aws.client("s3", attempts=1).meta.region_name
    if there and there != said:
        raise WrongRegionError(f"s3://{location.bucket} is in region {there}, not {said}: say region={there}")
    if write:
        key = location.join(_TRIAL).key
        begun = requests.call("create_multipart_upload", "s3:PutObject", Key=key, **location.storage.of_object())
        requests.call("abort_multipart_upload", "s3:AbortMultipartUpload", Key=key, UploadId=begun["UploadId"])


def _in_our_words(error: Exception, location: S3Location, key: str, needs: str) -> Exception:
    what = f"{location.describe()}{f', {key}' if key else ''}"
    code = code_of(error)
    if code in _MISSING:
        return ObjectMissingError(f"{what}: there is no such object")
    if code in _CHANGED:
        return PreconditionError(f"{what}: it has changed ({code})")
    if _is_foreign(error):
        return error
    return connector_error(error, what, needs)


def _is_foreign(error: Exception) -> bool:
    """Whether it is neither AWS's nor botocore's: a mistake of ours, say."""
    from botocore.exceptions import BotoCoreError, ClientError

    return not isinstance(error, (BotoCoreError, ClientError))
