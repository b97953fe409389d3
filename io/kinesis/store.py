"""Records into a stream with PutRecords, as the sink base wants it.

Limits: 500 records a call, and 10 MiB with their keys; a record 1 MiB, or what the stream's MaxRecordSizeInKiB says, up
to 10 MiB: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html. Older servers take 5 MiB a call,
so a call is no larger unless a record is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from thingbeam.io.aws.errors import code_of, connector_error, kind_of, kind_of_code, message_of
from thingbeam.io.kinesis.records import KinesisMessage
from thingbeam.io.kinesis.shards import Stream
from thingbeam.io.writing import Again, Failure, Limits, Refused, RefusedBatch, Throttled
from thingbeam.schemas import codes

__all__ = ["KinesisStore"]

_ROWS: Final = 500
_CALL_BYTES: Final = 5 << 20
_KEY_CHARACTERS: Final = 256
_HASH_KEY: Final = re.compile(r"0|[1-9]\d{0,38}")
_HIGHEST_HASH_KEY: Final = (1 << 128) - 1
_ROW_CODES: Final = frozenset({"InvalidArgumentException", "SerializationException", "ValidationException"})
"""Errors that are about a record, not about the stream or us."""
_NEEDS: Final = "kinesis:PutRecords, and for an encrypted stream kms:GenerateDataKey on its key"


class KinesisStore:
    """A stream.

    Args:
        stream: which.
        most_bytes: of one record and its key; what the stream allows.
    """

    def __init__(self, stream: Stream, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes
        self._client = stream.client(attempts=1, checked=False)

    def limits(self) -> Limits:
        """500 records, and 5 MiB or one record."""
        return Limits(_ROWS, max(_CALL_BYTES, self._most_bytes))

    def measure(self, row: KinesisMessage) -> int:
        """Bytes of data and key.

        Raises:
            Refused: Kinesis would never take it.
        """
        size = len(row.data) + len(row.partition_key.encode("utf-8", "surrogatepass"))
        if not 1 <= len(row.partition_key) <= _KEY_CHARACTERS:
            raise Refused(
                codes.REFUSED, f"a partition key has 1 to {_KEY_CHARACTERS} characters, not {len(row.partition_key)}"
            )
        try:
            row.partition_key.encode()
        except UnicodeEncodeError:
            raise Refused(codes.INVALID_UTF8, "the partition key is no Unicode text") from None
        explicit = row.explicit_hash_key
        if explicit is not None and not (_HASH_KEY.fullmatch(explicit) and int(explicit) <= _HIGHEST_HASH_KEY):
            raise Refused(codes.OUT_OF_RANGE, "an explicit hash key is a decimal number below 2**128")
        if size > self._most_bytes:
            raise Refused(codes.TOO_LARGE, f"{size} bytes with the partition key; a record may have {self._most_bytes}")
        return size

    def key(self, row: KinesisMessage) -> None:
        """Every record is one of its own."""
        return

    def revision(self, row: KinesisMessage) -> int:
        """None has one."""
        return 0

    def write(self, rows: Sequence[KinesisMessage]) -> Sequence[Failure]:
        """One PutRecords; those that it could not take are told by it, one by one."""
        records = [
            {"Data": row.data, "PartitionKey": row.partition_key}
            | ({} if row.explicit_hash_key is None else {"ExplicitHashKey": row.explicit_hash_key})
            for row in rows
        ]
        try:
            answer = self._client.put_records(**self._stream.argument, Records=records)
        except Exception as error:
            # botocore makes classes of errors as it reads the service's model: there is no list to name.
            kind = kind_of(error)
            if kind == "throttled":
                raise Throttled(message_of(error)) from error
            if kind == "again":
                raise Again(message_of(error)) from error
            if code_of(error) in _ROW_CODES:
                raise RefusedBatch(codes.REFUSED, message_of(error)) from error
            raise connector_error(error, self._stream.described, _NEEDS) from error
        if not answer["FailedRecordCount"]:
            return ()
        return [_failure(index, said) for index, said in enumerate(answer["Records"]) if said.get("ErrorCode")]

    def close(self) -> None:
        """Nothing: the client is the process's."""


def _failure(index: int, said: dict[str, str]) -> Failure:
    kind = kind_of_code(said["ErrorCode"])
    # An error of one record among good ones, whatever its code, says that the stream is there and ours.
    return Failure(index, "throttled" if kind == "throttled" else "again", reason=said["ErrorCode"])
