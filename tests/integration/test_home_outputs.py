"""The home application into every kind of output by its URI, and on Flink by its name: the same results everywhere."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import happybase
import polars as pl
import pytest

from kinesis_running import read_plainly
from stack_fixtures import Cluster, DynamoTables, ObjectStore, Streams, Tables
from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.schemas.records import Activity, Session, Usage

KINDS = ("activities", "sessions", "usage")


def thingbeam(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs thingbeam as a person does."""
    called = [sys.executable, "-m", "thingbeam.runners.cli", *arguments]
    return subprocess.run(called, capture_output=True, text=True, env=os.environ | variables, timeout=240, check=False)


def command(*arguments: str, **variables: str) -> str:
    """What it says when all goes well."""
    done = thingbeam(*arguments, **variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def home(checkout: Path, output: str, *runner: str, source: str = "", **variables: str) -> str:
    """Runs the home application over the week that comes with the project."""
    week = source or str(checkout / "examples" / "home-week.jsonl.gz")
    return command(
        "run", "home", "--input", week, "--output", output, "--timezone", "Europe/Paris", *runner, **variables
    )


def rows_of(directory: Path, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for path in directory.glob(f"{kind}-*.jsonl") for line in path.read_text().splitlines()]
    return sorted(({**row, "revision": 0} for row in rows), key=lambda row: json.dumps(row, sort_keys=True))


@pytest.fixture(scope="module")
def expected(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results on the embedded runner, as files."""
    directory = tmp_path_factory.mktemp("expected") / "out"
    home(checkout, str(directory))
    return directory


def test_dynamodb(checkout: Path, expected: Path, dynamodb: DynamoTables) -> None:
    name = f"home{uuid.uuid4().hex[:8]}"
    config = dynamodb.config()
    uri = f"dynamodb://{name}?region={config.region}&endpoint={dynamodb.uri}"
    uri += f"&access_key={config.access_key}&secret_key={config.secret_key}"
    made = command("tables", "create", uri).split()
    assert made == [f"{name}-{kind}" for kind in (*KINDS, "late", "dead-letters")]
    assert "all are there already" in command("tables", "create", uri)
    said = home(checkout, uri)
    for kind, record in zip(KINDS, (Activity, Session, Usage), strict=True):
        rows = rows_of(expected, kind)
        items = dynamodb.items(f"{name}-{kind}")
        layout = TableLayout.of(record, f"{name}-{kind}")
        assert len({str(layout.key_item(item)) for item in items}) == len(items) == len(rows)
        assert sorted(item["start_local"]["S"] for item in items) == sorted(row["start_local"] for row in rows)
        assert re.search(rf"{len(rows):,} {kind}", said)


def test_kinesis(checkout: Path, expected: Path, kinesis: Streams) -> None:
    stream, config = kinesis.stream("results", shards=2), kinesis.config()
    uri = f"kinesis://{stream}?region={config.region}&endpoint={config.endpoint}"
    uri += f"&access_key={config.access_key}&secret_key={config.secret_key}"
    said = home(checkout, uri)
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for owner, data in read_plainly(kinesis.client(), stream):
        found = json.loads(data)
        record, key = found["record"], (found["kind"], *found["key"])
        assert owner == record["device_id"] == found["key"][0]
        if key not in newest or record["revision"] >= newest[key]["revision"]:
            newest[key] = record
    for kind in KINDS:
        rows = [{**row, "revision": 0} for (of, *_), row in newest.items() if of == kind and not row["deleted"]]
        assert sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) == rows_of(expected, kind)
        assert re.search(rf"{len(rows):,} {kind}", said)
    missing = uri.replace(stream, "none-such")
    refused = thingbeam("run", "home", "--input", "x", "--output", missing, "--timezone", "Europe/Paris")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


def test_hbase(checkout: Path, expected: Path, hbase: Tables) -> None:
    name = f"home{uuid.uuid4().hex[:8]}"
    place = hbase.stack.place(hbase.name)
    uri = f"hbase://{place.address('thrift')}/{name}?tables={place.address('thrift2')}"
    assert len(command("tables", "create", uri).split()) == 5
    home(checkout, uri)
    host, _, port = place.address("thrift").partition(":")
    connection = happybase.Connection(host, int(port))
    try:
        for kind in KINDS:
            found = sum(1 for _ in connection.table(f"{name}-{kind}").scan(batch_size=1000))
            assert found == len(rows_of(expected, kind))
    finally:
        connection.close()


def test_s3_in_and_out(checkout: Path, expected: Path, s3: ObjectStore) -> None:
    bucket, client = s3.bucket("home"), s3.client()
    client.upload_file(str(checkout / "examples" / "home-week.jsonl.gz"), bucket, "in/week.jsonl.gz")
    home(checkout, s3.prefix(bucket, "out"), source=s3.prefix(bucket, "in/*.jsonl.gz"))
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]]
    for kind in KINDS:
        objects = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys
                   if key.startswith(f"out/{kind}/") and key.endswith(".parquet")]  # fmt: skip
        found = [text for data in objects for text in pl.read_parquet(io.BytesIO(data))["start_local"].to_list()]
        assert sorted(found) == sorted(row["start_local"] for row in rows_of(expected, kind))


def test_flink_by_its_name(checkout: Path, expected: Path, flink: Cluster, tmp_path: Path) -> None:
    """`--runner flink` finds the cluster of one's stack; paths of this folder are found by its workers."""
    out = os.path.relpath(tmp_path / "out")
    home(checkout, out, "--runner", "flink", "--parallelism", "2", THINGBEAM_STACK=str(flink.stack.directory))
    for kind in KINDS:
        assert rows_of(tmp_path / "out", kind) == rows_of(expected, kind)
