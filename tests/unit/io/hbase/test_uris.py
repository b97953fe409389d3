"""hbase:// URIs, taken apart."""

from __future__ import annotations

import pytest

from thingbeam.io.endpoints import Kind, Sink
from thingbeam.io.hbase import HBaseConfig
from thingbeam.io.hbase.endpoint import HBaseSink
from thingbeam.io.hbase.uris import parse_hbase_uri
from thingbeam.io.writing import BatchPolicy, RetryPolicy
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage


def test_what_a_query_says() -> None:
    uri = "hbase://h:9090/ns:t?interface=2&framed=true&timeout=5s&connections=3&where=RowFilter(%3D,'binary:a')&limit=5"
    parsed = parse_hbase_uri(uri)
    assert parsed.config == HBaseConfig("h:9090", 2, framed=True, timeout="5s", connections=3)
    assert (parsed.table, parsed.options) == ("ns:t", {"where": "RowFilter(=,'binary:a')", "limit": 5})
    write = parse_hbase_uri("hbase://h:9090/t?rows=5&deadline=1m&tables=h:9091&largest_cell=100", write=True)
    assert write.options == {
        "batch": BatchPolicy(rows=5), "retry": RetryPolicy("1m"), "tables": HBaseConfig("h:9091", 2),
        "largest_cell": 100,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("kafka://h:1/t", "hbase://HOST:PORT/TABLE is expected"),
        ("hbase://h/t", "write it as host:port"),
        ("hbase://h:9090", "name one table"),
        ("hbase://h:9090/a/b", "name one table"),
        ("hbase://me:hidden@h:9090/t", "no user or password"),
        ("hbase://h:9090/t#x", "after the # means nothing"),
        ("hbase://h:9090/t?interface=3", "interface 3: 1 .* or 2"),
        ("hbase://h:9090/t?interface=two", "interface=two: a whole number"),
        ("hbase://h:9090/t?framed=yes", "framed=yes: true or false"),
        ("hbase://h:9090/t?limit=0", "limit=0: a whole number from 1"),
        ("hbase://h:9090/t?limit=1&limit=2", "limit is given twice"),
        ("hbase://h:9090/t?rows=5", "rows: no such option; there are batch_rows, connect_timeout"),
        ("hbase://h:9090/t?timeout=soon", "timeout: 'soon' is no length of time"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(uri: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_hbase_uri(uri)
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_an_application_s_tables() -> None:
    sink = HBaseSink("hbase://h:9090/home?in_flight=2")
    assert isinstance(sink, Sink)
    kinds = [Kind("usage", Usage), Kind("activities", Activity), Kind("sessions", Session), Kind("late", Event)]
    layouts = sink.layouts([*kinds, Kind("dead-letters", DeadLetter)])
    assert list(layouts) == ["home-usage", "home-activities", "home-sessions", "home-late", "home-dead-letters"]
    assert layouts["home-usage"].revision == "revision"
    assert layouts["home-late"].revision is None
    with pytest.raises(ValueError, match="hbase://h:9090/home: 9 calls at once, and 8 connections"):
        HBaseSink("hbase://h:9090/home?in_flight=9")
