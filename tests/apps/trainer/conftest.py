"""The two shipped bases, trained for a moment on real digits: real models, once per session."""

from pathlib import Path

import pytest

from tests.digits import LLAVA, QWEN
from tests.training import Run, train


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(QWEN, tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(LLAVA, tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def qwen_base() -> Path:
    return QWEN


@pytest.fixture(scope="session")
def llava_base() -> Path:
    return LLAVA
