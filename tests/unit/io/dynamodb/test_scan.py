"""Restrictions of a scan: split where they stand, in an encoding that lasts."""

from __future__ import annotations

from typing import Any

import pytest

from thingbeam.io.dynamodb.scan import ScanPart, ScanPartCoder, ScanTracker


@pytest.mark.parametrize(
    "part",
    [
        ScanPart(0, 1),
        ScanPart(3, 8, {"a": {"S": "é"}, "b": {"B": b"\x00\xff"}, "c": {"N": "1.5"}}),
        ScanPart(1, 2, None, True),
    ],
)
def test_a_part_is_encoded_and_back(part: ScanPart) -> None:
    assert ScanPartCoder().decode(ScanPartCoder().encode(part)) == part


def test_the_encoding_is_this() -> None:
    """Checkpoints outlive releases: what one wrote, the next reads."""
    part = ScanPart(3, 8, {"id": {"B": b"a"}})
    encoded = b'{"after": {"id": {"B": "YQ=="}}, "done": false, "segment": 3, "segments": 8, "v": 1}'
    assert ScanPartCoder().encode(part) == encoded
    assert ScanPartCoder().decode(encoded) == part
    with pytest.raises(ValueError, match="newer release"):
        ScanPartCoder().decode(encoded.replace(b'"v": 1', b'"v": 2'))


@pytest.mark.parametrize("split_after", range(5))
def test_a_split_loses_no_page_and_doubles_none(split_after: int) -> None:
    pages: list[Any] = [{"id": {"N": "1"}}, {"id": {"N": "2"}}, {"id": {"N": "3"}}, None]

    def read(tracker: ScanTracker, split_at: int) -> tuple[list[int], ScanPart | None]:
        after = tracker.current_restriction().after
        at = 0 if after is None else pages.index(after) + 1
        given: list[int] = []
        rest: ScanPart | None = None
        for number in range(at, len(pages)):
            if len(given) == split_at:
                split = tracker.try_split(0.5)
                rest = split[1] if split else None
            if not tracker.try_claim(pages[number]):
                break
            given.append(number)
        return given, rest

    first = ScanTracker(ScanPart(0, 1))
    given, rest = read(first, split_after)
    first.check_done()
    if rest is not None:
        second = ScanTracker(rest)
        given += read(second, -1)[0]
        second.check_done()
    assert given == [0, 1, 2, 3]


def test_a_part_that_was_not_read_is_said() -> None:
    tracker = ScanTracker(ScanPart(5, 8))
    assert tracker.try_claim({"id": {"S": "a"}})
    with pytest.raises(ValueError, match="segment 5 was not read to its end"):
        tracker.check_done()
    assert tracker.is_bounded()


@pytest.mark.parametrize("done", [False, True])
def test_the_progress_is_a_number_whatever_beam_counts(done: bool) -> None:
    """Beam's worker puts its own number for what is done: a mean of bytes, which is NaN until there is one."""
    progress = ScanTracker(ScanPart(0, 1)._replace(done=done)).current_progress()
    assert progress.with_completed(float("nan")).fraction_completed == float(done)
