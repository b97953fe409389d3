"""What a table looks like, said once: how it is made, how records become its rows, how its rows become records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from thingbeam.io.hbase.keys import RowKey
from thingbeam.io.hbase.values import Encoding, decoder, encoder
from thingbeam.schemas.durations import Duration, micros_of_duration
from thingbeam.schemas.fields import FieldType, fields_of

__all__ = ["Column", "Compression", "Family", "TableLayout", "Timestamps"]

Timestamps = Literal["revision", "milliseconds"]
Compression = Literal["NONE", "GZ", "SNAPPY", "LZ4", "ZSTD", "LZO"]

VERSION_COLUMN: Final = "_v"
"""The qualifier, in the first family, under which each row holds the version of its layout, as one byte."""
_NAMED: Final[Mapping[FieldType, Encoding]] = {
    "string": "text", "double": "float64", "long": "int64", "boolean": "boolean", "bytes": "bytes",
    "timestamp": "micros", "map_of_double": "json",
}  # fmt: skip
_LONGEST_TTL_S: Final = (1 << 31) - 2
_FOR_EVER: Final = (1 << 63) - 1


@dataclass(frozen=True)
class Family:
    """A column family and how HBase keeps it.

    Attributes:
        name: short, for it is in every cell.
        ttl: how long a cell lives, by its timestamp; None for ever. Needs timestamps="milliseconds".
        versions: how many of a cell are kept.
        compression: of its files; the servers must have the codec.
        keep_deletes: with timestamps="milliseconds" how long a delete marker survives major compactions, so that an
            older revision that comes late stays hidden. With timestamps="revision" it survives all of them.
    """

    name: str = "d"
    ttl: Duration | None = None
    versions: int = 1
    compression: Compression = "NONE"
    keep_deletes: Duration = "7d"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.name or ":" in self.name or not self.name.isprintable() or self.name.startswith("."):
            raise ValueError(f"family {self.name!r}: printable characters without a colon, not beginning with a dot")
        if self.versions < 1:
            raise ValueError(f"family {self.name}: versions {self.versions}: at least 1")
        if self.ttl is not None and not 1 <= self.ttl_seconds <= _LONGEST_TTL_S:
            raise ValueError(f"family {self.name}: ttl {self.ttl}: from 1 second to 68 years")
        micros_of_duration(self.keep_deletes, f"family {self.name}: keep_deletes")

    @property
    def ttl_seconds(self) -> int:
        """`ttl` in whole seconds; 0 for none."""
        return 0 if self.ttl is None else micros_of_duration(self.ttl, f"family {self.name}: ttl") // 1_000_000


@dataclass(frozen=True)
class Column:
    """One field of a row that is not in its key.

    Attributes:
        field: its name in the record.
        encoding: of its values: see thingbeam.io.hbase.values.
        optional: whether it may be absent.
        family: where it stands.
        qualifier: its name there; the field's if empty.
    """

    field: str
    encoding: Encoding
    optional: bool = False
    family: str = "d"
    qualifier: str = ""

    @property
    def name(self) -> bytes:
        """`family:qualifier`."""
        return f"{self.family}:{self.qualifier or self.field}".encode()


@dataclass(frozen=True)
class TableLayout:
    """A table: the key of its rows, their columns, and how HBase keeps it.

    Every row also holds `_v`, the layout's version, so that values can one day be encoded otherwise: raise `version`,
    and name the former layouts in `earlier` to go on reading their rows.

    Timestamps. With `timestamps="revision"` the timestamp of a cell is the record's revision, whatever it counts. HBase
    shows the highest, so an older revision never wins, in whatever order rows arrive and however often they are sent,
    without reading before writing. The price: HBase takes timestamps for milliseconds, so revisions in microseconds
    look like the year 50000 to it. A TTL would never pass, and a cell that somebody writes without a timestamp stays
    hidden; so a TTL is refused. With `timestamps="milliseconds"` revisions must be microseconds since 1970 (as
    thingbeam's are), a cell has their millisecond, and a TTL counts from there; of two revisions of a key in one
    millisecond the one that is written last wins, and a delete wins over a row. Without a `revision` the server's
    clock gives the timestamp, and what is written last wins, a replay of old rows too. Never change it for a table
    that has rows.

    Attributes:
        key: of which fields, in which order.
        columns: the other fields.
        families: of the columns, each once.
        record: the type of NamedTuple that rows are read as; None for dicts.
        revision: the field that orders the states of a row; None for none.
        deleted: the field that makes a row a tombstone; None for none.
        timestamps: see above.
        regions: into how many regions the table is cut when it is made, at the salt's buckets; None for one of each.
        split_at: instead, for tables without salt, the keys to cut at.
        version: 1 to 255, of the columns' encodings.
        earlier: layouts of older versions whose rows may be there still.

    Raises:
        ValueError: what cannot be; one line.
    """

    key: RowKey
    columns: tuple[Column, ...] = ()
    families: tuple[Family, ...] = (Family(),)
    record: type | None = None
    revision: str | None = "revision"
    deleted: str | None = "deleted"
    timestamps: Timestamps = "revision"
    regions: int | None = None
    split_at: tuple[bytes, ...] = ()
    version: int = 1
    earlier: tuple[TableLayout, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        names = [family.name for family in self.families]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"families {', '.join(names) or 'none'}: one or more, each once")
        for column in self.columns:
            if column.family not in names:
                raise ValueError(f"column {column.field}: family {column.family} is not one of {', '.join(names)}")
        wired = [column.name for column in self.columns]
        if len(set(wired)) < len(wired) or self.version_column in wired:
            raise ValueError(f"columns: each name once, and {self.version_column.decode()} is taken")
        both = {column.field for column in self.columns} & set(self.key.fields)
        if both:
            raise ValueError(f"column {sorted(both)[0]} is in the row key already")
        if self.timestamps not in ("revision", "milliseconds"):
            raise ValueError(f"timestamps {self.timestamps!r}: revision or milliseconds")
        if self.timestamps == "revision" and self.revision and any(family.ttl for family in self.families):
            raise ValueError(
                "a TTL counts from cell timestamps in milliseconds, and these are revisions: say "
                'timestamps="milliseconds" (and read there what that costs)'
            )
        if not 1 <= self.version <= 255 or any(one.version >= self.version for one in self.earlier):
            raise ValueError(f"version {self.version}: from 1 to 255, above those of earlier layouts")
        if self.split_at and (self.key.salt or self.regions):
            raise ValueError("split_at is for tables without salt; those with one are cut at its buckets")
        if self.regions is not None and not 1 <= self.regions <= max(1, self.key.salt):
            raise ValueError(f"regions {self.regions}: from 1 to the {max(1, self.key.salt)} buckets of the salt")

    @classmethod
    def of(cls, record: type, key: RowKey, family: Family | None = None, **more: Any) -> TableLayout:
        """The layout of a record type: a column for each field that is not in the key, in one family.

        Args:
            record: a NamedTuple.
            key: of which of its fields.
            family: of all columns.
            more: attributes of TableLayout. `revision` and `deleted` are the fields of these names, where it has them.

        Raises:
            ValueError: a field of the key that the record does not have.

        >>> from thingbeam.io.hbase.keys import KeyPart
        >>> from thingbeam.schemas.records import Session
        >>> layout = TableLayout.of(Session, RowKey("device_id", KeyPart.newest("start"), salt=16))
        >>> [column.field for column in layout.columns]
        ['start_local', 'last', 'end', 'count', 'revision', 'home_id', 'final']
        """
        family = family or Family()
        fields = fields_of(record)
        names = [one.name for one in fields]
        absent = [name for name in key.fields if name not in names]
        if absent:
            raise ValueError(f"row key: {record.__name__} has no field {', '.join(absent)}")
        for special in ("revision", "deleted"):
            more.setdefault(special, special if special in names else None)
        columns = tuple(
            Column(one.name, _NAMED[one.type], one.optional, family.name)
            for one in fields
            if one.name not in key.fields and one.name != more["deleted"]
        )
        return cls(key, columns, (family,), record, **more)

    @cached_property
    def version_column(self) -> bytes:
        """Where a row holds its layout's version."""
        return f"{self.families[0].name}:{VERSION_COLUMN}".encode()

    @cached_property
    def encoders(self) -> list[tuple[Column, bytes, Any]]:
        """Each column, its name on the wire and its function to bytes."""
        return [(column, column.name, encoder(column.encoding, column.optional)) for column in self.columns]

    @cached_property
    def decoders(self) -> list[tuple[Column, bytes, Any]]:
        """Each column, its name on the wire and its function from bytes."""
        return [(column, column.name, decoder(column.encoding, column.optional)) for column in self.columns]

    def wire_names(self, fields: Iterable[str]) -> list[bytes]:
        """The columns of some fields, as a scan asks for them.

        Raises:
            ValueError: no such column.
        """
        named = {column.field: column.name for column in self.columns}
        strange = [name for name in fields if name not in named and name not in self.key.fields]
        if strange:
            raise ValueError(f"no column {strange[0]}; there are {', '.join(named)}")
        return [self.version_column, *(named[name] for name in fields if name in named)]

    def timestamp(self, revision: int) -> int:
        """A cell's timestamp for a revision."""
        return revision if self.timestamps == "revision" else revision // 1000

    def keep_deletes_millis(self, family: Family) -> int:
        """How long a family's delete markers are kept, as HBase has it (hbase.hstore.time.to.purge.deletes)."""
        if self.timestamps == "revision" and self.revision is not None:
            # It is compared with the clock less the marker's timestamp, which is no time here.
            return _FOR_EVER
        return micros_of_duration(family.keep_deletes) // 1000

    def splits(self) -> list[bytes]:
        r"""The keys at which the table is cut when it is made.

        >>> TableLayout(RowKey("id", salt=8), regions=4, revision=None).splits()
        [b'\x02', b'\x04', b'\x06']
        """
        if not self.key.salt:
            return list(self.split_at)
        regions = self.regions or self.key.salt
        return [bytes([self.key.salt * number // regions]) for number in range(1, regions)]
