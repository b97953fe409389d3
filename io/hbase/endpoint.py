"""HBase as an application's output, by URI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thingbeam.io.endpoints import Kind
from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.layouts import layout_of
from thingbeam.io.hbase.sink import WriteToHBase
from thingbeam.io.hbase.uris import parse_hbase_uri
from thingbeam.io.writing.endpoint import WritingSink
from thingbeam.schemas.records import DeadLetter

__all__ = ["HBaseSink"]


class HBaseSink(WritingSink):
    """`hbase://HOST:PORT/PREFIX?…`: each kind of record to the table `PREFIX-KIND`, laid out as `layout_of` says.

    Every option of parse_hbase_uri's. At least once; each row of a result there once and in its newest revision.

    Args:
        uri: see parse_hbase_uri.

    Raises:
        ValueError: what it says cannot be.
    """

    def __init__(self, uri: str) -> None:
        self._parsed = parse_hbase_uri(uri, write=True)
        options = dict(self._parsed.options)
        self._tables: HBaseConfig = options.pop("tables", self._parsed.config)
        self._arguments: dict[str, Any] = options
        try:
            # What it says together may not go.
            WriteToHBase(self._parsed.config, self._parsed.table, layout_of(DeadLetter), **options)
        except ValueError as error:
            raise ValueError(f"{self.shown}: {error}") from None

    @property
    def shown(self) -> str:
        """The URI without its options."""
        return self._parsed.shown

    def table(self, kind: Kind) -> str:
        """Where a kind goes.

        >>> HBaseSink("hbase://127.0.0.1:9090/home").table(Kind("dead-letters", DeadLetter))
        'home-dead-letters'
        """
        return f"{self._parsed.table}-{kind.name}"

    def layouts(self, kinds: Sequence[Kind]) -> dict[str, TableLayout]:
        """The layout of each kind's table, by the table's name."""
        return {self.table(kind): layout_of(kind.record) for kind in kinds}

    def create(self, kinds: Sequence[Kind]) -> list[str]:
        """Make the tables that are not there yet.

        Returns:
            The names of those that were made.

        Raises:
            ConnectorError: no answer, a refusal, or no gateway of the second interface.
        """
        from thingbeam.io.hbase.tables import create_table

        return [name for name, layout in self.layouts(kinds).items() if create_table(self._tables, name, layout)]

    def check(self, kinds: Sequence[Kind]) -> None:
        """See that all tables are there and may be written.

        Raises:
            ConnectorError: no answer, a refusal, or a table or family that is not there.
        """
        from thingbeam.io.hbase.tables import check_table

        for name, layout in self.layouts(kinds).items():
            families = [family.name for family in layout.families]
            patience = self._arguments.get("connect_timeout", "60s")
            check_table(self._parsed.config, name, families, writing=True, patience=patience)

    def writer(self, kind: Kind) -> WriteToHBase:
        """Into the kind's table."""
        return WriteToHBase(self._parsed.config, self.table(kind), layout_of(kind.record), **self._arguments)
