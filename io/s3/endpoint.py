"""S3 as an application's input and output: `s3://BUCKET/PREFIX?region=…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import apache_beam as beam

from thingbeam.io.endpoints import Kind, Stored
from thingbeam.io.files.endpoint import FileSource
from thingbeam.io.files.paths import ending
from thingbeam.io.files.s3_paths import split_s3_uri
from thingbeam.io.query import Readers, count
from thingbeam.io.s3.location import S3Location, parse_s3_uri
from thingbeam.io.s3.requests import check_bucket
from thingbeam.io.s3.sink import WriteToS3, WrittenToS3

__all__ = ["S3Sink", "S3Source", "parse_s3_output"]


_WRITE: Final[Readers] = {
    "format": str, "compression": lambda text: None if text == "none" else text, "window": str, "shards": count,
    "allowed_lateness": str, "roll_bytes": count, "roll_after": str, "part_bytes": count, "in_flight": count,
}  # fmt: skip


def parse_s3_output(uri: str) -> tuple[S3Location, dict[str, Any]]:
    """An `s3://` URI of an output: the location, and arguments of WriteToS3 by their names.

    Raises:
        ValueError: one line that says what is wrong, without any secret.

    >>> location, options = parse_s3_output("s3://home/results?region=eu-west-1&format=avro&compression=none&window=1d")
    >>> location.uri, options
    ('s3://home/results?region=eu-west-1', {'format': 'avro', 'compression': None, 'window': '1d'})
    """
    where, query = split_s3_uri(uri)
    kept: list[str] = []
    options: dict[str, Any] = {}
    for pair in filter(None, query.split("&")):
        name, _, _ = pair.partition("=")
        read = _WRITE.get(unquote(name))
        if read is None:
            kept.append(pair)
            continue
        if name in options:
            raise ValueError(f"{where}: {name} is given twice")
        [(_, text)] = parse_qsl(pair, keep_blank_values=True)
        try:
            options[name] = read(text)
        except ValueError as error:
            raise ValueError(f"{where}: {name}={text}: {error}") from None
    return parse_s3_uri(f"{where}?{'&'.join(kept)}" if kept else where), options


class S3Source(FileSource):
    """Objects by key or pattern: JSON Lines (plain, .gz, .zst: any envelope), or our Avro or Parquet events.

    What `thingbeam.io.files` reads, it reads here: a glob is `s3://bucket/events/*.parquet?region=eu-west-1`, which
    takes objects whether a manifest names them or not.

    Args:
        uri: see parse_s3_uri.

    Raises:
        ValueError: nothing matches, or the bucket cannot be asked.
    """


class S3Sink:
    """A prefix: `PREFIX/KIND/NAME.parquet`, and manifests of the windows that are whole. Takes streams, too.

    Args:
        uri: see parse_s3_output.

    Raises:
        ValueError: an option that cannot be.
    """

    endless: Final = True

    def __init__(self, uri: str) -> None:
        self._location, self._options = parse_s3_output(uri)
        self.shown = self._location.plain
        ending(self._options.get("format", "parquet"), self._options.get("compression", "zstd"))

    def check(self, kinds: Sequence[Kind]) -> None:
        """See that the bucket is there and may be written.

        Raises:
            ConnectorError: it is not, or may not.
        """
        for kind in kinds:
            self._write(kind)
        check_bucket(self._location, write=True)

    def write_batches(self, batches: Any, kind: Kind, label: str) -> Stored:
        """Each batch to an object of its own."""
        return self._stored(batches | f"Write{label}" >> self._write(kind, named=True), label)

    def write_records(self, records: Any, kind: Kind, label: str) -> Stored:
        """Records by window and shard."""
        return self._stored(records | f"Write{label}" >> self._write(kind), label)

    def finish(self, stored: Sequence[Stored], label: str) -> None:
        """Has nothing to say: each window's manifest says it."""

    def _write(self, kind: Kind, *, named: bool = False) -> WriteToS3:
        return WriteToS3(
            self._location.join(kind.name), kind.record, named=named, late="add", check=False, **self._options
        )

    @staticmethod
    def _stored(written: WrittenToS3, label: str) -> Stored:
        rows = written.objects | f"Rows{label}" >> beam.Map(lambda one: one.rows).with_output_types(int)
        return Stored(rows, (written.dead_letters,), written.committed)
