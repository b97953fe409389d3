"""The first Thrift interface of HBase, by happybase's definition of it.

A call has one timestamp for all of its rows. So rows are sent in groups of one revision, of which an Arrow batch of
DeviceHistory has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import happybase.batch
import happybase.connection
import happybase.table

from thingbeam.io.hbase.config import HBaseConfig
from thingbeam.io.hbase.gateways import PROBE, Gateway, Region
from thingbeam.io.hbase.layout import TableLayout
from thingbeam.io.hbase.rows import HBaseRow

__all__ = ["Thrift1"]

# What happybase makes of its definition of the interface, where its own modules have it.
_batch: Any = happybase.batch
_connection: Any = happybase.connection
_table: Any = happybase.table
BatchMutation, Mutation = _batch.BatchMutation, _batch.Mutation
Hbase, TScan = _connection.Hbase, _table.TScan
_NOTHING: Final[dict[bytes, bytes]] = {}


class Thrift1(Gateway):
    """A connection to `hbase thrift start`."""

    def __init__(self, config: HBaseConfig) -> None:
        super().__init__(config, Hbase)

    def exists(self, table: str) -> bool:
        """Whether the table is there. A table that its user may not see is not among them."""
        names = {name.decode() for name in self._client.getTableNames()}
        return table.removeprefix("default:") in names

    def is_enabled(self, table: str) -> bool:
        """Whether it can be read and written."""
        return bool(self._client.isTableEnabled(table.encode()))

    def families(self, table: str) -> set[str]:
        """The names of its column families."""
        return {name.decode().rstrip(":") for name in self._client.getColumnDescriptors(table.encode())}

    def regions(self, table: str) -> list[Region]:
        """Its regions in order."""
        return sorted((one.startKey, one.endKey) for one in self._client.getTableRegions(table.encode()))

    def try_write(self, table: str, family: str) -> None:
        """A conditional put whose condition is never met."""
        row, qualifier, value = PROBE
        column = family.encode() + b":" + qualifier
        put = Mutation(False, column, value, True)
        self._client.checkAndPut(table.encode(), row, column, value, put, _NOTHING)

    def write(self, table: str, rows: Sequence[HBaseRow], families: Sequence[str]) -> None:
        """One call for each revision."""
        groups: dict[int | None, list[Any]] = {}
        for row in rows:
            if row.deleted:
                # Mutation(isDelete, column, value, writeToWAL); a family's name alone is all of its columns.
                mutations = [Mutation(True, family.encode(), None, True) for family in families]
            else:
                mutations = [Mutation(False, column, value, True) for column, value in row.cells.items()]
            groups.setdefault(row.revision, []).append(BatchMutation(row.key, mutations))
        name = table.encode()
        for revision, batch in groups.items():
            if revision is None:
                self._client.mutateRows(name, batch, _NOTHING)
            else:
                self._client.mutateRowsTs(name, batch, revision, _NOTHING)

    def get(self, table: str, keys: Sequence[bytes], columns: Sequence[bytes]) -> dict[bytes, HBaseRow]:
        """The rows that are there."""
        if columns:
            found = self._client.getRowsWithColumns(table.encode(), list(keys), list(columns), _NOTHING)
        else:
            found = self._client.getRows(table.encode(), list(keys), _NOTHING)
        return {one.row: _row(one) for one in found if one.row}

    def _open_scanner(
        self, table: str, start: bytes, stop: bytes, columns: Sequence[bytes], where: str | None, rows: int
    ) -> int:
        wanted = TScan(startRow=start, stopRow=stop or None, columns=list(columns) or None, caching=rows)
        wanted.filterString = None if where is None else where.encode()
        scanner: int = self._client.scannerOpenWithScan(table.encode(), wanted, _NOTHING)
        return scanner

    def _next_rows(self, scanner: int, rows: int) -> list[HBaseRow]:
        return [_row(one) for one in self._client.scannerGetList(scanner, rows)]

    def _close_scanner(self, scanner: int) -> None:
        self._client.scannerClose(scanner)

    def create(self, table: str, layout: TableLayout) -> None:
        """Not to be done with this interface: it has no pre-splits, and no settings of families.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the first Thrift interface makes no tables of a layout")

    def delete(self, table: str) -> None:
        """Disable and delete a table."""
        if self.is_enabled(table):
            self._client.disableTable(table.encode())
        self._client.deleteTable(table.encode())


def _row(found: Any) -> HBaseRow:
    cells = {name: cell.value for name, cell in found.columns.items()}
    return HBaseRow(found.row, cells, max((cell.timestamp for cell in found.columns.values()), default=None))
