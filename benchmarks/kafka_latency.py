"""How long an event takes from the broker's append, through reading, parsing and writing, to that of the sink's topic.

    scripts/bench latency [--rate 37000] [--seconds 30] [--partitions 8]

One job on Prism with the defaults of all its parts: batches of `ReadFromKafka`, `ParseEvents`, a message for each
event, `WriteToKafka`. Events come from a process of their own, evenly, and both topics keep the times at which the
broker appended. Every event is measured; those of the first seconds, in which the job warms up, are not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import confluent_kafka
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from confluent_kafka.admin import AdminClient, NewTopic

from thingbeam.io.kafka import JsonTime, ReadFromKafka, WriteToKafka
from thingbeam.runners.prism import prism
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.kafka import Kafka
from thingbeam.schemas.batch import EventBatch
from thingbeam.schemas.names import texts_of_ids
from thingbeam.schemas.payloads import PayloadBatch
from thingbeam.transforms import ParseEvents

FROM, TO = "events", "results"
_WARM_S = 5.0
_STEP_S = 0.005


class Latency(NamedTuple):
    """In seconds, over all events that were counted."""

    rate: float
    """Events a second that came."""
    events: int
    missing: int
    """Events that did not come out."""
    p50: float
    p99: float
    worst: float


class Messages(beam.DoFn):
    """A batch of events as a batch of messages: the id as key and value."""

    def process(self, batch: EventBatch) -> Iterator[PayloadBatch]:
        """One for each event."""
        rows = batch.rows
        named = texts_of_ids(rows["event_high"], rows["event_low"], batch.names.ids)
        ids: list[bytes | None] = named.cast(pa.binary()).to_pylist()
        zeros = np.zeros(len(ids), np.int64)
        yield PayloadBatch(TO, "", zeros, ids, ids, zeros)


def event(number: int) -> tuple[bytes, bytes]:
    """Its id, and an event of about 400 bytes as SmartThings' sinks send them."""
    name = b"00000000-0000-4000-8000-%012d" % number
    return name, (
        b'{"eventTime":%d,"eventType":"DEVICE_EVENT","deviceEvent":{"eventId":"%s","locationId":"home-%d","ownerId":"o",'
        b'"ownerType":"LOCATION","deviceId":"device-%d","componentId":"main","capability":"powerMeter","attribute":"power",'
        b'"value":%d.5,"valueType":"number","unit":"W","stateChange":true,"data":{},"subscriptionName":"all"}}'
        % (time.time_ns() // 1_000_000, name, number % 100, number % 1000, number % 3000)
    )


def send(servers: str, rate: float, seconds: float, partitions: int) -> None:
    """Events at a rate, evenly, round the partitions."""
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "linger.ms": 5, "compression.type": "lz4"})
    began, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        for number in range(sent, int(elapsed * rate)):
            name, value = event(number)
            producer.produce(FROM, value, name, number % partitions)
        sent = max(sent, int(elapsed * rate))
        producer.poll(0)
        time.sleep(_STEP_S)
    if producer.flush(60):
        raise RuntimeError("events that no broker took")


def appended(servers: str, topic: str, partitions: int) -> dict[bytes, int]:
    """When the broker appended each key first, in milliseconds."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": servers, "group.id": "measure", "enable.partition.eof": True,
         "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )  # fmt: skip
    consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in range(partitions)])
    found: dict[bytes, int] = {}
    ended = 0
    while ended < partitions:
        for message in consumer.consume(2000, 0.2):
            if message.error() is None:
                found.setdefault(bytes(message.key() or b""), int(message.timestamp()[1]))
            else:
                ended += 1
    consumer.close()
    return found


def end_of(servers: str, topic: str, partitions: int) -> int:
    """How many messages a topic has."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": "measure"})
    try:
        places = [confluent_kafka.TopicPartition(topic, number) for number in range(partitions)]
        return sum(consumer.get_watermark_offsets(place, 10)[1] for place in places)
    finally:
        consumer.close()


def measure(rate: float, seconds: float, partitions: int, **how: Any) -> Latency:
    """Start a broker and a job, send, and compare the two topics.

    Args:
        rate: events a second.
        seconds: how long they come.
        partitions: of the topic that is read.
        how: arguments of ReadFromKafka's.
    """
    times = {"message.timestamp.type": "LogAppendTime"}
    with tempfile.TemporaryDirectory() as folder, running(folder, Kafka()) as stack, prism() as engine:
        servers = stack.uri("kafka").partition("://")[2]
        topics = [NewTopic(FROM, partitions, 1, config=times), NewTopic(TO, 1, 1, config=times)]
        admin = AdminClient({"bootstrap.servers": servers})
        for made in admin.create_topics(topics).values():
            made.result(30)
        options = PipelineOptions(
            ["--runner=PortableRunner", f"--job_endpoint={engine}", "--environment_type=LOOPBACK", "--streaming"]
        )
        pipeline = beam.Pipeline(options=options)
        read = ReadFromKafka(servers, FROM, batches=True, start="earliest", event_time=JsonTime("eventTime"), **how)
        parsed = pipeline | read | ParseEvents(batches=True)
        messages = parsed.events | beam.ParDo(Messages()).with_output_types(PayloadBatch)
        _ = messages | WriteToKafka(servers, TO)
        job = pipeline.run()
        try:
            sending = [sys.executable, __file__, "--send", servers, "--rate", str(rate)]
            sending += ["--seconds", str(seconds), "--partitions", str(partitions)]
            subprocess.run(sending, check=True, timeout=seconds + 120)
            count, until = end_of(servers, FROM, partitions), time.monotonic() + 60
            while end_of(servers, TO, 1) < count and time.monotonic() < until:
                time.sleep(0.5)
        finally:
            job.cancel()
        came, went = appended(servers, FROM, partitions), appended(servers, TO, 1)
    first = min(came.values()) + _WARM_S * 1000
    counted = [name for name, at in came.items() if at >= first]
    delays = np.array([went[name] - came[name] for name in counted if name in went]) / 1000
    p50, p99 = np.percentile(delays, [50, 99]).tolist()
    taken = (max(came.values()) - min(came.values())) / 1000
    return Latency(len(came) / taken, len(counted), len(counted) - len(delays), p50, p99, float(delays.max()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=37_000, help="events a second (default 37,000)")
    parser.add_argument("--seconds", type=float, default=30, help="how long they come (default 30)")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--poll-interval", default="250ms", help="see ReadFromKafka")
    parser.add_argument("--bundle-time", default="250ms", help="see ReadFromKafka")
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        send(given.send, given.rate, given.seconds, given.partitions)
        return
    found = measure(
        given.rate, given.seconds, given.partitions,
        poll_interval=given.poll_interval, bundle_time=given.bundle_time,
    )  # fmt: skip
    print(
        f"{found.events:,} events at {found.rate:,.0f}/s, {found.missing} missing: append to append "
        f"p50 {found.p50:.2f} s, p99 {found.p99:.2f} s, longest {found.worst:.2f} s"
    )
    if given.output:
        given.output.write_text(json.dumps(found._asdict()))


if __name__ == "__main__":
    main()
