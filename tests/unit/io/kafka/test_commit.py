"""When offsets are committed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.kafka.commit import Committer, Words, read_words, words_of

P = ("t", 0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Quiet(Committer):
    """Without its thread: the test says when."""

    def finalised(
        self, partition: tuple[str, int], offset: int, words: str, reached: int = 0, topic_id: str = ""
    ) -> None:
        self._ending = True
        super().finalised(partition, offset, words, reached, topic_id)


def test_what_is_finalised_is_committed_together() -> None:
    commits: list[object] = []
    committer = Quiet(commits.append)
    committer.finalised(P, 5, "a")
    committer.finalised(("t", 1), 7, "b")
    committer.finalised(P, 9, "c")
    assert committer.commit()
    assert commits == [{P: (9, "c"), ("t", 1): (7, "b")}]
    assert committer.commit()
    assert len(commits) == 1, "nothing new, nothing committed"


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=40), st.sets(st.integers(0, 40)))
def test_offsets_only_rise_whatever_fails(finalised: list[tuple[int, int]], failures: set[int]) -> None:
    """Bundles are finalised in any order, and commits fail now and then."""
    held: dict[tuple[str, int], int] = {}
    tries = 0

    def commit(offsets: dict[tuple[str, int], tuple[int, str]]) -> None:
        nonlocal tries
        tries += 1
        if tries in failures:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        for partition, (offset, _) in offsets.items():
            assert offset > held.get(partition, -1)
            held[partition] = offset

    committer = Quiet(commit)
    for number, offset in finalised:
        committer.finalised(("t", number), offset, "")
        committer.commit()
    while not committer.commit():
        pass
    newest: dict[tuple[str, int], int] = {}
    for number, offset in finalised:
        newest[("t", number)] = max(offset, newest.get(("t", number), -1))
    assert held == newest


def test_the_margin_holds_offsets_back() -> None:
    clock, commits = Clock(), list[object]()
    committer = Quiet(commits.append, margin=30.0, clock=clock)
    committer.finalised(P, 5, "")
    clock.now = 20.0
    committer.finalised(P, 8, "")
    committer.commit()
    assert commits == []
    clock.now = 30.0
    committer.commit()
    assert commits == [{P: (5, "")}]
    clock.now = 50.0
    committer.commit()
    assert commits[1:] == [{P: (8, "")}]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_its_thread_commits_and_ends() -> None:
    commits: list[dict[tuple[str, int], tuple[int, str]]] = []
    ended = threading.Event()
    committer = Committer(commits.append, end=ended.set)
    committer.finalised(P, 5, "")
    wait_for(lambda: bool(commits))
    committer.finalised(P, 6, "")
    committer.close()
    assert ended.is_set()
    assert commits[-1] == {P: (6, "")}


def test_a_failure_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[object] = []

    def commit(offsets: object) -> None:
        tries.append(offsets)
        if len(tries) == 1:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    committer = Committer(commit)
    committer.finalised(P, 5, "")
    wait_for(lambda: len(tries) == 2)
    committer.close()
    assert "committing offsets" in caplog.text


def test_words() -> None:
    assert read_words(words_of(1_769_860_800_000)) == Words(1_769_860_800_000)
    assert read_words("something else") is None
    assert read_words("") is None


def test_a_topic_that_was_made_anew_begins_below() -> None:
    """What was of the old one, finalised before or after, is committed no more."""
    commits: list[object] = []
    renewed: list[object] = []
    committer = Quiet(commits.append, renewed=renewed.append)
    committer.begin(P, "old")
    committer.finalised(P, 90, "", topic_id="old")
    assert committer.commit()
    committer.finalised(P, 100, "", topic_id="old")
    committer.begin(P, "")
    committer.begin(P, "new")
    committer.finalised(P, 110, "", topic_id="old")
    committer.finalised(P, 5, "", topic_id="new")
    assert committer.commit()
    assert (commits, renewed) == ([{P: (90, "")}, {P: (5, "")}], [P])


@given(st.integers(0, 1 << 50), st.none() | st.integers(-5, 5), st.from_regex(r"([A-Za-z0-9_-]{22})?", fullmatch=True))
def test_words_are_read_as_they_were_written(time: int, event: int | None, topic_id: str) -> None:
    assert read_words(words_of(time, event, topic_id)) == Words(time, event, topic_id)
