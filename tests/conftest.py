"""What every test may ask for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import setuptools  # noqa: F401 - before anything imports the standard library's distutils, which it replaces
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parents[1]
UNIT = CHECKOUT / "tests" / "unit"

# A loaded machine is no failure. In CI the same examples every time: a red run is then the change's own doing.
settings.register_profile("person", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "person")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is not a unit test is an integration test, so that `scripts/test unit` needs no servers."""
    for item in items:
        if not item.path.is_relative_to(UNIT):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def no_flags_for_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps pytest's own flags from Beam, which reads sys.argv wherever options are not given."""
    monkeypatch.setattr(sys, "argv", ["thingbeam-tests"])


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top folder of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `shared/data` beside the checkout, or THINGBEAM_SHARED_DATA.

    The data is not part of the project. Without it the tests that read it are skipped, except in CI, where its
    absence is a failure.
    """
    folder = Path(os.environ.get("THINGBEAM_SHARED_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        message = f"no real data at {folder}; THINGBEAM_SHARED_DATA names another folder"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture
def fn_api_runner() -> FnApiRunner:
    """Beam's embedded runner for bounded pipelines, by name: what DirectRunner picks depends on the pipeline."""
    return FnApiRunner()


from stack_fixtures import (  # noqa: E402  # fixtures of real servers
    dynamodb,  # noqa: F401
    dynamodb_on_disk,  # noqa: F401
    flink,  # noqa: F401
    flink_rocksdb,  # noqa: F401
    hbase,  # noqa: F401
    kafka,  # noqa: F401
    kinesis,  # noqa: F401
    kinesis_local,  # noqa: F401
    registry,  # noqa: F401
    s3,  # noqa: F401
    s3_far,  # noqa: F401
    secured_hbase,  # noqa: F401
    secured_kafka,  # noqa: F401
)
