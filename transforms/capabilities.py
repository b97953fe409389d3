"""What each attribute of each capability is for: an activity, a measurement, a meter, a state, or nothing.

The table is `capabilities.toml` beside this module; a user lays a file of the same form over it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, cast

from thingbeam.transforms.rules.roles import ACTIVITY, IGNORED, MEASUREMENT, ROLES, STATE, Role

__all__ = ["CapabilityTable", "Entry"]

WILDCARD: Final = "*"

_UNLISTED: Final = {"number": Role(MEASUREMENT), "string": Role(STATE), "boolean": Role(STATE)}
_NOTHING: Final = Role(IGNORED)
_KEYS: Final = ("role", "reason", "start", "stop", "pause", "max_length_s", "field")


@dataclass(frozen=True)
class Entry:
    """What one attribute of one capability is for, and why.

    >>> Entry("valve", "valve", Role("activity", frozenset({"open"}), frozenset({"closed"}))).reason
    ''
    """

    capability: str
    """A SmartThings capability or the name of a Matter cluster; `*` for every one."""
    attribute: str
    """The attribute; with a `*` at its end, every attribute that begins so and is not listed itself."""
    role: Role
    reason: str = ""


class CapabilityTable:
    """Roles of attributes by capability. Unchanging; equal tables have equal hashes; goes through pickle.

    Args:
        entries: one for each (capability, attribute).

    Raises:
        ValueError: two entries for one attribute, two activities in one capability (there is one stream of
            activities for each), or an activity without values that start and stop it.

    >>> table = CapabilityTable.default()
    >>> table.role("powerMeter", "power", "number").role, table.role("somebody.else", "level", "number").role
    ('measurement', 'measurement')
    """

    __slots__ = ("_entries", "_hash", "_prefixes")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        table: dict[tuple[str, str], Entry] = {}
        activities: dict[str, str] = {}
        prefixes: dict[str, list[tuple[str, Entry]]] = {}
        for entry in entries:
            key = (entry.capability, entry.attribute)
            if key in table:
                raise ValueError(f"{entry.capability}.{entry.attribute} is listed twice; keep one of the two")
            table[key] = entry
            if entry.role.role == ACTIVITY:
                _check_activity(entry)
                other = activities.setdefault(entry.capability, entry.attribute)
                if other != entry.attribute:
                    raise ValueError(
                        f"{entry.capability} has two activities, {other} and {entry.attribute}, but only one stream "
                        f'of them; give one of the two role = "state"'
                    )
            if entry.attribute.endswith(WILDCARD):
                prefixes.setdefault(entry.capability, []).append((entry.attribute[:-1], entry))
        for choices in prefixes.values():
            choices.sort(key=lambda choice: -len(choice[0]))
        self._entries = table
        self._prefixes = prefixes
        self._hash = hash(frozenset(table.values()))

    @classmethod
    def default(cls) -> CapabilityTable:
        """The table that comes with thingbeam, read once."""
        return _default()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order they were given."""
        return tuple(self._entries.values())

    def lookup(self, capability: str, attribute: str) -> Entry | None:
        """The entry for an attribute: its own, else its capability's longest wildcard, else one for every capability.

        >>> entry = CapabilityTable.default().lookup("ocf", "mnmo")
        >>> entry is not None and (entry.attribute, entry.role.role)
        ('*', 'ignored')
        """
        return (
            self._entries.get((capability, attribute))
            or self._by_prefix(capability, attribute)
            or self._entries.get((WILDCARD, attribute))
            or self._by_prefix(WILDCARD, attribute)
        )

    def _by_prefix(self, capability: str, attribute: str) -> Entry | None:
        for prefix, entry in self._prefixes.get(capability, ()):
            if attribute.startswith(prefix):
                return entry
        return None

    def role(self, capability: str, attribute: str, value_type: str) -> Role:
        """What an attribute is for; where it is not listed, its value's type says.

        Args:
            capability: as in `Event.capability`.
            attribute: as in `Event.attribute`.
            value_type: as in `Event.value_type`; of an attribute that is not listed, a number is a measurement, a
                string or boolean a state, and JSON and null are ignored.

        >>> role = CapabilityTable.default().role("contactSensor", "contact", "string")
        >>> role.role, sorted(role.start), sorted(role.stop)
        ('activity', ['open'], ['closed'])
        """
        entry = self.lookup(capability, attribute)
        return _UNLISTED.get(value_type, _NOTHING) if entry is None else entry.role

    def extended(self, entries: str | os.PathLike[str] | Iterable[Entry]) -> CapabilityTable:
        """This table with entries laid over it, each in the place of the one for the same attribute.

        Args:
            entries: entries, or the path of a TOML file with a table for each capability and in it a line for each
                attribute: `[valve]` and below it
                `valve = { role = "activity", start = ["open"], stop = ["closed"], max_length_s = 3600 }`.

        Raises:
            ValueError: the file cannot be read or is wrong; one line that says what, where, and what to write.

        >>> table = CapabilityTable.default().extended([Entry("battery", "battery", Role("ignored"), "noisy")])
        >>> table.role("battery", "battery", "number").role
        'ignored'
        """
        if isinstance(entries, str | os.PathLike):
            path = Path(entries)
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise ValueError(f"{path}: cannot read the capability table: {reason}; give a TOML file") from None
            return self._with(parse_table(text, str(path)), f"{path}: ")
        return self._with(list(entries), "")

    def _with(self, over: list[Entry], where: str) -> CapabilityTable:
        try:
            new = CapabilityTable(over)
            merged = self._entries | new._entries
            return CapabilityTable(merged.values())
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CapabilityTable):
            return NotImplemented
        return self is other or (self._hash == other._hash and self._entries == other._entries)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"CapabilityTable({len(self._entries)} entries)"

    def __reduce__(self) -> tuple[object, ...]:
        # The hash of a string differs between processes, so it is computed anew; the default is not sent at all.
        return (_default, ()) if self is _default() else (CapabilityTable, (self.entries,))


