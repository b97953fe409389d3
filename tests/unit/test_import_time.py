"""What importing thingbeam costs beyond importing Beam."""

from __future__ import annotations

import json
import statistics

from structure import python

LIMIT_S = 0.3
RUNS = 5
# Heavy, and not needed to build a pipeline: pandas and polars are nobody's dependency here, the others are extras.
UNWANTED = ("boto3", "confluent_kafka", "happybase", "pandas", "plotly", "polars", "selenium")

MEASURE = """
import json, sys, time
import apache_beam
before, known = time.perf_counter(), set(sys.modules)
import thingbeam, thingbeam.schemas, thingbeam.transforms, thingbeam.io
after = time.perf_counter()
print(json.dumps({"seconds": after - before, "modules": sorted(set(sys.modules) - known)}))
"""


def measure() -> tuple[float, set[str]]:
    """Seconds, and the modules that came, of importing thingbeam where Beam is imported already."""
    done = python("-c", MEASURE)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    return float(result["seconds"]), set(result["modules"])


def test_import_adds_little_to_beams_own() -> None:
    measure()  # writes the bytecode
    seconds = [measure()[0] for _ in range(RUNS)]
    assert statistics.median(seconds) < LIMIT_S, seconds


def test_import_brings_no_heavy_library() -> None:
    _, came = measure()
    assert {name for name in came if name.split(".")[0] in UNWANTED} == set()
