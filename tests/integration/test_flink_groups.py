"""Shards' numbers lie in key groups as Flink and Beam's runner on it say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from apache_beam.coders import VarIntCoder

from stack_fixtures import unavailable
from thingbeam.runners.stack import MissingToolError, StackError
from thingbeam.runners.stack.components import flink_install
from thingbeam.runners.stack.tools import tool
from thingbeam.transforms.spreading import GROUPS, key_group

JAVA = """
import java.nio.ByteBuffer;
import org.apache.beam.runners.flink.adapter.FlinkKey;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;

class Groups {
  public static void main(String[] lines) {
    for (String line : lines) {
      String[] words = line.split(" ");
      ByteBuffer key = ByteBuffer.wrap(java.util.HexFormat.of().parseHex(words[0]));
      System.out.println(KeyGroupRangeAssignment.assignToKeyGroup(FlinkKey.of(key), Integer.parseInt(words[1])));
    }
  }
}
"""


@pytest.mark.slow
def test_key_groups_are_those_of_flink(tmp_path: Path) -> None:
    try:
        java, jar = tool("java"), flink_install.job_server() / "job-server.jar"
    except (MissingToolError, StackError) as error:
        unavailable(str(error))
    asked = [(number, groups) for groups in GROUPS for number in [*range(300), 16383, 16384, (1 << 15) - 1]]
    (tmp_path / "Groups.java").write_text(JAVA)
    lines = [f"{VarIntCoder().encode(number).hex()} {groups}" for number, groups in asked]
    argv = [java, "-cp", str(jar), str(tmp_path / "Groups.java"), *lines]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout
    assert list(map(int, said.split())) == [key_group(number, groups) for number, groups in asked]
