"""What a window's manifest comes to, whatever is said again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.s3.manifests import S3Object, WindowManifest, merge_objects
from thingbeam.io.s3.names import Window


def part(shard: int, number: int, rows: int = 1, *, last: bool = False) -> S3Object:
    """A part of a shard."""
    return S3Object(f"s{shard}-p{number}", 0, 10, shard, number, last, rows, rows, f"etag{rows}")


def names(objects: tuple[S3Object, ...]) -> list[str]:
    """Of the objects."""
    return [one.name for one in objects]


def test_a_name_counts_once_and_the_last_to_say_it_wins() -> None:
    merged = merge_objects([part(0, 0, 1), part(0, 1, 1)], [part(0, 1, 5), part(1, 0, 2)])
    assert [(one.name, one.rows) for one in merged] == [("s0-p0", 1), ("s0-p1", 5), ("s1-p0", 2)]
    assert WindowManifest(Window(0, 10), merged).rows == 8


def test_parts_after_the_last_of_their_shard_go() -> None:
    old = [part(0, 0), part(0, 1), part(0, 2), part(1, 2)]
    assert names(merge_objects(old, [part(0, 0, 3), part(0, 1, 3, last=True)])) == ["s0-p0", "s0-p1", "s1-p2"]


def test_an_end_without_an_object_counts_too() -> None:
    end = S3Object("", 0, 10, 0, 0, True)
    assert names(merge_objects([part(0, 0), part(0, 1)], [end])) == ["s0-p0"]
    assert names(merge_objects([part(0, 0)], [S3Object("", 0, 10, 0, -1, True)])) == []


def test_named_batches_have_no_last_part() -> None:
    named = [S3Object(name, 0, 10) for name in ("a", "b")]
    assert names(merge_objects(named[:1], [named[1], part(0, 0, last=True)])) == ["a", "b", "s0-p0"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 8), st.integers(0, 8), st.randoms())
def test_a_replay_ends_with_its_own_parts(rows: list[int], before: int, more: int, random: object) -> None:
    """What a run makes that was set back to a checkpoint: parts before it, then others, maybe fewer, with a last."""
    kept = min(before, len(rows))
    first_try = [part(0, number) for number in range(kept + more)]
    replay = [part(0, number, count, last=number == len(rows) - 1) for number, count in enumerate(rows)]
    merged = merge_objects(merge_objects([], first_try), replay[kept:] or replay[-1:])
    assert names(merged) == [one.name for one in replay]
    assert [one.rows for one in merged][kept:] == rows[kept:]
