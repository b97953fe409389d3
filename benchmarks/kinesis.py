"""Records per second into Kinesis: WriteToKinesis in a pipeline beside a bare loop of boto3's PutRecords.

    python benchmarks/kinesis.py [--rows 20000] [--turns 5] [--in-flight 4]

Starts a kinesalite of the stack. Both sides write records of 300 bytes of 2,000 devices into a stream of 4 shards, 500
in a call. The bare loop has its entries ready and makes one call after another.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

from beside import Beside, by_turns, command, keys, piped

from thingbeam.io.aws import AwsConfig
from thingbeam.io.kinesis import KinesisMessage, WriteToKinesis
from thingbeam.io.writing import BatchPolicy
from thingbeam.runners.stack import running
from thingbeam.runners.stack.components.kinesis import ACCESS_KEY, REGION, SECRET_KEY, Kinesis

BATCH = 500
SHARDS = 4


def message(number: int) -> KinesisMessage:
    """What a sensor says."""
    device = f"device-{number % 2_000:08d}"
    return KinesisMessage(f'{{"deviceId":"{device}","number":{number:>12}}}'.encode().ljust(300), device)


def bare(client: Any, stream: str, entries: list[Any]) -> float:
    """Records per second of a loop."""
    began = time.perf_counter()
    for first in range(0, len(entries), BATCH):
        assert not client.put_records(StreamName=stream, Records=entries[first : first + BATCH])["FailedRecordCount"]
    return len(entries) / (time.perf_counter() - began)


def measure(rows: int, turns: int, in_flight: int | None = None) -> list[Beside]:
    """Turn by turn."""
    with tempfile.TemporaryDirectory() as folder, running(folder, Kinesis(streams=f"rates:{SHARDS}")) as stack:
        config = AwsConfig(REGION, stack.uri("kinesis"), **keys(ACCESS_KEY, SECRET_KEY))
        client = config.client("kinesis")
        messages = [message(number) for number in range(rows)]
        entries = [{"Data": one.data, "PartitionKey": one.partition_key} for one in messages]
        thousands = [messages[first : first + 1_000] for first in range(0, rows, 1_000)]
        how = {} if in_flight is None else {"batch": BatchPolicy(in_flight=in_flight)}

        def sink(_: int) -> float:
            return piped(thousands, rows, WriteToKinesis("rates", config, **how), flatten=True)

        what = "Kinesis, PutRecords of 500"
        return [by_turns(what, "records/s", turns, lambda _: bare(client, "rates", entries), sink)]


if __name__ == "__main__":
    command(__doc__, measure, rows=20_000, turns=5, in_flight={"type": int})
