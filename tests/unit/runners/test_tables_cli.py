"""thingbeam tables: what it refuses."""

from __future__ import annotations

import pytest

from thingbeam.runners.cli import main


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("kafka://127.0.0.1:9092/results", "has no tables to make: hbase:// and dynamodb:// have"),
        ("out", "out has no tables to make"),
        ("hbase://127.0.0.1:9090", "name one table"),
        ("dynamodb://home?mode=often", "mode=often: upsert or replace"),
        ("dynamodb://home?secret_key=open", "secret_key"),
    ],
)
def test_mistakes(uri: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["tables", "create", uri])
    lines = capsys.readouterr().err.splitlines()
    assert ending.value.code == 2
    assert len(lines) == 1, lines
    assert said in lines[0]
