"""Tables: made of a layout, and looked at before anything is read or written."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from thriftpy2.thrift import TException

from thingbeam.io.errors import ConnectorError, MissingError, UnreachableError
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.errors import meaning_of, text_of
from thingbeam.io.hbase.gateways import Gateway
from thingbeam.io.hbase.layout import Family, TableLayout
from thingbeam.io.hbase.pool import open_gateway
from thingbeam.io.writing.store import Again, RefusedBatch, Throttled
from thingbeam.schemas.durations import Duration, micros_of_duration

__all__ = ["ask", "check_table", "create_table", "delete_table", "shell_command"]

_PAUSE_S: Final = 0.25

T = TypeVar("T")


def create_table(config: HBaseConfig, table: str, layout: TableLayout, *, patience: Duration = "60s") -> bool:
    """Make a table as its layout says, pre-split, where it is not there.

    Only the second Thrift interface takes pre-splits and the setting that keeps delete markers, so `config` must be of
    it. Where no such gateway runs, `shell_command` gives what does the same in HBase's shell.

    Args:
        config: of a gateway of the second interface.
        table: its name, `namespace:name` or `name`.
        layout: of the table.
        patience: how long an answer is waited for.

    Returns:
        Whether it was made; False where it was there, with all its families.

    Raises:
        ConnectorError: of the first interface; no answer; no permission; it is there without a family that the layout
            has.
    """
    if config.interface != 2:
        raise ConnectorError(
            f"{config.address}: HBase's first Thrift interface makes tables of one region only: give the address of a "
            f"gateway of the second (interface=2), or run in hbase shell: {shell_command(table, layout)}"
        )

    def make(gateway: Gateway) -> bool:
        if gateway.exists(table):
            return False
        gateway.create(table, layout)
        return True

    try:
        made = ask(config, table, make, patience)
    except Again as answer:
        if "TableExistsException" not in str(answer):
            raise ConnectorError(str(answer)) from answer
        # Somebody else made it in between.
        made = False
    check_table(config, table, (family.name for family in layout.families), patience=patience)
    return made


def check_table(
    config: HBaseConfig, table: str, families: Iterable[str] = (), *, writing: bool = False, patience: Duration = "60s"
) -> None:
    """See that a table is there, has these families, is enabled, and may be written or read.

    Args:
        config: of a gateway.
        table: its name.
        families: that it must have.
        writing: whether it is to be written; else read. Nothing is.
        patience: how long an answer is waited for.

    Raises:
        UnreachableError: no answer.
        MissingError: no such table or family, or it is disabled.
        AuthenticationError: the gateway's user may not see, write or read it.
    """
    wanted = list(families)

    def look(gateway: Gateway) -> tuple[set[str], bool]:
        return gateway.families(table), gateway.is_enabled(table)

    found, enabled = ask(config, table, look, patience)
    absent = [name for name in wanted if name not in found]
    if absent:
        raise MissingError(
            f"table {table} has no column family {absent[0]}; it has {', '.join(sorted(found))}: alter it or its layout"
        )
    if not enabled:
        raise MissingError(f"table {table} is disabled: enable it")
    ask(config, table, functools.partial(_try, table, sorted(wanted or found) if writing else []), patience)


def _try(table: str, families: list[str], gateway: Gateway) -> None:
    if not families:
        for _ in gateway.scan(table, b"", b"", (), "KeyOnlyFilter()", 1, 1):
            pass
    for family in families:
        try:
            gateway.try_write(table, family)
        except TException as error:
            # Who may write and not read cannot be asked so.
            if "action=READ" not in text_of(error):
                raise


def delete_table(config: HBaseConfig, table: str, *, patience: Duration = "60s") -> None:
    """Disable and delete a table, with all its rows.

    Raises:
        ConnectorError: no answer, no permission, no such table.
    """
    ask(config, table, lambda gateway: gateway.delete(table), patience)


def ask(config: HBaseConfig, table: str, call: Callable[[Gateway], T], patience: Duration) -> T:
    """One question to a gateway, over a connection of its own, again and again until it is answered.

    Raises:
        UnreachableError: no connection.
        ConnectorError: what the answer means.
        Again: an answer that may be another one later, to the end.
    """
    until = time.monotonic() + micros_of_duration(patience, "patience") / 1e6
    # What the gateway says is told by its meaning; the Java traces in it would bury that.
    while True:
        connected = False
        try:
            gateway = open_gateway(config)
            connected = True
            try:
                return call(gateway)
            finally:
                gateway.close()
        except (TException, OSError, EOFError) as error:
            meaning = meaning_of(error, table, config.address)
            if isinstance(meaning, RefusedBatch):
                raise ConnectorError(f"{config.address}: {meaning.reason}") from None
            if not isinstance(meaning, (Again, Throttled)) or "TableExistsException" in str(meaning):
                raise meaning from None
            if time.monotonic() + _PAUSE_S > until:
                if not connected or isinstance(error, (OSError, EOFError)):
                    raise UnreachableError(
                        f"{config.address}: HBase's Thrift gateway does not answer: {meaning}: see that `hbase "
                        f"thrift{'' if config.interface == 1 else config.interface} start` runs there"
                    ) from None
                raise ConnectorError(str(meaning)) from None
            time.sleep(_PAUSE_S)


def shell_command(table: str, layout: TableLayout) -> str:
    r"""What makes the table in HBase's shell.

    >>> from thingbeam.io.hbase.keys import RowKey
    >>> print(shell_command("usage", TableLayout(RowKey("id", salt=2), revision=None)))
    create 'usage', {NAME => 'd', VERSIONS => 1, COMPRESSION => 'NONE', DATA_BLOCK_ENCODING => 'FAST_DIFF', CONFIGURATION => {'hbase.hstore.time.to.purge.deletes' => '604800000'}}, SPLITS => ["\x01"]
    """  # noqa: E501
    families = ", ".join(_shell_family(family, layout.keep_deletes_millis(family)) for family in layout.families)
    splits = layout.splits()
    return f"create '{table}', {families}" + (f", SPLITS => [{_shell_keys(splits)}]" if splits else "")


def _shell_family(family: Family, keep_deletes: int) -> str:
    ttl = f", TTL => {family.ttl_seconds}" if family.ttl_seconds else ""
    return (
        f"{{NAME => '{family.name}', VERSIONS => {family.versions}{ttl}, COMPRESSION => '{family.compression}', "
        f"DATA_BLOCK_ENCODING => 'FAST_DIFF', "
        f"CONFIGURATION => {{'hbase.hstore.time.to.purge.deletes' => '{keep_deletes}'}}}}"
    )


def _shell_keys(keys: Sequence[bytes]) -> str:
    return ", ".join('"' + "".join(f"\\x{byte:02x}" for byte in key) + '"' for key in keys)
