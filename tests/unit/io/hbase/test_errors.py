"""What HBase's gateways say, as they said it, and what it means."""

from __future__ import annotations

import pytest
from thriftpy2.thrift import TApplicationException
from thriftpy2.transport import TTransportException

from thingbeam.io.errors import AuthenticationError, ConnectorError, MismatchError, MissingError
from thingbeam.io.hbase.errors import meaning_of, reason_of
from thingbeam.io.hbase.thrift2 import _interface
from thingbeam.io.writing import Again, RefusedBatch, Throttled

GatewayError, IllegalArgument = _interface().TIOError, _interface().TIllegalArgument
FAILED = "org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException: Failed"
TIMES = "servers with issues: localhost,23927,1"


@pytest.mark.parametrize(
    ("said", "meant", "told"),
    [
        (
            f"{FAILED} 5 actions: org.apache.hadoop.hbase.RegionTooBusyException: Over memstore limit=1.0 M",
            Throttled,
            "",
        ),
        (f"{FAILED} 3 actions: CallQueueTooBigException: 3 times, {TIMES}", Throttled, ""),
        (f"{FAILED} 2 actions: NotServingRegionException: 1 time, RegionTooBusyException: 1 time", Throttled, ""),
        (f"{FAILED} 119 actions: RegionOpeningException: 119 times, {TIMES}", Again, "RegionOpening"),
        (f"{FAILED} 1 action: org.apache.hadoop.hbase.NotServingRegionException: t", Again, ""),
        (f"{FAILED} 1 action: t: 1 time, servers with issues: null", MissingError, "table t is not there"),
        ("org.apache.hadoop.hbase.TableNotFoundException: t", MissingError, "table t is not there"),
        ("t", MissingError, "table t is not there"),
        (
            f"{FAILED} 1 action: org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException: Column family zz "
            "does not exist in region t,,1. in table 't', {TABLE_ATTRIBUTES => {}}",
            MissingError,
            "table t has no column family zz: alter it",
        ),
        (
            f"{FAILED} 1 action: org.apache.hadoop.hbase.security.AccessDeniedException: Insufficient permissions "
            "(user=thingbeam, scope=default:t, action=WRITE)",
            AuthenticationError,
            "no permission on table t",
        ),
        ("org.apache.hadoop.hbase.TableNotEnabledException: t is disabled.", MissingError, "disabled: enable it"),
        ("org.apache.hadoop.hbase.NamespaceNotFoundException: x", MissingError, "no such namespace"),
        (
            "org.apache.hadoop.hbase.exceptions.FailedSanityCheckException: Timestamp for KV out of range",
            MismatchError,
            'timestamps="milliseconds"',
        ),
        ("DoNotRetryIOException: Cell with size 11 exceeds limit of 10 bytes", RefusedBatch, "Cell with size"),
        ("java.io.IOException: who knows", Again, "h:1: java.io.IOException: who knows"),
    ],
)
def test_what_it_means(said: str, meant: type[Exception], told: str) -> None:
    meaning = meaning_of(GatewayError(message=f"{said}\n\tat org.apache.X".encode()), "t", "h:1")
    assert type(meaning) is meant
    assert told in str(meaning)
    assert "\n" not in str(meaning)


def test_what_the_client_says() -> None:
    assert isinstance(meaning_of(TimeoutError("timed out"), "t", "h:1"), Again)
    assert isinstance(meaning_of(TTransportException(4, "TSocket read 0 bytes"), "t", "h:1"), Again)
    unknown = TApplicationException(1, "Invalid method name: 'x'")
    assert "the other of HBase's two gateways" in str(meaning_of(unknown, "t", "h:1"))
    assert isinstance(meaning_of(unknown, "t", "h:1"), ConnectorError)
    internal = meaning_of(TApplicationException(6, "Internal error processing putMultiple"), "t", "h:1")
    assert isinstance(internal, RefusedBatch)
    assert internal.code == "refused"
    large = meaning_of(
        IllegalArgument(message=b"java.lang.IllegalArgumentException: KeyValue size too large"), "t", "h"
    )
    assert isinstance(large, RefusedBatch)
    assert large.code == "too_large"
    for said in (b"scanner ID is invalid", b"Invalid scanner Id"):
        assert isinstance(meaning_of(IllegalArgument(message=said), "t", "h"), Again), "a reader goes on with a new one"
    odd = meaning_of(IllegalArgument(message=b"odd"), "t", "h")
    assert isinstance(odd, RefusedBatch)
    assert odd.code == "refused"


def test_reasons_are_short() -> None:
    assert reason_of("x" * 1000) == "x" * 300
    assert reason_of("Column family e does not exist in region r. in table 't', {much}") == (
        "Column family e does not exist in region r."
    )
