"""A stream on Flink that cannot go on ends the command: status 1, and one line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from kafka_home import messages, running, topics_of
from kafka_running import produce, wait_for
from stack_fixtures import Broker, Cluster


@pytest.mark.slow
def test_a_stream_that_cannot_go_on_is_one_line_and_status_1(flink: Cluster, kafka: Broker, tmp_path: Path) -> None:
    """Its topic is deleted: Flink starts it again, in vain, and gives it up.

    Workers are processes, as on the stack's cluster; those that are threads of the command print what they meet.
    """
    admin = AdminClient({"bootstrap.servers": kafka.address})
    topic, prefix = kafka.topic(partitions=2), topics_of(kafka, "results")
    produce(kafka.address, iter([(topic, 0, b"no JSON", 0)]))
    source = f"kafka://{kafka.address}/{topic}?start=earliest&discover_every=1s"
    workers = flink.options("PROCESS", checkpoint_ms=1000)
    engine = ["--runner=flink", *(each for each in workers if not each.startswith("--runner"))]
    with running(tmp_path, "--input", source, "--output", f"kafka://{kafka.address}/{prefix}", *engine) as home:
        wait_for(lambda: bool(messages(kafka, f"{prefix}-dead-letters")), 90, "dead letters")
        admin.delete_topics([topic])[topic].result(30)
        assert home.process.wait(180) == 1
    [line] = [line for line in home.log.read_text().splitlines() if "events, " not in line]
    assert line.startswith("thingbeam: the run failed: ")
    assert topic in line
