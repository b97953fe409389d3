"""Which scheme is whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingbeam.io import uris
from thingbeam.io.endpoints import RestartableSource, Sink, Source
from thingbeam.io.files.endpoint import DirectorySink, FileOptions, FileSource
from thingbeam.io.kafka.endpoint import KafkaSink, KafkaSource
from thingbeam.io.uris import SCHEMES, Scheme, is_service, scheme_of, sink_of, source_of


def test_paths_are_no_services() -> None:
    assert scheme_of("/data/x.jsonl") == scheme_of("data/*.gz") == ""
    assert not is_service("gs://b/x")
    assert is_service("KAFKA://b:1/t")


def test_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    source = source_of(str(tmp_path / "*.jsonl"))
    assert isinstance(source, FileSource)
    assert [Path(file.path).name for file in source.files] == ["a.jsonl"]
    sink = sink_of(str(tmp_path / "out"), FileOptions("avro"))
    assert isinstance(sink, DirectorySink)
    assert not source.endless
    assert not sink.endless
    assert not isinstance(source, RestartableSource)


def test_topics() -> None:
    source, sink = source_of("kafka://b:1/t"), sink_of("kafka://b:1/t")
    assert isinstance(source, KafkaSource)
    assert isinstance(source, RestartableSource)
    assert isinstance(sink, KafkaSink)
    assert isinstance(source, Source)
    assert isinstance(sink, Sink)
    assert source.endless
    assert sink.endless


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_names_what_is_there(name: str) -> None:
    scheme = SCHEMES[name]
    for function in filter(None, (scheme.source, scheme.sink)):
        assert callable(uris._imported(function, scheme))


def test_a_scheme_that_only_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uris, "SCHEMES", {"up": Scheme(None, "a:b", "up"), "down": Scheme("a:b", None, "down")})
    with pytest.raises(ValueError, match="up:// is written to, not read"):
        source_of("up://x")
    with pytest.raises(ValueError, match="down:// is read, not written to"):
        sink_of("down://x")


def test_without_its_client_it_says_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"it needs no_such_client: pip install 'thingbeam\[some\]'"):
        uris._imported("no_such_client.endpoint:Source", Scheme(None, None, "some"))
