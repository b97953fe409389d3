"""The home application from topics to topics, on a Prism of its own: as from a file to files."""

from __future__ import annotations

import functools
import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kafka_home import (
    RESULTS,
    Home,
    Rows,
    differences,
    expected_of,
    keyed,
    messages,
    newest,
    rounded,
    run,
    running,
    topics_of,
    wait_until,
    without,
)
from kafka_running import committed, produce
from stack_fixtures import Broker, Server
from thingbeam.io import encode_json_line
from thingbeam.io.kafka.formats import AvroFormat
from thingbeam.io.kafka.registry import SchemaRegistry
from thingbeam.pipelines.home import RECORDS
from thingbeam.runners.stack.components.kafka import USER

ROWS = int(os.environ.get("THINGBEAM_TEST_ROWS", "28340"))
"""Lines of the house's week; those are all that there are."""
PARTITIONS = 8
QUICK = "idle_after=3s&poll_interval=100ms&bundle_time=100ms"
BAD = (b"no JSON", b'{"eventTime": 17', b" ")


@pytest.fixture(scope="module")
def lines(checkout: Path) -> list[bytes]:
    with gzip.open(checkout / "examples" / "home-week.jsonl.gz", "rb") as file:
        return file.read().splitlines(keepends=True)[:ROWS]


@pytest.fixture(scope="module")
def until(lines: list[bytes]) -> str:
    """Up to when values are held: as a stream holds them that goes on."""
    last = json.loads(lines[-1])["eventTime"] / 1000 + 40 * 86_400
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last))


def device_of(line: bytes) -> str:
    return str(json.loads(line)["deviceEvent"]["deviceId"])


def in_partitions(topic: str, lines: Sequence[bytes]) -> Iterator[tuple[str, int, bytes, int]]:
    """As a platform writes them: a device's in one partition, stamped when they happened. Half of them stay empty."""
    places = {device: number for number, device in enumerate(sorted({device_of(line) for line in lines}))}
    assert len(places) < PARTITIONS
    for line in lines:
        yield topic, places[device_of(line)], line.rstrip(b"\n"), json.loads(line)["eventTime"]


def check_equal(kafka: Broker, prefix: str, expected: dict[str, Rows], *but: str) -> str:
    """What is not yet as the file's results are."""
    for kind in RESULTS:
        found = rounded(without(newest(kafka, f"{prefix}-{kind}"), "revision", *but))
        wanted = rounded(without(expected[kind], "revision", *but))
        if found != wanted:
            return f"{kind}: {differences(found, wanted)}"
    return ""


def through(kafka: Broker, topic: str, prefix: str, query: str, *more: str) -> list[str]:
    uri = f"kafka://{kafka.address}"
    return ["--input", f"{uri}/{topic}?{query}", "--output", f"{uri}/{prefix}", "--runner", "prism", *more]


def relaunched(home: Home, before: int | None) -> str:
    return "" if home.worker() not in (None, before) else "not launched again"


