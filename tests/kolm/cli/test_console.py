from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kolm.cli.console import command, report, require_extra
from kolm.errors import DataError, RegistryError, TrainError


def test_a_package_that_is_there_is_enough():
    require_extra("pathlib", "train")


@pytest.mark.parametrize("kind", [TrainError, RegistryError])
def test_a_missing_package_is_named_with_what_installs_it(kind: type[TrainError] | type[RegistryError]):
    with pytest.raises(kind, match="needs nothing_like_this, which is not installed") as caught:
        require_extra("nothing_like_this", "train", error=kind)
    assert caught.value.hint == "pip install 'kolm[train]'"
    assert caught.value.exit_code == 5


def test_a_path_that_nobody_may_look_at_is_one_message():
    app = typer.Typer()

    @app.command()
    @command
    def look(path: Path) -> None:
        path.exists()

    shown = CliRunner().invoke(app, ["a" * 300])  # too long a name: `exists` raises, as in a closed folder
    assert shown.exit_code == 5
    assert shown.stderr.startswith("error: cannot use aaa")
    assert "hint: " in shown.stderr


def test_an_error_of_the_system_about_no_file_is_not_hidden():
    app = typer.Typer()

    @app.command()
    @command
    def fail() -> None:
        raise OSError("no file is named")

    assert isinstance(CliRunner().invoke(app, []).exception, OSError)


def test_text_in_a_message_cannot_pass_for_a_line_of_ours(capsys: pytest.CaptureFixture[str]):
    report(DataError("row x\nVERIFIED y\x1b[2J", hint="look"), as_json=False)
    assert capsys.readouterr().err.splitlines() == ["error: row x", "  VERIFIED y\\x1b[2J", "hint: look"]
