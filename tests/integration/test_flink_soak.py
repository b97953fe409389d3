"""A stream that goes on and on: memory of workers and TaskManagers, Flink's state and lag level off.

`scripts/bench soak` is the same for an hour. Here most of a day of event time goes by in a minute and a half. Leaks,
tried for a minute on a busy machine: a list in the workers with a hundred bytes of each event, 62 MB more
where 7 are usual; a state with an id of each event, checkpoints of 1.6 MB more where they are usually none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from stack_fixtures import Broker, Cluster
from structure import CHECKOUT

sys.path.append(str(CHECKOUT / "benchmarks"))
from soak import Plan, Soak, Soaked, table_of

SECONDS = float(os.environ.get("THINGBEAM_TEST_SECONDS", "90"))
PLAN = Plan(minutes=SECONDS / 60, rate=5000, speed=600, every=1.5, collections=24, warm=0.3)
WORKERS_MB = 20.0
HEAP_MB = 8.0
STATE_MB = 1.0
BEHIND_S = 60.0


def assert_level(soaked: Soaked) -> None:
    """The last quarter has no more than the second, but for what a collector or an arena may still hold."""
    for manager in ("taskmanager-1", "taskmanager-2"):
        in_use = soaked.trend(f"{manager}, heap in use")
        assert in_use.last - in_use.second < HEAP_MB, in_use
    workers, state = soaked.trend("workers, RSS"), soaked.trend("checkpoint")
    assert workers.last - workers.second < WORKERS_MB, workers
    assert state.last - state.second < STATE_MB, state


@pytest.mark.slow
def test_memory_and_state_level_off(flink: Cluster, kafka: Broker, tmp_path: Path) -> None:
    soaked = Soak(PLAN, flink.stack, kafka.stack, tmp_path).run()
    Console(width=110).print(table_of(soaked))
    assert_level(soaked)
    assert soaked.restarts == 0
    assert soaked.behind < BEHIND_S