@cache
def _default() -> CapabilityTable:
    text = (files("thingbeam.transforms") / "capabilities.toml").read_text(encoding="utf-8")
    return CapabilityTable(parse_table(text, "capabilities.toml"))


def parse_table(text: str, where: str) -> list[Entry]:
    r"""The entries of a capability table in TOML.

    Args:
        text: the TOML.
        where: the name of the file, for messages.

    Raises:
        ValueError: one line that says what is wrong and how to mend it.

    >>> [entry.role.role for entry in parse_table('[valve]\nvalve = { role = "state" }', "mine.toml")]
    ['state']
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: not TOML, or a name is given twice: {error}") from None
    entries: list[Entry] = []
    for capability, attributes in document.items():
        if not isinstance(attributes, dict):
            raise ValueError(f"{where}: {capability} stands alone; put it under the [capability] it belongs to")
        for attribute, fields in cast(dict[str, object], attributes).items():
            here = f"{where}: [{capability}] {attribute}"
            if not isinstance(fields, dict):
                raise ValueError(f'{here}: write {{ role = "…" }}, one of {", ".join(sorted(ROLES))}')
            entries.append(_entry(capability, attribute, cast(dict[str, object], fields), here))
    return entries


def _entry(capability: str, attribute: str, fields: dict[str, object], here: str) -> Entry:
    for key in fields:
        if key not in _KEYS:
            raise ValueError(f"{here}: there is no {key!r}{_instead(key, _KEYS)}; known are {', '.join(_KEYS)}")
    role = fields.get("role")
    if not isinstance(role, str) or role not in ROLES:
        near = _instead(role, ROLES) if isinstance(role, str) else ""
        raise ValueError(f"{here}: role is {role!r}{near}; give one of {', '.join(sorted(ROLES))}")
    if role != ACTIVITY:
        for key in ("start", "stop", "pause", "max_length_s"):
            if key in fields:
                raise ValueError(f'{here}: {key} is for activities; give role = "activity" or leave {key} out')
    length = fields.get("max_length_s", 86400.0)
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 < length < float("inf"):
        raise ValueError(f"{here}: max_length_s is {length!r}; give seconds, above 0")
    field, reason = fields.get("field"), fields.get("reason", "")
    if not (field is None or isinstance(field, str)) or not isinstance(reason, str):
        raise ValueError(f"{here}: field and reason are texts; put them in quotes")
    made = Role(
        role,
        start=_states(fields, "start", here),
        stop=_states(fields, "stop", here),
        pause=_states(fields, "pause", here),
        max_length_s=float(length),
        field=field,
    )
    return Entry(capability, attribute, made, reason)


def _states(fields: dict[str, object], key: str, here: str) -> frozenset[str]:
    values = fields.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in cast(list[object], values)):
        raise ValueError(f'{here}: {key} is a list of texts, as ["on"]; booleans are "true", numbers their digits')
    return frozenset(cast(list[str], values))


def _check_activity(entry: Entry) -> None:
    name, role = f"{entry.capability}.{entry.attribute}", entry.role
    if entry.attribute.endswith(WILDCARD) or entry.capability == WILDCARD:
        raise ValueError(f"{name} is an activity by a wildcard; name its capability and attribute")
    if not role.start or not role.stop:
        raise ValueError(f"{name} is an activity that never {'stops' if role.start else 'starts'}; give start and stop")
    twice = (role.start & role.stop) | (role.start & role.pause) | (role.stop & role.pause)
    if twice:
        raise ValueError(f"{name} has {sorted(twice)[0]!r} under two of start, stop and pause; keep one of them")


def _instead(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
