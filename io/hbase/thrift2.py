"""The second Thrift interface of HBase: each row with its own revision, and tables with pre-splits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources
from io import StringIO
from typing import Any, Final

import thriftpy2

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.gateways import PROBE, Gateway, Region
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.rows import HBaseRow

__all__ = ["Thrift2"]

_MODULE: Final = "thingbeam_hbase_thrift"
_COMPRESSIONS: Final = {"LZO": 0, "GZ": 1, "NONE": 2, "SNAPPY": 3, "LZ4": 4, "ZSTD": 6}
_FAST_DIFF: Final = 4
_DELETE_FAMILY: Final = 2
"""All versions up to the timestamp. The default deletes of a family those of this very timestamp."""
_PURGE: Final = "hbase.hstore.time.to.purge.deletes"


@functools.cache
def _interface() -> Any:
    text = resources.files(__package__ or "").joinpath("thrift2.thrift").read_text(encoding="utf-8")
    return thriftpy2.load_fp(StringIO(text), _MODULE)


class Thrift2(Gateway):
    """A connection to `hbase thrift2 start`."""

    def __init__(self, config: HBaseConfig) -> None:
        self._types = _interface()
        super().__init__(config, self._types.THBaseService)
        self._columns: dict[bytes, tuple[bytes, bytes]] = {}

    def exists(self, table: str) -> bool:
        """Whether the table is there."""
        return bool(self._client.tableExists(self._name(table)))

    def is_enabled(self, table: str) -> bool:
        """Whether it can be read and written."""
        return bool(self._client.isTableEnabled(self._name(table)))

    def families(self, table: str) -> set[str]:
        """The names of its column families."""
        return {one.name.decode() for one in self._client.getTableDescriptor(self._name(table)).columns or ()}

    def regions(self, table: str) -> list[Region]:
        """Its regions in order."""
        found = [one.regionInfo for one in self._client.getAllRegionLocations(table.encode())]
        return sorted((one.startKey or b"", one.endKey or b"") for one in found)

    def try_write(self, table: str, family: str) -> None:
        """A conditional put whose condition is never met."""
        row, qualifier, value = PROBE
        put = self._types.TPut(row, [self._types.TColumnValue(family.encode(), qualifier, value)])
        self._client.checkAndPut(table.encode(), row, family.encode(), qualifier, value, put)

    def write(self, table: str, rows: Sequence[HBaseRow], families: Sequence[str]) -> None:
        """One call for what is put, one for what is deleted."""
        types, column = self._types, self._column
        puts: list[Any] = []
        deletes: list[Any] = []
        for row in rows:
            if row.deleted:
                emptied = [types.TColumn(family=family.encode(), timestamp=row.revision) for family in families]
                deletes.append(types.TDelete(row.key, emptied, row.revision, _DELETE_FAMILY))
            else:
                cells = [types.TColumnValue(*column(name), value) for name, value in row.cells.items()]
                puts.append(types.TPut(row.key, cells, row.revision))
        name = table.encode()
        if puts:
            self._client.putMultiple(name, puts)
        if deletes:
            self._client.deleteMultiple(name, deletes)

    def get(self, table: str, keys: Sequence[bytes], columns: Sequence[bytes]) -> dict[bytes, HBaseRow]:
        """The rows that are there."""
        wanted = [self._types.TGet(row=key, columns=self._wanted(columns)) for key in keys]
        return {one.row: _row(one) for one in self._client.getMultiple(table.encode(), wanted) if one.row}

    def _open_scanner(
        self, table: str, start: bytes, stop: bytes, columns: Sequence[bytes], where: str | None, rows: int
    ) -> int:
        wanted = self._types.TScan(startRow=start, stopRow=stop, columns=self._wanted(columns), caching=rows)
        wanted.filterString = None if where is None else where.encode()
        scanner: int = self._client.openScanner(table.encode(), wanted)
        return scanner

    def _next_rows(self, scanner: int, rows: int) -> list[HBaseRow]:
        return [_row(one) for one in self._client.getScannerRows(scanner, rows)]

    def _close_scanner(self, scanner: int) -> None:
        self._client.closeScanner(scanner)

    def create(self, table: str, layout: TableLayout) -> None:
        """Make a table."""
        columns = [
            self._types.TColumnFamilyDescriptor(
                name=family.name.encode(),
                configuration={_PURGE: str(layout.keep_deletes_millis(family))},
                compressionType=_COMPRESSIONS[family.compression],
                dataBlockEncoding=_FAST_DIFF,
                maxVersions=family.versions,
                timeToLive=family.ttl_seconds or None,
            )
            for family in layout.families
        ]
        description = self._types.TTableDescriptor(tableName=self._name(table), columns=columns)
        self._client.createTable(description, layout.splits())

    def delete(self, table: str) -> None:
        """Disable and delete a table."""
        if self.is_enabled(table):
            self._client.disableTable(self._name(table))
        self._client.deleteTable(self._name(table))

    def _name(self, table: str) -> Any:
        space, _, name = table.rpartition(":")
        return self._types.TTableName(ns=space.encode() or None, qualifier=name.encode())

    def _column(self, name: bytes) -> tuple[bytes, bytes]:
        known = self._columns.get(name)
        if known is None:
            family, _, qualifier = name.partition(b":")
            known = self._columns[name] = family, qualifier
        return known

    def _wanted(self, columns: Sequence[bytes]) -> list[Any] | None:
        if not columns:
            return None
        return [self._types.TColumn(family, qualifier or None) for family, qualifier in map(self._column, columns)]


def _row(found: Any) -> HBaseRow:
    cells = {one.family + b":" + one.qualifier: one.value for one in found.columnValues}
    return HBaseRow(found.row, cells, max((one.timestamp for one in found.columnValues), default=None))
