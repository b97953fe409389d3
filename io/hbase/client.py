"""That HBase's client is installed is asked when a transform is made, not when this package is imported."""

from __future__ import annotations

import importlib

__all__ = ["require_client"]


def require_client(what: str) -> None:
    """See that happybase can be imported.

    Raises:
        ModuleNotFoundError: it cannot; the message says what to install.
    """
    try:
        importlib.import_module("happybase")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{what} needs happybase: pip install 'thingbeam[hbase]'", name=error.name) from error
