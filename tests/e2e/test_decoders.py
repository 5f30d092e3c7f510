"""A model whose answer a decoder of its own writes, from the spec to an answer and a merged checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import kolm
from tests.e2e.test_code import COLOURS, PROMPT, SPEC, write_task
from tests.tiny import build


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "decoder"), [("florence2", "</s><s>green</s>"), ("t5gemma2", "<bos>green<eos>")]
)
def test_an_encoder_decoder_is_compiled_verified_and_asked(
    name: str, decoder: str, tmp_path: Path, kolm_home: Path
):
    def done(*arguments: str | Path, code: int = 0) -> str:
        result = kolm(*arguments)
        assert result.exit_code == code, result.output
        return result.stdout

    make: Callable[[Path], Path] = lambda folder: build(name, folder)  # noqa: E731
    spec = write_task(tmp_path / "task", make)
    spec.write_text(SPEC.replace(", trust_remote_code: TRUST", ""))
    done("key", "new", "--unencrypted")
    done("key", "trust", kolm_home / "keys" / "default.pub.pem")
    row = done("plan", spec, "--show-row", "1")
    assert decoder in row.splitlines()[-2:][0]
    assert PROMPT in row
    assert "without the vision tower" not in done("plan", spec)  # the whole step is rehearsed
    done("compile", spec, "--out", tmp_path / "out", code=3)  # pictures of a colour are alike
    artifact = tmp_path / "out" / "colours.kolm"
    done("verify", artifact, "--base", tmp_path / "task" / "base")
    asked = done("run", artifact, "--image", tmp_path / "task" / "eval" / "9.png", "--prompt", PROMPT)
    assert asked.strip() in COLOURS
    done("export", artifact, "--to", "merged", "--dtype", "float32", "--out", tmp_path / "merged")
