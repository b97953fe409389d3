"""The form of a line: what is the same in all lines that say the same of another time, event, device and number."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thingbeam.schemas.batch import Description
from thingbeam.schemas.names import UUID_LENGTH, Words, hash_text, words_of_uuids
from thingbeam.transforms.columns.plain import decode_plain, description_of
from thingbeam.transforms.columns.rows import Bools, Ints
from thingbeam.transforms.columns.times import MILLIS_DIGITS, micros_of_octets
from thingbeam.transforms.envelopes import Limits

__all__ = ["WIDTH", "Form", "form_of"]

WIDTH: Final = 64
"""Lines are compared by so many bytes: eight words, whose eight booleans are a word again."""

_NUMBER: Final = re.compile(rb'"value"\s*:\s*(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?\s*[,}]')
_VALUE: Final = re.compile(rb'"value"\s*:')
_MOST_DIGITS: Final = 15
"""A double holds each such integer, and the power of ten below it: their quotient is the number as it is read."""
_ZERO: Final = ord("0")


class _Number(NamedTuple):
    """Where the digits of a number stand, and what each is worth."""

    places: Ints
    powers: Ints
    scale: float
    """What the integer of all digits is divided by; 0 where the number is an integer."""
    negative: bool
    leading: bool
    """Whether the first digit must not be 0."""

    def read(self, octets: NDArray[np.uint8]) -> tuple[Words, Bools]:
        """The bits of the numbers of some lines, and which of those have one."""
        # A row for each place: numpy is fast along rows.
        digits = np.ascontiguousarray(octets[:, self.places].T) - np.uint8(_ZERO)
        good: Bools = digits.max(axis=0) < 10
        if self.leading:
            good &= digits[0] != 0
        whole = self.powers @ digits.astype(np.int64)
        if not self.scale:
            return (-whole if self.negative else whole).astype(np.float64).view(np.uint64), good
        value = whole / self.scale
        return (-value if self.negative else value).view(np.uint64), good


class Form(NamedTuple):
    """What lines have in common, and where what they do not."""

    words: Words
    """The line, with nothing at the places that differ, filled up to a multiple of WIDTH."""
    fixed: Words
    """The places that do not."""
    time: int
    time_length: int
    event: int
    device: int
    home: int
    again: int
    """Where the home's id stands a second time, as the owner's; or `home`."""
    description: Description
    text: str | None
    value: int
    """The word of the value, where it is no number."""
    number: _Number | None


def form_of(data: bytes, start: int, stop: int, limits: Limits) -> Form | None:
    """The form of a line, if it is a plain event whose ids are UUIDs."""
    record = decode_plain(data, start, stop + 1, limits)
    line = data[start:stop]
    if record is None or b"\\" in line:
        return None
    event = record.deviceEvent
    time = _time_in(line, record.eventTime)
    ids = [event.eventId, event.deviceId, event.locationId or ""]
    described = description_of(event)
    constants = " ".join(text for text in described if isinstance(text, str))
    if time is None or described.value_type == "json" or not _apart(line, ids, f"{constants} {event.value}"):
        return None
    event_at, device_at, home_at = (line.find(text.encode()) for text in ids)
    again = line.rfind(ids[2].encode())
    free = [*time]
    for at in (event_at, device_at, home_at, again):
        free += [at + place for place, letter in enumerate(ids[0]) if letter != "-"]
    number: _Number | None = None
    if described.value_type == "number":
        number = _number_in(line)
        if number is None:
            return None
        free += number.places.tolist()
    width = -(-len(line) // WIDTH) * WIDTH
    fixed = np.zeros(width, np.uint8)
    fixed[: len(line)] = 255
    fixed[free] = 0
    text = event.value if isinstance(event.value, str) else None
    value = 0 if text is None else hash_text(text)
    if described.value_type == "boolean":
        value = int(np.float64(event.value).view(np.uint64))
    return Form(
        words=np.frombuffer(line.ljust(width, b"\0"), np.uint64) & fixed.view(np.uint64),
        fixed=fixed.view(np.uint64),
        time=time.start,
        time_length=time.stop - time.start,
        event=event_at,
        device=device_at,
        home=home_at,
        again=again,
        description=described,
        text=text,
        value=value,
        number=number,
    )


def _apart(line: bytes, ids: list[str], constants: str) -> bool:
    """Whether the ids of an event, device and home are UUIDs, and each is where it is said and nowhere else.

    The home's may stand a second time in what nobody reads, as the owner's.
    """
    if any(len(text) != UUID_LENGTH or not text.isascii() or text in constants for text in ids):
        return False
    _, plain = words_of_uuids("".join(ids).encode())
    event, device, home = (line.count(text.encode()) for text in ids)
    return bool(plain.all()) and event == device == 1 and home in (1, 2)


def _time_in(line: bytes, said: int | str) -> range | None:
    """Where the time stands, if it is one that columns can be read of."""
    text = str(said).encode()
    octets = np.frombuffer(text, np.uint8).reshape(1, -1)
    if isinstance(said, str):
        _, good = micros_of_octets(octets)
        if not good.all():
            return None
    elif len(text) != MILLIS_DIGITS:
        return None
    at = line.find(text)
    return range(at, at + len(text)) if line.count(text) == 1 else None


def _number_in(line: bytes) -> _Number | None:
    """Where the digits of the value stand, if it is a plain number of few digits."""
    found = _NUMBER.search(line)
    if found is None or len(_VALUE.findall(line)) != 1:
        return None
    whole, fraction = found.span(2), found.span(3)
    places = np.array([*range(*whole), *range(*fraction)])
    count, decimals = len(places), fraction[1] - fraction[0]
    if count > _MOST_DIGITS:
        return None
    return _Number(
        places=places,
        powers=10 ** np.arange(count - 1, -1, -1),
        scale=float(10**decimals) if decimals else 0.0,
        negative=bool(found[1]),
        leading=whole[1] - whole[0] > 1,
    )
