"""The random streams reach the edges that they are there for."""

from __future__ import annotations

import math
import random
from collections import Counter
from zoneinfo import ZoneInfo

import streams
from streams import HOMES, STREAM_ROLES, disorder, random_stream, role_of, zone_of
from thingbeam.transforms.rules import (
    ActivityTracker,
    Period,
    Sessionizer,
    UsageStatistics,
    bounds,
    id_key,
    local_text,
    rule_order,
    sift,
)

SEEDS = range(60)


def test_a_seed_is_a_stream() -> None:
    assert repr(random_stream(7)) == repr(random_stream(7))
    assert repr(random_stream(7)) != repr(random_stream(8))


def test_streams_come_in_rule_order() -> None:
    stream = random_stream(3)
    assert [id(event) for event in rule_order(stream)] == [id(event) for event in stream]


def test_disorder_keeps_within_the_slack_and_loses_nothing() -> None:
    stream = random_stream(5)
    arrived = disorder(stream, random.Random(1), slack_s=600, repeat=0.2)
    assert {id(event) for event in arrived} == {id(event) for event in stream}
    assert len(arrived) > len(stream)
    assert [id(event) for event in arrived[: len(stream)]] != [id(event) for event in stream]
    newest = 0
    for event in arrived:
        assert newest - event.event_time.micros <= 600_000_000
        newest = max(newest, event.event_time.micros)
    assert disorder(stream, random.Random(1), slack_s=0, repeat=0) == stream


def test_every_home_and_attribute_and_odd_value_occurs() -> None:
    seen: Counter[object] = Counter()
    for seed in SEEDS:
        for event in random_stream(seed):
            seen[event.home_id] += 1
            seen[event.capability, event.attribute] += 1
            seen[event.value_type] += 1
            seen[event.kind, event.text] += 1
            seen["no device"] += event.device_id is None
            seen["not finite"] += event.number is not None and not math.isfinite(event.number)
            seen["id is no uuid"] += event.event_id.startswith("évt")
            seen["last_reset"] += event.last_reset is not None
            seen["component"] += event.component != "main"
    wanted: list[object] = [*HOMES, *STREAM_ROLES, "string", "number", "boolean", "json", "null"]
    wanted += ["no device", "not finite", "id is no uuid", "last_reset", "component"]
    wanted += [("DEVICE_HEALTH_EVENT", "OFFLINE"), ("DEVICE_LIFECYCLE_EVENT", "DELETE")]
    assert [one for one in wanted if seen[one] < 20] == []


def test_times_sit_on_the_edges() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        counted, duplicates, ignored = sift(random_stream(seed), role_of)
        seen["duplicates"] += len(duplicates)
        seen["ignored"] += len(ignored)
        last: dict[str | None, int] = {}
        ids: dict[tuple[str | None, str], int] = {}
        for event in rule_order([*counted, *duplicates]):
            now = event.event_time.micros
            for name, wait in (("gap", 600), ("horizon", 60), ("hold", 86_400), ("retention", 35 * 86_400)):
                for beside in (-1, 0, 1):
                    seen[f"{name} {beside:+}"] += now - last.get(event.device_id, now) == wait * 1_000_000 + beside
                    same = ids.get((event.device_id, event.event_id), now)
                    seen[f"same id {name} {beside:+}"] += now - same == wait * 1_000_000 + beside
            seen["tie"] += last.get(event.device_id) == now
            seen["same id at once"] += ids.get((event.device_id, event.event_id)) == now
            seen["hour"] += bounds(zone_of(event), now, Period(3600))[0] == now
            seen["hour's end"] += bounds(zone_of(event), now, Period(3600))[1] == now + 1
            last[event.device_id] = ids[event.device_id, event.event_id] = now
    wanted = [f"{name} {beside:+}" for name in ("gap", "horizon", "hold", "retention") for beside in (-1, 0, 1)]
    wanted += [f"same id horizon {beside:+}" for beside in (-1, 0, 1)]
    wanted += ["tie", "same id at once", "hour", "hour's end", "duplicates", "ignored"]
    assert [one for one in wanted if seen[one] < 3] == []


def test_every_outcome_occurs() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        counted = sift(random_stream(seed), role_of).counted
        tracker = ActivityTracker(role_of, zone_of)
        activities = [activity for event in counted for activity in tracker.feed(event)] + tracker.finish()
        for activity in activities:
            [longest] = {role.max_length_s for key, role in STREAM_ROLES.items() if key[0] == activity.capability}
            seen[str(activity.closed_by)] += 1
            seen["stop at the maximum"] += activity.closed_by == "stop" and activity.duration_s == longest
        seen["stray stop"] += tracker.stops_without_start
        sessionizer = Sessionizer(600, zone_of)
        seen["session"] += sum(len(sessionizer.feed(event)) for event in counted)
        rows = UsageStatistics(role_of, zone_of, Period(3600)).compute(counted)
        for row in rows:
            seen[row.role] += 1
            seen["held row"] += row.count == 0
            seen["short hour"] += row.end.micros - row.start.micros < 3_600_000_000
    wanted = ["stop", "max_length", "None", "stop at the maximum", "stray stop", "session"]
    wanted += ["measurement", "meter", "state", "held row", "short hour"]
    assert [one for one in wanted if seen[one] < 3] == []


def test_a_meter_falls_to_just_nine_tenths() -> None:
    falls: Counter[str] = Counter()
    for seed in SEEDS:
        before: dict[tuple[str | None, str], float] = {}
        for event in sift(random_stream(seed), role_of).counted:
            if event.capability == "energyMeter" and event.value_type == "number" and (event.number or -1) >= 0:
                number = float(event.number or 0)
                threshold = 0.9 * before.get((event.device_id, event.component), math.inf)
                falls["at"] += number == threshold
                falls["below"] += number == math.nextafter(threshold, -math.inf)
                before[event.device_id, event.component] = number
    assert falls["at"] > 5
    assert falls["below"] > 5


def test_the_nights_are_nights_of_change() -> None:
    changes = set()
    for begin in streams._NIGHTS:
        for zone in HOMES.values():
            clocks = [local_text((begin + 1800 * half) * 1_000_000, ZoneInfo(zone)) for half in range(13)]
            if len({clock[-6:] for clock in clocks}) > 1:
                changes.add((begin, zone))
    assert {zone for _, zone in changes} == set(HOMES.values()) - {"Asia/Kathmandu"}
    assert len({begin for begin, _ in changes}) == len(streams._NIGHTS) - 1


def test_ids_are_of_both_sorts() -> None:
    ids = {event.event_id for seed in range(5) for event in random_stream(seed)}
    assert len({id_key(one) for one in ids}) == len(ids)
