from __future__ import annotations

import apache_beam as beam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.schemas import Blob
from thingbeam.schemas.blob import BlobCoder
from thingbeam.schemas.encoding import EncodingError

blobs = st.builds(Blob, st.text(max_size=20), st.integers(0, 2**64 - 1), st.binary(max_size=50))


@given(blobs)
def test_round_trip(blob: Blob) -> None:
    coder = BlobCoder()
    assert coder.decode(coder.encode(blob)) == blob
    assert coder.estimate_size(blob) <= len(coder.encode(blob)) <= coder.estimate_size(blob) + 3 * len(blob.source)


def test_the_layout() -> None:
    assert BlobCoder().encode(Blob("é", 258, b"x\n")) == b"\0\0\0\2" + b"\0\0\0\0\0\0\1\2" + b"\xc3\xa9" + b"x\n"


@given(blobs, st.data())
def test_cut_in_its_head(blob: Blob, data: st.DataObject) -> None:
    encoded = BlobCoder().encode(blob)
    with pytest.raises(EncodingError):
        BlobCoder().decode(encoded[: data.draw(st.integers(0, len(encoded) - len(blob.data) - 1))])


@given(st.binary(max_size=40))
def test_foreign_bytes(encoded: bytes) -> None:
    try:
        blob = BlobCoder().decode(encoded)
    except EncodingError:
        return
    assert BlobCoder().encode(blob) == encoded


def test_beam_knows_it() -> None:
    coder = beam.coders.registry.get_coder(Blob)
    assert isinstance(coder, BlobCoder)
    assert coder.is_deterministic()
    assert coder.to_type_hint() is Blob
