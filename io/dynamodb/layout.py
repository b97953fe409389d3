"""What a table looks like, said once: it is created, checked, written and read by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Literal

from thingbeam.io.dynamodb.values import Item
from thingbeam.io.writing.store import Refused
from thingbeam.schemas import codes
from thingbeam.schemas.durations import Duration, micros_of_duration
from thingbeam.schemas.fields import fields_of
from thingbeam.schemas.keys import KEY_FIELDS

__all__ = ["Capacity", "Key", "KeyType", "TableLayout", "Ttl"]

KeyType = Literal["S", "N", "B"]

_LONGEST_KEY: Final = {"partition": 2048, "sort": 1024}
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_KEY_TYPES: Final[dict[str, KeyType]] = {"string": "S", "timestamp": "S", "double": "N", "long": "N", "bytes": "B"}


@dataclass(frozen=True)
class Key:
    """One of the two parts of a table's key.

    Of one field it is that field itself. Of several it is an attribute of its own, which holds their texts with `#`
    between; a `#` within one is written `%23`, a `%` `%25`. Texts and times keep their order so, numbers do not.

    Attributes:
        fields: what it is made of, in order.
        attribute: its name in the table; that of the only field if not given.
        type: S for text and times, N for numbers, B for bytes. Of several fields it is S.

    >>> Key(("component", "start"), "part").text_of({"component": {"S": "main"}, "start": {"S": "1970"}})
    'main#1970'
    """

    fields: tuple[str, ...]
    attribute: str = ""
    type: KeyType = "S"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.fields:
            raise ValueError("a key needs one field or more")
        first = self.fields[0]
        if len(self.fields) > 1:
            if not self.attribute or self.attribute in self.fields:
                raise ValueError(f"key of {', '.join(self.fields)}: give its attribute a name of its own")
            if self.type != "S":
                raise ValueError(f"key {self.attribute}: of several fields it is text, S")
        elif self.attribute not in ("", first):
            raise ValueError(f"key {self.attribute}: of one field it has the field's name, {first}")

    @cached_property
    def name(self) -> str:
        """Its attribute in the table."""
        return self.attribute or self.fields[0]

    def text_of(self, item: Item) -> str:
        """The key of several fields.

        Raises:
            Refused: one of them is not there, or is no text, number or boolean.
        """
        parts: list[str] = []
        for one in self.fields:
            wire = item.get(one)
            if wire is None:
                raise Refused(codes.MISSING_FIELD, f"{one}, part of the key, is missing")
            ((kind, value),) = wire.items()
            if kind not in ("S", "N", "BOOL"):
                raise Refused(
                    codes.WRONG_TYPE, f"{one}, part of the key, is {kind}: text, a time or a number is needed"
                )
            text = value if kind != "BOOL" else str(value).lower()
            parts.append(text.replace("%", "%25").replace("#", "%23") if "#" in text or "%" in text else text)
        return "#".join(parts)


@dataclass(frozen=True)
class Ttl:
    """When an item may go; DynamoDB removes it within days after that, and readers here do not show it any more.

    Attributes:
        after: how long it lives.
        since: the field of the time from which it does; None for that of writing.
        attribute: holds the time, in seconds since 1970.
    """

    after: Duration
    since: str | None = None
    attribute: str = "expires_at"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        micros_of_duration(self.after, "ttl after")

    @cached_property
    def seconds(self) -> int:
        """`after`, in seconds."""
        return micros_of_duration(self.after) // 1_000_000

    def expiry(self, item: Item, now: float) -> int:
        """When an item may go, in seconds since 1970.

        Raises:
            Refused: it has no such time.
        """
        if self.since is None:
            return int(now) + self.seconds
        text = item.get(self.since, {}).get("S")
        try:
            time = datetime.fromisoformat(text or "")
        except ValueError:
            raise Refused(codes.MISSING_FIELD, f"{self.since}, from which the item lives, is no time") from None
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()) + self.seconds


@dataclass(frozen=True)
class Capacity:
    """Provisioned capacity units."""

    read: int
    write: int


@dataclass(frozen=True)
class TableLayout:
    """A table.

    Attributes:
        name: of the table.
        partition: what spreads items over the table: `device_id`.
        sort: what tells and orders items of one partition; None for tables without.
        record: the type of what is written and read; None for dicts.
        revision: the field of whole numbers by which the newer of two rows of a key is known; None for rows that are
            never written twice with other content.
        deleted: the field that makes a row a tombstone; None for none.
        ttl: when items may go.
        capacity: provisioned, or None for paying by request.

    Raises:
        ValueError: what cannot be.

    >>> from thingbeam.schemas import Usage
    >>> layout = TableLayout.of(Usage, "usage")
    >>> layout.partition.name, layout.sort.name, layout.sort.fields[-1]
    ('device_id', 'sort_key', 'start')
    """

    name: str
    partition: Key
    sort: Key | None = None
    record: type | None = None
    revision: str | None = "revision"
    deleted: str | None = "deleted"
    ttl: Ttl | None = None
    capacity: Capacity | None = field(default=None)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 3 <= len(self.name) <= 255 or not _NAME_CHARACTERS.issuperset(self.name):
            raise ValueError(f"table {self.name!r}: 3 to 255 of a-z, A-Z, 0-9, _, - and .")
        if self.sort is not None and self.sort.name == self.partition.name:
            raise ValueError(f"table {self.name}: partition and sort key have one name, {self.sort.name}")
        if self.record is not None:
            there = {one.name for one in fields_of(self.record)}
            since = self.ttl.since if self.ttl else None
            wanted = [
                *self.partition.fields,
                *(self.sort.fields if self.sort else ()),
                self.revision,
                self.deleted,
                since,
            ]
            absent = [name for name in wanted if name is not None and name not in there]
            if absent:
                raise ValueError(f"table {self.name}: {self.record.__name__} has no field {', '.join(absent)}")
            made = [key.name for key in self.keys if len(key.fields) > 1] + ([self.ttl.attribute] if self.ttl else [])
            taken = [name for name in made if name in there]
            if taken:
                raise ValueError(f"table {self.name}: {taken[0]} is a field of {self.record.__name__} already")

    @classmethod
    def of(
        cls,
        record: type,
        name: str,
        partition: str | Sequence[str] | None = None,
        sort: str | Sequence[str] | None = None,
        **more: Any,
    ) -> TableLayout:
        """The layout of one of our records: its own key, its revision and tombstones.

        Args:
            record: a NamedTuple.
            name: of the table.
            partition: its fields; the first of the record's key if not given.
            sort: its fields; the others of the record's key if neither is given.
            more: as TableLayout has it.

        Raises:
            ValueError: what cannot be, as a record that has no key of ours, where none is given.
        """
        there = {one.name: one.type for one in fields_of(record)}
        if partition is None:
            if record not in KEY_FIELDS:
                raise ValueError(f"{record.__name__} has no key that is known: give partition=, and sort= if needed")
            partition, *others = KEY_FIELDS[record]
            sort = sort if sort is not None else others

        def key(fields: str | Sequence[str], attribute: str) -> Key | None:
            names = (fields,) if isinstance(fields, str) else tuple(fields)
            if len(names) == 1:
                return Key(names, type=_KEY_TYPES.get(there.get(names[0], "string"), "S"))
            return Key(names, attribute) if names else None

        known: dict[str, Any] = {name: name if name in there else None for name in ("revision", "deleted")}
        first = key(partition, "partition_key")
        if first is None:
            raise ValueError(f"table {name}: a partition key needs one field or more")
        return cls(name, first, None if sort is None else key(sort, "sort_key"), record, **(known | more))

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Partition key, and sort key where there is one."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    def put_key(self, item: Item) -> tuple[Any, ...]:
        """Make sure that an item has its key, and give it.

        Raises:
            Refused: a part is missing, empty, of another type or too long.
        """
        found: list[Any] = []
        for role, key in zip(("partition", "sort"), self.keys, strict=False):
            name, kind = key.name, key.type
            if len(key.fields) > 1:
                item[name] = {"S": key.text_of(item)}
            value = item.get(name, {}).get(kind)
            if value is None:
                if name in item and "NULL" not in item[name]:
                    raise Refused(codes.WRONG_TYPE, f"{name}, the {role} key, is {next(iter(item[name]))}, not {kind}")
                raise Refused(codes.MISSING_FIELD, f"{name}, the {role} key, is missing")
            if not value:
                raise Refused(codes.MISSING_FIELD, f"{name}, the {role} key, is empty")
            if kind != "N" and 4 * len(value) > _LONGEST_KEY[role]:
                size = len(value if kind == "B" else value.encode("utf-8", "replace"))
                if size > _LONGEST_KEY[role]:
                    raise Refused(
                        codes.TOO_LARGE, f"{name}, the {role} key, has {size} bytes, over {_LONGEST_KEY[role]}"
                    )
            found.append(value)
        return tuple(found)

    def key_item(self, item: Item) -> Item:
        """The key of an item alone."""
        return {key.name: item[key.name] for key in self.keys}
