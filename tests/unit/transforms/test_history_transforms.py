"""The public transforms against the plain rules, on elements and on batches, bounded and as streams."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import apache_beam as beam
import pytest
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from comparison import GAP_S, SECOND, assert_same, by_rule
from pipelines_under_test import Given, Ran, a_stream, of_type, run, run_stream
from streams import HOMES, STREAM_ROLES, disorder, random_stream, role_of
from thingbeam.schemas import Activity, DeadLetter, Event, EventBatch, Session, Usage
from thingbeam.transforms import (
    Activities,
    CapabilityTable,
    Deduplicate,
    DeviceHistory,
    HomeZones,
    Sessions,
    UsageByHour,
)
from thingbeam.transforms.capabilities import Entry
from thingbeam.transforms.history import WindowedResults
from thingbeam.transforms.rules import Deduplicator, is_ignored, rule_order

# Whole pipelines for each case: half a minute and more in all.
pytestmark = pytest.mark.slow

TABLE: Final = CapabilityTable([Entry(*key, role) for key, role in STREAM_ROLES.items()])
ZONES: Final = HomeZones("UTC", HOMES)
MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
NAMES: Final = ("activities", "sessions", "usage")

LAMP: Final = Event.of("e1", Timestamp(1_175_040_000), "lamp", "switch", "switch", "on")
MALFORMED: Final[tuple[tuple[Any, str], ...]] = (
    ("a line", "not_an_event"),
    (b"bytes", "not_an_event"),
    (tuple(LAMP), "not_an_event"),
    (None, "not_an_event"),
    (LAMP._replace(event_id=""), "missing_field"),
    (LAMP._replace(event_id=7), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(device_id=7), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(home_id=b"home"), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(event_time=1_175_040_000), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(event_time=None), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(event_time=Timestamp(1 << 40)), "impossible_time"),
    (LAMP._replace(value_type="text"), "wrong_type"),
    (LAMP._replace(value_type="number", number="21.5"), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(value_type="number", number=math.nan), "not_finite"),
    (LAMP._replace(value_type="number", number=-math.inf), "not_finite"),
    (LAMP._replace(value_type="number", number=10**400), "not_finite"),
    (LAMP._replace(value_type="number"), "missing_field"),
    (LAMP._replace(text=None), "missing_field"),
    (LAMP._replace(text="\ud800"), "invalid_utf8"),
    (LAMP._replace(device_id="\ud800"), "invalid_utf8"),
    (LAMP._replace(state_change=["yes"]), "wrong_type"),  # type: ignore[arg-type]
    (LAMP._replace(last_reset="yesterday"), "wrong_type"),  # type: ignore[arg-type]
)
"""Elements that are no events to work on, and the code of the dead letter that each becomes."""


def history(period: str, batches: bool = False, **named: Any) -> DeviceHistory:
    return DeviceHistory(
        zones=ZONES, session_gap=GAP_S, period=period, table=TABLE, horizon="60s", batches=batches, **named
    )


def finite(events: Iterable[Event]) -> list[Event]:
    """Without numbers that are none: as elements those are dead letters, in a batch a rule skips them."""
    return [event for event in events if event.number is None or math.isfinite(event.number)]


def many_streams(seeds: Iterable[int]) -> list[Event]:
    """Streams of several seeds, whose devices all differ, disordered together."""
    events = [event for seed in seeds for event in random_stream(seed, devices=3, events=60)]
    return disorder(events, random.Random(sum(seeds)), 600)


def in_batches(events: Sequence[Event], rng: random.Random) -> list[EventBatch]:
    found, at = [], 0
    while at < len(events):
        size = rng.choice((1, 2, 7, 40, 300))
        found.append(EventBatch.from_events(events[at : at + size]))
        at += size
    return found


def assert_by_rule(found: Ran, events: Sequence[Event], period: str, until: int | None = None) -> None:
    """The results are what the rules make of these events, and every one of these is counted, a repeat or ignored."""
    expected, counts = by_rule(list(events), period, until)
    for name in NAMES:
        assert_same(found.records(name), expected[name])
    for name in ("counted", "duplicates", "stops_without_start"):
        assert found.counts[name] == counts[name]
    assert found.counts["ignored"] == sum(is_ignored(event, role_of) for event in events)
    assert found.counts["counted"] + found.counts["duplicates"] + found.counts["ignored"] == len(events)


@pytest.mark.parametrize(
    ("seeds", "period"), [(range(300, 306), "1h"), (range(306, 309), "15m"), (range(309, 315), "1d")]
)
def test_elements_among_malformed_ones(seeds: range, period: str) -> None:
    rng = random.Random(seeds.start)
    events = finite(many_streams(seeds))
    elements: list[Any] = [*events, *(bad for bad, _ in MALFORMED)]
    rng.shuffle(elements)
    workers = rng.choice((1, 3))
    # Only a PCollection of no type can hold what is no Event.
    found = run(lambda pipeline: (pipeline | Given(elements, Any) | history(period))._asdict(), workers)
    assert_by_rule(found, events, period)
    letters: list[DeadLetter] = found.elements["dead_letters"]
    assert Counter(letter.code for letter in letters) == Counter(code for _, code in MALFORMED)
    assert found.counts["dead_letters"] == len(MALFORMED)
    assert not found.elements["late"]


@pytest.mark.parametrize(("seeds", "period"), [(range(315, 321), "1h"), (range(321, 327), "6h")])
def test_batches(seeds: range, period: str) -> None:
    events = many_streams(seeds)
    groups = in_batches(events, random.Random(seeds.start))
    found = run(lambda pipeline: (pipeline | Given(groups, EventBatch) | history(period, batches=True))._asdict())
    assert_by_rule(found, events, period)
    assert not found.elements["late"] + found.elements["dead_letters"]


def test_batches_held_until_a_time() -> None:
    events = many_streams([327])
    until = max(event.event_time.micros for event in events) + 30 * 3600 * SECOND
    groups = in_batches(events, random.Random(327))
    found = run(
        lambda pipeline: (
            pipeline | Given(groups, EventBatch) | history("1h", batches=True, hold_until=until)
        )._asdict()
    )
    assert_by_rule(found, events, "1h", until)


def as_stream(seed: int, bad: Sequence[Any]) -> tuple[list[list[Any]], Callable[[], int], random.Random]:
    """Bundles of a disordered stream with a watermark that jumps about, often too soon."""
    rng = random.Random(seed)
    silence = rng.random() < 0.4
    events = finite(random_stream(seed, devices=rng.choice((1, 4)), events=70, long_silence=silence))
    # Events are hours apart, so some come hours late.
    arrivals: list[Any] = disorder(events, rng, rng.choice((600, 4 * 3600, 12 * 3600)))
    for each in bad:
        arrivals.insert(rng.randrange(1, len(arrivals)), each)
    bundles, at = [], 0
    while at < len(arrivals):
        size = rng.choice((1, 2, 5, 20))
        bundles.append(arrivals[at : at + size])
        at += size
    return bundles, lambda: rng.choice((0, 0, 60, 600, 3600)) * SECOND, rng


def time_of(element: Any) -> int:
    """Of a malformed element none that moves the watermark."""
    is_event = isinstance(element, Event) and isinstance(element.event_time, Timestamp) and element not in BAD
    return element.event_time.micros if is_event else -(1 << 60)


BAD: Final = [bad for bad, _ in MALFORMED]


@pytest.mark.parametrize("seed", range(330, 335))
@pytest.mark.parametrize("as_batches", [False, True])
def test_a_stream_with_late_events(seed: int, as_batches: bool) -> None:
    """What is late could be late, nothing else is, and the rest gives what the rules make of it."""
    bundles, trail, rng = as_stream(seed, [] if as_batches else some_bad(seed))
    lateness, slice_s = rng.choice((0, 60)), rng.choice((60, 900))
    newest, watermark = -(1 << 60), -(1 << 60)
    before: list[int] = []
    stream = TestStream()
    for bundle in bundles:
        before += [watermark] * len(bundle)
        stream.add_elements([EventBatch.from_events(bundle)] if as_batches else bundle)
        newest = max(newest, *map(time_of, bundle))
        # TestStream keeps milliseconds.
        to = (newest - trail()) // 1000 * 1000
        if to > watermark:
            watermark = to
            stream.advance_watermark_to(Timestamp(micros=watermark))
    stream.advance_watermark_to_infinity()
    period = rng.choice(("1h", "15m"))
    transform = history(period, as_batches, allowed_lateness=lateness, slice_length=slice_s, backlog_slice=slice_s)
    found = run_stream(
        lambda pipeline: (of_type(pipeline | stream, EventBatch if as_batches else Event) | transform)._asdict()
    )
    arrivals = list(zip((each for bundle in bundles for each in bundle), before, strict=True))
    events = [(each, watermark) for each, watermark in arrivals if time_of(each) > -(1 << 60)]
    late = Counter(event._replace(ingest_time=None) for event in found.records("late"))
    assert sum(late.values()) == found.counts["late"]
    # The slice of a late one was over, the lateness waited for, when it came.
    could_be = Counter(
        event
        for event, watermark in events
        if event.event_time.micros // (slice_s * SECOND) * slice_s * SECOND + (slice_s + lateness) * SECOND <= watermark
    )
    assert late <= Counter({event._replace(ingest_time=None): count for event, count in could_be.items()})
    in_time = list((Counter(event for event, _ in events) - late).elements())
    assert len(in_time) == len(events) - found.counts["late"]
    until = max(event.event_time.micros for event, _ in events) + 80 * DAY
    assert_by_rule(found, in_time, period, until)
    letters = found.elements["dead_letters"]
    assert len(letters) == len(arrivals) - len(events) == found.counts["dead_letters"]
    assert found.cells == found.timers == []


def some_bad(seed: int) -> list[Any]:
    return random.Random(seed).sample(BAD, 5)


def test_streams_do_lose_some() -> None:
    """Else the test above says nothing of late events."""
    stream = a_stream([[LAMP], [LAMP._replace(event_id="e2")]], lambda each: each.event_time.micros, -DAY, list)
    found = run_stream(lambda pipeline: (of_type(pipeline | stream, Event) | history("1h"))._asdict())
    assert [event.event_id for event in found.records("late")] == ["e2"]


PARTS: Final[tuple[tuple[str, Callable[[bool], Any]], ...]] = (
    ("activities", lambda batches: Activities(table=TABLE, zones=ZONES, batches=batches)),
    ("sessions", lambda batches: Sessions(table=TABLE, zones=ZONES, gap=GAP_S, batches=batches)),
    ("usage", lambda batches: UsageByHour(table=TABLE, zones=ZONES, batches=batches)),
)


@pytest.mark.parametrize(("name", "part"), PARTS)
@pytest.mark.parametrize("batches", [False, True])
def test_a_part_gives_what_the_whole_gives(name: str, part: Callable[[bool], Any], batches: bool) -> None:
    events = finite(many_streams(range(340, 344)))
    given = in_batches(events, random.Random(1)) if batches else events

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        results = pipeline | Given(given, EventBatch if batches else Event) | part(batches)
        assert isinstance(results, WindowedResults)
        return {name: results.results, "late": results.late, "dead_letters": results.dead_letters}

    found = run(build)
    assert_same(found.records(name), by_rule(events, "1h")[0][name])
    assert not found.elements["late"] + found.elements["dead_letters"]


@pytest.mark.parametrize("batches", [False, True])
def test_deduplicate(batches: bool) -> None:
    """Of attributes that no table knows and of no device, too: nothing is ignored."""
    events = finite(many_streams(range(344, 348)))
    given = in_batches(events, random.Random(1)) if batches else events
    found = run(
        lambda pipeline: (
            pipeline | Given(given, EventBatch if batches else Event) | Deduplicate(horizon="60s", batches=batches)
        )._asdict()
    )
    deduplicator = Deduplicator(60)
    expected = [event for event in rule_order(events) if deduplicator.accept(event)]
    assert Counter(map(shown, found.records("results"))) == Counter(map(shown, expected))
    assert found.counts["counted"] == len(expected)


def shown(event: Event) -> Any:
    """An event as far as a batch carries it: -0.0 equals 0.0 otherwise, and ingest_time is not kept."""
    return event._replace(ingest_time=None, text=event.text if event.value_type in ("string", "json") else None), str(
        event.number
    )


def test_a_longer_horizon_finds_later_repeats() -> None:
    events = [LAMP, LAMP._replace(event_time=LAMP.event_time + 300)]
    for horizon, count in (("299s", 2), ("5m", 1)):
        found = run(
            lambda pipeline, horizon=horizon: (pipeline | Given(events, Event) | Deduplicate(horizon=horizon))._asdict()
        )
        assert len(found.records("results")) == count


def test_windows_of_the_user_do_not_cut_what_spans_them() -> None:
    """A session over an hour's end is one session, and a batch is not late for the sake of its oldest row."""
    times = [LAMP.event_time + 3500 + at for at in range(0, 300, 50)]
    events = [LAMP._replace(event_id=f"e{number}", event_time=at) for number, at in enumerate(times)]

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        given = pipeline | Given(events, Event)
        stamp = beam.Map(lambda event: TimestampedValue(event, event.event_time)).with_output_types(Event)
        return (given | stamp | beam.WindowInto(FixedWindows(60)) | Sessions())._asdict()

    [session] = run(build).records("results")
    assert (session.count, session.start, session.last) == (6, times[0], times[-1])


