"""From events to one batch per shard: which shard, what is left out, what the batch's time is."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.window import FixedWindows, GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from columnar import HOUR, said, seconds, sign
from pipelines_under_test import Given, Ran, run
from thingbeam.schemas import DeadLetter, Event, EventBatch
from thingbeam.schemas.batch import Description
from thingbeam.transforms import CapabilityTable, HomeZones
from thingbeam.transforms.capabilities import Entry
from thingbeam.transforms.rules.roles import Role
from thingbeam.transforms.sharding import ShardBatches, ShardEvents, is_ignored
from thingbeam.transforms.spreading import shard_numbers

TABLE = CapabilityTable([Entry("power", "power", Role("measurement")), Entry("version", "version", Role("ignored"))])
NUMBERS = (17, 11, 9, 42, 71, 59, 25, 31, 430, 77, 28, 79)
"""Of twelve shards: see tests/unit/transforms/test_spreading.py."""
GOLDEN = {"a35021ab-b7b1-5bee-9a0a-2edef36b0fbd": 9, "f50cd826-f963-5680-8d45-26b23846bb11": 2, "lamp": 1, "évt": 5}
ZONES = HomeZones("UTC", {"h2": "Asia/Kolkata"})


class Stamp(beam.DoFn):
    """Elements with their timestamp and window."""

    def process(
        self, element: Any, at: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[tuple[Any, Timestamp, Any]]:
        yield element, at, window


def sharded(
    given: Sequence[Any], element_type: Any, shards: int = 4, table: CapabilityTable | None = TABLE, before: Any = None
) -> Ran:
    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        elements = pipeline | Given(given, element_type)
        if before is not None:
            elements = elements | before
        batches, dead = elements | ShardEvents(shards, ZONES, table)
        return {"batches": batches | beam.ParDo(Stamp()), "dead": dead}

    return run(build)


def parts(found: Ran) -> list[tuple[int, list[Event]]]:
    return [(shard, batch.to_events()) for (shard, batch), _, _ in found.elements["batches"]]


def ids(events: Sequence[Event]) -> list[str]:
    return [event.event_id for event in events]


@pytest.mark.parametrize("as_batches", [False, True])
def test_each_event_is_in_the_shard_of_its_device(as_batches: bool) -> None:
    events = [said(at, 1.0, device=f"d{at % 50}", home_id=f"h{at % 3}") for at in range(500)]
    groups = [EventBatch.from_events(events[at : at + 100]) for at in range(0, 500, 100)]
    found = sharded(groups, EventBatch) if as_batches else sharded(events, Event)
    shards_of: dict[str | None, set[int]] = {}
    for shard, part in parts(found):
        assert shard in shard_numbers(4)
        # Rows keep their order.
        assert ids(part) == sorted(ids(part))
        for event in part:
            shards_of.setdefault(event.device_id, set()).add(shard)
    assert all(len(shards) == 1 for shards in shards_of.values())
    assert set.union(*shards_of.values()) == set(shard_numbers(4))
    assert Counter(event for _, part in parts(found) for event in part) == Counter(events)


def test_a_shard_is_the_same_in_every_process_and_release() -> None:
    """State is kept by shard: these numbers may never change."""
    devices = ["a35021ab-b7b1-5bee-9a0a-2edef36b0fbd", "f50cd826-f963-5680-8d45-26b23846bb11", "lamp", "évt"]
    [*found] = sharded([said(0, 1.0, device=device) for device in devices], Event, 12).elements["batches"]
    shards = {event.device_id: shard for (shard, batch), _, _ in found for event in batch.to_events()}
    assert shards == {device: NUMBERS[place] for device, place in GOLDEN.items()}


def test_the_golden_shards() -> None:
    """Worked out from the definition: SplitMix64's finaliser, https://prng.di.unimi.it/splitmix64.c, modulo 12."""

    def finalise(word: int) -> int:
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        return word ^ (word >> 31)

    for device, shard in GOLDEN.items():
        try:
            key = uuid.UUID(device).int
        except ValueError:
            key = int.from_bytes(hashlib.blake2b(device.encode(), digest_size=16).digest(), "big")
        high, low = key >> 64, key % 2**64
        mixed = finalise(finalise((high + 0x9E3779B97F4A7C15) % 2**64) ^ low)
        assert mixed % 12 == shard, (device, mixed % 12)


@pytest.mark.parametrize("as_batches", [False, True])
def test_a_batch_has_the_time_of_its_earliest_row_in_one_window_of_all_time(as_batches: bool) -> None:
    """Whatever windows a user has: a batch stamped by its oldest row would be dropped whole as late by those."""
    events = [said(at, 1.0, device=f"d{at % 7}") for at in (50, 20, 900, 10, 3 * HOUR, 40)]
    windows = beam.WindowInto(FixedWindows(60))
    given = [EventBatch.from_events(events)] if as_batches else events
    found = sharded(given, EventBatch if as_batches else Event, before=windows)
    for (_, batch), at, window in found.elements["batches"]:
        assert at == min(event.event_time for event in batch.to_events())
        assert isinstance(window, GlobalWindow)


