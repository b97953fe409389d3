"""Kafka as an application's input and output, by URI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import apache_beam as beam

from thingbeam.io.endpoints import Kind, Reading, Redact, Restart, Stored
from thingbeam.io.errors import MismatchError
from thingbeam.io.event_times import JsonTime
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.formats import AvroFormat, JsonFormat
from thingbeam.io.kafka.registry import SchemaRegistry
from thingbeam.io.kafka.rows import EncodeRecords, EncodeRows
from thingbeam.io.kafka.uris import KafkaUri, parse_kafka_uri
from thingbeam.schemas.avro import avro_schema
from thingbeam.schemas.durations import micros_of_duration
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.schemas.records import DeadLetter

if TYPE_CHECKING:
    from thingbeam.io.kafka.source import ReadFromKafka

__all__ = ["KafkaSink", "KafkaSource"]

_MARGIN: Final = "10m"
_RECORD_TIME: Final = "record"
_OF_A_GROUP: Final = ("group", "otherwise", "warm_up")


class KafkaSource:
    """`kafka://HOST:PORT/TOPIC?…`: messages of one payload each, as `PayloadBatch`.

    Every option of ReadFromKafka's by its name, and `event_time=FIELD`: the field of a JSON message that says when it
    happened (default `eventTime`; a message without it, or that is no JSON, has its record's time), or `record` for the
    records' times.

    Args:
        uri: see parse_kafka_uri.

    Raises:
        ValueError: what it says cannot be.
    """

    def __init__(self, uri: str) -> None:
        self._parsed = parse_kafka_uri(uri)
        self._read = self._made(self._parsed.options)

    @property
    def shown(self) -> str:
        """The URI without its options."""
        return self._parsed.shown

    @property
    def endless(self) -> bool:
        """Unless there is a `stop=`."""
        return "stop" not in self._parsed.options

    @property
    def commits(self) -> bool:
        """Where there is a group."""
        return "group" in self._parsed.options

    def check(self) -> None:
        """Ask the cluster for the topics, and where they begin.

        Raises:
            ConnectorError: no answer, a refusal, or no such topic.
        """
        self._read.beginnings()

    def read(self, pipeline: Any, label: str, redact: Redact) -> list[Reading]:
        """One PCollection of PayloadBatch; a message that cannot be understood is the parser's to tell."""
        return [Reading(pipeline | f"ReadKafka{label}" >> self._read)]

    def restartable(self, longest: int) -> KafkaSource:
        """The same, with offsets committed only when the results that the records before them began are out.

        `commit_behind` and, where it begins at the committed offset, `warm_up` are `longest` unless the URI says more;
        `commit_margin` is 10 minutes unless it says otherwise: how long a record may take through the job.

        Raises:
            ValueError: the URI says less: results would be lost, or partial ones put in place of whole ones.
        """
        options = self._parsed.options
        if "group" not in options:
            return self
        shown = f"{longest / 1e6:g}s"
        needed = {"commit_behind": "results that were open when a worker died would be lost"}
        if self._goes_on:
            needed["warm_up"] = "after a restart partial results would come in the place of whole ones"
        filled: dict[str, Any] = {"commit_margin": _MARGIN}
        for name, reason in needed.items():
            given = options.get(name)
            if given is not None and micros_of_duration(given, name) < longest:
                raise ValueError(f"{self.shown}: {name}={given}: a result may take {shown}, so that {reason}")
            filled[name] = longest / 1e6
        return self._with({**filled, **options})

    def pinned(self) -> str:
        """The offsets that `latest` means now, as JSON; none where the URI does not say `latest`.

        `{"TOPIC": {"PARTITION": OFFSET, …, "id": "…"}}`; without an id where the broker gives none.
        """
        if self._first != "latest":
            return "{}"
        read = self._alone("latest")
        offsets: dict[str, dict[str, int | str]] = {topic: {"id": each} for topic, each in read.topic_ids().items()}
        for (topic, partition), offset in read.beginnings().items():
            offsets.setdefault(topic, {})[str(partition)] = offset
        return json.dumps(offsets)

    def restart(self, pinned: str) -> Restart:
        """From the group's offset, the warm-up before it; or, where there is none, from where the first run began."""
        latest = self._unpinned(json.loads(pinned))
        if not self._goes_on:
            return Restart(self._with({**self._parsed.options, "offsets": latest}), None)
        offsets, complete_from = self._read.resumption()
        return Restart(self._with({**self._parsed.options, "offsets": latest | offsets}), complete_from)

    def _unpinned(self, pinned: dict[str, dict[str, Any]]) -> dict[tuple[str, int], int]:
        """The offsets; of a topic that was made anew since, its beginnings.

        Raises:
            TopicRecreatedError: there is one, and `on_deleted` is not `end`.
        """
        from thingbeam.io.kafka.topics import recreated

        was = {topic: str(offsets.pop("id")) for topic, offsets in pinned.items() if "id" in offsets}
        begin = {
            (topic, int(number)): offset for topic, offsets in pinned.items() for number, offset in offsets.items()
        }
        ids = self._read.topic_ids() if was else {}
        errors = {topic: recreated(topic, was.get(topic, ""), now) for topic, now in ids.items()}
        renewed = {topic: error for topic, error in errors.items() if error is not None}
        if not renewed:
            return begin
        if self._parsed.options.get("on_deleted") != "end":
            raise next(iter(renewed.values()))
        first = self._alone("earliest").beginnings()
        return begin | {partition: offset for partition, offset in first.items() if partition[0] in renewed}

    @property
    def _goes_on(self) -> bool:
        """Whether it begins at what the group has committed."""
        return "group" in self._parsed.options and self._parsed.options.get("start", "committed") == "committed"

    @property
    def _first(self) -> str:
        """Where it begins that has nothing to go on from."""
        options = self._parsed.options
        return str(options.get("otherwise" if self._goes_on else "start", "earliest"))

    def _alone(self, start: str) -> ReadFromKafka:
        """Read from there, whatever its group has committed."""
        options = {name: value for name, value in self._parsed.options.items() if name not in _OF_A_GROUP}
        return self._made({**options, "start": start})

    def _with(self, options: dict[str, Any]) -> KafkaSource:
        other: KafkaSource = object.__new__(KafkaSource)
        other._parsed = self._parsed._replace(options=options)
        other._read = other._made(options)
        return other

    def _made(self, options: dict[str, Any]) -> ReadFromKafka:
        from thingbeam.io.kafka.source import ReadFromKafka

        arguments = dict(options)
        field = arguments.pop("event_time", "eventTime")
        try:
            return ReadFromKafka(
                self._parsed.config,
                self._parsed.topics or None,
                batches=True,
                event_time=None if field == _RECORD_TIME else JsonTime(field),
                **arguments,
            )
        except ValueError as error:
            raise ValueError(f"{self._parsed.shown}: {error}") from error


class KafkaSink:
    """`kafka://HOST:PORT/PREFIX?…`: each kind of record to the topic `PREFIX-KIND`.

    The key of a message is the key of its record, as a JSON array (see `thingbeam.schemas.keys`), the value the record
    as a JSON object; a result that is taken back is a tombstone. With `format=avro&registry=URL` the value is Avro in
    Confluent's wire format; the registry may need `registry_username=`, `registry_password=` (a reference),
    `registry_ca=`. Every option of WriteToKafka's by its name. At least once, and once in effect where the newest of a
    key is kept.

    Args:
        uri: see parse_kafka_uri.

    Raises:
        ValueError: what it says cannot be.
    """

    def __init__(self, uri: str) -> None:
        self._parsed: KafkaUri = parse_kafka_uri(uri, write=True)
        options = dict(self._parsed.options)
        form = options.pop("format", "json")
        names = ("registry", "registry_username", "registry_password", "registry_ca")
        registry = {name: options.pop(name) for name in names if name in options}
        if (form == "avro") != ("registry" in registry):
            raise ValueError(f"{self.shown}: Avro needs a registry, and a registry Avro: format=avro&registry=URL")
        self._registry = None
        if form == "avro":
            about = {name.removeprefix("registry_"): value for name, value in registry.items() if name != "registry"}
            self._registry = SchemaRegistry(registry["registry"], **about)
        self._arguments = options

    @property
    def shown(self) -> str:
        """The URI without its options."""
        return self._parsed.shown

    @property
    def endless(self) -> bool:
        """Topics take a stream."""
        return True

    def topic(self, kind: Kind) -> str:
        """Where a kind goes.

        >>> KafkaSink("kafka://broker:9092/results").topic(Kind("dead-letters", DeadLetter))
        'results-dead-letters'
        """
        return f"{self._parsed.topics[0]}-{kind.name}"

    def check(self, kinds: Sequence[Kind]) -> None:
        """See that all topics are there and, for Avro, that the registry takes the schemas.

        Raises:
            ConnectorError: no answer, a refusal, topics that are not there, or a schema that is not compatible.
        """
        from thingbeam.io.kafka.clients import connect, partition_counts

        config = self._parsed.config
        consumer = connect(config, config.reading_settings(None, read_committed=True))
        try:
            there = partition_counts(consumer, config.connect_timeout)
        finally:
            consumer.close()
        missing = [topic for topic in map(self.topic, kinds) if topic not in there]
        if missing:
            raise TopicMissingError(
                f"{self.shown}: no topic {', '.join(missing)}; make them, best compacted (cleanup.policy=compact)"
            )
        if self._registry is not None:
            for kind in kinds:
                record: Any = kind.record
                self._registry.register(f"{self.topic(kind)}-value", avro_schema(record))

    def write_batches(self, batches: Any, kind: Kind, label: str) -> Stored:
        """Hundreds of messages as one element."""
        encode = beam.ParDo(EncodeRows(self._form(kind), self.topic(kind))).with_output_types(PayloadBatch)
        return self._stored(batches | f"Encode{label}" >> encode, kind, label)

    def write_records(self, records: Any, kind: Kind, label: str) -> Stored:
        """One message each. A dead letter that the topic does not take fails the run."""
        from thingbeam.io.kafka.records import KafkaMessage

        encode = beam.ParDo(EncodeRecords(self._form(kind), self.topic(kind))).with_output_types(KafkaMessage)
        return self._stored(records | f"Encode{label}" >> encode, kind, label)

    def finish(self, stored: Sequence[Stored], label: str) -> None:
        """Nothing is said in the end."""

    def _form(self, kind: Kind) -> JsonFormat[Any] | AvroFormat[Any]:
        return JsonFormat(kind.record) if self._registry is None else AvroFormat(kind.record, self._registry)

    def _stored(self, messages: Any, kind: Kind, label: str) -> Stored:
        from thingbeam.io.kafka.sink import WriteToKafka

        write = WriteToKafka(self._parsed.config, self.topic(kind), **self._arguments)
        done = messages | f"Write{label}" >> write
        rows = done.written | f"Rows{label}" >> beam.Map(lambda written: written.count).with_output_types(int)
        if kind.record is not DeadLetter:
            return Stored(rows, (done.dead_letters,))
        # Where else should it go?
        _ = done.dead_letters | f"Undeliverable{label}" >> beam.Map(_refuse)
        return Stored(rows)


def _refuse(letter: DeadLetter) -> NoReturn:
    raise MismatchError(
        f"topic {letter.source} does not take a dead letter: {letter.error}; raise its max.message.bytes to 256 KiB"
    )
