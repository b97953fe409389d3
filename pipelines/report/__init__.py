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
        directory: what `thingbeam run home --output` was given, on any filesystem that Beam knows.
        output: the file to write, on any of them too; `report.html` in the directory where it is None.
        names: what to call devices and homes by their ids: a mapping, or the path of a JSON object of strings.
            A device without a name goes by the first 8 characters of its id.

    Returns:
        The path of the file.

    Raises:
        ImportError: plotly is not installed; `pip install 'thingbeam[report]'` installs it.
        OSError: the names cannot be read, or the page cannot be written.
        ValueError: one line: the directory holds no results, or one of its files or the names cannot be understood.

    >>> import tempfile
    >>> from thingbeam.io import write_manifest
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     _ = write_manifest(directory, [])
    ...     page = write_report(directory)
    ...     "Nothing to show" in Path(page).read_text(encoding="utf-8")
    True
    """
    from thingbeam.io.files.paths import join, write_file
    from thingbeam.pipelines.report.figures import require_plotly
    from thingbeam.pipelines.report.load import load
    from thingbeam.pipelines.report.page import page

    require_plotly()
    path = join(directory, "report.html") if output is None else output
    write_file(path, page(load(directory), _names(names)).encode())
    return path


def _names(names: Mapping[str, str] | str | os.PathLike[str] | None) -> Mapping[str, str]:
    if names is None or isinstance(names, Mapping):
        return names or {}
    try:
        return msgspec.json.decode(Path(names).read_bytes(), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ValueError(f"{os.fspath(names)}: not a JSON object of names by device id: {error}") from error
