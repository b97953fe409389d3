"""Values of a URI's query: how texts are read, and what is said of those that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["Readers", "boolean", "count", "number", "one_of", "read_options"]

Readers = Mapping[str, Callable[[str], Any]]
"""By an option's name, what makes its value of its text, or raises ValueError with what is expected."""

_BOOLS: Final = {"true": True, "false": False}


def boolean(text: str) -> bool:
    """`true` or `false`.

    Raises:
        ValueError: neither.
    """
    if text.lower() not in _BOOLS:
        raise ValueError("true or false")
    return _BOOLS[text.lower()]


def count(text: str) -> int:
    """A whole number from 1.

    Raises:
        ValueError: it is none.
    """
    if not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number from 1")
    return int(text)


def number(text: str) -> float:
    """A number.

    Raises:
        ValueError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def one_of(*words: str) -> Callable[[str], str]:
    """One of some words.

    >>> one_of("json", "avro")("avro")
    'avro'
    """

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return read


def read_options(where: str, query: Mapping[str, str], readers: Readers) -> dict[str, Any]:
    """The values of those options that a query gives.

    Args:
        where: the URI, for a person, without its query.
        query: texts by name; others than the readers' are passed over.
        readers: by name.

    Raises:
        ValueError: a value that cannot be; one line.

    >>> read_options("kafka://b/t", {"attempts": "3", "auth": "plain"}, {"attempts": count})
    {'attempts': 3}
    >>> read_options("kafka://b/t", {"attempts": "x"}, {"attempts": count})
    Traceback (most recent call last):
    ...
    ValueError: kafka://b/t: attempts=x: a whole number from 1
    """
    options: dict[str, Any] = {}
    for name, read in readers.items():
        if name in query:
            try:
                options[name] = read(query[name])
            except ValueError as error:
                raise ValueError(f"{where}: {name}={query[name]}: {error}") from None
    return options
