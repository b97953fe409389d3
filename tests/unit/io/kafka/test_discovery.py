"""Which topics and partitions are meant, and what the discovery keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kafka.discovery import _Known, _KnownCoder, _KnownTracker
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.planning import select, unknown_partitions

COUNTS = {"events-eu": 2, "events-us": 1, "other": 3}


def test_topics_by_name() -> None:
    assert select(COUNTS, ("other", "events-us"), None) == {"other": 3, "events-us": 1}
    with pytest.raises(TopicMissingError, match="no topic a, b; the cluster has: events-eu, events-us, other"):
        select(COUNTS, ("a", "other", "b"), None)
    with pytest.raises(TopicMissingError, match="none"):
        select({}, ("a",), None)


def test_a_pattern_is_for_the_whole_name() -> None:
    assert select(COUNTS, (), "events-.*") == {"events-eu": 2, "events-us": 1}
    assert select(COUNTS, (), "events") == {}


counts = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5))


@given(st.lists(counts, max_size=8))
def test_each_partition_is_found_once(checks: list[dict[str, int]]) -> None:
    """Topics come, grow, and are deleted; the most partitions that a topic ever had are each found once."""
    known: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for check in checks:
        new = unknown_partitions(check, known)
        found += new
        for topic, number in new:
            known[topic] = max(known.get(topic, 0), number + 1)
    most = {topic: max(check.get(topic, 0) for check in checks) for topic in known}
    assert sorted(found) == [(topic, number) for topic, count in sorted(most.items()) for number in range(count)]


@given(st.dictionaries(st.text(max_size=5), st.integers(1, 100)), st.integers(0, 1 << 62))
def test_what_is_known_is_kept(known: dict[str, int], checked: int) -> None:
    restriction = _Known(known, checked)
    assert _KnownCoder().decode(_KnownCoder().encode(restriction)) == restriction


def test_a_check_is_one_claim_and_one_checkpoint() -> None:
    tracker = _KnownTracker(_Known({}, 0))
    after = _Known({"a": 1}, 5)
    with pytest.raises(ValueError, match="without a checkpoint"):
        tracker.check_done()
    assert tracker.try_claim(after)
    assert tracker.try_split(0.5) is None
    assert tracker.try_split(0) == (after, after)
    assert tracker.check_done()
    assert not tracker.try_claim(after)
