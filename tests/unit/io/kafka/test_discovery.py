"""Which topics and partitions are meant, and what the discovery keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kafka.discovery import _Known, _KnownCoder, _KnownTracker, known_after
from thingbeam.io.kafka.errors import TopicMissingError
from thingbeam.io.kafka.planning import Topic, select, unknown_partitions
from thingbeam.schemas.encoding import EncodingError

COUNTS = {"events-eu": 2, "events-us": 1, "other": 3}


def test_topics_by_name() -> None:
    assert select(COUNTS, ("other", "events-us"), None) == {"other": 3, "events-us": 1}
    with pytest.raises(TopicMissingError, match="no topic a, b; the cluster has: events-eu, events-us, other"):
        select(COUNTS, ("a", "other", "b"), None)
    with pytest.raises(TopicMissingError, match="none"):
        select({}, ("a",), None)
    assert select(COUNTS, ("a", "other"), None, all_of_them=False) == {"other": 3}


def test_a_pattern_is_for_the_whole_name() -> None:
    assert select(COUNTS, (), "events-.*") == {"events-eu": 2, "events-us": 1}
    assert select(COUNTS, (), "events") == {}


counts = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5))


@given(st.lists(counts, max_size=8))
def test_each_partition_is_found_once(checks: list[dict[str, int]]) -> None:
    """Topics come, grow, and are deleted; the most partitions that a topic ever had are each found once."""
    known: dict[str, Topic] = {}
    found: list[tuple[str, int]] = []
    for check in checks:
        topics = {name: Topic(count) for name, count in check.items()}
        found += unknown_partitions(topics, known)
        known = known_after(known, topics)
    most = {topic: max(check.get(topic, 0) for check in checks) for topic in known}
    assert sorted(found) == [(topic, number) for topic, count in sorted(most.items()) for number in range(count)]


lives = st.dictionaries(st.sampled_from("ab"), st.tuples(st.integers(1, 4), st.integers(0, 3)))


@given(st.lists(lives, max_size=8))
def test_each_partition_of_each_topic_of_a_name_is_found_once(checks: list[dict[str, tuple[int, int]]]) -> None:
    """A name is given to a new topic again and again; an id comes once only."""
    known: dict[str, Topic] = {}
    found: list[tuple[str, str, int]] = []
    wanted: dict[tuple[str, str], int] = {}
    births = dict.fromkeys("ab", 0)
    for check in checks:
        for name, (_, younger) in check.items():
            births[name] += int(younger == 0)
        topics = {name: Topic(count, f"{name}{births[name]}") for name, (count, _) in check.items()}
        found += [(name, topics[name].topic_id, number) for name, number in unknown_partitions(topics, known)]
        known = known_after(known, topics)
        for name, (count, topic_id) in topics.items():
            wanted[name, topic_id] = max(count, wanted.get((name, topic_id), 0))
    assert sorted(found) == sorted((*key, number) for key, count in wanted.items() for number in range(count))


topics = st.builds(Topic, st.integers(1, 100), st.sampled_from(["", "fuhmLZ3sSamBhUe8k7OJtA"]))


@given(st.dictionaries(st.text(max_size=5), topics), st.integers(0, 1 << 62))
def test_what_is_known_is_kept(known: dict[str, Topic], checked: int) -> None:
    restriction = _Known(known, checked)
    assert _KnownCoder().decode(_KnownCoder().encode(restriction)) == restriction


def test_what_an_earlier_release_knew_is_read() -> None:
    known = _KnownCoder().decode(b'[1,5,{"a":3}]')
    assert known == _Known({"a": Topic(3)}, 5)
    assert unknown_partitions({"a": Topic(3, "x")}, known.topics) == [], "its id is taken over"
    assert known_after(known.topics, {"a": Topic(3, "x")}) == {"a": Topic(3, "x")}
    with pytest.raises(EncodingError, match="version 3"):
        _KnownCoder().decode(b"[3,5,{}]")


def test_a_check_is_one_claim_and_one_checkpoint() -> None:
    tracker = _KnownTracker(_Known({}, 0))
    after = _Known({"a": Topic(1)}, 5)
    with pytest.raises(ValueError, match="without a checkpoint"):
        tracker.check_done()
    assert tracker.try_claim(after)
    assert tracker.try_split(0.5) is None
    assert tracker.try_split(0) == (after, after)
    assert tracker.check_done()
    assert not tracker.try_claim(after)
