"""What a gateway's answer means: slower, again, never, or a mistake in how things are set up.

The gateways say most of what goes wrong as the text of a Java exception, so its class names are looked for.
"""

from __future__ import annotations

import re
from typing import Final

from thriftpy2.thrift import TApplicationException

from thingbeam.io.errors import AuthenticationError, ConnectorError, MismatchError, MissingError
from thingbeam.io.writing.store import Again, RefusedBatch, Throttled
from thingbeam.schemas import codes

__all__ = ["meaning_of", "reason_of", "text_of"]

_THROTTLED: Final = (
    "RegionTooBusyException", "CallQueueTooBigException", "RpcThrottlingException", "ThrottlingException",
    "RequestTooBigException", "Over memstore limit",
)  # fmt: skip
_TOO_LARGE: Final = re.compile(r"KeyValue size too large|Cell with size \d+ exceeds limit|Row length \d+ is >")
_FAMILY: Final = re.compile(r"Column family (\S+) does not exist")
_NO_SCANNER: Final = re.compile(r"scanner id is invalid|invalid scanner id", re.IGNORECASE)
_LONGEST: Final = 300


def meaning_of(error: BaseException, table: str, address: str) -> Exception:
    """What a failed call means to a writer or reader.

    Args:
        error: what the client raised: of Thrift's declared exceptions, its protocol, or the socket.
        table: that the call was about.
        address: of the gateway.

    Returns:
        Throttled, Again, RefusedBatch, or a ConnectorError with one line for a person.
    """
    text = text_of(error)
    if isinstance(error, TApplicationException):
        if error.type == TApplicationException.UNKNOWN_METHOD or "Invalid method name" in text:
            return ConnectorError(f"{address}: the other of HBase's two gateways: say interface=1 or interface=2")
        if error.type == TApplicationException.INTERNAL_ERROR:
            # What the gateway's own client refuses (too large, an odd key) it does not say.
            return RefusedBatch(codes.REFUSED, f"the gateway refuses it: {reason_of(text)}")
        return Again(reason_of(text))
    if _NO_SCANNER.search(text):
        # Whoever reads was away for long, or the gateway is another one now.
        return Again(reason_of(text))
    if any(name in text for name in _THROTTLED):
        return Throttled(reason_of(text))
    family = _FAMILY.search(text)
    if family or "NoSuchColumnFamilyException" in text:
        name = family[1] if family else "of that name"
        return MissingError(f"table {table} has no column family {name}: alter it, or its layout")
    if "AccessDeniedException" in text or "Insufficient permissions" in text:
        return AuthenticationError(
            f"{address}: no permission on table {table}: the gateway's user needs R to read, W to write, C to make it"
        )
    if "NamespaceNotFoundException" in text:
        return MissingError(f"table {table}: there is no such namespace: make it in hbase shell with create_namespace")
    if "TableNotEnabledException" in text or "is disabled" in text:
        return MissingError(f"table {table} is disabled: enable it")
    if _is_missing(text, table):
        return MissingError(f"table {table} is not there: thingbeam.io.hbase.create_table makes it")
    if "FailedSanityCheckException" in text and "imestamp" in text:
        return MismatchError(
            f"table {table} takes no timestamps ahead of its server's clock "
            '(hbase.hregion.keyvalue.timestamp.slop.millisecs): use a layout with timestamps="milliseconds"'
        )
    if _TOO_LARGE.search(text):
        return RefusedBatch(codes.TOO_LARGE, reason_of(text))
    if type(error).__name__ in ("IllegalArgument", "TIllegalArgument"):
        return RefusedBatch(codes.REFUSED, reason_of(text))
    return Again(f"{address}: {reason_of(text)}")


def text_of(error: BaseException) -> str:
    """Everything that an exception says."""
    message = getattr(error, "message", None)
    if isinstance(message, bytes):
        message = message.decode(errors="replace")
    return message or str(error) or type(error).__name__


def reason_of(text: str) -> str:
    r"""The first line of a text, of a length that a log can bear.

    >>> reason_of("java.io.IOException: no\n\tat org.apache")
    'java.io.IOException: no'
    """
    line = text.strip().split("\n", 1)[0]
    # After its name a missing family's error describes the whole table.
    return line.split(" in table '", 1)[0][:_LONGEST]


def _is_missing(text: str, table: str) -> bool:
    # For rows of a table that is not there the client says no more than its name.
    return "TableNotFoundException" in text or bool(
        re.search(rf"Failed \d+ actions?: {re.escape(table)}: \d+ times?", text) or reason_of(text) == table
    )
