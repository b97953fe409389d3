"""All sinks of stores beside bare loops of their clients; in processes of their own, since clients differ in a lot."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from beside import Beside

__all__ = ["STORES", "stores"]

STORES = ("dynamodb", "hbase", "kafka", "kinesis", "s3")


def measure(store: str, turns: int) -> list[Beside]:
    """One store's. Its client is imported here."""
    if store == "dynamodb":
        import dynamodb

        return dynamodb.measure(10_000, turns)
    if store == "hbase":
        import hbase

        return [*hbase.measure(20_000, turns, 1, distinct=False), *hbase.measure(20_000, turns, 2, distinct=True)]
    if store == "kafka":
        import kafka_rates

        return list(kafka_rates.measure(1_000_000, turns))
    if store == "kinesis":
        import kinesis

        return kinesis.measure(20_000, turns)
    import s3_rates

    return [*s3_rates.measure("jsonl", 8, 50_000, turns), *s3_rates.measure("parquet", 12, 50_000, turns)]


def stores(folder: Path, turns: int, only: Sequence[str]) -> list[Beside]:
    """What each store's process has said. On all cores, since a server works beside it.

    Args:
        folder: for what they say.
        turns: of each side.
        only: which stores; all if none.

    Raises:
        SystemExit: one failed.
    """
    found: list[Beside] = []
    for store in only or STORES:
        said = folder / f"{store}.json"
        if status := subprocess.run([sys.executable, __file__, store, str(turns), str(said)], check=False).returncode:
            raise SystemExit(f"bench: {store} ended with {status}")
        found += [Beside(**each) for each in json.loads(said.read_text())]
    return found


def main() -> None:
    """Measure one and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=STORES)
    parser.add_argument("turns", type=int)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    found = measure(given.store, given.turns)
    for one in found:
        print(one.lines(), flush=True)
    given.output.write_text(json.dumps([one._asdict() for one in found]))


if __name__ == "__main__":
    main()
