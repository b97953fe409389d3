"""WriteToKinesis: a bundle ends when its records are in the stream."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

import apache_beam as beam

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.kinesis.log import NAMESPACE
from thingbeam.io.kinesis.records import KinesisMessage
from thingbeam.io.kinesis.shards import Stream
from thingbeam.io.kinesis.store import KinesisStore
from thingbeam.io.writing import BatchedWrite, BatchPolicy, RetryPolicy, WriteResults
from thingbeam.io.writing.payloads import payload_of

__all__ = ["WriteToKinesis"]

_MEBIBYTE: Final = 1 << 20


class WriteToKinesis(beam.PTransform[Any, Any]):
    """Records into a stream of Kinesis.

    Takes a PCollection of `KinesisMessage`, or of anything with `partition_key=` and, where it is neither bytes nor to
    be JSON, `encode=`. Gives `WriteResults`: `written`, each element with what became of it, once it is stored; and
    `dead_letters`.

    Guarantee: every record at least once: a call whose answer was lost is made again, and so is a bundle that failed,
    and Kinesis knows no record again. A bundle ends only when each of its records is acknowledged or a dead letter.
    What Kinesis refused of a call, and only that, is sent again. So records of one key may change places: a reader that
    needs their order goes by event times, or has revisions.

    Dead letters: a record over the limit, a partition key that is empty or has more than 256 characters, an explicit
    hash key that is none, and what Kinesis itself refuses.

    Args:
        stream: its name, or its ARN, which another account's stream needs.
        config: region, endpoint, account: see AwsConfig. None for the worker's own.
        partition_key: from an element to its key; None spreads elements that are no KinesisMessage evenly.
        encode: from an element to its data; None for bytes and text as they are, and JSON of anything else.
        rows: from an element to its records, where one stands for several; in place of both.
        max_record_bytes: of data and key, up to 10 MiB: what the stream's MaxRecordSizeInKiB says, where that was
            raised.
        batch: how much in one call, how many calls at once.
        retry: how long what failed is tried again.
        redact: blanks secrets in the payloads of dead letters.
        check: whether the stream is looked at as the pipeline is built; needs kinesis:DescribeStreamSummary.

    Raises:
        ValueError: what cannot be, as the pipeline is built.
        ConnectorError: with `check`, the stream is not there, or not ours to use, or does not answer.
    """

    def __init__(
        self,
        stream: str,
        config: AwsConfig | None = None,
        *,
        partition_key: Callable[[Any], str] | None = None,
        encode: Callable[[Any], bytes] | None = None,
        rows: Callable[[Any], Iterable[KinesisMessage]] | None = None,
        max_record_bytes: int = _MEBIBYTE,
        batch: BatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        redact: Callable[[bytes], bytes] | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        if not stream:
            raise ValueError("stream: a name or an ARN is expected")
        if not _MEBIBYTE <= max_record_bytes <= 10 * _MEBIBYTE:
            raise ValueError(f"max_record_bytes {max_record_bytes}: 1 to 10 MiB")
        self._stream = Stream(stream, config or AwsConfig())
        self._most_bytes = max_record_bytes
        if rows is not None and (partition_key is not None or encode is not None):
            raise ValueError("rows= makes whole records: partition_key= and encode= do not go with it")
        self._rows = rows or _Rows(partition_key, encode)
        self._batch, self._retry, self._redact = batch, retry, redact
        if check:
            self._stream.check()

    def expand(self, elements: Any) -> WriteResults:
        """Write."""
        write: BatchedWrite[KinesisMessage] = BatchedWrite(
            functools.partial(KinesisStore, self._stream, self._most_bytes),
            self._rows,
            f"kinesis://{self._stream.name}",
            batch=self._batch,
            retry=self._retry,
            redact=self._redact,
            payload=_payload,
            position=_position,
            namespace=NAMESPACE,
            step=self.label,
        )
        results: WriteResults = elements | "Batched" >> write
        return results


class _Rows:
    """An element as one record."""

    def __init__(self, partition_key: Callable[[Any], str] | None, encode: Callable[[Any], bytes] | None) -> None:
        self._key, self._encode = partition_key, encode

    def __call__(self, element: Any) -> tuple[KinesisMessage]:
        if isinstance(element, KinesisMessage) and self._key is None and self._encode is None:
            return (element,)
        if self._encode is not None:
            data = self._encode(element)
        else:
            data = element.encode("utf-8", "surrogatepass") if isinstance(element, str) else payload_of(element)
        return (KinesisMessage(data, uuid.uuid4().hex if self._key is None else self._key(element)),)


def _payload(row: Any) -> bytes:
    return row.data if isinstance(row, KinesisMessage) else payload_of(row)


def _position(row: KinesisMessage) -> str:
    return f"partition_key={row.partition_key}"
