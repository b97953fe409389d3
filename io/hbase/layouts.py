"""The tables of thingbeam's own records."""

from __future__ import annotations

from typing import Any, Final

from thingbeam.io.hbase.keys import KeyPart, RowKey
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.schemas.records import Activity, DeadLetter, Event, Session, Usage

__all__ = ["SALT", "layout_of"]

SALT: Final = 16
"""Buckets, and regions to begin with: room for 16 servers to share the writes."""

_KEYS: Final[dict[type, RowKey]] = {
    # What one device did, the latest first.
    Activity: RowKey("device_id", KeyPart.newest("start"), "component", "capability", salt=SALT),
    Session: RowKey("device_id", KeyPart.newest("start"), salt=SALT),
    # One series of a device, the latest period first.
    Usage: RowKey(
        "device_id", "component", "capability", "attribute", "role", "period", KeyPart.newest("start"), salt=SALT
    ),
    Event: RowKey("event_id", salt=SALT),
    DeadLetter: RowKey("step", KeyPart.newest("time"), "source", "position", salt=SALT, salted=2),
}


def layout_of(record: type, **more: Any) -> TableLayout:
    r"""The layout of a table of one of thingbeam's records.

    Args:
        record: Activity, Session, Usage, Event or DeadLetter.
        more: of TableLayout.of: `family`, `timestamps`, `regions`…

    Raises:
        ValueError: another record: it needs a key of its own, `TableLayout.of(record, RowKey(…))`.

    >>> layout_of(Session).key.prefix({"device_id": "d1"})[1:]
    b'd1\x00\x00'
    """
    key = _KEYS.get(record)
    if key is None:
        raise ValueError(f"{record.__name__} has no layout of thingbeam's: say TableLayout.of(record, RowKey(...))")
    return TableLayout.of(record, key, **more)
