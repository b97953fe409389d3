"""Importing the connector imports no client, and without one the message says what to install."""

from __future__ import annotations

import pytest

import thingbeam.io.hbase
from structure import python

WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("happybase", "thriftpy2"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Blocked())
from thingbeam.io.hbase import HBaseConfig, TableLayout
from thingbeam.io.hbase.uris import parse_hbase_uri
parse_hbase_uri("hbase://h:1/t")
from thingbeam.io.hbase import ReadFromHBase, WriteToHBase
def lookup():
    from thingbeam.io.hbase import HBaseLookup
for make in (lambda: WriteToHBase("h:1", "t", families=("d",)), lambda: ReadFromHBase("h:1", "t"), lookup):
    try:
        make()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_the_client_it_says_what_to_install() -> None:
    done = python("-c", WITHOUT)
    assert done.returncode == 0, done.stderr
    names = ("WriteToHBase", "ReadFromHBase", "HBaseLookup")
    assert done.stdout.splitlines() == [f"{name} needs happybase: pip install 'thingbeam[hbase]'" for name in names]


def test_importing_imports_no_client() -> None:
    line = "import sys, thingbeam.io.hbase; print({'happybase', 'thriftpy2'} & set(sys.modules))"
    assert python("-c", line).stdout.strip() == "set()"


def test_every_public_name_is_there() -> None:
    for name in thingbeam.io.hbase.__all__:
        assert getattr(thingbeam.io.hbase, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = thingbeam.io.hbase.nothing
