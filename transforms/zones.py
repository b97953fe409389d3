"""Which time zone a home is in."""

from __future__ import annotations

import csv
import zoneinfo
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thingbeam.schemas.batch import EventBatch, hash_description
from thingbeam.schemas.names import id_words, mix
from thingbeam.transforms.columns.rows import places_of

__all__ = ["HomeZones"]


class HomeZones:
    """The time zone of each home, and one for all the others.

    Args:
        default: an IANA name, as Europe/Paris.
        by_home: IANA names by home id.

    Raises:
        ValueError: a name that is no time zone; the message says which.

    >>> HomeZones("Europe/Paris", {"h1": "Asia/Kolkata"})("h1")
    'Asia/Kolkata'
    """

    def __init__(self, default: str = "UTC", by_home: Mapping[str, str] | None = None) -> None:
        self.default = _checked(default, "the default time zone")
        self.by_home = dict(by_home or {})
        for home, zone in self.by_home.items():
            _checked(zone, f"the time zone of home {home}")
        self._names = sorted({self.default, *self.by_home.values()})
        words, _ = id_words(list(self.by_home))
        keys = mix(words[:, 0], words[:, 1])
        order = np.argsort(keys)
        self._keys = keys[order]
        codes = np.array([self._names.index(zone) for zone in self.by_home.values()], np.int64)
        self._codes = codes[order] if len(codes) else codes

    @classmethod
    def read(cls, path: str, default: str = "UTC") -> HomeZones:
        """The zones of a CSV file with the columns home_id and timezone.

        Raises:
            ValueError: the file is not there, lacks a column, or names what is no time zone.
        """
        try:
            # Spreadsheets write a byte order mark.
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                rows, columns = list(reader), reader.fieldnames or ()
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"cannot read the time zones in {path}: {error}") from error
        for column in ("home_id", "timezone"):
            if column not in columns:
                raise ValueError(f"{path} has no column {column!r}; it needs home_id,timezone in its first line")
        return cls(default, {row["home_id"]: row["timezone"] or "" for row in rows})

    def __call__(self, home_id: str | None) -> str:
        """The zone of a home."""
        return self.by_home.get(home_id, self.default) if home_id is not None else self.default

    def resolve(self, batch: EventBatch) -> EventBatch:
        """The batch with the zone of each row's home in its description, where none was."""
        names = batch.names
        if all(d.zone is not None for d in names.descriptions.values()):
            return batch
        # As plain words: rows are copied field by field.
        rows = np.ascontiguousarray(batch.rows).view("<u8").copy().view(batch.rows.dtype)
        words = np.array(sorted(names.descriptions), np.uint64)
        code = places_of(words, rows["description"]) * len(self._names)
        zone = np.full(len(rows), self._names.index(self.default))
        if len(self._keys):
            keys = mix(rows["home_high"], rows["home_low"])
            at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            zone = np.where(self._keys[at] == keys, self._codes[at], zone)
        code += zone
        resolved = np.zeros(len(words) * len(self._names), np.uint64)
        descriptions = {}
        for pair in np.flatnonzero(np.bincount(code)).tolist():
            description = names.descriptions[int(words[pair // len(self._names)])]
            if description.zone is None:
                description = description._replace(zone=self._names[pair % len(self._names)])
            word = hash_description(description)
            descriptions[word] = description
            resolved[pair] = word
        rows["description"] = resolved[code]
        return EventBatch(rows, type(names)(names.ids, names.texts, descriptions))


def _checked(zone: str, what: str) -> str:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{what}, {zone!r}, is no IANA time zone such as Europe/Paris") from error
    return zone