def test_zones_are_known_before_the_shuffle() -> None:
    events = [said(0, 1.0, device="d1", home_id="h1"), said(0, 1.0, device="d1", home_id="h2")]
    [(_, batch)] = [element for element, _, _ in sharded(events, Event).elements["batches"]]
    zones = [batch.names.descriptions[word].zone for word in batch.rows["description"].tolist()]
    assert zones == ["UTC", "Asia/Kolkata"]


def test_what_no_rule_looks_at_is_counted_and_left_out() -> None:
    events = [
        said(1, 1.0, event_id="kept"),
        said(2, "1.2", "version", event_id="ignored by the table"),
        said(3, 1.0, device=None, event_id="of no device"),
        said(4, None, "unheard of", event_id="of no known type"),
        said(5, 1.0, "unheard of", event_id="a number is a measurement"),
        sign(6, event_id="a sign of life"),
        said(7, "1.3", "version", kind="DEVICE_HEALTH_EVENT", event_id="a sign of life, too"),
    ]
    for found in (sharded(events, Event), sharded([EventBatch.from_events(events)], EventBatch)):
        kept = {event.event_id for _, part in parts(found) for event in part}
        assert kept == {"kept", "a number is a measurement", "a sign of life", "a sign of life, too"}
        assert found.counts["ignored"] == 3
    everything = sharded(events, Event, table=None)
    assert {event.event_id for _, part in parts(everything) for event in part} == set(ids(events))
    assert everything.counts["ignored"] == 0


def test_a_batch_of_which_nothing_is_left_is_none() -> None:
    found = sharded([EventBatch.from_events([said(0, "1.2", "version")]), EventBatch.from_events([])], EventBatch)
    assert found.elements["batches"] == []


def test_what_is_ignored() -> None:
    def about(kind: str, attribute: str) -> bool:
        return is_ignored(Description(kind, "main", attribute, attribute, "string", None, None, None, None), TABLE)

    assert [about(kind, "version") for kind in ("DEVICE_EVENT", "MATTER_ATTRIBUTE", "MATTER_EVENT")] == [True] * 3
    assert not about("DEVICE_HEALTH_EVENT", "version")
    assert not about("DEVICE_EVENT", "power")


def test_events_are_gathered_by_the_thousand_and_none_is_left() -> None:
    """In one bundle a batch for each 4096 events, and one for the rest."""
    events = [said(at, 1.0, device="d1") for at in range(10_000)]
    found = sharded(events, Event)
    sizes = [len(part) for _, part in parts(found)]
    assert sizes == [4096, 4096, 10_000 - 2 * 4096]
    assert sorted(itertools.chain(*(ids(part) for _, part in parts(found)))) == ids(events)


def test_what_is_no_event_is_a_dead_letter_and_the_rest_goes_on() -> None:
    given = [said(0, 1.0, event_id="a"), {"deviceId": "d1", "authToken": "secret-1"}, said(1, 1.0, event_id="b")]
    found = sharded(given, Any)
    assert [ids(part) for _, part in parts(found)] == [["a", "b"]]
    [letter] = found.elements["dead"]
    assert isinstance(letter, DeadLetter)
    assert (letter.code, letter.step) == ("not_an_event", "GatherEvents")
    assert b"deviceId" in letter.payload
    assert b"secret-1" not in letter.payload
    assert found.counts["dead_letters"] == 1


def test_a_time_of_the_user_is_no_hindrance() -> None:
    """Elements may carry any timestamp: the batch has the events' own."""
    late = beam.Map(lambda event: TimestampedValue(event, event.event_time + 3600)).with_output_types(Event)
    found = sharded([said(0, 1.0)], Event, before=late)
    assert [seconds(at) for _, at, _ in found.elements["batches"]] == [0]


@pytest.mark.parametrize("shards", [1, 1 << 15])
def test_as_many_shards_as_can_be(shards: int) -> None:
    [(shard, _)] = parts(sharded([said(0, 1.0)], Event, shards))
    assert 0 <= shard < shards


@pytest.mark.parametrize("shards", [0, -3, (1 << 15) + 1])
def test_a_number_of_shards_that_cannot_be(shards: int) -> None:
    with pytest.raises(ValueError, match=f"shards={shards}: from 1 to 32768"):
        ShardEvents(shards, ZONES, TABLE)


def test_small_batches_of_a_bundle_go_together_and_no_more_than_some_thousand_rows_wait() -> None:
    cutter = ShardBatches(1, ZONES, None)
    small = [EventBatch.from_events([said(at, 1.0), said(at + 1, 1.0)]) for at in range(0, 100, 2)]
    large = EventBatch.from_events([said(at, 1.0) for at in range(5000, 9096)])
    cutter.start_bundle()
    assert [found for batch in small for found in cutter.process(batch)] == []
    [first] = cutter.process(large)
    assert (len(first.value[1]), first.timestamp) == (100 + 4096, said(0, 1.0).event_time)
    assert list(cutter.process(small[3])) == []
    [rest] = cutter.finish_bundle()
    assert (len(rest.value[1]), rest.timestamp) == (2, said(6, 1.0).event_time)
    assert list(cutter.finish_bundle()) == []


def test_what_a_bundle_that_failed_had_gathered_is_not_in_the_next() -> None:
    cutter = ShardBatches(1, ZONES, None)
    assert list(cutter.process(EventBatch.from_events([said(1, 1.0)]))) == []
    cutter.start_bundle()
    assert list(cutter.finish_bundle()) == []
