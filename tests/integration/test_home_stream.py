"""The month of the real house as an endless stream, against the bounded answer.

TestStream sends one batch a bundle and moves the watermark after each. DeviceHistory, whose input is unbounded here,
then works in ExactPass, with state and timers. The allowed lateness is 0 in all of these, so that nothing but the
watermark's trail decides what is late:

- A line that comes after one newer by at most the trail has an event time at or after the watermark, and a slice is
  closed only when the watermark is at or past its end. So in order with any trail, and shuffled within 10 minutes with
  a trail of 10, nothing is late.
- A trail of 1 minute and a shuffle of 10 lose what `Gate`, below, works out by itself.

The month goes through in batches of a quarter of an hour or so and slices of 15 minutes. Batches and slices of a minute
would take BundleBasedDirectRunner eight minutes for a month, so those are tried on three days.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apache_beam.utils.timestamp import Timestamp

from comparison import assert_same
from house import DEVICES, EVENTS, SECOND, ZONE, Line, read_lines, shuffled
from pipelines_under_test import Given, Ran, a_stream, assert_accounted, key_of, of_type, run, run_stream
from thingbeam.schemas import Blob, Event, EventBatch
from thingbeam.transforms import DeviceHistory, HomeZones, ParseEvents

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
RESULTS = ("activities", "sessions", "usage")


@pytest.fixture(scope="module")
def month(shared_data: Path) -> list[Line]:
    return read_lines(shared_data)


@pytest.fixture(scope="module")
def three_days(month: list[Line]) -> list[Line]:
    return [line for line in month if line.time < month[0].time + 3 * DAY]


def built(source: Any, slice_length: str, hold_until: int | None = None) -> dict[str, Any]:
    history = DeviceHistory(
        zones=HomeZones(ZONE), batches=True, allowed_lateness="0s", horizon="60s", slice_length=slice_length,
        backlog_slice=slice_length, hold_until=hold_until,
    )  # fmt: skip
    parsed = source | ParseEvents(batches=True)
    found = parsed.events | history
    return found._asdict() | {"unparsed": parsed.dead_letters}


def blobs(lines: Sequence[Line]) -> list[Blob]:
    return [Blob("month", 0, b"".join(line.data for line in lines))]


def streamed(bundles: Sequence[Sequence[Line]], trail: int, slice_length: str) -> Ran:
    stream = a_stream(bundles, lambda line: line.time, trail, blobs)
    return run_stream(lambda pipeline: built(of_type(pipeline | stream, Blob), slice_length))


def bounded(lines: Sequence[Line], hold_until: int | None = None) -> Ran:
    groups = [blobs(lines[at : at + 4000])[0] for at in range(0, len(lines), 4000)]
    return run(lambda pipeline: built(pipeline | Given(groups, Blob), "60s", hold_until))


def by_size(lines: Sequence[Line], size: int) -> list[Sequence[Line]]:
    return [lines[at : at + size] for at in range(0, len(lines), size)]


def by_minute_of_arrival(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines in order, cut where the newest event time goes on to another minute."""
    found: list[list[Line]] = []
    newest = -1
    for line in lines:
        if line.time > newest:
            newest = line.time
            found.append([])
        found[-1].append(line)
    return found


