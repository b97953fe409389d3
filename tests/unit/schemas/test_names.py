from __future__ import annotations

import hashlib
import uuid

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from columnar import clash_of, low_of, splitmix, words, words_of
from records import ids, texts, uuids
from thingbeam.schemas.names import hash_text, id_bytes, id_words, mix, texts_of_ids
from thingbeam.transforms.rules import id_key

NIL = "00000000-0000-0000-0000-000000000000"


def as_numbers(of: list[str | None]) -> list[int]:
    found, _ = id_words(of)
    return [high << 64 | low for high, low in found.tolist()]


def is_canonical(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


@given(st.lists(uuids, max_size=9))
def test_uuids_are_their_own_number(of: list[str]) -> None:
    found, plain = id_words(of)
    assert as_numbers(of) == [uuid.UUID(text).int for text in of]
    assert plain.tolist() == [text != NIL for text in of]
    assert found.dtype == np.uint64
    assert found.shape == (len(of), 2)


@given(st.lists(st.none() | ids, max_size=9))
@example([NIL])
@example([None])
@example([NIL, "e1", None, NIL.upper()])
def test_any_ids(of: list[str | None]) -> None:
    _, plain = id_words(of)
    for text, number, fine in zip(of, as_numbers(of), plain.tolist(), strict=True):
        if text is None:
            assert (number, fine) == (0, True)
        elif is_canonical(text) and text != NIL:
            assert (number, fine) == (uuid.UUID(text).int, True)
        else:
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            assert (number, fine) == (int.from_bytes(digest, "big"), False)


@given(ids)
def test_ids_compare_as_in_the_rules(text: str) -> None:
    # But for the nil UUID, whose words mean that there is none.
    if text != NIL:
        assert as_numbers([text]) == [id_key(text)]
    assert id_bytes(text) == (as_numbers([text])[0].to_bytes(16, "big"), is_canonical(text) and text != NIL)


def test_an_upper_case_uuid_is_another_id() -> None:
    text = "6c5f8d2e-2a3b-4c4d-8e5f-0a1b2c3d4e5f"
    assert as_numbers([text]) != as_numbers([text.upper()])


@given(st.lists(st.none() | ids, max_size=9))
@example([NIL, None, "e1"])
def test_back_to_texts(of: list[str | None]) -> None:
    found, plain = id_words(of)
    names = {
        number.to_bytes(16, "big"): text or ""
        for text, number, fine in zip(of, as_numbers(of), plain.tolist(), strict=True)
        if not fine
    }
    assert texts_of_ids(found[:, 0], found[:, 1], names).to_pylist() == of


def test_names_that_share_a_word_with_an_id() -> None:
    of = [words_of(5, 7), words_of(5, 9), words_of(8, 7)]
    found, _ = id_words(of)
    names = {(5 << 64 | 9).to_bytes(16, "big"): "five-nine", (8 << 64 | 8).to_bytes(16, "big"): "other"}
    # High 8 is of one name, low 7 of no name; high 5 and low 9 together are one.
    assert texts_of_ids(found[:, 0], found[:, 1], names).to_pylist() == [of[0], "five-nine", of[2]]


def test_a_name_of_words_that_two_others_have() -> None:
    """(5, 7) has the high word of one name and the low word of another, and is neither."""
    names = {(5 << 64 | 9).to_bytes(16, "big"): "a", (8 << 64 | 7).to_bytes(16, "big"): "b"}
    assert texts_of_ids(words(5, 5, 8), words(7, 9, 7), names).to_pylist() == [words_of(5, 7), "a", "b"]


@given(st.none() | texts)
def test_hashes_of_texts(text: str | None) -> None:
    expected = 0 if text is None else int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    assert hash_text(text) == expected


def test_hashes_are_those_of_other_programs() -> None:
    """As `printf on | b2sum --length 64` and `printf e1 | b2sum --length 128` say."""
    assert hash_text("on").to_bytes(8, "little").hex() == "587103e499c41fe9"
    assert id_bytes("e1")[0].hex() == "afdd4403c41069df839dbe2249f98aee"


def test_half_a_surrogate_pair_has_a_hash() -> None:
    assert hash_text("\ud800") not in (0, hash_text("\ud801"), hash_text("?"))
    assert as_numbers(["\ud800"]) != as_numbers(["\ud801"])


def test_mixed_words_are_as_in_its_description() -> None:
    assert mix(words(5), words(7)).tolist() == [splitmix(5, 7)]
    assert mix(words(5), words(7)).tolist() == mix(words(6), words(clash_of(5, 7, 6))).tolist()
    assert mix(words(5), words(7)).tolist() != mix(words(6), words(7)).tolist()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_mixing_is_one_to_one_for_each_high_word(high: int, low: int) -> None:
    """`factorize` takes ids of one mixed word and one high word as one."""
    [mixed] = mix(words(high), words(low)).tolist()
    assert low_of(mixed, high) == low


def test_many_words_are_mixed_as_each_by_itself() -> None:
    pairs = np.random.default_rng(7).integers(0, 1 << 63, (20_000, 2)).astype(np.uint64)
    before = pairs.copy()
    mixed = mix(pairs[:, 0], pairs[:, 1])
    for at in (0, 8191, 8192, 16_383, 16_384, 19_999):
        assert mixed[at] == mix(pairs[at : at + 1, 0], pairs[at : at + 1, 1])[0]
    assert (pairs == before).all()
    assert not len(mix(words(), words()))


@pytest.mark.parametrize("count", [2, 10, 16, 60, 97])
@pytest.mark.parametrize("ids_of", ["counted", "counted high", "one bit each", "multiples of the shards"])
def test_ids_that_someone_chose_spread_evenly(ids_of: str, count: int) -> None:
    numbers = np.arange(1, 20_001, dtype=np.uint64)
    nothing = np.zeros(len(numbers), np.uint64)
    high, low = {
        "counted": (nothing, numbers),
        "counted high": (numbers, nothing),
        "one bit each": (nothing + np.uint64(1) << (numbers % np.uint64(64)), numbers // np.uint64(64)),
        "multiples of the shards": (numbers * np.uint64(count), numbers * np.uint64(count)),
    }[ids_of]
    sizes = np.bincount((mix(high, low) % np.uint64(count)).astype(np.int64), minlength=count)
    expected = len(numbers) / count
    # Five standard deviations of a fair draw.
    assert abs(sizes - expected).max() < 5 * expected**0.5


@given(
    st.lists(st.tuples(st.sampled_from(["a", None, "d0000000-0000-4000-8000-000000000001", "b"]), st.integers(1, 9)))
)
def test_ids_that_stand_together(runs: list[tuple[str | None, int]]) -> None:
    said = [text for text, times in runs for _ in range(times)]
    found, plain = id_words(said)
    names = {
        row.astype(">u8").tobytes(): text for row, ok, text in zip(found, plain, said, strict=True) if not ok and text
    }
    assert texts_of_ids(found[:, 0], found[:, 1], names).to_pylist() == said
