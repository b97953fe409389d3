"""A batch's origin goes where the batch goes."""

from __future__ import annotations

import pyarrow as pa
from apache_beam.coders import registry

from thingbeam.schemas.origin import origin_of, with_origin

BATCH = pa.RecordBatch.from_pydict({"a": [1, 2]})


def test_the_rows_are_the_same_and_other_notes_stay() -> None:
    noted = BATCH.replace_schema_metadata({b"other": b"kept"})
    found = with_origin(with_origin(noted, "first.avro", 1), "in/é\udcff.avro", 12)
    assert found.equals(BATCH)
    assert found.schema.metadata is not None
    assert found.schema.metadata[b"other"] == b"kept"
    assert origin_of(found) == ("in/é\udcff.avro", 12)
    assert origin_of(BATCH) == ("", 0)


def test_it_goes_through_beams_coder() -> None:
    coder = registry.get_coder(pa.RecordBatch)
    assert origin_of(coder.decode(coder.encode(with_origin(BATCH, "f.parquet", 5)))) == ("f.parquet", 5)