def test_outputs_know_their_types() -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    events = pipeline | Given([LAMP], Event)
    found = events | history("1h")
    assert [each.element_type for each in found] == [Activity, Session, Usage, Event, DeadLetter]
    parts = events | Sessions(), events | Activities(), events | UsageByHour(), events | Deduplicate()
    assert [part.results.element_type for part in parts] == [Session, Activity, Usage, Event]


def test_two_of_a_kind_in_one_pipeline() -> None:
    """Labels differ, state is each one's own."""

    def build(pipeline: beam.Pipeline) -> dict[str, Any]:
        events = pipeline | Given([LAMP, LAMP._replace(event_id="e2", event_time=LAMP.event_time + 400)], Event)
        short, long = events | "Short" >> Sessions(gap="5m"), events | "Long" >> Sessions(gap="10m")
        return {"short": short.results, "long": long.results}

    found = run(build)
    assert (len(found.elements["short"]), len(found.elements["long"])) == (2, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeviceHistory(session_gap="0s"), "session_gap: it must be above 0"),
        (lambda: DeviceHistory(session_gap="soon"), "session_gap: 'soon' is no length of time"),
        (lambda: Sessions(gap=-1), "gap: -1 is below 0"),
        (lambda: DeviceHistory(period="2d"), "a period of 172800 s"),
        (lambda: UsageByHour(period="often"), "'often' is no period"),
        (lambda: UsageByHour(retention="30m"), "retention: '30m' is shorter than a period of 1h"),
        (lambda: DeviceHistory(slice_length="7m"), "slice of 420 s does not divide 15 minutes"),
        (lambda: DeviceHistory(allowed_lateness="-1s"), "allowed_lateness"),
        (lambda: DeviceHistory(horizon="x"), "horizon"),
    ],
)
def test_settings_that_cannot_be(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shards", [0, -1, (1 << 15) + 1])
def test_a_number_of_shards_that_cannot_be(shards: int) -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    with pytest.raises(ValueError, match=f"shards={shards}: from 1 to 32768"):
        _ = pipeline | Given([LAMP], Event) | DeviceHistory(shards=shards)
