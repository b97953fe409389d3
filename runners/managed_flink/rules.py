"""What AWS takes, checked before anything is sent.

Sources, all in https://docs.aws.amazon.com/managed-flink/latest/java/: how-creating-apps.html (512 MB),
how-resources.html (a KPU is one core and 4 GB), how-scaling.html (parallelism), earlier.html (versions), and the API's
own patterns.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Final

__all__ = ["FLINK", "LARGEST", "PYTHON", "RUNTIME", "check_name", "check_package", "check_parallelism", "kpus"]

LARGEST: Final = 512_000_000
"""Bytes of a package: an application whose code is above 512 MB does not start."""
FLINK: Final = "1.19"
"""The version of Flink that our jars are for."""
RUNTIME: Final = "FLINK-1_19"
"""What AWS calls it."""
PYTHON: Final = "3.11"
"""The Python that AWS has beside Flink 1.19 and 1.20."""

_PER_KPU: Final = range(1, 9)
_KPUS: Final = 64
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_CONTENTS: Final = "THINGBEAM-PYTHON/contents"
_PIPELINE: Final = "BEAM-PIPELINE/pipeline-manifest.json"
_SPLIT: Final = (
    "leave out clients that it does not use (--client kafka alone), and where one application does the work of many, "
    "split it by category: one package for each, joined by topics (docs/managed-flink.md)"
)


def check_name(name: str, what: str = "application") -> str:
    """A name that AWS takes, of an application or a snapshot.

    Raises:
        ValueError: it does not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: 1 to 128 letters, digits and any of _.- are expected")
    return name


def kpus(parallelism: int, per_kpu: int) -> int:
    """KPUs that an application's tasks take; AWS charges one more for its JobManager.

    >>> kpus(1, 1), kpus(12, 4), kpus(13, 4)
    (1, 3, 4)
    """
    return -(-parallelism // per_kpu)


def check_parallelism(parallelism: int, per_kpu: int) -> None:
    """See that AWS runs so many tasks.

    Raises:
        ValueError: it does not.
    """
    if parallelism < 1:
        raise ValueError(f"--parallelism {parallelism}: at least 1")
    if per_kpu not in _PER_KPU:
        raise ValueError(f"--parallelism-per-kpu {per_kpu}: 1 to 8 tasks share a KPU (1 vCPU, 4 GB)")
    needed = kpus(parallelism, per_kpu)
    if needed > _KPUS:
        raise ValueError(
            f"--parallelism {parallelism}: that is {needed} KPUs, and an application has {_KPUS}; let more tasks share "
            "one (--parallelism-per-kpu), or ask AWS for a higher quota"
        )


def check_package(package: Path) -> None:
    """See that a file is a package of ours that AWS takes.

    Raises:
        ValueError: it is not; one line that says what to do.
        OSError: it cannot be read.
    """
    size = package.stat().st_size
    if size > LARGEST:
        raise ValueError(
            f"{package}: {size / 1e6:,.0f} MB, and AWS takes {LARGEST / 1e6:.0f} at most "
            f"({_largest(package)}); {_SPLIT}"
        )
    try:
        with zipfile.ZipFile(package) as file:
            names = set(file.namelist())
    except zipfile.BadZipFile:
        raise ValueError(f"{package}: it is no jar; make one with `thingbeam managed-flink package`") from None
    for entry, what in ((_PIPELINE, "pipeline"), (_CONTENTS, "Python environment")):
        if entry not in names:
            raise ValueError(f"{package}: there is no {what} in it; make it with `thingbeam managed-flink package`")


def _largest(package: Path) -> str:
    """The largest parts of a package, those that its user chose."""
    sizes: Counter[str] = Counter()
    try:
        with zipfile.ZipFile(package) as file:
            for entry in file.infolist():
                part = entry.filename.split("/")[0] if entry.filename.startswith("THINGBEAM") else "Java classes"
                sizes[part] += entry.compress_size
    except zipfile.BadZipFile:
        return "it is no jar"
    shown = {"THINGBEAM-PYTHON": "Python environment"}
    return ", ".join(f"{shown.get(part, part)} {size / 1e6:,.0f} MB" for part, size in sizes.most_common(3))
