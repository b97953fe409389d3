"""The report: one HTML page, with nothing loaded from outside, made from what a run wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["write_report"]


def write_report(
    directory: str, output: str | None = None, *, names: Mapping[str, str] | str | os.PathLike[str] | None = None
) -> str:
    """Write the report of a results directory.

    The page holds everything that it shows, plotly.js included, and may be opened, mailed or archived as one file of
    about 5 MB. It shows the newest revision of each key. Writing replaces the file in one step, so a reader never
    sees half of it.

    Args:
        directory: what `thingbeam run home --output` was given, a local directory.
        output: the file to write; `report.html` in the directory where it is None.
        names: what to call devices and homes by their ids: a mapping, or the path of a JSON object of strings.
            A device without a name goes by the first 8 characters of its id.

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: the directory, a file its manifest lists, or the names' file does not exist.
        ImportError: plotly is not installed; `pip install 'thingbeam[report]'` installs it.
        ValueError: account.json, manifest.json or the names' file is not what it should be.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as empty:
    ...     page = write_report(empty)
    ...     "Nothing to show" in Path(page).read_text(encoding="utf-8")
    True
    """
    from thingbeam.pipelines.report.load import load
    from thingbeam.pipelines.report.page import page

    path = Path(directory) / "report.html" if output is None else Path(output)
    text = page(load(directory), _names(names))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return str(path)


def _names(names: Mapping[str, str] | str | os.PathLike[str] | None) -> Mapping[str, str]:
    if names is None or isinstance(names, Mapping):
        return names or {}
    try:
        return msgspec.json.decode(Path(names).read_bytes(), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ValueError(f"{os.fspath(names)}: not a JSON object of names by device id: {error}") from error
