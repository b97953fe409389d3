"""Archives of shards: names and order."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kinesis.records import KinesisBatch
from thingbeam.io.s3.archive import to_payloads, to_rows
from thingbeam.io.s3.runs import Run, overlapping, run_name, run_of_name
from thingbeam.schemas.payloads import PayloadBatch

Place = tuple[int, int]
places = st.tuples(st.integers(0, 10**6).map(lambda n: n * 10**50), st.integers(-1, 3))


def batch(some: list[Place], source: str = "events", part: str = "shard=shardId-000000000003") -> KinesisBatch:
    """Records that follow from their places."""
    return KinesisBatch(
        source,
        part,
        np.array([sub for _, sub in some], np.int64),
        [f"{sequence} {sub}".encode() for sequence, sub in some],
        [b"k%d" % (sequence % 7) for sequence, _ in some],
        np.array([sequence // 10**50 % 10**9 * 3 for sequence, _ in some], np.int64),
        [str(sequence) for sequence, _ in some],
    )


@given(st.lists(st.lists(places, min_size=1, max_size=8), min_size=1, max_size=6))
def test_each_record_once_in_the_order_of_the_shard(some: list[list[Place]]) -> None:
    whole = batch(sorted({place for one in some for place in one}))
    assert PayloadBatch.concatenate(map(batch, some)).in_order() == whole
    assert to_payloads(to_rows(whole)) == whole


@given(st.lists(places, min_size=1, max_size=5, unique=True), st.text(min_size=1), st.text(min_size=1))
def test_names_are_read_as_they_are_written(some: list[Place], source: str, part: str) -> None:
    some.sort()
    (first, first_sub), (last, last_sub) = some[0], some[-1]
    name = run_name(batch(some, source, part))
    assert run_of_name(name + ".jsonl.gz") == Run(source, part, (first, first_sub + 1), (last, last_sub + 1))


def test_what_holds_less_has_another_name() -> None:
    ends = [(1, -1), (9, -1)]
    assert run_name(batch(ends)) != run_name(batch([(1, -1), (5, -1), (9, -1)]))
    assert run_name(batch(ends)) == run_name(batch(ends))
    assert run_of_name("events/partition=3/00000000000000700000-00000000000000700003.avro") is None


def test_the_longest_sequence_numbers() -> None:
    name = run_name(batch([(10**128, -1)]))
    found = run_of_name(name + ".avro")
    assert found is not None
    assert found.first == (10**128, 0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(0, 12)), max_size=12))
def test_what_overlaps_is_together_and_nothing_else(spans: list[tuple[str, int, int]]) -> None:
    runs = [(Run("s", part, (first, 0), (first + length, 0)), str(number))
            for number, (part, first, length) in enumerate(spans)]  # fmt: skip
    random.Random(len(spans)).shuffle(runs)
    groups = list(overlapping(runs))
    assert sorted(name for group in groups for name in group) == sorted(name for _, name in runs)
    # By brute force: what shares a record is joined until nothing changes.
    covers = [({(run.part, n) for n in range(run.first[0], run.last[0] + 1)}, {name}) for run, name in runs]
    joined: list[tuple[set[tuple[str, int]], set[str]]] = []
    for cover, names in covers:
        apart = [one for one in joined if not one[0] & cover]
        for one in joined:
            if one[0] & cover:
                cover, names = cover | one[0], names | one[1]
        joined = [*apart, (cover, names)]
    assert sorted(map(sorted, groups)) == sorted(sorted(names) for _, names in joined)
