"""thingbeam, as it is installed here, as a wheel: what workers that do not have it install."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from thingbeam import __version__
from thingbeam.runners.packaging.environment import NEEDED, own_files

__all__ = ["write_wheel"]


def write_wheel(folder: Path) -> Path:
    """Writes the wheel (https://packaging.python.org/specifications/binary-distribution-format).

    Args:
        folder: where it goes.

    Returns:
        Its path, named as wheels are.
    """
    info = f"thingbeam-{__version__}.dist-info"
    metadata = ["Metadata-Version: 2.1", "Name: thingbeam", f"Version: {__version__}", *_requirements()]
    tags = ["Wheel-Version: 1.0", "Generator: thingbeam", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    entries = {f"thingbeam/{name}": content for name, content in own_files()}
    entries[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    entries[f"{info}/WHEEL"] = ("\n".join(tags) + "\n").encode()
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in entries.items())
    entries[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"thingbeam-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def _requirements() -> list[str]:
    """What it needs, with its extras; of a checkout that is only on the path, what every worker needs."""
    try:
        needed = requires("thingbeam") or []
    except PackageNotFoundError:
        needed = list(NEEDED)
    # Each requirement of an extra has a marker that names it.
    return [f"Requires-Dist: {one}" for one in needed]


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