@pytest.mark.slow
def test_from_topic_to_topic_with_its_worker_killed(
    kafka: Broker, tmp_path: Path, lines: list[bytes], until: str
) -> None:
    """Half of the partitions are idle; the worker dies twice; it begins again at the earliest, which is exact."""
    lines = lines[: ROWS // 3]
    expected = expected_of(tmp_path, lines, until)
    topic, prefix = kafka.topic(partitions=PARTITIONS), topics_of(kafka, "results")
    produce(kafka.address, in_partitions(topic, lines))
    produce(kafka.address, ((topic, 7, bad, json.loads(lines[-1])["eventTime"]) for bad in BAD))
    query = f"group=g-{topic}&start=earliest&max_rate={ROWS / 24}&{QUICK}"
    with running(tmp_path, *through(kafka, topic, prefix, query, "--account", str(tmp_path / "account.json"))) as home:
        for _ in range(2):
            wait_until(lambda: "" if newest(kafka, f"{prefix}-usage") else "nothing comes out", home, 60)
            before = home.worker()
            home.kill_worker()
            wait_until(functools.partial(relaunched, home, before), home, 30)
        wait_until(lambda: check_equal(kafka, prefix, expected), home, 90)
        assert home.stop() == 0, home.log.read_text()
    said = home.log.read_text().splitlines()
    assert [line for line in said if "thingbeam:" in line] == [
        f"thingbeam: the worker was ended by signal 9; launching it again in {number} s ({number} of 10)"
        for number in (1, 2)
    ]
    assert f"since its last launch {len(lines):,} events: {len(lines):,} counted" in said[-2]
    assert len(said) == 4, said
    letters = [json.loads(value or b"") for _, value in messages(kafka, f"{prefix}-dead-letters")]
    places = {(letter["source"], letter["position"]) for letter in letters}
    assert places == {(topic, f"partition=7 offset={number}") for number in range(len(BAD))}
    account = json.loads((tmp_path / "account.json").read_text())
    assert (account["lines"], account["dead_letters"]) == (len(lines) + len(BAD), len(BAD))
    assert account["written"][f"kafka://{kafka.address}/{prefix}"]["dead-letters"] == len(BAD)


@pytest.mark.slow
def test_a_worker_that_dies_goes_on_before_the_committed_offset(
    kafka: Broker, tmp_path: Path, lines: list[bytes], until: str
) -> None:
    """From the warm-up before the group's offset, and with whole results only.

    The longest that a device of this house says nothing of a switch is 37 hours. A meter's sum begins anew. Nobody's
    presence, which by default may last a week, is in this house: without it no result takes longer than 25 hours.
    """
    table = tmp_path / "table.toml"
    table.write_text(
        '[presenceSensor]\npresence = { role = "activity", start = ["present"], stop = ["not present"], '
        'max_length_s = 86400, reason = "a day" }\n'
    )
    # In ten minutes' steps, so that a week is worked out within the margin.
    lines = [line for line in lines if b'"switch"' in line or json.loads(line)["eventTime"] % 600_000 == 0]
    expected = expected_of(tmp_path, lines, until)
    topic, prefix, group = kafka.topic(partitions=PARTITIONS), topics_of(kafka, "results"), f"g{time.time_ns()}"
    produce(kafka.address, in_partitions(topic, lines))
    rate = len(lines) / 120
    query = f"group={group}&warm_up=40h&commit_margin=25s&max_rate={rate}&{QUICK}"
    with running(tmp_path, *through(kafka, topic, prefix, query, "--capabilities", str(table))) as home:

        def early() -> str:
            try:
                held = committed(kafka.address, group, topic, PARTITIONS)
            except KafkaException as error:
                # A broker that has just begun makes the group's coordinator first.
                return str(error)
            return "" if len(held) >= 4 and max(held.values()) > 0.1 * len(lines) else f"committed: {held}"

        wait_until(early, home, 90)
        before = home.worker()
        home.kill_worker()
        held = committed(kafka.address, group, topic, PARTITIONS)
        wait_until(functools.partial(relaunched, home, before), home, 30)
        wait_until(lambda: check_equal(kafka, prefix, expected, "sum"), home, 90)
        after = committed(kafka.address, group, topic, PARTITIONS)
        assert all(after[number] >= offset for number, offset in held.items()), "an offset was taken back"
        assert home.stop() == 0, home.log.read_text()
    said = home.log.read_text().splitlines()[-2]
    read_again = int(said.partition("last launch ")[2].partition(" events")[0].replace(",", ""))
    assert read_again < len(lines), said
    left_out = int(said.partition("not yet worked out, ")[2].partition(" rows")[0].replace(",", ""))
    assert left_out > 0


@pytest.mark.slow
def test_a_partition_that_is_a_day_behind(kafka: Broker, tmp_path: Path, lines: list[bytes]) -> None:
    """With max_delay the others do not wait for it, and its events come out as late: none is lost."""
    devices = sorted({device_of(line) for line in lines})
    now, last = time.time() * 1000, json.loads(lines[-1])["eventTime"]
    day = [line for line in lines if json.loads(line)["eventTime"] > last - 86_400_000][::8]
    topic, prefix = kafka.topic(partitions=PARTITIONS), topics_of(kafka, "results")

    def moved(line: bytes) -> tuple[str, int, bytes, int]:
        event = json.loads(line)
        number = devices.index(event["deviceEvent"]["deviceId"])
        behind = 86_400_000 if number == 0 else 0
        event["eventTime"] += round(now - last) - behind
        return topic, number, json.dumps(event).encode(), event["eventTime"]

    given = [moved(line) for line in day]
    old = [message for message in given if message[1] == 0]
    assert 0 < len(old) < len(given)
    produce(kafka.address, (message for message in given if message[1] != 0))
    query = f"start=earliest&max_delay=10m&{QUICK}"
    # One shard: by itself a device that was silent has closed nothing, and what it says of yesterday is counted.
    with running(tmp_path, *through(kafka, topic, prefix, query, "--shards", "1")) as home:
        wait_until(lambda: "" if newest(kafka, f"{prefix}-usage") else "nothing comes out", home, 60)
        produce(kafka.address, iter(old))

        def all_there() -> str:
            late = len(messages(kafka, f"{prefix}-late"))
            counted = sum(row["count"] for row in newest(kafka, f"{prefix}-usage").values())
            return "" if late == len(old) else f"{late} of {len(old)} are late, {counted} counted"

        wait_until(all_there, home, 60)
        assert home.stop(signal.SIGINT) == 0, home.log.read_text()
    said = home.log.read_text()
    assert f"{len(given):,} events: " in said
    assert f"{len(old):,} late, " in said


@pytest.mark.slow
def test_from_files_to_topics_and_from_topics_to_files(
    kafka: Broker, registry: Server, tmp_path: Path, lines: list[bytes], until: str
) -> None:
    """What ends runs in the process: a file into topics, in JSON and in Avro, and a directory; topics into another."""
    lines = lines[:3000]
    expected = expected_of(tmp_path, lines, until)
    source = tmp_path / "expected.jsonl"
    json_prefix, avro_prefix = topics_of(kafka, "json"), topics_of(kafka, "avro")
    uri = f"kafka://{kafka.address}"
    outputs = [f"{uri}/{json_prefix}", f"{uri}/{avro_prefix}?format=avro&registry={registry.uri}", str(tmp_path / "a")]
    done = run("--input", str(source), "--until", until, *(part for each in outputs for part in ("--output", each)))
    assert done.returncode == 0, done.stderr
    assert check_equal(kafka, json_prefix, expected) == ""
    for kind in RESULTS:
        assert without(keyed(tmp_path / "a", kind), "revision") == without(expected[kind], "revision")
        form = AvroFormat(next(each.record for each in RECORDS if each.name == kind), SchemaRegistry(registry.uri))
        found = {key or b"": form.decode(value or b"") for key, value in messages(kafka, f"{avro_prefix}-{kind}")}
        plain = {key: json.loads(encode_json_line(row)) for key, row in found.items()}
        assert without(plain, "revision") == without(expected[kind], "revision")
    topic = kafka.topic(partitions=PARTITIONS)
    produce(kafka.address, in_partitions(topic, lines))
    produce(kafka.address, ((topic, 7, bad, 0) for bad in BAD))
    back = str(tmp_path / "b")
    done = run("--input", f"{uri}/{topic}?stop=latest", "--output", back, "--until", until)
    assert done.returncode == 0, done.stderr
    for kind in RESULTS:
        assert without(keyed(tmp_path / "b", kind), "revision") == without(expected[kind], "revision")
    account = json.loads((tmp_path / "b" / "account.json").read_text())
    assert (account["lines"], account["failed_lines"], account["unread_lines"]) == (len(lines) + 3, 3, 0)


def mistake(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a run that did not begin."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    return line.removeprefix("thingbeam: ")


def test_bad_input_is_one_line_before_anything_runs(kafka: Broker, secured_kafka: Broker) -> None:
    uri, prefix = f"kafka://{kafka.address}", topics_of(kafka, "results")
    topic = kafka.topic()
    output = ["--output", f"{uri}/{prefix}", "--runner", "prism"]
    said = mistake(run("--input", "kafka://127.0.0.1:1/events?connect_timeout=2", *output))
    assert said.startswith("127.0.0.1:1: no answer in 2 s: ")
    said = mistake(run("--input", f"{uri}/no-such-topic", *output))
    assert said.startswith("no topic no-such-topic; the cluster has")
    said = mistake(run("--input", f"{uri}/{topic}", "--output", f"{uri}/nowhere", "--runner", "prism"))
    assert said.startswith(f"kafka://{kafka.address}/nowhere: no topic nowhere-activities, nowhere-sessions")
    os.environ["THINGBEAM_TEST_WORD"] = "wrong"
    servers = secured_kafka.client("SASL_PLAINTEXT")["bootstrap.servers"]
    login = f"auth=scram-sha-512&username={USER}&password=env:THINGBEAM_TEST_WORD"
    said = mistake(run("--input", f"kafka://{servers}/{topic}?{login}", *output))
    assert "refused: " in said
    assert "wrong" not in said


def test_what_goes_wrong_while_it_runs_ends_it(kafka: Broker, tmp_path: Path) -> None:
    """A topic that is deleted: another try would not mend it."""
    topic, prefix = kafka.topic(partitions=2), topics_of(kafka, "results")
    produce(kafka.address, iter([(topic, 0, b"no JSON", 0)]))
    with running(tmp_path, *through(kafka, topic, prefix, f"start=earliest&discover_every=1s&{QUICK}")) as home:
        wait_until(lambda: "" if messages(kafka, f"{prefix}-dead-letters") else "nothing comes out", home, 60)
        admin = AdminClient({"bootstrap.servers": kafka.address})
        admin.delete_topics([topic])[topic].result(30)
        assert home.process.wait(60) == 1
    [line] = home.log.read_text().splitlines()
    assert line.startswith("thingbeam: the run failed: ")
    assert topic in line
