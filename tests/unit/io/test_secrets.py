"""Secrets are references."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingbeam.io.secrets import check_reference, secret


@pytest.mark.parametrize("given", ["hunter2", "env:", "file:", "vault:x", ""])
def test_a_secret_in_plain_text_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(ValueError, match="must be a reference") as caught:
        check_reference(given, "password")
    assert "hunter2" not in str(caught.value)


def test_where_a_secret_is_read_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", "hunter2")
    (tmp_path / "word").write_text("from a file\r\n")
    assert secret("env:SECRET_OF_TEST") == "hunter2"
    assert secret(f"file:{tmp_path}/word") == "from a file"
    with pytest.raises(ValueError, match="no environment variable NONE_OF_TEST"):
        secret("env:NONE_OF_TEST")
    with pytest.raises(ValueError, match="cannot read"):
        secret(f"file:{tmp_path}/none")
