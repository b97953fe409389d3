"""Checkpoints in files. Those in DynamoDB are tested with the real thing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from thingbeam.io.errors import ConnectorError
from thingbeam.io.kinesis import FileCheckpoints
from thingbeam.io.kinesis.positions import ENDED, HORIZON, Position


def test_kept_and_only_forward(tmp_path: Path) -> None:
    store = FileCheckpoints(str(tmp_path / "new"))
    store.prepare()
    assert store.read("events") == {}
    first = {"a": HORIZON, "b": Position("after", "99", 3), "c": Position("time", millis=5)}
    store.write("events", first)
    assert pickle.loads(pickle.dumps(store)).read("events") == first
    store.write("events", {"a": Position("after", "7"), "b": Position("after", "99", 2), "c": HORIZON})
    assert store.read("events") == first | {"a": Position("after", "7")}
    store.write("events", {"a": ENDED})
    store.write("events", {"a": Position("after", "8")})
    assert store.read("events")["a"] == ENDED
    assert store.read("arn:aws:kinesis:eu-west-1:123456789012:stream/events") == {}
    # Nothing but whole files is left.
    assert {path.suffix for path in (tmp_path / "new" / "events").iterdir()} == {".json"}


def test_what_cannot_be_read_or_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match="cannot be made"):
        FileCheckpoints(str(tmp_path / "file" / "below")).prepare()
    with pytest.raises(ConnectorError, match="cannot be written"):
        FileCheckpoints(str(tmp_path / "file")).write("events", {"a": HORIZON})
    store = FileCheckpoints(str(tmp_path))
    store.write("events", {"a": HORIZON})
    for wrong in ("[2,1,1]", "{", "[1,2]"):
        (tmp_path / "events" / "a.json").write_text(wrong)
        with pytest.raises(ConnectorError, match="cannot be read"):
            store.read("events")
