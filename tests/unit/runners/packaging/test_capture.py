"""The pipeline of a command line, built and not run."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import click
import pytest

from thingbeam.runners.packaging.capture import captured


def home(checkout: Path, out: Path) -> list[str]:
    """An application on the bundled week."""
    given = ["home", "--input", str(checkout / "examples" / "home-week.jsonl.gz"), "--output", str(out)]
    return [*given, "--timezone", "Europe/Paris"]


def test_nothing_runs(checkout: Path, tmp_path: Path) -> None:
    pipeline = captured([*home(checkout, tmp_path / "out"), "--max_num_workers=3"])
    assert isinstance(pipeline, beam.Pipeline)
    names = {transform.full_label for transform in pipeline.transforms_stack[0].parts}
    assert "ParseEvents" in names
    assert pipeline.options.get_all_options()["max_num_workers"] == 3
    assert not (tmp_path / "out").exists()
    # Pipelines run as before.
    with beam.Pipeline("FnApiRunner") as other:
        _ = other | beam.Create([1])


def test_what_the_command_refuses(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--input: no such file"):
        captured(["home", "--input", "/none", "--output", str(tmp_path / "out"), "--timezone", "Europe/Paris"])
    with pytest.raises(click.UsageError, match="No such command"):
        captured(["none"])
    with pytest.raises(ValueError, match="--runner: leave it out"):
        captured([*home(checkout, tmp_path / "out"), "--runner", "direct"])
    with pytest.raises(ValueError, match="it runs no pipeline"):
        captured(["home", "--help"])
