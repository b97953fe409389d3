"""Forms of lines, read by the optional package thingbeam-native where it is installed.

What a form is, and how one is learned, is `forms`' alone. The native reader is handed each form that was learned, and
from then on reads its lines at a fifth of what numpy takes for them, whatever the size of the blob; the same lines come
out, to the last bit. It is Rust (`native/` in the sources) and knows no JSON. Without it nothing is missing but speed.
"""

from __future__ import annotations

import functools
import importlib
import logging
from typing import Final, Protocol, cast

import numpy as np

from thingbeam.schemas.batch import ROW, EventBatch, Names, hash_description
from thingbeam.transforms.columns.form import Form
from thingbeam.transforms.columns.forms import Alike, Forms, rest_of
from thingbeam.transforms.envelopes import Limits

__all__ = ["NativeForms", "forms_of", "native_reader"]

_LOGGER: Final = logging.getLogger(__name__)
_MODULE: Final = "thingbeam_native"
_LAYOUT: Final = 1
"""Of a row, and of what the native reader is told."""
_MOST: Final = 4096
"""Forms that are kept; they are learned again."""

_Number = tuple[list[int], float, bool, bool]


class Reader(Protocol):
    """The native reader; its own documentation is in native/src/lib.rs."""

    def add(
        self,
        words: bytes,
        fixed: bytes,
        places: tuple[int, int, int, int, int, int],
        number: _Number | None,
        value: int,
        description: int,
    ) -> int:
        """Learn a form; gives its number."""
        ...

    def clear(self) -> None:
        """Forget all forms."""
        ...

    def read(self, data: bytes) -> tuple[bytes, list[int], bytes]:
        """Rows, the numbers of their forms, and where the lines that are left begin and end."""
        ...


def forms_of(limits: Limits) -> Forms | NativeForms:
    """What reads lines by their forms: natively where that is installed."""
    reader = native_reader(limits)
    return Forms(limits) if reader is None else NativeForms(limits, reader)


def native_reader(limits: Limits) -> Reader | None:
    """A native reader that knows no forms yet; None where there is none for this release of thingbeam."""
    module = _module()
    return None if module is None else module.Reader(limits.earliest.micros, limits.latest.micros)


class _Native(Protocol):
    LAYOUT: int

    def Reader(self, earliest: int, latest: int) -> Reader:  # noqa: N802
        ...


@functools.cache
def _module() -> _Native | None:
    try:
        module = cast(_Native, importlib.import_module(_MODULE))
    except ImportError:
        return None
    if module.LAYOUT != _LAYOUT:
        _LOGGER.warning(
            "%s is of another release (layout %s, not %s) and is not used: install the one beside this thingbeam",
            _MODULE, module.LAYOUT, _LAYOUT,
        )  # fmt: skip
        return None
    _LOGGER.info("lines of a known form are read by %s", _MODULE)
    return module


class NativeForms:
    """What `Forms` does, but for the speed.

    Args:
        limits: on size, depth and time.
        reader: a native one, that knows no forms.
    """

    def __init__(self, limits: Limits, reader: Reader) -> None:
        self._forms = Forms(limits)
        self._reader = reader
        self._added: list[Form] = []

    def __len__(self) -> int:
        return len(self._added)

    def take(self, data: bytes) -> Alike:
        """Read those lines of a blob that have a known form, or the form of others in it."""
        rows, used, left = self._reader.read(data)
        names = Names()
        for form in map(self._added.__getitem__, used):
            names.descriptions[hash_description(form.description)] = form.description
            if form.text is not None:
                names.texts[form.value] = form.text
        batch = EventBatch(np.frombuffer(rows, ROW), names)
        if not left:
            return Alike(batch, b"", int)
        places = np.frombuffer(left, "<i8").tolist()
        rest, origin = rest_of(data, list(zip(places[::2], places[1::2], strict=True)))
        others = self._forms.take(rest)
        self._learn()
        if len(others.batch):
            batch = EventBatch.concatenate((batch, others.batch)) if rows else others.batch
        return Alike(batch, others.rest, lambda at: origin(others.origin(at)))

    def _learn(self) -> None:
        for length, form in self._forms.drain():
            if len(self._added) >= _MOST:
                self._reader.clear()
                self._added = []
            number: _Number | None = None
            if form.number is not None:
                digits = form.number
                number = digits.places.tolist(), digits.scale, digits.negative, digits.leading
            self._reader.add(
                form.words.tobytes()[:length],
                form.fixed.tobytes()[:length],
                (form.time, form.time_length, form.device, form.event, form.home, form.again),
                number,
                form.value,
                hash_description(form.description),
            )
            self._added.append(form)
