"""What ReadFromKinesis and WriteToKinesis refuse as the pipeline is built."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from thingbeam.io.aws import AwsConfig
from thingbeam.io.kinesis import FileCheckpoints, ReadFromKinesis, WriteToKinesis


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stream": ""}, "a name or an ARN"),
        ({"start": "committed"}, "horizon, latest"),
        ({"start": "checkpoint"}, "needs checkpoints="),
        ({"otherwise": "checkpoint"}, "otherwise"),
        ({"stop": "horizon"}, "stop"),
        ({"start": "2026-01-02T00:00:00Z", "stop": "2026-01-01T00:00:00Z"}, "nothing is between"),
        ({"batch_records": 0}, "at least 1"),
        ({"fetch_records": 0}, "1 to 10000"),
        ({"fetch_records": 10_001}, "1 to 10000"),
        ({"max_rate": 0}, "above 0"),
        ({"max_rate": 5, "consumer": "c"}, "not with a consumer"),
        ({"on_gap": "ignore"}, "fail or skip"),
        ({"idle_after": "soon"}, "idle_after"),
    ],
)
def test_what_cannot_work(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadFromKinesis(**({"stream": "events"} | given))


def test_it_is_built_without_asking_anybody(tmp_path: Path) -> None:
    config = AwsConfig("eu-west-1", "http://127.0.0.1:9", access_key="env:A", secret_key="env:B")
    read = ReadFromKinesis("events", config, checkpoints=FileCheckpoints(str(tmp_path / "none")))
    assert pickle.loads(pickle.dumps(read)) is not None
    assert not (tmp_path / "none").exists()
    WriteToKinesis("events", config, check=False)


@pytest.mark.parametrize("most", [0, 1000, 11 << 20])
def test_records_of_a_size_that_no_stream_allows(most: int) -> None:
    with pytest.raises(ValueError, match="1 to 10 MiB"):
        WriteToKinesis("events", AwsConfig("eu-west-1"), max_record_bytes=most, check=False)
    with pytest.raises(ValueError, match="a name or an ARN"):
        WriteToKinesis("", check=False)
