"""WriteToKinesis' own arguments."""

from __future__ import annotations

import pytest

from thingbeam.io.kinesis import KinesisMessage, WriteToKinesis


def test_whole_records_or_their_parts() -> None:
    with pytest.raises(ValueError, match="partition_key= and encode= do not go with it"):
        WriteToKinesis("s", rows=lambda _: [KinesisMessage(b"", "k")], encode=bytes, check=False)
    with pytest.raises(ValueError, match="1 to 10 MiB"):
        WriteToKinesis("s", max_record_bytes=11 << 20, check=False)
    with pytest.raises(ValueError, match="a name or an ARN"):
        WriteToKinesis("", check=False)
