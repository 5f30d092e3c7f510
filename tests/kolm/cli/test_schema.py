"""`kolm schema` prints or writes the schema that is shipped."""

import json
from pathlib import Path

import pytest

from kolm.cli.schema import schema
from kolm.spec import schema_text


def test_the_schema_is_printed_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    schema()
    assert capsys.readouterr().out == schema_text()


def test_the_schema_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema(tmp_path / "spec.schema.json")
    assert json.loads((tmp_path / "spec.schema.json").read_text())["title"] == "kolm spec, version 1"
    assert capsys.readouterr().out == ""