def assert_equal_to_bounded(found: Ran, lines: Sequence[Line]) -> None:
    """The latest upserts are those of the bounded job.

    A stream goes on after its last event: values are held for 24 h, and what runs ends by its maximum length. Told to
    hold values for as long, the bounded job gives the very same rows. And of those it gives when told nothing, a stream
    gives each, and beside them only rows of silent hours.
    """
    last = max(line.time for line in lines)
    held, plain = bounded(lines, hold_until=last + 40 * DAY), bounded(lines)
    for name in RESULTS:
        assert_same(found.latest(name), held.records(name))
    for name in ("activities", "sessions"):
        assert {key_of(row) for row in found.latest(name)} == {key_of(row) for row in plain.records(name)}
    ended = [row for row in plain.records("activities") if row.end is not None]
    running = {key_of(row) for row in plain.records("activities")} - {key_of(row) for row in ended}
    assert_same([row for row in found.latest("activities") if key_of(row) not in running], ended)
    keys = {key_of(row) for row in plain.records("usage")}
    assert_same([row for row in found.latest("usage") if key_of(row) in keys], plain.records("usage"))
    extra = Counter((row.device_id, row.attribute) for row in found.latest("usage") if key_of(row) not in keys)
    # The hours after that of the device's last event that begin less than 24 h after it.
    spoke = {device: max(row.last for row in plain.records("sessions") if row.device_id == device)
             for device in DEVICES.values()}  # fmt: skip
    silent = {
        device: len(range(at.micros // HOUR * HOUR + HOUR, at.micros + DAY, HOUR)) for device, at in spoke.items()
    }
    series = {(row.device_id, row.attribute) for row in plain.records("usage")}
    assert extra == {(device, attribute): silent[device] for device, attribute in series}
    assert {row.count for row in found.latest("usage") if key_of(row) not in keys} == {0}


def assert_all_done(found: Ran, lines: int, repeats: int, late: int = 0) -> None:
    assert_accounted(found.counts)
    assert found.counts["lines"] == lines
    assert found.counts["late"] == late == len(found.records("late"))
    if not late:
        assert found.counts["duplicates"] == repeats
    assert found.counts["dead_letters"] == found.counts["ignored"] == 0
    assert not found.elements["dead_letters"] + found.elements["unparsed"]
    assert found.cells == found.timers == []


@pytest.mark.slow
def test_the_month_in_order(month: list[Line]) -> None:
    found = streamed(by_size(month, 40), 2 * MINUTE, "15m")
    assert_all_done(found, EVENTS, 0)
    assert_equal_to_bounded(found, month)


@pytest.mark.slow
def test_the_month_shuffled(month: list[Line]) -> None:
    arrivals = shuffled(month, random.Random(11))
    found = streamed(by_size(arrivals, 40), 10 * MINUTE, "15m")
    assert_all_done(found, len(arrivals), len(arrivals) - EVENTS)
    assert_equal_to_bounded(found, month)


@pytest.mark.slow
def test_in_order_minute_by_minute(three_days: list[Line]) -> None:
    found = streamed(by_minute_of_arrival(three_days), 2 * MINUTE, "60s")
    assert_all_done(found, len(three_days), 0)
    assert_equal_to_bounded(found, three_days)


@pytest.mark.slow
def test_shuffled_minute_by_minute(three_days: list[Line]) -> None:
    arrivals = shuffled(three_days, random.Random(12))
    found = streamed(by_minute_of_arrival(arrivals), 10 * MINUTE, "60s")
    assert_all_done(found, len(arrivals), len(arrivals) - len(three_days))
    assert_equal_to_bounded(found, three_days)


@dataclasses.dataclass
class Gate:
    """Up to where one shard has closed its slices, from the rule alone.

    A shard sleeps until the watermark is at the end of a slice in which there is something to do, and then closes all
    slices before it: one in which rows wait, or in which something that it remembers is over: an event id is forgotten
    (just after the horizon of 60 s), a session ends (10 min after the last event), or an hour does (while values are
    held). No switch of this house is on for the 24 h after which an activity would be over.
    """

    slice: int
    closed: int = -(1 << 62)
    waiting: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    recent: list[int] = dataclasses.field(default_factory=list)
    last: dict[str, int] = dataclasses.field(default_factory=dict)

    def takes(self, device: str, time: int) -> bool:
        """Whether an event that comes now is in time."""
        if time < self.closed:
            return False
        self.waiting.append((device, time))
        return True

    def watermark(self, at: int) -> None:
        """The watermark is here now."""
        while (wake := min(self._moments(), default=at + 1)) <= at:
            self.closed = wake
            for device, time in self.waiting:
                if time < wake:
                    self.last[device] = max(time, self.last.get(device, time))
                    self.recent.append(time)
            self.waiting = [(device, time) for device, time in self.waiting if time >= wake]
            self.recent = [time for time in self.recent if time + MINUTE >= wake]

    def _moments(self) -> Iterator[int]:
        """The ends of slices in which there is something to do."""
        yield from (time // self.slice * self.slice + self.slice for _, time in self.waiting)
        over = [time + MINUTE + 1 for time in self.recent]
        over += [last + 10 * MINUTE for last in self.last.values() if last + 10 * MINUTE > self.closed]
        over += [self.closed // HOUR * HOUR + HOUR] * bool(self.last)
        yield from (-(-moment // self.slice) * self.slice for moment in over)


def late_of(bundles: Sequence[Sequence[Line]], trail: int, slice_length: int) -> list[Line]:
    """The lines whose slice is closed when they come."""
    # A device is in the shard that it is in: which devices share one is no question of time.
    ids = EventBatch.from_events([Event.of("e", Timestamp(0), device, "c", "a", None) for device in DEVICES.values()])
    shard_of = {event.device_id: shard for shard, part in ids.shards(12) for event in part.to_events()}
    gates: dict[int, Gate] = defaultdict(lambda: Gate(slice_length))
    late, newest = [], 0
    for bundle in bundles:
        for line in bundle:
            device = msgspec.json.decode(line.data)["deviceEvent"]["deviceId"]
            if not gates[shard_of[device]].takes(device, line.time):
                late.append(line)
        newest = max(newest, *(line.time for line in bundle))
        for gate in gates.values():
            gate.watermark(newest - trail)
    return late


def events_of(lines: Sequence[Line]) -> Counter[tuple[int, str]]:
    return Counter((line.time, msgspec.json.decode(line.data)["deviceEvent"]["eventId"]) for line in lines)


def assert_loses_only(arrivals: Sequence[Line], bundles: Sequence[Sequence[Line]], slice_s: int, some: int) -> None:
    late = late_of(bundles, MINUTE, slice_s * SECOND)
    assert len(late) > some
    found = streamed(bundles, MINUTE, f"{slice_s}s")
    assert Counter((event.event_time.micros, event.event_id) for event in found.records("late")) == events_of(late)
    in_time = list((Counter(arrivals) - Counter(late)).elements())
    assert_all_done(found, len(arrivals), 0, len(late))
    assert found.counts["counted"] == len(set(in_time))
    assert_equal_to_bounded(found, in_time)


@pytest.mark.slow
def test_a_trail_too_short_minute_by_minute(three_days: list[Line]) -> None:
    arrivals = shuffled(three_days, random.Random(13))
    assert_loses_only(arrivals, by_minute_of_arrival(arrivals), 60, len(arrivals) // 4)


@pytest.mark.slow
def test_a_trail_too_short_for_the_month(month: list[Line]) -> None:
    arrivals = shuffled(month, random.Random(14))
    assert_loses_only(arrivals, by_size(arrivals, 40), 900, len(arrivals) // 50)
