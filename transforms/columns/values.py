"""Values of rows as numbers or as states."""

from __future__ import annotations

import math

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from thingbeam.schemas.batch import Description
from thingbeam.schemas.names import Words, hash_text
from thingbeam.schemas.records import Event
from thingbeam.transforms.columns.rows import Bools, Floats, Ints, SortedRows, distinct_codes
from thingbeam.transforms.rules.roles import number_of, number_text

__all__ = ["numbers", "state_words"]


def state_words(rows: SortedRows, at: Ints) -> tuple[Words, dict[int, str]]:
    """The states of some rows as hashes of their text, 0 where the value is no state; and those texts.

    Booleans are true and false, numbers their shortest digits; JSON, null and numbers that are not finite are none.
    """
    # A type that nothing has, so that there is something to index even where there are no descriptions.
    types = np.array([*(d.value_type for d in rows.descriptions), ""])
    codes, value = rows.description.take(at), rows.value.take(at)
    words = np.where((types == "string").take(codes), value, np.uint64(0))
    table: dict[int, str] = {}
    for word in distinct_codes(words)[0].tolist():
        if word:
            table[word] = rows.names.texts[word]
    for kind, text_of in (("boolean", _truth), ("number", number_text)):
        mask = (types == kind).take(codes)
        if mask.any():
            bits, inverse = np.unique(value[mask], return_inverse=True)
            found: list[int] = []
            for number in bits.view(np.float64).tolist():
                text = text_of(number) if math.isfinite(number) else None
                word = hash_text(text)
                found.append(word)
                if text is not None:
                    table[word] = text
            words[mask] = np.array(found, np.uint64)[inverse]
    return words, table


def _truth(number: float) -> str:
    return "true" if number else "false"


def numbers(rows: SortedRows, at: Ints, fields: list[str | None]) -> tuple[Floats, Bools]:
    """The numbers of some rows, and which of those are finite numbers at all.

    Args:
        rows: the rows.
        at: which of them.
        fields: for each description, the member of a JSON object that is the number.
    """
    codes = rows.description[at]
    value = np.ascontiguousarray(rows.value[at]).view(np.float64).copy()
    plain = np.array([d.value_type == "number" for d in rows.descriptions], np.bool_)
    good = plain[codes] & np.isfinite(value) if len(at) else np.zeros(0, np.bool_)
    for code, (field, d) in enumerate(zip(fields, rows.descriptions, strict=True)):
        if field is None or d.value_type != "json":
            continue
        here = np.flatnonzero(codes == code)
        words, inverse = np.unique(rows.value[at[here]], return_inverse=True)
        found = [_member(d, rows.names.texts[word], field) for word in words.tolist()]
        value[here] = np.array([np.nan if number is None else number for number in found])[inverse]
        good[here] = np.isfinite(value[here])
    return value, good


def _member(d: Description, text: str, field: str) -> float | None:
    event = Event("", Timestamp(0), None, d.kind, d.component, d.capability, d.attribute, d.value_type, text)
    return number_of(event, field)
